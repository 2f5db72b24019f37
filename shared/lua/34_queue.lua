-- The waiting jobs: per job class an ordered set, and over all classes an index by the order of their heads.
--
-- Order is one exact integer: higher priority first, then the sequence number given at submit. Equal order happens only
-- within a workflow and goes by step, then submit, through the member's text.
-- - `heads`  visible class → order of its first job; visible = some registered worker can run it, its service isn't
--   paused. A class that only workers of one identity can run stands in `heads:<identity>` instead.
-- - `rises`  class → number of the last time its head came into being or moved forward (worker classes catch up by it)

do
  local PRIORITY_STEP = 8796093022208 -- 2^43 sequence numbers per priority

  -- The place in the order: smaller is earlier.
  function queue.order(priority, seq)
    return (1000 - priority) * PRIORITY_STEP + seq
  end

  -- The priority in an order.
  function queue.priority(order)
    return 1000 - math.floor(order / PRIORITY_STEP)
  end

  -- The member that stands for a job: its id, for a workflow's step preceded by what breaks ties.
  function queue.member(job)
    if not job.step then return job.id end
    return string.format('%05d.%016.0f.%s', job.step, job.seq, job.id)
  end

  -- The job id of a member.
  function queue.job_id(member)
    return string.match(member, '([^.]+)$')
  end

  -- Is the service paused?
  function queue.is_paused(pool, service)
    return pool.paused > 0 and redis.call('SISMEMBER', pool.key .. 'paused', service) == 1
  end

  -- May the class stand among the heads?
  local function is_visible(pool, class, service)
    return not redis.call('ZSCORE', pool.key .. 'unworkable', class) and not queue.is_paused(pool, service)
  end

  -- A class's head was made or moved forward.
  local function rise(pool, class, order)
    local heads = classes.heads(pool, class)
    redis.call('ZADD', heads, order, class)
    if heads == pool.heads then
      local number = redis.call('INCR', pool.key .. 'rise-seq')
      redis.call('ZADD', pool.key .. 'rises', number, class)
      search.note_rise(pool, number)
    end
  end

  -- The first job's member of a class and its order as text (nil when it has none); and the second's.
  function queue.head(pool, class)
    local first = redis.call('ZRANGE', pool.key .. 'waiting:' .. class, 0, 1, 'WITHSCORES')
    return first[1], first[2], first[3], first[4]
  end

  -- Put a job into its class.
  function queue.add(pool, job)
    local key, member = pool.key .. 'waiting:' .. job.class, queue.member(job)
    redis.call('ZADD', key, job.order, member)
    if redis.call('ZRANGE', key, 0, 0)[1] ~= member then return end
    if is_visible(pool, job.class, job.service) then rise(pool, job.class, job.order) end
  end

  -- The class's head is another one now, or none is left.
  local function settle(pool, class, order)
    if order then
      redis.call('ZADD', classes.heads(pool, class), 'XX', order, class)
    else
      redis.call('ZREM', classes.heads(pool, class), class)
    end
  end

  -- Take a job out of its class, by its member.
  function queue.remove(pool, class, member)
    local first, _, _, next_order = queue.head(pool, class)
    redis.call('ZREM', pool.key .. 'waiting:' .. class, member)
    if first == member then settle(pool, class, next_order) end
  end

  -- Take out a class's first job, which has just been looked up: its member, and the order of the one behind it.
  function queue.shift(pool, class, member, next_order)
    redis.call('ZREM', pool.key .. 'waiting:' .. class, member)
    settle(pool, class, next_order)
  end

  -- The class became visible or not.
  function queue.show(pool, class, service)
    local member, order = queue.head(pool, class)
    if member and is_visible(pool, class, service) then
      rise(pool, class, order)
    else
      redis.call('ZREM', classes.heads(pool, class), class)
    end
  end

  -- Put the heads right after jobs of the class were moved elsewhere.
  function queue.refresh(pool, class)
    local _, order = queue.head(pool, class)
    settle(pool, class, order)
    if not order then
      redis.call('ZREM', pool.key .. 'unworkable', class)
      redis.call('ZREM', pool.key .. 'unexamined', class)
    end
  end
end

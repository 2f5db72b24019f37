-- The waiting jobs: per job class an ordered set, and over all classes an index by the order of their heads.
--
-- Order is one exact integer: higher priority first, then the sequence number given at submit. Equal order happens only
-- within a workflow and goes by step, then submit, through the member's text.
-- - `heads`  workable class → order of its first job
-- - `rises`  class → number of the last time its head came into being or moved forward (worker classes catch up by it)
local queue = {}

local PRIORITY_STEP = 8796093022208 -- 2^43 sequence numbers per priority

-- The place in the order: smaller is earlier.
function queue.order(priority, seq)
  return (1000 - priority) * PRIORITY_STEP + seq
end

-- The member that stands for a job: its id, for a workflow's step preceded by what breaks ties.
function queue.member(id, workflow_step, seq)
  if not workflow_step then return id end
  return string.format('%05d.%016.0f.%s', workflow_step, seq, id)
end

-- The job id of a member.
function queue.job_id(member)
  return string.match(member, '([^.]+)$')
end

-- A class's head was made or moved forward.
function queue.rise(pool, class, order)
  redis.call('ZADD', pool .. 'heads', order, class)
  redis.call('ZADD', pool .. 'rises', redis.call('INCR', pool .. 'rise-seq'), class)
end

-- Put a job into its class.
function queue.add(pool, class, member, order)
  redis.call('ZADD', pool .. 'waiting:' .. class, order, member)
  if redis.call('ZRANGE', pool .. 'waiting:' .. class, 0, 0)[1] ~= member then return end
  if not redis.call('ZSCORE', pool .. 'unworkable', class) then queue.rise(pool, class, order) end
end

-- The order of a class's first job as text, and its member; nil when it has none.
function queue.head(pool, class)
  local first = redis.call('ZRANGE', pool .. 'waiting:' .. class, 0, 0, 'WITHSCORES')
  return first[2], first[1]
end

-- Take a job out of its class.
function queue.remove(pool, class, member)
  redis.call('ZREM', pool .. 'waiting:' .. class, member)
  local order = queue.head(pool, class)
  if not order then
    redis.call('ZREM', pool .. 'heads', class)
  else
    redis.call('ZADD', pool .. 'heads', 'XX', order, class)
  end
end

-- A class became workable (it has takers now) or not: only workable classes stand in `heads`.
function queue.show(pool, class)
  local order = queue.head(pool, class)
  if order then queue.rise(pool, class, order) end
end

function queue.hide(pool, class)
  redis.call('ZREM', pool .. 'heads', class)
end

-- muster_position: how many waiting jobs stand before a job among what its possible workers could take: a bounded step.
-- KEYS  1: any key of the pool
-- ARGV  1: job id, 2: cursor ('' = from the start), then the worker classes that can run it; none: those of a bounded
--       number are found here
-- Answers (one of)
--   {'OK', jobs counted by this call, cursor ('' = that was all), exact, workable, paused}   the last three '1' | '0'
--     exact   no worker class was left out; else there may be more before it
--   {'NOT_PENDING', state}
--   {'NOT_FOUND'}
-- Reads only. Jobs that only one worker may run count where this job is of that kind itself. A job that nobody can run
-- has only those of its own class before it.
local muster_position

do
  -- Worker classes of those whom the job names.
  local function of_addressees(pool, address)
    local names, found = {}, {}
    local ids = redis.call('SRANDMEMBER', pool.key .. 'addressees:' .. address, LIMITS.wake_workers)
    for _, id in ipairs(ids) do
      local name = redis.call('HGET', pool.key .. 'worker:' .. id, 'class')
      if name and not found[name] then
        names[#names + 1], found[name] = name, true
      end
    end
    return names, #ids < LIMITS.wake_workers
  end

  -- Worker classes to ask, and are these all? The one known to run it comes first.
  local function candidates(pool, class)
    if class.requirement.address then return of_addressees(pool, class.requirement.address) end
    local names = {redis.call('HGET', pool.key .. 'class:' .. class.name, 'witness') or nil}
    local all = redis.call('ZRANGE', pool.key .. 'wclasses', 0, LIMITS.explain_classes - 1)
    local share = LIMITS.explain_classes
    for _, name in ipairs(all) do
      if share <= 0 then return names, false end
      share = share - explain.worker_cost(pool, name)
      names[#names + 1] = name
    end
    return names, #all < LIMITS.explain_classes
  end

  -- The classes of possible workers {name = true, list of decoded ones}, and are these all?
  local function possible(pool, class, job_id, given)
    local names, is_all, attributes = given, true, explain.attributes(pool, class, job_id)
    if #given == 0 then names, is_all = candidates(pool, class) end
    local able = {list = {}}
    for _, name in ipairs(names) do
      local of = not able[name] and classes.worker(pool, name)
      local takes = of and match.takes(class.requirement, attributes, of)
      if of and takes ~= false and redis.call('EXISTS', pool.key .. 'wclass-workers:' .. name) == 1 then
        able[name], able.list[#able.list + 1] = true, of
      end
    end
    return able, is_all
  end

  -- Can one of them run jobs of that class? The one that could last is asked first. Answers also how many were asked.
  local function can_any(pool, able, name, class)
    if able[redis.call('HGET', pool.key .. 'class:' .. name, 'witness')] then return true, 0 end
    for i, of in ipairs(able.list) do
      if match.takes(class.requirement, class.attributes, of) ~= false then
        able.list[1], able.list[i] = of, able.list[1]
        return true, i
      end
    end
    return false, #able.list
  end

  -- Jobs of another class that stand before the job.
  local function before(call, name)
    local class = classes.job(call.pool, name)
    if not class or name == call.job.class or queue.is_paused(call.pool, class.service) then return 0 end
    local can, asked = can_any(call.pool, call.able, name, class)
    call.share = call.share - asked / 4 -- four verdicts cost about as much as a class
    return can and redis.call('ZCOUNT', call.pool.key .. 'waiting:' .. name, '-inf', '(' .. int(call.job.order)) or 0
  end

  -- Count over the heads in one set from rank `at` on; answers the number, and the rank reached when the share ran out.
  local function walk(call, key, at)
    local number, limit = 0, math.ceil(call.share)
    local heads = redis.call('ZRANGE', key, at, at + limit - 1, 'WITHSCORES')
    for i = 1, #heads, 2 do
      if tonumber(heads[i + 1]) >= call.job.order then return number end
      if call.share <= 0 then return number, at end
      call.share = call.share - explain.job_cost(call.pool, heads[i])
      number = number + before(call, heads[i])
      at = at + 1
    end
    return number, #heads == 2 * limit and at or nil
  end

  -- Count over all sets of heads from the cursor on; answers the number and the cursor.
  local function walk_all(call, cursor)
    local first, rank = string.match(cursor, '^(%d+) (%d+)$')
    local own, number = classes.heads(call.pool, call.job.class), 0
    local sets = {call.pool.heads, own ~= call.pool.heads and own or nil}
    for i = tonumber(first or 1), #sets do
      if call.share <= 0 then return number, i .. ' 0' end
      local more, reached = walk(call, sets[i], i == tonumber(first) and tonumber(rank) or 0)
      number = number + more
      if reached then return number, i .. ' ' .. int(reached) end
    end
    return number, ''
  end

  -- Jobs before it in its own class.
  local function in_own(pool, job)
    return redis.call('ZRANK', pool.key .. 'waiting:' .. job.class, queue.member(job)) or 0
  end

  function muster_position(keys, args)
    local pool = pools.open(keys)
    local job = jobs.read(pool, args[1])
    local class = job and classes.job(pool, job.class)
    if not class then return {'NOT_FOUND'} end
    if job.state ~= 'pending' then return {'NOT_PENDING', job.state} end
    local able, is_all = possible(pool, class, job.id, {unpack(args, 3)})
    local call = {pool = pool, job = job, able = able, share = LIMITS.position_classes}
    local number, cursor = 0, ''
    if #able.list > 0 then number, cursor = walk_all(call, args[2]) end
    if args[2] == '' then number = number + in_own(pool, job) end
    local is_workable = not redis.call('ZSCORE', pool.key .. 'unworkable', job.class)
    local is_paused = queue.is_paused(pool, class.service)
    return {'OK', number, cursor, is_all and '1' or '0', is_workable and '1' or '0', is_paused and '1' or '0'}
  end
end

-- Suspension: a broken worker must not eat the queue. Per worker and service, with the reason; the worker is then of a
-- class that lacks the service, and comes back when its health check says so (muster_lift).
--
-- worker:<id> holds `suspended` (JSON: service → {reason, at_ms}) and `streak` (the same → {count, down, classes}).

do
  -- Failures that are the job's own fault: they neither lengthen a streak nor end it.
  local OF_THE_JOB = {bad_input = true, refused = true}

  -- Services of the worker with what is kept of each: a table. What a damaged store holds otherwise is left out.
  local function read(pool, worker_id, field)
    local text, map = redis.call('HGET', pool.key .. 'worker:' .. worker_id, field), {}
    for service, value in pairs(text and documents.object(text) or {}) do
      if type(service) == 'string' and type(value) == 'table' then map[service] = value end
    end
    return map
  end

  local function write(pool, worker_id, field, map)
    local key = pool.key .. 'worker:' .. worker_id
    if next(map) == nil then
      redis.call('HDEL', key, field)
    else
      redis.call('HSET', key, field, cjson.encode(map))
    end
  end

  -- The worker's suspended services, sorted, space separated.
  function suspension.services(pool, worker_id)
    local names = {}
    for service in pairs(read(pool, worker_id, 'suspended')) do names[#names + 1] = service end
    table.sort(names)
    return table.concat(names, ' ')
  end

  local function tell(pool, worker_id, event, service, reason)
    local agent_id = redis.call('HGET', pool.key .. 'worker:' .. worker_id, 'agent_id')
    local data = '{"service":' .. cjson.encode(service)
    if reason then data = data .. ',"reason":' .. cjson.encode(reason) end
    events.add(pool, event, {worker_id = worker_id, agent_id = agent_id or nil, data = data .. '}'})
  end

  -- Suspend a worker for a service.
  function suspension.begin(pool, worker_id, service, reason)
    local map = read(pool, worker_id, 'suspended')
    if map[service] then return end
    map[service] = {reason = reason, at_ms = pool.now}
    write(pool, worker_id, 'suspended', map)
    suspension.calm(pool, worker_id, service)
    workers.classify(pool, worker_id)
    tell(pool, worker_id, 'worker.suspended', service, reason)
  end

  -- Lift it; answers whether there was one.
  function suspension.lift(pool, worker_id, service)
    local map = read(pool, worker_id, 'suspended')
    if not map[service] then return false end
    map[service] = nil
    write(pool, worker_id, 'suspended', map)
    workers.classify(pool, worker_id)
    tell(pool, worker_id, 'worker.resumed', service)
    return true
  end

  -- Keep `pool.failing` true to whether any worker has a streak.
  local function note_failing(pool, worker_id, is_failing)
    redis.call(is_failing and 'SADD' or 'SREM', pool.key .. 'failing', worker_id)
    pools.set(pool, 'failing', redis.call('EXISTS', pool.key .. 'failing'))
  end

  -- The worker's failures in a row are over.
  function suspension.calm(pool, worker_id, service)
    if pool.failing == 0 then return end
    local streaks = read(pool, worker_id, 'streak')
    if not streaks[service] then return end
    streaks[service] = nil
    write(pool, worker_id, 'streak', streaks)
    if next(streaks) == nil then note_failing(pool, worker_id, false) end
  end

  -- Nothing is known of the worker any more: it is new, or gone.
  function suspension.forget(pool, worker_id)
    redis.call('HDEL', pool.key .. 'worker:' .. worker_id, 'suspended', 'streak')
    if pool.failing ~= 0 then note_failing(pool, worker_id, false) end
  end

  -- Did another worker complete a job of one of the classes that this one failed?
  local function others_succeed(pool, worker_id, streak)
    for class in pairs(streak.classes) do
      local by = redis.call('GET', pool.key .. 'completed:' .. class)
      if by and by ~= worker_id then return true end
    end
    return false
  end

  -- Why the worker should be suspended for the service after so many failures in a row; nil: not yet.
  local function verdict(pool, worker_id, streak, failure)
    if failure.class == 'auth' then return 'its key for the service is refused: ' .. failure.message end
    local is_down = failure.class == 'service' or failure.class == 'network'
    if failure.is_unhealthy and is_down and streak.down >= LIMITS.unhealthy_streak then
      return streak.down .. ' jobs in a row failed and its health check fails: ' .. failure.message
    end
    if streak.count >= LIMITS.streak and others_succeed(pool, worker_id, streak) then
      return streak.count .. ' jobs in a row failed that other workers complete: ' .. failure.message
    end
  end

  local function is_streak(streak)
    return streak and type(streak.count) == 'number' and type(streak.down) == 'number'
      and type(streak.classes) == 'table'
  end

  local function lengthen(streak, class, failure)
    if not is_streak(streak) then streak = {count = 0, down = 0, classes = {}} end
    local is_down = failure.class == 'service' or failure.class == 'network'
    streak.count, streak.down = streak.count + 1, is_down and streak.down + 1 or 0
    streak.classes[class] = streak.count
    for name, number in pairs(streak.classes) do
      if type(number) ~= 'number' or number <= streak.count - LIMITS.streak then streak.classes[name] = nil end
    end
    return streak
  end

  -- The worker failed the job. `failure` = {class=, message=, is_unhealthy=}. Answers the reason when this suspended
  -- it, else nil.
  function suspension.failed(pool, worker_id, job, failure)
    if OF_THE_JOB[failure.class] or redis.call('EXISTS', pool.key .. 'worker:' .. worker_id) == 0 then return nil end
    local streaks = read(pool, worker_id, 'streak')
    local streak = lengthen(streaks[job.service], classes.base(pool, job.class), failure)
    streaks[job.service] = streak
    write(pool, worker_id, 'streak', streaks)
    note_failing(pool, worker_id, true)
    local reason = verdict(pool, worker_id, streak, failure)
    if reason then suspension.begin(pool, worker_id, job.service, string.sub(reason, 1, 500)) end
    return reason
  end

  -- The worker completed a job: its streak is over, and others that fail such jobs are at fault themselves.
  function suspension.completed(pool, job)
    if pool.failing == 0 then return end
    local key = pool.key .. 'completed:' .. classes.base(pool, job.class)
    redis.call('SET', key, job.worker_id, 'PX', LIMITS.completed_by_ms)
    suspension.calm(pool, job.worker_id, job.service)
  end
end

-- Wake-up: a worker that found nothing is parked; a job that comes wakes the best parked worker that can run it.
--
-- - A worker is parked by the same call that found nothing for it: no wake can be lost between.
-- - A wake takes the worker out of `parked`: two jobs never wake the same one.
-- - A wake that isn't followed by a claim passes on.
-- - A worker that was parked for it is handed a job with the wake: leased to it already, so that it needn't ask. The
--   lease is as short as a wake's time; a heartbeat, or the job's end, follows it.

do
  -- worker:<id> says in `waits` whether it is parked ('parked'; 'open': and takes a job with the wake) or was woken
  -- (for which job class).
  local PARKED = {parked = true, open = true}

  -- Park a worker. `worker` = {id, class}.
  function wake.park(pool, worker, is_open)
    redis.call('HSET', pool.key .. 'worker:' .. worker.id, 'waits', is_open and 'open' or 'parked')
    redis.call('ZADD', pool.key .. 'parked:' .. worker.class, pool.now, worker.id)
    redis.call('ZADD', pool.key .. 'parked', 'NX', pool.now, worker.class)
  end

  -- Take a worker out of `parked`; answers whether it stood there.
  function wake.unpark(pool, worker_class, worker_id)
    if redis.call('ZREM', pool.key .. 'parked:' .. worker_class, worker_id) == 0 then return false end
    if redis.call('EXISTS', pool.key .. 'parked:' .. worker_class) == 0 then
      redis.call('ZREM', pool.key .. 'parked', worker_class)
    end
    return true
  end

  -- Push a signal to an agent: 'job <worker>', 'run <msgpack>' (64_claim.lua), 'cancel <job>' or 'command'.
  function wake.signal(pool, agent_id, text)
    local key = pool.key .. 'wake:' .. agent_id
    redis.call('RPUSH', key, text)
    redis.call('PEXPIRE', key, LIMITS.wake_list_ms)
  end

  local function load_worker(pool, id)
    local record = read_fields(pool.key .. 'worker:' .. id, 'class', 'agent_id', 'identity', 'warm', 'waits')
    record.id = id
    return record.class and record or nil
  end

  -- The best worker of this class that is parked and can run the job class, as prefer.candidate says it; nil when there
  -- is none.
  local function best_of_class(pool, worker_class, job_class, wish)
    local answer = feasible.classes(pool, worker_class, job_class)
    if answer == 'no' then return nil end
    local tells_apart, best = prefer.tells_apart(wish), nil
    local last = (answer == 'yes' and not tells_apart) and 0 or LIMITS.wake_workers - 1
    local parked = redis.call('ZRANGE', pool.key .. 'parked:' .. worker_class, 0, last, 'WITHSCORES')
    for i = 1, #parked, 2 do
      local worker = load_worker(pool, parked[i])
      if not worker then
        wake.unpark(pool, worker_class, parked[i])
      elseif answer == 'yes' or feasible.worker(pool, worker, job_class) then
        local candidate = prefer.candidate(pool, wish, worker, tonumber(parked[i + 1]))
        if not best or prefer.before(candidate, best) then best = candidate end
        if not tells_apart then break end
      end
    end
    return best
  end

  -- The best parked worker for the job class among a bounded number of worker classes from rank `first` on; nil when
  -- there is none, and the rank to go on from when these weren't the last classes.
  local function best_parked(pool, job_class, first, wish)
    local parked = redis.call('ZRANGE', pool.key .. 'parked', first, first + LIMITS.wake_classes - 1)
    local best, candidates, looked_at = nil, 0, 0
    for _, worker_class in ipairs(parked) do
      if looked_at > 0 and pool.judged > LIMITS.judge then break end
      looked_at = looked_at + 1
      local candidate = best_of_class(pool, worker_class, job_class, wish)
      if candidate then
        candidates = candidates + 1
        if not best or prefer.before(candidate, best) then best = candidate end
        if candidates == LIMITS.wake_candidates then break end
      end
    end
    local is_last = looked_at == #parked and #parked < LIMITS.wake_classes
    return best and best.worker, not is_last and first + looked_at or nil
  end

  -- The best parked worker among those an address names.
  local function best_addressee(pool, class)
    local ids = redis.call('SRANDMEMBER', pool.key .. 'addressees:' .. class.requirement.address, LIMITS.wake_workers)
    for _, id in ipairs(ids) do
      local worker = load_worker(pool, id)
      local is_parked = worker and redis.call('ZSCORE', pool.key .. 'parked:' .. worker.class, id)
      if is_parked and feasible.worker(pool, worker, class.name) then return worker end
    end
  end

  local function best_worker(pool, class, job, first)
    if class.requirement.address then return best_addressee(pool, class), nil end
    return best_parked(pool, class.name, first, prefer.wish(pool, class, job))
  end

  -- Tell the worker to claim a job of the class.
  local function tell(pool, worker, job_class)
    timers.at(pool, pool.now + LIMITS.wake_follow_ms, 'wake ' .. worker.id .. ' ' .. job_class)
    redis.call('HSET', pool.key .. 'worker:' .. worker.id, 'waits', job_class)
    wake.signal(pool, worker.agent_id, 'job ' .. worker.id)
  end

  -- Wake one parked worker for a job of the class; answers whether one was woken. A class for which the first worker
  -- classes held nobody goes on in the next sweep, from rank `first` on.
  -- `job`: the record of the job it is for, where it is at hand; else the head's is read when it matters.
  function wake.one(pool, job_class, job, first)
    if redis.call('EXISTS', pool.key .. 'parked') == 0 then return false end
    local class = classes.job(pool, job_class)
    if not class or queue.is_paused(pool, class.service) then return false end
    first = first or 0
    local worker, next_rank = best_worker(pool, class, job, first)
    if not worker then
      if next_rank then timers.soon(pool, 'look ' .. job_class .. ' ' .. int(next_rank)) end
      return false
    end
    wake.unpark(pool, worker.class, worker.id)
    local handed = worker.waits == 'open' and not pool.hands_off and claims.hand(pool, worker.id)
    if not handed then
      tell(pool, worker, job_class)
    elseif handed ~= job_class then -- there was a better job for it
      timers.soon(pool, 'look ' .. job_class .. ' 0')
    end
    return true
  end

  -- Workers are to be woken for all waiting jobs of a class that has just become visible: the sweep does it in steps.
  function wake.rouse(pool, job_class)
    local waiting = redis.call('ZCARD', pool.key .. 'waiting:' .. job_class)
    if waiting > 0 then timers.soon(pool, 'rouse ' .. job_class .. ' ' .. int(waiting)) end
  end

  -- One step of that: wake up to LIMITS.heavy workers of the `number` still to be woken.
  function wake.step(pool, job_class, number)
    for _ = 1, math.min(number, LIMITS.heavy) do
      if not wake.one(pool, job_class) then return end
    end
    if number > LIMITS.heavy then
      local left = int(number - LIMITS.heavy)
      timers.soon(pool, 'rouse ' .. job_class .. ' ' .. left)
    end
  end

  -- The worker claims: it is parked no more.
  function wake.claims(pool, worker)
    if not PARKED[worker.waits] then return end
    redis.call('HDEL', pool.key .. 'worker:' .. worker.id, 'waits')
    wake.unpark(pool, worker.class, worker.id)
  end

  -- The worker's claim is answered, with a job of that class if any: its wake, if any, is followed. One that was woken
  -- for another class leaves that job to the next.
  function wake.followed(pool, worker, job_class)
    local woken_for = worker.waits
    if not woken_for or PARKED[woken_for] then return end
    timers.drop(pool, 'wake ' .. worker.id .. ' ' .. woken_for)
    redis.call('HDEL', pool.key .. 'worker:' .. worker.id, 'waits')
    if job_class ~= woken_for and queue.head(pool, woken_for) then wake.one(pool, woken_for) end
  end

  -- The agent didn't follow a wake with a job: none of its workers is woken until it asks again.
  function wake.distrust(pool, agent_id)
    for _, worker_id in ipairs(workers.of(pool, agent_id)) do
      local worker = load_worker(pool, worker_id)
      if worker then wake.unpark(pool, worker.class, worker_id) end
    end
  end

  -- Pass on a wake that nobody followed.
  function wake.pass_on(pool, worker_id, job_class)
    local worker = pool.key .. 'worker:' .. worker_id
    if redis.call('HGET', worker, 'waits') == job_class then redis.call('HDEL', worker, 'waits') end
    if queue.head(pool, job_class) then wake.one(pool, job_class) end
  end
end

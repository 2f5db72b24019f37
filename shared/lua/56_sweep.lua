-- Sweep: whatever time has brought about, a bounded number of each kind per call.
-- Every claim and heartbeat sweeps first, so that nothing depends on a hub being up.
local sweep = {}

-- Members of a sorted set that are due, oldest first.
local function due(pool, index, now)
  return redis.call('ZRANGEBYSCORE', pool .. index, '-inf', int(now), 'LIMIT', 0, LIMITS.sweep)
end

-- Calls `act(job)` for each due job of an index in one of the wanted states; others leave the index.
local function each_job(pool, now, index, wanted, act)
  local ids = due(pool, index, now)
  for _, id in ipairs(ids) do
    redis.call('ZREM', pool .. index, id)
    local job = jobs.read(pool, id)
    if job and wanted(job) then act(job) end
  end
  return #ids
end

local function is_active(job) return job.state == 'active' end
local function is_scheduled(job) return job.state == 'scheduled' end

-- No call reached the store for longer than a lease: every live lease is extended once before anything is reaped.
local function in_amnesty(pool, now)
  local beat = read_fields(pool .. 'beat', 'last_at_ms', 'amnesty_at_ms')
  local lease = workers.lease_ms(pool)
  local last = tonumber(beat.last_at_ms or now)
  local amnesty = tonumber(beat.amnesty_at_ms or 0)
  if now - last > lease then
    amnesty = now + lease
    redis.call('HSET', pool .. 'beat', 'amnesty_at_ms', int(amnesty))
  end
  if now - last > lease / 20 or not beat.last_at_ms then redis.call('HSET', pool .. 'beat', 'last_at_ms', int(now)) end
  return now < amnesty
end

local function make_due(pool, now)
  return each_job(pool, now, 'due', is_scheduled, function(job)
    jobs.move(pool, job, 'pending', {due_at_ms = false})
    events.job(pool, now, 'pending', job)
    jobs.enqueue(pool, now, job)
  end)
end

local function expire(pool, now)
  return each_job(pool, now, 'expiries', jobs.is_waiting, function(job)
    local message = 'waited longer than expires_in_s'
    jobs.finish_waiting(pool, now, job, 'failed', {failure_class = 'expired', message = message})
  end)
end

-- Jobs that don't want to wait for a worker that isn't there: failed after their class was unworkable for so long.
local function give_up(pool, now)
  return each_job(pool, now, 'giveups', jobs.is_alive, function(job)
    local patience = tonumber(job.unworkable_after_ms)
    local since = workable.hidden_since(pool, job.class)
    local over = job.state == 'pending' and since and now - math.max(since, tonumber(job.submitted_at_ms)) >= patience
    if not over then
      redis.call('ZADD', pool .. 'giveups', int(math.max(since or now, now - patience + 1) + patience), job.id)
    else
      local message = 'no registered worker could run it'
      jobs.finish_waiting(pool, now, job, 'failed', {failure_class = 'unworkable', message = message})
    end
  end)
end

-- An attempt's deadline passed: the cancel's grace, the timeout, or no progress for too long.
local function end_attempt(pool, now, job)
  if job.cancel_at_ms and now >= tonumber(job.cancel_at_ms) + LIMITS.cancel_grace_ms then
    return jobs.finish_active(pool, now, job, 'cancelled')
  end
  local class, message = 'timeout', 'took longer than timeout_s'
  if now < tonumber(job.timeout_at_ms) then class, message = 'stalled', 'no progress for longer than stall_s' end
  local worker_id, agent_id = job.worker_id, redis.call('HGET', pool .. 'worker:' .. job.worker_id, 'agent_id')
  retry.after_failure(pool, now, job, class, message)
  if agent_id then wake.signal(pool, agent_id, 'cancel ' .. job.id .. ' ' .. worker_id) end
end

local function lapse(pool, now)
  return each_job(pool, now, 'deadlines', is_active, function(job) end_attempt(pool, now, job) end)
end

local function reap(pool, now)
  return each_job(pool, now, 'leases', is_active, function(job) retry.reap(pool, now, job) end)
end

local function prune(pool, now)
  return each_job(pool, now, 'prunes', jobs.is_final, function(job) jobs.prune(pool, now, job) end)
end

local function each_due(pool, now, index, act)
  local names = due(pool, index, now)
  for _, name in ipairs(names) do act(name) end
  return #names
end

-- Wakes: those not followed pass on; classes that found nobody among the first worker classes look at the next.
local function rewake(pool, now)
  local count = each_due(pool, now, 'woken', function(entry) wake.pass_on(pool, now, entry) end)
  local unserved = redis.call('ZRANGE', pool .. 'unserved', 0, LIMITS.sweep - 1, 'WITHSCORES')
  for i = 1, #unserved, 2 do
    redis.call('ZREM', pool .. 'unserved', unserved[i])
    if queue.head(pool, unserved[i]) then wake.one(pool, now, unserved[i], tonumber(unserved[i + 1])) end
  end
  return count + #unserved / 2
end

-- Classes that became workable wake a worker for each of their first jobs.
local function renew_workable(pool, now)
  local found = workable.step(pool, now)
  for _, class in ipairs(found) do
    local waiting = redis.call('ZCARD', pool .. 'waiting:' .. class)
    for _ = 1, math.min(waiting, LIMITS.sweep) do
      if not wake.one(pool, now, class) then break end
    end
  end
  return #found
end

local function forget(pool, now)
  local count = each_due(pool, now, 'agents', function(id) workers.lose_agent(pool, now, id) end)
  count = count + each_due(pool, now, 'lost-agents', function(id) workers.remove_agent(pool, now, id) end)
  count = count + each_due(pool, now, 'idle-wclasses', function(name) workers.forget_class(pool, now, name) end)
  return count + each_due(pool, now, 'idle-classes', function(name) classes.forget(pool, name) end)
end

-- What a claim or heartbeat does on the way: nothing that others could wait for stays undone.
function sweep.urgent(pool, now)
  local count = 0
  if not in_amnesty(pool, now) then count = reap(pool, now) end
  return count + lapse(pool, now) + make_due(pool, now) + rewake(pool, now) + renew_workable(pool, now)
end

-- All of it; answers how many things were done.
function sweep.all(pool, now)
  events.trim(pool, now)
  return sweep.urgent(pool, now) + expire(pool, now) + give_up(pool, now) + forget(pool, now) + prune(pool, now)
end

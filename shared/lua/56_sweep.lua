-- Sweep: whatever time has brought about, a bounded step per call.
--
-- Two sorted sets by time: `timers` is what others may wait for, done first by every claim and heartbeat; `chores` is
-- the rest, done by the hubs' janitor. A member is a word and what it is about; its word says what is done.

do
  -- Calls act(job) if the job exists and is in the wanted state; a damaged one is set aside.
  local function with_job(pool, id, is_wanted, act)
    local job = jobs.sound(pool, id)
    if job and is_wanted(job) then act(job) end
  end

  local function is_active(job) return job.state == 'active' end
  local function is_scheduled(job) return job.state == 'scheduled' end
  local function may_give_up(job) return job.unworkable_after_ms and not jobs.is_final(job) end

  -- An attempt's deadline passed: the cancel's grace, the timeout, or no progress for too long.
  local function end_attempt(pool, job, ended)
    local worker_id = job.worker_id
    local agent_id = redis.call('HGET', pool.key .. 'worker:' .. worker_id, 'agent_id')
    if ended == 'cancelled' then
      jobs.finish_active(pool, job, 'cancelled')
    else
      local message = ended == 'timeout' and 'took longer than timeout_s' or 'no progress for longer than stall_s'
      if not job.cancel_at_ms then suspension.failed(pool, worker_id, job, {class = ended, message = message}) end
      retry.after_failure(pool, job, ended, message)
    end
    if agent_id then wake.signal(pool, agent_id, 'cancel ' .. job.id .. ' ' .. worker_id) end
  end

  local TIMERS = {}

  -- An active job's lease or deadline. During an amnesty leases only run on.
  function TIMERS.lease(pool, id, at)
    with_job(pool, id, is_active, function(job)
      local ended = jobs.deadline_at(job, at)
      if ended ~= 'lease' and ended ~= 'wake' then return end_attempt(pool, job, ended) end
      if pool.amnesty_at_ms then return timers.at(pool, pool.amnesty_at_ms, 'lease ' .. id) end
      if ended == 'wake' then retry.pass_on(pool, job) else retry.reap(pool, job) end
    end)
  end

  -- A scheduled job's time has come.
  function TIMERS.due(pool, id)
    with_job(pool, id, is_scheduled, function(job)
      job.due_at_ms = nil
      jobs.make_pending(pool, job, {event = 'pending'})
    end)
  end

  function TIMERS.expiry(pool, id)
    with_job(pool, id, jobs.is_waiting, function(job)
      local message = 'waited longer than expires_in_s'
      jobs.finish_waiting(pool, job, 'failed', {failure_class = 'expired', message = message})
    end)
  end

  -- A wake that nobody followed.
  function TIMERS.wake(pool, about)
    local worker_id, job_class = string.match(about, '^(.*) (%S+)$')
    wake.pass_on(pool, worker_id, job_class)
  end

  -- A class for which the first worker classes held nobody: look at the next.
  function TIMERS.look(pool, about)
    local job_class, first = string.match(about, '^(%S+) (%d+)$')
    if queue.head(pool, job_class) then wake.one(pool, job_class, nil, tonumber(first)) end
    return LIMITS.heavy
  end

  -- Workers are to be woken for the jobs of a class that became visible.
  function TIMERS.rouse(pool, about)
    local job_class, number = string.match(about, '^(%S+) (%d+)$')
    wake.step(pool, job_class, tonumber(number))
    return LIMITS.heavy
  end

  -- There are worker classes that some unworkable classes haven't seen.
  function TIMERS.workable(pool)
    local found, is_left = workable.step(pool, 'unworkable', LIMITS.examine_soon)
    for _, class in ipairs(found) do wake.rouse(pool, class) end
    if is_left then timers.soon(pool, 'workable') end
    return LIMITS.sweep
  end

  -- A worker came, went or changed: classes to which it matters who is there.
  function TIMERS.asked(pool, about)
    local asked, after = string.match(about, '^(.*) (%S*)$')
    local last = workable.ask(pool, asked, after)
    if last then timers.soon(pool, 'asked ' .. asked .. ' ' .. last) end
    return LIMITS.sweep
  end

  -- A finished job's dependants are to be told.
  function TIMERS.dependants(pool, id)
    if dependants.step(pool, id) then timers.soon(pool, 'dependants ' .. id) end
    return LIMITS.sweep
  end

  -- A service was paused or resumed: its classes leave or enter the heads.
  function TIMERS.show(pool, about)
    local service, after = string.match(about, '^(.*) (%S*)$')
    local last = pauses.step(pool, service, after)
    if last then timers.soon(pool, 'show ' .. service .. ' ' .. last) end
    return LIMITS.sweep
  end

  local CHORES = {}

  -- A job that doesn't want to wait for a worker that isn't there: failed after its class was unworkable for so long.
  function CHORES.giveup(pool, id)
    with_job(pool, id, may_give_up, function(job)
      local since = workable.hidden_since(pool, job.class)
      local from = since and math.max(since, job.submitted_at_ms) or pool.now
      if job.state == 'pending' and pool.now - from >= job.unworkable_after_ms then
        local message = 'no registered worker could run it'
        return jobs.finish_waiting(pool, job, 'failed', {failure_class = 'unworkable', message = message})
      end
      local again = math.max(from, pool.now - job.unworkable_after_ms + 1) + job.unworkable_after_ms
      redis.call('ZADD', pool.key .. 'chores', again, 'giveup ' .. id)
    end)
  end

  -- There are worker classes that some classes without a witness haven't seen.
  function CHORES.examine(pool)
    local _, is_left = workable.step(pool, 'unexamined', LIMITS.examine)
    if is_left then redis.call('ZADD', pool.key .. 'chores', 'LT', pool.now, 'examine') end
    return LIMITS.sweep
  end

  function CHORES.prune(pool, id)
    with_job(pool, id, jobs.is_final, function(job)
      if not job.has_dependants then return jobs.prune(pool, job) end
      -- those who wait for it are told first
      timers.soon(pool, 'dependants ' .. id)
      redis.call('ZADD', pool.key .. 'chores', pool.now, 'prune ' .. id)
    end)
  end

  function CHORES.unlist(pool, agent_id)
    workers.unlist(pool, agent_id)
    return workers.weight(pool, agent_id)
  end

  function CHORES.agent(pool, agent_id)
    if not redis.call('ZSCORE', pool.key .. 'lost-agents', agent_id) then return 1 end
    local weight = workers.weight(pool, agent_id)
    workers.remove_agent(pool, agent_id)
    events.add(pool, 'agent.gone', {agent_id = agent_id})
    return weight
  end

  CHORES['class'] = function(pool, name) classes.forget(pool, name) end

  function CHORES.wclass(pool, name)
    if not workers.forget_class(pool, name) then
      redis.call('ZADD', pool.key .. 'chores', pool.now, 'wclass ' .. name)
    end
    return LIMITS.heavy
  end

  -- Do what is due in one of the sets, oldest first, within the share of one call; answers how many things were done.
  local function run(pool, set, acts)
    local due = redis.call('ZRANGEBYSCORE', pool.key .. set, '-inf', int(pool.now), 'WITHSCORES',
      'LIMIT', 0, LIMITS.sweep)
    local share, done = LIMITS.sweep, 0
    for i = 1, #due, 2 do
      if share <= 0 then break end
      redis.call('ZREM', pool.key .. set, due[i])
      local word, about = string.match(due[i], '^(%S+) ?(.*)$')
      share = share - (acts[word] and acts[word](pool, about, tonumber(due[i + 1])) or 1)
      done = done + 1
    end
    return done
  end

  local last_written = {} -- pool → when this server last wrote `beat`

  -- No call reached the store for longer than a lease: every live lease is extended once before anything is reaped.
  -- Notes that a call was made, every twentieth of a lease.
  local function note_amnesty(pool)
    local fresh = last_written[pool.key]
    if fresh and pool.now >= fresh and pool.now - fresh <= pool.lease_ms / 20 then
      pool.amnesty_at_ms = nil
    else
      local last = tonumber(redis.call('HGET', pool.key .. 'beat', 'last_at_ms') or pool.now)
      if pool.now - last > pool.lease_ms then
        redis.call('HSET', pool.key .. 'beat', 'amnesty_at_ms', int(pool.now + pool.lease_ms))
      end
      redis.call('HSET', pool.key .. 'beat', 'last_at_ms', int(pool.now))
      last_written[pool.key] = pool.now
    end
  end

  -- Until when leases only run on, if they do.
  local function read_amnesty(pool)
    local at = tonumber(redis.call('HGET', pool.key .. 'beat', 'amnesty_at_ms') or 0)
    pool.amnesty_at_ms = at > pool.now and at or nil
  end

  -- What a claim or heartbeat does on the way: nothing that others could wait for stays undone.
  function sweep.urgent(pool)
    note_amnesty(pool)
    if not timers.is_any_due(pool) then return 0 end
    read_amnesty(pool)
    return run(pool, 'timers', TIMERS)
  end

  -- Agents that fell silent are lost, but during an amnesty; answers how many.
  local function lose_silent(pool)
    local silent = redis.call('ZRANGEBYSCORE', pool.key .. 'agents', '-inf', int(pool.now), 'LIMIT', 0, LIMITS.sweep)
    if #silent > 0 then read_amnesty(pool) end
    if pool.amnesty_at_ms then return 0 end
    local share = LIMITS.sweep
    for i, agent_id in ipairs(silent) do
      share = share - workers.weight(pool, agent_id)
      workers.lose_agent(pool, agent_id)
      if share <= 0 then return i end
    end
    return #silent
  end

  -- All of it; answers how many things were done.
  function sweep.all(pool)
    events.trim(pool)
    local done = sweep.urgent(pool)
    return done + lose_silent(pool) + run(pool, 'chores', CHORES)
  end
end

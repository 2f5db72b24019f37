-- Agents and workers: who is there, what they are, and when they fell silent.
--
-- worker:<id>   class, agent_id, session, identity, view; documents (capability, accepts); job_id; waits; warm;
--               draining; suspended (JSON of shared/lua/51_suspension.lua); unlisted: it no longer counts as registered

do
  -- The worker's record for a claim, or nil: {id, class, agent_id, session, identity, job_id, waits, draining,
  -- warm}.
  function workers.read(pool, id)
    local worker = read_fields(pool.key .. 'worker:' .. id, 'class', 'agent_id', 'session', 'identity', 'job_id',
      'waits', 'draining', 'warm')
    if not worker.class then return nil end
    worker.id = id
    return worker
  end

  -- The agent was heard of now.
  function workers.seen(pool, agent_id)
    redis.call('ZADD', pool.key .. 'agents', pool.now + pool.lease_ms, agent_id)
    redis.call('HSET', pool.key .. 'agent:' .. agent_id, 'seen_at_ms', int(pool.now))
  end

  -- The worker is no longer of this class, which is forgotten after a while when nobody is; answers whether the worker
  -- was parked.
  local function leave_class(pool, worker_id, class)
    local was_parked = wake.unpark(pool, class, worker_id)
    redis.call('SREM', pool.key .. 'wclass-workers:' .. class, worker_id)
    if redis.call('EXISTS', pool.key .. 'wclass-workers:' .. class) == 0 then
      redis.call('ZADD', pool.key .. 'chores', pool.now + LIMITS.registered_ms, 'wclass ' .. class)
    end
    return was_parked
  end

  local function join_class(pool, worker_id, class)
    redis.call('SADD', pool.key .. 'wclass-workers:' .. class, worker_id)
    redis.call('ZREM', pool.key .. 'chores', 'wclass ' .. class)
  end

  -- The worker is of the class that its documents and suspensions make; a parked worker that is of another one now is
  -- told to ask again. Answers whether it changed, and whether it is new.
  function workers.classify(pool, id)
    local key = pool.key .. 'worker:' .. id
    local facts = read_fields(key, 'class', 'agent_id', 'capability', 'accepts', 'identity')
    workable.note_worker(pool, facts.identity)
    local class = classes.join_worker(pool, facts.capability, facts.accepts, suspension.services(pool, id))
    if facts.class == class then
      join_class(pool, id, class)
      return false, false
    end
    local was_parked = facts.class and leave_class(pool, id, facts.class)
    redis.call('HSET', key, 'class', class)
    join_class(pool, id, class)
    if was_parked then wake.signal(pool, facts.agent_id, 'job ' .. id) end
    return true, not facts.class
  end

  -- Make attribute paths significant; they count from the next call on.
  local function signify(pool, paths)
    local added = 0
    for _, path in ipairs(paths) do added = added + redis.call('SADD', pool.key .. 'significant', path) end
    if added > 0 then pools.set(pool, 'significant', redis.call('SCARD', pool.key .. 'significant')) end
  end

  -- Who a worker is, for jobs that ask for it by name.
  local function address(pool, id, identity, command)
    for path, text in pairs(documents.identity(identity)) do
      redis.call(command, pool.key .. 'addressees:' .. path .. '=s:' .. text, id)
    end
    if command == 'SREM' then workable.note_worker(pool, identity) end
  end

  -- One worker of an agent as it registers. `facts` = {id, capability, accepts, identity, view, warm, significant}.
  local function register(pool, agent_id, facts, session, is_draining)
    if facts.significant[1] then signify(pool, facts.significant) end
    local key = pool.key .. 'worker:' .. facts.id
    local before = read_fields(key, 'identity', 'session', 'agent_id', 'registered_at_ms')
    if before.agent_id and before.agent_id ~= agent_id then
      redis.call('SREM', pool.key .. 'agent-workers:' .. before.agent_id, facts.id)
    end
    if before.identity ~= facts.identity then
      if before.identity then address(pool, facts.id, before.identity, 'SREM') end
      address(pool, facts.id, facts.identity, 'SADD')
    end
    if before.session and before.session ~= session then suspension.forget(pool, facts.id) end
    redis.call('HSET', key, 'agent_id', agent_id, 'session', session, 'capability', facts.capability,
      'accepts', facts.accepts, 'identity', facts.identity, 'view', facts.view, 'warm', facts.warm,
      'registered_at_ms', before.registered_at_ms or pool.now_text)
    redis.call('HDEL', key, 'unlisted', 'draining')
    if is_draining then redis.call('HSET', key, 'draining', 1) end
    redis.call('ZADD', pool.key .. 'workers', 0, facts.id)
    redis.call('SADD', pool.key .. 'agent-workers:' .. agent_id, facts.id)
    local has_changed, is_new = workers.classify(pool, facts.id)
    if has_changed then
      events.add(pool, is_new and 'worker.registered' or 'worker.changed', {worker_id = facts.id, agent_id = agent_id})
    end
  end

  -- The workers of an agent register, as one process of it (`session`).
  function workers.register(pool, agent_id, session, list)
    local is_draining = redis.call('HGET', pool.key .. 'agent:' .. agent_id, 'state') == 'draining'
    for _, facts in ipairs(list) do register(pool, agent_id, facts, session, is_draining) end
  end

  -- The worker is gone; a job it holds goes back unharmed.
  function workers.remove(pool, agent_id, worker_id)
    local worker = workers.read(pool, worker_id)
    redis.call('SREM', pool.key .. 'agent-workers:' .. agent_id, worker_id)
    if not worker or worker.agent_id ~= agent_id then return end
    local job = worker.job_id and jobs.read(pool, worker.job_id)
    if job and job.state == 'active' and job.worker_id == worker_id then jobs.release(pool, job) end
    suspension.forget(pool, worker_id)
    address(pool, worker_id, worker.identity, 'SREM')
    leave_class(pool, worker_id, worker.class)
    redis.call('DEL', pool.key .. 'worker:' .. worker_id)
    redis.call('ZREM', pool.key .. 'workers', worker_id)
    events.add(pool, 'worker.gone', {worker_id = worker_id, agent_id = agent_id})
  end

  -- Ids of the agent's workers.
  function workers.of(pool, agent_id)
    return redis.call('SMEMBERS', pool.key .. 'agent-workers:' .. agent_id)
  end

  -- What a step for all workers of the agent counts in a sweep: all of it, when it has as many as it may.
  function workers.weight(pool, agent_id)
    return math.max(1, LIMITS.sweep * redis.call('SCARD', pool.key .. 'agent-workers:' .. agent_id) / LIMITS.workers)
  end

  -- The agent and all its workers are gone.
  function workers.remove_agent(pool, agent_id)
    for _, worker_id in ipairs(workers.of(pool, agent_id)) do workers.remove(pool, agent_id, worker_id) end
    redis.call('DEL', pool.key .. 'agent:' .. agent_id, pool.key .. 'agent-workers:' .. agent_id,
      pool.key .. 'wake:' .. agent_id)
    redis.call('ZREM', pool.key .. 'agents', agent_id)
    redis.call('ZREM', pool.key .. 'lost-agents', agent_id)
    redis.call('ZREM', pool.key .. 'chores', 'unlist ' .. agent_id, 'agent ' .. agent_id)
  end

  -- Its workers are handed no more jobs.
  function workers.drain(pool, agent_id)
    redis.call('HSET', pool.key .. 'agent:' .. agent_id, 'state', 'draining')
    for _, worker_id in ipairs(workers.of(pool, agent_id)) do
      local worker = workers.read(pool, worker_id)
      if worker then
        wake.unpark(pool, worker.class, worker_id)
        workable.note_worker(pool, worker.identity)
      end
      redis.call('HSET', pool.key .. 'worker:' .. worker_id, 'draining', 1)
      events.add(pool, 'worker.draining', {worker_id = worker_id, agent_id = agent_id})
    end
  end

  -- They are again.
  function workers.undrain(pool, agent_id)
    redis.call('HDEL', pool.key .. 'agent:' .. agent_id, 'state')
    for _, worker_id in ipairs(workers.of(pool, agent_id)) do
      redis.call('HDEL', pool.key .. 'worker:' .. worker_id, 'draining')
      wake.signal(pool, agent_id, 'job ' .. worker_id)
    end
  end

  -- The agent fell silent: its workers are woken no more. After a while they don't count as registered, after a day
  -- they are forgotten.
  function workers.lose_agent(pool, agent_id)
    redis.call('ZREM', pool.key .. 'agents', agent_id)
    redis.call('ZADD', pool.key .. 'lost-agents', pool.now, agent_id)
    redis.call('ZADD', pool.key .. 'chores', pool.now + LIMITS.registered_ms - pool.lease_ms, 'unlist ' .. agent_id)
    redis.call('ZADD', pool.key .. 'chores', pool.now + LIMITS.agent_gone_ms, 'agent ' .. agent_id)
    events.add(pool, 'agent.lost', {agent_id = agent_id})
    for _, worker_id in ipairs(workers.of(pool, agent_id)) do
      local worker = workers.read(pool, worker_id)
      if worker then wake.unpark(pool, worker.class, worker_id) end
      events.add(pool, 'worker.lost', {worker_id = worker_id, agent_id = agent_id})
    end
  end

  -- The workers of a lost agent no longer count as registered.
  function workers.unlist(pool, agent_id)
    if not redis.call('ZSCORE', pool.key .. 'lost-agents', agent_id) then return end
    for _, worker_id in ipairs(workers.of(pool, agent_id)) do
      local worker = workers.read(pool, worker_id)
      if worker then
        leave_class(pool, worker_id, worker.class)
        workable.note_worker(pool, worker.identity)
        redis.call('ZADD', pool.key .. 'chores', 'LT', pool.now, 'wclass ' .. worker.class)
        redis.call('HSET', pool.key .. 'worker:' .. worker_id, 'unlisted', 1)
      end
    end
  end

  -- The agent was lost and is heard of again: its workers, which had been taken out of `parked`, are to ask again.
  local function find_agent(pool, agent_id)
    events.add(pool, 'agent.connected', {agent_id = agent_id})
    redis.call('ZREM', pool.key .. 'chores', 'unlist ' .. agent_id, 'agent ' .. agent_id)
    for _, worker_id in ipairs(workers.of(pool, agent_id)) do
      local key = pool.key .. 'worker:' .. worker_id
      -- its class may be forgotten
      if redis.call('HDEL', key, 'unlisted') == 1 then workers.classify(pool, worker_id) end
      wake.signal(pool, agent_id, 'job ' .. worker_id)
    end
  end

  -- The agent says that it is there.
  function workers.hear(pool, agent_id)
    if redis.call('ZREM', pool.key .. 'lost-agents', agent_id) == 1 then find_agent(pool, agent_id) end
    workers.seen(pool, agent_id)
  end

  -- A worker class nobody has been of for a while is forgotten. Answers false while more calls are needed.
  function workers.forget_class(pool, class)
    if redis.call('EXISTS', pool.key .. 'wclass-workers:' .. class) == 1 then return true end
    redis.call('ZREM', pool.key .. 'wclasses', class)
    if not workable.lose(pool, class) then return false end
    redis.call('DEL', pool.key .. 'wclass:' .. class)
    search.forget(pool, class)
    return true
  end
end

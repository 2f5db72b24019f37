-- Agents and workers: who is there, what they are, and when they fell silent.
local workers = {}

-- The worker's record for a claim, or nil: {id, class, agent_id, identity, job_id, woken_for}.
function workers.read(pool, id)
  local worker = read_fields(pool .. 'worker:' .. id, 'class', 'agent_id', 'identity', 'job_id', 'woken_for')
  if not worker.class then return nil end
  worker.id = id
  return worker
end

-- How long a silent agent, and a job it holds, is waited for.
function workers.lease_ms(pool)
  return tonumber(redis.call('HGET', pool .. 'settings', 'lease_ms') or LIMITS.lease_ms)
end

-- The agent was heard of now.
function workers.seen(pool, now, agent_id)
  redis.call('ZADD', pool .. 'agents', int(now + workers.lease_ms(pool)), agent_id)
  redis.call('HSET', pool .. 'agent:' .. agent_id, 'seen_at_ms', int(now))
end

-- The worker is no longer of this class; answers whether it was parked.
local function leave_class(pool, now, worker_id, class)
  local was_parked = wake.unpark(pool, class, worker_id)
  redis.call('SREM', pool .. 'wclass-workers:' .. class, worker_id)
  if redis.call('EXISTS', pool .. 'wclass-workers:' .. class) == 0 then
    redis.call('ZADD', pool .. 'idle-wclasses', int(now + LIMITS.class_idle_ms), class)
  end
  return was_parked
end

-- Make an attribute path significant.
local function signify(pool, paths)
  for _, path in ipairs(paths) do redis.call('HSETNX', pool .. 'significant', path, 1) end
end

-- One worker of an agent as it registers. `facts` = {id, capability, accepts, identity, view, significant}.
function workers.register(pool, now, agent_id, facts)
  signify(pool, facts.significant)
  local class = classes.intern_worker(pool, facts.capability, facts.accepts)
  local key = pool .. 'worker:' .. facts.id
  local before = redis.call('HGET', key, 'class')
  -- a parked worker that is another one now is told to ask again
  if before and before ~= class and leave_class(pool, now, facts.id, before) then
    wake.signal(pool, agent_id, 'job ' .. facts.id)
  end
  redis.call('HSET', key, 'class', class, 'agent_id', agent_id, 'identity', facts.identity, 'view', facts.view)
  redis.call('HSETNX', key, 'registered_at_ms', int(now))
  redis.call('SADD', pool .. 'wclass-workers:' .. class, facts.id)
  redis.call('ZREM', pool .. 'idle-wclasses', class)
  redis.call('ZADD', pool .. 'workers', 0, facts.id)
  redis.call('SADD', pool .. 'agent-workers:' .. agent_id, facts.id)
  if before ~= class then
    local event = before and 'worker.changed' or 'worker.registered'
    events.add(pool, now, event, {worker_id = facts.id, agent_id = agent_id})
  end
end

-- The worker is gone; a job it holds goes back unharmed.
function workers.remove(pool, now, agent_id, worker_id)
  local worker = workers.read(pool, worker_id)
  redis.call('SREM', pool .. 'agent-workers:' .. agent_id, worker_id)
  if not worker or worker.agent_id ~= agent_id then return end
  local job = worker.job_id and jobs.read(pool, worker.job_id)
  if job and job.state == 'active' and job.worker_id == worker_id then
    jobs.give_back(pool, now, job, {attempts = tonumber(job.attempts) - 1}, {event = 'released'})
  end
  leave_class(pool, now, worker_id, worker.class)
  redis.call('DEL', pool .. 'worker:' .. worker_id)
  redis.call('ZREM', pool .. 'workers', worker_id)
  events.add(pool, now, 'worker.gone', {worker_id = worker_id, agent_id = agent_id})
end

-- The agent and all its workers are gone.
function workers.remove_agent(pool, now, agent_id)
  for _, worker_id in ipairs(redis.call('SMEMBERS', pool .. 'agent-workers:' .. agent_id)) do
    workers.remove(pool, now, agent_id, worker_id)
  end
  redis.call('DEL', pool .. 'agent:' .. agent_id, pool .. 'agent-workers:' .. agent_id, pool .. 'wake:' .. agent_id)
  redis.call('ZREM', pool .. 'agents', agent_id)
  redis.call('ZREM', pool .. 'lost-agents', agent_id)
end

-- The agent fell silent: its workers are woken no more; after a day it is forgotten.
function workers.lose_agent(pool, now, agent_id)
  redis.call('ZREM', pool .. 'agents', agent_id)
  redis.call('ZADD', pool .. 'lost-agents', int(now + LIMITS.agent_gone_ms), agent_id)
  events.add(pool, now, 'agent.lost', {agent_id = agent_id})
  for _, worker_id in ipairs(redis.call('SMEMBERS', pool .. 'agent-workers:' .. agent_id)) do
    local worker = workers.read(pool, worker_id)
    if worker then wake.unpark(pool, worker.class, worker_id) end
    events.add(pool, now, 'worker.lost', {worker_id = worker_id, agent_id = agent_id})
  end
end

-- The agent was lost and is heard of again.
function workers.find_agent(pool, now, agent_id)
  if redis.call('ZREM', pool .. 'lost-agents', agent_id) == 1 then
    events.add(pool, now, 'agent.connected', {agent_id = agent_id})
    -- its workers were taken out of `parked`: they are to ask again
    for _, worker_id in ipairs(redis.call('SMEMBERS', pool .. 'agent-workers:' .. agent_id)) do
      wake.signal(pool, agent_id, 'job ' .. worker_id)
    end
  end
  workers.seen(pool, now, agent_id)
end

-- A worker class nobody has been of for a while is forgotten. Answers false while more calls are needed.
function workers.forget_class(pool, now, class)
  if redis.call('EXISTS', pool .. 'wclass-workers:' .. class) == 0 then
    redis.call('ZREM', pool .. 'wclasses', class)
    if not workable.lose(pool, now, class) then return end
    redis.call('DEL', pool .. 'wclass:' .. class, pool .. 'feasible:' .. class, pool .. 'seen:' .. class)
  end
  redis.call('ZREM', pool .. 'idle-wclasses', class)
end

-- muster_register: make an agent and exactly these workers known. Again with other facts is the update.
-- KEYS  1: any key of the pool
-- ARGV  1: agent id, 2: session (differs between two processes of the agent), 3: agent's view (JSON),
--       4: number of workers n, then 7 per worker: id, compiled capability, compiled accepts, compiled identity,
--       view (JSON), warm models (' service/model  service/model '), significant attribute paths (space separated)
-- Answers {'OK', number of workers, the pool's lease in ms} | {'TAKEN', worker id}: another agent has this worker
--   | {'LIMIT', most workers of an agent}
-- Events agent.connected, worker.registered .changed .gone, job.workable
local function is_id(text)
  return #text <= 128 and string.find(text, '^[A-Za-z0-9][A-Za-z0-9._-]*$') ~= nil
end

local function parse_workers(args)
  local list = {}
  demand(is_id(args[1]) and is_id(args[2]), 'ids of letters, digits, ".", "_" and "-"')
  for i = 5, #args, 7 do
    local facts = {
      id = args[i], capability = args[i + 1], accepts = args[i + 2], identity = args[i + 3], view = args[i + 4],
      warm = args[i + 5], significant = {},
    }
    demand(is_id(facts.id), 'ids of letters, digits, ".", "_" and "-"')
    documents.capability(facts.capability) -- raises before anything is written; so do the others
    documents.accepts(facts.accepts)
    documents.identity(facts.identity)
    for path in string.gmatch(args[i + 6], '%S+') do facts.significant[#facts.significant + 1] = path end
    list[#list + 1] = facts
  end
  return list
end

-- A worker id that a living other agent has, or nil.
local function taken(pool, agent_id, list)
  for _, facts in ipairs(list) do
    local owner = redis.call('HGET', pool.key .. 'worker:' .. facts.id, 'agent_id')
    if owner and owner ~= agent_id and redis.call('ZSCORE', pool.key .. 'agents', owner) then return facts.id end
  end
end

local function remove_others(pool, agent_id, list)
  local keep = {}
  for _, facts in ipairs(list) do keep[facts.id] = true end
  for _, id in ipairs(workers.of(pool, agent_id)) do
    if not keep[id] then workers.remove(pool, agent_id, id) end
  end
end

local function muster_register(keys, args)
  if (#args - 4) / 7 > LIMITS.workers then return {'LIMIT', LIMITS.workers} end
  local pool, agent_id, list = pools.open(keys), args[1], parse_workers(args)
  local other = taken(pool, agent_id, list)
  if other then return {'TAKEN', other} end
  remove_others(pool, agent_id, list)
  local key = pool.key .. 'agent:' .. agent_id
  local is_new = redis.call('HSETNX', key, 'registered_at_ms', int(pool.now)) == 1
  if redis.call('HGET', key, 'session') ~= args[2] then redis.call('HDEL', key, 'state') end -- a drain ends with it
  redis.call('HSET', key, 'session', args[2], 'view', args[3])
  workers.hear(pool, agent_id)
  if is_new then events.add(pool, 'agent.connected', {agent_id = agent_id}) end
  workers.register(pool, agent_id, args[2], list)
  sweep.urgent(pool)
  return {'OK', #list, pool.lease_ms}
end

-- muster_deregister: the agent says good-bye.
-- ARGV  1: agent id
-- Answers {'OK'}. Jobs it holds go back unharmed. Events worker.gone, agent.gone, job.released
local function muster_deregister(keys, args)
  local pool = pools.open(keys)
  if redis.call('EXISTS', pool.key .. 'agent:' .. args[1]) == 1 then
    workers.remove_agent(pool, args[1])
    events.add(pool, 'agent.gone', {agent_id = args[1]})
  end
  return {'OK'}
end

-- muster_suspect: the agent's link closed without a good-bye. Unless it is heard of within the grace, what it holds is
-- taken from it. It is told to speak at once: it may well be alive, and the close may be old news.
-- ARGV  1: agent id, 2: grace in ms
-- Answers {'OK', number of jobs it holds}
local function muster_suspect(keys, args)
  local pool, held, grace_ms = pools.open(keys), 0, tonumber(args[2])
  demand(is_integer(grace_ms, 0, 3600000), 'a grace of 0 to 3600000 ms')
  for _, worker_id in ipairs(workers.of(pool, args[1])) do
    local worker = workers.read(pool, worker_id)
    local job = worker and worker.job_id and jobs.read(pool, worker.job_id)
    if job and job.state == 'active' and job.worker_id == worker_id then
      timers.at_most(pool, pool.now + grace_ms, 'lease ' .. job.id)
      held = held + 1
    end
  end
  if held > 0 then wake.signal(pool, args[1], 'command') end
  return {'OK', held}
end

-- muster_command: tell an agent something with its next heartbeat, and that it should send one now.
-- ARGV  1: agent id, 2: drain | resume | update | reload
-- Answers {'OK'} | {'NOT_FOUND'}. Events worker.draining
local COMMANDS = {drain = true, resume = true, update = true, reload = true}

local function muster_command(keys, args)
  local pool, agent_id, command = pools.open(keys), args[1], args[2]
  local key = pool.key .. 'agent:' .. agent_id
  demand(COMMANDS[command], 'drain, resume, update or reload')
  if redis.call('EXISTS', key) == 0 then return {'NOT_FOUND'} end
  redis.call('HSET', key, 'command', command)
  if command == 'drain' then workers.drain(pool, agent_id) end
  if command == 'resume' then workers.undrain(pool, agent_id) end
  wake.signal(pool, agent_id, 'command')
  return {'OK'}
end

-- muster_register: make an agent and exactly these workers known. Again with other facts is the update.
-- KEYS  1: any key of the pool
-- ARGV  1: agent id, 2: session (differs between two processes of the agent), 3: agent's view (JSON),
--       4: number of workers n, then 6 per worker: id, compiled capability, compiled accepts, compiled identity,
--       view (JSON), significant attribute paths (space separated)
-- Answers {'OK', number of workers, the pool's lease in ms} | {'TAKEN', worker id}: another agent has this worker
-- Events agent.connected, worker.registered .changed .gone, job.workable
local function parse_workers(args)
  local list = {}
  for i = 5, #args, 6 do
    local facts = {
      id = args[i], capability = args[i + 1], accepts = args[i + 2], identity = args[i + 3], view = args[i + 4],
      significant = {},
    }
    for path in string.gmatch(args[i + 5], '%S+') do facts.significant[#facts.significant + 1] = path end
    list[#list + 1] = facts
  end
  return list
end

-- A worker id that a living other agent has, or nil.
local function taken(pool, agent_id, list)
  for _, facts in ipairs(list) do
    local owner = redis.call('HGET', pool .. 'worker:' .. facts.id, 'agent_id')
    if owner and owner ~= agent_id and redis.call('ZSCORE', pool .. 'agents', owner) then return facts.id end
  end
end

local function remove_others(pool, now, agent_id, list)
  local keep = {}
  for _, facts in ipairs(list) do keep[facts.id] = true end
  for _, id in ipairs(redis.call('SMEMBERS', pool .. 'agent-workers:' .. agent_id)) do
    if not keep[id] then workers.remove(pool, now, agent_id, id) end
  end
end

local function muster_register(keys, args)
  local pool, now = pool_of(keys[1]), now_ms()
  local agent_id, list = args[1], parse_workers(args)
  local other = taken(pool, agent_id, list)
  if other then return {'TAKEN', other} end
  remove_others(pool, now, agent_id, list)
  local key = pool .. 'agent:' .. agent_id
  local is_new = redis.call('HSETNX', key, 'registered_at_ms', int(now)) == 1
  redis.call('HSET', key, 'session', args[2], 'view', args[3])
  redis.call('HDEL', key, 'state')
  workers.find_agent(pool, now, agent_id)
  if is_new then events.add(pool, now, 'agent.connected', {agent_id = agent_id}) end
  for _, facts in ipairs(list) do workers.register(pool, now, agent_id, facts) end
  sweep.urgent(pool, now)
  return {'OK', #list, workers.lease_ms(pool)}
end

-- muster_deregister: the agent says good-bye.
-- ARGV  1: agent id
-- Answers {'OK'}. Jobs it holds go back unharmed. Events worker.gone, agent.lost is not sent, job.released
local function muster_deregister(keys, args)
  local pool, now = pool_of(keys[1]), now_ms()
  workers.remove_agent(pool, now, args[1])
  events.add(pool, now, 'agent.gone', {agent_id = args[1]})
  return {'OK'}
end

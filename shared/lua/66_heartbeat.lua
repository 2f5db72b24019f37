-- muster_heartbeat: an agent is alive, and so are the jobs it names.
-- KEYS  1: any key of the pool
-- ARGV  1: agent id, 2: telemetry (JSON, '' = no news), 3: number of jobs n, then 5 per job: id, fence, worker id,
--       progress (JSON, '' = no news), '1' while its result is being delivered (no timeout counts any more)
-- Answers {command, word, word, ...}: command 'ok' | 'drain' | 'resume' | 'update' | 'reload' | 'unknown' (register
--   again); per job 'ok' | 'cancel' | 'lost'
-- Events job.progress

local function note_progress(pool, now, job, progress)
  if progress == '' then return end
  redis.call('SET', pool .. 'progress:' .. job.id, progress)
  if job.stall_ms then jobs.set(pool, job, {stall_at_ms = now + tonumber(job.stall_ms)}) end
  events.add(pool, now, 'job.progress', {
    job_id = job.id, worker_id = job.worker_id, fence = job.fence, data = progress,
  })
end

-- While a result is delivered only the lease and a cancel's grace count.
local function set_deadline(pool, job, delivering)
  if not delivering then
    redis.call('ZADD', pool .. 'deadlines', deadline(job), job.id)
  elseif job.cancel_at_ms then
    redis.call('ZADD', pool .. 'deadlines', int(tonumber(job.cancel_at_ms) + LIMITS.cancel_grace_ms), job.id)
  else
    redis.call('ZREM', pool .. 'deadlines', job.id)
  end
end

local function beat(pool, now, held)
  local job = read_fields(pool .. 'job:' .. held.id, 'state', 'fence', 'worker_id', 'lease_ms', 'cancel_at_ms',
    'timeout_at_ms', 'stall_ms', 'stall_at_ms')
  job.id = held.id
  if not jobs.held_by(job, held.fence, held.worker_id) then return 'lost' end
  redis.call('ZADD', pool .. 'leases', int(now + tonumber(job.lease_ms)), job.id)
  note_progress(pool, now, job, held.progress)
  if job.stall_ms or held.delivering then set_deadline(pool, job, held.delivering) end
  return job.cancel_at_ms and 'cancel' or 'ok'
end

local function take_command(pool, agent_id)
  local command = redis.call('HGET', pool .. 'agent:' .. agent_id, 'command')
  if command then redis.call('HDEL', pool .. 'agent:' .. agent_id, 'command') end
  return command or 'ok'
end

local function muster_heartbeat(keys, args)
  local pool, now = pool_of(keys[1]), now_ms()
  local agent_id = args[1]
  local answer = {'unknown'}
  if redis.call('EXISTS', pool .. 'agent:' .. agent_id) == 1 then
    workers.find_agent(pool, now, agent_id)
    if args[2] ~= '' then redis.call('HSET', pool .. 'agent:' .. agent_id, 'telemetry', args[2]) end
    answer[1] = take_command(pool, agent_id)
  end
  for i = 4, #args, 5 do
    answer[#answer + 1] = beat(pool, now, {
      id = args[i], fence = args[i + 1], worker_id = args[i + 2], progress = args[i + 3],
      delivering = args[i + 4] == '1',
    })
  end
  sweep.urgent(pool, now)
  return answer
end

-- muster_progress: news of one job between two heartbeats.
-- ARGV  1: job id, 2: fence, 3: worker id, 4: progress (JSON)
-- Answers {'OK'} | {'STALE'}
local function muster_progress(keys, args)
  local pool, now = pool_of(keys[1]), now_ms()
  local held = {id = args[1], fence = args[2], worker_id = args[3], progress = args[4], delivering = false}
  return {beat(pool, now, held) == 'lost' and 'STALE' or 'OK'}
end

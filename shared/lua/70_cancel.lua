-- muster_cancel: stop a job.
-- KEYS  1: any key of the pool
-- ARGV  1: job id
-- Answers (one of)
--   {'OK', state}        now cancelled (or was), or still active and its agent told
--   {'CONFLICT', state}  completed or failed: too late
--   {'NOT_FOUND'}
-- Moves blocked | scheduled | pending → cancelled. Events job.cancelled
local function ask_agent(pool, now, job)
  if job.cancel_at_ms then return end
  jobs.set(pool, job, {cancel_at_ms = now})
  redis.call('ZADD', pool .. 'deadlines', int(now + LIMITS.cancel_grace_ms), job.id)
  local agent_id = redis.call('HGET', pool .. 'worker:' .. job.worker_id, 'agent_id')
  if agent_id then wake.signal(pool, agent_id, 'cancel ' .. job.id) end
end

local function muster_cancel(keys, args)
  local pool, now = pool_of(keys[1]), now_ms()
  local job = jobs.read(pool, args[1])
  if not job then return {'NOT_FOUND'} end
  if job.state == 'cancelled' then return {'OK', job.state} end
  if jobs.is_final(job) then return {'CONFLICT', job.state} end
  if jobs.is_waiting(job) then
    jobs.finish_waiting(pool, now, job, 'cancelled')
  else
    ask_agent(pool, now, job)
  end
  return {'OK', job.state}
end

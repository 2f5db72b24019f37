-- The three ways an agent ends an attempt. All carry (job, fence, worker); anything but the current ones is STALE,
-- nothing changes, and the agent throws its work away. Saying the same twice is OK twice.

-- muster_complete: the job is done.
-- KEYS  1: any key of the pool
-- ARGV  1: job id, 2: fence, 3: worker id, 4: result (JSON)
-- Answers {'OK'} | {'STALE'}
-- Moves active → completed; pending → completed when it was reaped from this worker and nobody claimed it since.
-- Events job.completed
local function muster_complete(keys, args)
  local pool, now = pool_of(keys[1]), now_ms()
  local job = jobs.read(pool, args[1])
  local mine = job and job.fence == args[2] and job.worker_id == args[3]
  if not mine then return {'STALE'} end
  if job.state == 'completed' then return {'OK'} end
  local reaped = job.state == 'pending' and job.reaped == args[2]
  if job.state ~= 'active' and not reaped then return {'STALE'} end
  redis.call('SET', pool .. 'result:' .. job.id, args[4])
  local finish = reaped and jobs.finish_waiting or jobs.finish_active
  finish(pool, now, job, 'completed')
  return {'OK'}
end

-- The job if the caller holds it; else nil and the answer: OK when it ended this very attempt before.
local function held_or_ended(pool, args)
  local job = jobs.read(pool, args[1])
  if jobs.held_by(job, args[2], args[3]) then return job end
  local ended = job and job.ended == args[2] and job.worker_id == args[3]
  return nil, {ended and 'OK' or 'STALE'}
end

-- muster_fail: the attempt failed.
-- ARGV  1: job id, 2: fence, 3: worker id, 4: failure class, 5: message
-- Answers {'OK'} | {'STALE'} | {'CLASS'}: not a class that a worker reports
-- Moves active → scheduled (tried again) | failed | cancelled (when that was asked).
-- Events job.retrying .failed .cancelled
local function muster_fail(keys, args)
  local pool, now = pool_of(keys[1]), now_ms()
  if not retry.is_reported(args[4]) then return {'CLASS'} end
  local job, answer = held_or_ended(pool, args)
  if not job then return answer end
  retry.after_failure(pool, now, job, args[4], args[5])
  jobs.set(pool, job, {ended = args[2]})
  return {'OK'}
end

-- muster_release: the job goes back unharmed, no attempt spent.
-- ARGV  1: job id, 2: fence, 3: worker id
-- Answers {'OK'} | {'STALE'}. Moves active → pending | cancelled. Events job.released .cancelled
local function muster_release(keys, args)
  local pool, now = pool_of(keys[1]), now_ms()
  local job, answer = held_or_ended(pool, args)
  if not job then return answer end
  if job.cancel_at_ms then
    jobs.finish_active(pool, now, job, 'cancelled')
  else
    jobs.give_back(pool, now, job, {attempts = tonumber(job.attempts) - 1}, {event = 'released'})
  end
  jobs.set(pool, job, {ended = args[2]})
  return {'OK'}
end

-- The three ways an agent ends an attempt. All carry (job, fence, worker); anything but the current ones is STALE,
-- nothing changes, and the agent throws its work away. Saying the same twice is OK twice.

-- The job's end by its worker; answers the outcome word.
local function complete(pool, id, fence, worker_id, result)
  local job = jobs.read(pool, id)
  if not job or job.fence ~= fence or job.worker_id ~= worker_id then return 'STALE' end
  if job.state == 'completed' then return 'OK' end
  local was_reaped = job.state == 'pending' and job.reaped == fence
  if job.state ~= 'active' and not was_reaped then return 'STALE' end
  job.result = result
  suspension.completed(pool, job)
  if was_reaped then
    jobs.finish_waiting(pool, job, 'completed')
  else
    jobs.finish_active(pool, job, 'completed')
  end
  return 'OK'
end

-- muster_complete: the job is done.
-- KEYS  1: any key of the pool
-- ARGV  1: job id, 2: fence, 3: worker id, 4: result (JSON)
-- Answers {'OK'} | {'STALE'}
-- Moves active → completed; pending → completed when it was reaped from this worker and nobody claimed it since.
-- Events job.completed
local function muster_complete(keys, args)
  return {complete(pools.open(keys), args[1], tonumber(args[2]), args[3], args[4])}
end

-- muster_next: finish jobs and claim the next ones in one call, for an agent whose workers end jobs all the time.
-- ARGV  1: whether to park, as of muster_claim, 2: the finished jobs, a msgpack list of
--       {job id, fence, worker id, result (JSON)}, 3: the claiming workers as of muster_claim
-- Answers {'OK', {word per finished job}, answer per claim ...}
local function read_finished(text)
  local finished = cmsgpack.unpack(text)
  demand(type(finished) == 'table', 'a list of finished jobs')
  for i = 1, #finished do
    local id, fence, worker_id, result = unpack(finished[i])
    local is_sound = type(id) == 'string' and type(fence) == 'number' and type(worker_id) == 'string'
    if not is_sound or type(result) ~= 'string' then error('expected {job id, fence, worker id, result}') end
  end
  return finished
end

local function muster_next(keys, args)
  local pool, finished, asked, words = pools.open(keys), read_finished(args[2]), claims.read(args[3]), {}
  for i = 1, #finished do words[i] = complete(pool, unpack(finished[i])) end
  sweep.urgent(pool)
  return claims.answer(pool, asked, args[1], {'OK', words})
end

-- The job if the caller holds it; else nil and the answer: OK when it ended this very attempt before.
local function held_or_ended(pool, args)
  local job, fence = jobs.read(pool, args[1]), tonumber(args[2])
  if jobs.held_by(job, fence, args[3]) then return job end
  local ended = job and job.ended == fence and job.worker_id == args[3]
  return nil, {ended and 'OK' or 'STALE'}
end

-- muster_fail: the attempt failed.
-- ARGV  1: job id, 2: fence, 3: worker id, 4: failure class, 5: message, 6: '1' if the service's health check fails
-- Answers {'OK'} | {'SUSPENDED', service}: and the worker may not claim for that service now | {'STALE'}
--   | {'CLASS'}: not a class that a worker reports
-- Moves active → scheduled (tried again) | failed | cancelled (when that was asked).
-- Events job.retrying .failed .cancelled, worker.suspended
local function muster_fail(keys, args)
  local pool = pools.open(keys)
  if not retry.is_reported(args[4]) then return {'CLASS'} end
  local job, answer = held_or_ended(pool, args)
  if not job then return answer end
  local failure = {class = args[4], message = tidy(args[5]), is_unhealthy = args[6] == '1'}
  job.ended = job.fence
  local reason = not job.cancel_at_ms and suspension.failed(pool, args[3], job, failure)
  retry.after_failure(pool, job, failure.class, failure.message)
  return reason and {'SUSPENDED', job.service} or {'OK'}
end

-- muster_release: the job goes back unharmed, no attempt spent.
-- ARGV  1: job id, 2: fence, 3: worker id
-- Answers {'OK'} | {'STALE'}. Moves active → pending | cancelled. Events job.released .cancelled
local function muster_release(keys, args)
  local pool = pools.open(keys)
  local job, answer = held_or_ended(pool, args)
  if not job then return answer end
  job.ended = job.fence
  jobs.release(pool, job)
  return {'OK'}
end

-- muster_suspend: a worker may not claim for a service until its health check passes again.
-- ARGV  1: worker id, 2: service, 3: reason
-- Answers {'OK'} | {'NOT_FOUND'}. Events worker.suspended
local function muster_suspend(keys, args)
  local pool = pools.open(keys)
  if not workers.read(pool, args[1]) then return {'NOT_FOUND'} end
  demand(is_service(args[2]), 'the name of a service')
  suspension.begin(pool, args[1], args[2], tidy(args[3]))
  return {'OK'}
end

-- muster_lift: it may again.
-- ARGV  1: worker id, 2: service
-- Answers {'OK'} | {'UNCHANGED'}: it wasn't suspended | {'NOT_FOUND'}. Events worker.resumed
local function muster_lift(keys, args)
  local pool = pools.open(keys)
  if not workers.read(pool, args[1]) then return {'NOT_FOUND'} end
  local was_suspended = suspension.lift(pool, args[1], args[2])
  sweep.urgent(pool)
  return {was_suspended and 'OK' or 'UNCHANGED'}
end

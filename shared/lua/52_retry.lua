-- What follows a failed attempt: decided here, by class, not by the connector's mood.
local retry = {}

-- Failure classes that are tried again, elsewhere while another worker can.
local RETRIED = {
  auth = true, unfit = true, oom = true, service = true, network = true, timeout = true, stalled = true, lost = true,
}
local GIVEN_UP = {bad_input = true, refused = true}

-- May a worker report this class?
function retry.is_reported(failure_class)
  return RETRIED[failure_class] or GIVEN_UP[failure_class] or false
end

-- 0 to 1, the same for the same text (the server's math.random starts anew with every call).
local function fraction(text)
  return tonumber(string.sub(redis.sha1hex(text), 1, 8), 16) / 4294967296
end

-- Full jitter below min(cap, base * 2^(attempt-1)), in milliseconds.
local function backoff_ms(backoff, job)
  local base, cap = (backoff.base_s or 2) * 1000, (backoff.cap_s or 300) * 1000
  local bound = math.min(cap, base * 2 ^ math.min(tonumber(job.attempts) - 1, 40))
  return math.floor(fraction(job.id .. ' ' .. job.fence) * bound)
end

-- The class in which the job waits now: like its own, but avoiding the worker that failed it.
local function avoid_worker(pool, now, job, spec)
  local class = classes.job(pool, job.class)
  if not class then return job.class end
  local name, is_new = classes.intern(pool, class.text, classes.attributes(spec), job.worker_id)
  if is_new then workable.new(pool, now, name) end
  if name ~= job.class then
    classes.refer(pool, now, name, 1)
    classes.refer(pool, now, job.class, -1)
  end
  return name
end

local function schedule(pool, now, job, failure_class, message)
  local spec = cjson.decode(redis.call('GET', pool .. 'spec:' .. job.id))
  local due = now + backoff_ms(spec.backoff or {}, job)
  jobs.unlease(pool, job)
  jobs.move(pool, job, 'scheduled', {
    due_at_ms = due, failure_class = failure_class, message = message,
    class = avoid_worker(pool, now, job, spec),
  })
  redis.call('ZADD', pool .. 'due', int(due), job.id)
  jobs.expect_expiry(pool, job)
  events.job(pool, now, 'retrying', job, {attempt = job.attempts, failure_class = failure_class, message = message})
end

-- End an active job's attempt as failed: cancelled if that was asked, tried again if its class and attempts allow.
function retry.after_failure(pool, now, job, failure_class, message)
  if job.cancel_at_ms then return jobs.finish_active(pool, now, job, 'cancelled') end
  if RETRIED[failure_class] and tonumber(job.attempts) < tonumber(job.max_attempts) then
    return schedule(pool, now, job, failure_class, message)
  end
  jobs.finish_active(pool, now, job, 'failed', {failure_class = failure_class, message = message})
end

-- The holder fell silent: back to its old place if attempts remain.
function retry.reap(pool, now, job)
  if job.cancel_at_ms then return jobs.finish_active(pool, now, job, 'cancelled') end
  if tonumber(job.attempts) >= tonumber(job.max_attempts) then
    local message = 'worker ' .. job.worker_id .. ' fell silent and no attempt is left'
    return jobs.finish_active(pool, now, job, 'failed', {failure_class = 'lost', message = message})
  end
  local message = 'worker ' .. job.worker_id .. ' fell silent'
  jobs.give_back(pool, now, job, {reaped = job.fence}, {event = 'pending', failure_class = 'lost', message = message})
end

-- What follows a failed attempt: decided here, by class, not by the connector's mood.

do
  -- Failure classes that are tried again, elsewhere while another worker can.
  local RETRIED = {
    auth = true, unfit = true, oom = true, service = true, network = true, timeout = true, stalled = true, lost = true,
  }
  local GIVEN_UP = {bad_input = true, refused = true}

  -- May a worker report this class?
  function retry.is_reported(failure_class)
    return (RETRIED[failure_class] or GIVEN_UP[failure_class]) and failure_class ~= 'lost' or false
  end

  -- 0 to 1, the same for the same text (the server's math.random starts anew with every call).
  local function fraction(text)
    return tonumber(string.sub(redis.sha1hex(text), 1, 8), 16) / 4294967296
  end

  -- Milliseconds of a number of seconds that only a damaged store could hold otherwise.
  local function milliseconds(seconds, default)
    seconds = tonumber(seconds)
    return (seconds and seconds >= 0 and seconds < 1e9 and seconds or default) * 1000
  end

  -- Full jitter below min(cap, base * 2^(attempt-1)), in milliseconds.
  local function backoff_ms(backoff, job)
    local base, cap = milliseconds(backoff.base_s, 2), milliseconds(backoff.cap_s, 300)
    local bound = math.min(cap, base * 2 ^ math.min(job.attempts - 1, 40))
    return math.floor(fraction(job.id .. ' ' .. job.fence) * bound)
  end

  -- From now on the job waits in a class like its own that avoids the worker which failed it.
  local function avoid(pool, job)
    local class = classes.job(pool, job.class)
    if class then jobs.reclass(pool, job, class.text, job.worker_id) end
  end

  -- End an active job's attempt as failed: cancelled if that was asked, tried again if its class and attempts allow.
  function retry.after_failure(pool, job, failure_class, message)
    if job.cancel_at_ms then return jobs.finish_active(pool, job, 'cancelled') end
    if not RETRIED[failure_class] or job.attempts >= job.max_attempts then
      return jobs.finish_active(pool, job, 'failed', {failure_class = failure_class, message = message})
    end
    local backoff = documents.object(jobs.spec(pool, job.id)).backoff
    jobs.unlease(pool, job)
    job.failure_class, job.message = failure_class, message
    local why = {attempt = job.attempts, failure_class = failure_class, message = message}
    events.keep(pool, 'retrying', pool.now, job, why)
    avoid(pool, job)
    jobs.schedule(pool, job, pool.now + backoff_ms(type(backoff) == 'table' and backoff or {}, job))
    jobs.expect_expiry(pool, job)
    events.job(pool, 'retrying', job, why)
  end

  -- The worker that was handed the job didn't follow: to the next one, no attempt spent.
  function retry.pass_on(pool, job)
    if job.cancel_at_ms then return jobs.finish_active(pool, job, 'cancelled') end
    local agent_id = redis.call('HGET', pool.key .. 'worker:' .. job.worker_id, 'agent_id')
    if agent_id then wake.distrust(pool, agent_id) end
    job.reaped = job.fence
    jobs.give_back(pool, job, {event = 'released', is_unspent = true})
  end

  -- The holder fell silent: back to its old place if attempts remain.
  function retry.reap(pool, job)
    if job.cancel_at_ms then return jobs.finish_active(pool, job, 'cancelled') end
    local message = 'worker ' .. job.worker_id .. ' fell silent'
    if job.attempts >= job.max_attempts then
      message = message .. ' and no attempt is left'
      return jobs.finish_active(pool, job, 'failed', {failure_class = 'lost', message = message})
    end
    job.reaped = job.fence
    jobs.give_back(pool, job, {event = 'pending', failure_class = 'lost', message = message})
  end
end

-- Dependencies: a job waits as `blocked` until all jobs it depends on are completed, and fails when one won't be.
-- `dependants:<id>` lists who waits for a job; they are told in steps, so that a job of many dependants ends as fast as
-- any other. A dependency that was pruned meanwhile counts as what it was: its dependants had been told before.

do
  -- The job, or what it counts as when nothing is left of it.
  local function other_job(pool, id)
    return jobs.sound(pool, id) or {id = id, state = 'gone'}
  end

  -- How many of these jobs are not completed; the first that won't be.
  function dependants.look(pool, ids)
    local open, broken, seen = 0, nil, {}
    for _, id in ipairs(ids) do
      local job = not seen[id] and other_job(pool, id)
      seen[id] = true
      if job and job.state ~= 'completed' then
        open = open + 1
        if jobs.is_final(job) or job.state == 'gone' then broken = broken or job end
      end
    end
    return open, broken
  end

  -- How many of them are open for a job that an operator takes back; one that was pruned no longer counts.
  function dependants.count_open(pool, ids)
    local open, counted = 0, {}
    for _, id in ipairs(ids) do
      local job = not counted[id] and jobs.sound(pool, id)
      if job and job.state ~= 'completed' then open = open + 1 end
      counted[id] = true
    end
    return open
  end

  -- The job waits for each of these that isn't completed.
  function dependants.wait(pool, job, ids)
    for _, id in ipairs(ids) do
      local other = jobs.read(pool, id)
      if other and other.state ~= 'completed' then
        redis.call('SADD', pool.key .. 'dependants:' .. id, job.id)
        if not other.has_dependants then
          other.has_dependants = true
          jobs.write(pool, other)
        end
      end
    end
  end

  -- A blocked job ends: it waits for nobody any more, also should it be taken back.
  function dependants.unwait(pool, job)
    for _, id in ipairs(jobs.depends_on(pool, job.id)) do
      redis.call('SREM', pool.key .. 'dependants:' .. id, job.id)
    end
  end

  -- Fail a blocked job because of another one.
  function dependants.break_off(pool, job, other)
    local words = {failed = 'failed', cancelled = 'was cancelled', gone = 'is gone'}
    local message = 'job ' .. other.id .. ', which it depends on, ' .. words[other.state]
    jobs.finish_waiting(pool, job, 'failed', {failure_class = 'dependency', message = message})
  end

  -- All it waited for is completed: its delay starts, or it is ready.
  function dependants.unblock(pool, job)
    job.open = nil
    if not job.delay_ms then return jobs.make_pending(pool, job, {event = 'pending'}) end
    events.keep(pool, 'scheduled', pool.now, job, {})
    jobs.schedule(pool, job, pool.now + job.delay_ms)
    events.job(pool, 'scheduled', job, {})
  end

  local function tell(pool, job, other)
    if other.state ~= 'completed' then return dependants.break_off(pool, job, other) end
    job.open = job.open - 1
    if job.open > 0 then return jobs.write(pool, job) end
    dependants.unblock(pool, job)
  end

  -- Tell some of a finished job's dependants; answers whether more are left. A job that an operator took back meanwhile
  -- keeps the rest waiting.
  function dependants.step(pool, id)
    local other = other_job(pool, id)
    if other.state ~= 'gone' and not jobs.is_final(other) then return false end
    local key = pool.key .. 'dependants:' .. id
    for _, dependant in ipairs(redis.call('SPOP', key, LIMITS.unblock)) do
      local job = jobs.sound(pool, dependant)
      if job and job.state == 'blocked' then tell(pool, job, other) end
    end
    if redis.call('EXISTS', key) == 1 then return true end
    if other.has_dependants then
      other.has_dependants = nil
      jobs.write(pool, other)
    end
    return false
  end
end

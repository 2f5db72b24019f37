-- Reclass: when an attribute became significant, waiting jobs move to the classes it makes, a few at a time.

do
  local function move_job(pool, from, member)
    local job = jobs.read(pool, queue.job_id(member))
    redis.call('ZREM', pool.key .. 'waiting:' .. from.name, member)
    if not job or job.state ~= 'pending' then return end
    jobs.reclass(pool, job, from.text, from.avoid)
    jobs.write(pool, job)
    jobs.enqueue(pool, job) -- a wake for its old class is void
  end

  -- Move the first jobs of an outdated class.
  function reclass.step(pool, name)
    local from = classes.job(pool, name)
    local first = redis.call('ZRANGE', pool.key .. 'waiting:' .. name, 0, LIMITS.reclass - 1)
    pool.work = pool.work - 4 * #first -- each about as much as four heads
    local before = pool.hands_off
    pool.hands_off = true -- who is woken asks when all these are in their places
    for _, member in ipairs(first) do move_job(pool, from, member) end
    pool.hands_off = before
    queue.refresh(pool, name)
  end
end

-- muster_claim: for each of these workers of one agent, the best job it can do, leased to it.
-- KEYS  1: any key of the pool
-- ARGV  1: whether to park a worker for which there is nothing: '0' no, '1' yes, '2' yes, and it takes a job with its
--       wake; 2: the workers, a msgpack list of {id, cursor}, the cursor 0 or what its last claim was answered
-- Answers {'OK', answer, ...}, per worker one of
--   {'CLAIMED', job id, fence, attempt, lease in ms, spec (JSON), payload (JSON)}
--   {'EMPTY'}          nothing for it now; parked if asked
--   {'MORE', cursor}   the work allowed per call, for all its workers, ran out: call again with the cursor, 0 or a text
--   {'DRAINING'}       its agent drains: nothing is handed out
--   {'UNKNOWN'}        not registered
-- Moves pending → active. Events job.claimed
--
-- A job that comes with the wake is the signal 'run ' and a msgpack list {worker id, job id, fence, attempt, lease in
-- ms, spec, payload}: as good as CLAIMED if a heartbeat names it, or its end is told, within LIMITS.wake_follow_ms.

do
  -- A job that the worker holds already: its answer was lost. The same process gets it again; a new one does not know
  -- it, so the attempt is over.
  local function held_already(pool, worker)
    local job = worker.job_id and jobs.read(pool, worker.job_id)
    if not job or job.state ~= 'active' or job.worker_id ~= worker.id then return nil end
    if job.session ~= worker.session then return retry.reap(pool, job) end
    jobs.watch(pool, job)
    return job
  end

  local function grant(pool, job)
    local texts = redis.call('MGET', pool.key .. 'spec:' .. job.id, pool.key .. 'payload:' .. job.id)
    return {'CLAIMED', job.id, job.fence, job.attempts, job.lease_ms, texts[1] or '{}', texts[2] or '{}'}
  end

  -- `follow_ms`: how soon the worker must be heard of, where it didn't ask itself.
  local function lease(pool, job, worker, follow_ms)
    if job.is_head then search.shift(pool, worker, job.class, job.next_order) end
    jobs.dequeue(pool, job)
    job.fence, job.attempts, job.worker_id, job.session = job.fence + 1, job.attempts + 1, worker.id, worker.session
    job.claimed_at_ms, job.lease_ms = pool.now, pool.lease_ms
    job.timeout_at_ms = pool.now + (job.timeout_ms or 1800000)
    job.stall_at_ms = job.stall_ms and pool.now + job.stall_ms
    job.follow_at_ms = follow_ms and pool.now + follow_ms
    job.reaped, job.ended, job.failure_class, job.message = nil, nil, nil, nil
    jobs.move(pool, job, 'active')
    jobs.watch(pool, job, false, job.follow_at_ms)
    redis.call('HSET', pool.key .. 'worker:' .. worker.id, 'job_id', job.id)
    events.job(pool, 'claimed', job, {attempt = job.attempts})
  end

  -- The first job of the class; nil when that was damaged or over, and with it all such that stood first: another class
  -- may be the best one then.
  local function first_job(pool, class)
    for tries = 1, LIMITS.sweep do
      local member, _, _, next_order = queue.head(pool, class)
      if not member then return nil end
      local id = queue.job_id(member)
      local job, is_damaged = jobs.read(pool, id)
      if job and job.state == 'pending' and job.class == class then
        job.is_head, job.next_order = true, next_order
        if not job.expires_at_ms or job.expires_at_ms > pool.now then return tries == 1 and job or nil end
        local message = 'waited longer than expires_in_s'
        jobs.finish_waiting(pool, job, 'failed', {failure_class = 'expired', message = message})
      else
        queue.remove(pool, class, member)
        if is_damaged then jobs.set_aside(pool, id, class) end
      end
    end
  end

  -- The job to lease out of the best class: its first, or within the affinity window the one the worker suits best.
  local function choose(pool, worker, class)
    local first = first_job(pool, class)
    if first and first.step then
      class = search.first_step(pool, worker, class)
      first = first_job(pool, class)
    end
    if not first or pool.affinity_ms == 0 then return first end
    local best, best_weight = nil, nil
    for _, name in ipairs(search.near(pool, worker, class)) do
      local job = name == class and first or first_job(pool, name)
      if job and job.submitted_at_ms <= first.submitted_at_ms + pool.affinity_ms then
        local weight = prefer.affinity(pool, worker, job)
        if not best or weight > best_weight then best, best_weight = job, weight end
      end
    end
    return best
  end

  -- One worker's claim; answers as above, and the class of the job.
  local function claim(pool, worker, cursor, follow_ms)
    local held = held_already(pool, worker)
    if held then return grant(pool, held), held.class end
    if worker.draining then return {'DRAINING'} end
    for _ = 1, 4 do
      local class, exact, reached = search.best(pool, worker, cursor)
      if not class and exact then return {'EMPTY'} end
      cursor = reached or 0
      if not class and pool.work <= 0 then break end
      local job = class and choose(pool, worker, class)
      if job then
        lease(pool, job, worker, follow_ms)
        return grant(pool, job), job.class
      end
    end
    return {'MORE', cursor}
  end

  local function answer(pool, id, park, cursor)
    if pool.work <= 0 then return {'MORE', cursor} end -- those before it took it all
    local worker = workers.read(pool, id)
    if not worker then return {'UNKNOWN'} end
    wake.claims(pool, worker)
    pool.hands_off = true -- what comes free meanwhile is for this worker first
    local got, class = claim(pool, worker, cursor)
    pool.hands_off = nil
    if got[1] == 'MORE' then return got end
    wake.followed(pool, worker, class)
    if park ~= '0' and got[1] == 'EMPTY' then wake.park(pool, worker, park == '2') end
    return got
  end

  -- Lease a worker that takes a job with its wake the best one for it, and send it; answers the job's class, nil when
  -- there is none to be had by one call.
  function claims.hand(pool, worker_id)
    local worker = workers.read(pool, worker_id)
    pool.hands_off = true
    local got, class = claim(pool, worker, 0, LIMITS.wake_follow_ms)
    pool.hands_off = nil
    if got[1] ~= 'CLAIMED' then return nil end
    redis.call('HDEL', pool.key .. 'worker:' .. worker_id, 'waits')
    got[1] = worker_id
    local is_short = #got[6] + #got[7] <= LIMITS.hand_bytes
    wake.signal(pool, worker.agent_id, is_short and 'run ' .. cmsgpack.pack(got) or 'job ' .. worker_id)
    return class
  end

  -- The answers to the claims, a msgpack list of {worker id, cursor}, appended to `answers`.
  function claims.answer(pool, asked, park, answers)
    for i = 1, math.min(#asked, LIMITS.claims) do
      answers[#answers + 1] = answer(pool, asked[i][1], park, asked[i][2])
    end
    return answers
  end

  -- The list of a call's argument. Raises before anything is written.
  function claims.read(text)
    local asked = cmsgpack.unpack(text)
    demand(type(asked) == 'table', 'a list of {worker id, cursor}')
    for i = 1, #asked do
      demand(type(asked[i][1]) == 'string' and search.is_cursor(asked[i][2]), 'a list of {worker id, cursor}')
    end
    return asked
  end
end

local function muster_claim(keys, args)
  local pool, asked = pools.open(keys), claims.read(args[2])
  sweep.urgent(pool)
  return claims.answer(pool, asked, args[1], {'OK'})
end

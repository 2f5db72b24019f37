-- muster_claim: the best job the worker can do, leased to it.
-- KEYS  1: any key of the pool
-- ARGV  1: worker id, 2: '1' to park the worker when there is nothing, else '0'
-- Answers (one of)
--   {'CLAIMED', job id, fence, attempt, lease in ms, spec (JSON), payload (JSON)}
--   {'EMPTY'}      nothing for it now; parked if asked
--   {'MORE'}       the work allowed per call ran out: call again
--   {'DRAINING'}   its agent drains: nothing is handed out
--   {'UNKNOWN'}    not registered
-- Moves pending → active. Events job.claimed

-- A job that the worker holds already: its answer was lost. The same process gets it again; a new one does not know
-- it, so the attempt is over.
local function held_already(pool, now, worker, session)
  local job = worker.job_id and jobs.read(pool, worker.job_id)
  if not job or job.state ~= 'active' or job.worker_id ~= worker.id then return nil end
  if job.session == session then return job end
  retry.reap(pool, now, job)
end

local function grant(pool, job)
  return {
    'CLAIMED', job.id, tonumber(job.fence), tonumber(job.attempts), tonumber(job.lease_ms),
    redis.call('GET', pool .. 'spec:' .. job.id) or '{}', redis.call('GET', pool .. 'payload:' .. job.id) or '{}',
  }
end

-- The moment at which the sweep looks at the attempt: the nearest of timeout and stall.
local function deadline(job)
  local at = tonumber(job.timeout_at_ms)
  if job.stall_at_ms then at = math.min(at, tonumber(job.stall_at_ms)) end
  if job.cancel_at_ms then at = math.min(at, tonumber(job.cancel_at_ms) + LIMITS.cancel_grace_ms) end
  return int(at)
end

local function lease(pool, now, job, worker, session)
  local lease_ms = workers.lease_ms(pool)
  local timeout = now + tonumber(job.timeout_ms or 1800000)
  jobs.dequeue(pool, job)
  jobs.move(pool, job, 'active', {
    fence = tonumber(job.fence) + 1, attempts = tonumber(job.attempts) + 1, worker_id = worker.id, session = session,
    claimed_at_ms = now, lease_ms = lease_ms, timeout_at_ms = timeout, reaped = false, ended = false,
    failure_class = false, message = false, stall_at_ms = job.stall_ms and now + tonumber(job.stall_ms) or false,
  })
  redis.call('ZADD', pool .. 'leases', int(now + lease_ms), job.id)
  redis.call('ZADD', pool .. 'deadlines', deadline(job), job.id)
  redis.call('HSET', pool .. 'worker:' .. worker.id, 'job_id', job.id)
  events.job(pool, now, 'claimed', job, {attempt = job.attempts})
end

-- Is the record whole enough to be leased?
local function is_sound(job)
  return job and job.state == 'pending' and tonumber(job.fence) and tonumber(job.attempts) and job.seq and job.service
end

-- Set a corrupt entry aside, so that it never stops a claim.
local function set_aside(pool, now, class, member, job)
  queue.remove(pool, class, member)
  if job and job.state == 'pending' and job.seq and job.service then
    jobs.finish(pool, now, job, 'failed', {failure_class = 'bad_input', message = 'the stored job is damaged'})
  end
end

-- The first sound job of the class; nil when the class held only damaged ones.
local function first_job(pool, now, class)
  for _ = 1, LIMITS.sweep do
    local _, member = queue.head(pool, class)
    if not member then return nil end
    local job = jobs.read(pool, queue.job_id(member))
    if is_sound(job) and job.class == class then return job end
    set_aside(pool, now, class, member, job)
  end
end

local function claim_next(pool, now, worker, session, park)
  for _ = 1, 4 do
    local class, exact = search.best(pool, now, worker)
    if not class and exact then
      if park then wake.park(pool, now, worker) end
      return {'EMPTY'}
    end
    local job = class and first_job(pool, now, class)
    if job then
      lease(pool, now, job, worker, session)
      return grant(pool, job)
    end
  end
  return {'MORE'}
end

local function muster_claim(keys, args)
  local pool, now = pool_of(keys[1]), now_ms()
  local worker = workers.read(pool, args[1])
  if not worker then return {'UNKNOWN'} end
  local agent = read_fields(pool .. 'agent:' .. worker.agent_id, 'session', 'state')
  wake.followed(pool, worker)
  sweep.urgent(pool, now)
  if agent.state == 'draining' then return {'DRAINING'} end
  local held = held_already(pool, now, worker, agent.session)
  if held then return grant(pool, held) end
  return claim_next(pool, now, worker, agent.session, args[2] == '1')
end

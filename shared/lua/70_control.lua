-- What operators and clients do to jobs that are there.

-- muster_cancel: stop a job.
-- KEYS  1: any key of the pool
-- ARGV  1: job id
-- Answers (one of)
--   {'OK', state}        now cancelled (or was), or still active and its agent told
--   {'CONFLICT', state}  completed or failed: too late
--   {'NOT_FOUND'}
-- Moves blocked | scheduled | pending → cancelled. Events job.cancelled
local function ask_agent(pool, job)
  if job.cancel_at_ms then return end
  job.cancel_at_ms = pool.now
  jobs.write(pool, job)
  timers.at_most(pool, pool.now + LIMITS.cancel_grace_ms, 'lease ' .. job.id)
  local agent_id = redis.call('HGET', pool.key .. 'worker:' .. job.worker_id, 'agent_id')
  if agent_id then wake.signal(pool, agent_id, 'cancel ' .. job.id) end
end

local function muster_cancel(keys, args)
  local pool = pools.open(keys)
  local job = jobs.read(pool, args[1])
  if not job then return {'NOT_FOUND'} end
  if job.state == 'cancelled' then return {'OK', job.state} end
  if jobs.is_final(job) then return {'CONFLICT', job.state} end
  if jobs.is_waiting(job) then
    jobs.finish_waiting(pool, job, 'cancelled')
  else
    ask_agent(pool, job)
  end
  return {'OK', job.state}
end

-- muster_retry: a failed or cancelled job goes back to the queue, at its own place, with all its attempts.
-- ARGV  1: job id, 2: its compiled requirement (JSON; its class may be forgotten)
-- Answers {'OK', state} | {'CONFLICT', state} | {'NOT_FOUND'}
-- Moves failed | cancelled → pending | blocked. Events job.pending .blocked
local function reopen(pool, job, requirement)
  events.keep(pool, job.state, job.finished_at_ms, job, {
    attempt = job.attempts, failure_class = job.failure_class, message = job.message,
  })
  jobs.classify(pool, job, requirement, '')
  job.attempts, job.finished_at_ms, job.failure_class, job.message = 0, nil, nil, nil
  job.expires_at_ms = nil
  redis.call('ZREM', pool.key .. 'chores', 'prune ' .. job.id)
  if job.unworkable_after_ms then
    redis.call('ZADD', pool.key .. 'chores', pool.now + job.unworkable_after_ms, 'giveup ' .. job.id)
  end
end

-- It waits again for those of its dependencies that are open.
local function block(pool, job, depends_on, open)
  job.open = open
  events.keep(pool, 'blocked', pool.now, job, {})
  jobs.move(pool, job, 'blocked')
  dependants.wait(pool, job, depends_on)
  events.job(pool, 'blocked', job, {})
end

local function muster_retry(keys, args)
  local pool = pools.open(keys)
  local job, requirement = jobs.read(pool, args[1]), args[2]
  if not job then return {'NOT_FOUND'} end
  if job.state ~= 'failed' and job.state ~= 'cancelled' then return {'CONFLICT', job.state} end
  demand(documents.requirement(requirement).service == job.service, 'a requirement of the same service')
  local depends_on = jobs.depends_on(pool, job.id)
  local open = dependants.count_open(pool, depends_on)
  reopen(pool, job, requirement)
  if open > 0 then
    block(pool, job, depends_on, open)
  else
    jobs.make_pending(pool, job, {event = 'pending'})
  end
  return {'OK', job.state}
end

-- muster_prioritize: another priority for a job that waits; it keeps its sequence number.
-- ARGV  1: job id, 2: priority
-- Answers {'OK', priority} | {'CONFLICT', state} | {'WORKFLOW', id}: its steps keep one priority | {'NOT_FOUND'}
-- Events job.changed
local function muster_prioritize(keys, args)
  local pool, priority = pools.open(keys), tonumber(args[2])
  local job = jobs.read(pool, args[1])
  demand(is_integer(priority, 0, 1000), 'a priority from 0 to 1000')
  if not job then return {'NOT_FOUND'} end
  if not jobs.is_waiting(job) then return {'CONFLICT', job.state} end
  if job.workflow then return {'WORKFLOW', job.workflow} end
  if job.state == 'pending' then queue.remove(pool, job.class, queue.member(job)) end
  job.priority, job.order = priority, queue.order(priority, job.seq)
  jobs.write(pool, job)
  if job.state == 'pending' then queue.add(pool, job) end
  events.add(pool, 'job.changed', {job_id = job.id, data = '{"priority":' .. int(priority) .. '}'})
  return {'OK', priority}
end

-- muster_pause, muster_resume: jobs of a service wait, whatever worker could run them.
-- ARGV  1: service
-- Answers {'OK'} | {'UNCHANGED'}. Events queue.paused .resumed
local function muster_pause(keys, args)
  local pool = pools.open(keys)
  if not pauses.set(pool, args[1], true) then return {'UNCHANGED'} end
  events.add(pool, 'queue.paused', {data = '{"service":' .. cjson.encode(args[1]) .. '}'})
  return {'OK'}
end

local function muster_resume(keys, args)
  local pool = pools.open(keys)
  if not pauses.set(pool, args[1], false) then return {'UNCHANGED'} end
  events.add(pool, 'queue.resumed', {data = '{"service":' .. cjson.encode(args[1]) .. '}'})
  sweep.urgent(pool)
  return {'OK'}
end

-- One job: its record, its states, and the moves between them. Every change of state goes through `jobs.move`.
local jobs = {}

local FINAL = {completed = true, failed = true, cancelled = true}
local WAITING = {blocked = true, scheduled = true, pending = true}

-- State → the states that may follow; the same table as shared/wire/states.py.
local NEXT = {
  blocked = {pending = true, scheduled = true, failed = true, cancelled = true},
  scheduled = {pending = true, failed = true, cancelled = true},
  pending = {active = true, completed = true, cancelled = true, failed = true},
  active = {completed = true, failed = true, scheduled = true, pending = true, cancelled = true},
  completed = {}, failed = {pending = true, blocked = true}, cancelled = {pending = true, blocked = true},
}

function jobs.is_final(job) return FINAL[job.state] == true end
function jobs.is_alive(job) return not jobs.is_final(job) end
function jobs.is_waiting(job) return WAITING[job.state] == true end

-- The job's record with its id, all values text; nil when there is none.
function jobs.read(pool, id)
  local job = read_all(pool .. 'job:' .. id)
  if job then job.id = id end
  return job
end

-- Set fields of the record, here and in the store. A false value removes the field.
function jobs.set(pool, job, fields)
  local write, drop = {}, {}
  for name, value in pairs(fields) do
    if value == false then
      job[name], drop[#drop + 1] = nil, name
    else
      local text = type(value) == 'number' and int(value) or value
      job[name], write[#write + 1] = text, name
      write[#write + 1] = text
    end
  end
  if #write > 0 then redis.call('HSET', pool .. 'job:' .. job.id, unpack(write)) end
  if #drop > 0 then redis.call('HDEL', pool .. 'job:' .. job.id, unpack(drop)) end
end

-- The job's state becomes `to`, with other fields beside.
function jobs.move(pool, job, to, fields)
  if not NEXT[job.state][to] then error('job ' .. job.id .. ' can not go from ' .. job.state .. ' to ' .. to) end
  redis.call('ZREM', pool .. 'index:state:' .. job.state, job.id)
  redis.call('ZADD', pool .. 'index:state:' .. to, job.seq, job.id)
  redis.call('HINCRBY', pool .. 'counts', job.service .. ' ' .. job.state, -1)
  redis.call('HINCRBY', pool .. 'counts', job.service .. ' ' .. to, 1)
  fields = fields or {}
  fields.state = to
  jobs.set(pool, job, fields)
end

local function member_of(job) return job.member or job.id end

-- Into the queue, at the job's own place; wakes a worker.
function jobs.enqueue(pool, now, job)
  queue.add(pool, job.class, member_of(job), job.order)
  wake.one(pool, now, job.class)
end

-- Out of whatever a waiting job waits in.
function jobs.dequeue(pool, job)
  if job.state == 'pending' then
    queue.remove(pool, job.class, member_of(job))
  else
    redis.call('ZREM', pool .. 'due', job.id)
  end
  if job.expires_at_ms then redis.call('ZREM', pool .. 'expiries', job.id) end
end

-- End of an attempt: nobody holds the job any more.
function jobs.unlease(pool, job)
  redis.call('ZREM', pool .. 'leases', job.id)
  redis.call('ZREM', pool .. 'deadlines', job.id)
  redis.call('DEL', pool .. 'progress:' .. job.id)
  local worker = pool .. 'worker:' .. job.worker_id
  if redis.call('HGET', worker, 'job_id') == job.id then redis.call('HDEL', worker, 'job_id') end
end

local function retention_ms(job, state)
  if job.retention_ms then return tonumber(job.retention_ms) end
  return state == 'completed' and LIMITS.retain_completed_ms or LIMITS.retain_failed_ms
end

-- The job ends in a final state. `more` = {failure_class=, message=} of a failed one.
function jobs.finish(pool, now, job, state, more)
  more = more or {}
  jobs.move(pool, job, state, {
    finished_at_ms = now, failure_class = more.failure_class or false, message = more.message or false,
    cancel_at_ms = false, due_at_ms = false, reaped = false,
  })
  redis.call('ZADD', pool .. 'prunes', int(now + retention_ms(job, state)), job.id)
  classes.refer(pool, now, job.class, -1)
  events.job(pool, now, state, job, {
    attempt = job.attempts, failure_class = more.failure_class, message = more.message,
  })
end

-- A waiting job ends.
function jobs.finish_waiting(pool, now, job, state, more)
  jobs.dequeue(pool, job)
  jobs.finish(pool, now, job, state, more)
end

-- An active job ends.
function jobs.finish_active(pool, now, job, state, more)
  jobs.unlease(pool, job)
  jobs.finish(pool, now, job, state, more)
end

-- An active job goes back to its old place. `fields` beside; `why` = {event=, failure_class=, message=}.
function jobs.give_back(pool, now, job, fields, why)
  jobs.unlease(pool, job)
  jobs.move(pool, job, 'pending', fields)
  jobs.expect_expiry(pool, job)
  why.attempt = job.attempts
  events.job(pool, now, why.event, job, why)
  jobs.enqueue(pool, now, job)
end

-- A waiting job that has an expiry is watched for it.
function jobs.expect_expiry(pool, job)
  if job.expires_at_ms then redis.call('ZADD', pool .. 'expiries', job.expires_at_ms, job.id) end
end

-- Is the caller the one who holds the job?
function jobs.held_by(job, fence, worker_id)
  return job ~= nil and job.state == 'active' and job.fence == fence and job.worker_id == worker_id
end

-- Forget a finished job.
function jobs.prune(pool, now, job)
  local spec_text = redis.call('GET', pool .. 'spec:' .. job.id)
  local spec = spec_text and cjson.decode(spec_text) or {}
  for _, index in ipairs(jobs.indexes(spec, job.state, job.service)) do
    redis.call('ZREM', pool .. index, job.id)
  end
  redis.call('HINCRBY', pool .. 'counts', job.service .. ' ' .. job.state, -1)
  for _, kind in ipairs({'job:', 'spec:', 'payload:', 'result:', 'history:', 'progress:'}) do
    redis.call('DEL', pool .. kind .. job.id)
  end
  redis.call('ZREM', pool .. 'prunes', job.id)
  events.add(pool, now, 'job.pruned', {job_id = job.id})
end

-- The lists a job stands in.
function jobs.indexes(spec, state, service)
  local names = {'index:all', 'index:state:' .. state, 'index:service:' .. service}
  if spec.customer_id then names[#names + 1] = 'index:customer:' .. spec.customer_id end
  if spec.workflow then names[#names + 1] = 'index:workflow:' .. spec.workflow.id end
  return names
end

-- muster_submit: take jobs in.
-- KEYS  1: any key of the pool
-- ARGV  1: number of jobs n, then 6 per job: id, compiled requirement (JSON), spec (JSON, without payload),
--       payload (JSON), idempotency key ('' = none), fingerprint of the body
-- Answers (one of)
--   {'OK', 'CREATED' | 'EXISTING', id, ...}   per job: it stands under this id
--   {'CONFLICT', i}                           job i (from 0): its idempotency key was used for another body
--   {'WORKFLOW_PRIORITY', i, priority}        job i differs from its workflow's priority
-- Moves none → pending | scheduled. Events job.submitted (and job.scheduled for a delayed one).

local function idempotency_key(pool, job)
  local customer = job.spec.customer_id or ''
  return pool .. 'idem:' .. redis.sha1hex(#customer .. ' ' .. customer .. job.idempotency)
end

local function parse_submit(args)
  local list = {}
  for i = 2, #args, 6 do
    list[#list + 1] = {
      id = args[i], requirement = args[i + 1], spec_text = args[i + 2], payload = args[i + 3],
      idempotency = args[i + 4], fingerprint = args[i + 5], spec = cjson.decode(args[i + 2]),
    }
  end
  return list
end

-- The id that already stands for this job (same id sent again, or idempotency key); or nil, and whether it conflicts.
local function standing(pool, job)
  if redis.call('EXISTS', pool .. 'job:' .. job.id) == 1 then return job.id end
  if job.idempotency == '' then return nil end
  local used = redis.call('GET', idempotency_key(pool, job))
  if not used then return nil end
  local fingerprint, id = string.match(used, '^(%S*) (%S+)$')
  if fingerprint ~= job.fingerprint then return nil, true end
  return id
end

-- A workflow's place {priority, seq}, or nil for its first job.
local function workflow_place(pool, spec)
  local place = spec.workflow and redis.call('GET', pool .. 'workflow:' .. spec.workflow.id)
  if not place then return nil end
  local priority, seq = string.match(place, '^(%d+) (%d+)$')
  return {priority = tonumber(priority), seq = tonumber(seq)}
end

-- The first refusal among the jobs as an answer, or nil. Writes nothing.
local function refuse_submit(pool, list)
  for i, job in ipairs(list) do
    local id, conflict = standing(pool, job)
    if conflict then return {'CONFLICT', i - 1} end
    job.standing = id
    local place = workflow_place(pool, job.spec)
    if place and place.priority ~= job.spec.priority then
      return {'WORKFLOW_PRIORITY', i - 1, place.priority}
    end
  end
end

-- Priority and sequence number in the order; remembered for the later steps of a workflow.
local function take_place(pool, spec, seq)
  local place = workflow_place(pool, spec) or {priority = spec.priority, seq = seq}
  if spec.workflow then
    redis.call('SET', pool .. 'workflow:' .. spec.workflow.id, place.priority .. ' ' .. int(place.seq),
      'PX', LIMITS.workflow_ms)
  end
  return place
end

local function seconds(value) return value and math.floor(value * 1000) or nil end

local function new_record(pool, now, job, seq)
  local spec, place = job.spec, take_place(pool, job.spec, seq)
  local member = queue.member(job.id, spec.workflow and (spec.workflow.step or 1), seq)
  local class, is_new = classes.intern(pool, job.requirement, classes.attributes(spec), '')
  if is_new then workable.new(pool, now, class) end
  classes.refer(pool, now, class, 1)
  local delay = seconds(spec.delay_s) or 0
  return {
    id = job.id, state = delay > 0 and 'scheduled' or 'pending', service = spec.service, class = class,
    priority = spec.priority, seq = int(seq), order = int(queue.order(place.priority, place.seq)),
    member = member ~= job.id and member or nil, fence = 0, attempts = 0, max_attempts = spec.max_attempts or 3,
    submitted_at_ms = int(now), due_at_ms = delay > 0 and int(now + delay) or nil,
    timeout_ms = seconds(spec.timeout_s), stall_ms = seconds(spec.stall_s), retention_ms = seconds(spec.retention_s),
    unworkable_after_ms = spec.on_unworkable == 'fail' and (seconds(spec.unworkable_after_s) or 300000) or nil,
    expires_at_ms = spec.expires_in_s and int(now + seconds(spec.expires_in_s)) or nil,
  }
end

local function write_record(pool, record, job)
  local flat = {}
  for name, value in pairs(record) do
    if name ~= 'id' then
      flat[#flat + 1] = name
      flat[#flat + 1] = value
    end
  end
  redis.call('HSET', pool .. 'job:' .. job.id, unpack(flat))
  redis.call('SET', pool .. 'spec:' .. job.id, job.spec_text)
  redis.call('SET', pool .. 'payload:' .. job.id, job.payload)
  for _, index in ipairs(jobs.indexes(job.spec, record.state, record.service)) do
    redis.call('ZADD', pool .. index, record.seq, job.id)
  end
  redis.call('HINCRBY', pool .. 'counts', record.service .. ' ' .. record.state, 1)
  if job.idempotency ~= '' then
    redis.call('SET', idempotency_key(pool, job), job.fingerprint .. ' ' .. job.id, 'PX', LIMITS.idempotency_ms)
  end
end

local function accept(pool, now, job)
  local record = new_record(pool, now, job, redis.call('INCR', pool .. 'seq'))
  write_record(pool, record, job)
  jobs.expect_expiry(pool, record)
  if record.unworkable_after_ms then
    redis.call('ZADD', pool .. 'giveups', int(now + record.unworkable_after_ms), job.id)
  end
  events.add(pool, now, 'job.submitted', {job_id = job.id})
  if record.state == 'scheduled' then
    redis.call('ZADD', pool .. 'due', record.due_at_ms, job.id)
    events.add(pool, now, 'job.scheduled', {job_id = job.id})
  else
    jobs.enqueue(pool, now, record)
  end
end

-- muster_check: would these jobs be refused? For batches that go in several calls: asked for all before the first.
-- ARGV  1: number of jobs n, then 4 per job: id, spec (JSON), idempotency key, fingerprint
-- Answers {'OK'}, or a refusal as muster_submit says it. Writes nothing
local function muster_check(keys, args)
  local list = {}
  for i = 2, #args, 4 do
    list[#list + 1] = {
      id = args[i], spec = cjson.decode(args[i + 1]), idempotency = args[i + 2], fingerprint = args[i + 3],
    }
  end
  return refuse_submit(pool_of(keys[1]), list) or {'OK'}
end

local function muster_submit(keys, args)
  local pool, now = pool_of(keys[1]), now_ms()
  local list = parse_submit(args)
  local refusal = refuse_submit(pool, list)
  if refusal then return refusal end
  local answer = {'OK'}
  for _, job in ipairs(list) do
    local id = job.standing or standing(pool, job) -- a batch may hold the same key twice
    if not id then accept(pool, now, job) end
    answer[#answer + 1] = id and 'EXISTING' or 'CREATED'
    answer[#answer + 1] = id or job.id
  end
  return answer
end

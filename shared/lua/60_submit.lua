-- muster_submit: take jobs in.
-- KEYS  1: any key of the pool
-- ARGV  1: number of jobs n, then 7 per job: id, compiled requirement (JSON), terms (msgpack map, made by
--       shared/wire/terms.py), spec (JSON, without payload), payload (JSON), idempotency key ('' = none), fingerprint
--       of the body
-- Answers (one of)
--   {'OK', 'CREATED' | 'EXISTING', id, ...}   per job: it stands under this id
--   {'CONFLICT', i}                           job i (from 0): its idempotency key was used for another body
--   {'WORKFLOW_PRIORITY', i, priority}        job i differs from its workflow's priority
--   {'UNKNOWN_DEPENDENCY', i, id}             job i depends on a job that doesn't exist
-- Moves none → pending | scheduled | blocked (→ failed, class dependency). Events job.submitted .scheduled .blocked

local function idempotency_key(pool, job)
  local customer = job.terms.customer_id or ''
  return pool.key .. 'idem:' .. redis.sha1hex(#customer .. ' ' .. customer .. job.idempotency)
end

-- Kinds of a job's terms (shared/wire/terms.py); numbers are from 0 on.
local TERMS = {
  service = 'string', priority = 'number', default_priority = 'number', max_attempts = 'number',
  timeout_ms = 'number', stall_ms = 'number', retention_ms = 'number', delay_ms = 'number', expires_in_ms = 'number',
  unworkable_after_ms = 'number', customer_id = 'string', workflow = 'string', step = 'number', depends_on = 'table',
  prefers = 'string',
}

-- The terms decoded; raises when they aren't what the library makes a record of.
local function read_terms(text)
  local terms = cmsgpack.unpack(text)
  demand(type(terms) == 'table', 'terms')
  for name, value in pairs(terms) do
    demand(type(value) == TERMS[name], 'terms of known names and kinds')
    demand(TERMS[name] ~= 'number' or is_integer(value, 0, 9007199254740991), 'integers')
  end
  for _, other in ipairs(terms.depends_on or {}) do demand(type(other) == 'string', 'ids of jobs') end
  demand(is_service(terms.service), 'a service')
  demand(is_integer(terms.priority or terms.default_priority, 0, 1000), 'a priority')
  demand(terms.max_attempts and not terms.workflow == not terms.step, 'max_attempts, and a step with a workflow')
  if terms.prefers then documents.wishes(terms.prefers) end
  return terms
end

local function parse_submit(args)
  local list = {}
  for i = 2, #args, 7 do
    local terms = read_terms(args[i + 2])
    demand(string.find(args[i], '^[A-Za-z0-9-]+$'), 'the id of a job')
    demand(documents.requirement(args[i + 1]).service == terms.service, 'a requirement of the same service')
    list[#list + 1] = {
      id = args[i], requirement = args[i + 1], terms = terms, spec = args[i + 3],
      payload = args[i + 4], idempotency = args[i + 5], fingerprint = args[i + 6],
    }
  end
  return list
end

-- The id that stands for the job's idempotency key; or nil, and whether the key was used for another body. A job that
-- was pruned meanwhile stands no more.
local function standing(pool, job)
  if job.idempotency == '' then return nil end
  local used = redis.call('GET', idempotency_key(pool, job))
  if not used then return nil end
  local fingerprint, id = string.match(used, '^(%S*) (%S+)$')
  if not id or redis.call('EXISTS', pool.key .. 'job:' .. id) == 0 then return nil end
  if fingerprint ~= job.fingerprint then return nil, true end
  return id
end

-- A workflow's place {priority, seq}, or nil for its first job.
local function workflow_place(pool, terms)
  local place = terms.workflow and redis.call('GET', pool.key .. 'workflow:' .. terms.workflow)
  if not place then return nil end
  local priority, seq = string.match(place, '^(%d+) (%d+)$')
  return {priority = tonumber(priority), seq = tonumber(seq)}
end

-- A job it depends on that doesn't exist, or nil. A job that stands already isn't asked: they may be pruned since.
local function missing_dependency(pool, job)
  if not job.terms.depends_on or redis.call('EXISTS', pool.key .. 'job:' .. job.id) == 1 then return nil end
  for _, other in ipairs(job.terms.depends_on) do
    if redis.call('EXISTS', pool.key .. 'job:' .. other) == 0 then return other end
  end
end

-- The priority that the job's workflow has, here or by an earlier job of the batch, when the job asks for another one.
-- A step that says none takes the workflow's.
local function other_priority(pool, terms, places)
  if not terms.workflow then return nil end
  local place = workflow_place(pool, terms) or places[terms.workflow]
  place = place or {priority = terms.priority or terms.default_priority}
  places[terms.workflow] = place
  return terms.priority and place.priority ~= terms.priority and place.priority or nil
end

-- The refusal of one job as an answer, or nil. Writes nothing. `places`: of the workflows seen so far.
local function refuse(pool, job, i, places)
  local id, conflict = standing(pool, job)
  if conflict then return {'CONFLICT', i} end
  job.standing = id
  local priority = other_priority(pool, job.terms, places)
  if priority then return {'WORKFLOW_PRIORITY', i, priority} end
  local missing = not id and missing_dependency(pool, job)
  if missing then return {'UNKNOWN_DEPENDENCY', i, missing} end
end

-- The first refusal among the jobs as an answer, or nil. Writes nothing.
local function refuse_submit(pool, list)
  local places = {}
  for i, job in ipairs(list) do
    local refusal = refuse(pool, job, i - 1, places)
    if refusal then return refusal end
  end
end

-- Priority and sequence number in the order; remembered for the later steps of a workflow.
local function take_place(pool, record)
  record.priority, record.default_priority = record.priority or record.default_priority, nil
  local place = workflow_place(pool, record) or record
  if record.workflow then
    redis.call('SET', pool.key .. 'workflow:' .. record.workflow, place.priority .. ' ' .. int(place.seq),
      'PX', LIMITS.workflow_ms)
  end
  record.priority, record.order = place.priority, queue.order(place.priority, place.seq)
end

-- The terms become the record.
local function complete_record(pool, job, class)
  local record = job.terms
  record.id, record.state, record.class, record.seq = job.id, 'pending', class, redis.call('INCR', pool.key .. 'seq')
  record.fence, record.attempts, record.submitted_at_ms = 0, 0, pool.now
  if record.expires_in_ms then record.expires_at_ms = pool.now + record.expires_in_ms end
  take_place(pool, record)
end

-- A new job that waits for others; one of them may have failed already.
local function wait_for_others(pool, record, depends_on, broken)
  events.add(pool, 'job.blocked', {job_id = record.id})
  if broken then return dependants.break_off(pool, record, broken) end
  dependants.wait(pool, record, depends_on)
end

-- The state a new job begins in: pending, unless there is something to wait for. Answers the job that broke a
-- dependency, if one did.
local function first_state(pool, record, depends_on)
  if record.delay_ms then record.state, record.due_at_ms = 'scheduled', pool.now + record.delay_ms end
  if not depends_on then return nil end
  local open, broken = dependants.look(pool, depends_on)
  if open > 0 then record.state, record.due_at_ms, record.open = 'blocked', nil, open end
  return broken
end

-- What a new job waits for, it is watched for.
local function begin(pool, record, depends_on, broken)
  jobs.expect_expiry(pool, record)
  if record.unworkable_after_ms then
    redis.call('ZADD', pool.key .. 'chores', pool.now + record.unworkable_after_ms, 'giveup ' .. record.id)
  end
  if record.state == 'blocked' then return wait_for_others(pool, record, depends_on, broken) end
  if record.state == 'pending' then return jobs.enqueue(pool, record) end
  timers.at(pool, record.due_at_ms, 'due ' .. record.id)
  events.add(pool, 'job.scheduled', {job_id = record.id})
end

-- Take a job in; answers false when it stands already: its id was sent before.
local function accept(pool, job)
  local record, depends_on = job.terms, job.terms.depends_on
  record.depends_on = nil
  complete_record(pool, job, classes.name(pool, job.requirement, job.spec))
  local broken = first_state(pool, record, depends_on)
  if not jobs.enter(pool, record, job.spec, job.payload) then return false end
  if job.idempotency ~= '' then
    redis.call('SET', idempotency_key(pool, job), job.fingerprint .. ' ' .. job.id, 'PX', LIMITS.idempotency_ms)
  end
  events.add(pool, 'job.submitted', {job_id = job.id})
  classes.join(pool, record.class, job.requirement, job.spec, '')
  begin(pool, record, depends_on, broken)
  return true
end

-- muster_check: would these jobs be refused? For batches that go in several calls: asked for all before the first.
-- ARGV  1: number of jobs n, then 4 per job: id, terms (msgpack map), idempotency key, fingerprint
-- Answers {'OK'}, or a refusal as muster_submit says it. Writes nothing
local function muster_check(keys, args)
  local list = {}
  for i = 2, #args, 4 do
    list[#list + 1] = {
      id = args[i], terms = read_terms(args[i + 1]), idempotency = args[i + 2], fingerprint = args[i + 3],
    }
  end
  return refuse_submit(pools.open(keys), list) or {'OK'}
end

local function muster_submit(keys, args)
  local pool, list = pools.open(keys), parse_submit(args)
  local refusal = refuse_submit(pool, list)
  if refusal then return refusal end
  local answer = {'OK'}
  for i, job in ipairs(list) do
    local id = job.standing or (i > 1 and standing(pool, job)) -- a batch may hold the same key twice
    local is_new = not id and accept(pool, job)
    answer[#answer + 1] = is_new and 'CREATED' or 'EXISTING'
    answer[#answer + 1] = id or job.id
  end
  return answer
end

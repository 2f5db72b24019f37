-- One job: its record, its states, and the moves between them. Every change of state goes through `jobs.move`.

do
  -- The record is one string, a msgpack map. Its fields, all but the first ten where they apply
  -- (shared/store/job_record.py says what each means):
  --   state, service, class, priority, seq, order, fence, attempts, max_attempts, submitted_at_ms, timeout_ms, step,
  --   worker_id, session, claimed_at_ms, lease_ms, timeout_at_ms, finished_at_ms, stall_ms, stall_at_ms, due_at_ms,
  --   delay_ms, expires_at_ms, retention_ms, unworkable_after_ms, cancel_at_ms, failure_class, message, reaped, ended,
  --   progress, preview, open, has_dependants, prefers, customer_id, workflow, expires_in_ms, follow_at_ms

  local KINDS = {
    state = 'string', service = 'string', class = 'string', priority = 'number', seq = 'number', order = 'number',
    fence = 'number', attempts = 'number', max_attempts = 'number', submitted_at_ms = 'number', timeout_ms = 'number',
    step = 'number', worker_id = 'string', session = 'string', claimed_at_ms = 'number', lease_ms = 'number',
    timeout_at_ms = 'number', finished_at_ms = 'number', stall_ms = 'number', stall_at_ms = 'number',
    due_at_ms = 'number', delay_ms = 'number', expires_at_ms = 'number', retention_ms = 'number',
    unworkable_after_ms = 'number', cancel_at_ms = 'number', failure_class = 'string', message = 'string',
    reaped = 'number', ended = 'number', progress = 'string', preview = 'string', open = 'number',
    has_dependants = 'boolean', prefers = 'string', customer_id = 'string', workflow = 'string',
    expires_in_ms = 'number', follow_at_ms = 'number',
  }

  local FINAL = {completed = true, failed = true, cancelled = true}
  local WAITING = {blocked = true, scheduled = true, pending = true}

  -- State → the states that may follow; the same table as shared/wire/states.py.
  jobs.next_states = {
    blocked = {pending = true, scheduled = true, failed = true, cancelled = true},
    scheduled = {pending = true, failed = true, cancelled = true},
    pending = {active = true, completed = true, cancelled = true, failed = true},
    active = {completed = true, failed = true, scheduled = true, pending = true, cancelled = true},
    completed = {}, failed = {pending = true, blocked = true}, cancelled = {pending = true, blocked = true},
  }

  function jobs.is_final(job) return FINAL[job.state] == true end
  function jobs.is_waiting(job) return WAITING[job.state] == true end

  -- Is all there that a record in this state is read for?
  local function is_complete(job)
    local state = job.state
    if not jobs.next_states[state] then return false end
    if not (job.service and job.class and job.seq and job.order and job.fence and job.attempts) then return false end
    if not (job.priority and job.max_attempts and job.submitted_at_ms) then return false end
    if state == 'active' then return job.worker_id and job.lease_ms and job.timeout_at_ms end
    if state == 'blocked' then return job.open end
    return not FINAL[state] or job.finished_at_ms
  end

  -- Fields by name from the stored text; nil when it can't be read.
  local function unpacked(text)
    local is_whole, job = pcall(cmsgpack.unpack, text)
    if not is_whole or type(job) ~= 'table' then return nil end
    for name, value in pairs(job) do
      local kind = KINDS[name]
      if kind and type(value) ~= kind then return nil end
      if kind == 'number' and not (value >= 0 and value <= 9007199254740991) then return nil end
    end
    return is_complete(job) and job or nil
  end

  -- The job's record with its id; nil when there is none. Second answer: true when there is one that can't be read.
  function jobs.read(pool, id)
    local text = redis.pcall('GET', pool.key .. 'job:' .. id)
    if not text then return nil, false end
    local job = type(text) == 'string' and unpacked(text)
    if not job then return nil, true end
    job.id = id
    return job
  end

  -- The record as text; its id is in the key.
  local function packed(job)
    local id = job.id
    job.id = nil
    local text = cmsgpack.pack(job)
    job.id = id
    return text
  end

  -- Store the record; with a result (JSON text) that came just now, both in one write.
  function jobs.write(pool, job)
    local key, result = pool.key .. 'job:' .. job.id, job.result
    if not result then return redis.call('SET', key, packed(job)) end
    job.result = nil
    redis.call('MSET', key, packed(job), pool.key .. 'result:' .. job.id, result)
  end

  -- The job as submitted, JSON text.
  function jobs.spec(pool, id)
    return redis.call('GET', pool.key .. 'spec:' .. id) or '{}'
  end

  -- Ids of the jobs that it depends on.
  function jobs.depends_on(pool, id)
    local listed, ids = documents.object(jobs.spec(pool, id)).depends_on, {}
    for _, other in ipairs(type(listed) == 'table' and listed or {}) do
      if type(other) == 'string' then ids[#ids + 1] = other end
    end
    return ids
  end

  -- The job refers to the class of this requirement that avoids that worker ('' = nobody). The record isn't stored.
  function jobs.classify(pool, job, requirement, avoid)
    local spec = jobs.spec(pool, job.id)
    job.class = classes.name(pool, requirement, spec, avoid)
    classes.join(pool, job.class, requirement, spec, avoid)
  end

  -- The same for a job that refers to a class already.
  function jobs.reclass(pool, job, requirement, avoid)
    local before = job.class
    jobs.classify(pool, job, requirement, avoid)
    classes.leave(pool, before)
  end

  -- The list of all jobs of a service in a state, by seq.
  local function index(pool, job, state)
    local of_service = pool.lists[job.service]
    if not of_service then
      of_service = {}
      for name in pairs(jobs.next_states) do of_service[name] = pool.key .. 'jobs:' .. job.service .. ':' .. name end
      pool.lists[job.service] = of_service
    end
    return of_service[state]
  end

  -- A new job with its spec and payload (JSON text) enters its lists; answers false when there is one of that id.
  function jobs.enter(pool, job, spec, payload)
    local id = job.id
    local is_new = redis.call('MSETNX', pool.key .. 'job:' .. id, packed(job), pool.key .. 'spec:' .. id, spec,
      pool.key .. 'payload:' .. id, payload)
    if is_new == 0 then return false end
    redis.call('ZADD', index(pool, job, job.state), job.seq, id)
    if job.customer_id then redis.call('ZADD', pool.key .. 'customer:' .. job.customer_id, job.seq, id) end
    if job.workflow then redis.call('ZADD', pool.key .. 'steps:' .. job.workflow, job.seq, id) end
    return true
  end

  -- The job's state becomes `to`; the record is stored with whatever else was changed in it.
  function jobs.move(pool, job, to)
    if not jobs.next_states[job.state][to] then
      error('job ' .. job.id .. ' can not go from ' .. job.state .. ' to ' .. to)
    end
    redis.call('ZREM', index(pool, job, job.state), job.id)
    redis.call('ZADD', index(pool, job, to), job.seq, job.id)
    job.state = to
    jobs.write(pool, job)
  end

  -- Into the queue, at the job's own place; wakes a worker.
  function jobs.enqueue(pool, job)
    queue.add(pool, job)
    wake.one(pool, job.class, job)
  end

  -- A waiting job that has an expiry is watched for it.
  function jobs.expect_expiry(pool, job)
    if job.expires_at_ms then timers.at(pool, job.expires_at_ms, 'expiry ' .. job.id) end
  end

  -- Out of whatever a waiting job waits in.
  function jobs.dequeue(pool, job)
    if job.is_head then -- a claim has just looked it up
      queue.shift(pool, job.class, queue.member(job), job.next_order)
      job.is_head, job.next_order = nil, nil
    elseif job.state == 'pending' then
      queue.remove(pool, job.class, queue.member(job))
    elseif job.state == 'scheduled' then
      timers.drop(pool, 'due ' .. job.id)
    elseif job.state == 'blocked' then
      dependants.unwait(pool, job)
    end
    if job.expires_at_ms then timers.drop(pool, 'expiry ' .. job.id) end
  end

  -- Watch an active job: its timer stands at the nearest of the lease's end and its deadlines; at which of them it
  -- stands tells `jobs.deadline_at`. While a result is delivered only the lease and a cancel's grace count.
  -- `first_at`: by when the worker must be heard of first.
  function jobs.watch(pool, job, is_delivering, first_at)
    local at = math.min(pool.now + job.lease_ms, first_at or math.huge)
    if job.cancel_at_ms then at = math.min(at, job.cancel_at_ms + LIMITS.cancel_grace_ms) end
    if not is_delivering then
      at = math.min(at, job.timeout_at_ms)
      if job.stall_at_ms then at = math.min(at, job.stall_at_ms) end
    end
    timers.at(pool, at, 'lease ' .. job.id)
  end

  -- What ended when an active job's timer went off: 'cancelled', 'timeout', 'stalled', 'wake' (it was handed over, and
  -- nobody followed) or 'lease'.
  function jobs.deadline_at(job, at)
    if job.cancel_at_ms and at == job.cancel_at_ms + LIMITS.cancel_grace_ms then return 'cancelled' end
    if at == job.timeout_at_ms then return 'timeout' end
    if at == job.stall_at_ms then return 'stalled' end
    if at == job.follow_at_ms then return 'wake' end
    return 'lease'
  end

  -- End of an attempt: nobody holds the job any more. The record isn't stored.
  function jobs.unlease(pool, job)
    timers.drop(pool, 'lease ' .. job.id)
    redis.call('HDEL', pool.key .. 'worker:' .. job.worker_id, 'job_id') -- it holds one job at a time: this one
    job.progress, job.preview, job.stall_at_ms = nil, nil, nil
  end

  local function retention_ms(pool, job, state)
    if job.retention_ms then return job.retention_ms end
    return state == 'completed' and pool.retain_completed_ms or pool.retain_failed_ms
  end

  -- The job ends in a final state. `more` = {failure_class=, message=} of a failed one.
  local function finish(pool, job, state, more)
    more = more or {}
    job.finished_at_ms, job.failure_class, job.message = pool.now, more.failure_class, more.message
    job.cancel_at_ms, job.due_at_ms, job.reaped = nil, nil, nil
    jobs.move(pool, job, state)
    redis.call('ZADD', pool.key .. 'chores', pool.now + retention_ms(pool, job, state), 'prune ' .. job.id)
    if job.class ~= '' then classes.leave(pool, job.class) end -- a damaged record may not tell
    more.attempt = job.attempts
    events.job(pool, state, job, more)
    if job.has_dependants then timers.soon(pool, 'dependants ' .. job.id) end
  end

  -- A waiting job ends.
  function jobs.finish_waiting(pool, job, state, more)
    jobs.dequeue(pool, job)
    finish(pool, job, state, more)
  end

  -- An active job ends.
  function jobs.finish_active(pool, job, state, more)
    jobs.unlease(pool, job)
    finish(pool, job, state, more)
  end

  -- A job that comes to wait is of a class that knows what is significant by now. The record isn't stored.
  local function renew_class(pool, job)
    local class = pool.significant > 0 and classes.job(pool, job.class)
    if class and class.version < pool.significant then jobs.reclass(pool, job, class.text, class.avoid) end
  end

  -- Into the queue from another state. `why` = {event=, failure_class=, message=, is_unspent = the attempt doesn't
  -- count}.
  function jobs.make_pending(pool, job, why)
    why.attempt = job.attempts > 0 and job.attempts or nil
    events.keep(pool, why.event, pool.now, job, why)
    if why.is_unspent then job.attempts = job.attempts - 1 end
    renew_class(pool, job)
    jobs.move(pool, job, 'pending')
    events.job(pool, why.event, job, why)
    jobs.enqueue(pool, job)
  end

  -- An active job goes back to its old place.
  function jobs.give_back(pool, job, why)
    jobs.unlease(pool, job)
    jobs.expect_expiry(pool, job)
    jobs.make_pending(pool, job, why)
  end

  -- The worker gives an active job back unharmed, or is gone: no attempt is spent.
  function jobs.release(pool, job)
    if job.cancel_at_ms then return jobs.finish_active(pool, job, 'cancelled') end
    jobs.give_back(pool, job, {event = 'released', is_unspent = true})
  end

  -- Wait for a time.
  function jobs.schedule(pool, job, due_at_ms)
    job.due_at_ms = due_at_ms
    jobs.move(pool, job, 'scheduled')
    timers.at(pool, due_at_ms, 'due ' .. job.id)
  end

  -- Is the caller the one who holds the job? `fence` is a number.
  function jobs.held_by(job, fence, worker_id)
    return job ~= nil and job.state == 'active' and job.fence == fence and job.worker_id == worker_id
  end

  -- Forget a finished job.
  function jobs.prune(pool, job)
    redis.call('ZREM', index(pool, job, job.state), job.id)
    if job.customer_id then redis.call('ZREM', pool.key .. 'customer:' .. job.customer_id, job.id) end
    if job.workflow then redis.call('ZREM', pool.key .. 'steps:' .. job.workflow, job.id) end
    for _, kind in ipairs({'job:', 'spec:', 'payload:', 'result:', 'history:', 'dependants:'}) do
      redis.call('DEL', pool.key .. kind .. job.id)
    end
    events.add(pool, 'job.pruned', {job_id = job.id})
  end

  -- Service, state and seq by the list that the job stands in; nil when it stands in none.
  local function listed(pool, id)
    for _, service in ipairs(redis.call('SMEMBERS', pool.key .. 'services')) do
      for state in pairs(jobs.next_states) do
        local seq = redis.call('ZSCORE', index(pool, {service = service}, state), id)
        if seq then return service, state, tonumber(seq) end
      end
    end
  end

  -- What a damaged record still tells: class, worker, and the lists that the job is to be taken from.
  local function salvaged(pool, id)
    local text = redis.pcall('GET', pool.key .. 'job:' .. id)
    local is_whole, record = pcall(cmsgpack.unpack, text)
    local kept = {}
    for _, name in ipairs({'class', 'worker_id', 'fence', 'customer_id', 'workflow', 'retention_ms'}) do
      local value = is_whole and type(record) == 'table' and record[name]
      if type(value) == KINDS[name] and (KINDS[name] == 'string' or is_integer(value, 0, 9007199254740991)) then
        kept[name] = value
      end
    end
    return kept
  end

  -- The worker doesn't hold the job any more, if it does.
  local function set_free(pool, worker_id, id)
    local key = pool.key .. 'worker:' .. worker_id
    if redis.call('HGET', key, 'job_id') == id then redis.call('HDEL', key, 'job_id') end
  end

  -- A record that can't be read is set aside: failed, so that it is seen and never met again; a finished one stays what
  -- it was. Answers the record that stands now; nil when the job isn't listed. `class` and `worker_id`: where the
  -- caller knows them.
  function jobs.set_aside(pool, id, class, worker_id)
    local service, state, seq = listed(pool, id)
    if not service then return nil end
    local kept, key = salvaged(pool, id), pool.key .. 'job:' .. id
    redis.call('DEL', key) -- it may not even be a string
    worker_id = worker_id or kept.worker_id
    if worker_id then set_free(pool, worker_id, id) end
    local job = {
      id = id, state = state, service = service, class = class or kept.class or '', priority = 0, seq = seq, order = 0,
      fence = kept.fence or 0, attempts = 0, max_attempts = 0, submitted_at_ms = pool.now, finished_at_ms = pool.now,
      customer_id = kept.customer_id, workflow = kept.workflow, retention_ms = kept.retention_ms,
      has_dependants = redis.call('EXISTS', pool.key .. 'dependants:' .. id) == 1 or nil,
    }
    local why = {failure_class = 'bad_input', message = 'the stored job is damaged'}
    if FINAL[state] then jobs.write(pool, job) else finish(pool, job, 'failed', why) end
    return job
  end

  -- The job's record; a damaged one is set aside first.
  function jobs.sound(pool, id)
    local job, is_damaged = jobs.read(pool, id)
    if is_damaged then return jobs.set_aside(pool, id) end
    return job
  end
end

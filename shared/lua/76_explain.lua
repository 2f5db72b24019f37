-- muster_explain: who could run a job, submitted or not: the matcher's verdict on every worker, a bounded step a call.
-- KEYS  1: any key of the pool
-- ARGV  1: cursor ('' = from the start), 2: compiled requirement (JSON), 3: the job's attributes (JSON object of
--       strings), 4: the job's id, '' for one that isn't submitted
-- Answers {'OK', cursor ('' = that was all), paused '1' | '0',
--   {idle, busy, draining, suspended, offline, cannot}, {worker class, ...}, {GiB, ...}, reason, ...}: of the workers
--   that this call looked at
--   paused     its service is: nobody gets it, whoever can run it
--   classes    those that can run it and have workers
--   GiB        the different numbers at gpu.memory_gb, as text
--   reason     {part, node, key, workers, alone, worker class, worker id}: so many workers fail first at that node (-1:
--              a part without conditions); equal keys of equal part and node met the same value (of identities:
--              any); `alone` of them lack nothing else; a class and a worker that it holds for. part: those of
--              muster_match, and 'avoid'
-- Reads only. Offline are workers of agents whose lease is over, also those that no longer count as registered.
local explain = {}
local muster_explain

do
  local VERDICTS = {'idle', 'busy', 'draining', 'suspended', 'offline', 'cannot'}
  local PARTS = {service = 'services', isolation = 'customers.isolation'}
  local BYTES = 128 -- a class that must be decoded first costs one more per so many bytes
  local CUT = 100   -- longer values are told apart by their beginning and length

  -- What judging a class costs of a call's share.
  function explain.job_cost(pool, name)
    if classes.knows_job(name) then return 1 end
    return 1 + redis.call('HSTRLEN', pool.key .. 'class:' .. name, 'requirement') / BYTES
  end

  function explain.worker_cost(pool, name)
    if classes.knows_worker(name) then return 1 end
    return 1 + redis.call('HSTRLEN', pool.key .. 'wclass:' .. name, 'capability') / BYTES
  end

  -- The attributes of a class's jobs: those of this one where its name is older than what became significant.
  function explain.attributes(pool, class, job_id)
    if class.version >= pool.significant then return class.attributes end
    return classes.attributes(cjson.decode(jobs.spec(pool, job_id)))
  end

  -- The node of that number in a tree.
  function explain.node(tree, number)
    if tree.number == number then return tree end
    for i = 1, #tree do
      local found = explain.node(tree[i], number)
      if found then return found end
    end
  end

  local function cut(text)
    return #text > CUT and string.sub(text, 1, CUT) .. #text or text
  end

  local function operand_text(operand)
    return cut(type(operand) == 'table' and table.concat(operand, '\31') or tostring(operand))
  end

  -- A condition and what it met, as text. look_up(path) → entry | nil.
  local function told(node, look_up)
    if node.path then
      local found = look_up(node.path)
      local parts = {node.op, node.path, operand_text(node.operand), cut(found and found.text or '')}
      return table.concat(parts, '\30')
    end
    local parts = {node.op}
    for i = 1, #node do parts[i + 1] = told(node[i], look_up) end
    return table.concat(parts, '\29')
  end

  -- What the worker says of a path.
  local function entry_of(of, path)
    local text = of.identity and of.identity[path]
    return text and documents.word(text) or of.capability[path]
  end

  -- What makes two failures of a part and node the same: the value found, and the condition where jobs don't share it.
  local function key_of(call, of, part, number)
    if part == 'accepts' then return told(explain.node(of.accepts, number), function() return nil end) end
    local node = number >= 0 and explain.node(call.job.requires, number)
    if node and not node.path then return told(node, function(path) return entry_of(of, path) end) end
    if node and node.identity then return '' end -- each has another one
    local found = entry_of(of, node and node.path or part == 'model' and call.job.model_path or PARTS[part] or '')
    return cut(found and found.text or '')
  end

  -- The requirement without the condition at its top that holds the node.
  local function without(tree, number)
    local kept, at = {op = 'all', number = tree.number}, 0
    for i = 1, tree.op == 'all' and #tree or 0 do
      if tree[i].number <= number then at = i end
    end
    for i = 1, at > 0 and #tree or 0 do
      if i ~= at then kept[#kept + 1] = tree[i] end
    end
    return kept
  end

  -- The job as it would be without what failed; nil where that can't be left out.
  local function eased(call, part, number)
    local name = part .. number
    if call.eased[name] then return call.eased[name] end
    local lacks = nil
    if part == 'model' then lacks = {model = false} end
    if part == 'isolation' then lacks = {isolation = 'none'} end
    if part == 'requires' then lacks = {requires = without(call.job.requires, number)} end
    call.eased[name] = lacks and setmetatable(lacks, {__index = call.job})
    return call.eased[name]
  end

  -- Is it the only thing that keeps the worker from the job?
  local function is_alone(call, of, part, number)
    if part == 'accepts' then return true end
    local job = eased(call, part, number)
    return job ~= nil and match.takes(job, call.attributes, of) ~= false
  end

  -- The group of equal failures, made with a sample when it is new.
  local function group_of(call, of, about, node)
    local key = key_of(call, of, about.part, node)
    local of_part = call.groups[about.part] or {}
    call.groups[about.part] = of_part
    local of_node = of_part[node] or {}
    of_part[node] = of_node
    local group = of_node[key]
    if not group then
      local sample = about.worker_id or redis.call('SRANDMEMBER', call.pool.key .. 'wclass-workers:' .. of.name)
      group = {about.part, node, #key > CUT and redis.sha1hex(key) or key, 0, 0, of.name, sample}
      of_node[key] = group
      call.reasons[#call.reasons + 1] = group
    end
    return group
  end

  -- So many workers of the class can't. `about` = {part=, node=, number=, worker_id= one of them, nil: any}.
  local function keep_away(call, of, about)
    local node = about.node or -1
    local group = group_of(call, of, about, node)
    group[4] = group[4] + about.number
    if is_alone(call, of, about.part, node) then group[5] = group[5] + about.number end
    call.counts.cannot = call.counts.cannot + about.number
  end

  -- Is the agent's lease still running?
  local function is_alive(call, agent_id)
    local known = call.alive[agent_id]
    if known == nil then
      local ends_at_ms = redis.call('ZSCORE', call.pool.key .. 'agents', agent_id)
      known = ends_at_ms ~= false and tonumber(ends_at_ms) > call.pool.now
      call.alive[agent_id] = known
    end
    return known
  end

  -- Count a worker that could run the job.
  local function count(call, agent_id, job_id, draining, is_suspended)
    local word = job_id and 'busy' or 'idle' -- absent fields are false
    if draining then word = 'draining' end
    if is_suspended then word = 'suspended' end
    if not is_alive(call, agent_id) then word = 'offline' end
    call.counts[word] = call.counts[word] + 1
  end

  -- Count workers that could all run the job.
  local function count_all(call, ids)
    local key = call.pool.key .. 'worker:'
    for i = 1, #ids do
      local stored = redis.call('HMGET', key .. ids[i], 'agent_id', 'job_id', 'draining')
      if stored[1] then count(call, stored[1], stored[2], stored[3]) end
    end
  end

  local function read_worker(pool, id)
    local stored = redis.call('HMGET', pool.key .. 'worker:' .. id, 'agent_id', 'job_id', 'draining', 'identity')
    if not stored[1] then return nil end
    return {id = id, agent_id = stored[1], job_id = stored[2], draining = stored[3], identity = stored[4]}
  end

  local function count_worker(call, worker, is_suspended)
    count(call, worker.agent_id, worker.job_id, worker.draining, is_suspended)
  end

  -- Did the agent itself withdraw the service, as its health check fails? (It then stands in the view only.)
  local function has_withdrawn(call, id)
    local view = redis.call('HGET', call.pool.key .. 'worker:' .. id, 'view') or ''
    if not string.find(view, '"suspended":{"', 1, true) then return false end
    local sound, facts = pcall(cjson.decode, view)
    return sound and type(facts.suspended) == 'table' and facts.suspended[call.job.service] ~= nil
  end

  -- The capability with one more service.
  local function restored(capability, service)
    local items = {[documents.word(service).text] = true}
    return setmetatable({services = {kind = 'l', text = '', items = items, scalar = false}}, {__index = capability})
  end

  -- This very worker: who it is, and as if it were suspended for nothing.
  local function of_worker(of, worker, service)
    return {
      name = of.name, accepts = of.accepts, identity = documents.identity(worker.identity or '{}'),
      capability = service and restored(of.capability, service) or of.capability,
    }
  end

  -- A worker whose class doesn't tell: what matters is who it is, or that it is suspended.
  local function judge_worker(call, of, worker, is_suspended)
    local service = call.job.service
    local very = of_worker(of, worker, is_suspended and service)
    local takes, part, node = match.takes(call.job, call.attributes, very)
    if takes then return count_worker(call, worker, is_suspended) end
    keep_away(call, very, {part = part, node = node, number = 1, worker_id = worker.id})
  end

  -- The worker that failed the job takes it only where no other can.
  local function judge_avoided(call, of, worker)
    local identified = {id = worker.id, class = of.name, identity = worker.identity}
    if feasible.worker(call.pool, identified, call.class) then return count_worker(call, worker) end
    keep_away(call, of, {part = 'avoid', number = 1, worker_id = worker.id})
  end

  -- One worker of a class that may run the job, or could but for a suspension.
  local function judge_one(call, of, takes, worker)
    if takes == false then return judge_worker(call, of, worker, true) end
    if call.avoid == worker.id then return judge_avoided(call, of, worker) end
    if takes then return count_worker(call, worker) end
    judge_worker(call, of, worker, false)
  end

  -- Some workers of a class, by the class's verdict {takes, part}.
  local function judge_workers(call, of, verdict, ids)
    if verdict[1] and not call.avoid then return count_all(call, ids) end
    local plain, sample = 0, nil
    for i = 1, #ids do
      local id = ids[i]
      if verdict[2] == 'service' and not has_withdrawn(call, id) then
        plain, sample = plain + 1, id
      else
        local worker = read_worker(call.pool, id)
        if worker then judge_one(call, of, verdict[1], worker) end
      end
    end
    if plain > 0 then keep_away(call, of, {part = 'service', number = plain, worker_id = sample}) end
  end

  -- Worker by worker from the scan's cursor on; answers the cursor reached.
  local function scan(call, of, verdict, cursor)
    repeat
      local found = redis.call('SSCAN', call.pool.key .. 'wclass-workers:' .. of.name, cursor, 'COUNT',
        math.max(1, math.min(call.workers, 100)))
      cursor = found[1]
      call.workers = call.workers - #found[2]
      judge_workers(call, of, verdict, found[2])
    until cursor == '0' or call.workers <= 0
    return cursor
  end

  -- A class of which only those can run the job that it names: the others needn't be looked at one by one. Answers
  -- whether the class holds any of those.
  local function judge_addressees(call, of, number)
    local members, named, is_named = call.pool.key .. 'wclass-workers:' .. of.name, {}, {}
    for _, id in ipairs(call.addressees) do
      if redis.call('SISMEMBER', members, id) == 1 then
        named[#named + 1] = id
        is_named[id] = true
      end
    end
    judge_workers(call, of, {nil}, named)
    for _, id in ipairs(redis.call('SRANDMEMBER', members, #named + 1)) do
      local worker = not is_named[id] and read_worker(call.pool, id)
      if worker then
        local very = of_worker(of, worker)
        local _, part, node = match.takes(call.job, call.attributes, very)
        if part then keep_away(call, very, {part = part, node = node, number = number - #named, worker_id = id}) end
        break
      end
    end
    return #named > 0
  end

  -- All workers of a class, or those from the scan's cursor on; answers the cursor to go on from, '0' for done.
  local function judge_class(call, name, cursor)
    local of = classes.worker(call.pool, name)
    if not of then return '0' end
    local takes, part, node = match.takes(call.job, call.attributes, of)
    local members = call.pool.key .. 'wclass-workers:' .. name
    local number = redis.call('SCARD', members)
    if number == 0 then return '0' end
    local memory = of.capability['gpu.memory_gb']
    if memory and memory.number and not call.sizes[memory.number] then
      call.sizes[memory.number] = string.sub(memory.text, 3)
    end
    if takes == nil and call.addressees then
      if judge_addressees(call, of, number) then call.classes[#call.classes + 1] = name end
      return '0'
    end
    if takes ~= false and cursor == '0' then call.classes[#call.classes + 1] = name end
    if takes ~= false or part == 'suspended' or part == 'service' then
      return scan(call, of, {takes, part}, cursor)
    end
    keep_away(call, of, {part = part, node = node, number = number})
    return '0'
  end

  -- Worker classes from number `at` on; answers the cursor, nil when all are seen.
  local function judge_classes(call, at, cursor)
    local from = cursor == '0' and '(' .. at or at
    local names = redis.call('ZRANGEBYSCORE', call.pool.key .. 'wclasses', from, '+inf', 'WITHSCORES',
      'LIMIT', 0, LIMITS.explain_classes)
    local share = LIMITS.explain_classes
    for i = 1, #names, 2 do
      if share <= 0 or call.workers <= 0 then return 'c ' .. at .. ' 0' end
      share = share - explain.worker_cost(call.pool, names[i])
      local reached = judge_class(call, names[i], names[i + 1] == at and cursor or '0')
      at = names[i + 1]
      if reached ~= '0' then return 'c ' .. at .. ' ' .. reached end
    end
    return #names == 2 * LIMITS.explain_classes and 'c ' .. at .. ' 0' or nil
  end

  -- A worker of a lost agent that no longer counts as registered.
  local function judge_lost(call, id)
    local key = call.pool.key .. 'worker:' .. id
    local stored = read_fields(key, 'agent_id', 'unlisted', 'class', 'capability', 'accepts', 'identity')
    if not stored.agent_id or not stored.unlisted then return end
    local sound, capability = pcall(documents.capability, stored.capability)
    local readable, accepts = pcall(documents.accepts, stored.accepts)
    if not sound or not readable then return end
    stored.id = id
    judge_worker(call, {name = stored.class, capability = capability, accepts = accepts}, stored, false)
  end

  -- Workers of lost agents from rank `at` on; answers the cursor, nil when all are seen.
  local function judge_agents(call, at)
    while call.workers > 0 do
      local agent_id = redis.call('ZRANGE', call.pool.key .. 'lost-agents', at, at)[1]
      if not agent_id then return nil end
      local ids = workers.of(call.pool, agent_id)
      for _, id in ipairs(ids) do judge_lost(call, id) end
      call.workers = call.workers - 5 * #ids - 1 -- their documents are read, too
      at = at + 1
    end
    return 'l ' .. int(at) .. ' 0'
  end

  -- Ids of those whom the job names, when it names few.
  local function addressees(pool, job)
    if not job.address then return nil end
    local key = pool.key .. 'addressees:' .. job.address
    return redis.call('SCARD', key) <= LIMITS.wake_workers and redis.call('SMEMBERS', key) or nil
  end

  local function asked(pool, args)
    local job = documents.requirement(args[2])
    local call = {
      pool = pool, job = job, attributes = documents.identity(args[3]), addressees = addressees(pool, job),
      workers = LIMITS.explain_workers, counts = {}, groups = {}, reasons = {}, classes = {}, sizes = {}, alive = {},
      eased = {},
    }
    for _, word in ipairs(VERDICTS) do call.counts[word] = 0 end
    local record = args[4] ~= '' and jobs.read(pool, args[4])
    local class = record and classes.job(pool, record.class)
    if class and class.avoid ~= '' then call.class, call.avoid = class.name, class.avoid end
    return call
  end

  local function answer(call, cursor)
    local counts, sizes = {}, {}
    for i, word in ipairs(VERDICTS) do counts[i] = call.counts[word] end
    for _, size in pairs(call.sizes) do sizes[#sizes + 1] = size end
    local is_paused = queue.is_paused(call.pool, call.job.service)
    return {
      'OK', cursor or '', is_paused and '1' or '0', counts, call.classes, sizes,
      unpack(call.reasons)
    }
  end

  function muster_explain(keys, args)
    local call = asked(pools.open(keys), args)
    local phase, at, reached = string.match(args[1], '^([cl]) (%d+) (%d+)$')
    local cursor = phase == 'l' and args[1] or judge_classes(call, at or '0', reached or '0')
    if not cursor then return answer(call, 'l 0 0') end
    if phase ~= 'l' then return answer(call, cursor) end
    return answer(call, judge_agents(call, tonumber(at)))
  end
end

-- muster_explain_worker: which waiting job classes a worker could run, and why not the rest: a bounded step a call.
-- KEYS  1: any key of the pool
-- ARGV  1: worker id, 2: cursor ('' = from the start)
-- Answers (one of)
--   {'OK', cursor ('' = that was all), {classes it could run, their jobs}, {class, ...}, {reason, ...}}: of the classes
--     this call looked at
--     class    {order of its first job (a number as text, smaller is earlier), job class, service, jobs, first job's
--              id}: the earliest of those it could run
--     reason   {part, what, classes, jobs, job class, node}: so many waiting classes fail by that part and path; one of
--              them and the node that fails there (-1: none). part: those of muster_match; 'avoid': it failed the jobs,
--              and another worker can run them; 'paused': it could, but the service (`what`) is paused
--   {'NOT_FOUND'}
-- Reads only.
local muster_explain_worker

do
  -- What of the part failed: the node's path, or its word where it holds several; the service; else ''.
  local function what_failed(class, very, part, number)
    if part == 'service' or part == 'suspended' then return class.service end
    if not number then return '' end
    local node = explain.node(part == 'accepts' and very.accepts or class.requirement.requires, number)
    return node.path or node.op
  end

  -- The first job's id and its order.
  local function first_of(pool, class)
    local member, order = queue.head(pool, class.name)
    return queue.job_id(member), order
  end

  -- Answers true, or false with part, what and node.
  local function judge(call, class)
    local pool, very = call.pool, call.very
    local attributes = class.attributes
    if class.version < pool.significant then attributes = explain.attributes(pool, class, (first_of(pool, class))) end
    local takes, part, node = match.takes(class.requirement, attributes, very)
    if not takes then return false, part, what_failed(class, very, part, node), node end
    local is_avoided = class.avoid == call.worker.id and not feasible.worker(pool, call.worker, class.name)
    if is_avoided then return false, 'avoid', '' end
    if queue.is_paused(pool, class.service) then return false, 'paused', class.service end
    return true
  end

  local function keep_away(call, class, number, part, what, node)
    local of_part = call.groups[part] or {}
    call.groups[part] = of_part
    local group = of_part[what]
    if not group then
      group = {part, what, 0, 0, class.name, node or -1}
      of_part[what] = group
      call.reasons[#call.reasons + 1] = group
    end
    group[3], group[4] = group[3] + 1, group[4] + number
  end

  -- Look at a class if jobs wait in it.
  local function look(call, name)
    local number = redis.call('ZCARD', call.pool.key .. 'waiting:' .. name)
    local class = number > 0 and classes.job(call.pool, name)
    if not class then return end
    local takes, part, what, node = judge(call, class)
    if not takes then return keep_away(call, class, number, part, what, node) end
    local head, order = first_of(call.pool, class)
    call.able[#call.able + 1] = {order, name, class.service, number, head}
    call.jobs = call.jobs + number
  end

  -- The service's classes by name after `after`; answers the last one seen when the share ran out.
  local function walk(call, service, after)
    local limit = math.ceil(call.share)
    local names = redis.call('ZRANGEBYLEX', call.pool.key .. 'service-classes:' .. service, '(' .. after, '+',
      'LIMIT', 0, limit)
    for i, name in ipairs(names) do
      if call.share <= 0 then return names[i - 1] end
      call.share = call.share - explain.job_cost(call.pool, name)
      look(call, name)
    end
    return #names == limit and names[#names] or nil
  end

  -- Services in order, from the one that the cursor names on.
  local function services_from(pool, first)
    local names = redis.call('SMEMBERS', pool.key .. 'services')
    table.sort(names)
    local rest = {}
    for _, name in ipairs(names) do
      if rest[1] or name == first or first == '' then rest[#rest + 1] = name end
    end
    return rest
  end

  -- All classes from the cursor on; answers the next one.
  local function walk_all(call, cursor)
    local after, first = string.match(cursor, '^(%S*) (.*)$')
    for _, service in ipairs(services_from(call.pool, first or '')) do
      if call.share <= 0 then return ' ' .. service end
      local reached = walk(call, service, service == first and after or '')
      if reached then return reached .. ' ' .. service end
    end
    return ''
  end

  function muster_explain_worker(keys, args)
    local pool = pools.open(keys)
    local worker = workers.read(pool, args[1])
    local of = worker and classes.worker(pool, worker.class)
    if not of then return {'NOT_FOUND'} end
    local very = {
      capability = of.capability, accepts = of.accepts, without = of.without,
      identity = documents.identity(worker.identity),
    }
    local call = {
      pool = pool, worker = worker, very = very, able = {}, jobs = 0, groups = {}, reasons = {},
      share = LIMITS.explain_classes,
    }
    local cursor = walk_all(call, args[2])
    local number = #call.able
    table.sort(call.able, function(one, other) return tonumber(one[1]) < tonumber(other[1]) end)
    for i = number, LIMITS.explain_listed + 1, -1 do call.able[i] = nil end
    return {'OK', cursor, {number, call.jobs}, call.able, call.reasons}
  end
end

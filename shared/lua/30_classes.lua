-- Classes: jobs that every worker judges alike, and workers that every job judges alike.
--
-- A class is named by the digest of its content, so that what is remembered about a name is true for ever.
-- Significant attributes (customer, labels, workflow) are those that some worker's `accepts` or `customers` names;
-- they only grow, and their number is the version under which a job class was made.

do
  local job_classes = documents.memory(LIMITS.job_class_bytes)
  local worker_classes = documents.memory(LIMITS.worker_class_bytes)

  local function digest(text)
    return string.sub(redis.sha1hex(text), 1, 16)
  end

  -- Attributes of a job that a worker may constrain: path → text.
  function classes.attributes(spec)
    local attributes = {service = spec.service, customer_id = spec.customer_id}
    local labels = type(spec.labels) == 'table' and spec.labels or {}
    for key, value in pairs(labels) do attributes['labels.' .. key] = value end
    if type(spec.workflow) == 'table' then attributes['workflow.id'] = spec.workflow.id end
    return attributes
  end

  -- The part of a job's attributes that splits classes: flat {path, value, ...}, by path. `spec` is JSON text.
  local function significant_part(pool, spec)
    if pool.significant == 0 then return {} end
    local attributes, part = classes.attributes(documents.object(spec)), {}
    local paths = {}
    for path, value in pairs(attributes) do
      if type(value) == 'string' then paths[#paths + 1] = path end
    end
    if #paths == 0 then return part end
    table.sort(paths)
    local are_significant = redis.call('SMISMEMBER', pool.key .. 'significant', unpack(paths))
    for i, path in ipairs(paths) do
      if are_significant[i] == 1 then
        part[#part + 1] = path
        part[#part + 1] = attributes[path]
      end
    end
    return part
  end

  local function compute_name(requirement, version, avoid, part)
    local text = {#requirement, requirement, version, avoid}
    for _, value in ipairs(part) do
      text[#text + 1] = #value
      text[#text + 1] = value
    end
    return digest(table.concat(text, '\n'))
  end

  -- The name of a class that is nothing but a requirement, as most are.
  local plain_name = documents.remembered(function(requirement)
    return compute_name(requirement, 0, '', {})
  end, 4194304)

  -- The name of the class of a job with this compiled requirement and spec (JSON text). `avoid` is the worker that
  -- failed it, or absent.
  function classes.name(pool, requirement, spec, avoid)
    if pool.significant == 0 and (avoid or '') == '' then return plain_name(requirement) end
    return compute_name(requirement, pool.significant, avoid or '', significant_part(pool, spec))
  end

  local function create(pool, name, requirement, avoid, part)
    local asked = documents.requirement(requirement)
    redis.call('HSET', pool.key .. 'class:' .. name, 'requirement', requirement, 'version', pool.significant,
      'avoid', avoid, 'attributes', cmsgpack.pack(part))
    redis.call('ZADD', pool.key .. 'service-classes:' .. asked.service, 0, name)
    redis.call('SADD', pool.key .. 'services', asked.service)
    if asked.address and pool.addressed == 0 then pools.set(pool, 'addressed', 1) end
  end

  -- One job more refers to the class of that name, which is made when it is new, of what `classes.name` was given.
  function classes.join(pool, name, requirement, spec, avoid)
    local key = pool.key .. 'class:' .. name
    if redis.call('HINCRBY', key, 'live', 1) > 1 then return end
    if redis.call('HEXISTS', key, 'requirement') == 1 then
      redis.call('ZREM', pool.key .. 'chores', 'class ' .. name)
      return
    end
    create(pool, name, requirement, avoid, significant_part(pool, spec))
    workable.new(pool, name)
  end

  -- The class of the same content that avoids nobody.
  function classes.base(pool, name)
    local class = classes.job(pool, name)
    if not class or class.avoid == '' then return name end
    return compute_name(class.text, class.version, '', class.part)
  end

  -- One job less refers to the class; an unused class is forgotten after a while.
  function classes.leave(pool, name)
    if redis.call('HINCRBY', pool.key .. 'class:' .. name, 'live', -1) <= 0 then
      redis.call('ZADD', pool.key .. 'chores', pool.now + LIMITS.class_idle_ms, 'class ' .. name)
    end
  end

  -- Forget an unused class.
  function classes.forget(pool, name)
    local key = pool.key .. 'class:' .. name
    local class = read_fields(key, 'live', 'witness')
    if tonumber(class.live or 0) > 0 then return end
    local known = classes.job(pool, name)
    if known then
      redis.call('ZREM', pool.key .. 'service-classes:' .. known.service, name)
      redis.call('ZREM', classes.heads(pool, name), name)
      workable.forget(pool, known)
    end
    if class.witness then redis.call('SREM', pool.key .. 'witness:' .. class.witness, name) end
    redis.call('DEL', key, pool.key .. 'waiting:' .. name)
    redis.call('ZREM', pool.key .. 'rises', name)
    redis.call('ZREM', pool.key .. 'unworkable', name)
    redis.call('ZREM', pool.key .. 'unexamined', name)
  end

  local function load_job_class(pool, name)
    local stored = read_fields(pool.key .. 'class:' .. name, 'requirement', 'version', 'avoid', 'attributes')
    local sound, requirement = pcall(documents.requirement, stored.requirement)
    local whole, part = pcall(cmsgpack.unpack, stored.attributes)
    if not sound or not whole then return nil end
    local class = {
      name = name, version = tonumber(stored.version) or 0, avoid = stored.avoid or '', attributes = {},
      requirement = requirement, service = requirement.service, text = stored.requirement, part = part,
    }
    class.attributes.service = class.service
    for i = 1, #part, 2 do class.attributes[part[i]] = part[i + 1] end
    return class
  end

  -- The job class of this name, or nil when there is none or it can't be read:
  -- {name, service, requirement, attributes, version, avoid, text, part}.
  function classes.job(pool, name)
    local known = job_classes.of[name]
    if known then return known end
    local class = load_job_class(pool, name)
    if not class then return nil end
    return job_classes.keep(name, class, #class.text + LIMITS.class_bytes)
  end

  -- Is the job class decoded already?
  function classes.knows_job(name) return job_classes.of[name] ~= nil end

  -- The key of the heads among which the class stands: those of all workers, or of its addressees.
  function classes.heads(pool, name)
    local class = pool.addressed > 0 and classes.job(pool, name)
    if class and class.requirement.address then return pool.key .. 'heads:' .. class.requirement.address end
    return pool.heads
  end

  -- Make the worker class of these compiled documents known; answers its name.
  -- `without`: suspended services, sorted, space separated; '' for none.
  function classes.join_worker(pool, capability, accepts, without)
    local name = digest(#capability .. '\n' .. capability .. '\n' .. #accepts .. '\n' .. accepts .. '\n' .. without)
    if not redis.call('ZSCORE', pool.key .. 'wclasses', name) then
      local number = pool.wclass_seq + 1
      pools.set(pool, 'wclass_seq', number)
      redis.call('HSET', pool.key .. 'wclass:' .. name, 'capability', capability, 'accepts', accepts,
        'without', without)
      redis.call('ZADD', pool.key .. 'wclasses', number, name)
      timers.soon(pool, 'workable')
    end
    return name
  end

  local function load_worker_class(pool, name)
    local stored = read_fields(pool.key .. 'wclass:' .. name, 'capability', 'accepts', 'without')
    local sound, capability = pcall(documents.capability, stored.capability)
    local readable, accepts = pcall(documents.accepts, stored.accepts)
    if not sound or not readable then return nil end
    local without = {}
    for service in string.gmatch(stored.without or '', '%S+') do without[service] = true end
    local text_bytes = #stored.capability + #stored.accepts
    return {name = name, capability = capability, accepts = accepts, without = without, text_bytes = text_bytes}
  end

  -- Is the worker class decoded already?
  function classes.knows_worker(name) return worker_classes.of[name] ~= nil end

  -- The worker class of this name, or nil when there is none or it can't be read:
  -- {name, capability, accepts, without}.
  function classes.worker(pool, name)
    local known = worker_classes.of[name]
    if known then return known end
    local class = load_worker_class(pool, name)
    if not class then return nil end
    return worker_classes.keep(name, class, class.text_bytes + LIMITS.class_bytes)
  end
end

-- Classes: jobs that every worker judges alike, and workers that every job judges alike.
--
-- A class is named by the digest of its content, so that what is remembered about a name is true for ever.
-- Significant attributes (customer, labels, workflow) are those that some worker's `accepts` or `customers` names;
-- they only grow, and their number is the version under which a job class was made.
local classes = {}

local job_classes, job_class_count = {}, 0
local worker_classes, worker_class_count = {}, 0

local function digest(text)
  return string.sub(redis.sha1hex(text), 1, 16)
end

-- Attributes of a job that a worker may constrain: path → text.
function classes.attributes(spec)
  local attributes = {service = spec.service, customer_id = spec.customer_id}
  for key, value in pairs(spec.labels or {}) do attributes['labels.' .. key] = value end
  if spec.workflow then attributes['workflow.id'] = spec.workflow.id end
  return attributes
end

-- The pool's version of significance.
function classes.version(pool)
  return redis.call('HLEN', pool .. 'significant')
end

-- Sorted significant paths.
local function significant_paths(pool)
  local paths = redis.call('HKEYS', pool .. 'significant')
  table.sort(paths)
  return paths
end

-- The part of the attributes that splits classes: flat {path, value, ...}.
local function significant_part(pool, attributes)
  local part = {}
  for _, path in ipairs(significant_paths(pool)) do
    if attributes[path] then
      part[#part + 1] = path
      part[#part + 1] = attributes[path]
    end
  end
  return part
end

local function class_name(requirement, version, avoid, part)
  local text = {#requirement, requirement, version, avoid}
  for _, value in ipairs(part) do
    text[#text + 1] = #value
    text[#text + 1] = value
  end
  return digest(table.concat(text, '\n'))
end

-- The class of a job with this compiled requirement, made when it is new.
-- `avoid` is the worker that failed the job, or ''. Answers: name, is it new.
function classes.intern(pool, requirement, attributes, avoid)
  local version = classes.version(pool)
  local part = version > 0 and significant_part(pool, attributes) or {}
  local name = class_name(requirement, version, avoid, part)
  local key = pool .. 'class:' .. name
  if redis.call('HSETNX', key, 'requirement', requirement) == 0 then return name, false end
  redis.call('HSET', key, 'version', version, 'avoid', avoid, 'attributes', cmsgpack.pack(part), 'live', 0)
  return name, true
end

local function load_job_class(pool, name)
  local stored = read_fields(pool .. 'class:' .. name, 'requirement', 'version', 'avoid', 'attributes')
  if not stored.requirement then return nil end
  local sound, requirement = pcall(documents.requirement, stored.requirement)
  if not sound then return nil end
  local class = {name = name, version = tonumber(stored.version), avoid = stored.avoid, attributes = {}}
  class.text = stored.requirement
  class.requirement = requirement
  class.attributes.service = class.requirement.service
  local part = cmsgpack.unpack(stored.attributes)
  for i = 1, #part, 2 do class.attributes[part[i]] = part[i + 1] end
  return class
end

-- The job class of this name, or nil when there is none or it can't be read:
-- {name, requirement, attributes, version, avoid, text}.
function classes.job(pool, name)
  local known = job_classes[name]
  if known then return known end
  local class = load_job_class(pool, name)
  if not class then return nil end
  if job_class_count >= LIMITS.memo / 10 then job_classes, job_class_count = {}, 0 end
  job_classes[name], job_class_count = class, job_class_count + 1
  return class
end

-- Make the worker class of these compiled documents known; answers its name.
function classes.intern_worker(pool, capability, accepts)
  local name = digest(#capability .. '\n' .. capability .. '\n' .. accepts)
  redis.call('HSET', pool .. 'wclass:' .. name, 'capability', capability, 'accepts', accepts)
  redis.call('PERSIST', pool .. 'wclass:' .. name)
  if not redis.call('ZSCORE', pool .. 'wclasses', name) then
    redis.call('ZADD', pool .. 'wclasses', redis.call('INCR', pool .. 'wclass-seq'), name)
  end
  return name
end

-- The worker class of this name, or nil when there is none or it can't be read: {capability, accepts}.
function classes.worker(pool, name)
  local known = worker_classes[name]
  if known then return known end
  local stored = read_fields(pool .. 'wclass:' .. name, 'capability', 'accepts')
  if not stored.capability then return nil end
  local sound, capability = pcall(documents.capability, stored.capability)
  local readable, accepts = pcall(documents.accepts, stored.accepts)
  if not sound or not readable then return nil end
  local class = {capability = capability, accepts = accepts}
  if worker_class_count >= LIMITS.memo / 10 then worker_classes, worker_class_count = {}, 0 end
  worker_classes[name], worker_class_count = class, worker_class_count + 1
  return class
end

-- One job more (1) or less (-1) refers to the class; an unused class is forgotten after a while.
function classes.refer(pool, now, name, step)
  local live = redis.call('HINCRBY', pool .. 'class:' .. name, 'live', step)
  if live <= 0 then
    redis.call('ZADD', pool .. 'idle-classes', int(now + LIMITS.class_idle_ms), name)
  elseif live == step then
    redis.call('ZREM', pool .. 'idle-classes', name)
  end
end

-- Forget an unused class.
function classes.forget(pool, name)
  redis.call('ZREM', pool .. 'idle-classes', name)
  local class = read_fields(pool .. 'class:' .. name, 'live', 'witness')
  if tonumber(class.live or 0) > 0 then return end
  if class.witness then redis.call('SREM', pool .. 'witness:' .. class.witness, name) end
  redis.call('DEL', pool .. 'class:' .. name, pool .. 'waiting:' .. name)
  for _, index in ipairs({'heads', 'rises', 'unworkable', 'unserved'}) do
    redis.call('ZREM', pool .. index, name)
  end
end

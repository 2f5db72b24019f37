-- What happened: one stream per pool for everybody, one short list per job for its history.
local events = {}

-- JSON text of a flat object from {name, value, name, value, ...}; nil values are left out.
local function flat_json(pairs_list, count)
  local parts = {}
  for i = 1, count, 2 do
    local value = pairs_list[i + 1]
    if value ~= nil then
      local text = type(value) == 'number' and int(value) or cjson.encode(tostring(value))
      parts[#parts + 1] = '"' .. pairs_list[i] .. '":' .. text
    end
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- Append an event. `about` = {job_id=, worker_id=, agent_id=, fence=, data=JSON text}.
function events.add(pool, now, type_, about)
  local fields = {'type', type_, 'at_ms', int(now)}
  for _, name in ipairs({'job_id', 'worker_id', 'agent_id', 'fence', 'data'}) do
    if about[name] then
      fields[#fields + 1] = name
      fields[#fields + 1] = about[name]
    end
  end
  redis.call('XADD', pool .. 'events', 'MAXLEN', '~', LIMITS.events, '*', unpack(fields))
end

-- Drop what is too old to be resumed from.
function events.trim(pool, now)
  if now > LIMITS.events_ms then
    redis.call('XTRIM', pool .. 'events', 'MINID', '~', int(now - LIMITS.events_ms))
  end
end

-- Append to a job's history, and to the stream as `job.<event>`. `more` = {attempt=, failure_class=, message=}.
function events.job(pool, now, event, job, more)
  more = more or {}
  local extra = flat_json({
    'attempt', tonumber(more.attempt), 'failure_class', more.failure_class, 'message', more.message,
  }, 6)
  events.add(pool, now, 'job.' .. event, {
    job_id = job.id, worker_id = job.worker_id, fence = job.fence, data = extra ~= '{}' and extra or nil,
  })
  redis.call('RPUSH', pool .. 'history:' .. job.id, flat_json({
    'event', event, 'at_ms', now, 'worker_id', job.worker_id, 'fence', tonumber(job.fence),
    'attempt', tonumber(more.attempt), 'failure_class', more.failure_class, 'message', more.message,
  }, 14))
  redis.call('LTRIM', pool .. 'history:' .. job.id, -LIMITS.history, -1)
end

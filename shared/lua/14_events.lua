-- What happened: one stream per pool for everybody, one text per job for its history.

do
  -- JSON members of what an event says beside ids: `"attempt":2,"failure_class":"oom","message":"..."`; '' for nothing.
  local function details(more)
    local attempt = more.attempt and '"attempt":' .. int(more.attempt) or nil
    if not more.failure_class and not more.message then return attempt or '' end
    local parts = {attempt}
    if more.failure_class then parts[#parts + 1] = '"failure_class":' .. cjson.encode(more.failure_class) end
    if more.message then parts[#parts + 1] = '"message":' .. cjson.encode(more.message) end
    return table.concat(parts, ',')
  end

  -- Append an event. `about` = {job_id=, worker_id=, agent_id=, fence=, data=JSON text}.
  function events.add(pool, type_, about)
    local fields, n = {'type', type_, 'at_ms', pool.now_text}, 4
    for name, value in pairs(about) do
      fields[n + 1], fields[n + 2] = name, value
      n = n + 2
    end
    redis.call('XADD', pool.events, 'MAXLEN', '~', LIMITS.events, '*', unpack(fields))
  end

  -- Drop what is too old to be resumed from.
  function events.trim(pool)
    if pool.now > LIMITS.events_ms then
      redis.call('XTRIM', pool.events, 'MINID', '~', int(pool.now - LIMITS.events_ms))
    end
  end

  -- The older half of a history that has become too long goes.
  local function shorten(key)
    local text = redis.call('GET', key)
    local half = string.find(text, '\n', math.floor(#text / 2), true)
    redis.call('SET', key, string.sub(text, (half or #text) + 1))
  end

  -- `job.<event>` on the stream. `more` = {attempt=, failure_class=, message=}.
  function events.job(pool, event, job, more)
    local key, type_, extra = pool.events, 'job.' .. event, details(more)
    if extra == '' then extra = nil else extra = '{' .. extra .. '}' end
    if not job.worker_id then
      return events.add(pool, type_, {job_id = job.id, data = extra})
    end
    redis.call('XADD', key, 'MAXLEN', '~', LIMITS.events, '*', 'type', type_, 'at_ms', pool.now_text, 'job_id', job.id,
      'worker_id', job.worker_id, 'fence', int(job.fence), 'data', extra or '{}')
  end

  -- One line of a job's history.
  local function line(event, at_ms, job, more)
    local extra, text = details(more), '{"event":"' .. event .. '","at_ms":' .. int(at_ms)
    if job.worker_id then
      text = text .. ',"worker_id":' .. cjson.encode(job.worker_id) .. ',"fence":' .. int(job.fence)
    end
    return text .. (extra ~= '' and ',' .. extra or '') .. '}\n'
  end

  -- Keep in the job's history what its record is about to forget: the attempt's claim, and how it ended. The record
  -- tells the current attempt and the end itself, so that a job which runs once has no history of its own to store.
  function events.keep(pool, event, at_ms, job, more)
    local key, text = pool.key .. 'history:' .. job.id, line(event, at_ms, job, more)
    if job.claimed_at_ms then
      text = line('claimed', job.claimed_at_ms, job, {attempt = job.attempts}) .. text
      job.claimed_at_ms = nil
    end
    if redis.call('APPEND', key, text) > LIMITS.history_bytes then shorten(key) end
  end
end

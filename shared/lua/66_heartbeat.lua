-- muster_heartbeat: an agent is alive, and so are the jobs it names.
-- KEYS  1: any key of the pool
-- ARGV  1: agent id, 2: telemetry (JSON, '' = no news), 3: number of jobs n, then 6 per job: id, fence, worker id,
--       progress (JSON without picture, '' = no news), its picture (`data:` URL, '' = none), '1' while its result is
--       being delivered (no timeout counts any more)
-- Answers {command, word, word, ...}: command 'ok' | 'drain' | 'resume' | 'update' | 'reload' | 'unknown' (register
--   again); per job 'ok' | 'watched' (ok, and somebody watches its progress) | 'cancel' | 'lost'
-- Events job.progress
local beat

do
  -- JSON of an object that every reader takes? (What can't be encoded again holds a number that is none.)
  local function is_object(text)
    return string.find(text, '^%s*{') ~= nil and pcall(function() cjson.encode(cjson.decode(text)) end)
  end

  -- A small picture as a `data:` URL.
  local function is_picture(text)
    return #text <= LIMITS.preview_bytes and string.find(text, '^data:image/%l+;base64,[%w+/]+=*$') ~= nil
  end

  -- News show that the service is at it, whatever they say. The picture, which would swell the stream, is only kept on
  -- the record.
  local function note_progress(pool, job, held)
    if job.stall_ms then job.stall_at_ms = pool.now + job.stall_ms end
    local told = tidy(held.progress)
    local is_told = is_object(told)
    if is_told then job.progress, job.preview = told, is_picture(held.preview) and held.preview or nil end
    jobs.write(pool, job)
    if not is_told then return end
    events.add(pool, 'job.progress', {
      job_id = job.id, worker_id = job.worker_id, fence = int(job.fence), data = told,
    })
  end

  -- One held job; `held` = {id, fence, worker_id, progress, preview, is_delivering}.
  function beat(pool, held)
    local job, is_damaged = jobs.read(pool, held.id)
    if is_damaged then jobs.set_aside(pool, held.id, nil, held.worker_id) end
    if not jobs.held_by(job, tonumber(held.fence), held.worker_id) then return 'lost' end
    if held.progress ~= '' then note_progress(pool, job, held) end
    jobs.watch(pool, job, held.is_delivering)
    if job.cancel_at_ms then return 'cancel' end
    local is_watched = held.progress ~= '' and redis.call('EXISTS', pool.key .. 'watched:' .. job.id) == 1
    return is_watched and 'watched' or 'ok'
  end
end

local function muster_heartbeat(keys, args)
  local pool, agent_id = pools.open(keys), args[1]
  local key, answer = pool.key .. 'agent:' .. agent_id, {'unknown'}
  local agent = read_fields(key, 'session', 'command')
  if agent.session then
    workers.hear(pool, agent_id)
    if args[2] ~= '' then redis.call('HSET', key, 'telemetry', args[2]) end
    if agent.command then redis.call('HDEL', key, 'command') end
    answer[1] = agent.command or 'ok'
  end
  for i = 4, #args, 6 do
    answer[#answer + 1] = beat(pool, {
      id = args[i], fence = args[i + 1], worker_id = args[i + 2], progress = args[i + 3],
      preview = args[i + 4], is_delivering = args[i + 5] == '1',
    })
  end
  sweep.urgent(pool)
  return answer
end

-- muster_progress: news of one job between two heartbeats.
-- ARGV  1: job id, 2: fence, 3: worker id, 4: progress (JSON without picture)
-- Answers {'OK'} | {'STALE'}
local function muster_progress(keys, args)
  local held = {id = args[1], fence = args[2], worker_id = args[3], progress = args[4], preview = ''}
  return {beat(pools.open(keys), held) == 'lost' and 'STALE' or 'OK'}
end

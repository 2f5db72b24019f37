-- muster_heartbeat: an agent is alive, and so are the jobs it names.
-- KEYS  1: any key of the pool
-- ARGV  1: agent id, 2: telemetry (JSON, '' = no news), 3: number of jobs n, then 5 per job: id, fence, worker id,
--       progress (JSON, '' = no news), '1' while its result is being delivered (no timeout counts any more)
-- Answers {command, word, word, ...}: command 'ok' | 'drain' | 'resume' | 'update' | 'reload' | 'unknown' (register
--   again); per job 'ok' | 'watched' (ok, and somebody watches its progress) | 'cancel' | 'lost'
-- Events job.progress
local beat

do
  -- The news (JSON) as all are told, and as the record keeps it: with the picture, which would swell the stream.
  local function apart(progress, news)
    local preview = news.preview
    if preview == nil then return progress, progress end
    news.preview = nil
    local told = cjson.encode(news)
    local is_picture = type(preview) == 'string' and string.find(preview, '^data:image/%l+;base64,[%w+/]+=*$')
    local fits = #progress <= LIMITS.preview_bytes + LIMITS.text_bytes
    return told, is_picture and fits and progress or told
  end

  local function note_progress(pool, job, progress)
    local sound, news = pcall(cjson.decode, progress)
    if not sound or type(news) ~= 'table' then return end
    local told, kept = apart(progress, news)
    if tidy(told) ~= told then return end
    job.progress = kept
    if job.stall_ms then job.stall_at_ms = pool.now + job.stall_ms end
    jobs.write(pool, job)
    events.add(pool, 'job.progress', {
      job_id = job.id, worker_id = job.worker_id, fence = int(job.fence), data = told,
    })
  end

  -- One held job; `held` = {id, fence, worker_id, progress, is_delivering}.
  function beat(pool, held)
    local job = jobs.read(pool, held.id)
    if not jobs.held_by(job, tonumber(held.fence), held.worker_id) then return 'lost' end
    if held.progress ~= '' then note_progress(pool, job, held.progress) end
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
  for i = 4, #args, 5 do
    answer[#answer + 1] = beat(pool, {
      id = args[i], fence = args[i + 1], worker_id = args[i + 2], progress = args[i + 3],
      is_delivering = args[i + 4] == '1',
    })
  end
  sweep.urgent(pool)
  return answer
end

-- muster_progress: news of one job between two heartbeats.
-- ARGV  1: job id, 2: fence, 3: worker id, 4: progress (JSON)
-- Answers {'OK'} | {'STALE'}
local function muster_progress(keys, args)
  local held = {id = args[1], fence = args[2], worker_id = args[3], progress = args[4]}
  return {beat(pools.open(keys), held) == 'lost' and 'STALE' or 'OK'}
end

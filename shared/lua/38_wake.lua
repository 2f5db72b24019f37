-- Wake-up: a worker that found nothing is parked; a job that comes wakes one parked worker that can run it.
--
-- - A worker is parked by the same call that found nothing for it: no wake can be lost between.
-- - A wake takes the worker out of `parked`: two jobs never wake the same one.
-- - A wake that isn't followed by a claim passes on.
local wake = {}

-- Park a worker. `worker` = {id, class, agent_id}.
function wake.park(pool, now, worker)
  redis.call('ZADD', pool .. 'parked:' .. worker.class, int(now), worker.id)
  redis.call('ZADD', pool .. 'parked', 'NX', int(now), worker.class)
end

-- Take a worker out of `parked` and `woken`.
function wake.unpark(pool, worker_class, worker_id)
  if redis.call('ZREM', pool .. 'parked:' .. worker_class, worker_id) == 0 then return false end
  if redis.call('EXISTS', pool .. 'parked:' .. worker_class) == 0 then
    redis.call('ZREM', pool .. 'parked', worker_class)
  end
  return true
end

-- Push a signal to an agent: 'job <worker>', 'cancel <job>' or 'command'.
function wake.signal(pool, agent_id, text)
  local key = pool .. 'wake:' .. agent_id
  redis.call('RPUSH', key, text)
  redis.call('PEXPIRE', key, LIMITS.wake_list_ms)
end

local function load_worker(pool, id)
  local record = read_fields(pool .. 'worker:' .. id, 'class', 'agent_id', 'identity')
  record.id = id
  return record.class and record or nil
end

-- The worker of this class that is parked longest and can run the job class, and since when; nil when there is none.
local function longest_parked(pool, worker_class, job_class)
  local answer = feasible.classes(pool, worker_class, job_class)
  if answer == 'no' then return nil end
  local last = answer == 'yes' and 0 or LIMITS.wake_workers - 1
  local parked = redis.call('ZRANGE', pool .. 'parked:' .. worker_class, 0, last, 'WITHSCORES')
  for i = 1, #parked, 2 do
    local worker = load_worker(pool, parked[i])
    if not worker then
      wake.unpark(pool, worker_class, parked[i])
    elseif answer == 'yes' or feasible.worker(pool, worker, job_class) then
      return worker, tonumber(parked[i + 1])
    end
  end
  return nil
end

-- The best parked worker for the job class among a bounded number of worker classes from rank `first` on; nil when
-- there is none, and whether these were the last classes.
local function best_parked(pool, job_class, first)
  local parked = redis.call('ZRANGE', pool .. 'parked', first, first + LIMITS.wake_classes - 1)
  local best, best_since, candidates = nil, nil, 0
  for _, worker_class in ipairs(parked) do
    local worker, since = longest_parked(pool, worker_class, job_class)
    if worker then candidates = candidates + 1 end
    if worker and (not best or since < best_since) then best, best_since = worker, since end
    if candidates == LIMITS.wake_candidates then break end
  end
  return best, #parked < LIMITS.wake_classes
end

-- Wake one parked worker for a job of the class; answers whether one was woken. A class for which the first worker
-- classes held nobody goes on in the next sweep, at the rank kept in `unserved`.
function wake.one(pool, now, job_class, first)
  first = first or 0
  local worker, all_seen = best_parked(pool, job_class, first)
  if not worker then
    if not all_seen then redis.call('ZADD', pool .. 'unserved', first + LIMITS.wake_classes, job_class) end
    return false
  end
  wake.unpark(pool, worker.class, worker.id)
  redis.call('ZADD', pool .. 'woken', int(now + LIMITS.wake_follow_ms), worker.id .. ' ' .. job_class)
  redis.call('HSET', pool .. 'worker:' .. worker.id, 'woken_for', job_class)
  wake.signal(pool, worker.agent_id, 'job ' .. worker.id)
  return true
end

-- The worker claims: its wake, if any, is followed.
function wake.followed(pool, worker)
  wake.unpark(pool, worker.class, worker.id)
  if worker.woken_for then
    redis.call('ZREM', pool .. 'woken', worker.id .. ' ' .. worker.woken_for)
    redis.call('HDEL', pool .. 'worker:' .. worker.id, 'woken_for')
  end
end

-- Pass on a wake that nobody followed. `entry` = '<worker> <class>'.
function wake.pass_on(pool, now, entry)
  local worker_id, job_class = string.match(entry, '^(%S+) (%S+)$')
  redis.call('ZREM', pool .. 'woken', entry)
  redis.call('HDEL', pool .. 'worker:' .. worker_id, 'woken_for')
  if queue.head(pool, job_class) then wake.one(pool, now, job_class) end
end

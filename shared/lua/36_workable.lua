-- Workable: is there a registered worker class that can run this job class? Only workable classes are looked at.
--
-- A workable class names its witness, one worker class that can run it. An unworkable class stands in `unworkable` with
-- the number of the last worker class examined, so that only newer ones need a look. Both go on stepwise.
local workable = {}
local reclass = {} -- its parts are in 42_reclass.lua

-- Worker classes registered after number `after`, oldest first: flat {name, number, ...}.
local function worker_classes_after(pool, after, limit)
  return redis.call('ZRANGEBYSCORE', pool .. 'wclasses', '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
end

-- Write down what is known now: a witness, or none.
local function note(pool, class, witness)
  if witness then
    redis.call('HSET', pool .. 'class:' .. class, 'witness', witness)
    redis.call('HDEL', pool .. 'class:' .. class, 'hidden_at_ms')
    redis.call('SADD', pool .. 'witness:' .. witness, class)
    redis.call('ZREM', pool .. 'unworkable', class)
    queue.show(pool, class)
  else
    redis.call('HDEL', pool .. 'class:' .. class, 'witness')
    queue.hide(pool, class)
  end
end

-- One event for all jobs of a class, not one a job. A new class is about to get its first one.
local function announce(pool, now, event, class)
  local jobs_waiting = math.max(1, redis.call('ZCARD', pool .. 'waiting:' .. class))
  events.add(pool, now, event, {data = flat_json({'class', class, 'jobs', jobs_waiting}, 4)})
end

-- Look for a witness among the worker classes after number `after`; answers how many were examined, and the witness.
local function examine(pool, now, class, after)
  local candidates = worker_classes_after(pool, after, LIMITS.examine)
  for i = 1, #candidates, 2 do
    if feasible.classes(pool, candidates[i], class) ~= 'no' then
      note(pool, class, candidates[i])
      return (i + 1) / 2, candidates[i]
    end
    after = candidates[i + 1]
  end
  -- all seen: also numbers whose class is gone since
  if #candidates < 2 * LIMITS.examine then after = redis.call('GET', pool .. 'wclass-seq') or 0 end
  redis.call('ZADD', pool .. 'unworkable', after, class)
  redis.call('HSETNX', pool .. 'class:' .. class, 'hidden_at_ms', int(now))
  return #candidates / 2, nil
end

-- A new class: it stands in `unworkable` unless a witness is found at once.
function workable.new(pool, now, class)
  local _, witness = examine(pool, now, class, '0')
  if not witness then announce(pool, now, 'job.unworkable', class) end
end

-- Since when the class is unworkable, or nil.
function workable.hidden_since(pool, class)
  local since = redis.call('HGET', pool .. 'class:' .. class, 'hidden_at_ms')
  return since and tonumber(since) or nil
end

-- Unworkable classes that haven't seen the newest worker class: examine a bounded number of pairs.
-- Answers the classes that became workable.
function workable.step(pool, now)
  local newest = redis.call('GET', pool .. 'wclass-seq')
  if not newest then return {} end
  local behind = redis.call('ZRANGEBYSCORE', pool .. 'unworkable', '-inf', '(' .. newest, 'WITHSCORES',
    'LIMIT', 0, LIMITS.examine)
  local budget, found = LIMITS.examine, {}
  for i = 1, #behind, 2 do
    if budget <= 0 then break end
    local class = behind[i]
    if not classes.job(pool, class) then
      redis.call('ZREM', pool .. 'unworkable', class)
    elseif classes.job(pool, class).version < classes.version(pool) and queue.head(pool, class) then
      reclass.step(pool, now, class)
      budget = budget - LIMITS.reclass
    else
      local examined, witness = examine(pool, now, class, behind[i + 1])
      budget = budget - 1 - examined
      if witness then
        announce(pool, now, 'job.workable', class)
        found[#found + 1] = class
      end
    end
  end
  return found
end

-- A worker class is gone: the classes it was witness for look for another one, a bounded number per call.
-- Answers true when all have been looked at.
function workable.lose(pool, now, worker_class)
  local orphans = redis.call('SPOP', pool .. 'witness:' .. worker_class, LIMITS.sweep)
  for _, class in ipairs(orphans) do
    if redis.call('HGET', pool .. 'class:' .. class, 'witness') == worker_class then
      note(pool, class, nil)
      workable.new(pool, now, class)
    end
  end
  return redis.call('EXISTS', pool .. 'witness:' .. worker_class) == 0
end

-- Workable: is there a registered worker class that can run this job class? Jobs of which nobody can be run are hidden
-- from claims.
--
-- A workable class names its witness, one worker class that can run it. A class without one stands in `unworkable` (all
-- worker classes there were have been examined: it is hidden) or in `unexamined` (not yet all: claims see it, and judge
-- for themselves), with the number of the last worker class examined. Both go on stepwise: `unworkable` by timer when a
-- new worker class comes, as jobs wait for that; `unexamined` as a chore.

do
  -- Worker classes registered after number `after`, oldest first: flat {name, number, ...}.
  local function worker_classes_after(pool, after, limit)
    return redis.call('ZRANGEBYSCORE', pool.key .. 'wclasses', '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
  end

  local function found(pool, class, witness)
    redis.call('HSET', pool.key .. 'class:' .. class.name, 'witness', witness)
    redis.call('HDEL', pool.key .. 'class:' .. class.name, 'hidden_at_ms')
    redis.call('SADD', pool.key .. 'witness:' .. witness, class.name)
    redis.call('ZREM', pool.key .. 'unworkable', class.name)
    redis.call('ZREM', pool.key .. 'unexamined', class.name)
    queue.show(pool, class.name, class.service)
  end

  -- One event for all jobs of a class, not one a job. A new class is about to get its first one.
  local function announce(pool, event, class)
    local jobs_waiting = math.max(1, redis.call('ZCARD', pool.key .. 'waiting:' .. class))
    events.add(pool, event, {data = '{"class":"' .. class .. '","jobs":' .. int(jobs_waiting) .. '}'})
  end

  -- There are no more worker classes to examine: nobody can run the class.
  local function hide(pool, class)
    redis.call('ZADD', pool.key .. 'unworkable', pool.wclass_seq, class.name)
    redis.call('ZREM', pool.key .. 'unexamined', class.name)
    queue.show(pool, class.name, class.service)
    if redis.call('HSETNX', pool.key .. 'class:' .. class.name, 'hidden_at_ms', int(pool.now)) == 1 then
      announce(pool, 'job.unworkable', class.name)
    end
  end

  -- Nobody among the worker classes up to number `seen`, but there are more.
  local function put_off(pool, class, seen)
    if redis.call('ZSCORE', pool.key .. 'unworkable', class.name) then
      redis.call('ZADD', pool.key .. 'unworkable', seen, class.name)
      return timers.soon(pool, 'workable')
    end
    redis.call('ZADD', pool.key .. 'unexamined', seen, class.name)
    redis.call('ZADD', pool.key .. 'chores', 0, 'examine')
  end

  -- Look for a witness among the worker classes after number `after`, as far as this call's share of pairs goes.
  -- Answers how many were examined, and the witness.
  local function examine(pool, class, after)
    local share = pool.pairs or LIMITS.examine
    local candidates = share > 0 and worker_classes_after(pool, after, share) or {}
    pool.pairs = share - #candidates / 2
    for i = 1, #candidates, 2 do
      if feasible.classes(pool, candidates[i], class.name) ~= 'no' then
        found(pool, class, candidates[i])
        return (i + 1) / 2, candidates[i]
      end
      after = candidates[i + 1]
    end
    redis.call('HDEL', pool.key .. 'class:' .. class.name, 'witness')
    if #candidates < 2 * share then
      hide(pool, class)
    else
      put_off(pool, class, after)
    end
    return #candidates / 2, nil
  end

  -- A new class, or one that lost its witness.
  function workable.new(pool, name)
    examine(pool, classes.job(pool, name), '0')
  end

  -- Since when the class is unworkable, or nil.
  function workable.hidden_since(pool, name)
    local since = redis.call('HGET', pool.key .. 'class:' .. name, 'hidden_at_ms')
    return since and tonumber(since) or nil
  end

  -- One class of a set, examined up to number `seen`; answers what that cost, whether it is workable now, and whether
  -- more is to be done about it.
  local function look(pool, set, name, seen)
    local class = classes.job(pool, name)
    if not class then
      redis.call('ZREM', pool.key .. set, name)
      return 1, false
    end
    if class.version < pool.significant and queue.head(pool, name) then
      reclass.step(pool, name)
      return LIMITS.reclass, false, queue.head(pool, name) ~= nil
    end
    local examined, witness = examine(pool, class, seen)
    if witness and set == 'unworkable' then announce(pool, 'job.workable', name) end
    return 1 + examined, witness ~= nil
  end

  -- Classes of a set that haven't seen the newest worker class: examine up to `budget` pairs.
  -- Answers the classes that became workable, and whether any is left.
  function workable.step(pool, set, budget)
    local behind = redis.call('ZRANGEBYSCORE', pool.key .. set, '-inf', '(' .. int(pool.wclass_seq),
      'WITHSCORES', 'LIMIT', 0, budget)
    local now_workable, is_left = {}, #behind == 2 * budget
    pool.pairs = budget
    for i = 1, #behind, 2 do
      if budget <= 0 then return now_workable, true end
      local cost, is_workable, is_unfinished = look(pool, set, behind[i], behind[i + 1])
      budget, is_left = budget - cost, is_left or is_unfinished
      if is_workable then now_workable[#now_workable + 1] = behind[i] end
    end
    return now_workable, is_left
  end

  -- A worker class is gone: the classes it was witness for look for another one, a bounded number per call.
  -- Answers true when all have been looked at.
  function workable.lose(pool, worker_class)
    local orphans = redis.call('SPOP', pool.key .. 'witness:' .. worker_class, LIMITS.heavy)
    for _, name in ipairs(orphans) do
      local class = classes.job(pool, name)
      local is_orphan = class and redis.call('HGET', pool.key .. 'class:' .. name, 'witness') == worker_class
      if is_orphan and class.version < pool.significant then
        redis.call('HDEL', pool.key .. 'class:' .. name, 'witness')
        put_off(pool, class, 0) -- its jobs move to other classes before they are judged
      elseif is_orphan then
        workable.new(pool, name)
      end
    end
    return redis.call('EXISTS', pool.key .. 'witness:' .. worker_class) == 0
  end
end

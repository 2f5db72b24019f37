-- Workable: is there a registered worker class that can run this job class? Only workable classes are looked at.
--
-- A workable class names its witness, one worker class that can run it. An unworkable class stands in `unworkable` with
-- the number of the last worker class examined, so that only newer ones need a look. Both go on stepwise.

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
    queue.show(pool, class.name, class.service)
  end

  -- One event for all jobs of a class, not one a job. A new class is about to get its first one.
  local function announce(pool, event, class)
    local jobs_waiting = math.max(1, redis.call('ZCARD', pool.key .. 'waiting:' .. class))
    events.add(pool, event, {data = '{"class":"' .. class .. '","jobs":' .. int(jobs_waiting) .. '}'})
  end

  -- Nobody among the worker classes up to number `seen`; `all`: there are no more.
  local function not_found(pool, class, seen, all)
    redis.call('ZADD', pool.key .. 'unworkable', seen, class.name)
    redis.call('HDEL', pool.key .. 'class:' .. class.name, 'witness')
    queue.show(pool, class.name, class.service)
    if not all then
      redis.call('ZADD', pool.key .. 'timers', 0, 'workable')
    elseif redis.call('HSETNX', pool.key .. 'class:' .. class.name, 'hidden_at_ms', int(pool.now)) == 1 then
      announce(pool, 'job.unworkable', class.name)
    end
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
    -- all seen: also numbers whose class is gone since
    local all = #candidates < 2 * share
    not_found(pool, class, all and pool.wclass_seq or after, all)
    return #candidates / 2, nil
  end

  -- A new class: it stands in `unworkable` unless a witness is found at once.
  function workable.new(pool, name)
    examine(pool, classes.job(pool, name), '0')
  end

  -- Since when the class is unworkable, or nil.
  function workable.hidden_since(pool, name)
    local since = redis.call('HGET', pool.key .. 'class:' .. name, 'hidden_at_ms')
    return since and tonumber(since) or nil
  end

  -- One class that hasn't seen the newest worker class; answers what that cost, whether it is workable now, and whether
  -- more is to be done about it.
  local function look(pool, name, seen)
    local class = classes.job(pool, name)
    if not class then
      redis.call('ZREM', pool.key .. 'unworkable', name)
      return 1, false
    end
    if class.version < pool.significant and queue.head(pool, name) then
      reclass.step(pool, name)
      return LIMITS.reclass, false, queue.head(pool, name) ~= nil
    end
    local examined, witness = examine(pool, class, seen)
    if witness then announce(pool, 'job.workable', name) end
    return 1 + examined, witness ~= nil
  end

  -- Unworkable classes that haven't seen the newest worker class: examine a bounded number of pairs.
  -- Answers the classes that became workable, and whether any is left.
  function workable.step(pool)
    local behind = redis.call('ZRANGEBYSCORE', pool.key .. 'unworkable', '-inf', '(' .. int(pool.wclass_seq),
      'WITHSCORES', 'LIMIT', 0, LIMITS.examine)
    local budget, now_workable, is_left = LIMITS.examine, {}, #behind == 2 * LIMITS.examine
    for i = 1, #behind, 2 do
      if budget <= 0 then return now_workable, true end
      local cost, is_workable, is_unfinished = look(pool, behind[i], behind[i + 1])
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
      if class and redis.call('HGET', pool.key .. 'class:' .. name, 'witness') == worker_class then
        workable.new(pool, name)
      end
    end
    return redis.call('EXISTS', pool.key .. 'witness:' .. worker_class) == 0
  end
end

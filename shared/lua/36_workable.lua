-- Workable: is there a registered worker class that can run this job class? Jobs of which nobody can be run are hidden
-- from claims.
--
-- A workable class names its witness, one worker class that can run it. A class without one stands in `unworkable` (all
-- worker classes there were have been examined: it is hidden) or in `unexamined` (not yet all: claims see it, and judge
-- for themselves), with the number of the last worker class examined. Both go on stepwise: `unworkable` by timer when a
-- new worker class comes, as jobs wait for that; `unexamined` as a chore.
--
-- Who is there matters to two kinds of classes, which are looked at again when a worker comes, goes or changes: one
-- that asks for an identity is hidden unless a worker of that identity can run it (`asked:<identity>`), and one that
-- avoids a worker may be for that one after all (`asked:another`).

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

  -- There are no more worker classes to examine: nobody can run the class. New ones matter to it unless it asks for an
  -- identity.
  local function hide(pool, class)
    local seen = class.requirement.address and '+inf' or pool.wclass_seq
    redis.call('ZADD', pool.key .. 'unworkable', seen, class.name)
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
    redis.call('ZADD', pool.key .. 'chores', 'LT', pool.now, 'examine')
  end

  -- The keys under which the class is noted because it matters to it who is there.
  local function asked_keys(pool, class)
    local keys, address = {}, class.requirement.address
    if address then keys[1] = pool.key .. 'asked:' .. address end
    if class.avoid ~= '' then keys[#keys + 1] = pool.key .. 'asked:another' end
    return keys
  end

  -- Look for a witness among the workers of the identity that the class asks for; answers as `examine`.
  local function examine_addressees(pool, class)
    local share = pool.pairs or LIMITS.examine
    if share <= 0 then return 0, put_off(pool, class, 0) end
    local witness, looked_at = feasible.addressee(pool, class)
    pool.pairs = share - looked_at
    if witness then
      found(pool, class, witness)
    else
      redis.call('HDEL', pool.key .. 'class:' .. class.name, 'witness')
      hide(pool, class)
    end
    return looked_at, witness
  end

  -- Look for a witness among the worker classes after number `after`, as far as this call's share of pairs goes.
  -- Answers what that cost in pairs (hard ones count as several), and the witness.
  local function examine(pool, class, after)
    if class.requirement.address then return examine_addressees(pool, class) end
    local share, judged, cost = math.ceil(pool.pairs or LIMITS.examine), pool.judged, 0
    local candidates, at = worker_classes_after(pool, after, math.max(share, 0) + 1), 1
    while candidates[at] and cost < share do
      local can = feasible.classes(pool, candidates[at], class.name) ~= 'no'
      cost = math.max((at + 1) / 2, pool.judged - judged)
      pool.pairs = share - cost
      if can then
        found(pool, class, candidates[at])
        return cost, candidates[at]
      end
      after, at = candidates[at + 1], at + 2
    end
    redis.call('HDEL', pool.key .. 'class:' .. class.name, 'witness')
    if candidates[at] then
      put_off(pool, class, after)
    else
      hide(pool, class)
    end
    return cost, nil
  end

  -- A new class, or one that lost its witness.
  function workable.new(pool, name)
    local class = classes.job(pool, name)
    for _, key in ipairs(asked_keys(pool, class)) do redis.call('ZADD', key, 0, name) end
    examine(pool, class, '0')
  end

  -- The class is forgotten.
  function workable.forget(pool, class)
    for _, key in ipairs(asked_keys(pool, class)) do redis.call('ZREM', key, class.name) end
  end

  -- A worker of this identity came, goes, drains, or is of another class now: what that matters to is looked at again.
  function workable.note_worker(pool, identity)
    local keys = {'another'}
    for path, text in pairs(pool.addressed > 0 and documents.identity(identity) or {}) do
      keys[#keys + 1] = path .. '=s:' .. text
    end
    for _, key in ipairs(keys) do
      if redis.call('EXISTS', pool.key .. 'asked:' .. key) == 1 then timers.soon(pool, 'asked ' .. key .. ' ') end
    end
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
    local cost, witness = examine(pool, class, seen)
    if witness and set == 'unworkable' then announce(pool, 'job.workable', name) end
    return 1 + cost, witness ~= nil
  end

  -- A class that asks for an identity is looked at again: it may be workable now, or no longer.
  local function reconsider(pool, class)
    local name = class.name
    if class.version < pool.significant and queue.head(pool, name) then return put_off(pool, class, 0) end
    local was_hidden = redis.call('ZSCORE', pool.key .. 'unworkable', name)
    local _, witness = examine_addressees(pool, class)
    if witness and was_hidden then announce(pool, 'job.workable', name) end
    if witness then wake.rouse(pool, name) end
  end

  -- Look again at classes that are noted under `asked`, by name after `after`; answers the last one when more are left.
  function workable.ask(pool, asked, after)
    local key = pool.key .. 'asked:' .. asked
    local names = redis.call('ZRANGEBYLEX', key, '(' .. after, '+', 'LIMIT', 0, LIMITS.asked)
    for _, name in ipairs(names) do
      local class = classes.job(pool, name)
      if not class then
        redis.call('ZREM', key, name)
      elseif class.requirement.address then
        reconsider(pool, class)
      elseif queue.head(pool, name) then
        wake.one(pool, name)
      end
    end
    return #names == LIMITS.asked and names[#names] or nil
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

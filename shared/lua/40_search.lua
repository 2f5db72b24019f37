-- Search: the class with the earliest head that this worker can run, without scanning jobs.
--
-- First a short walk over `heads`, exact where few classes wait. Then the worker class's own index of feasible classes:
-- `feasible:<class>` holds for each a bound that is never later than its head (heads move back unnoticed and are put
-- right when met; heads that are new or moved forward come in through `rises`).

do
  -- May the worker run the class: 'yes', 'no', or 'stale' (its jobs must be put into other classes first)?
  local function judge(pool, worker, name)
    local class = classes.job(pool, name)
    if not class then return 'no' end
    if class.version < pool.significant then return 'stale' end
    if not feasible.worker(pool, worker, name) or queue.is_paused(pool, class.service) then return 'no' end
    return 'yes'
  end

  -- Walk over the first heads. Answers class | nil, exact (nothing was left out), or 'again' after a class was renewed.
  local function walk(pool, worker)
    local heads = redis.call('ZRANGE', pool.heads, 0, LIMITS.walk - 1)
    for i = 1, #heads do
      local verdict = judge(pool, worker, heads[i])
      if verdict == 'yes' then return heads[i], true end
      if verdict == 'stale' then
        reclass.step(pool, heads[i])
        return nil, 'again'
      end
    end
    return nil, #heads < LIMITS.walk
  end

  -- Where this worker class stopped reading `rises`; the index is built anew when it was dropped.
  local function seen(pool, worker_class)
    local number = redis.call('GET', pool.key .. 'seen:' .. worker_class)
    if number then return number end
    redis.call('DEL', pool.key .. 'feasible:' .. worker_class)
    return '0'
  end

  local last_rise = {} -- pool → number of the last rise that this library made
  local caught_up = {} -- pool → worker class → {number up to which its index was brought, at}

  -- A class rose: indexes have something to read.
  function search.note_rise(pool, number)
    last_rise[pool.key] = number
  end

  local function is_caught_up(pool, worker_class)
    local of_pool = caught_up[pool.key]
    local known, last = of_pool and of_pool[worker_class], last_rise[pool.key]
    if not known or not last or known.number < last then return false end
    return pool.now >= known.at and pool.now - known.at <= LIMITS.remember_ms
  end

  -- The index of a worker class is gone.
  function search.forget(pool, worker_class)
    redis.call('DEL', pool.key .. 'feasible:' .. worker_class, pool.key .. 'seen:' .. worker_class)
    local of_pool = caught_up[pool.key]
    if of_pool then of_pool[worker_class] = nil end
  end

  local function note_caught_up(pool, worker_class, number)
    local of_pool = caught_up[pool.key]
    if not of_pool or of_pool.count >= LIMITS.known_classes then of_pool = {count = 0} end
    of_pool[worker_class], of_pool.count = {number = tonumber(number), at = pool.now}, of_pool.count + 1
    caught_up[pool.key] = of_pool
  end

  -- Take new and risen heads into the index; answers whether all were read.
  local function catch_up(pool, worker_class)
    if is_caught_up(pool, worker_class) then return true end
    local since = seen(pool, worker_class)
    local risen = redis.call('ZRANGEBYSCORE', pool.key .. 'rises', '(' .. since, '+inf', 'WITHSCORES',
      'LIMIT', 0, LIMITS.rises)
    if #risen == 0 then
      note_caught_up(pool, worker_class, since)
      return true
    end
    local index = pool.key .. 'feasible:' .. worker_class
    for i = 1, #risen, 2 do
      local class = pool.significant > 0 and classes.job(pool, risen[i])
      local is_stale = class and class.version < pool.significant -- its jobs are yet to be judged by what became so
      if is_stale or feasible.classes(pool, worker_class, risen[i]) ~= 'no' then
        local order = redis.call('ZSCORE', pool.heads, risen[i])
        if order then redis.call('ZADD', index, order, risen[i]) end
      end
      since = risen[i + 1]
    end
    redis.call('PEXPIRE', index, LIMITS.index_idle_ms)
    redis.call('SET', pool.key .. 'seen:' .. worker_class, since, 'PX', LIMITS.index_idle_ms - 1000)
    return #risen < 2 * LIMITS.rises
  end

  -- The worker claims the first job of a class that it found in its class's index: the next one's order is the bound.
  function search.shift(pool, worker, class, next_order)
    if worker.found_in_index ~= class then return end
    if next_order then
      redis.call('ZADD', pool.key .. 'feasible:' .. worker.class, next_order, class)
    else
      redis.call('ZREM', pool.key .. 'feasible:' .. worker.class, class)
    end
  end

  -- The earliest class of the index whose bound is exact and that the worker can run, from rank `skip` on (what stands
  -- before was looked at by earlier calls). Answers class | nil, exact, and the rank reached when the share ran out.
  local function first_of_index(pool, worker, skip)
    local index = pool.key .. 'feasible:' .. worker.class
    for _ = 1, LIMITS.index_steps do
      local entry = redis.call('ZRANGE', index, skip, skip, 'WITHSCORES')
      if not entry[1] then return nil, true end
      local order = redis.call('ZSCORE', pool.heads, entry[1])
      if not order then
        redis.call('ZREM', index, entry[1])
      elseif tonumber(order) > tonumber(entry[2]) then
        redis.call('ZADD', index, order, entry[1])
      else
        local verdict = judge(pool, worker, entry[1])
        if verdict == 'yes' then
          worker.found_in_index = entry[1]
          return entry[1], true
        end
        if verdict == 'stale' then
          reclass.step(pool, entry[1])
          return nil, false, skip
        end
        skip = skip + 1
      end
    end
    return nil, false, skip
  end

  -- The class with the earliest head among those that address this very worker, and that head's order; nil for none.
  local function addressed(pool, worker)
    local best, best_order = nil, nil
    for path, text in pairs(documents.identity(worker.identity)) do
      local key = pool.key .. 'heads:' .. path .. '=s:' .. text
      local heads = redis.call('ZRANGE', key, 0, LIMITS.examine - 1, 'WITHSCORES')
      for i = 1, #heads, 2 do
        local order = tonumber(heads[i + 1])
        if best and order >= best_order then break end
        if judge(pool, worker, heads[i]) ~= 'no' then best, best_order = heads[i], order end
      end
    end
    return best, best_order
  end

  local function best_of_all(pool, worker, cursor)
    local class, exact = walk(pool, worker)
    if class or exact == true then return class, true end
    if exact == 'again' or not catch_up(pool, worker.class) then return nil, false end
    return first_of_index(pool, worker, cursor)
  end

  -- The class to claim from, for worker = {id, class, identity}. Answers class | nil, exact, cursor: with nil and not
  -- exact the work allowed per call ran out, and the next call, given the cursor, goes on where this one stopped.
  function search.best(pool, worker, cursor)
    local class, exact, reached = best_of_all(pool, worker, cursor)
    if pool.addressed == 0 or not exact then return class, exact, reached end
    local own, order = addressed(pool, worker)
    if not own then return class, true end
    if class and tonumber(redis.call('ZSCORE', pool.heads, class)) < order then return class, true end
    if classes.job(pool, own).version >= pool.significant then return own, true end
    reclass.step(pool, own)
    return nil, false
  end

  -- Names of classes whose head has this order, of everybody's heads and of those that address the worker.
  local function tied_with(pool, worker, order)
    local tied = redis.call('ZRANGEBYSCORE', pool.heads, order, order, 'LIMIT', 0, LIMITS.affinity)
    for path, text in pairs(pool.addressed > 0 and documents.identity(worker.identity) or {}) do
      local key = pool.key .. 'heads:' .. path .. '=s:' .. text
      for _, name in ipairs(redis.call('ZRANGEBYSCORE', key, order, order, 'LIMIT', 0, LIMITS.affinity)) do
        tied[#tied + 1] = name
      end
    end
    return tied
  end

  -- Heads of one order are steps of one workflow: the class of the first step among those that the worker can run.
  function search.first_step(pool, worker, best)
    local order = redis.call('ZSCORE', classes.heads(pool, best), best)
    local first, first_member = best, queue.head(pool, best)
    for _, name in ipairs(order and tied_with(pool, worker, order) or {}) do
      local member = queue.head(pool, name)
      if member and member < first_member and judge(pool, worker, name) == 'yes' then
        first, first_member = name, member
      end
    end
    return first
  end

  -- Classes that the worker can run and whose head has the priority of the best one's and came within the window after
  -- it: up to LIMITS.affinity, the best one first. For pools with an affinity window.
  function search.near(pool, worker, best)
    local near, first = {best}, tonumber(redis.call('ZSCORE', classes.heads(pool, best), best) or nil)
    if not first then return near end
    local last = queue.order(queue.priority(first) - 1, 0)
    local rivals = redis.call('ZRANGEBYSCORE', pool.heads, first, '(' .. int(last),
      'LIMIT', 0, LIMITS.affinity)
    for _, name in ipairs(rivals) do
      if name ~= best and judge(pool, worker, name) == 'yes' then near[#near + 1] = name end
    end
    return near
  end
end

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
    pool.work = pool.work - #heads / 2
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
    local most = math.max(1, math.min(LIMITS.rises, math.floor(pool.work)))
    local risen = redis.call('ZRANGEBYSCORE', pool.key .. 'rises', '(' .. since, '+inf', 'WITHSCORES',
      'LIMIT', 0, most)
    pool.work = pool.work - #risen / 2
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
    if #risen == 2 * most then return false end
    note_caught_up(pool, worker_class, since)
    return true
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

  -- How far a claim came that ran out of work, as the cursor says it:
  --   rise          number of the newest rise when the walk over the index began
  --   order, class  the last entry of the index that was looked at
  --   set, head_order, head   the same in the set, by number, of those heads that address the worker
  local PLACE = '^(%d+) (%d+) (%x+) (%d+) (%d+) (%x+)$'

  -- Is it 0 or a cursor that a claim was answered?
  function search.is_cursor(cursor)
    return cursor == 0 or type(cursor) == 'string' and #cursor <= 128 and string.find(cursor, PLACE) ~= nil
  end

  local function place(cursor)
    if cursor == 0 then return {rise = 0, order = 0, class = '0', set = 1, head_order = 0, head = '0'} end
    local rise, order, class, set, head_order, head = string.match(cursor, PLACE)
    return {
      rise = tonumber(rise), order = tonumber(order), class = class,
      set = tonumber(set), head_order = tonumber(head_order), head = head,
    }
  end

  local function cursor_of(at)
    return table.concat({int(at.rise), int(at.order), at.class, int(at.set), int(at.head_order), at.head}, ' ')
  end

  -- The rank at which a walk over a set of classes goes on whose last one was this: others may have come and gone
  -- meanwhile. Where the last one is gone, all of its order are looked at again.
  local function rank_after(set, order, class)
    if order == 0 then return 0 end
    local rank = redis.call('ZRANK', set, class)
    if rank and tonumber(redis.call('ZSCORE', set, class)) == order then return rank + 1 end
    return redis.call('ZCOUNT', set, '-inf', '(' .. int(order))
  end

  -- A walk over the index that goes on turns back for what rose behind it, if the worker can run that. Answers whether
  -- all that rose was looked at.
  local function turn_back(pool, worker, at)
    if at.order == 0 then
      at.rise = caught_up[pool.key][worker.class].number
      return true
    end
    local risen = redis.call('ZRANGEBYSCORE', pool.key .. 'rises', '(' .. int(at.rise), '+inf', 'WITHSCORES',
      'LIMIT', 0, LIMITS.rises)
    pool.work = pool.work - #risen / 2
    for i = 1, #risen, 2 do
      local bound = tonumber(redis.call('ZSCORE', pool.key .. 'feasible:' .. worker.class, risen[i]) or nil)
      if bound and bound <= at.order and judge(pool, worker, risen[i]) ~= 'no' then
        at.order, at.class = bound, '0'
      end
      at.rise = tonumber(risen[i + 1])
    end
    return #risen < 2 * LIMITS.rises
  end

  -- The earliest class of the index whose bound is exact and that the worker can run, after the place `at`, which moves
  -- on. Answers class | nil, exact.
  local function first_of_index(pool, worker, at)
    local index = pool.key .. 'feasible:' .. worker.class
    local rank = rank_after(index, at.order, at.class)
    while pool.work > 0 do
      local entry = redis.call('ZRANGE', index, rank, rank, 'WITHSCORES')
      if not entry[1] then return nil, true end
      pool.work = pool.work - 1
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
          return nil, false
        end
        at.order, at.class, rank = tonumber(order), entry[1], rank + 1
      end
    end
    return nil, false
  end

  -- The keys of the heads that address this very worker.
  local function own_sets(pool, worker)
    local sets = {}
    for path, text in pairs(pool.addressed > 0 and documents.identity(worker.identity) or {}) do
      sets[#sets + 1] = pool.key .. 'heads:' .. path .. '=s:' .. text
    end
    table.sort(sets)
    return sets
  end

  -- The first class of one such set, after the place `at` and before an order, that isn't out of the question for the
  -- worker, with its order; nil and whether more are to be looked at, when that many are out of the question.
  local function first_of_own(pool, worker, set, at, before)
    local rank = rank_after(set, at.head_order, at.head)
    local heads = redis.call('ZRANGE', set, rank, rank + LIMITS.own - 1, 'WITHSCORES')
    for i = 1, #heads, 2 do
      local order = tonumber(heads[i + 1])
      if order >= before then return nil, false end
      if judge(pool, worker, heads[i]) ~= 'no' then return heads[i], order end
      pool.work = pool.work - 1
      at.head_order, at.head = order, heads[i]
    end
    return nil, #heads == 2 * LIMITS.own
  end

  -- The class with the earliest head among those that address this very worker, after the place `at`, and that head's
  -- order; nil for none, and whether more are to be looked at.
  local function addressed(pool, worker, at)
    local best, best_order, sets = nil, math.huge, own_sets(pool, worker)
    for i = at.set, #sets do
      at.set = i
      local class, order = first_of_own(pool, worker, sets[i], at, best_order)
      if class then
        best, best_order = class, order
      elseif order then
        return best, best and best_order or true
      end
      at.head_order, at.head = 0, '0'
    end
    at.set = 1
    return best, best and best_order or false
  end

  local function best_of_all(pool, worker, at)
    local class, exact = walk(pool, worker)
    if class or exact == true then return class, true end
    if exact == 'again' or not catch_up(pool, worker.class) then return nil, false end
    if not turn_back(pool, worker, at) then return nil, false end
    return first_of_index(pool, worker, at)
  end

  -- The class to claim from, for worker = {id, class, identity}. Answers class | nil, exact, cursor: with nil and not
  -- exact the work allowed per call ran out, and the next call, given the cursor, goes on where this one stopped.
  function search.best(pool, worker, cursor)
    local at = place(cursor)
    local own, order = nil, nil
    if pool.addressed > 0 then own, order = addressed(pool, worker, at) end
    if order == true then return nil, false, cursor_of(at) end
    local class, exact = best_of_all(pool, worker, at)
    if not exact then return nil, false, cursor_of(at) end
    if not own then return class, true end
    if class and tonumber(redis.call('ZSCORE', pool.heads, class)) < order then return class, true end
    if classes.job(pool, own).version >= pool.significant then return own, true end
    reclass.step(pool, own)
    return nil, false, cursor_of(at)
  end

  -- Names of classes whose head has this order, of everybody's heads and of those that address the worker.
  local function tied_with(pool, worker, order)
    local tied = redis.call('ZRANGEBYSCORE', pool.heads, order, order, 'LIMIT', 0, LIMITS.ties)
    for _, key in ipairs(own_sets(pool, worker)) do
      for _, name in ipairs(redis.call('ZRANGEBYSCORE', key, order, order, 'LIMIT', 0, LIMITS.ties)) do
        tied[#tied + 1] = name
      end
    end
    pool.work = pool.work - #tied / 4
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

-- Search: the class with the earliest head that this worker can run, without scanning jobs.
--
-- First a short walk over `heads`, exact where few classes wait. Then the worker class's own index of feasible classes:
-- `feasible:<class>` holds for each a bound that is never later than its head (heads move back unnoticed and are put
-- right when met; heads that are new or moved forward come in through `rises`).
local search = {}

-- May the worker run the class: 'yes', 'no', or 'stale' (its jobs must be put into other classes first)?
local function judge(pool, worker, class)
  local known = classes.job(pool, class)
  if not known then return 'no' end
  if known.version < worker.version then return 'stale' end
  return feasible.worker(pool, worker, class) and 'yes' or 'no'
end

-- Walk over the first heads. Answers class | nil, exact (nothing was left out), or 'again' after a class was renewed.
local function walk(pool, now, worker)
  local heads = redis.call('ZRANGE', pool .. 'heads', 0, LIMITS.walk - 1)
  for _, class in ipairs(heads) do
    local verdict = judge(pool, worker, class)
    if verdict == 'yes' then return class, true end
    if verdict == 'stale' then
      reclass.step(pool, now, class)
      return nil, 'again'
    end
  end
  return nil, #heads < LIMITS.walk
end

-- Where this worker class stopped reading `rises`; the index is built anew when it was dropped.
local function seen(pool, worker_class)
  local number = redis.call('GET', pool .. 'seen:' .. worker_class)
  if number then return number end
  redis.call('DEL', pool .. 'feasible:' .. worker_class)
  return '0'
end

-- Take new and risen heads into the index; answers whether all were read.
local function catch_up(pool, worker_class)
  local since = seen(pool, worker_class)
  local risen = redis.call('ZRANGEBYSCORE', pool .. 'rises', '(' .. since, '+inf', 'WITHSCORES',
    'LIMIT', 0, LIMITS.rises)
  local index = pool .. 'feasible:' .. worker_class
  for i = 1, #risen, 2 do
    local order = redis.call('ZSCORE', pool .. 'heads', risen[i])
    if order and feasible.classes(pool, worker_class, risen[i]) ~= 'no' then
      redis.call('ZADD', index, order, risen[i])
    end
    since = risen[i + 1]
  end
  redis.call('PEXPIRE', index, LIMITS.index_idle_ms)
  redis.call('SET', pool .. 'seen:' .. worker_class, since, 'PX', LIMITS.index_idle_ms - 1000)
  return #risen < 2 * LIMITS.rises
end

-- The earliest class of the index whose bound is exact and that the worker can run. Answers class | nil, exact.
local function first_of_index(pool, now, worker)
  local index, skip = pool .. 'feasible:' .. worker.class, 0
  for _ = 1, LIMITS.index_steps do
    local entry = redis.call('ZRANGE', index, skip, skip, 'WITHSCORES')
    if not entry[1] then return nil, true end
    local order = redis.call('ZSCORE', pool .. 'heads', entry[1])
    local verdict = order and judge(pool, worker, entry[1])
    if not order then
      redis.call('ZREM', index, entry[1])
    elseif tonumber(order) > tonumber(entry[2]) then
      redis.call('ZADD', index, order, entry[1])
    elseif verdict == 'yes' then
      return entry[1], true
    elseif verdict == 'stale' then
      reclass.step(pool, now, entry[1])
      return nil, false
    else
      skip = skip + 1
    end
  end
  return nil, false
end

-- The class to claim from, for worker = {id, class, identity}. Answers class | nil, exact: with nil and not exact the
-- work allowed per call ran out, and the next call goes on where this one stopped.
function search.best(pool, now, worker)
  worker.version = classes.version(pool)
  local class, exact = walk(pool, now, worker)
  if class or exact == true then return class, true end
  if exact == 'again' or not catch_up(pool, worker.class) then return nil, false end
  return first_of_index(pool, now, worker)
end

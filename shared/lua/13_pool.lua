-- The pool a call is about, as it is at this moment. Every function begins with `pools.open(keys)`.
--
--   key   "muster:{name}:", what all its keys begin with
--   now   milliseconds; now_text the same as text
--   work     how much searching for jobs this call may still do, in heads looked at (LIMITS.work)
--   judged   what judging (job class, worker class) pairs has cost in this call, in pairs of a plain requirement
--   events, timers, heads   keys that most calls use; lists: of 50_jobs.lua
-- and what the key `pool` holds, one msgpack map:
--   lease_ms, retain_completed_ms, retain_failed_ms, affinity_ms   settings
--   significant   number of significant attributes: the version under which job classes are made
--   wclass_seq    number of the newest worker class
--   paused        number of paused services
--   addressed     1 once a job class was made that only workers of one identity can run
--   failing       1 while a worker has failed its last job

do
  -- What an absent fact is. (What operators set, then counters.)
  local DEFAULTS = {
    lease_ms = LIMITS.lease_ms, retain_completed_ms = LIMITS.retain_completed_ms,
    retain_failed_ms = LIMITS.retain_failed_ms, affinity_ms = 0,
    significant = 0, wclass_seq = 0, paused = 0, addressed = 0, failing = 0,
  }
  pools.settings = {'lease_ms', 'retain_completed_ms', 'retain_failed_ms', 'affinity_ms'}

  local DEFAULTED = {__index = DEFAULTS}

  -- What all keys of the pool begin with; nil when the key is none of a pool.
  function pools.prefix(key)
    return string.match(key, '^muster:{[a-z0-9]+}:')
  end

  local remembered = {} -- prefix → pool; only this library changes what it knows

  local function read(prefix)
    local stored = redis.call('GET', prefix .. 'pool')
    local pool = setmetatable(stored and cmsgpack.unpack(stored) or {}, DEFAULTED)
    pool.key, pool.lists = prefix, {}
    pool.events, pool.timers, pool.heads = prefix .. 'events', prefix .. 'timers', prefix .. 'heads'
    return pool
  end

  -- The pool of the key that routes the call.
  function pools.open(keys)
    local prefix, now = pools.prefix(keys[1]), now_ms()
    local pool = remembered[prefix]
    if not pool or now < pool.read_at or now - pool.read_at > LIMITS.remember_ms then
      pool = read(prefix)
      pool.read_at, remembered[prefix] = now, pool
    end
    if pool.now ~= now then pool.now, pool.now_text = now, int(now) end
    pool.pairs, pool.judged, pool.amnesty_at_ms, pool.hands_off = nil, 0, nil, nil
    pool.work = LIMITS.work
    return pool
  end

  -- Is this the name of a setting?
  function pools.is_setting(name)
    for _, setting in ipairs(pools.settings) do
      if setting == name then return true end
    end
    return false
  end

  -- Give a fact another value.
  function pools.set(pool, name, value)
    if pool[name] == value then return end
    pool[name] = value
    local facts = {}
    for fact in pairs(DEFAULTS) do facts[fact] = pool[fact] end
    redis.call('SET', pool.key .. 'pool', cmsgpack.pack(facts))
  end
end

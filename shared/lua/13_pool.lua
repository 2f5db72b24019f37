-- The pool a call is about, as it is at this moment. Every function begins with `pools.open(keys)`.
--
--   key   "muster:{name}:", what all its keys begin with
--   now   milliseconds
-- and what the key `pool` holds, one msgpack map read once per call:
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

  -- The pool of the key that routes the call.
  function pools.open(keys)
    local key = pools.prefix(keys[1])
    local stored = redis.call('GET', key .. 'pool')
    local pool = stored and cmsgpack.unpack(stored) or {}
    pool.key, pool.now = key, now_ms()
    return setmetatable(pool, DEFAULTED)
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

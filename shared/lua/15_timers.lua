-- Timers: what others may wait for, by the time at which it is due; every claim and heartbeat does what is due first.
--
-- A sorted set `timers`; a member is a word and what it is about: 56_sweep.lua says what each word does. The time of
-- the nearest one is remembered, so that most calls needn't ask; a removal only makes it later than remembered.

do
  local nearest = {} -- pool → {at, known_at}

  -- The word is due at that time.
  function timers.at(pool, at, what)
    local known = nearest[pool.key]
    if known and at < known.at then known.at = at end
    redis.call('ZADD', pool.timers, at, what)
  end

  -- The word is due at that time at the latest.
  function timers.at_most(pool, at, what)
    local known = nearest[pool.key]
    if known and at < known.at then known.at = at end
    redis.call('ZADD', pool.timers, 'LT', at, what)
  end

  -- The word is due at once: a later call does it, after what has been due for longer.
  function timers.soon(pool, what)
    timers.at_most(pool, pool.now, what)
  end

  -- The word isn't waited for any more.
  function timers.drop(pool, what)
    redis.call('ZREM', pool.timers, what)
  end

  -- Is anything due?
  function timers.is_any_due(pool)
    local now, known = pool.now, nearest[pool.key]
    if known and known.at > now and now >= known.known_at and now - known.known_at <= LIMITS.remember_ms then
      return false
    end
    local first = redis.call('ZRANGE', pool.timers, 0, 0, 'WITHSCORES')
    local at = tonumber(first[2]) or math.huge
    nearest[pool.key] = {at = at, known_at = now}
    return at <= now
  end
end

-- muster_sweep: whatever time has brought about, a bounded step.
-- KEYS  1: any key of the pool
-- Answers {'OK', things done}; 0 when nothing is left to do
local function muster_sweep(keys)
  local pool = pool_of(keys[1])
  return {'OK', sweep.all(pool, now_ms())}
end

-- muster_settings: the pool's settings.
-- ARGV  name, value, name, value, ... (lease_ms); none: only read
-- Answers {'OK', name, value, ...}
local function muster_settings(keys, args)
  local key = pool_of(keys[1]) .. 'settings'
  if #args > 0 then redis.call('HSET', key, unpack(args)) end
  return {'OK', unpack(redis.call('HGETALL', key))}
end

-- muster_version: which library this is.
-- Answers {'OK', version, digest}
local function muster_version()
  return {'OK', VERSION, DIGEST}
end

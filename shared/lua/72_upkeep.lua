-- muster_sweep: whatever time has brought about, a bounded step.
-- KEYS  1: any key of the pool
-- Answers {'OK', things done}; 0 when nothing is left to do
local function muster_sweep(keys)
  return {'OK', sweep.all(pools.open(keys))}
end

-- muster_settings: the pool's settings.
-- ARGV  name, value, name, value, ... (lease_ms, retain_completed_ms, retain_failed_ms, affinity_ms); none: only read
-- Answers {'OK', name, value, ...} | {'UNKNOWN', name}
local function muster_settings(keys, args)
  local pool, answer = pools.open(keys), {'OK'}
  for i = 1, #args, 2 do
    if not pools.is_setting(args[i]) or not tonumber(args[i + 1]) then return {'UNKNOWN', args[i]} end
  end
  for i = 1, #args, 2 do pools.set(pool, args[i], tonumber(args[i + 1])) end
  for _, name in ipairs(pools.settings) do
    answer[#answer + 1] = name
    answer[#answer + 1] = int(pool[name])
  end
  return answer
end

-- muster_version: which library this is.
-- Answers {'OK', version, digest}
local function muster_version()
  return {'OK', VERSION, DIGEST}
end

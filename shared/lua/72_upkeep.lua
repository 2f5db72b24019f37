-- muster_sweep: whatever time has brought about, a bounded step.
-- KEYS  1: any key of the pool
-- Answers {'OK', things done}; 0 when nothing is left to do
local function muster_sweep(keys)
  return {'OK', sweep.all(pools.open(keys))}
end

-- muster_settings: the pool's settings.
-- ARGV  name, value, name, value, ... (lease_ms, retain_completed_ms, retain_failed_ms, affinity_ms); none: only read
-- Answers {'OK', name, value, ...} | {'UNKNOWN', name}: no such setting, or no such value of it
-- lease_ms: 1 to 3600000, the others: 0 to 31536000000000
local function muster_settings(keys, args)
  local pool, answer = pools.open(keys), {'OK'}
  for i = 1, #args, 2 do
    local name, value = args[i], tonumber(args[i + 1])
    local is_lease = name == 'lease_ms'
    local is_sound = is_integer(value, is_lease and 1 or 0, is_lease and 3600000 or 31536000000000)
    if not pools.is_setting(name) or not is_sound then return {'UNKNOWN', name} end
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

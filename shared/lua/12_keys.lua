-- Names of keys; the catalogue with types and life is shared/store/keys.py.

-- "muster:{name}:" of the key that routes the call.
local function pool_of(key)
  return string.match(key, '^muster:{[a-z0-9]+}:')
end

-- An integer as text, exact up to 2^53 (tostring would write 1e+15).
local function int(number)
  return string.format('%.0f', number)
end

-- Field values of a hash as a table by field name; absent fields are absent.
local function read_fields(key, ...)
  local names = {...}
  local values = redis.call('HMGET', key, ...)
  local record = {}
  for i = 1, #names do
    if values[i] then record[names[i]] = values[i] end
  end
  return record
end

-- All fields of a hash as a table by field name; nil when there is no such hash.
local function read_all(key)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local record = {}
  for i = 1, #flat, 2 do record[flat[i]] = flat[i + 1] end
  return record
end

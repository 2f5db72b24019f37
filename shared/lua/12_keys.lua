-- Names of keys; the catalogue with types and life is shared/store/keys.py.

-- An integer as text, exact up to 2^53 (tostring would write 1e+15, and so may the server for a number it is handed:
-- good enough for a score, not for text).
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

-- Names of keys; the catalogue with types and life is shared/store/keys.py.

-- An integer as text, exact up to 2^53 (tostring would write 1e+15, and so may the server for a number it is handed:
-- good enough for a score, not for text).
local function int(number)
  return string.format('%.0f', number)
end

-- Raises unless it holds: for arguments that no client of ours sends. Said before anything is written.
local function demand(holds, what)
  if not holds then error('expected ' .. what) end
end

-- Is it an integer from `least` to `most`?
local function is_integer(value, least, most)
  return type(value) == 'number' and value >= least and value <= most and value % 1 == 0
end

-- Is it the name of a service?
local function is_service(name)
  return type(name) == 'string' and #name <= 64 and string.find(name, '^[a-z0-9][a-z0-9_.-]*$') ~= nil
end

-- A text from outside as it may stand in records and events: valid UTF-8 of bounded length.
local function tidy(text)
  text = string.sub(text, 1, LIMITS.text_bytes)
  if not string.find(text, '[\128-\255]') then return text end
  return (string.gsub(text, '[\128-\255]+', function(run)
    local rest = string.gsub(run, '[\194-\223][\128-\191]', '')
    rest = string.gsub(rest, '[\225-\236\238\239][\128-\191][\128-\191]', '')
    return rest == '' and run or string.rep('?', #run)
  end))
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

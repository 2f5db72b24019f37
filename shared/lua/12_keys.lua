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
local tidy

do
  -- The characters of more than one byte, by their first; neither overlong ones nor halves of surrogate pairs.
  local CHARACTERS = {
    '^[\225-\236\238\239][\128-\191][\128-\191]', '^[\194-\223][\128-\191]', '^\224[\160-\191][\128-\191]',
    '^\237[\128-\159][\128-\191]', '^\240[\144-\191][\128-\191][\128-\191]',
    '^[\241-\243][\128-\191][\128-\191][\128-\191]', '^\244[\128-\143][\128-\191][\128-\191]',
  }

  -- Where the character that begins at `at` ends; nil when none does.
  local function last_byte(run, at)
    for i = 1, #CHARACTERS do
      local _, last = string.find(run, CHARACTERS[i], at)
      if last then return last end
    end
  end

  -- Bytes above ASCII, with a question mark for each that belongs to no character.
  local function mended(run)
    local parts, at = {}, 1
    while at <= #run do
      local last = last_byte(run, at)
      parts[#parts + 1] = last and string.sub(run, at, last) or '?'
      at = (last or at) + 1
    end
    return table.concat(parts)
  end

  -- Its first bytes, to the end of a character.
  local function cut(text, size)
    local kept = string.sub(text, 1, size)
    if not string.find(text, '^[\128-\191]', size + 1) then return kept end
    return (string.gsub(kept, '[\192-\255][\128-\191]?[\128-\191]?$', ''))
  end

  function tidy(text)
    if #text > LIMITS.text_bytes then text = cut(text, LIMITS.text_bytes) end
    if not string.find(text, '[\128-\255]') then return text end
    return (string.gsub(text, '[\128-\255]+', mended))
  end
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

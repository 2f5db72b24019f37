-- The store's clock is the only one. Tests replace this one line by a reader of a key that they set.
local function now_ms() local t = redis.call('TIME'); return t[1] * 1000 + math.floor(t[2] / 1000) end

-- Reclass: when an attribute became significant, waiting jobs move to the classes it makes, a few at a time.

local function move_job(pool, now, from, member, order)
  local id = queue.job_id(member)
  local spec_text = redis.call('GET', pool .. 'spec:' .. id)
  redis.call('ZREM', pool .. 'waiting:' .. from.name, member)
  if not spec_text then return end
  local to, is_new = classes.intern(pool, from.text, classes.attributes(cjson.decode(spec_text)), from.avoid)
  if is_new then workable.new(pool, now, to) end
  classes.refer(pool, now, to, 1)
  classes.refer(pool, now, from.name, -1)
  redis.call('HSET', pool .. 'job:' .. id, 'class', to)
  queue.add(pool, to, member, order)
end

-- Move the first jobs of an outdated class.
function reclass.step(pool, now, name)
  local from = classes.job(pool, name)
  local first = redis.call('ZRANGE', pool .. 'waiting:' .. name, 0, LIMITS.reclass - 1, 'WITHSCORES')
  for i = 1, #first, 2 do move_job(pool, now, from, first[i], first[i + 1]) end
  local order = queue.head(pool, name)
  if order then
    redis.call('ZADD', pool .. 'heads', 'XX', order, name)
  else
    redis.call('ZREM', pool .. 'heads', name)
    redis.call('ZREM', pool .. 'unworkable', name)
  end
end

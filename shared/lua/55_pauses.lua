-- Paused services: their jobs wait, whatever worker could run them. Claims look at the pause itself; that the classes
-- also leave the heads, so that they cost nothing, follows in steps.

do
  -- Pause or resume a service; answers whether that changed anything.
  function pauses.set(pool, service, is_paused)
    demand(is_service(service), 'the name of a service')
    local changed = redis.call(is_paused and 'SADD' or 'SREM', pool.key .. 'paused', service) == 1
    if changed then
      pools.set(pool, 'paused', redis.call('SCARD', pool.key .. 'paused'))
      timers.soon(pool, 'show ' .. service .. ' ')
    end
    return changed
  end

  -- Show or hide some of the service's classes, by name after `after`; answers the last one when more are left.
  function pauses.step(pool, service, after)
    local names = redis.call('ZRANGEBYLEX', pool.key .. 'service-classes:' .. service, '(' .. after, '+',
      'LIMIT', 0, LIMITS.show)
    local is_paused = queue.is_paused(pool, service)
    for _, name in ipairs(names) do
      queue.show(pool, name, service)
      if not is_paused then wake.rouse(pool, name) end
    end
    return #names == LIMITS.show and names[#names] or nil
  end
end

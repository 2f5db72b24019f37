-- The library's public functions. Wrong arity is answered, never raised: {'USAGE', what was expected}.

local function guarded(name, call, least, step)
  return function(keys, args)
    local fits = #args >= least and (step == 0 and #args == least or step > 0 and (#args - least) % step == 0)
    if not fits or #keys ~= 1 or not pools.prefix(keys[1]) then
      return {'USAGE', name .. ' takes 1 key of a pool and ' .. least .. ' arguments, then groups of ' .. step}
    end
    return call(keys, args)
  end
end

-- name, function, least number of arguments, size of the groups that may follow, flags
local FUNCTIONS = {
  {'submit', muster_submit, 1, 7, {}},
  {'check', muster_check, 1, 4, {'no-writes'}},
  {'register', muster_register, 4, 7, {'allow-oom'}},
  {'deregister', muster_deregister, 1, 0, {'allow-oom'}},
  {'suspect', muster_suspect, 2, 0, {'allow-oom'}},
  {'command', muster_command, 2, 0, {'allow-oom'}},
  {'claim', muster_claim, 2, 0, {'allow-oom'}},
  {'next', muster_next, 3, 0, {'allow-oom'}},
  {'heartbeat', muster_heartbeat, 3, 6, {'allow-oom'}},
  {'progress', muster_progress, 4, 0, {'allow-oom'}},
  {'complete', muster_complete, 4, 0, {'allow-oom'}},
  {'fail', muster_fail, 6, 0, {'allow-oom'}},
  {'release', muster_release, 3, 0, {'allow-oom'}},
  {'suspend', muster_suspend, 3, 0, {'allow-oom'}},
  {'lift', muster_lift, 2, 0, {'allow-oom'}},
  {'cancel', muster_cancel, 1, 0, {'allow-oom'}},
  {'retry', muster_retry, 2, 0, {'allow-oom'}},
  {'prioritize', muster_prioritize, 2, 0, {'allow-oom'}},
  {'pause', muster_pause, 1, 0, {'allow-oom'}},
  {'resume', muster_resume, 1, 0, {'allow-oom'}},
  {'sweep', muster_sweep, 0, 0, {'allow-oom'}},
  {'settings', muster_settings, 0, 2, {'allow-oom'}},
  {'version', muster_version, 0, 0, {'no-writes'}},
  {'match', muster_match, 5, 0, {'no-writes'}},
  {'explain', muster_explain, 4, 0, {'no-writes'}},
  {'explain_worker', muster_explain_worker, 2, 0, {'no-writes'}},
  {'position', muster_position, 2, 1, {'no-writes'}},
}

-- Not ipairs: the standard library isn't there while a library loads.
for i = 1, #FUNCTIONS do
  local entry = FUNCTIONS[i]
  local name = 'muster_' .. entry[1]
  redis.register_function({
    function_name = name, callback = guarded(name, entry[2], entry[3], entry[4]), flags = entry[5],
  })
end

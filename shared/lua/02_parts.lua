-- The parts of the library, one table each, filled in the file of its name. All stand here, as parts call one another.
local pools, timers, events, documents, conditions, match = {}, {}, {}, {}, {}, {}
local classes, feasible, queue, workable, prefer, wake, search, reclass = {}, {}, {}, {}, {}, {}, {}, {}
local jobs, suspension, retry, dependants, workers, pauses, sweep, claims = {}, {}, {}, {}, {}, {}, {}, {}

-- muster_match: would this worker take this job? A dry run on documents; reads and writes no key.
-- KEYS  1: any key of the pool
-- ARGV  1: compiled requirement (JSON), 2: the job's attributes (JSON object of strings),
--       3: compiled capability (JSON), 4: compiled accepts (JSON), 5: identity (JSON object of strings)
-- Answers (one of)
--   {'MATCH'}
--   {'MISMATCH', part, node}   part: service | model | isolation | customers | requires | accepts
--                              node: number of the failing node, '-1' for parts without conditions
local function muster_match(_, args)
  local worker = {
    capability = documents.capability(args[3]), accepts = documents.accepts(args[4]),
    identity = documents.identity(args[5]),
  }
  local takes, part, node = match.takes(documents.requirement(args[1]), documents.identity(args[2]), worker)
  if takes then return {'MATCH'} end
  return {'MISMATCH', part, tostring(node or -1)}
end

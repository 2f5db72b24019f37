#!lua name=muster
-- The broker: every change of a job's state is one of these functions.
--
-- The parts of this library lie in shared/lua/, one noun a file, joined in name order (shared/store/library.py).
-- Rules: check everything, then write (the server keeps writes made before an error). Answers begin with an outcome
-- word and hold strings and integers only. Work per call is bounded. `pool` is always the key prefix "muster:{name}:".

-- Raised with every change of behaviour; hubs install upward only.
local VERSION = '1'
-- Digest of the joined text, set when the parts are joined.
local DIGEST = '@DIGEST@'

-- Bounds and defaults. Durations in milliseconds.
local LIMITS = {
  lease_ms = 20000,             -- when the pool's settings say nothing
  wake_follow_ms = 1000,        -- a wake that isn't followed by a claim passes on; so does a job handed with one
  hand_bytes = 65536,           -- a longer job isn't handed with the wake: its worker asks for it
  wake_list_ms = 60000,         -- an unread wake list is dropped
  cancel_grace_ms = 30000,      -- an active job is cancelled then, whatever its agent does
  retain_completed_ms = 86400000,
  retain_failed_ms = 604800000,
  idempotency_ms = 86400000,
  workflow_ms = 604800000,      -- a workflow's place is kept that long after its last submit
  registered_ms = 600000,       -- a worker counts as registered that long after it was last heard of
  agent_gone_ms = 86400000,     -- a lost agent is forgotten then
  class_idle_ms = 600000,       -- a class without jobs is forgotten then
  completed_by_ms = 3600000,    -- who last completed a job of a class is remembered that long while somebody fails them
  remember_ms = 100,            -- facts that only this library changes are remembered that long between calls
  index_idle_ms = 600000,       -- a worker class's list of feasible job classes, since its last use
  events = 100000,              -- length of the event stream, about
  events_ms = 604800000,        -- age of its oldest entry, about
  text_bytes = 4096,            -- of a message from outside
  preview_bytes = 22528,        -- of a picture in a job's progress: 16 KiB as base64, and what stands before it
  history_bytes = 65536,        -- of a job's history; the oldest entries go first
  walk = 4,                     -- heads looked at before the index of feasible classes is used
  work = 128,                   -- heads looked at per call, for all the workers that claim in it
  rises = 100,                  -- new heads examined per claim
  own = 64,                     -- heads that address the worker looked at per claim
  workers = 64,                 -- of one agent
  claims = 32,                  -- workers of one agent that may claim in one call
  others = 512,                 -- worker classes looked at for another worker than the one that failed the job
  wake_classes = 128,           -- parked worker classes looked at per wake
  wake_candidates = 16,         -- parked worker classes that can run the job compared per wake
  wake_workers = 16,            -- parked workers of one class looked at where it matters who they are
  affinity = 16,                -- jobs compared within the affinity window
  ties = 512,                   -- steps of one workflow compared, of those that ask for different workers
  asked = 20,                   -- job classes looked at again per step when a worker they ask for came or went
  sweep = 20,                   -- things done per sweep; a heavy one counts as several
  heavy = 10,                   -- what a heavy one counts
  examine = 256,                -- (job class, worker class) pairs evaluated per step; hard ones count as several
  judge = 384,                  -- pairs evaluated per call before a wake leaves the rest to a later one
  examine_soon = 100,           -- the same where a claim or heartbeat does it on its way
  reclass = 16,                 -- jobs moved to their new class per step
  unblock = 20,                 -- dependants told per step
  show = 100,                   -- classes of a paused or resumed service shown or hidden per step
  streak = 5,                   -- failures in a row that suspend a worker while another one succeeds
  unhealthy_streak = 3,         -- the same while its own health check fails
  explain_classes = 150,        -- classes judged per call of explain; one not decoded yet counts as several
  explain_workers = 250,        -- workers looked at per call of explain
  explain_listed = 100,         -- job classes named per call of explain for a worker
  position_classes = 200,       -- job classes looked at per call for a job's position; hard ones count as several
  memo = 200000,                -- remembered pairs
  known_classes = 20000,        -- worker classes whose place in the index is remembered
  job_class_bytes = 8388608,    -- of the texts of remembered job classes: their trees take a dozen times as much
  worker_class_bytes = 33554432, -- of those of worker classes: they take about thrice as much
  class_bytes = 256,            -- what a class counts beside its text
}

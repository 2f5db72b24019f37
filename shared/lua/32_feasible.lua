-- Feasibility: may a worker of this class run a job of that class? Computed once per pair and remembered.
local feasible = {}

local memo, memo_count = {}, 0

local function remember(worker_class, job_class, answer)
  if memo_count >= LIMITS.memo then memo, memo_count = {}, 0 end
  memo[worker_class] = memo[worker_class] or {}
  memo[worker_class][job_class] = answer
  memo_count = memo_count + 1
  return answer
end

-- Answers 'yes', 'no', or 'depends' (on who the worker is: identity, or the worker to avoid).
local function compute(pool, worker_class, job_class)
  local worker, class = classes.worker(pool, worker_class), classes.job(pool, job_class)
  if not worker or not class then return 'no' end
  local answer = match.takes(class.requirement, class.attributes, worker)
  if answer == false then return 'no' end
  if answer == nil or class.avoid ~= '' then return 'depends' end
  return 'yes'
end

-- 'yes', 'no' or 'depends' for a worker class and a job class, by name.
function feasible.classes(pool, worker_class, job_class)
  local row = memo[worker_class]
  local known = row and row[job_class]
  if known then return known end
  return remember(worker_class, job_class, compute(pool, worker_class, job_class))
end

-- Is another worker than `worker_id` registered that can run the class?
local function another_can(pool, worker_id, job_class)
  for _, worker_class in ipairs(redis.call('ZRANGE', pool .. 'wclasses', 0, LIMITS.wake_classes - 1)) do
    if feasible.classes(pool, worker_class, job_class) ~= 'no' then
      for _, other in ipairs(redis.call('SRANDMEMBER', pool .. 'wclass-workers:' .. worker_class, 2)) do
        if other ~= worker_id then return true end
      end
    end
  end
  return false
end

-- May this very worker run a job of the class? `worker` = {id, class, identity = compiled text}.
function feasible.worker(pool, worker, job_class)
  local answer = feasible.classes(pool, worker.class, job_class)
  if answer ~= 'depends' then return answer == 'yes' end
  local class, of = classes.job(pool, job_class), classes.worker(pool, worker.class)
  local takes = match.takes(class.requirement, class.attributes, {
    capability = of.capability, accepts = of.accepts, identity = documents.identity(worker.identity),
  })
  if not takes then return false end
  return class.avoid ~= worker.id or not another_can(pool, worker.id, job_class)
end

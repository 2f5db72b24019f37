-- Feasibility: may a worker of this class run a job of that class? Computed once per pair and remembered.

do
  local memo, memo_count = {}, 0

  local function remember(worker_class, job_class, answer)
    if memo_count >= LIMITS.memo then memo, memo_count = {}, 0 end
    memo[worker_class] = memo[worker_class] or {}
    memo[worker_class][job_class] = answer
    memo_count = memo_count + 1
    return answer
  end

  -- Answers 'yes', 'no', or 'depends' (on who the worker is: identity, or the worker to avoid).
  local function compute(worker, class)
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
    local worker, class = classes.worker(pool, worker_class), classes.job(pool, job_class)
    if not worker or not class then return 'no' end -- not remembered: it may come to be
    pool.judged = pool.judged + math.max(1, class.requirement.cost + worker.accepts.cost)
    return remember(worker_class, job_class, compute(worker, class))
  end

  -- Does this very worker meet the class, whomever that avoids?
  local function takes(class, of, identity)
    local worker = {capability = of.capability, accepts = of.accepts, without = of.without, identity = identity}
    return match.takes(class.requirement, class.attributes, worker)
  end

  -- The class of a registered worker that is of the identity a job class asks for and meets it, or nil; and how many
  -- were looked at.
  function feasible.addressee(pool, class)
    local ids = redis.call('SRANDMEMBER', pool.key .. 'addressees:' .. class.requirement.address, LIMITS.examine)
    for i, id in ipairs(ids) do
      local worker = read_fields(pool.key .. 'worker:' .. id, 'class', 'identity', 'unlisted')
      local of = worker.class and not worker.unlisted and classes.worker(pool, worker.class)
      if of and takes(class, of, documents.identity(worker.identity)) then return worker.class, i end
    end
    return nil, #ids
  end

  -- Is one of the workers of this class, other than `worker_id`, registered that can run the job class, and doesn't
  -- drain?
  local function one_of_class_can(pool, worker_id, worker_class, class)
    local of = classes.worker(pool, worker_class)
    local answer = of and takes(class, of)
    if answer == false or not of then return false end
    local others = redis.call('SRANDMEMBER', pool.key .. 'wclass-workers:' .. worker_class, LIMITS.wake_workers)
    for _, id in ipairs(others) do
      local other = id ~= worker_id and read_fields(pool.key .. 'worker:' .. id, 'identity', 'draining')
      local is_there = other and other.identity and not other.draining
      if is_there and (answer or takes(class, of, documents.identity(other.identity))) then return true end
    end
    return false
  end

  -- Is another worker than `worker_id` registered that can run the class?
  local function another_can(pool, worker_id, class)
    local witness = redis.call('HGET', pool.key .. 'class:' .. class.name, 'witness')
    if witness and one_of_class_can(pool, worker_id, witness, class) then return true end
    for _, worker_class in ipairs(redis.call('ZRANGE', pool.key .. 'wclasses', 0, LIMITS.others - 1)) do
      if pool.judged > LIMITS.judge then break end
      if feasible.classes(pool, worker_class, class.name) ~= 'no'
        and one_of_class_can(pool, worker_id, worker_class, class) then return true end
    end
    return false
  end

  -- May this very worker run a job of the class? `worker` = {id, class, identity = compiled text}.
  function feasible.worker(pool, worker, job_class)
    local answer = feasible.classes(pool, worker.class, job_class)
    if answer ~= 'depends' then return answer == 'yes' end
    local class, of = classes.job(pool, job_class), classes.worker(pool, worker.class)
    if not class or not of then return false end
    if not takes(class, of, documents.identity(worker.identity)) then return false end
    return class.avoid ~= worker.id or not another_can(pool, worker.id, class)
  end
end

-- Preference: which of several workers that could all run a job is woken, and which of several jobs of equal priority a
-- worker takes inside the affinity window. The job's own wishes first, then: its model is warm, the cheapest worker,
-- the smallest GPU, the longest idle.

do
  -- Of a job's wishes: a list of {node, weight}, compiled by shared/wire/compiled.py.
  local NOTHING = {}

  -- Does the node, or one below it, ask who the worker is?
  local function is_personal(node)
    if node.identity then return true end
    for i = 1, #node do
      if is_personal(node[i]) then return true end
    end
    return false
  end

  -- May two workers of one class meet different wishes of the job?
  function prefer.tells_apart(wish)
    if wish.model then return true end
    for _, one in ipairs(wish.list) do
      if is_personal(one.node) then return true end
    end
    return false
  end

  -- What a job of the class wishes: {model = 'service/model' | nil, list of {node, weight}}. `job` may be nil: the
  -- head of the class is read then.
  function prefer.wish(pool, class, job)
    local model = class.requirement.model
    local wish = {model = model and class.service .. '/' .. model, list = NOTHING}
    if not job then
      local member = queue.head(pool, class.name)
      job = member and jobs.read(pool, queue.job_id(member))
    end
    if job and job.prefers then wish.list = documents.wishes(job.prefers) end
    return wish
  end

  -- Is the wished model loaded on the worker already? worker.warm = ' service/model  service/model '.
  function prefer.is_warm(worker, wish)
    if not wish.model or not worker.warm then return false end
    return string.find(worker.warm, ' ' .. wish.model .. ' ', 1, true) ~= nil
  end

  -- The sum of the weights of all wishes the worker meets.
  function prefer.weight(pool, wish, worker)
    local of, sum = classes.worker(pool, worker.class), 0
    if not of or #wish.list == 0 then return 0 end
    local identity = documents.identity(worker.identity)
    for _, one in ipairs(wish.list) do
      if match.meets(one.node, of.capability, identity) then sum = sum + one.weight end
    end
    return sum
  end

  local function number_at(capability, path)
    local found = capability and capability[path]
    return found and found.number or math.huge
  end

  -- A worker as it is compared with others.
  function prefer.candidate(pool, wish, worker, since)
    local of, is_warm = classes.worker(pool, worker.class), prefer.is_warm(worker, wish)
    return {
      worker = worker,
      -prefer.weight(pool, wish, worker), is_warm and 0 or 1, number_at(of and of.capability, 'cost.per_hour'),
      number_at(of and of.capability, 'gpu.memory_gb'), since,
    }
  end

  -- Is one candidate better than another?
  function prefer.before(one, other)
    for i = 1, #one do
      if one[i] ~= other[i] then return one[i] < other[i] end
    end
    return false
  end

  -- How well a job suits a worker that could also take others; more is better.
  function prefer.affinity(pool, worker, job)
    local class = classes.job(pool, job.class)
    local wish = prefer.wish(pool, class, job)
    local warm = prefer.is_warm(worker, wish) and 0.5 or 0
    return prefer.weight(pool, wish, worker) + warm
  end
end

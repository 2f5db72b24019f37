-- Does a worker take a job? The Python twin is shared/wire/match.py: the same answer, part and node for every pair.

do
  -- Tagged text of an isolation level → its rank.
  match.levels = {['s:none'] = 0, ['s:loose'] = 1, ['s:strict'] = 2}

  -- Is the text an item of the list entry?
  local function lists(found, text)
    return found ~= nil and found.items ~= nil and found.items[documents.word(text).text] == true
  end

  -- Does the worker have the job's model? Yes where it says nothing about models of the service.
  local function has_model(job, capability)
    local found = job.model and capability[job.model_path]
    if not found then return true end
    return found.text == documents.word(job.model).text or lists(found, job.model)
  end

  -- Does the worker keep customers apart as far as the job wants?
  local function isolates(job, capability)
    local found = capability['customers.isolation']
    local level = found and match.levels[found.text] or 0
    return level >= match.levels[documents.word(job.isolation).text]
  end

  -- Does the worker serve this customer (nil: a job of nobody's)?
  local function serves(capability, customer_id)
    local allow, deny = capability['customers.allow'], capability['customers.deny']
    local is_bound = allow and allow.items and next(allow.items) ~= nil
    if is_bound and not (customer_id and lists(allow, customer_id)) then return false end
    return not (customer_id and lists(deny, customer_id))
  end

  -- The first part without conditions that fails, nil when none does.
  local function failing_part(job, attributes, capability)
    if not lists(capability.services, job.service) then return 'service' end
    if not has_model(job, capability) then return 'model' end
    if not isolates(job, capability) then return 'isolation' end
    if not serves(capability, attributes.customer_id) then return 'customers' end
    return nil
  end

  -- What the worker says of a node's path: who it is first, then what it has.
  local function worker_entry(worker, node)
    if node.identity then
      if not worker.identity then return conditions.unknown end
      local text = worker.identity[node.path]
      if text then return documents.word(text) end
    end
    return worker.capability[node.path]
  end

  -- What the job says of a node's path.
  local function attribute_entry(attributes, node)
    local text = attributes[node.path]
    return text and documents.word(text)
  end

  -- Does the worker take the job? Answers true, or false with the part that failed first and the number of the failing
  -- node (requires and accepts only), or nil: it depends on who the worker is.
  --   job         of documents.requirement
  --   attributes  path → text: service, customer_id, labels.<key>, workflow.id
  --   worker      {capability, accepts, without? = its suspended services as a set, identity?}; without identity the
  --               answer is that of its class
  function match.takes(job, attributes, worker)
    local part = failing_part(job, attributes, worker.capability)
    if part then return false, part end
    local meets, node = conditions.judge(job.requires, worker_entry, worker)
    if meets == false then return false, 'requires', node end
    local accepted, refusing = conditions.judge(worker.accepts, attribute_entry, attributes)
    if accepted == false then return false, 'accepts', refusing end
    if worker.without and worker.without[job.service] then return false, 'suspended' end
    return meets
  end

  -- Does a worker meet a requires tree, whatever else the job asks?
  function match.meets(node, capability, identity)
    return conditions.judge(node, worker_entry, {capability = capability, identity = identity}) == true
  end
end

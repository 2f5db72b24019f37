-- Compiled documents, decoded once: what a job asks, what a worker has, what it takes, who it is.
-- The text is made by shared/wire/compiled.py, and what that module made never raises here. Equal text, equal table:
-- decoded forms are shared and only read, but that a test keeps an entry's version or glyphs on it.
-- (`do` keeps the locals of a part to itself: the joined library has room for 200.)

do
  -- What an operator's operand is; each kind is prepared once, when it is decoded.
  documents.operands = {
    gt = 'order', gte = 'order', lt = 'order', lte = 'order', is = 'text', eq = 'text', ne = 'text', covers = 'set',
    ['in'] = 'set', not_in = 'set', has_all = 'set', has_any = 'set', has_none = 'set', like = 'glob', exists = 'flag',
  }

  -- Paths that only a worker's identity answers exactly; elsewhere a class of workers can't say.
  documents.identity_paths = {['worker.id'] = true, ['agent.id'] = true, hostname = true, ['gpu.uuid'] = true}

  -- A bounded memory {of = {key → value}, keep(key, value, text_bytes) → value}: over `budget_bytes` of the texts that
  -- its values were made of (and 64 bytes for each) all is forgotten at once.
  function documents.memory(budget_bytes)
    local memory, held_bytes = {of = {}}, 0
    function memory.keep(key, value, text_bytes)
      held_bytes = held_bytes + text_bytes + 64
      if held_bytes > budget_bytes then memory.of, held_bytes = {}, text_bytes + 64 end
      memory.of[key] = value
      return value
    end
    return memory
  end

  -- A function that answers decode(text), remembered by text within `budget_bytes`.
  function documents.remembered(decode, budget_bytes)
    local memory = documents.memory(budget_bytes)
    return function(text)
      local value = memory.of[text]
      if value ~= nil then return value end
      return memory.keep(text, decode(text), #text)
    end
  end

  -- {text → true} of a list of texts.
  function documents.set(list)
    local set = {}
    for i = 1, #list do set[list[i]] = true end
    return set
  end

  -- The code points of a text as a list of strings, ASCII letters small: what globs are compared by.
  function documents.glyphs(text)
    local glyphs = {}
    for glyph in string.gmatch(string.gsub(text, '[A-Z]', string.lower), '[^\128-\191][\128-\191]*') do
      glyphs[#glyphs + 1] = glyph
    end
    return glyphs
  end

  -- The parts of a version: {{rank, bytes}...} flattened to rank, bytes, rank, bytes. A number's rank is its count of
  -- digits without leading zeros, any other part's is -1; parts of equal rank sort by bytes.
  function documents.version(text)
    local parts = {}
    for part in string.gmatch(text .. '.', '([^.-]*)[.-]') do
      local digits = string.match(part, '^0*([0-9]*)$')
      if part == '' then digits = nil end
      parts[#parts + 1] = digits and #digits or -1
      parts[#parts + 1] = digits or part
    end
    return parts
  end

  -- What was found at a path, as tests read it: {kind, text, number?, items?, scalar}. `raw` is {kind, text, more?}.
  local function entry(raw)
    local kind, more = raw[1], raw[3]
    local is_sound = kind == 'n' and type(more) == 'number' or kind == 'l' and type(more) == 'table'
      or kind ~= 'n' and kind ~= 'l'
    if type(kind) ~= 'string' or type(raw[2]) ~= 'string' or not is_sound then error('no entry of a capability') end
    return {
      kind = kind, text = raw[2], scalar = kind ~= 'l' and kind ~= 'o',
      number = kind == 'n' and more or nil, items = kind == 'l' and documents.set(more) or nil,
    }
  end

  -- The entry of a plain text: how identities and a job's attributes are judged.
  documents.word = documents.remembered(function(text) return entry({'s', 's:' .. text}) end, 4194304)

  local OPERANDS = {
    order = {number = true, string = true}, set = {table = true}, glob = {string = true}, text = {string = true},
    flag = {number = true},
  }

  local PREPARE = {
    order = function(node)
      if type(node.operand) == 'string' then node.version = documents.version(node.operand) end
    end,
    set = function(node) node.set = documents.set(node.operand) end,
    glob = function(node) node.glyphs = documents.glyphs(node.operand) end,
    flag = function(node) node.operand = node.operand == 1 end,
    text = function() end,
  }

  -- A leaf {op, path, operand, number, identity}, with its operand prepared.
  local function leaf(raw, number)
    local kind = documents.operands[raw[1]]
    if not kind then error('unknown operator in a compiled requirement: ' .. tostring(raw[1])) end
    if type(raw[2]) ~= 'string' or not OPERANDS[kind][type(raw[3])] then error('no operand of ' .. raw[1]) end
    local node = {op = raw[1], path = raw[2], operand = raw[3], number = number}
    node.identity = documents.identity_paths[node.path]
    PREPARE[kind](node)
    return node
  end

  -- The tree of a decoded node, numbered from `number` depth first, parent first; answers it and the next free number.
  -- A branch holds its children at 1, 2, ...
  local function tree(raw, number)
    local word = raw[1]
    if word ~= 'all' and word ~= 'any' and word ~= 'none' then return leaf(raw, number), number + 1 end
    local node, free = {op = word, number = number}, number + 1
    for i = 2, #raw do
      node[i - 1], free = tree(raw[i], free)
    end
    return node, free
  end

  -- 'worker.id=s:gpu-1' of a requirement that only workers of that identity can meet; nil of others.
  local function address(requires)
    for i = 1, requires.op == 'all' and #requires or 0 do
      local node = requires[i]
      if node.identity and (node.op == 'is' or node.op == 'eq') then return node.path .. '=' .. node.operand end
    end
  end

  -- What judging a tree costs, in pairs of a plain requirement: a glob costs as much as one, or eight plain conditions.
  local function cost(node)
    if node.op == 'like' then return 1 end
    local sum = (1 + (type(node.operand) == 'table' and #node.operand or 0)) / 8
    for i = 1, #node do sum = sum + cost(node[i]) end
    return sum
  end

  local ISOLATIONS = {none = true, loose = true, strict = true}

  -- What a job asks: {service, isolation, requires = tree, model?, model_path, address?, cost}.
  documents.requirement = documents.remembered(function(text)
    local raw = cjson.decode(text)
    local requires = tree(raw.requires, 0)
    if type(raw.service) ~= 'string' or not ISOLATIONS[raw.isolation] or raw.model and type(raw.model) ~= 'string' then
      error('no service, isolation or model of a compiled requirement')
    end
    return {
      service = raw.service, isolation = raw.isolation, model = raw.model, model_path = 'models.' .. raw.service,
      requires = requires, address = address(requires), cost = cost(requires),
    }
  end, 8388608)

  -- What a job wishes of its worker beyond what it asks: a list of {node = tree, weight}.
  documents.wishes = documents.remembered(function(text)
    local list = {}
    for i, raw in ipairs(cjson.decode(text)) do list[i] = {node = (tree(raw[1], 0)), weight = raw[2] + 0} end
    return list
  end, 4194304)

  -- What a worker has: path → entry.
  documents.capability = documents.remembered(function(text)
    local entries = cjson.decode(text)
    for path, raw in pairs(entries) do entries[path] = entry(raw) end
    return entries
  end, 16777216)

  -- Which jobs a worker takes: a tree over a job's attributes, and its `cost` at the root.
  documents.accepts = documents.remembered(function(text)
    local accepts = tree(cjson.decode(text), 0)
    accepts.cost = cost(accepts)
    return accepts
  end, 4194304)

  -- Who a worker is: path → text.
  documents.identity = documents.remembered(function(text)
    local identity = cjson.decode(text)
    for path, value in pairs(identity) do
      if type(path) ~= 'string' or type(value) ~= 'string' then error('no identity') end
    end
    return identity
  end, 4194304)

  -- A JSON object that only a damaged store could hold otherwise: nothing then.
  function documents.object(text)
    local sound, object = pcall(cjson.decode, text)
    return sound and type(object) == 'table' and object or {}
  end
end

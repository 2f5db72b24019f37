-- Conditions against what was found. The same rules stand in shared/wire/condition.py, version.py, glob.py, nodes.py.
-- Nothing here raises; a test answers true or false, and makes a table only the first time it meets an entry.

do
  -- The answer of a look-up that only a worker, not its class, can give.
  conditions.unknown = {}

  -- Operators that hold where nothing was found.
  conditions.missing = {ne = true, not_in = true, has_none = true}

  -- Does `one` sort before `other`, byte by byte? (`<` on strings follows the server's locale.)
  local function bytes_before(one, other)
    for i = 1, math.min(#one, #other) do
      local mine, theirs = string.byte(one, i), string.byte(other, i)
      if mine ~= theirs then return mine < theirs end
    end
    return #one < #other
  end

  -- -1, 0, 1: how the versions of `documents.version` sort. A part that is missing is 0: rank 0, no digits.
  local function compare_versions(one, other)
    for i = 1, math.max(#one, #other), 2 do
      local rank, text = one[i] or 0, one[i + 1] or ''
      local other_rank, other_text = other[i] or 0, other[i + 1] or ''
      if rank ~= other_rank then return rank < other_rank and -1 or 1 end
      if text ~= other_text then return bytes_before(text, other_text) and -1 or 1 end
    end
    return 0
  end

  -- -1, 0, 1: what was found is below, at or above the operand; nil: they don't compare.
  local function sign(found, node)
    if node.version then
      if found.kind ~= 's' then return nil end
      found.version = found.version or documents.version(string.sub(found.text, 3))
      return compare_versions(found.version, node.version)
    end
    if found.kind ~= 'n' then return nil end
    if found.number == node.operand then return 0 end
    return found.number < node.operand and -1 or 1
  end

  -- Does the whole text fit the glob? Both are glyphs. A failed match goes back to the last star only.
  local function fits(text, glob)
    local at, in_glob, star, resume = 1, 1, nil, nil
    while at <= #text do
      local wanted = glob[in_glob]
      if wanted == '*' then
        star, resume, in_glob = in_glob, at, in_glob + 1
      elseif wanted == '?' or wanted == text[at] then
        at, in_glob = at + 1, in_glob + 1
      elseif star then
        resume = resume + 1
        at, in_glob = resume, star + 1
      else
        return false
      end
    end
    while glob[in_glob] == '*' do in_glob = in_glob + 1 end
    return glob[in_glob] == nil
  end

  -- Does a list hold all of the operand's items?
  local function holds_all(found, node)
    for i = 1, #node.operand do
      if not found.items[node.operand[i]] then return false end
    end
    return true
  end

  -- Does a list hold any of the operand's items?
  local function holds_any(found, node)
    for i = 1, #node.operand do
      if found.items[node.operand[i]] then return true end
    end
    return false
  end

  -- operator → test(found, node); something was found.
  conditions.tests = {
    gt = function(found, node) return sign(found, node) == 1 end,
    gte = function(found, node) return (sign(found, node) or -1) >= 0 end,
    lt = function(found, node) return sign(found, node) == -1 end,
    lte = function(found, node) return (sign(found, node) or 1) <= 0 end,
    is = function(found, node)
      if found.items then return found.items[node.operand] == true end
      return found.text == node.operand
    end,
    covers = function(found, node)
      if found.items then return holds_all(found, node) end
      return found.scalar and node.set[found.text] == true
    end,
    eq = function(found, node) return found.text == node.operand end,
    ne = function(found, node) return found.text ~= node.operand end,
    ['in'] = function(found, node) return found.scalar and node.set[found.text] == true end,
    not_in = function(found, node) return found.scalar and not node.set[found.text] end,
    has_all = function(found, node) return found.items ~= nil and holds_all(found, node) end,
    has_any = function(found, node) return found.items ~= nil and holds_any(found, node) end,
    has_none = function(found, node) return found.items ~= nil and not holds_any(found, node) end,
    like = function(found, node)
      if found.kind ~= 's' then return false end
      found.glyphs = found.glyphs or documents.glyphs(string.sub(found.text, 3))
      return fits(found.glyphs, node.glyphs)
    end,
    exists = function(_, node) return node.operand end,
  }

  -- Does a leaf hold? true, false, or nil: the class can't say.
  local function judge_leaf(node, look_up, facts)
    local found = look_up(facts, node)
    if found == conditions.unknown then return nil end
    if found then return conditions.tests[node.op](found, node) end
    return conditions.missing[node.op] == true or (node.op == 'exists' and not node.operand)
  end

  -- Do all children hold? Answers as conditions.judge; fails by the first failing part.
  local function judge_all(node, look_up, facts)
    local answer = true
    for i = 1, #node do
      local holds, failing = conditions.judge(node[i], look_up, facts)
      if holds == false then return false, failing end
      if holds == nil then answer = nil end
    end
    return answer
  end

  -- Does any child hold? true, false, or nil.
  local function judge_any(node, look_up, facts)
    local answer = false
    for i = 1, #node do
      local holds = conditions.judge(node[i], look_up, facts)
      if holds then return true end
      if holds == nil then answer = nil end
    end
    return answer
  end

  -- Does the tree hold? Answers true, or nil (the class can't say), or false and the number of the first failing node:
  -- an `all` fails by its part, an `any` and a `none` fail themselves.
  -- look_up(facts, node) → entry | nil (nothing there) | conditions.unknown
  function conditions.judge(node, look_up, facts)
    local answer
    if node.op == 'all' then return judge_all(node, look_up, facts) end
    if node.op == 'any' then
      answer = judge_any(node, look_up, facts)
    elseif node.op == 'none' then
      answer = judge_any(node, look_up, facts)
      if answer ~= nil then answer = not answer end
    else
      answer = judge_leaf(node, look_up, facts)
    end
    if answer == false then return false, node.number end
    return answer
  end
end

-- The set x: all lists of live sessions. It must not know what a record contains.
--
-- An entry is KIND, for some kinds NAME \0, then ORDER, HANDLE, \0. No entry is the start of another. A member of a sorted set costs
-- Redis about 60 bytes beside its text, so entries share members, as in the leaves of a B+ tree. A member is a block: FENCE, which has
-- the form of an entry, and entries in any order. A block holds the entries of its kind from its fence up to the fence of the next one;
-- the first of a kind has the lowest possible fence. Blocks sort by their fences. Whatever cannot be read as a block is removed.

-- Bytes from which a block is split, and below which it joins the one before it: about 20 and 5 entries.
local SPLIT, JOIN = 600, 150

local function lowest(kind)
  return kind .. (string.find(kind, '[ui]') and '\0' or '') .. string.rep('\0', 8)
end

-- Returns the position after the entry at a position; nil if there is no entry.
local function behind(block, at)
  if string.find(block, '^[ui]', at) then at = string.find(block, '\0', at, true) end
  local last = at and string.find(block, '\0', at + 8, true)
  return last and last + 1
end

-- Returns the entries of a block, and its fence.
local function opened(block)
  local at, entries = behind(block, 1), {}
  local fence = at and string.sub(block, 1, at - 1)
  while at do
    local after = behind(block, at)
    if after then entries[#entries + 1] = string.sub(block, at, after - 1) end
    at = after
  end
  return entries, fence
end

-- Compares bytes. Lua's own comparison follows the locale of the server.
local function is_before(a, b)
  for at = 1, math.min(#a, #b) do
    local one, other = string.byte(a, at), string.byte(b, at)
    if one ~= other then return one < other end
  end
  return #a < #b
end

-- Returns the last block of a kind up to a bound. Removes what is no block: it has no fence, or no entry.
local function last_block(x, kind, bound)
  while true do
    local block = redis.call('ZREVRANGEBYLEX', x, '[' .. bound, '[' .. kind, 'LIMIT', 0, 1)[1]
    if not block or (behind(block, 1) or #block + 1) <= #block then return block end
    redis.call('ZREM', x, block)
  end
end

-- Returns the block in whose range an entry is.
local function block_of(x, entry)
  return last_block(x, string.sub(entry, 1, 1), entry .. '\255')
end

-- New entries are mostly the first of their kind: the first block keeps little, so that the others are well filled.
local function split(x, block)
  local entries, fence = opened(block)
  table.sort(entries, is_before)
  local kept = math.ceil(#entries / (fence == lowest(string.sub(fence, 1, 1)) and 4 or 2))
  redis.call('ZADD', x, 0, fence .. table.concat(entries, '', 1, kept))
  if kept < #entries then redis.call('ZADD', x, 0, entries[kept + 1] .. table.concat(entries, '', kept + 1)) end
end

local function add(x, entry, block)
  block = block or block_of(x, entry)
  if not block then
    redis.call('ZADD', x, 0, lowest(string.sub(entry, 1, 1)) .. entry)
  elseif not string.find(block, entry, behind(block, 1), true) then
    redis.call('ZREM', x, block)
    if #block + #entry > SPLIT then split(x, block .. entry) else redis.call('ZADD', x, 0, block .. entry) end
  end
end

local function drop(x, entry, block)
  block = block or block_of(x, entry)
  local first = block and behind(block, 1)
  local at = first and string.find(block, entry, first, true)
  if not at then return end
  redis.call('ZREM', x, block)
  local rest = string.sub(block, 1, at - 1) .. string.sub(block, at + #entry)
  if #rest < first then return end
  if #rest < JOIN then
    local before = redis.call('ZREVRANGEBYLEX', x, '(' .. rest, '[' .. string.sub(rest, 1, 1), 'LIMIT', 0, 1)[1]
    if before then
      redis.call('ZREM', x, before)
      rest = before .. string.sub(rest, first)
    end
  end
  redis.call('ZADD', x, 0, rest)
end

-- Replaces an entry by another, or adds it if there was none. Most of a user's and an address's entries stay in their block.
local function move(x, old, new)
  if old == new then return end
  local from, to = old and block_of(x, old), block_of(x, new)
  local at = from and from == to and string.find(from, old, behind(from, 1), true)
  if at then
    redis.call('ZREM', x, from)
    redis.call('ZADD', x, 0, string.sub(from, 1, at - 1) .. new .. string.sub(from, at + #old))
    return
  end
  add(x, new, to)
  if old then drop(x, old, from ~= to and from or nil) end
end

-- Returns the blocks that may hold entries with a prefix: the one before it, and those whose fence has it, at most "most" of them.
local function blocks_with(x, prefix, most)
  local found = redis.call('ZRANGEBYLEX', x, '(' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, most)
  local before = last_block(x, string.sub(prefix, 1, 1), prefix)
  if before then table.insert(found, 1, before) end
  return found
end

-- Returns the entries with a prefix, in any order; if there are more than "most", at least one more.
local function entries_with(x, prefix, most)
  local found = {}
  for _, block in ipairs(blocks_with(x, prefix, most + 1)) do
    for _, entry in ipairs(opened(block)) do
      if string.sub(entry, 1, #prefix) == prefix then found[#found + 1] = entry end
    end
    if #found > most then return found end
  end
  return found
end

-- Removes the entries with a prefix that are true in "over".
local function drop_all(x, prefix, over)
  for _, block in ipairs(blocks_with(x, prefix, -1)) do
    local entries, fence = opened(block)
    local left = {}
    for _, entry in ipairs(entries) do
      if not over[entry] then left[#left + 1] = entry end
    end
    if #left < #entries then
      redis.call('ZREM', x, block)
      if #left > 0 then redis.call('ZADD', x, 0, fence .. table.concat(left)) end
    end
  end
end

-- The set x: all lists of live sessions. It must not know what a record contains.
--
-- An entry is KIND, for some kinds NAME \0, then ORDER, HANDLE, \0. No entry is the start of another. A member of a sorted set costs
-- Redis about 60 bytes beside its text, so entries share members, as in the leaves of a B+ tree. A member is a block: FENCE, which has
-- the form of an entry, and entries in any order. A block holds the entries of its kind from its fence up to the fence of the next one;
-- the first of a kind has the lowest possible fence. Blocks sort by their fences. Whatever cannot be read as a block is removed.

-- Calls a command with any number of arguments: Lua passes on at most 8,000.
local function call_with_all(command, key, arguments)
  for first = 1, #arguments, 2000 do redis.call(command, key, unpack(arguments, first, math.min(first + 1999, #arguments))) end
end

-- Bytes from which a block is split, and below which it joins the one before it: about 20 and 5 entries.
local SPLIT, JOIN = 600, 150

local function lowest(kind)
  return kind .. (string.find(kind, '[ui]') and '\0' or '') .. string.rep('\0', 8)
end

-- Patterns of an entry: of the kinds with a name, and of the others. \0 may be in ORDER only.
local NAMED, UNNAMED = '[^%z]*%z.......[^%z]*%z', '........[^%z]*%z'

local function pattern_of(block)
  local kind = string.sub(block, 1, 1)
  return (kind == 'u' or kind == 'i') and NAMED or UNNAMED
end

-- Returns the position after the fence of a block; nil if there is none.
local function behind_fence(block)
  local _, last = string.find(block, '^' .. pattern_of(block))
  return last and last + 1
end

-- Returns the entries of a block, and its fence.
local function opened(block)
  -- Not with string.gmatch, which would look for an entry from each byte of a long damaged block.
  local pattern, at, entries, fence = '^' .. pattern_of(block), 1, {}, nil
  while true do
    local _, last = string.find(block, pattern, at)
    if not last then return entries, fence end
    if fence then entries[#entries + 1] = string.sub(block, at, last) else fence = string.sub(block, at, last) end
    at = last + 1
  end
end

-- Compares bytes, most of them twelve at a time. Lua's own comparison follows the locale of the server.
local function is_before(a, b)
  local at, last = 1, math.min(#a, #b)
  while at + 11 <= last do
    local one, next_one = struct.unpack('>I6I6', a, at)
    local other, next_other = struct.unpack('>I6I6', b, at)
    if one ~= other then return one < other end
    if next_one ~= next_other then return next_one < next_other end
    at = at + 12
  end
  for place = at, last do
    local one, other = string.byte(a, place), string.byte(b, place)
    if one ~= other then return one < other end
  end
  return #a < #b
end

-- Returns the last block of a kind up to a bound. Removes what is no block: it has no fence, or no entry.
local function last_block(x, kind, bound)
  while true do
    local block = redis.call('ZREVRANGEBYLEX', x, '[' .. bound, '[' .. kind, 'LIMIT', 0, 1)[1]
    if not block or (behind_fence(block) or #block + 1) <= #block then return block end
    redis.call('ZREM', x, block)
  end
end

-- Returns the block in whose range an entry is.
local function block_of(x, entry)
  return last_block(x, string.sub(entry, 1, 1), entry .. '\255')
end

-- Moves the entry that sorting would put at a place there, and those before it to the front: a quarter of the comparisons of sorting.
local function partition(entries, wanted)
  local first, last = 1, #entries
  while first < last do
    local middle, place = math.floor((first + last) / 2), first
    local pivot = entries[middle]
    entries[middle] = entries[last]
    for at = first, last - 1 do
      local entry = entries[at]
      if is_before(entry, pivot) then
        entries[at], entries[place] = entries[place], entry
        place = place + 1
      end
    end
    entries[last] = entries[place]
    entries[place] = pivot
    if place == wanted then return end
    if place < wanted then first = place + 1 else last = place - 1 end
  end
end

-- New entries are mostly the first of their kind: the first block keeps little, so that the others are well filled.
local function split(x, block)
  local entries, fence = opened(block)
  local kept = math.ceil(#entries / (fence == lowest(string.sub(fence, 1, 1)) and 4 or 2))
  partition(entries, kept + 1)
  redis.call('ZADD', x, 0, fence .. table.concat(entries, '', 1, kept))
  if kept < #entries then redis.call('ZADD', x, 0, entries[kept + 1] .. table.concat(entries, '', kept + 1)) end
end

local function add(x, entry, block)
  block = block or block_of(x, entry)
  if not block then
    redis.call('ZADD', x, 0, lowest(string.sub(entry, 1, 1)) .. entry)
  elseif not string.find(block, entry, behind_fence(block), true) then
    redis.call('ZREM', x, block)
    if #block + #entry > SPLIT then split(x, block .. entry) else redis.call('ZADD', x, 0, block .. entry) end
  end
end

local function drop(x, entry, block)
  block = block or block_of(x, entry)
  local first = block and behind_fence(block)
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
  local to = block_of(x, new)
  local at = old and to and string.find(to, old, behind_fence(to), true)
  if at then
    redis.call('ZREM', x, to)
    redis.call('ZADD', x, 0, string.sub(to, 1, at - 1) .. new .. string.sub(to, at + #old))
    return
  end
  add(x, new, to)
  if old then drop(x, old) end
end

-- Returns the blocks that may hold entries with a prefix: the one before it, and those whose fence has it.
local function blocks_with(x, prefix)
  local found = redis.call('ZRANGEBYLEX', x, '(' .. prefix, '(' .. prefix .. '\255')
  local before = last_block(x, string.sub(prefix, 1, 1), prefix)
  if before then table.insert(found, 1, before) end
  return found
end

-- Returns the entries of blocks with a prefix, in any order.
local function entries_with(blocks, prefix)
  local found = {}
  for _, block in ipairs(blocks) do
    for _, entry in ipairs(opened(block)) do
      if string.sub(entry, 1, #prefix) == prefix then found[#found + 1] = entry end
    end
  end
  return found
end

-- Returns the number of entries with a prefix; if there are more than "most", any greater number.
local function count_with(x, prefix, most)
  local before = last_block(x, string.sub(prefix, 1, 1), prefix)
  local total, from = before and #entries_with({before}, prefix) or 0, prefix
  while total <= most do
    local found = redis.call('ZRANGEBYLEX', x, '(' .. from, '(' .. prefix .. '\255', 'LIMIT', 0, 100)
    for place = 1, #found - 1 do
      -- The next fence has the prefix, too, and so has every entry between.
      total = total + #opened(found[place])
    end
    from = found[#found]
    total = total + #entries_with({from}, prefix)
    if #found < 100 then break end
  end
  return total
end

-- Removes the entries that are true in "over" from blocks.
local function drop_all(x, blocks, over)
  local removed, added = {}, {}
  for _, block in ipairs(blocks) do
    local entries, fence = opened(block)
    local left = {}
    for _, entry in ipairs(entries) do
      if not over[entry] then left[#left + 1] = entry end
    end
    if #left < #entries then removed[#removed + 1] = block end
    if #left > 0 and #left < #entries then
      added[#added + 1] = 0
      added[#added + 1] = fence .. table.concat(left)
    end
  end
  call_with_all('ZREM', x, removed)
  call_with_all('ZADD', x, added)
end

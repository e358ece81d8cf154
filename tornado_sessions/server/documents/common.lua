-- The header of what is stored, as a table; nil when it is missing or cannot be read. Damaged lists in it are read as empty.
local function header_of(stored)
  local is_json, header = pcall(cjson.decode, string.match(stored or '', '^[^\n]*'))
  if not is_json or type(header) ~= 'table' then return nil end
  for place = 2, 3 do
    local words = {}
    for _, word in ipairs(type(header[place]) == 'table' and header[place] or {}) do
      if type(word) == 'string' then words[#words + 1] = word end
    end
    header[place] = words
  end
  return header
end

local function has(words, word)
  for _, one in ipairs(words) do
    if one == word then return true end
  end
  return false
end

-- Redis refuses scripts that need memory when it is full, but only at their first write. PERSIST needs none and changes nothing here:
-- behind it, sessions can still be ended, which is recorded first, and jobs can start and proceed.
local function write_even_when_full(key)
  redis.call('PERSIST', key)
end

-- Remove a document or an entry from the index of its tags.
local function untag(index, key, tags)
  for _, tag in ipairs(tags) do redis.call('ZREM', index, tag .. '\0' .. key) end
  redis.call('ZREM', index, '\0' .. key)
end

local function tag_with(index, key, tags)
  for _, tag in ipairs(tags) do redis.call('ZADD', index, 0, tag .. '\0' .. key) end
  redis.call('ZADD', index, 0, '\0' .. key)
end

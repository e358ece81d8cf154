-- Returns the header of a stored document as a table: {revision, tags, names}; nil if it is missing or unreadable. Damaged lists are empty.
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

-- When memory is full, Redis refuses commands that need memory as the first write of a script, but not later. PERSIST is allowed and
-- changes nothing here. With it, operators can still end sessions, which requires writing to the audit log first, and jobs can run.
local function write_even_when_full(key)
  redis.call('PERSIST', key)
end

-- Removes a document from the index of tags. The empty tag lists all documents.
local function untag(index, key, tags)
  for _, tag in ipairs(tags) do redis.call('ZREM', index, tag .. '\0' .. key) end
  redis.call('ZREM', index, '\0' .. key)
end

local function tag_with(index, key, tags)
  for _, tag in ipairs(tags) do redis.call('ZADD', index, 0, tag .. '\0' .. key) end
  redis.call('ZADD', index, 0, '\0' .. key)
end

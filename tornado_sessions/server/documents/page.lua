-- Lists documents by tag. KEYS: documents, tags. ARGV: the range command, its start, its end, the maximum number.
-- Returns alternating keys and documents.
-- If the index has lost entries, it is rebuilt. Entries whose document is missing or no longer has the tag are leftovers of damage and
-- are removed; by pcall, because a replica refuses to write.
if redis.call('ZLEXCOUNT', KEYS[2], '[\0', '(\1') < redis.call('HLEN', KEYS[1]) then
  for _, key in ipairs(redis.call('HKEYS', KEYS[1])) do
    local header = header_of(redis.call('HGET', KEYS[1], key))
    tag_with(KEYS[2], key, header and header[2] or {})
  end
end
local found, start = {}, ARGV[2]
repeat
  local members = redis.call(ARGV[1], KEYS[2], start, ARGV[3], 'LIMIT', 0, ARGV[4] - #found / 2)
  for _, member in ipairs(members) do
    local tag, key = string.match(member, '^(%Z*)%z(.*)$')
    local stored = redis.call('HGET', KEYS[1], key)
    if stored and (tag == '' or has((header_of(stored) or {0, {tag}})[2], tag)) then
      found[#found + 1] = key
      found[#found + 1] = stored
    else
      redis.pcall('ZREM', KEYS[2], member)
    end
    start = '(' .. member
  end
until #members == 0 or #found >= 2 * ARGV[4]
return found

-- KEYS: documents, tags. ARGV: where in the index the page starts, where it ends, how many. Answers: keys and documents in turn.
-- An index entry is removed where the document is gone or has the tag no longer, which damage leaves behind; pcall, since a replica
-- refuses it.
local found, start = {}, ARGV[1]
repeat
  local members = redis.call('ZRANGEBYLEX', KEYS[2], start, ARGV[2], 'LIMIT', 0, ARGV[3] - #found / 2)
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
until #members == 0 or #found >= 2 * ARGV[3]
return found

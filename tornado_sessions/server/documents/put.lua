-- Stores a document. KEYS: documents, tags, names. ARGV: the key, the new header, the new body.
-- Returns 1: stored; 0: another revision is stored; -N: another document has the Nth name.
local key = ARGV[1]
local stored = redis.call('HGET', KEYS[1], key)
local old = stored and header_of(stored) or {0, {}, {}}
local new = cjson.decode(ARGV[2])
if (stored and not header_of(stored)) or old[1] ~= new[1] - 1 then return 0 end
for place, name in ipairs(new[3]) do
  local owner = redis.call('HGET', KEYS[3], name)
  local its = owner and owner ~= key and redis.call('HGET', KEYS[1], owner)
  -- A damaged document keeps its names. An entry whose document is missing or no longer has the name is a leftover of damage.
  if its and has((header_of(its) or {0, {}, {name}})[3], name) then return -place end
end
write_even_when_full(KEYS[1])
untag(KEYS[2], key, old[2])
tag_with(KEYS[2], key, new[2])
for _, name in ipairs(old[3]) do redis.call('HDEL', KEYS[3], name) end
for _, name in ipairs(new[3]) do redis.call('HSET', KEYS[3], name, key) end
redis.call('HSET', KEYS[1], key, ARGV[2] .. '\n' .. ARGV[3])
return 1

-- KEYS: the account by name, the name by address, the names with its role, all names. ARGV: the expected revision, its name.
-- Answers: whether it was removed.
local stored = redis.call('GET', KEYS[1])
if not stored or cjson.decode(stored).revision ~= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SREM', KEYS[3], ARGV[2])
redis.call('ZREM', KEYS[4], ARGV[2])
return 1

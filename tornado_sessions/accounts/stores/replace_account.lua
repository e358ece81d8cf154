-- KEYS: the account by name, the names with its old role, with its new one. ARGV: the expected password hash, the account, its name.
-- Answers: whether it was replaced.
local stored = redis.call('GET', KEYS[1])
if not stored or cjson.decode(stored).password_hash ~= ARGV[1] then return 0 end
redis.call('SREM', KEYS[2], ARGV[3])
redis.call('SADD', KEYS[3], ARGV[3])
redis.call('SET', KEYS[1], ARGV[2])
return 1

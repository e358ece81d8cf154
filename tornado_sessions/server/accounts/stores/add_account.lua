-- KEYS: the account by name, the name by address, the names with its role, all names. ARGV: the account, its name.
-- Answers: what is taken, or ''.
if redis.call('EXISTS', KEYS[1]) == 1 then return 'username' end
if redis.call('EXISTS', KEYS[2]) == 1 then return 'email' end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[2])
redis.call('ZADD', KEYS[4], 0, ARGV[2])
redis.call('SET', KEYS[1], ARGV[1])
return ''

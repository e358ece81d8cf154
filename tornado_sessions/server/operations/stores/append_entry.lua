-- KEYS: the log, the number of its last entry, the indexes that the entry is in. ARGV: its number, the entry.
-- Answers: whether it was the next.
-- Sessions are ended only once that is recorded, so this must work when memory is full. Redis refuses only the first write of a script
-- then; PERSIST needs no memory, and changes nothing here.
redis.call('PERSIST', KEYS[2])
if tonumber(redis.call('GET', KEYS[2]) or '0') ~= tonumber(ARGV[1]) - 1 then return 0 end
for place = 3, #KEYS do redis.call('ZADD', KEYS[place], ARGV[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[1])
return 1

-- KEYS: the documents of a kind. ARGV: the name, the new revision, the revision and what it says. Answers: whether it was stored.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local revision = stored and tonumber(string.match(stored, '^%d+')) or 0
if revision ~= tonumber(ARGV[2]) - 1 then return 0 end
-- Needs no memory, so the write behind it is not refused when memory is full: jobs must begin and go on then.
redis.call('PERSIST', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1

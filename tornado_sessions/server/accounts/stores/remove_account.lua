-- KEYS: the account by name, the name by address, the names with its role, all names. ARGV: the expected revision, its name.
-- Answers: whether it was removed.
local stored = redis.pcall('GET', KEYS[1])
if type(stored) ~= 'string' then return 0 end
local is_whole, account = pcall(cjson.decode, stored)
if not is_whole or type(account) ~= 'table' or account.revision ~= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SREM', KEYS[3], ARGV[2])
redis.call('ZREM', KEYS[4], ARGV[2])
return 1

-- KEYS: the account by name, the name by its old address, the names with its old role, all names, by its new address, with its new role.
-- ARGV: the expected revision, its name, the account. Answers: whether it was replaced; -1 when the new address is another's.
local stored = redis.pcall('GET', KEYS[1])
if type(stored) ~= 'string' then return 0 end
local is_whole, account = pcall(cjson.decode, stored)
if not is_whole or type(account) ~= 'table' or account.revision ~= tonumber(ARGV[1]) then return 0 end
local owner = redis.call('GET', KEYS[5])
if owner and owner ~= ARGV[2] then return -1 end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[5], ARGV[2])
redis.call('SREM', KEYS[3], ARGV[2])
redis.call('SADD', KEYS[6], ARGV[2])
redis.call('SET', KEYS[1], ARGV[3])
return 1

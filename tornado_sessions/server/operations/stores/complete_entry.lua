-- KEYS: what came of the entries. ARGV: the number of the entry, what came of it.
-- As in append_entry.lua, PERSIST lets the write behind it pass when memory is full.
redis.call('PERSIST', KEYS[1])
return redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])

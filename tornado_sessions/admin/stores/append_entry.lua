-- KEYS: the log, the number of its last entry. ARGV: the entry without a number. Answers: its number.
local number = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], number, ARGV[1])
return number

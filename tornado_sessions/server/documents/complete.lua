-- KEYS: the outcomes, the log. ARGV: the number, the outcome.
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 0 end
write_even_when_full(KEYS[1])
return redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])

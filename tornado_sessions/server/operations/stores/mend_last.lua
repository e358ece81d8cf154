-- KEYS: the number of the last entry. ARGV: what it is by the log. Set only while it is no number: another process may have mended it.
if tonumber(redis.call('GET', KEYS[1]) or '') then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1

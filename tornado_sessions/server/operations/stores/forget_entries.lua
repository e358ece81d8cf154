-- KEYS: the log, what came of its entries, the number of its first entry, the indexes. ARGV: the first and the last number to forget.
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  redis.call('HDEL', KEYS[1], number)
  redis.call('HDEL', KEYS[2], number)
end
for place = 4, #KEYS do redis.call('ZREMRANGEBYSCORE', KEYS[place], '-inf', ARGV[2]) end
redis.call('SET', KEYS[3], tonumber(ARGV[2]) + 1)
return 1

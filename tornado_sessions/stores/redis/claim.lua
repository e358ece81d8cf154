-- Returns the number of buckets of the data, and stores it if it is missing. KEYS: the number, the n of the first bucket. ARGV: the
-- number for new data, the number for data of a version that did not store it.
local stored = redis.call('GET', KEYS[1])
if not stored then
  stored = redis.call('EXISTS', KEYS[2]) == 1 and ARGV[2] or ARGV[1]
  redis.call('SET', KEYS[1], stored)
end
return stored

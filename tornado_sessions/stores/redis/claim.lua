-- Returns the layout and the number of buckets of the data, and stores them if they are missing. KEYS: where they are, the n of the
-- first bucket. ARGV: those of new data.
local stored = redis.call('GET', KEYS[1])
if not stored then
  -- The first version did not store them, and had 16 buckets.
  if redis.call('EXISTS', KEYS[2]) == 1 then return '16' end
  stored = ARGV[1]
  redis.call('SET', KEYS[1], stored)
end
return stored

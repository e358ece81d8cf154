-- KEYS: the counts of each hour. ARGV: seconds to keep them, how many arguments each hour has, then for each hour names and numbers.
-- All or nothing, so that what failed can be added again. A damaged count starts again at what is added.
local place = #KEYS + 1
for hour = 1, #KEYS do
  for argument = place + 1, place + ARGV[hour + 1], 2 do
    local done = redis.pcall('HINCRBY', KEYS[hour], ARGV[argument], ARGV[argument + 1])
    if type(done) == 'table' and done.err then redis.call('HSET', KEYS[hour], ARGV[argument], ARGV[argument + 1]) end
  end
  place = place + ARGV[hour + 1]
  redis.call('EXPIRE', KEYS[hour], ARGV[1])
end
return 1

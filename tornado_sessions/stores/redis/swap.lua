-- Replaces a small value if it is still the expected one. KEYS: the value. ARGV: '1' and the expected value, or '' and '' to expect
-- none; '1' and the new value, or '' and '' to remove it; milliseconds to keep it. Returns whether it was replaced, and the value now.
local stored = redis.pcall('GET', KEYS[1])
if type(stored) == 'table' then
  -- A key of another type was not written by this script: treat it as missing.
  if not string.find(stored.err, 'WRONGTYPE', 1, true) then error(stored.err, 0) end
  stored = false
end
local expected = ARGV[1] == '1' and ARGV[2]
if stored ~= expected then return {0, stored} end
if ARGV[3] ~= '1' then
  redis.call('DEL', KEYS[1])
  return {1, false}
end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
return {1, ARGV[4]}

-- Changes counts. KEYS: the counts. ARGV: for each, the amount to add and its time in milliseconds.
-- Returns, for each, its total and the milliseconds until Redis removes it.
local found = {}
for place, key in ipairs(KEYS) do
  local amount, life = tonumber(ARGV[2 * place - 1]), tonumber(ARGV[2 * place])
  local left = redis.call('PTTL', key)
  -- A count without an end, such as one that was restored by hand, would refuse forever: give it one.
  local total = left > 0 and tonumber(redis.call('GET', key)) or 0
  if left <= 0 then left = life end
  total = math.max(0, total + amount)
  if amount ~= 0 then redis.call('SET', key, total, 'PX', left) end
  found[#found + 1] = total
  found[#found + 1] = left
end
return found

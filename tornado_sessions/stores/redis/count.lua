-- Counts the entries of lists. KEYS: the x of each bucket. ARGV: the number up to which to count, then the prefix of each list.
-- Returns the number of entries of each list; if it has more, any greater number.
local most, counts = tonumber(ARGV[1]), {}
for place = 2, #ARGV do
  local total = 0
  for _, x in ipairs(KEYS) do
    if total <= most then total = total + count_with(x, ARGV[place], most - total) end
  end
  counts[place - 1] = total
end
return counts

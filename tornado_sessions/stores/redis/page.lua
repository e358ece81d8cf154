-- Steps along an index. KEYS: the index in each bucket. ARGV: the score after which, the handle after which ('' is the start), how
-- many. Answers: handle and score of as many from each bucket, in order.
local after, name, many = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- The rank behind (after, name). Many sessions may have one score, so among equals the names are searched by halves.
local function rank_after(key)
  if name == '' then return 0 end
  local low = redis.call('ZCOUNT', key, '-inf', '(' .. after)
  local high = low + redis.call('ZCOUNT', key, after, after)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', key, middle, middle)[1] > name then high = middle else low = middle + 1 end
  end
  return low
end

local found = {}
for _, key in ipairs(KEYS) do
  local from = rank_after(key)
  for _, part in ipairs(redis.call('ZRANGE', key, from, from + many - 1, 'WITHSCORES')) do found[#found + 1] = part end
end
return found

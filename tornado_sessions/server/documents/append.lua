-- KEYS: the log, its tags. ARGV: the number, the header, the body. Answers: whether it was the next.
write_even_when_full(KEYS[1])
local last = redis.call('ZREVRANGEBYLEX', KEYS[2], '(\0:', '[\0', 'LIMIT', 0, 1)[1]
if tonumber(last and string.sub(last, 2) or 0) ~= ARGV[1] - 1 then return 0 end
tag_with(KEYS[2], ARGV[1], cjson.decode(ARGV[2])[2])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. '\n' .. ARGV[3])
return 1

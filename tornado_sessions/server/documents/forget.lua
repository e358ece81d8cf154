-- KEYS: the log, its tags, the outcomes. ARGV: the numbers to forget.
for _, number in ipairs(ARGV) do
  local header = header_of(redis.call('HGET', KEYS[1], number))
  untag(KEYS[2], number, header and header[2] or {})
  redis.call('HDEL', KEYS[1], number)
  redis.call('HDEL', KEYS[3], number)
end
return #ARGV

-- Moves everybody's end forward. KEYS: the n of each bucket. ARGV: <d not_before> and the ending, the channel, the event.
-- Answers: whether it moved.
local at, moved = (struct.unpack('<d', ARGV[1])), 0
for _, key in ipairs(KEYS) do
  local stored = redis.call('GET', key)
  if not stored or (struct.unpack('<d', stored)) < at then
    redis.call('SET', key, ARGV[1])
    moved = 1
  end
end
if moved == 1 and ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return moved

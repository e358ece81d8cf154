-- Ends one session in order to move it to another store; publishes no event. KEYS: the session, then the other keys it touches. ARGV:
-- the ending, now. Returns the record, or '' if the session is not live.
local base, handle = split(KEYS[1])
local now, value = (struct.unpack('<d', ARGV[2])), stored_at(KEYS[1])
if not value then return '' end
local r = read(value)
if r.damaged or r.expires <= now or r.created < not_before(base) then return '' end
r.handle, r.ending = handle, ARGV[1]
bury(base, {r}, now)
return value

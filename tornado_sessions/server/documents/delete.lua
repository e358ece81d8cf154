-- Removes a document. KEYS: documents, tags, names. ARGV: the key, the revision or ''. Returns whether it was removed.
-- Tags and names of a damaged document are unknown, so their entries stay; page.lua and put.lua ignore entries without a document.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local header = header_of(stored)
if not stored or (ARGV[2] ~= '' and (not header or header[1] ~= tonumber(ARGV[2]))) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
untag(KEYS[2], ARGV[1], header and header[2] or {})
for _, name in ipairs(header and header[3] or {}) do redis.call('HDEL', KEYS[3], name) end
return 1

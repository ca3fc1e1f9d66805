-- Moves the published mark forward, within the epoch, and only over versions that the caller had
-- confirmed: one below them that nobody confirmed must not be hidden.
-- KEYS 1 meta; ARGV 1 version, 2 epoch, 3 first version confirmed. Returns 1 when there is nothing
-- left to do (it stands there or later, or the session is gone or in another epoch), else 0.
local head = redis.call('HMGET', KEYS[1], 'version', 'epoch', 'published')
local version, published = tonumber(ARGV[1]), tonumber(head[3] or '0') or 0
if not head[1] or head[2] ~= ARGV[2] or version > tonumber(head[1]) or version <= published then
  return 1
end
if published < tonumber(ARGV[3]) - 1 then return 0 end
redis.call('HSET', KEYS[1], 'published', ARGV[1])
return 1

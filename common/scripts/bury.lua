-- Takes away a tombstone whose deletion everybody knows. KEYS 1 meta, then the other keys of the
-- session; ARGV 1 version, 2 epoch. Returns 1, or 0: it is no such tombstone.
local head = redis.call('HMGET', KEYS[1], 'version', 'epoch', 'deleted', 'published')
if head[1] ~= ARGV[1] or head[2] ~= ARGV[2] or head[3] ~= '1' or head[4] ~= ARGV[1] then return 0 end
redis.call('DEL', unpack(KEYS))
return 1

-- The first step of going cold: marks the session, if it is unused, whole, and as its caller saw it.
-- Every save takes the mark away.
-- KEYS 1 meta, 2 devices, 3 presence; ARGV 1 version, 2 epoch, 3 touchedAt, 4 run_id of the node, 5 the
-- mark. Returns BEGUN; USED: somebody is in it, or has to be told about; CHANGED: look again.
local head = redis.call('HMGET', KEYS[1], 'version', 'epoch', 'touchedAt', 'run_id', 'published', 'deleted')
for i = 1, 4 do
  if head[i] ~= ARGV[i] then return 'CHANGED' end
end
if head[5] ~= ARGV[1] or head[6] == '1' then return 'CHANGED' end
if redis.call('HEXISTS', KEYS[2], '#all') == 1 or redis.call('EXISTS', KEYS[3]) == 1 then return 'USED' end
redis.call('HSET', KEYS[1], 'cooling', ARGV[5])
return 'BEGUN'

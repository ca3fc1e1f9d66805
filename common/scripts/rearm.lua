-- After a look: the next one. Whoever armed the session meanwhile, for earlier than the lease's end,
-- keeps that. KEYS 1 attention; ARGV 1 session, 2 end of the lease, 3 next time or 0 for none.
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if at and tonumber(at) == tonumber(ARGV[2]) then
  if ARGV[3] == '0' then
    redis.call('ZREM', KEYS[1], ARGV[1])
  else
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
  end
elseif ARGV[3] ~= '0' then
  redis.call('ZADD', KEYS[1], 'LT', ARGV[3], ARGV[1])
end
return 1

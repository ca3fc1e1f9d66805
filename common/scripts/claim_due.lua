-- Takes a due entry of the attention set by moving it to the end of a lease, if it is where it was
-- seen. KEYS 1 attention; ARGV 1 session, 2 time seen, 3 end of the lease. Returns 1 when it is ours.
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not at or tonumber(at) ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1

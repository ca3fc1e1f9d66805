-- The first create under an idempotency key chooses the session's id; later ones learn it.
-- KEYS 1 claim; ARGV 1 '<session id> <fingerprint>', 2 lifetime (ms). Returns the claim that counts.
local earlier = redis.call('GET', KEYS[1])
if earlier then return earlier end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]

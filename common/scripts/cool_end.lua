-- The last step of going cold, after PostgreSQL has noted it: lets go of the session, if the mark still
-- stands and nobody came. Idempotency keys stay as long as they count.
-- KEYS 1 meta, 2 devices, 3 presence, 4 idem, 5 idem_order, then the other keys of the session
-- ARGV 1 the mark, 2 how long keys count (ms). Returns 1, or 0: it stays.
if redis.call('HGET', KEYS[1], 'cooling') ~= ARGV[1] then return 0 end
if redis.call('HEXISTS', KEYS[2], '#all') == 1 or redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('HDEL', KEYS[1], 'cooling')
  return 0
end
redis.call('PEXPIRE', KEYS[4], ARGV[2])
redis.call('PEXPIRE', KEYS[5], ARGV[2])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], unpack(KEYS, 6))
return 1

-- What an earlier version can be made of again, at one moment: a kept state, and the window's entries
-- after it. The epoch tells whether they are of the session's that was read before.
-- KEYS 1 meta, 2 snapshot, 3 deltas
-- ARGV 1 first entry, 2 last entry, 3 how many at most
-- Returns {epoch, state, entries}; the first two false when they are not there.
return {
  redis.call('HGET', KEYS[1], 'epoch'),
  redis.call('GET', KEYS[2]),
  redis.call('XRANGE', KEYS[3], ARGV[1], ARGV[2], 'COUNT', ARGV[3]),
}

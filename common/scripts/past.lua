-- What an earlier version can be made of again, at one moment: a kept state, and the window's entries
-- after it. The epoch tells whether they are of the session's that was read before, the run_id whether
-- the node is the one that took them.
-- KEYS 1 meta, 2 snapshot, 3 deltas
-- ARGV 1 first entry, 2 last entry, 3 how many at most
-- Returns {{epoch, run_id}, state, entries}; epoch, run_id, state false when they are not there.
return {
  redis.call('HMGET', KEYS[1], 'epoch', 'run_id'),
  redis.call('GET', KEYS[2]),
  redis.call('XRANGE', KEYS[3], ARGV[1], ARGV[2], 'COUNT', ARGV[3]),
}

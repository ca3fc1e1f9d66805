"""Sessions that Redis let go of, made by hand: as the engine does after an hour without use."""

from harness import wait_until

FAR_AHEAD_MS = 4102444800000  # the year 2100


def lose(suite, session_id):
    """Redis forgets it, and nobody said so."""
    redis = suite.redis_client()
    redis.delete(*redis.keys(f"session:{{{session_id}}}:*"))


def cool(suite, session_id):
    """Waits until PostgreSQL has the position that Redis has; then Redis lets go of it. Its entry stays, for a moment far ahead."""
    meta = suite.redis_client().hmget(f"session:{{{session_id}}}:meta", "epoch", "version")
    position = [int(number) for number in meta]
    wait_until(lambda: suite.query("select 1 from sessions where id = %s and (epoch, version) = (%s, %s)",
                                   session_id, *position), what="the position in PostgreSQL")
    suite.query("update sessions set cold_epoch = epoch, cold_version = version where id = %s returning 1", session_id)
    lose(suite, session_id)
    pipeline = suite.redis_client().pipeline(transaction=False)
    for slot in range(64):
        pipeline.zadd(f"attention:{{{slot}}}", {session_id: FAR_AHEAD_MS}, xx=True)
    pipeline.execute()


def age(suite, session_id):
    """As after a failover: another node took the last save."""
    suite.redis_client().hset(f"session:{{{session_id}}}:meta", "run_id", "0" * 40)

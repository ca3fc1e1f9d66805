"""What was deleted long ago goes for good; what was not, stays."""

import subprocess
import uuid

import pytest

from audit import OWNER, Trail, created, delta, event, new_session_id
from harness import BUILD, wait_until

TABLES = ["session_events", "session_snapshots", "session_participants", "session_devices", "session_gaps"]


def tell_whole(trail, n=3):
    """A deleted session with rows in every table; its id."""
    session = new_session_id()
    trail.tell(created(session))
    trail.tell_quickly(*(delta(session, v) for v in range(2, n)))
    trail.tell(event(session, "snapshot", n - 1, data={}, checksum="c"), message_id=str(uuid.uuid4()))
    trail.tell(event(session, "participant_changed", n, participant=str(uuid.uuid4()), role="viewer"))
    trail.tell(event(session, "session_deleted", n + 1))
    trail.settle()
    trail.sql("insert into session_gaps (session_id, epoch, version, told_at) values (%s, 1, 9, now()), (%s, 1, 99, null)",
              session, session)
    return session


def counts(trail, session):
    return [trail.suite.query(f"select count(*) from {t} where session_id = %s", session)[0][0] for t in TABLES]


def delete_before(trail, session, interval):
    trail.sql(f"update sessions set deleted_at = now() - interval '{interval}' where id = %s", session)


def purge(trail):
    """It is looked for at each start."""
    assert trail.suite.terminate("audit_writer") == 0
    trail.suite.restart("audit_writer")


def test_only_what_was_deleted_30_days_ago_goes(trail):
    old, young, alive = tell_whole(trail), tell_whole(trail), tell_whole(trail)
    delete_before(trail, old, "30 days 1 minute")
    delete_before(trail, young, "29 days 23 hours")
    trail.sql("update sessions set deleted_at = null where id = %s", alive)
    before = {s: counts(trail, s) for s in (young, alive)}
    assert all(min(c) > 0 for c in before.values()) and min(counts(trail, old)) > 0
    purge(trail)
    wait_until(lambda: counts(trail, old) == [0] * len(TABLES), what="nothing left")
    wait_until(lambda: trail.metric("handoff_audit_purged_total") == 1, what="the count")
    assert {s: counts(trail, s) for s in (young, alive)} == before
    [row] = trail.suite.query("select to_jsonb(s) from sessions s where id = %s", old)
    kept = {k: v for k, v in row[0].items() if v is not None}
    assert kept.keys() == {"id", "user_id", "version", "epoch", "created_at", "updated_at", "deleted_at", "purged_at",
                           "name_position", "status_position", "data_position", "last_active_position", "clock_position",
                           "clock_runs"}
    assert kept["user_id"] == str(uuid.UUID(int=0)) and (kept["epoch"], kept["version"]) == (1, 4)
    assert trail.suite.query("select user_id::text, name from sessions where id = %s", young) == [(OWNER, "A")]


def test_a_large_one_goes_in_steps(trail):
    session = tell_whole(trail, 2500)
    delete_before(trail, session, "31 days")
    n = len(trail.logged("purged"))
    purge(trail)
    wait_until(lambda: len(trail.logged("purged")) == n + 1, what="the end")
    assert counts(trail, session) == [0] * len(TABLES) and trail.logged("purged")[-1]["sessions"] == 1


def test_0_keeps_all(new_realm, tmp_path):
    trail = Trail(new_realm(), tmp_path / "log", HANDOFF_PURGE_AFTER="0s")
    try:
        session = tell_whole(trail)
        delete_before(trail, session, "3000 days")
        purge(trail)
        trail.settle()
        assert min(counts(trail, session)) > 0
    finally:
        trail.stop()


@pytest.mark.parametrize("value,good", [("0s", True), ("24h", True), ("720h", True), ("1439m", False), ("1ms", False)])
def test_less_than_a_day_is_a_mistake(value, good):
    done = subprocess.run([BUILD / "bin" / "audit_writer", "--check-config"], capture_output=True, text=True,
                          env={"HANDOFF_PURGE_AFTER": value})
    assert done.returncode == (0 if good else 2) and good == (not done.stderr)
    assert good or "24h" in done.stderr

"""Versions that never came to the audit queue: taken from Redis' delta window, or told, once."""

import json
import pathlib
import uuid

import pytest

from audit import EVENTS, Trail, created, delta, event, new_session_id
from harness import wait_until
from rest import accepted
from window import window_of

BLIND = "redis://127.0.0.1:1/0"  # nobody is there
EXAMPLE = pathlib.Path(__file__).parents[2] / "proto/examples/session.clock.json"


def wait_versions(trail, session, versions):
    wait_until(lambda: trail.versions(session) == versions, what=f"versions {versions}")


def gaps_of(trail, session):
    return [(r["epoch"], r["from"], r["to"]) for r in trail.logged("audit_gap") if r["sessionId"] == session]


def wait_gaps(trail, session, gaps):
    wait_until(lambda: sorted(gaps_of(trail, session)) == gaps, what=f"the alarms {gaps}")


def test_what_was_lost_is_taken_from_the_window(trail):
    session, before = new_session_id(), trail.metric("handoff_audit_refilled_total")
    told = [created(session), *(delta(session, v) for v in range(2, 11))]
    trail.keep(*told)
    trail.tell(told[0], told[1], told[4], told[9])
    wait_versions(trail, session, list(range(1, 11)))
    rows = trail.suite.query("select message_id, payload from session_events where session_id = %s "
                             "order by version", session)
    assert rows == [(f"{session}:1:{e['version']}", e) for e in told]
    assert trail.metric("handoff_audit_refilled_total") >= before + 6
    wait_until(lambda: any(r["sessionId"] == session for r in trail.logged("audit_gap_filled")), what="the record")
    assert gaps_of(trail, session) == []
    assert trail.suite.query("select version, checksum from sessions where id = %s", session) == [(10, "c10")]


def test_a_turn_that_was_lost_is_taken_from_the_window(trail):
    session, clock = new_session_id(), json.loads(EXAMPLE.read_text())["clock"]
    told = [created(session), event(session, "clock_switched", 2, **{"from": "black"}, to="white", elapsedMs=5, clock=clock),
            delta(session, 3)]
    trail.keep(*told)
    trail.tell(told[0], told[2])
    wait_versions(trail, session, [1, 2, 3])
    assert trail.suite.query("select clock, clock_runs from sessions where id = %s", session) == [
        (clock, clock["cycleStartedAt"] is not None)]


def test_what_a_rebuild_remembers_comes_with_it(trail):
    """The command and its key, from the entry: else they could take effect a second time after a loss of Redis."""
    session, command, key, fingerprint = new_session_id(), str(uuid.uuid4()), "ab" * 32, "cd" * 32
    told = [created(session), delta(session, 2), delta(session, 3)]
    trail.keep(told[0], c="")
    trail.keep(told[1], c=command, k=key, f=fingerprint)
    trail.tell(told[2])
    wait_versions(trail, session, [1, 2, 3])
    rows = trail.suite.query("select command_id::text, key_hash, fingerprint from session_events "
                             "where session_id = %s order by version", session)
    assert rows == [(None, None, None), (command, key, fingerprint), (None, None, None)]


def test_more_than_one_read_brings(trail):
    session = new_session_id()
    told = [created(session), *(delta(session, v) for v in range(2, 252))]
    trail.keep(*told)
    trail.tell(told[-1])
    wait_versions(trail, session, list(range(1, 252)))
    assert gaps_of(trail, session) == []


def test_what_is_nowhere_is_told_once(trail):
    session, before = new_session_id(), trail.metric("handoff_audit_gaps_total")
    trail.keep(*(delta(session, v) for v in range(6, 11)))
    trail.tell(created(session), delta(session, 2), delta(session, 10))
    wait_versions(trail, session, [1, 2, 6, 7, 8, 9, 10])
    wait_gaps(trail, session, [(1, 3, 5)])
    trail.tell(delta(session, 10), delta(session, 6))
    # Told of another gap at the end, it has looked at all before.
    trail.tell(delta(session, 12))
    wait_gaps(trail, session, [(1, 3, 5), (1, 11, 11)])
    assert trail.metric("handoff_audit_gaps_total") == before + 2


def test_what_comes_late_is_no_gap(trail):
    session = new_session_id()
    trail.tell(created(session), delta(session, 3), delta(session, 5))
    trail.settle()
    trail.tell(delta(session, 2), delta(session, 4))
    trail.tell(delta(session, 7))
    wait_gaps(trail, session, [(1, 6, 6)])
    assert trail.versions(session) == [1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize("type", ["snapshot", "device_joined"])
def test_an_event_without_a_version_tells_of_the_one_it_carries(trail, type):
    session = new_session_id()
    told = [created(session), delta(session, 2), delta(session, 3)]
    trail.keep(*told)
    more = {"data": {}, "checksum": "c3"} if type == "snapshot" else {}
    trail.tell(told[0], event(session, type, 3, **more), message_id=str(uuid.uuid4()))
    wait_until(lambda: set(trail.versions(session)) == {1, 2, 3}, what="the versions")
    assert gaps_of(trail, session) == []


def test_an_epoch_follows_its_rebuild(trail):
    session = new_session_id()
    rebuilt = event(session, "session_rebuilt", 2, epoch=2, checksum="c2")
    trail.tell(created(session), delta(session, 2))
    trail.tell(rebuilt, message_id=str(uuid.uuid4()))
    trail.tell(delta(session, 3, epoch=2))
    trail.tell(delta(session, 5, epoch=2))
    wait_gaps(trail, session, [(2, 4, 4)])


def test_a_lost_rebuild_is_taken_from_the_window(trail):
    session = new_session_id()
    told = [event(session, "session_rebuilt", 2, epoch=2, checksum="c2"), delta(session, 3, epoch=2)]
    trail.keep(*told)
    trail.tell(created(session), delta(session, 2))
    trail.tell(told[1])
    wait_until(lambda: trail.suite.query(
        "select payload from session_events where session_id = %s and type = 'session_rebuilt'",
        session) == [(told[0],)], what="the row")
    assert gaps_of(trail, session) == []


def test_another_epochs_window_fills_nothing(trail):
    session = new_session_id()
    trail.keep(delta(session, 2, epoch=2))
    trail.tell(created(session), delta(session, 3))
    wait_gaps(trail, session, [(1, 2, 2)])
    assert trail.versions(session) == [1, 3]


def start_again(trail, redis_url):
    trail.suite.services["audit_writer"].env["HANDOFF_REDIS_URL"] = redis_url
    trail.suite.restart("audit_writer")


def open_gaps(trail):
    return trail.suite.query("select count(*) from session_gaps where told_at is null")[0][0]


def test_what_was_suspected_outlives_who_suspected_it(new_realm, tmp_path):
    """Killed or ended before it has looked: the next one needs no event that tells of it."""
    trail = Trail(new_realm(), tmp_path / "log", HANDOFF_REDIS_URL=BLIND)
    try:
        def suspect():
            session = new_session_id()
            told = [created(session), *(delta(session, v) for v in range(2, 10))]
            trail.keep(*told)
            trail.tell(told[0], told[1], told[4], told[8])
            trail.settle()
            assert trail.versions(session) == [1, 2, 5, 9]
            return session
        killed = suspect()
        trail.suite.kill("audit_writer")
        start_again(trail, BLIND)
        ended = suspect()
        assert trail.suite.terminate("audit_writer") == 0
        start_again(trail, trail.realm.redis.url)
        for session in (killed, ended):
            wait_versions(trail, session, list(range(1, 10)))
        wait_until(lambda: open_gaps(trail) == 0, what="nothing more that is looked for")
        assert trail.logged("audit_gap") == []
    finally:
        trail.stop()


def test_without_redis_it_is_ready_and_gaps_wait(new_realm, tmp_path):
    realm = new_realm()
    trail = Trail(realm, tmp_path / "log", HANDOFF_REDIS_URL=BLIND)
    try:
        assert trail.dependencies() == {"rabbitmq": True, "postgresql": True, "redis": False}
        session = new_session_id()
        trail.tell(created(session), delta(session, 3))
        trail.settle()
        assert trail.versions(session) == [1, 3] and trail.logged("audit_gap") == []
        # 4096 are looked for at a time, and no more; the others wait in PostgreSQL.
        trail.tell_quickly(*(delta(new_session_id(), 2) for _ in range(4095)))
        trail.settle()
        assert trail.metric("handoff_audit_gaps_unchecked_total") == 0
        trail.tell(*(delta(new_session_id(), 2) for _ in range(600)))
        trail.settle()
        assert trail.metric("handoff_audit_gaps_unchecked_total") == 600 and open_gaps(trail) == 4696
        # The next one looks for all of them, page by page, and tells each once.
        assert trail.suite.terminate("audit_writer") == 0
        start_again(trail, realm.redis.url)
        wait_until(lambda: open_gaps(trail) == 0, what="all of them told")
        wait_until(lambda: trail.metric("handoff_audit_gaps_total") == 4696, what="the count")
        assert len({r["sessionId"] for r in trail.logged("audit_gap")}) == len(trail.logged("audit_gap")) == 4696
        assert trail.metric("handoff_audit_gaps_unchecked_total") == 0
        # What was told is not told again by whoever comes next, also when the event that showed it comes again.
        trail.suite.kill("audit_writer")
        trail.suite.restart("audit_writer")
        trail.tell(delta(session, 3), delta(session, 5))
        wait_gaps(trail, session, [(1, 2, 2), (1, 4, 4)])
        assert trail.metric("handoff_audit_gaps_total") == 1
    finally:
        trail.stop()


def test_a_purged_audit_queue_is_made_good_by_the_window(own_suite, user):
    """The whole way: engines' own window, nothing but the last change comes through the queue."""
    suite = own_suite()
    device = suite.device(user, "phone")
    session = device.create({})
    suite.kill("audit_writer")
    for n in range(10):
        accepted(device.patch(session["id"], [{"op": "add", "path": f"/data/k{n}", "value": n}]))
    with suite.amqp() as connection:
        channel = connection.channel()
        wait_until(lambda: channel.queue_declare(EVENTS, passive=True).method.message_count >= 10,
                   what="the events in the queue")
        channel.queue_purge(EVENTS)
    suite.restart("audit_writer")
    accepted(device.patch(session["id"], [{"op": "add", "path": "/data/last", "value": 1}]), version=12)
    wait_until(lambda: [v for v, _, _ in suite.events_in_postgresql(session["id"])] == list(range(1, 13)),
               what="all versions")
    payloads = {v: p for v, _, p in suite.events_in_postgresql(session["id"])}
    kept = {e["version"]: e for e in window_of(suite.redis_client(), session["id"])}
    assert {v: payloads[v] for v in kept} == kept and len(kept) >= 11

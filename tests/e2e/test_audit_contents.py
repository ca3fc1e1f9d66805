"""One message id has one content. The first that was written stays; another one is a dead letter."""

import json
import secrets
import uuid

import pytest

from audit import DEAD, created, delta, event, new_session_id


@pytest.fixture(autouse=True)
def nothing_else_is_put_away(trail):
    yield
    trail.settle()
    assert trail.n_messages(DEAD) == 0


def payloads(trail, session):
    return [row[0] for row in trail.suite.query(
        "select payload from session_events where session_id = %s order by epoch, version, type", session)]


def expect_dead(trail, dead):
    properties, body = trail.take(DEAD)
    assert json.loads(body) == dead and "another content" in properties.headers["reason"]
    return properties.headers


@pytest.mark.parametrize("together", [True, False])
def test_a_second_content_is_put_away_and_told(trail, together):
    session = new_session_id()
    first, second, third = delta(session, 2), delta(session, 2, rebased=True), event(session, "session_deleted", 2)
    before, n = trail.metric("handoff_audit_two_contents_total"), len(trail.logged("audit_two_contents"))
    trail.tell(created(session), first)
    if not together:
        trail.settle()
    trace_id, command_id = secrets.token_hex(16), str(uuid.uuid4())
    headers = {"traceparent": f"00-{trace_id}-{'1' * 16}-00", "commandId": command_id}
    trail.tell(second, third, headers=headers)
    trail.tell(delta(session, 3))
    trail.settle()
    assert payloads(trail, session) == [created(session), first, delta(session, 3)]
    assert expect_dead(trail, second)["traceparent"] == headers["traceparent"], "put back, it goes on in its trace"
    expect_dead(trail, third)
    assert trail.metric("handoff_audit_two_contents_total") == before + 2
    records = trail.logged("audit_two_contents")[n:]
    assert [(r["level"], r["sessionId"], r["version"]) for r in records] == [("error", session, 2)] * 2
    put_away = trail.logged("audit_dead_letter")[-2:]
    assert {(r["sessionId"], r["commandId"], r["trace_id"]) for r in records + put_away} == {(session, command_id, trace_id)}


def test_the_same_again_is_no_second_content(trail):
    session = new_session_id()
    told = [created(session), delta(session, 2), delta(session, 3)]
    trail.tell(*told)
    trail.settle()
    trail.tell(*told, *told)
    trail.settle()
    assert payloads(trail, session) == told


def test_a_snapshot_is_compared_as_it_is_kept(trail):
    """Without its data, whose checksum stays in the row."""
    session, name = new_session_id(), "0197aaaa-0000-4000-8000-00000000000a"
    snapshot = event(session, "snapshot", 2, data={"n": 1}, checksum="c2")
    trail.tell(created(session), delta(session, 2))
    for _ in range(2):
        trail.tell(snapshot, snapshot, message_id=name)
        trail.settle()
    other = {**snapshot, "data": {"n": 2}, "checksum": "c3"}
    trail.tell(other, message_id=name)
    trail.settle()
    expect_dead(trail, other)
    assert trail.suite.query("select data from session_snapshots where session_id = %s", session) == [({"n": 1},)]


def test_who_came_may_be_told_again_in_other_words(trail):
    session, name = new_session_id(), "0197aaaa-0000-4000-8000-00000000000b"
    joined = event(session, "device_joined", 1, activeDeviceId=None, name=None, platform=None, deviceCount=1)
    trail.tell(created(session))
    trail.tell(joined, message_id=name)
    trail.settle()
    trail.tell({**joined, "deviceCount": 2}, message_id=name)
    trail.settle()
    assert payloads(trail, session) == [joined, created(session)]

"""Streams that resume: Last-Event-ID, or since and epoch. Contract section 4: exactly what was missed, in
order, then what happens, without a gap or a double."""

import threading

import pytest

from sse import Ended, Stream
from ws import Mirror, set_to, subscribed


def patch_all(device, session, versions):
    for n in versions:
        assert device.json_patch(session["id"], set_to("n", n)).json()["version"] == n


@pytest.fixture
def session(phone):
    """At version 10."""
    session = phone.create({"n": 0})
    patch_all(phone, session, range(2, 11))
    return session


@pytest.mark.parametrize("query, header", [
    ("", "1:4"), ("?since=4&epoch=1", None), ("?since=4", None), ("?since=9&epoch=7", "1:4")])
def test_exactly_what_was_missed_then_what_happens(phone, session, query, header):
    with Stream(phone, session["id"], query, Last_Event_ID=header) as stream:
        stream.expect("hello")
        stream.expect("subscribed", sessionId=session["id"], epoch=1, version=10, replayed=6)
        # Who is cut off here has not seen the missed events yet.
        assert stream.last_id == "1:4"
        for n in range(5, 11):
            stream.expect("state_delta", version=n, operations=set_to("n", n))
        patch_all(phone, session, [11, 12])
        stream.expect("state_delta", version=11), stream.expect("state_delta", version=12)
        assert stream.last_id == "1:12"


def test_nothing_was_missed(phone, session):
    with Stream(phone, session["id"], Last_Event_ID="1:10") as stream:
        stream.expect("hello")
        stream.expect("subscribed", version=10, replayed=0)
        assert stream.last_id == "1:10"
        patch_all(phone, session, [11])
        stream.expect("state_delta", version=11)


@pytest.mark.parametrize("position, reason", [("1:11", "ahead"), ("2:10", "epoch"), ("2:3", "epoch"),
                                              ("1:9007199254740991", "ahead")])
def test_a_position_that_is_not_the_sessions_gets_the_state(phone, session, position, reason):
    with Stream(phone, session["id"], Last_Event_ID=position) as stream:
        stream.expect("hello")
        stream.expect("state_sync", version=10, reason=reason)
        assert stream.last_id == "1:10"


def test_a_stream_goes_on_where_a_websocket_ended(phone, session):
    with subscribed(phone, session["id"]) as socket:
        assert socket.sync["version"] == 10
        patch_all(phone, session, [11])
        version = socket.expect("state_delta")["version"]
    patch_all(phone, session, [12, 13])
    with Stream(phone, session["id"], Last_Event_ID=f"1:{version}") as stream:
        stream.expect("hello")
        stream.expect("subscribed", replayed=2)
        stream.expect("state_delta", version=12), stream.expect("state_delta", version=13)


def resume(device, session, mirror, last_id):
    """A stream from last_id on ("": from nothing); its events are mirrored."""
    stream = Stream(device, session["id"], Last_Event_ID=last_id or None)
    stream.expect("hello")
    if last_id:
        stream.expect("subscribed")
    else:
        mirror.take(stream.expect("state_sync"))
    return stream


def test_again_and_again_while_writes_go_on(suite, user, phone):
    session, n = phone.create({"n": 0}), 200
    laptop = suite.device(user, "laptop")
    writer = threading.Thread(target=patch_all, args=(laptop, session, range(2, n + 2)))
    writer.start()
    mirror, last_id, n_streams = Mirror(), "", 0
    while mirror.version < n + 1:
        with resume(phone, session, mirror, last_id) as stream:
            n_streams += 1
            for _ in range(3):
                if mirror.version < n + 1:
                    mirror.take(stream.recv())
            last_id = stream.last_id
            assert last_id == f"1:{mirror.version}"
    writer.join()
    assert n_streams > 10 and len(mirror.syncs) == 1
    assert mirror.versions == list(range(mirror.syncs[0][1] + 1, n + 2))
    assert mirror.session["data"] == phone.read(session["id"])["data"]


def test_after_the_instance_died(own_suite, user):
    own = own_suite()
    phone = own.device(user, "phone")
    session = phone.create({"n": 0})
    mirror = Mirror()
    stream = resume(phone, session, mirror, "")
    patch_all(phone, session, [2, 3])
    mirror.take(stream.recv()), mirror.take(stream.recv())
    own.kill("ws_fanout")
    with pytest.raises(Ended):
        stream.recv()
    patch_all(phone, session, [4, 5])
    own.restart("ws_fanout")
    with resume(phone, session, mirror, stream.last_id) as stream:
        mirror.take(stream.recv()), mirror.take(stream.recv())
    assert mirror.version == 5 and len(mirror.syncs) == 1

"""Point 1: from one position on, by whatever way, at whatever instance: the same events."""

import threading

import pytest

from contract_client import App, Copy, EPHEMERAL, Ended, Refused, follow
from harness import new_user, wait_until


@pytest.fixture
def app(suite, user):
    return App(suite, user, "phone")


def by_websocket(app, session_id, mine):
    connection = app.websocket(session_id, since=mine.version, epoch=mine.epoch)
    told = connection.expect("subscribed", epoch=mine.epoch, sessionId=session_id)
    return connection, told["version"], told["replayed"]


def by_stream(app, session_id, mine):
    connection = app.stream(session_id, last_id=f"{mine.epoch}:{mine.version}")
    told = connection.expect("subscribed", sessionId=session_id)
    assert connection.last_id == f"{mine.epoch}:{mine.version}", "what follows has not been seen yet"
    return connection, told["version"], told["replayed"]


def by_stream_query(app, session_id, mine):
    connection = app.stream(session_id, since=mine.version, epoch=mine.epoch)
    told = connection.expect("subscribed")
    return connection, told["version"], told["replayed"]


class Listed:
    """GET …/deltas as if it were a connection."""

    def __init__(self, items):
        self.items = iter(items)

    def recv(self):
        return next(self.items)

    def close(self):
        pass


def by_deltas(app, session_id, mine):
    items, complete = app.deltas(session_id, mine.version, mine.epoch)
    assert complete
    return Listed(items), items[-1]["version"] if items else mine.version, len(items)


WAYS = [by_websocket, by_stream, by_stream_query, by_deltas]


@pytest.fixture(scope="module")
def eventful(suite):
    """A session with an event of every versioned kind that leaves it there; (owner, editor, id)."""
    owner, editor = App(suite, new_user(), "phone"), App(suite, new_user(), "tablet")
    clock = {"mode": "per_participant", "totalTimeMs": 3600000, "onTimeout": {"action": "notify"},
             "participants": [{"participantId": "a"}, {"participantId": "b", "totalTimeMs": 1000}]}
    s = owner.create({"list": [1, 2], "a/b": {"~": 0}}, status="pending", clock=clock)["id"]
    owner.ok("PUT", f"/sessions/{s}/clock", {**clock, "incrementMs": 1000})
    owner.status(s, "active")
    owner.share(s, editor.user, "viewer")
    owner.share(s, editor.user, "editor")
    owner.write(s, {"op": "add", "path": "/data/list/-", "value": {"ü": "😀"}},
                {"op": "move", "from": "/data/list/0", "path": "/data/a~1b/~0"},
                {"op": "test", "path": "/data/a~1b/~0", "value": 1},
                {"op": "copy", "from": "/data/list/1", "path": "/data/list/0"},
                {"op": "remove", "path": "/data/list/1"})
    editor.ok("PATCH", f"/sessions/{s}", None, data='{"name":"Noon","data":{"gone":null,"n":1e15}}',
              headers={"Content-Type": "application/merge-patch+json"})
    editor.ok("POST", f"/sessions/{s}/switch", {"currentParticipantId": "a"})
    wait_until(lambda: owner.read(s)["clock"]["participants"][1]["hasExpired"], what="b's time up")
    owner.ok("POST", f"/sessions/{s}/clock/a", {"adjustMs": 1000, "reason": "r"})
    editor.status(s, "active")
    owner.status(s, "paused")
    owner.write(s, {"op": "replace", "path": "/data", "value": [0.1, -0.0, 0.25, 2.5e15]})
    owner.ok("DELETE", f"/sessions/{s}/devices/old")
    owner.ok("PUT", f"/sessions/{s}/devices/old")
    owner.ok("POST", f"/sessions/{s}/restore", {"version": 4})
    owner.status(s, "active")
    owner.unshare(s, new_user())  # had none: no version
    owner.status(s, "completed")
    return owner, editor, s


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("who", ["owner", "editor"])
def test_every_position_leads_to_the_same_session(eventful, way, who):
    owner, editor, s = eventful
    reader = owner if who == "owner" else editor
    now, (events, complete) = reader.read(s), owner.deltas(s, 0)
    assert complete and [e["version"] for e in events] == list(range(1, now["version"] + 1))
    mine = Copy(reader.user)
    mine.take(events[0])
    mine.session["role"] = None if who == "editor" else "owner"  # events know who they are for only later
    for event in events[1:] + [None]:
        theirs = Copy(reader.user, mine.session)
        connection, version, n = way(reader, s, theirs)
        assert (version, n) == (now["version"], now["version"] - theirs.version)
        follow(connection, theirs, version).agrees_with(now)
        assert theirs.syncs == [] and len(theirs.versions) == n
        connection.close()
        if event:
            mine.take(event)


def test_from_zero_even_the_creation_is_told(eventful):
    owner, _, s = eventful
    with owner.websocket() as ws, owner.stream(s, since=0) as stream:
        told = ws.ask("subscribe", sessionId=s, since=0)
        assert told["type"] == "subscribed" and told["replayed"] == told["version"]
        assert stream.expect("subscribed")["replayed"] == told["replayed"]
        copies = [Copy(owner.user) for _ in range(2)]
        for connection, mine in zip((ws, stream), copies):
            mine.take(connection.expect("session_created", version=1))
            follow(connection, mine, told["version"]).agrees_with(owner.read(s))


@pytest.mark.parametrize("since, epoch, reason", [(1, 0, None), (0, 1, "ahead"), (0, 2, "epoch"), (-1, 2, "epoch"),
                                                  (2**53 - 1, 1, "ahead")])
def test_what_is_no_usable_position_is_told_alike_everywhere(app, since, epoch, reason):
    s = app.create({"n": 1})["id"]
    now = app.set(s, "n", 2)
    since = min(max(0, now + since if reason != "ahead" else now + max(1, since)), 2**53 - 1)
    if not reason:
        for refused in (lambda: app.websocket(s, since=since, epoch=epoch),
                        lambda: app.stream(s, since=since, epoch=epoch),
                        lambda: app.stream(s, last_id=f"{epoch}:{since}")):
            with pytest.raises(Refused) as answer:
                refused()
            assert answer.value.status in (400, 422)
        assert app.call("GET", f"/sessions/{s}/deltas?since={since}&epoch={epoch}").status_code == 422
        return
    with app.websocket(s, since=since, epoch=epoch) as ws:
        assert Copy(app.user).take(ws.expect("state_sync", reason=reason)).agrees_with(app.read(s))
        again = ws.ask("subscribe", sessionId=s, since=since, epoch=epoch)
        assert (again["type"], again["reason"]) == ("state_sync", reason)
    with app.stream(s, last_id=f"{epoch}:{since}") as stream:
        stream.expect("state_sync", reason=reason)
        assert stream.last_id == f"1:{now}"
    assert app.deltas(s, since, epoch) == ([], False)


def test_a_connection_that_never_got_an_event_goes_on_from_its_state(app):
    """state_sync only, then subscribed only, then lost: each is a position."""
    s = app.create({"n": 0})["id"]
    connection, mine = app.watch(s)
    connection.close()
    with app.websocket(s, since=mine.version) as ws:  # epoch: 1 by default
        position = ws.expect("subscribed", replayed=0)
    app.set(s, "n", 1)
    with app.stream(s, last_id=f"{position['epoch']}:{position['version']}") as stream:
        assert stream.expect("subscribed")["replayed"] == 1
        follow(stream, mine, 2).agrees_with(app.read(s))
        assert stream.last_id == "1:2"


def test_a_stream_of_broadcasts_only_keeps_its_position(app, suite):
    """Messages without an id leave Last-Event-ID as it was."""
    laptop = App(suite, app.user, "laptop")
    s = app.create()["id"]
    with laptop.stream(s) as stream:
        stream.expect("state_sync")
        for n in range(3):
            app.ok("POST", f"/sessions/{s}/broadcast", {"message": n})
        assert [stream.expect("broadcast")["message"] for _ in range(3)] == [0, 1, 2]
        position = stream.last_id
    assert position == "1:1"
    app.set(s, "n", 1)
    with laptop.stream(s, last_id=position) as stream:
        assert stream.expect("subscribed", replayed=1) and stream.expect("state_delta", version=2)


def test_a_position_is_good_again_and_again_in_one_connection(app):
    s = app.create()["id"]
    last = [app.set(s, "n", n) for n in range(20)][-1]
    with app.websocket() as ws:
        for since in (0, last, 10, 10, 1):
            told = ws.ask("subscribe", sessionId=s, since=since)
            assert (told["type"], told["replayed"], ws.events) == ("subscribed", last - since, [])
            assert [ws.recv()["version"] for _ in range(last - since)] == list(range(since + 1, last + 1))
        app.set(s, "n", "end")
        ws.expect("state_delta", version=last + 1)
        assert ws.silent() == []


def test_one_copy_on_its_way_through_instances_and_protocols(app, own_fanout):
    """Writes go on all the time; an instance is killed under the copy, which goes on at the next one by
    another way. Nothing is missed, nothing comes twice, no state is needed."""
    s = app.create({"n": 0})["id"]
    connection, mine = app.watch(s)
    stop, acked = threading.Event(), [1]

    def write():
        while not stop.is_set():
            acked.append(app.set(s, "n", acked[-1]))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        connection.close()
        for binding, way in [("all", by_websocket), ("session", by_stream), ("session", by_websocket),
                             ("all", by_stream_query)]:
            fanout = own_fanout(HANDOFF_FANOUT_BINDING=binding)
            connection, version, _ = way(app.at(fanout), s, mine)
            follow(connection, mine, version + 5)
            fanout.kill("ws_fanout")
            with pytest.raises((Ended, OSError)):
                while True:
                    mine.take(connection.recv())
            connection.close()
    finally:
        stop.set()
        writer.join()
    connection, version, _ = by_deltas(app, s, mine)
    follow(connection, mine, version).agrees_with(app.read(s))
    assert mine.version == acked[-1] and mine.versions == list(range(2, mine.version + 1))
    assert len(mine.syncs) == 1 and all(o["type"] in EPHEMERAL for o in mine.others)


def test_commands_without_an_answer_are_sent_again_at_another_instance(app, own_fanout):
    """What the documents tell a client to do after a lost connection: its keys make it once."""
    fanout = own_fanout()
    s = app.create({"list": []})["id"]
    keys = [f"k{n}" for n in range(30)]

    def send(ws, key):
        ws.send(type="patch", id=key, key=key, sessionId=s,
                operations=[{"op": "add", "path": "/data/list/-", "value": key}])

    with app.at(fanout).websocket(s) as ws:
        ws.expect("state_sync")
        for key in keys:
            send(ws, key)
        ws.recv()
        fanout.kill("ws_fanout")
    mine = Copy(app.user, app.read(s))
    with app.websocket(s, since=mine.version) as ws:
        ws.expect("subscribed")
        acks = {}
        for key in keys:
            send(ws, key)
        while len(acks) < len(keys):
            message = ws.recv()
            if message["type"] == "ack":
                acks[message["id"]] = message
            else:
                mine.take(message)
        follow(ws, mine, max(a["version"] for a in acks.values())).agrees_with(app.read(s))
    assert sorted(mine.session["data"]["list"]) == sorted(keys)
    assert sorted(a["version"] for a in acks.values()) == list(range(2, 32))

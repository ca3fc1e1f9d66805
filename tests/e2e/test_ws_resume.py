"""Going on from a position: contract section 4. `subscribed`, exactly the missed events, then live ones;
or a `state_sync` that says why not."""

import threading

import pytest
import websocket

from harness import Socket, metric, new_user, together, wait_until
from ws import MISSING_ID, Mirror, Raw, ask, is_alive, refused, set_to, subscribed

MAX_DELTAS = 200  # of one read of the window


def write(device, session_id, n):
    for i in range(n):
        assert device.json_patch(session_id, set_to("n", i)).status_code == 200


def resume(device, session_id, since, epoch=None, **more):
    """A socket that asked for a position in its URL, after hello."""
    position = f"&since={since}" + (f"&epoch={epoch}" if epoch else "")
    socket = device.connect(session_id + position, **more)
    socket.expect("hello")
    return socket


def expect_resumed(socket, session, since, events, **members):
    """`subscribed` and then these events; nothing else."""
    told = socket.expect("subscribed", sessionId=session["id"], epoch=session["epoch"],
                         version=session["version"], replayed=session["version"] - since, **members)
    assert told.keys() == {"type", "sessionId", "epoch", "version", "replayed", *members}
    missed = [e for e in events if e["version"] > since]
    assert len(missed) == told["replayed"]
    for event in missed:
        assert socket.recv() == event


def expect_synced(socket, session, reason, **members):
    socket.expect("state_sync", sessionId=session["id"], reason=reason, version=session["version"],
                  session=session, **members)
    assert is_alive(socket) == []


def all_events(device, session_id):
    events, since = [], 0
    while True:
        items = device.deltas(session_id, since)
        if not items:
            return events
        events, since = events + items, items[-1]["version"]


@pytest.fixture(scope="module")
def long_session(suite):
    """(device, session, its events) with 650 versions, of every type that is versioned and not an end."""
    device = suite.device(new_user(), "writer")
    session_id = device.create({"n": 0})["id"]
    write(device, session_id, 320)
    device.status(session_id, "paused")
    device.status(session_id, "active")
    write(device, session_id, 327)
    session = device.read(session_id)
    assert session["version"] == 650
    return device, session, all_events(device, session_id)


# ---- from a position ----

@pytest.mark.parametrize("since", [0, 1, 320, 449, 450, 451, 648, 649, 650])
@pytest.mark.parametrize("by", ["message", "url"])
def test_the_missed_events_follow_and_then_the_live_ones(suite, long_session, since, by):
    device, session, events = long_session
    assert [e["version"] for e in events] == list(range(1, 651))
    tv = suite.device(device.user, "tv")
    if by == "url":
        with resume(tv, session["id"], since) as socket:
            expect_resumed(socket, session, since, events)
            assert is_alive(socket) == []
        return
    with tv.connect() as socket:
        socket.expect("hello")
        socket.send(type="subscribe", id="s", sessionId=session["id"], since=since, epoch=1)
        expect_resumed(socket, session, since, events, id="s")
        assert is_alive(socket) == []


def test_live_events_follow_the_missed_ones(phone, laptop):
    session = phone.create({})
    write(phone, session["id"], 3)
    with resume(laptop, session["id"], 2) as socket:
        expect_resumed(socket, phone.read(session["id"]), 2, phone.deltas(session["id"]))
        write(phone, session["id"], 2)
        socket.expect("state_delta", version=5)
        socket.expect("state_delta", version=6)
        assert is_alive(socket) == []


def test_the_positions_of_a_state_sync_and_of_an_event_are_what_one_goes_on_from(phone, laptop):
    session = phone.create({})
    with subscribed(laptop, session["id"]) as socket:  # this one never received an event
        position = socket.sync["version"], socket.sync["epoch"]
    write(phone, session["id"], 2)
    with resume(laptop, session["id"], *position) as socket:
        expect_resumed(socket, phone.read(session["id"]), 1, phone.deltas(session["id"]))
        write(phone, session["id"], 1)
        event = socket.expect("state_delta", version=4)
    with resume(laptop, session["id"], event["version"], event["epoch"]) as socket:
        expect_resumed(socket, phone.read(session["id"]), 4, [])
        write(phone, session["id"], 1)
        socket.expect("state_delta", version=5)


def test_missed_events_of_every_kind_are_as_they_were_published(phone, laptop):
    session = phone.create({"a": 1})
    with subscribed(laptop, session["id"]) as live:
        phone.merge_patch(session["id"], {"name": "new", "data": {"b": [1, 2.5, None]}})
        laptop.status(session["id"], "active")
        phone.status(session["id"], "completed")
        seen = [live.recv() for _ in range(3)]
    with resume(phone, session["id"], 1) as socket:
        expect_resumed(socket, phone.read(session["id"]), 1, seen)


def test_a_watched_session_is_subscribed_again_from_a_position(phone):
    session = phone.create({})
    with subscribed(phone, session["id"]) as socket:
        write(phone, session["id"], 2)
        events = [socket.expect("state_delta", version=v) for v in (2, 3)]
        now = phone.read(session["id"])
        socket.send(type="subscribe", id="again", sessionId=session["id"], since=2)
        expect_resumed(socket, now, 2, events, id="again")
        write(phone, session["id"], 1)
        socket.expect("state_delta", version=4)
        assert is_alive(socket) == []
        assert ask(socket, "subscribe", sessionId=session["id"])["reason"] == "initial"


def test_many_sessions_of_one_connection_go_on_each_from_its_own(phone):
    sessions = [phone.create({}) for _ in range(8)]
    for i, session in enumerate(sessions):
        write(phone, session["id"], i)
    with phone.connect() as socket:
        socket.expect("hello")
        for i, session in enumerate(sessions):
            socket.send(type="subscribe", id=str(i), sessionId=session["id"], since=1)
        seen = [socket.recv() for _ in range(8 + sum(range(8)))]
        assert is_alive(socket) == []
        for i, session in enumerate(sessions):
            own = [f for f in seen if f["sessionId"] == session["id"]]
            assert (own[0]["type"], own[0]["id"], own[0]["replayed"]) == ("subscribed", str(i), i)
            assert [f["version"] for f in own[1:]] == list(range(2, i + 2))


# ---- where one cannot ----

def test_ahead_of_the_server_is_a_state_sync(phone, laptop):
    session = phone.create({"a": 1})
    for since in (2, 1000, 2 ** 53 - 1):
        with resume(laptop, session["id"], since) as socket:
            expect_synced(socket, session, "ahead")


@pytest.mark.parametrize("since", [0, 1, 99])
def test_another_epoch_is_a_state_sync(phone, laptop, since):
    session = phone.create({"a": 1})
    with resume(laptop, session["id"], since, epoch=2) as socket:
        expect_synced(socket, session, "epoch")
    with laptop.connect() as socket:
        socket.expect("hello")
        socket.send(type="subscribe", id="s", sessionId=session["id"], since=since, epoch=7)
        expect_synced(socket, session, "epoch", id="s")


def test_in_a_later_epoch_only_that_epochs_positions_can_go_on(suite, phone, laptop):
    session = phone.create({"a": 1})
    suite.redis_client().hset(f"session:{{{session['id']}}}:meta", "epoch", 2)
    write(phone, session["id"], 2)
    session = phone.read(session["id"])
    assert (session["epoch"], session["version"]) == (2, 3)
    with resume(laptop, session["id"], 1, epoch=2) as socket:
        expect_resumed(socket, session, 1, phone.get(
            f"/sessions/{session['id']}/deltas?since=1&epoch=2").json()["items"])
        write(phone, session["id"], 1)
        socket.expect("state_delta", version=4, epoch=2)
    session = phone.read(session["id"])
    for position in ((1, None), (3, 1), (3, 3)):
        with resume(laptop, session["id"], *position) as socket:
            expect_synced(socket, session, "epoch")


def test_over_a_thousand_versions_behind_the_window_does_not_reach_back(suite, phone, laptop):
    session = phone.create({"n": 0})
    together(4, lambda i: write(suite.device(phone.user, f"w{i}"), session["id"], 275))
    session = phone.read(session["id"])
    assert session["version"] == 1101
    # What the engine does by itself with entries that are old enough.
    suite.redis_client().xtrim(f"session:{{{session['id']}}}:deltas", maxlen=1000, approximate=False)
    for since in (0, 1, 100):
        with resume(laptop, session["id"], since) as socket:
            expect_synced(socket, session, "window")
    with resume(laptop, session["id"], 101) as socket:
        expect_resumed(socket, session, 101, all_events(phone, session["id"]))
        write(phone, session["id"], 1)
        socket.expect("state_delta", version=1102)


def test_a_window_that_is_gone_or_broken_is_a_state_sync(suite, phone, laptop):
    session = phone.create({})
    write(phone, session["id"], 5)
    session = phone.read(session["id"])
    key = f"session:{{{session['id']}}}:deltas"
    suite.redis_client().xdel(key, "4-0")
    for since, replayed in ((1, None), (3, None), (4, 2), (6, 0)):
        with resume(laptop, session["id"], since) as socket:
            if replayed is None:
                expect_synced(socket, session, "window")
            else:
                expect_resumed(socket, session, since, phone.deltas(session["id"]))
    suite.redis_client().delete(key)
    with resume(laptop, session["id"], 5) as socket:
        expect_synced(socket, session, "window")
    with resume(laptop, session["id"], 6) as socket:
        expect_resumed(socket, session, 6, [])


@pytest.mark.parametrize("bad,code", [
    ({"epoch": 1}, "invalid_request"), ({"since": "1"}, "invalid_request"), ({"since": None}, "invalid_request"),
    ({"since": 1.5}, "invalid_request"), ({"since": -1}, "invalid_value"), ({"since": 2 ** 53}, "invalid_value"),
    ({"since": 1, "epoch": 0}, "invalid_value"), ({"since": 1, "epoch": "1"}, "invalid_request")])
def test_positions_that_are_none_are_refused(phone, bad, code):
    session = phone.create({})
    with phone.connect() as socket:
        socket.expect("hello")
        refused(ask(socket, "subscribe", sessionId=session["id"], **bad), code,
                field="since" if bad.get("since") != 1 and "since" in bad else "epoch")
        write(phone, session["id"], 1)
        assert is_alive(socket) == []


@pytest.mark.parametrize("bad,status", [
    ("epoch=1", 400), ("since=x", 400), ("since=", 400), ("since=-1", 400), ("since=1.0", 400),
    ("since=12345678901234567890", 400), ("since=9007199254740992", 422), ("since=1&epoch=0", 422),
    ("since=1&since=1", 400), ("since=1&epoch=+1", 400)])
def test_positions_in_the_url_that_are_none_are_refused(phone, bad, status):
    session = phone.create({})
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        phone.connect(f"{session['id']}&{bad}")
    assert refusal.value.status_code == status


def test_a_position_without_a_session_is_refused(phone):
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        Socket(phone.suite.ws_url + "?since=1", header=[f"Authorization: Bearer {phone.token}"])
    assert refusal.value.status_code == 400


def test_a_position_opens_no_session_of_others(phone, stranger):
    session_id = stranger.create({})["id"]
    answers = []
    for wanted in (session_id, MISSING_ID):
        for since in (0, 1, 9):
            with phone.connect() as socket:
                socket.expect("hello")
                answers.append(ask(socket, "subscribe", sessionId=wanted, since=since))
                stranger.json_patch(session_id, set_to("a", since))
                assert is_alive(socket) == []
    for answer in answers:
        refused(answer, "not_found")
        del answer["id"], answer["sessionId"]
        assert answer == answers[0]


def test_a_position_of_a_deleted_session_is_not_found(phone):
    session = phone.create({})
    phone.delete(f"/sessions/{session['id']}")
    for since in (0, 1, 2, 3):
        with resume(phone, session["id"], since) as socket:
            refused(socket.recv(), "not_found", sessionId=session["id"])


# ---- together ----

def test_different_positions_share_reads_and_none_needs_the_state(suite, long_session):
    """A read that is cut says nothing of those who are further on than it came."""
    device, session, events = long_session
    positions = [0, 1, 7, 199, 200, 201, 202, 400, 401, 449, 450, 451, 600, 649, 650] * 4
    before = metric(suite.services["ws_fanout"], "handoff_ws_gap_fills_total")
    sockets = [Raw.of(device) for _ in positions]
    for socket in sockets:
        assert socket.recv()["type"] == "hello"
    for socket, since in zip(sockets, positions):
        socket.send(type="subscribe", sessionId=session["id"], since=since)
    for socket, since in zip(sockets, positions):
        told = socket.recv()
        assert (told["type"], told["replayed"]) == ("subscribed", 650 - since), told
        assert [socket.recv() for _ in range(told["replayed"])] == events[since:]
        socket.close()
    assert metric(suite.services["ws_fanout"], "handoff_ws_gap_fills_total") - before < len(positions)


def test_a_thousand_resumes_of_one_session_at_once(suite, long_session):
    _, session, events = long_session
    # of many users: one may have 100 connections
    devices = [suite.device(new_user(), "tv", scope="sessions:read sessions:admin") for _ in range(20)]
    sockets = [Raw.of(device, address=f"127.0.0.{i + 2}") for i, device in enumerate(devices) for _ in range(50)]
    for socket in sockets:
        assert socket.recv()["type"] == "hello"
    before = metric(suite.services["ws_fanout"], "handoff_ws_gap_fills_total")
    for i, socket in enumerate(sockets):
        socket.send(type="subscribe", sessionId=session["id"], since=650 - i % 20)
    for i, socket in enumerate(sockets):
        told = socket.recv()
        assert (told["type"], told["replayed"]) == ("subscribed", i % 20), told
        assert [socket.recv() for _ in range(i % 20)] == events[650 - i % 20:]
    assert metric(suite.services["ws_fanout"], "handoff_ws_gap_fills_total") - before < 1000
    for socket in sockets:
        socket.close()


def test_a_thousand_sessions_resumed_at_once(suite):
    device = suite.device(new_user(), "tv")
    sessions = [device.create({})["id"] for _ in range(1024)]
    for session_id in sessions:
        write(device, session_id, 1)
    sockets = [Raw.of(device) for _ in range(16)]
    for n, socket in enumerate(sockets):
        assert socket.recv()["type"] == "hello"
        for session_id in sessions[64 * n:64 * n + 64]:
            socket.send(type="subscribe", sessionId=session_id, since=1)
    for n, socket in enumerate(sockets):
        seen = [socket.recv() for _ in range(128)]
        for session_id in sessions[64 * n:64 * n + 64]:
            told, event = (f for f in seen if f["sessionId"] == session_id)
            assert (told["type"], told["version"], told["replayed"]) == ("subscribed", 2, 1)
            assert (event["type"], event["version"]) == ("state_delta", 2)
        socket.close()


# ---- while writes go on, and from instance to instance ----

class Traveller(threading.Thread):
    """A device that loses its connection again and again, and goes on at the next instance."""

    def __init__(self, devices, session):
        super().__init__(daemon=True)
        self.devices, self.session_id, self.error, self.last = devices, session["id"], None, None
        self.mirror, self.n_resumed = Mirror(), 0
        self.mirror.session = dict(session)

    def run(self):
        try:
            i = 0
            while self.last is None or self.mirror.version < self.last:
                self._visit(self.devices[i % len(self.devices)], 1 + 7 * (i % 5))
                i += 1
        except BaseException as error:
            self.error = error

    def _visit(self, device, n_events):
        since = self.mirror.version
        with resume(device, self.session_id, since, timeout=20) as socket:
            told = socket.expect("subscribed")
            assert told["replayed"] == told["version"] - since
            self.n_resumed += 1
            for _ in range(max(n_events, told["replayed"])):
                if self.last and self.mirror.version >= self.last:
                    return
                self.mirror.take(socket.recv())

    def finish(self, last):
        self.last = last
        self.join(40)
        if self.error:
            raise self.error
        assert not self.is_alive(), f"still at {self.mirror.version}"
        return self.mirror


def test_without_a_gap_or_a_double_while_writes_go_on(suite, shared_fanout):
    user = new_user()
    fanouts = [suite, shared_fanout(HANDOFF_FANOUT_BINDING="session")]
    writers = [suite.device(user, f"w{i}") for i in range(4)]
    session = writers[0].create({"n": 0})
    travellers = [Traveller([f.device(user, f"t{i}") for f in fanouts[i % 2:] + fanouts[:i % 2]], session)
                  for i in range(6)]
    for traveller in travellers:
        traveller.start()
    together(4, lambda i: write(writers[i], session["id"], 200))
    last = 801
    for traveller in travellers:
        traveller.last = last
    # The last events may have come before anybody knew that they are: somebody may wait for more.
    wait_until(lambda: all(t.mirror.version >= last or t.error for t in travellers), timeout=40,
               what="all versions seen by all")
    write(writers[0], session["id"], 1)
    now = writers[0].read(session["id"])
    for traveller in travellers:
        mirror = traveller.finish(last)
        assert mirror.versions[:800] == list(range(2, 802))
        assert mirror.versions == list(range(2, 2 + len(mirror.versions))) and mirror.syncs == []
        if mirror.version == now["version"]:
            assert mirror.agrees_with(now)
        assert traveller.n_resumed > 5


def test_at_another_instance_after_the_first_one_died(own_fanout, suite, phone, user):
    first, second = own_fanout(), own_fanout(HANDOFF_FANOUT_BINDING="session")
    session, quiet = phone.create({}), phone.create({"q": 1})
    device = first.device(user, "tv")
    with subscribed(device, session["id"]) as socket, subscribed(device, quiet["id"]):
        write(phone, session["id"], 3)
        event = [socket.expect("state_delta") for _ in range(3)][-1]
        first.kill("ws_fanout")
        write(phone, session["id"], 4)
    with second.device(user, "tv").connect() as socket:
        socket.expect("hello")
        socket.send(type="subscribe", id="a", sessionId=session["id"], since=event["version"])
        expect_resumed(socket, phone.read(session["id"]), 4, phone.deltas(session["id"]), id="a")
        socket.send(type="subscribe", id="b", sessionId=quiet["id"], since=1)
        expect_resumed(socket, quiet, 1, [], id="b")
        write(phone, quiet["id"], 1)
        socket.expect("state_delta", sessionId=quiet["id"], version=2)


def test_a_long_idle_connection_goes_on_after_its_room_is_gone(suite, phone, laptop):
    """Nothing is kept of it anywhere: neither at the instance, nor does the age of the window matter."""
    session = phone.create({})
    write(phone, session["id"], 2)
    key = f"session:{{{session['id']}}}:deltas"
    redis = suite.redis_client()
    aged = [(i, {**fields, "t": str(int(fields["t"]) - 9 * 3600 * 1000)}) for i, fields in redis.xrange(key)]
    redis.delete(key)
    for i, fields in aged:
        redis.xadd(key, fields, id=i)
    with resume(laptop, session["id"], 1) as socket:
        expect_resumed(socket, phone.read(session["id"]), 1, phone.deltas(session["id"]))


def test_a_reader_that_takes_slowly_gets_the_whole_window_event_by_event(suite, phone):
    """More than its queue would hold: it is sent as fast as it takes it."""
    session = phone.create({"text": ""})
    for i in range(30):
        phone.json_patch(session["id"], set_to("text", chr(97 + i % 26) * 100_000))
    with Raw.of(phone, f"{session['id']}&since=1", rcvbuf=8192) as slow:
        assert slow.recv()["type"] == "hello"
        assert slow.recv()["replayed"] == 30
        write(phone, session["id"], 3)
        mirror = Mirror()
        mirror.session = session
        while mirror.version < 34:
            mirror.take(slow.recv())
        assert mirror.versions == list(range(2, 35)) and mirror.syncs == []
        assert mirror.agrees_with(phone.read(session["id"]))

"""Who has a session and who loses it, who came and who left, and messages from device to device, as
ws_fanout passes them on. The engine's events are published here by a backend, and what Redis says is set
beside them."""

import json
import time
import uuid

import pika
import pytest
import websocket

from documents import AsyncApi
from harness import MAX_WAIT, new_user, wait_until
from ws import Raw, ask, is_alive, pass_joined, refused, set_to, subscribed

KINDS = {name: message["x-kind"] for name, message in AsyncApi().root["components"]["messages"].items() if "x-kind" in message}
SMALL = 4096


class Backend:
    """Writes what the engine would: to Redis and to the broker."""

    def __init__(self, suite):
        self.redis = suite.redis_client()
        self.connection = suite.amqp()
        self.channel = self.connection.channel()

    def meta(self, session, **fields):
        self.redis.hset(f"session:{{{session['id']}}}:meta", mapping=fields)

    def share(self, session, **roles):
        """roles: user=role, by what meta has; none at all takes everybody's."""
        given = "".join(f"{user.replace('_', '-')}:{role}," for user, role in roles.items())
        self.meta(session, participants="," + given if given else "")

    def keep_out(self, session, *devices):
        self.meta(session, removedDevices="," + "".join(d + "," for d in devices) if devices else "")

    def event(self, session, type, version=None, **members):
        version = version or int(self.redis.hget(f"session:{{{session['id']}}}:meta", "version"))
        return {"type": type, "sessionId": session["id"], "epoch": 1, "version": version,
                "timestamp": "2026-02-12T12:00:00.000Z", "userId": session["userId"], "deviceId": "phone",
                **members}

    def save(self, session, event):
        """The event's version as the newest one, with its delta; marked as published, so that no engine
        publishes it."""
        key, version = f"session:{{{session['id']}}}", event["version"]
        with self.redis.pipeline() as together:
            together.xadd(f"{key}:deltas", {"t": int(time.time() * 1000), "c": str(uuid.uuid4()),
                                            "e": json.dumps(event)}, id=f"{version}-0")
            together.hset(f"{key}:meta", mapping={"version": version, "published": version})
            together.execute()

    def wait_marked(self, session, version):
        """Until the engine, which marks what it published a moment later, has no more to write."""
        key = f"session:{{{session['id']}}}"
        wait_until(lambda: self.redis.hget(f"{key}:meta", "published") == str(version)
                   and not self.redis.exists(f"{key}:confirmed"), what=f"version {version} marked as published")

    def publish(self, event, *, message_id=None, timestamp=None, **headers):
        properties = pika.BasicProperties(
            content_type="application/json", type=event["type"], message_id=message_id or str(uuid.uuid4()),
            timestamp=timestamp or int(time.time()),
            headers={"epoch": event["epoch"], "version": event["version"], "deviceId": event["deviceId"],
                     **headers})
        self.channel.basic_publish("session_updates", f"session.{event['sessionId']}.{KINDS[event['type']]}",
                                   json.dumps(event).encode(), properties)

    def change(self, session, type, **members):
        """Saves and publishes the next version."""
        version = int(self.redis.hget(f"session:{{{session['id']}}}:meta", "version")) + 1
        event = self.event(session, type, version, **members)
        self.save(session, event)
        self.publish(event)
        return event


@pytest.fixture
def backend(suite):
    backend = Backend(suite)
    yield backend
    backend.connection.close()


def underscored(user):
    return user.replace("-", "_")


@pytest.fixture
def guest(suite):
    return suite.device(new_user(), "guest-phone")


def shared(backend, phone, *guests, role="viewer"):
    session = phone.create({"a": 1})
    backend.share(session, **{underscored(g.user): role for g in guests})
    return session


def lost(socket, session, code):
    frame = socket.expect("unsubscribed", sessionId=session["id"], code=code)
    assert frame.keys() == {"type", "sessionId", "code"}


# ---- participants ----

@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_a_participant_watches_by_its_role(backend, phone, guest, role):
    session = shared(backend, phone, guest, role=role)
    with subscribed(guest, session["id"]) as socket:
        assert socket.sync["session"] == {**session, "role": role}
        phone.json_patch(session["id"], set_to("a", 2))
        socket.expect("state_delta", version=2)
    with guest.connect(f"{session['id']}&since=1") as socket:
        socket.expect("hello")
        socket.expect("subscribed", replayed=1)
        socket.expect("state_delta", version=2)


def test_a_removed_participant_loses_the_session_at_once_and_not_its_event(backend, suite, phone, guest):
    other = suite.device(new_user(), "other")
    session = shared(backend, phone, guest, other)
    second = suite.device(guest.user, "guest-laptop")
    with subscribed(guest, session["id"]) as one, subscribed(second, session["id"]) as two, \
            subscribed(other, session["id"]) as stays, subscribed(phone, session["id"]) as owner:
        backend.share(session, **{underscored(other.user): "viewer"})
        event = backend.change(session, "participant_changed", participant=guest.user, role=None)
        for socket in (one, two):
            lost(socket, session, "not_found")
        for socket in (stays, owner):
            assert socket.recv() == event
        phone.json_patch(session["id"], set_to("a", 2))
        for socket in (one, two):
            assert is_alive(socket) == []
            refused(ask(socket, "subscribe", sessionId=session["id"]), "not_found")
            refused(ask(socket, "subscribe", sessionId=session["id"], since=1), "not_found")
        for socket in (stays, owner):
            socket.expect("state_delta", version=3)


def test_a_changed_role_is_that_of_the_next_state(backend, phone, guest):
    session = shared(backend, phone, guest)
    with subscribed(guest, session["id"]) as socket:
        backend.share(session, **{underscored(guest.user): "editor"})
        event = backend.change(session, "participant_changed", participant=guest.user, role="editor")
        assert socket.recv() == event
        assert ask(socket, "subscribe", sessionId=session["id"])["session"]["role"] == "editor"


def test_a_removal_that_was_missed_or_comes_late_is_found_in_redis(backend, phone, guest):
    session = shared(backend, phone, guest)
    with subscribed(guest, session["id"]) as socket, subscribed(phone, session["id"]) as owner:
        removal = backend.event(session, "participant_changed", 2, participant=guest.user, role=None)
        backend.save(session, removal)
        phone.json_patch(session["id"], set_to("a", 2))  # version 3 comes first
        backend.share(session)
        backend.publish(removal)
        frame = socket.recv()
        if frame["type"] == "participant_changed":  # the gap below 3 was filled before
            socket.expect("state_delta", version=3)
            frame = socket.recv()
        assert (frame["type"], frame.get("code")) == ("unsubscribed", "not_found"), frame
        assert is_alive(socket) == []
        assert owner.recv() == removal
        owner.expect("state_delta", version=3)


def test_an_event_of_the_past_takes_nothing_from_whom_redis_still_has(backend, phone, guest):
    session = shared(backend, phone, guest)
    phone.json_patch(session["id"], set_to("a", 2))
    phone.json_patch(session["id"], set_to("a", 3))
    with subscribed(guest, session["id"]) as socket:
        backend.publish(backend.event(session, "participant_changed", 2, participant=guest.user, role=None))
        backend.publish(backend.event(session, "device_changed", 3, device="guest-phone", removed=True))
        phone.json_patch(session["id"], set_to("a", 4))
        socket.expect("state_delta", version=4)
        assert is_alive(socket) == []


def test_an_admin_without_a_role_watches_on(backend, suite, phone):
    admin = suite.device(new_user(), "desk", scope="sessions:admin")
    session = shared(backend, phone, admin)
    with subscribed(admin, session["id"]) as socket:
        backend.share(session)
        event = backend.change(session, "participant_changed", participant=admin.user, role=None)
        assert socket.recv() == event
        phone.json_patch(session["id"], set_to("a", 2))
        socket.expect("state_delta", version=3)


def test_a_removed_participant_that_reads_nothing_loses_it_too(backend, shared_fanout, phone, guest):
    slow_fanout = shared_fanout(HANDOFF_MAX_OUTBOX_BYTES="256KiB")
    session = shared(backend, phone, guest)
    device = slow_fanout.device(guest.user, "guest-phone")
    with Raw.of(device, session["id"], rcvbuf=SMALL) as slow, subscribed(phone, session["id"]) as quick:
        assert [slow.recv()["type"] for _ in range(2)] == ["hello", "state_sync"]
        for i in range(60):
            phone.json_patch(session["id"], set_to("text", chr(97 + i % 26) * 100_000))
            quick.expect("state_delta", version=i + 2)
        backend.share(session)
        backend.change(session, "participant_changed", participant=guest.user, role=None)
        phone.json_patch(session["id"], set_to("text", "secret"))
        slow.send(type="ping", id="p")
        seen = []
        while not seen or seen[-1]["type"] != "pong":
            seen.append(slow.recv())
        assert [f.get("code") for f in seen if f["type"] == "unsubscribed"] == ["not_found"]
        assert "secret" not in json.dumps(seen)
        assert "participant_changed" not in {f["type"] for f in seen}


# ---- devices that are kept out ----

def test_a_device_that_is_kept_out_loses_the_session_and_its_siblings_do_not(backend, suite, user, phone, laptop):
    session = phone.create({})
    with subscribed(laptop, session["id"]) as one, subscribed(laptop, session["id"]) as two, \
            subscribed(phone, session["id"]) as stays:
        backend.keep_out(session, "laptop")
        event = backend.change(session, "device_changed", device="laptop", removed=True)
        for socket in (one, two):
            lost(socket, session, "device_removed")
        assert stays.recv() == event
        refused(ask(one, "subscribe", sessionId=session["id"]), "device_removed")
        refused(ask(one, "subscribe", sessionId=session["id"], since=1), "device_removed")
        # Other sessions are its own as before, and it may be let in again.
        other = phone.create({})
        assert ask(one, "subscribe", sessionId=other["id"])["type"] == "state_sync"
        backend.keep_out(session)
        back = backend.change(session, "device_changed", device="laptop", removed=False)
        assert stays.recv() == back
        assert ask(one, "subscribe", sessionId=session["id"])["version"] == 3
        phone.json_patch(session["id"], set_to("a", 1))
        one.expect("state_delta", version=4)


def test_a_device_that_is_kept_out_unheard_is_found_by_the_next_state(backend, phone, laptop):
    """The event that told it is in the window no more: what is read instead says so."""
    session = phone.create({"a": 1})
    with subscribed(laptop, session["id"]) as socket, subscribed(phone, session["id"]) as stays:
        backend.save(session, backend.event(session, "device_changed", 2, device="laptop", removed=True))
        backend.keep_out(session, "laptop")
        assert backend.redis.xdel(f"session:{{{session['id']}}}:deltas", "2-0") == 1
        phone.json_patch(session["id"], set_to("a", 2))
        lost(socket, session, "device_removed")
        assert is_alive(socket) == []
        stays.expect("state_sync", version=3, reason="window")


def test_a_device_with_a_name_that_begins_alike_stays(backend, suite, user, phone):
    session = phone.create({})
    backend.keep_out(session, "lap", "top", "ap")
    with subscribed(suite.device(user, "laptop"), session["id"]) as socket:
        backend.change(session, "device_changed", device="lap", removed=True)
        socket.expect("device_changed")
        assert is_alive(socket) == []


# ---- who came and who left ----

def presence(backend, session, type, device, count=None, **more):
    members = {} if count is None else {"deviceCount": count}
    event = backend.event(session, type, activeDeviceId="phone", name=None, platform=None, **members)
    event["deviceId"] = device
    backend.publish(event, **more)
    return event


def hear(device, session, *sockets, joined=("phone",)):
    """From here on frames of presence are heard; those of the devices really there have come."""
    pass_joined(device, session["id"], joined, *sockets)
    for socket in sockets:
        socket.hears_presence = True


def test_up_to_fifty_devices_are_told_one_by_one(backend, phone):
    session = phone.create({})
    with subscribed(phone, session["id"]) as socket:
        hear(phone, session, socket)
        told = [presence(backend, session, "device_joined", f"d{i}", i + 1) for i in range(50)]
        told += [presence(backend, session, "device_left", "d49", 49)]
        told += [presence(backend, session, "device_joined", "d50")]
        assert [socket.recv() for _ in told] == told
        assert is_alive(socket) == []


def test_more_than_fifty_devices_are_told_together(backend, phone, laptop):
    session = phone.create({})
    with subscribed(phone, session["id"]) as socket, subscribed(laptop, session["id"]) as other:
        hear(phone, session, socket, other, joined=("phone", "laptop"))
        one_by_one = [presence(backend, session, "device_joined", f"d{i:02}", i + 1) for i in range(60)][:50]
        presence(backend, session, "device_joined", "without-a-count")
        for device in ("d00", "d01", "d02"):
            presence(backend, session, "device_left", device, 60)
        presence(backend, session, "device_joined", "d01", 61)
        presence(backend, session, "device_joined", "brief", 61)
        presence(backend, session, "device_left", "brief", 60)
        wanted = {f"d{i:02}" for i in range(3, 60)} | {"d01", "without-a-count"}
        for s in (socket, other):
            assert [s.recv() for _ in one_by_one] == one_by_one
            there, n_frames = {e["deviceId"] for e in one_by_one}, 0
            while there != wanted:
                frame = s.expect("presence", sessionId=session["id"])
                assert frame.keys() == {"type", "sessionId", "joined", "left"}
                assert not set(frame["joined"]) & there and set(frame["left"]) <= there
                there = (there | set(frame["joined"])) - set(frame["left"])
                n_frames += 1
            assert n_frames < 10
        phone.json_patch(session["id"], set_to("a", 1))
        socket.recv_until("state_delta", version=2)


def test_an_event_of_presence_that_comes_again_is_told_once(backend, phone):
    session = phone.create({})
    with subscribed(phone, session["id"]) as socket:
        hear(phone, session, socket)
        for message_id in ("0197a3b4-0000-8000-8000-000000000001", "0197a3b4-0000-8000-8000-000000000002"):
            for _ in range(3):
                presence(backend, session, "device_joined", "tv", 2, message_id=message_id)
        phone.json_patch(session["id"], set_to("a", 1))
        wait_until(lambda: phone.read(session["id"])["version"] == 2)
        assert [f["type"] for f in (socket.recv() for _ in range(3))].count("device_joined") == 2
        assert is_alive(socket) == []


# ---- from device to device ----

def test_a_broadcast_goes_to_all_but_its_sender(backend, suite, phone, laptop):
    guest = suite.device(new_user(), "phone")  # another user's device of the same name
    session = shared(backend, phone, guest)
    with subscribed(phone, session["id"]) as sender, subscribed(phone, session["id"]) as sender_too, \
            subscribed(laptop, session["id"]) as other, subscribed(guest, session["id"]) as namesake:
        first = backend.event(session, "broadcast", message={"hello": [1, None]})
        backend.publish(first)
        assert other.recv() == first and namesake.recv() == first
        second = backend.event(session, "broadcast", message="echo")
        backend.publish(second, echo=True)
        for socket in (sender, sender_too, other, namesake):
            assert socket.recv() == second
        third = {**backend.event(session, "broadcast", message=3), "userId": guest.user}
        backend.publish(third, echo=False)
        for socket in (sender, sender_too, other):
            assert socket.recv() == third
        assert is_alive(namesake) == []


def test_bodies_that_are_none_harm_nobody(backend, phone):
    session = phone.create({})
    with subscribed(phone, session["id"]) as socket:
        for kind, type in (("participants", "participant_changed"), ("devices", "device_changed"),
                           ("device_joined", "device_joined"), ("device_left", "device_left")):
            for body in (b"", b"x", b"[]", b"{}", b'{"participant":1,"role":2}', b'{"device":"d","removed":1}'):
                backend.channel.basic_publish(
                    "session_updates", f"session.{session['id']}.{kind}", body,
                    pika.BasicProperties(type=type, headers={"epoch": 1, "version": 1}))
        phone.json_patch(session["id"], set_to("a", 1))
        socket.expect("state_delta", version=2)
        assert is_alive(socket) == []


# ---- late ----

def recv_when_late(backend, socket, session):
    """The next frame, while late events come, of a session that the socket watches: its instance may be
    bound to no other. What came in time just before may hide a single one."""
    event = backend.event(session, "device_left", activeDeviceId=None)
    socket.ws.settimeout(0.5)

    def publish_and_recv():
        backend.publish(event, timestamp=int(time.time()) - 10)
        try:
            return socket.recv()
        except websocket.WebSocketTimeoutException:
            return None

    frame = wait_until(publish_and_recv, timeout=MAX_WAIT, what="a frame")
    socket.ws.settimeout(MAX_WAIT)
    return frame


def test_after_late_events_every_session_is_compared(backend, phone, laptop):
    """The broker may have dropped events while this instance was behind: here it never had them."""
    session, other = phone.create({}), phone.create({})
    with subscribed(phone, session["id"]) as socket:
        ask(socket, "subscribe", sessionId=other["id"])
        missed = backend.event(session, "state_delta", 2, baseVersion=1, operations=set_to("a", 1),
                               checksum=session["checksum"])
        backend.save(session, missed)
        assert is_alive(socket) == []
        assert recv_when_late(backend, socket, other) == missed
        phone.json_patch(session["id"], set_to("a", 2))
        socket.expect("state_delta", version=3)
        assert is_alive(socket) == []


def test_what_redis_has_lost_is_ahead_and_made_good_by_the_state(backend, phone, laptop):
    session, other = phone.create({"n": 0}), phone.create({})
    key = f"session:{{{session['id']}}}"
    backend.wait_marked(session, 1)
    before = backend.redis.hgetall(f"{key}:meta"), backend.redis.get(f"{key}:state")
    with subscribed(phone, session["id"]) as socket:
        ask(socket, "subscribe", sessionId=other["id"])
        for version in (2, 3):
            phone.json_patch(session["id"], set_to("n", version))
            socket.expect("state_delta", version=version)
        backend.wait_marked(session, 3)
        with backend.redis.pipeline() as together:
            together.hset(f"{key}:meta", mapping=before[0])
            together.set(f"{key}:state", before[1])
            together.xtrim(f"{key}:deltas", maxlen=0)
            together.execute()
        sync = recv_when_late(backend, socket, other)
        assert (sync["type"], sync["reason"], sync["version"]) == ("state_sync", "ahead", 1), sync
        assert sync["session"]["data"] == {"n": 0}
        assert is_alive(socket) == []

"""Who is in a session: device_joined and device_left, once, whichever instances and engines are at it
(contract sections 4 and 6). Moments that lie far ahead are moved in Redis instead of waited for."""

import contextlib
import signal
import time

import pytest

from documents import AsyncApi
from engine import World
from harness import BUILD, free_ports, make_service, metric, wait_until
from rest import accepted, refused
from ws import MISSING_ID, ask, pass_joined, subscribed, wait_joined
from ws import refused as refused_frame

N_DEVICES_OF_A_USER = 10


class Redis:
    """The presence of one session, as Redis has it."""

    def __init__(self, client, session_id):
        self.client, self.id = client, session_id
        self.devices = f"session:{{{session_id}}}:devices"
        self.presence = f"session:{{{session_id}}}:presence"

    def record(self, device):
        """(state, connections, leaves at) of a device, None when it is not there."""
        text = self.client.hget(self.devices, device)
        if text is None:
            return None
        words = text.split(" ")
        return words[1], int(words[2]), int(words[7])

    def instances(self):
        return (self.client.hget(self.devices, "#instances") or ",").strip(",").split(",")

    def due(self, device):
        return self.client.zscore(self.presence, device)

    def arm(self):
        """The session is looked at in the next tick."""
        for slot in range(64):
            if self.client.zscore(f"attention:{{{slot}}}", self.id) is not None:
                self.client.zadd(f"attention:{{{slot}}}", {self.id: 1}, xx=True)

    def pass_time(self, device):
        """What the device's leaving waits for is over."""
        words = (self.client.hget(self.devices, device) or "").split(" ")
        if len(words) < 8:
            return  # it has left
        words[7] = "1"
        self.client.hset(self.devices, device, " ".join(words))
        self.client.zadd(self.presence, {device: 1})
        self.arm()

    def is_told(self, device):
        """Joined, and nothing is left to be told."""
        record = self.record(device)
        return record and record[0] == "j" and self.due(device) in (None, record[2])


def presence_rows(suite, session_id):
    """[(type, device)] in PostgreSQL, in the order of their moments."""
    return [(kind, device) for kind, device in suite.query(
        "select type, device_id from session_events where session_id = %s and type in "
        "('device_joined', 'device_left') order by occurred_at", session_id)]


def wait_rows(suite, session_id, rows):
    wait_until(lambda: len(presence_rows(suite, session_id)) >= len(rows), what=f"{len(rows)} rows")
    assert presence_rows(suite, session_id) == rows


def only_presence(socket, n):
    """The next n device_joined and device_left; everything else is skipped."""
    frames = []
    while len(frames) < n:
        frame = socket.recv(hears_presence=True)
        if frame["type"] in ("device_joined", "device_left"):
            frames.append(frame)
    return frames


@pytest.fixture
def far_apart(own_suite, fanout_beside, user):
    """(the laptop's Suite, the session's Redis, the phone's socket), where both devices are in a session and
    each has an instance of its own."""
    suite = own_suite()
    other = fanout_beside(suite)
    phone, laptop = suite.device(user, "phone"), other.device(user, "laptop")
    session_id = phone.create({})["id"]
    with subscribed(phone, session_id) as watcher, subscribed(laptop, session_id):
        pass_joined(phone, session_id, ["phone", "laptop"], watcher)
        yield other, Redis(suite.redis_client(), session_id), watcher


def test_a_device_joins_with_its_first_connection_and_leaves_after_its_last(suite, user, fanout_beside):
    other = fanout_beside(suite)
    phone, laptop = suite.direct.device(user, "phone"), suite.direct.device(user, "laptop")
    session_id = phone.create({})["id"]
    redis = Redis(suite.redis_client(), session_id)
    with subscribed(phone, session_id) as watcher:
        pass_joined(phone, session_id, ["phone"], watcher)
        joined = wait_joined(suite, session_id, "phone")["phone"]
        assert (joined["deviceId"], joined["userId"], joined["deviceCount"]) == ("phone", user, 1)
        assert (joined["epoch"], joined["version"], joined["activeDeviceId"]) == (1, 1, "phone")
        with subscribed(laptop, session_id), subscribed(other.device(user, "laptop"), session_id):
            joined, = only_presence(watcher, 1)
            assert (joined["deviceId"], joined["deviceCount"]) == ("laptop", 2)
            with subscribed(laptop, session_id):
                wait_until(lambda: redis.record("laptop")[1] == 2, what="two instances have the laptop")
            assert len(redis.instances()) == 2
            here_at = time.monotonic()
        wait_until(lambda: redis.record("laptop")[1] == 0, what="both departures")
        left, = only_presence(watcher, 1)
        assert (left["type"], left["deviceId"], left["deviceCount"]) == ("device_left", "laptop", 1)
        AsyncApi().check_frame(left)
        assert time.monotonic() - here_at > 9, "ten seconds are the laptop's to come back"
        wait_until(lambda: redis.record("laptop") is None, what="the laptop forgotten")
    wait_rows(suite, session_id, [("device_joined", "phone"), ("device_joined", "laptop"),
                                  ("device_left", "laptop")])


def test_coming_back_in_time_tells_nothing(suite, user, fanout_beside):
    other = fanout_beside(suite)
    phone = suite.device(user, "phone")
    session_id = phone.create({})["id"]
    redis = Redis(suite.redis_client(), session_id)
    with subscribed(phone, session_id):
        wait_joined(suite, session_id, "phone")
    wait_until(lambda: redis.record("phone")[1] == 0, what="the departure")
    wait_until(lambda: redis.is_told("phone"), what="the join noted as told")
    assert redis.due("phone")
    with subscribed(other.device(user, "phone"), session_id) as socket:
        assert redis.due("phone") is None
        redis.arm()
        accepted(phone.patch(session_id, [{"op": "add", "path": "/data/a", "value": 1}]))
        assert socket.recv()["type"] == "state_delta"
    wait_rows(suite, session_id, [("device_joined", "phone")])


def test_a_killed_instance_s_devices_leave(far_apart):
    doomed, redis, watcher = far_apart
    wait_until(lambda: redis.is_told("laptop"), what="the join noted as told")
    before = set(redis.instances())
    doomed.kill("ws_fanout")
    dead = next(i for i in before if redis.client.hexists(redis.devices, f"laptop\n{i}"))
    assert redis.client.smembers(f"instance:{{{dead}}}:sessions") == {redis.id}
    assert 0 < redis.client.pttl(f"instance:{{{dead}}}") <= 15000
    redis.client.pexpire(f"instance:{{{dead}}}", 1)  # 15 s have passed
    left, = only_presence(watcher, 1)
    assert (left["type"], left["deviceId"]) == ("device_left", "laptop")
    wait_until(lambda: redis.record("laptop") is None, what="the laptop forgotten")
    assert set(redis.instances()) == before - {dead}
    wait_until(lambda: not redis.client.exists(f"instance:{{{dead}}}:sessions"), what="its list gone")

    def is_forgotten():
        return all(redis.client.zscore(f"attention:{{{n}}}", f"instance:{dead}") is None for n in range(64))
    wait_until(is_forgotten, what="the instance out of the attention set")


def test_a_forgotten_instance_arrives_again_under_another_name(own_suite, user):
    suite = own_suite()
    phone = suite.device(user, "phone")
    session_id = phone.create({})["id"]
    redis = Redis(suite.redis_client(), session_id)
    with subscribed(phone, session_id):
        wait_joined(suite, session_id, "phone")
        before, = redis.instances()
        redis.client.delete(f"instance:{{{before}}}")
        wait_until(lambda: redis.instances() not in ([before], [""]) and before not in redis.instances(),
                   what="another instance, and the first one reaped")
        # Who reaped first told that it left, and then that it joined.
        wait_until(lambda: redis.record("phone")[:2] == ("j", 1), what="the phone in again")
    wait_until(lambda: redis.record("phone")[1] == 0, what="the departure under the new name")


def test_a_status_lets_a_device_join_once(suite, user):
    phone, laptop = suite.device(user, "phone"), suite.device(user, "laptop")
    session_id = phone.create({})["id"]
    redis = Redis(suite.redis_client(), session_id)
    with subscribed(phone, session_id) as watcher:
        wait_until(lambda: redis.is_told("phone"), what="the phone's joining told")
        accepted(laptop.status(session_id, "active"), version=2)
        assert watcher.recv_until("status_changed")["reason"] == "takeover"
        joined = watcher.recv_until("device_joined", deviceId="laptop")
        assert (joined["deviceId"], joined["activeDeviceId"]) == ("laptop", "laptop")
        assert (joined["version"], joined["deviceCount"]) == (2, 2)
        state, n, leaves_at = redis.record("laptop")
        assert (state, n) == ("j", 0)
        now = time.time() * 1000
        assert now + 110_000 < leaves_at < now + 121_000
        with subscribed(laptop, session_id):  # it is there already
            accepted(phone.status(session_id, "active"), version=3)
            assert redis.record("laptop")[:2] == ("j", 1)
        wait_until(lambda: redis.record("laptop")[1] == 0, what="the departure")
        assert redis.record("laptop")[2] < time.time() * 1000 + 11_000, "connected once: ten seconds"
    wait_rows(suite, session_id, [("device_joined", "phone"), ("device_joined", "laptop")])


@pytest.mark.parametrize("request_by", [
    lambda device, session_id: device.heartbeat(session_id),
    lambda device, session_id: device.post(f"/sessions/{session_id}/snapshots", json={})],
    ids=["heartbeat", "snapshot"])
def test_a_device_without_a_connection_leaves_after_its_last_request(suite, user, request_by):
    phone, laptop = suite.device(user, "phone"), suite.device(user, "laptop")
    session_id = phone.create({})["id"]
    redis = Redis(suite.redis_client(), session_id)
    with subscribed(phone, session_id) as watcher:
        accepted(laptop.status(session_id, "active"), version=2)
        wait_until(lambda: redis.is_told("laptop"), what="the laptop's joining told")
        first = redis.record("laptop")[2]

        def is_touched():
            # Requests count once in 10 s a device: the status itself is noted, too.
            assert request_by(laptop, session_id).status_code in (200, 201)
            return redis.record("laptop")[2] > first
        wait_until(is_touched, what="a later moment to leave")
        assert redis.due("laptop") == redis.record("laptop")[2]

        def is_gone():
            # Another engine may still note a heartbeat, and so put the moment off again.
            record = redis.record("laptop")
            if record and record[2] > 1:
                redis.pass_time("laptop")
            return record is None
        wait_until(is_gone, what="the laptop forgotten")
        watcher.recv_until("device_left", deviceId="laptop")
        accepted(phone.status(session_id, "active"))
        accepted(laptop.status(session_id, "active"))
        watcher.recv_until("device_joined", deviceId="laptop")


def test_an_eleventh_device_of_a_user_is_refused(suite, user):
    devices = [suite.device(user, f"device-{i}") for i in range(N_DEVICES_OF_A_USER + 1)]
    session_id = devices[0].create({})["id"]
    with contextlib.ExitStack() as stack:
        for device in devices[:-1]:
            stack.enter_context(subscribed(device, session_id))
        stack.enter_context(subscribed(devices[0], session_id))  # again: no other device
        with devices[-1].connect() as socket:
            socket.expect("hello")
            refused_frame(ask(socket, "subscribe", sessionId=session_id), "too_many_devices",
                          temporary=True)
        refused(devices[-1].status(session_id, "active"), 403, "too_many_devices", temporary=True)
        accepted(devices[5].status(session_id, "active"))
        redis = Redis(suite.redis_client(), session_id)
        assert redis.client.hget(redis.devices, f"#user:{user}") == "10"


def test_a_lost_connection_to_redis_loses_no_departure(own_suite, user):
    suite = own_suite()
    phone = suite.device(user, "phone")
    session_id = phone.create({})["id"]
    redis = Redis(suite.redis_client(), session_id)
    with subscribed(phone, session_id):
        wait_joined(suite, session_id, "phone")
        redis.client.client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: redis.record("phone") is None or redis.record("phone")[1] == 0,
               what="the departure noted")
    with subscribed(phone, session_id):
        assert redis.record("phone")[:2] == ("j", 1)


def test_a_drained_instance_leaves_nothing_behind(far_apart):
    drained, redis, _ = far_apart
    assert drained.terminate("ws_fanout") == 0
    assert redis.record("laptop")[1] == 0
    assert len(redis.instances()) == 1


def test_a_deleted_session_has_no_devices(suite, user):
    phone = suite.device(user, "phone")
    session_id = phone.create({})["id"]
    redis = Redis(suite.redis_client(), session_id)
    with subscribed(phone, session_id) as socket:
        wait_joined(suite, session_id, "phone")
        assert phone.delete(f"/sessions/{session_id}").status_code == 204
        socket.recv_until("unsubscribed", code="not_found")
    assert not redis.client.exists(redis.devices, redis.presence)
    with phone.connect() as socket:
        socket.expect("hello")
        refused_frame(ask(socket, "subscribe", sessionId=session_id), "not_found")
    assert not redis.client.exists(redis.devices, redis.presence)


def test_who_comes_leaves_room_for_commands(own_suite, user):
    suite = own_suite(HANDOFF_MAX_COMMANDS_IN_FLIGHT="8")
    phone, engine = suite.device(user, "phone"), suite.services["state_engine"].process
    sessions = [phone.create({})["id"] for _ in range(9)]

    def in_flight():
        return metric(suite.services["ws_fanout"], "handoff_commands_in_flight")

    with phone.connect() as socket:
        socket.expect("hello")
        engine.send_signal(signal.SIGSTOP)
        try:
            for session_id in sessions:
                socket.send(type="subscribe", sessionId=session_id)
                socket.expect("state_sync")
            wait_until(lambda: in_flight() >= 4, what="the engine asked about half of them")
            socket.send(type="patch", id="p", sessionId=sessions[0],
                        operations=[{"op": "add", "path": "/data/a", "value": 1}])
            wait_until(lambda: in_flight() == 5, what="the patch in flight")
        finally:
            engine.send_signal(signal.SIGCONT)
        socket.recv_until("ack", id="p")
    for session_id in sessions:
        redis = Redis(suite.redis_client(), session_id)
        wait_until(lambda: redis.record("phone") and redis.record("phone")[0] == "j", what="each join")


# ---- what the devices are called, and their list ----

def devices_of(device, session_id):
    answer = device.get(f"/sessions/{session_id}/devices")
    assert answer.status_code == 200, answer.text
    return {d["deviceId"]: d for d in answer.json()["items"]}


def wait_device(reader, session_id, device, **expected):
    """The device as it is listed, once these members are so."""
    def found():
        listed = devices_of(reader, session_id).get(device)
        return listed if listed and {k: listed[k] for k in expected} == expected else None
    return wait_until(found, what=f"{device} listed with {expected}")


def call_oneself(socket, device, name, platform):
    socket.send(type="auth", token=device.token, device={"name": name, "platform": platform})
    socket.expect("hello")


def test_a_name_said_later_is_known(suite, user):
    suite = suite.direct
    phone, laptop = suite.device(user, "phone"), suite.device(user, "laptop")
    sessions = [phone.create({})["id"] for _ in range(2)]
    with laptop.connect() as socket, laptop.connect() as silent, subscribed(phone, sessions[0]) as watcher:
        for s in (socket, silent):
            s.expect("hello")
            for session_id in sessions:
                s.send(type="subscribe", sessionId=session_id)
                s.expect("state_sync")
        watcher.recv_until("device_joined", deviceId="laptop")
        call_oneself(socket, laptop, "Ada's laptop", "linux")
        for session_id in sessions:
            wait_device(phone, session_id, "laptop", name="Ada's laptop", platform="linux", connected=True)
        call_oneself(socket, laptop, "Work", "linux")
        for session_id in sessions:
            wait_device(phone, session_id, "laptop", name="Work", platform="linux", connected=True)
        redis = Redis(suite.redis_client(), sessions[0])
        assert redis.record("laptop")[:2] == ("j", 1)
        socket.close()
        silent.close()
        wait_until(lambda: redis.record("laptop")[1] == 0, what="the departure")
        redis.pass_time("laptop")
        left, = only_presence(watcher, 1)
        assert (left["type"], left["name"], left["platform"]) == ("device_left", "Work", "linux")


def test_every_kind_of_device_is_listed_as_it_is(suite, user):
    phone, laptop, tablet = (suite.device(user, d) for d in ("phone", "laptop", "tablet"))
    session_id = phone.create({})["id"]
    redis = Redis(suite.redis_client(), session_id)
    with subscribed(phone, session_id) as watcher:
        pass_joined(phone, session_id, ["phone"], watcher)
        call_oneself(watcher, phone, "Phone", "ios")
        with subscribed(laptop, session_id) as socket:
            only_presence(watcher, 1)
            call_oneself(socket, laptop, "Laptop", "linux")
            wait_device(phone, session_id, "laptop", name="Laptop", connected=True)
            seen = wait_device(phone, session_id, "laptop", connected=True)["lastSeen"]
        wait_device(phone, session_id, "laptop", name="Laptop", connected=False)
        redis.pass_time("laptop")
        only_presence(watcher, 1)  # it left
        wait_until(lambda: redis.record("laptop") is None, what="the laptop forgotten by Redis")
        assert phone.delete(f"/sessions/{session_id}/devices/tablet").status_code == 204
        refused(tablet.patch(session_id, []), 403, "device_removed")
        wait_device(phone, session_id, "laptop", name="Laptop")  # by PostgreSQL now

        found = {k: (d["name"], d["platform"], d["connected"], d["active"], d["removed"])
                 for k, d in devices_of(phone, session_id).items()}
        assert found == {"phone": ("Phone", "ios", True, True, False),
                         "laptop": ("Laptop", "linux", False, False, False),
                         "tablet": (None, None, False, False, True)}
        gone = devices_of(phone, session_id)["laptop"]
        # The audit trail counts from the join as it was told, which follows the connection.
        assert gone["firstSeen"] <= gone["lastSeen"] and seen <= gone["lastSeen"]

        accepted(tablet_in(phone, tablet, session_id).status(session_id, "active"))
        only_presence(watcher, 1)
        listed = wait_device(phone, session_id, "tablet", active=True, connected=False, removed=False)
        assert listed["firstSeen"] <= listed["lastSeen"]
        assert not devices_of(phone, session_id)["phone"]["active"]


def tablet_in(owner, tablet, session_id):
    """The tablet, let in again."""
    answer = owner.request("PUT", f"/sessions/{session_id}/devices/{tablet.name}")
    assert answer.status_code == 204, answer.text
    return tablet


def test_who_is_kept_out_is_not_connected(suite, user, stranger):
    phone, laptop = suite.device(user, "phone"), suite.device(user, "laptop")
    session_id = phone.create({})["id"]
    answer = phone.request("PUT", f"/sessions/{session_id}/participants/{stranger.user}", json={"role": "editor"})
    assert answer.status_code == 204, answer.text
    with subscribed(phone, session_id) as watcher, subscribed(laptop, session_id), \
            subscribed(stranger, session_id):
        pass_joined(phone, session_id, ["phone", "laptop", stranger.name], watcher)
        assert phone.delete(f"/sessions/{session_id}/devices/laptop").status_code == 204
        wait_device(phone, session_id, "laptop", connected=False, removed=True)
        assert phone.delete(f"/sessions/{session_id}/participants/{stranger.user}").status_code == 204
        wait_device(phone, session_id, stranger.name, connected=False, removed=False)
        redis = Redis(suite.redis_client(), session_id)
        for gone in ("laptop", stranger.name):
            redis.pass_time(gone)
        left = {frame["deviceId"]: frame["type"] for frame in only_presence(watcher, 2)}
        assert left == {"laptop": "device_left", stranger.name: "device_left"}
        wait_until(lambda: redis.record("laptop") is None, what="the laptop forgotten")
        wait_until(lambda: redis.client.hget(redis.devices, "#all") == "1", what="the phone alone")
        assert redis.client.hget(redis.devices, f"#user:{stranger.user}") is None


# ---- engines ----

@pytest.fixture
def world(servers, new_realm, tmp_path):
    """Engines alone, in a realm with the tables of audit_writer."""
    realm = new_realm()
    realm.rabbitmq.port = servers.rabbitmq.port
    world = World(realm, tmp_path)
    audit = make_service("audit_writer", BUILD / "bin", world.env(), admin_port=free_ports(1)[0],
                         log=tmp_path / "audit_writer.log").start()
    audit.wait_ready()
    try:
        yield world
    finally:
        world.stop()
        audit.stop()


class Arrival(Redis):
    """A device that has just arrived, as ws_fanout leaves it."""

    def __init__(self, world, session_id, user):
        super().__init__(world.redis, session_id)
        now = int(time.time() * 1000)
        self.client.set("instance:{i:1}", 1)
        self.client.hset(self.devices, mapping={
            "tablet": f"{user} n 1 {now} {now} 0 1 0 0 0 0 0 ", "tablet\ni:1": f"1 {now}",
            "#all": 1, f"#user:{user}": 1, "#via:i:1": 1, "#instances": ",i:1,"})
        self.client.zadd(self.presence, {"tablet": now})


def joined_ids(subscriber):
    return [message_id for message_id, kind, _ in subscriber.got if kind == "device_joined"]


@pytest.mark.parametrize("is_held", [True, False], ids=["before it was published", "before it was noted"])
def test_an_engine_killed_while_it_tells_tells_the_same_again(world, is_held):
    relay = world.relay()
    engine = world.engine(relay=relay)
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create()
    subscriber.wait_for(session_id, 1)
    world.wait_marked(session_id)
    arrival = Arrival(world, session_id, backend.user)
    if is_held:
        relay.hold("publish")
    backend.send(backend.command("presence", session_id, scope=["read"]))
    wait_until(lambda: arrival.record("tablet")[0] == "j", what="the join judged")
    if not is_held:
        subscriber.wait(lambda: joined_ids(subscriber), "the join told")
    world.kill(engine)
    n_before = len(joined_ids(subscriber))
    assert n_before == (0 if is_held else 1)
    relay.release()
    world.engine()
    if arrival.due("tablet"):  # not noted as told: its lease is over
        arrival.client.zadd(arrival.presence, {"tablet": 1})
        backend.send(backend.command("presence", session_id, scope=["read"]))
        subscriber.wait(lambda: len(joined_ids(subscriber)) > n_before, "the join told again")
    wait_until(lambda: arrival.is_told("tablet"), what="the join noted as told")
    assert len(set(joined_ids(subscriber))) == 1


def test_the_attention_look_tells_without_a_command(world):
    world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create()
    arrival = Arrival(world, session_id, backend.user)
    wait_until(lambda: arrival.record("tablet")[0] == "j", what="the join judged")
    subscriber.wait(lambda: joined_ids(subscriber), "the join told")
    wait_until(lambda: arrival.is_told("tablet"), what="the join noted as told")
    assert len(joined_ids(subscriber)) == 1


def test_a_crowd_that_came_together_is_told_together(world):
    world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create()
    crowd = Arrival(world, session_id, backend.user)
    n, now = 500, int(time.time() * 1000)
    crowd.client.hset(crowd.devices, mapping={
        **{f"d{i}": f"{backend.user} n 1 {now} {now} 0 1 0 0 0 0 0 " for i in range(n)},
        **{f"d{i}\ni:1": f"1 {now}" for i in range(n)}, "#all": n + 1, "#via:i:1": n + 1})
    crowd.client.zadd(crowd.presence, {f"d{i}": now for i in range(n)})
    reply, = backend.take(backend.send(backend.command("presence", session_id, scope=["read"])))
    assert "error" not in reply
    assert crowd.client.hget(crowd.devices, "#joined") == str(n + 1)
    subscriber.wait(lambda: len(set(joined_ids(subscriber))) == n + 1, "each told")


def test_presence_of_many_sessions_and_of_none(world):
    world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    sessions = [backend.create() for _ in range(100)]
    arrivals = [Arrival(world, s, backend.user) for s in sessions]
    commands = [backend.command("presence", s, scope=["read"]) for s in sessions]
    ids = backend.send(*commands[:50]) + backend.send(*commands[50:]) + backend.send(*commands[:50])
    missing = backend.command("presence", MISSING_ID, scope=["read"])
    assert all("error" not in reply for reply in backend.take(ids))
    assert backend.take(backend.send(missing))[0]["error"]["code"] == "not_found"
    subscriber.wait(lambda: len(set(joined_ids(subscriber))) == 100, "each told")
    for arrival in arrivals:
        wait_until(lambda: arrival.is_told("tablet"), what="the join noted as told")
    assert len(joined_ids(subscriber)) == 100, "once"

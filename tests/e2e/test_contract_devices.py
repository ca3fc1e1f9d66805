"""Point 2: the registry of devices, keeping out and letting in, who is there, over several instances."""

import contextlib
import json

import pytest

from contract_client import App, Copy, Refused, eventually
from harness import new_user, together

WRITES = [("PATCH", "", {"operations": [{"op": "add", "path": "/data/x", "value": 1}]}),
          ("POST", "?status=active", None), ("POST", "/heartbeat", None), ("POST", "/broadcast", {"message": 1}),
          ("POST", "/snapshots", {}), ("POST", "/restore", {"version": 1})]
READS = [("GET", route, None) for route in ("", "/deltas?since=0", "/history", "/snapshots", "/snapshots/1", "/devices",
                                            "/participants")]


@pytest.fixture
def app(suite, user):
    return App(suite, user, "phone")


def code_of(answer):
    return answer.status_code, answer.json()["code"]


def refused(work):
    with pytest.raises(Refused) as answer:
        work().close()
    return answer.value.status, answer.value.problem["code"]


# ---- the registry ----

def test_a_device_says_its_name_first_or_later_and_anew(suite, app):
    laptop = App(suite, app.user, "laptop")
    s = app.create()["id"]
    with app.watch(s)[0] as watcher, laptop.websocket() as ws:
        ws.ask("auth", token=laptop.token, device={"name": "Annas Läptop 😀", "platform": "linux"})
        assert ws.ask("subscribe", sessionId=s)["type"] == "state_sync"
        seen = laptop.devices(s)["laptop"]
        assert (seen["name"], seen["platform"], seen["userId"]) == ("Annas Läptop 😀", "linux", app.user)
        assert (seen["connected"], seen["active"], seen["removed"]) == (True, False, False)
        eventually("its joining", lambda: watcher.silent() or any(
            (e["deviceId"], e["name"]) == ("laptop", "Annas Läptop 😀") for e in watcher.presence))
        ws.ask("auth", token=laptop.token, device={"name": "new", "platform": "bsd"})
        eventually("its new name", lambda: laptop.devices(s)["laptop"]["name"] == "new")
    assert app.devices(s)["phone"]["name"] is None


@pytest.mark.parametrize("member, most", [("name", 255), ("platform", 64)])
def test_a_name_at_its_bound_in_bytes(app, member, most):
    s = app.create()["id"]
    longest = "ü" * (most // 2) + "x" * (most % 2)
    with app.websocket(s) as ws:
        assert ws.ask("auth", token=app.token, device={member: longest})["type"] == "hello"
        eventually("the longest", lambda: app.devices(s)["phone"][member] == longest)
        for bad in (longest + "x", "a\nb", "\x7f", 7):
            answer = ws.ask("auth", token=app.token, device={member: bad})
            assert answer["type"] == "error" and answer["code"] in ("invalid_request", "invalid_value"), bad
        assert app.devices(s)["phone"][member] == longest


def test_first_and_last_seen_and_who_is_active(suite, app):
    laptop, guest = App(suite, app.user, "laptop"), App(suite, new_user(), "tablet")
    s = app.create()["id"]
    app.share(s, guest.user, "viewer")
    first = eventually("it was seen", lambda: app.devices(s)["phone"] if app.devices(s)["phone"]["firstSeen"] else None)
    assert first["active"] and not first["connected"] and first["firstSeen"] <= first["lastSeen"]
    laptop.status(s, "active")
    now = laptop.devices(s)
    assert [d for d in now if now[d]["active"]] == ["laptop"]
    laptop.status(s, "paused")
    assert not any(d["active"] for d in app.devices(s).values())
    with guest.websocket(s) as ws:
        ws.expect("state_sync")
        devices = guest.ok("GET", f"/sessions/{s}/devices")["items"]
        assert (devices[0]["deviceId"], devices[0]["connected"], devices[0]["userId"]) == ("tablet", True, guest.user)
    eventually("it is no more", lambda: not app.devices(s)["tablet"]["connected"])
    app.set(s, "n", 1)
    last = app.devices(s)["phone"]
    assert last["firstSeen"] == first["firstSeen"] and last["lastSeen"] >= first["lastSeen"]


def test_a_device_on_two_instances_is_connected_until_it_left_both(app, own_fanout):
    other = own_fanout(HANDOFF_FANOUT_BINDING="session")
    s = app.create()["id"]
    with app.at(other).stream(s, device="phone") as stream:
        stream.expect("state_sync")
        with app.websocket(s) as ws:
            ws.expect("state_sync")
        time_of_death = app.devices(s)["phone"]["lastSeen"]
        assert app.devices(s)["phone"]["connected"]
    eventually("it is gone", lambda: not app.devices(s)["phone"]["connected"])
    assert app.devices(s)["phone"]["lastSeen"] >= time_of_death


# ---- keeping out ----

def everything_is(app, s, expected):
    for method, route, body in READS + WRITES:
        answer = app.call(method, f"/sessions/{s}{route}", body)
        if expected == "open":
            assert answer.status_code < 300, f"{method} {route}: {answer.text}"
        else:
            assert code_of(answer) == (403, "device_removed"), f"{method} {route}: {answer.text}"
    assert app.call("HEAD", f"/sessions/{s}").status_code == (200 if expected == "open" else 403)


def sockets_are(app, s, expected):
    with app.websocket() as ws:
        answers = [ws.ask(kind, sessionId=s, **more) for kind, more in [
            ("subscribe", {}), ("subscribe", {"since": 1}), ("heartbeat", {}), ("status", {"status": "active"}),
            ("patch", {"operations": [{"op": "add", "path": "/data/y", "value": 1}]}), ("broadcast", {"message": 1})]]
    with app.websocket(s) as ws:
        answers.append(ws.recv())
    if expected == "open":
        assert [a["type"] for a in answers] == ["state_sync", "subscribed", "ack", "ack", "ack", "ack", "state_sync"]
        app.stream(s).close()
        return
    assert {(a["type"], a["sessionId"], a["temporary"]) for a in answers} == {("error", s, False)}
    assert [a["code"] for a in answers[:-2] + answers[-1:]] == ["device_removed"] * 6
    # A broadcast is of a session that is watched, which this device cannot.
    assert answers[-2]["code"] in ("device_removed", "invalid_request", "not_found"), answers[-2]
    assert refused(lambda: app.stream(s)) == (403, "device_removed")
    assert refused(lambda: app.stream(s, last_id="1:1")) == (403, "device_removed")


@pytest.mark.parametrize("claim", [True, False], ids=["claim", "header"])
@pytest.mark.parametrize("whose", ["owner", "editor"])
def test_a_removed_device_is_refused_everywhere_and_let_in_again(suite, app, claim, whose):
    user = app.user if whose == "owner" else new_user()
    tablet, sibling = App(suite, user, "tablet:1", claim), App(suite, user, "tablet", claim)
    s, other = app.create({"n": 1}, name="a")["id"], tablet.create({})["id"]
    if whose == "editor":
        app.share(s, user, "editor")
    app.ok("DELETE", f"/sessions/{s}/devices/tablet%3A1")
    listed = app.devices(s)["tablet:1"]
    assert listed["removed"] and not listed["connected"]
    everything_is(tablet, s, "device_removed")
    sockets_are(tablet, s, "device_removed")
    assert tablet.read(other)["version"] == 1
    everything_is(sibling, s, "open")
    app.ok("PUT", f"/sessions/{s}/devices/tablet:1")
    everything_is(tablet, s, "open")
    sockets_are(tablet, s, "open")
    assert not app.devices(s)["tablet:1"]["removed"]


def test_its_sockets_and_streams_lose_the_session_and_no_other(suite, app, own_fanout):
    tablet, laptop = App(suite, app.user, "tablet"), App(suite, app.user, "laptop")
    second = own_fanout(HANDOFF_FANOUT_BINDING="session")
    s, other = app.create()["id"], app.create()["id"]
    with laptop.watch(s)[0] as watcher, tablet.websocket(s) as here, tablet.at(second).websocket(s) as there, \
            tablet.at(second).stream(s) as stream:
        for connection in (here, there, stream):
            connection.expect("state_sync")
        here.ask("subscribe", sessionId=other)
        app.ok("DELETE", f"/sessions/{s}/devices/tablet")
        for connection in (here, there, stream):
            message = connection.recv()
            if message["type"] == "device_changed":
                message = connection.recv()
            assert (message["type"], message["code"]) == ("unsubscribed", "device_removed")
        with pytest.raises(Exception, match="None"):
            stream.recv()
        assert (watcher.expect("device_changed", version=2)["device"], watcher.silent()) == ("tablet", [])
        app.set(s, "n", 1)
        app.set(other, "n", 1)
        here.expect("state_delta", sessionId=other)
        assert here.silent() == there.silent() == []
        app.ok("PUT", f"/sessions/{s}/devices/tablet")
        told = there.ask("subscribe", sessionId=s, since=1)
        assert (told["type"], told["replayed"]) == ("subscribed", 3)


def test_whoever_the_device_belongs_to_it_is_its_id_that_is_kept_out(suite, app):
    guest = App(suite, new_user(), "tablet")
    mine = App(suite, app.user, "tablet")
    s = app.create()["id"]
    app.share(s, guest.user, "viewer")
    app.ok("DELETE", f"/sessions/{s}/devices/tablet")
    for device in (guest, mine):
        assert code_of(device.call("GET", f"/sessions/{s}")) == (403, "device_removed")
    stranger = App(suite, new_user(), "tablet")
    assert code_of(stranger.call("GET", f"/sessions/{s}")) == (404, "not_found")
    assert refused(lambda: stranger.stream(s)) == (404, "not_found")


def test_the_owner_may_keep_out_the_device_in_its_hand(suite, app):
    """And needs another one to let it in again."""
    laptop = App(suite, app.user, "laptop")
    s = app.create()["id"]
    app.ok("DELETE", f"/sessions/{s}/devices/phone")
    assert code_of(app.call("PUT", f"/sessions/{s}/devices/phone")) == (403, "device_removed")
    assert code_of(app.call("DELETE", f"/sessions/{s}")) == (403, "device_removed")
    assert laptop.devices(s)["phone"]["removed"]
    version = laptop.read(s)["version"]
    laptop.ok("DELETE", f"/sessions/{s}/devices/phone")
    assert laptop.read(s)["version"] == version == 2, "what is so already is no version"
    laptop.ok("PUT", f"/sessions/{s}/devices/phone", headers={"If-Match": '"2"'})
    assert laptop.call("PUT", f"/sessions/{s}/devices/phone", headers={"If-Match": '"2"'}).status_code == 412
    assert app.read(s)["version"] == 3


def test_it_survives_that_everything_is_killed(own_suite):
    own = own_suite()
    phone, tablet = (App(own, "22222222-2222-4222-8222-222222222222", d) for d in ("phone", "tablet"))
    s = phone.create()["id"]
    phone.ok("DELETE", f"/sessions/{s}/devices/tablet")
    phone.ok("DELETE", f"/sessions/{s}/devices/other")
    phone.ok("PUT", f"/sessions/{s}/devices/other")
    for name in list(own.services):
        own.kill(name)
    for name in list(own.services):
        own.restart(name)
    assert [d for d, now in phone.devices(s).items() if now["removed"]] == ["tablet"]
    assert code_of(tablet.call("GET", f"/sessions/{s}")) == (403, "device_removed")
    assert code_of(tablet.call("POST", f"/sessions/{s}/heartbeat")) == (403, "device_removed")
    assert refused(lambda: tablet.stream(s)) == (403, "device_removed")
    phone.ok("PUT", f"/sessions/{s}/devices/tablet")
    tablet.status(s, "active")


# ---- who is there ----

def test_the_eleventh_device_of_a_user_over_two_instances(suite, app, own_fanout):
    second = own_fanout(HANDOFF_FANOUT_BINDING="session")
    s = app.create()["id"]
    guest = App(suite, new_user(), "d11")
    app.share(s, guest.user, "viewer")
    devices = [App(suite, app.user, f"d{n}") for n in range(2, 12)]
    with contextlib.ExitStack() as stack:
        for n, device in enumerate(devices[:-1]):
            if n % 3:
                at = device.at(second) if n % 3 == 1 else device
                stack.enter_context(at.websocket(s)).expect("state_sync")
            else:
                device.stream(s).expect("state_sync")
                stack.enter_context(device.stream(s)).expect("state_sync")
        stack.enter_context(app.websocket(s)).expect("state_sync")  # to create it was not to join it
        last = devices[-1]
        assert code_of(last.call("POST", f"/sessions/{s}?status=active")) == (403, "too_many_devices")
        assert last.call("POST", f"/sessions/{s}?status=active").json()["temporary"] is True
        assert refused(lambda: last.stream(s)) == (403, "too_many_devices")
        with last.at(second).websocket() as ws:
            for answer in (ws.ask("subscribe", sessionId=s), ws.ask("status", sessionId=s, status="active")):
                assert (answer["code"], answer["temporary"]) == ("too_many_devices", True)
        # It may still read and write, a stream without a device is none, others have ten of their own.
        assert last.set(s, "n", 1) == 3
        stack.enter_context(App(suite, app.user, None).stream(s)).expect("state_sync")
        stack.enter_context(guest.websocket(s)).expect("state_sync")
        # One that is there may come again, and go on to be the active one.
        stack.enter_context(devices[0].at(second).websocket(s)).expect("state_sync")
        assert devices[1].status(s, "active")["activeDeviceId"] == "d3"
        # A device that is kept out gives its place.
        app.ok("DELETE", f"/sessions/{s}/devices/d10")
        eventually("room for one more", lambda: last.call("POST", f"/sessions/{s}?status=active").status_code == 200)


def test_each_joins_once_however_it_comes(suite, app, own_fanout):
    """Twelve connections of six devices at once, to two instances, by WebSocket and stream, of which some
    take the session over meanwhile: another backend and both instances hear of each once."""
    second = own_fanout(HANDOFF_FANOUT_BINDING="session")
    s = app.create()["id"]
    connection = suite.amqp()
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    for kind in ("device_joined", "device_left"):
        channel.queue_bind(queue, "session_updates", f"session.{s}.{kind}")
    devices = [App(suite, app.user, f"d{n}") for n in range(6)]

    def come(n):
        device = devices[n % 6]
        if n % 3 == 0:
            device.status(s, "active")
        at = device.at(second) if n < 6 else device
        joined = at.websocket(s) if n % 2 else at.stream(s)
        joined.expect("state_sync")
        return joined

    def heard():
        while True:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if not method:
                return told
            event = json.loads(body)
            assert event["type"] == properties.type == "device_joined"
            told[properties.message_id] = event["deviceId"]

    told = {}
    with app.websocket(s) as here, app.at(second).websocket(s) as there, contextlib.ExitStack() as stack:
        for ws in (here, there):
            ws.expect("state_sync")
        for joined in together(12, come):
            stack.enter_context(joined)
        # app itself is a device, and joined when it created the session, or with its connections
        eventually("all are told", lambda: set(heard().values()) >= {f"d{n}" for n in range(6)})
        app.set(s, "n", "end")
        for ws in (here, there):
            while ws.recv()["type"] != "state_delta":
                pass
            names = [e["deviceId"] for e in ws.presence if e["deviceId"] != "phone"]
            assert sorted(names) == [f"d{n}" for n in range(6)]
            assert all(e["type"] == "device_joined" for e in ws.presence)
        assert sorted(heard().values()).count("d0") == 1 and len(set(told.values())) == len(told)
        now = app.devices(s)
        assert all(now[f"d{n}"]["connected"] for n in range(6)) and sum(d["active"] for d in now.values()) == 1
    connection.close()


def test_presence_is_no_version_and_is_not_made_up_for(suite, app):
    laptop = App(suite, app.user, "laptop")
    s = app.create()["id"]
    with laptop.websocket(s) as ws:
        mine = Copy(app.user).take(ws.expect("state_sync"))
        eventually("it joined", lambda: app.call("GET", f"/sessions/{s}/history?type=device_joined&deviceId=laptop")
                   .json()["items"])
    assert app.deltas(s, 1) == ([], True) and mine.agrees_with(app.read(s))
    with app.websocket(s, since=1) as ws:
        ws.expect("subscribed", replayed=0)
        app.set(s, "n", 1)
        ws.expect("state_delta")
        assert not [e for e in ws.presence if (e["type"], e["deviceId"]) == ("device_joined", "laptop")]

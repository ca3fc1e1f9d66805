"""Points 1 to 7 at the same time: rights that come and go under live connections, presence while nobody can
tell it, names and heartbeats over the lives of connections."""

import contextlib
import threading

import pytest

from contract_client import App, Copy, Ended, Refused, eventually
from harness import new_user


@pytest.fixture
def app(suite, user):
    return App(suite, user, "phone")


class Stubborn(threading.Thread):
    """A socket that subscribes anew from where it is whenever it loses the session, as the documents
    tell it to go on; the copy must come to `version` without a gap or a double."""

    def __init__(self, app, session_id, mine):
        super().__init__()
        self.app, self.id, self.mine, self.stop_at, self.n_lost, self.error = app, session_id, mine, None, 0, None
        self.is_in = True
        self.start()

    def run(self):
        try:
            with self.app.websocket(self.id, since=self.mine.version) as ws:
                while self.stop_at is None or self.mine.version < self.stop_at or not self.is_in:
                    self.take(ws, ws.recv())
        except BaseException as error:
            self.error = error

    def take(self, ws, message):
        if message["type"] == "unsubscribed":
            self.n_lost += 1
        if message["type"] in ("unsubscribed", "error"):
            assert message["code"] in ("not_found", "device_removed"), message
            self.is_in = False
            ws.send(type="subscribe", sessionId=self.id, since=self.mine.version)
        elif message["type"] == "subscribed":
            self.is_in = True
        else:
            self.mine.take(message)

    def finish(self):
        self.join(30)
        if self.error:
            raise self.error
        assert not self.is_alive(), f"at {self.mine.version} of {self.stop_at}, lost {self.n_lost} times"


def test_rights_that_come_and_go_quickly_end_where_they_ended(suite, app, shared_fanout):
    """One guest is made a participant and none, one device kept out and let in, over and over, while
    both insist: whatever came late or early, who may at the end has it all."""
    fast = shared_fanout(HANDOFF_WS_MESSAGES_PER_SECOND="100000")
    guest, tablet = App(suite, new_user(), "guest").at(fast), App(suite, app.user, "tablet").at(fast)
    s = app.create()["id"]
    app.share(s, guest.user, "viewer")
    insistent = [Stubborn(d, s, Copy(d.user, d.read(s))) for d in (guest, tablet)]
    for n in range(15):
        app.unshare(s, guest.user)
        app.ok("DELETE", f"/sessions/{s}/devices/tablet")
        app.set(s, "n", n)
        app.share(s, guest.user, "editor" if n % 2 else "viewer")
        app.ok("PUT", f"/sessions/{s}/devices/tablet")
    version = app.read(s)["version"] + 1
    for one in insistent:
        one.stop_at = version
    app.set(s, "n", "end")
    for one, device in zip(insistent, (guest, tablet)):
        one.finish()
        one.mine.agrees_with(device.read(s))
        assert one.n_lost >= 1 and one.mine.syncs == []
        assert one.mine.versions == list(range(one.mine.versions[0], version + 1))


def test_a_heartbeat_of_a_viewer_extends_nothing(suite, app):
    guest = App(suite, new_user(), "guest")
    s = app.create(ttlSeconds=60)["id"]
    app.share(s, guest.user, "viewer")
    before = app.read(s)
    with guest.websocket() as ws:
        assert ws.ask("heartbeat", sessionId=s)["version"] == 2
    told = guest.ok("POST", f"/sessions/{s}/heartbeat")
    assert told["expiresAt"] == before["expiresAt"] and app.read(s) == before
    assert app.ok("POST", f"/sessions/{s}/heartbeat")["expiresAt"] > before["expiresAt"]
    assert app.read(s)["version"] == 2


def test_who_is_connected_is_listed_while_no_engine_lives(own_suite):
    """Presence is told by engines; that a device is there and what it is called is known without."""
    own = own_suite()
    phone, laptop = (App(own, "22222222-2222-4222-8222-222222222222", d) for d in ("phone", "laptop"))
    s = phone.create()["id"]
    phone.set(s, "n", 1)
    connection, mine = phone.watch(s)
    with connection as ws:
        joined = f"/sessions/{s}/history?type=device_joined"
        eventually("the phone's own joining", lambda: phone.ok("GET", joined)["items"])
        phone.call("POST", f"/sessions/{s}/broadcast", {"message": "behind it", "echo": True})
        ws.expect("broadcast")
        assert {e["deviceId"] for e in ws.presence} <= {"phone"}  # to itself it need not be told
        ws.presence.clear()
        own.kill("state_engine")
        with laptop.websocket(s, since=1) as other:
            other.expect("subscribed", replayed=1)
            other.ask("auth", token=laptop.token, device={"name": "L", "platform": "tty"})
            now = eventually("its name", lambda: (lambda d: d if d["name"] else None)(phone.devices(s)["laptop"]))
            assert (now["connected"], now["name"], now["platform"]) == (True, "L", "tty")
            assert ws.silent() == [] and ws.presence == []
            # Broadcasts do not need an engine, resuming does not, keeping out does.
            assert phone.call("POST", f"/sessions/{s}/broadcast", {"message": 1}).status_code == 202
            assert other.recv()["type"] in ("state_delta", "broadcast")
            with laptop.stream(s, last_id="1:1") as stream:
                assert stream.expect("subscribed", replayed=1)
            own.restart("state_engine")
            eventually("it is told once an engine lives", lambda: ws.silent() is not None and ws.presence, 30)
            assert [(e["type"], e["deviceId"], e["name"]) for e in ws.presence] == [("device_joined", "laptop", "L")]
            assert mine.session["version"] == 2


def test_a_session_deleted_under_all_kinds_of_connections(suite, app, own_fanout):
    guest, second = App(suite, new_user(), "guest"), own_fanout(HANDOFF_FANOUT_BINDING="session")
    s = app.create()["id"]
    app.share(s, guest.user, "editor")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(c) for c in (
            app.websocket(s), guest.at(second).websocket(s), guest.stream(s), app.at(second).stream(s, last_id="1:1"))]
        for connection in connections:
            assert connection.recv()["type"] in ("state_sync", "subscribed")
        app.ok("DELETE", f"/sessions/{s}", headers={"If-Match": '"2"'})
        for connection in connections:
            mine = Copy(app.user, {"version": 2, "epoch": 1})
            while not mine.lost:
                message = connection.recv()
                if message["type"] != "participant_changed":
                    mine.take(message)
            assert mine.deleted and mine.lost == "not_found" and mine.version == 3
        for stream in connections[2:]:
            with pytest.raises(Ended):
                stream.recv()
        for again in (lambda: guest.stream(s, last_id="1:2"), lambda: app.stream(s)):
            with pytest.raises(Refused) as refusal:
                again()
            assert refusal.value.status == 404
        for ws in connections[:2]:
            assert ws.ask("subscribe", sessionId=s, since=2)["code"] == "not_found"
            assert ws.ask("broadcast", sessionId=s, message=1)["type"] == "error"


def test_what_a_refused_stream_or_socket_may_answer_is_what_the_documents_list(app):
    """Statuses of an upgrade and of a stream that are refused for a position or a session."""
    s = app.create()["id"]
    cases = [({"since": "x"}, 400), ({"since": "-1"}, 400), ({"since": 2**53}, 422), ({"since": 1, "epoch": 0}, 422),
             ({"epoch": 1}, 400), ({"since": 1, "epoch": "1.0"}, 400)]
    for query, status in cases:
        told = []
        for refused in (lambda query=query: app.websocket(s, **query), lambda query=query: app.stream(s, **query)):
            with pytest.raises(Refused) as answer:
                refused()
            told.append((answer.value.status, answer.value.problem["code"]))
        assert told == [(status, "invalid_request" if status == 400 else "invalid_value")] * 2, query


def test_a_copy_follows_a_conflict_to_the_end(suite, app):
    """Two devices that change the same by baseVersion, each with a socket; a refused one rebases as the
    documents tell it, from the conflict alone, and both copies and the session agree."""
    laptop = App(suite, app.user, "laptop")
    s = app.create({"count": 0})["id"]
    n_each, copies, errors = 20, {}, []

    def count_up(device):
        try:
            with device.websocket() as ws:
                mine = Copy(device.user)
                mine.take(ws.ask("subscribe", sessionId=s))
                for n in range(n_each):
                    while not step(device, ws, mine, n):
                        pass
                copies[device.device] = catch_up(ws, mine, 2 * n_each + 1)
        except BaseException as error:
            errors.append(error)

    def step(device, ws, mine, n):
        answer = ws.ask("patch", sessionId=s, baseVersion=mine.version, key=f"{device.device}-{n}-{mine.version}",
                        operations=[{"op": "replace", "path": "/data/count", "value": mine.session["data"]["count"] + 1}])
        missed = ws.events + answer.get("deltas", [])
        for event in sorted(missed, key=lambda e: e["version"]):
            if event["version"] == mine.version + 1:
                mine.take(event)
        if answer["type"] == "ack":
            catch_up(ws, mine, answer["version"])
            return True
        assert answer["code"] == "version_conflict" and mine.version >= answer["currentVersion"]
        return False

    def catch_up(ws, mine, version):
        while mine.version < version:
            event = ws.recv()
            if event["version"] > mine.version:  # else a conflict told it already
                mine.take(event)
        return mine

    threads = [threading.Thread(target=count_up, args=(d,)) for d in (app, laptop)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors, errors
    now = app.read(s)
    assert now["data"]["count"] == 2 * n_each and all(c.agrees_with(now) for c in copies.values()) and len(copies) == 2

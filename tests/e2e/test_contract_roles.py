"""Points 3, 4 and 5: the table of roles route by route and frame by frame, who loses a session and when,
takeovers, and who gets a broadcast."""

import json

import pytest

from contract_client import App, Copy, Ended, Refused, eventually, follow
from harness import new_user

ROLES = ["owner", "editor", "viewer", "stranger", "left", "admin", "reader", "writer", "editor_reads"]
SET = {"operations": [{"op": "add", "path": "/data/x", "value": 1}]}
OTHER = "33333333-3333-4333-8333-333333333333"

# What the documents allow to whom: (name, who may, method, route, body, status). Everybody else is
# refused with 404, or, who may read, with 403.
READS = {"owner", "editor", "viewer", "admin", "reader", "editor_reads"}
EDITS = {"owner", "editor", "writer"}
OWNS = {"owner", "writer"}
ROUTES = [
    *[("GET " + r, READS, "GET", r, None, 200) for r in (
        "", "/deltas", "/history", "/snapshots", "/snapshots/1", "/devices", "/participants")],
    ("patch", EDITS, "PATCH", "", SET, 200),
    ("status", EDITS, "POST", "?status=active", None, 200),
    ("heartbeat", EDITS | {"viewer"}, "POST", "/heartbeat", None, 200),
    ("broadcast", EDITS, "POST", "/broadcast", {"message": None}, 202),
    ("snapshot", EDITS, "POST", "/snapshots", {"label": "x"}, 201),
    ("restore", EDITS, "POST", "/restore", {"version": 1}, 200),
    ("keep out", OWNS, "DELETE", "/devices/some", None, 204),
    ("let in", OWNS, "PUT", "/devices/some", None, 204),
    ("share", OWNS, "PUT", f"/participants/{OTHER}", {"role": "viewer"}, 204),
    ("take back", OWNS, "DELETE", f"/participants/{OTHER}", None, 204),
    ("cancel", EDITS | {"admin"}, "POST", "?status=cancelled", None, 200),
    ("delete", OWNS | {"admin"}, "DELETE", "", None, 204),
]
FRAMES = [
    ("subscribe", READS, {}, ("state_sync",)), ("subscribe", READS, {"since": 1}, ("subscribed",)),
    ("patch", EDITS, SET, ("ack",)), ("status", EDITS, {"status": "active"}, ("ack",)),
    ("heartbeat", EDITS | {"viewer"}, {}, ("ack",)),
    ("status", EDITS | {"admin"}, {"status": "cancelled"}, ("ack",)),
]


@pytest.fixture
def cast(suite):
    """The session's id and everybody by role; owner, reader and writer are one user."""
    user, editor = new_user(), new_user()
    cast = {"owner": App(suite, user, "phone"), "editor": App(suite, editor, "e"),
            "viewer": App(suite, new_user(), "v"), "stranger": App(suite, new_user(), "s"),
            "left": App(suite, new_user(), "l"), "admin": App(suite, new_user(), "a", scope="sessions:admin"),
            "reader": App(suite, user, "r", scope="sessions:read"),
            "writer": App(suite, user, "w", scope="sessions:write"),
            "editor_reads": App(suite, editor, "er", scope="sessions:read")}
    s = cast["owner"].create({"n": 1})["id"]
    for role in ("editor", "viewer"):
        cast["owner"].share(s, cast[role].user, role)
    cast["owner"].share(s, cast["left"].user, "editor")
    cast["left"].unshare(s, cast["left"].user)
    return s, cast


def no(role, name):
    return 404 if role in ("stranger", "left") else 403


@pytest.mark.parametrize("role", ROLES)
def test_every_route(cast, role):
    s, everybody = cast
    app, owner = everybody[role], everybody["owner"]
    for name, may, method, route, body, status in ROUTES:
        before = owner.read(s)
        answer = app.call(method, f"/sessions/{s}{route}", body)
        if role in may:
            assert answer.status_code == status, f"{name}: {answer.text[:300]}"
            if name == "cancel":
                assert answer.json()["status"] == "cancelled" and answer.json()["role"] in (role, "owner", "viewer")
            continue
        assert answer.status_code == no(role, name), f"{name}: {answer.status_code} {answer.text[:300]}"
        assert answer.json()["code"] == ("not_found" if answer.status_code == 404 else "forbidden")
        assert owner.read(s) == before, name


@pytest.mark.parametrize("role", ROLES)
def test_every_frame(cast, role):
    s, everybody = cast
    app, owner = everybody[role], everybody["owner"]
    with app.websocket() as ws:
        for kind, may, members, good in FRAMES:
            before = owner.read(s)
            answer = ws.ask(kind, sessionId=s, **members)
            if role in may:
                assert answer["type"] in good, answer
                continue
            assert answer["type"] == "error" and answer["sessionId"] == s
            assert answer["code"] == ("not_found" if no(role, kind) == 404 else "forbidden"), (kind, answer)
            assert owner.read(s) == before, kind
    if role in READS:
        app.stream(s).close()
        return
    with pytest.raises(Refused) as answer:
        app.stream(s)
    assert answer.value.status == no(role, "stream")


@pytest.mark.parametrize("role", ROLES)
def test_broadcast_as_a_frame(cast, role):
    s, everybody = cast
    with everybody[role].websocket() as ws, everybody["owner"].watch(s)[0] as watcher:
        watched = ws.ask("subscribe", sessionId=s)["type"] == "state_sync"
        assert watched == (role in READS)
        answer = ws.ask("broadcast", sessionId=s, message="m", echo=True)
        assert (answer["type"] == "ack") == (role in ("owner", "editor")), answer
        if answer["type"] == "ack":
            watcher.expect("broadcast", message="m")
        else:
            assert answer["type"] == "error" and watcher.silent() == []


def test_one_answer_for_what_is_not_there_and_what_is_not_ones_own(cast):
    """Text for text, but for the id: nobody learns that a session is there."""
    s, everybody = cast
    app, none = everybody["stranger"], s[:-4] + ("0000" if s[-4:] != "0000" else "1111")
    for _, _, method, route, body, _ in ROUTES:
        told = []
        for session in (s, none):
            problem = app.call(method, f"/sessions/{session}{route}", body, headers={"X-Request-Id": "x"}).json()
            told.append(json.dumps(problem).replace(session, "?"))
        assert told[0] == told[1]
    with app.websocket() as ws:
        for kind, _, members, _ in FRAMES:
            told = [{**ws.ask(kind, sessionId=i, **members), "sessionId": "?"} for i in (s, none)]
            assert told[0] == told[1]


# ---- sharing, as it goes on ----

def test_a_removed_participant_loses_it_everywhere_at_once_and_may_come_back(suite, own_fanout):
    owner, guest, friend = (App(suite, new_user(), d) for d in ("phone", "tablet", "tv"))
    second = own_fanout(HANDOFF_FANOUT_BINDING="session")
    s, own = owner.create({"n": 1})["id"], guest.create()["id"]
    owner.share(s, guest.user, "editor")
    owner.share(s, friend.user, "viewer")
    here, there, stream = guest.websocket(s), guest.at(second).websocket(s), guest.stream(s)
    with here, there, stream, friend.watch(s)[0] as watcher:
        copies = [Copy(guest.user).take(c.expect("state_sync", version=3)) for c in (here, there, stream)]
        here.ask("subscribe", sessionId=own)
        owner.unshare(s, guest.user)
        for connection, mine in zip((here, there, stream), copies):
            while not mine.lost:
                mine.take(connection.recv())
            assert mine.lost == "not_found" and mine.versions in ([], [4])
        with pytest.raises(Ended):
            stream.recv()
        owner.set(s, "secret", 1)
        watcher.expect("participant_changed", participant=guest.user, role=None)
        watcher.expect("state_delta", version=5)
        guest.set(own, "n", 1)
        assert here.expect("state_delta")["sessionId"] == own
        assert here.silent() == there.silent() == []
        for more in ({}, {"since": 3}):
            assert there.ask("subscribe", sessionId=s, **more)["code"] == "not_found"
        with pytest.raises(Refused):
            guest.stream(s, last_id="1:3")
        # A role again: what went on meanwhile is the reader's too.
        owner.share(s, guest.user, "viewer")
        mine = Copy(guest.user, {**copies[0].session, "version": 3})
        assert there.ask("subscribe", sessionId=s, since=3)["replayed"] == 3
        follow(there, mine, 6).agrees_with(guest.read(s))
        assert mine.session["role"] == "viewer"


def test_the_role_of_a_live_connection_changes_with_the_stored_one(suite):
    """The same socket: viewer, editor, viewer again; its own rights and no reconnection."""
    owner, guest = App(suite, new_user(), "phone"), App(suite, new_user(), "tablet")
    s = owner.create()["id"]
    owner.share(s, guest.user, "viewer")
    connection, mine = guest.watch(s)
    with connection as ws:
        for version, role in ((3, "editor"), (5, "viewer"), (6, "editor")):
            owner.share(s, guest.user, role)
            follow(ws, mine, version)
            assert mine.session["role"] == role == guest.read(s)["role"]
            answer = ws.ask("patch", sessionId=s, **SET)
            assert answer["type"] == ("ack" if role == "editor" else "error"), answer
            for event in ws.events:
                mine.take(event)
    eventually("its role in the list", lambda: [i["role"] for i in guest.ok("GET", "/sessions")["items"]] == ["editor"])
    assert "data" not in guest.ok("GET", "/sessions")["items"][0]
    owner.unshare(s, guest.user)
    eventually("it left the list", lambda: guest.ok("GET", "/sessions?status=active&type=meditation")["items"] == [])


def test_an_admin_reads_on_but_is_no_participant(suite):
    owner, admin = App(suite, new_user(), "phone"), App(suite, new_user(), "desk", scope="sessions:admin sessions:read")
    s = owner.create({"n": 1})["id"]
    connection, mine = admin.watch(s)
    with connection as ws:
        owner.set(s, "n", 2)
        follow(ws, mine, 2).agrees_with(admin.read(s))
        assert mine.session["role"] == "viewer"
        admin.status(s, "cancelled")
        follow(ws, mine, 3).agrees_with(admin.read(s))
    assert s not in [i["id"] for i in admin.ok("GET", "/sessions")["items"]]
    assert owner.ok("GET", f"/sessions/{s}/participants")["items"] == [{"userId": owner.user, "role": "owner"}]


# ---- handoff ----

def test_takeovers_between_people_and_their_devices(suite):
    owner, guest = App(suite, new_user(), "phone"), App(suite, new_user(), "tablet")
    laptop = App(suite, owner.user, "laptop")
    s = owner.create({"n": 1})["id"]
    owner.share(s, guest.user, "editor")
    connection, mine = owner.watch(s)
    with connection as ws, guest.websocket() as other:
        assert other.ask("status", sessionId=s, status="active", key="t")["version"] == 3
        lost = ws.expect("status_changed", reason="takeover", activeDeviceId="tablet", deviceId="tablet",
                         userId=guest.user)
        assert (lost["from"], lost["to"]) == ("active", "active")
        # The same again by its key: no second takeover, though the laptop has it meanwhile.
        assert laptop.status(s, "active")["activeDeviceId"] == "laptop"
        again = other.ask("status", sessionId=s, status="active", key="t")
        assert (again["version"], again.get("replayed")) == (3, True)
        assert owner.read(s)["activeDeviceId"] == "laptop"
        # A takeover on a base that is gone is refused; nobody lost it.
        stale = guest.call("POST", f"/sessions/{s}?status=active", headers={"If-Match": '"3"'})
        assert stale.status_code == 412 and [d["version"] for d in stale.json()["deltas"]] == [4]
        # activeDeviceId locks nothing: another device pauses, a third goes on.
        guest.status(s, "paused")
        assert [i["id"] for i in owner.ok("GET", "/sessions?status=paused")["items"]] in ([s], [])
        eventually("the list has it", lambda: [i["id"] for i in owner.ok("GET", "/sessions?status=paused")["items"]] == [s])
        resumed = owner.status(s, "active")
        mine.take(lost)
        follow(ws, mine, 6).agrees_with(resumed)
    reasons = [e["reason"] for e in owner.deltas(s, 2)[0]]
    assert reasons == ["takeover", "takeover", "request", "request"]


# ---- broadcast ----

@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("way", ["rest", "frame"])
def test_who_gets_a_broadcast(suite, own_fanout, echo, way):
    owner, guest = App(suite, new_user(), "phone"), App(suite, new_user(), "tablet")
    second = own_fanout(HANDOFF_FANOUT_BINDING="session")
    s = owner.create()["id"]
    owner.share(s, guest.user, "viewer")
    nobody = App(suite, owner.user, None)
    sender, twin, mirror = owner.websocket(s), owner.at(second).websocket(s), owner.stream(s)
    others = [App(suite, owner.user, "laptop").at(second).websocket(s), guest.websocket(s), guest.stream(s),
              nobody.stream(s), nobody.at(second).stream(s)]
    everyone = [sender, twin, mirror, *others]
    away = guest.websocket(s)
    try:
        for connection in (*everyone, away):
            connection.expect("state_sync")
        away.ask("unsubscribe", sessionId=s)
        message = {"cue": ["bell", None, "ü" * 100]}
        more = {"echo": True} if echo else {}
        if way == "rest":
            answer = owner.call("POST", f"/sessions/{s}/broadcast", {"message": message, **more})
            assert (answer.status_code, answer.content) == (202, b"")
        else:
            # Its echo may come before the ack.
            ack = sender.ask("broadcast", sessionId=s, message=message, **more)
            assert (ack["type"], ack["version"], "checksum" in ack) == ("ack", 2, False)
        owner.set(s, "n", 1)
        for connection in everyone:
            got = sender.events[:] if connection is sender and way == "frame" else []
            while not got or got[-1]["type"] != "state_delta":
                got.append(connection.recv())
            broadcasts = [e for e in got if e["type"] == "broadcast"]
            own = connection in (sender, twin, mirror)
            assert len(broadcasts) == (0 if own and not echo else 1), (everyone.index(connection), got)
            for event in broadcasts:
                assert (event["message"], event["userId"], event["deviceId"]) == (message, owner.user, "phone")
                assert (event["epoch"], event["version"], event["sessionId"]) == (1, 2, s)
        assert away.silent() == []
        assert owner.deltas(s, 2)[0][0]["version"] == 3
    finally:
        for connection in (*everyone, away):
            connection.close()


@pytest.mark.parametrize("text, n", [("x", 1), ("ü", 2), ("😀", 4), ('"', 2), ("\n", 2)])
def test_a_broadcast_at_its_bound_arrives_whole(suite, text, n):
    """60 KiB of the compact JSON, whatever the bytes are; past it both ways refuse alike."""
    owner = App(suite, new_user(), "phone")
    laptop = App(suite, owner.user, "laptop")
    s = owner.create()["id"]
    message = text * ((60 * 1024 - 2) // n)
    with laptop.watch(s)[0] as watcher, owner.websocket(s) as ws:
        ws.expect("state_sync")
        assert owner.call("POST", f"/sessions/{s}/broadcast", {"message": message}).status_code == 202
        assert watcher.expect("broadcast")["message"] == message
        frame = json.dumps({"type": "broadcast", "id": "f", "sessionId": s, "message": message}, ensure_ascii=False)
        ws.send_frame(1, frame.encode())
        assert ws.recv()["type"] == "ack" and watcher.expect("broadcast")["message"] == message
        problem = owner.call("POST", f"/sessions/{s}/broadcast", {"message": message + text})
        assert (problem.status_code, problem.json()["code"]) == (413, "body_too_large")
        ws.send_frame(1, frame.replace('"message": "', '"message": "' + text if n < 2 or text in "ü😀" else
                                       '"message": "' + json.dumps(text)[1:-1]).encode())
        refusal = ws.recv()
        assert (refusal["type"], refusal["code"], refusal["id"]) == ("error", "body_too_large", "f")
        assert watcher.silent() == []

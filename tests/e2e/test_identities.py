"""Ten identities, and three more (everybody.py), at everything that is no operation of a session over REST (test_rest_rights.py has
those): the other routes, the upgrade, every message that a client may send, every event. Each is a table; what is described in
proto/ and has no row fails."""

import contextlib
import itertools
import json
import pathlib
import re
import uuid

import pytest
import requests

from codes import WRONG, addresses
from documents import METHODS, PROTO, AsyncApi
from everybody import ALL, API, FORBIDDEN, NO_DEVICE, NOT_FOUND, OK, REMOVED, WITHOUT, Everybody, check
from harness import MAX_WAIT, PRESENCE, Closed, Socket, Suite, new_user
from sse import Answer, Ended, request, streamed, target_of
from test_rest_rights import TABLE as OPERATIONS
from test_ws_rights import KINDS, Backend
from ws import Raw, ask, handshake, is_alive

SOCKET = AsyncApi()
ANYBODY = dict.fromkeys(ALL, OK)
KNOWN = {**ANYBODY, **WITHOUT}
LIST = {**KNOWN, "only_admin": FORBIDDEN, "writer": FORBIDDEN}
CREATE = {**KNOWN, "reader": FORBIDDEN, "only_admin": FORBIDDEN, "deviceless": NO_DEVICE}
WATCH = {**KNOWN, "stranger": NOT_FOUND, "removed": REMOVED, "writer": FORBIDDEN}
# No token is needed to redeem a code: 404, for the code is none.
REDEEM = {**CREATE, **{who: NOT_FOUND for who in CREATE if CREATE[who] == OK}, "nobody": NOT_FOUND}

# (method, path) -> what the request needs, and who may.
ROUTES = {
    **{(method, "/sessions"): ({}, LIST) for method in ("GET", "HEAD")},
    ("POST", "/sessions"): ({"json": {"name": "n", "type": "t"}}, CREATE),
    ("POST", "/handoff"): ({"json": {"code": WRONG}}, REDEEM),
    **{(method, path): ({}, ANYBODY) for method in ("GET", "HEAD")
       for path in ("/time", "/health", "/ready", "/.well-known/jwks.json")},
    **{(method, "/sessions/{id}/events"): ({}, WATCH) for method in ("GET", "HEAD")},
}


# What is described -> what is asked for. Files for people: the same to everybody, with a token or without one.
PAGES = {
    "/": "/", "/console/{file}": "/console/app.js", "/console/client/{file}": "/console/client/index.js",
    "/console/config.json": "/console/config.json",
    "/docs": "/docs", "/docs/{page}": "/docs/rest", "/docs/errors/{code}": "/docs/errors/forbidden", "/docs/{file}": "/docs/openapi.yaml",
    "/docs/runbooks/{alert}": "/docs/runbooks/HandoffServiceDown",
    "/docs/schemas/{file}": "/docs/schemas/problem.json", "/docs/examples/{file}": "/docs/examples/problem.conflict.json",
}
# (method, path) -> status, at the admin port, which knows no tokens, and at the public ones: of session_api, of ws_fanout.
ADMIN_CODE = pathlib.Path(__file__).resolve().parents[2] / "common" / "app_admin.c"
ADMIN = {
    ("GET", "/health"): (200, 200, 404), ("GET", "/ready"): (200, 200, 404), ("GET", "/metrics"): (200, 404, 404),
    ("POST", "/drain"): (404, 404, 404),  # 202 where HANDOFF_ADMIN_DRAIN is on: test_cli_drain.py
    ("POST", "/rebalance"): (404, 404, 404),  # and of ws_fanout alone: test_cli_rebalance.py
}


def test_every_route_has_a_row():
    described = {(method.upper(), path) for path, item in API.root["paths"].items() for method in METHODS
                 if method in item and method != "options"}
    assert described == ROUTES.keys() | {(row[0], "/sessions/{id}" + row[1]) for row in OPERATIONS}
    assert PAGES.keys() == set(API.root["x-console"]["paths"]) | set(API.root["x-docs"]["paths"])
    assert {path for _, path in ADMIN} == set(re.findall(r'\{"([^"]+)", answer_', ADMIN_CODE.read_text()))
    assert [c for c, item in SOCKET.root["channels"].items() if item["servers"] == [{"$ref": "#/servers/websocket"}]] == ["socket"]


@pytest.fixture(scope="module")
def everybody(suite):
    return Everybody(suite)


@pytest.fixture(scope="module")
def at_codes(code_api):
    return Everybody(code_api)


@pytest.fixture(scope="module")
def console_api(suite, tmp_path_factory):
    api = Suite(suite.servers, tmp_path_factory.mktemp("console"), names=["session_api"], HANDOFF_CONSOLE="on").start()
    yield api
    api.stop()


@pytest.mark.parametrize("method, path", [route for route in ROUTES if not route[1].endswith("/events")])
def test_who_may_use_a_route(at_codes, method, path):
    needs, may = ROUTES[method, path]
    assert may.keys() == set(ALL)
    for who in ALL:  # each from another address: wrong codes are counted by it
        answer = at_codes.request(who, method, path, headers={"X-Forwarded-For": next(addresses)}, **needs)
        if may is ANYBODY:
            assert answer.status_code == 200, f"{who}: {answer.status_code}"
        else:
            check(answer, may[who], who, "no-store" if path == "/handoff" else "private, no-cache")


def test_pages_are_the_same_for_everybody(everybody, console_api):
    for described, path in PAGES.items():
        seen = set()
        for who in ALL:
            headers = headers_of(everybody, who)
            answer = requests.get(console_api.api_url + path, headers=headers, timeout=MAX_WAIT)
            assert answer.status_code == 200, (described, who, answer.status_code)
            seen.add(answer.content)
            refused = requests.post(console_api.api_url + path, headers=headers, timeout=MAX_WAIT)
            assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed"), (described, who)
        assert len(seen) == 1, described


@pytest.mark.parametrize("method, path", ADMIN)
def test_what_the_admin_port_says_it_says_there_alone(everybody, method, path):
    suite = everybody.suite
    urls = [f"http://127.0.0.1:{suite.services['session_api'].admin_port}", f"http://127.0.0.1:{suite.direct.api_port}",
            f"http://127.0.0.1:{suite.direct.ws_port}"]
    for who in ALL:
        answers = [requests.request(method, url + path, headers=headers_of(everybody, who), timeout=MAX_WAIT) for url in urls]
        assert tuple(a.status_code for a in answers) == ADMIN[method, path], who


def headers_of(everybody, who):
    device = {"X_Device_Id": "another"} if who == "wrong" else {}
    return device if who == "nobody" else {"Authorization": f"Bearer {everybody.of(who).token}", **device}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_may_have_a_stream(everybody, method):
    session, (_, may) = everybody.session(), ROUTES[method, "/sessions/{id}/events"]
    for who in ALL:
        answer = Answer(everybody.suite.ws_port, request(everybody.suite.ws_port, target_of(session["id"]), method=method,
                                                         **headers_of(everybody, who)))
        assert answer.status == (200 if may[who] == OK else may[who][0]), who
        if method == "GET" and may[who] != OK:
            assert json.loads(answer.read_body())["code"] == may[who][1], who
        answer.socket.close()


# ---- the upgrade ----

UPGRADE = {**KNOWN, "nobody": OK, "deviceless": NO_DEVICE}  # who has no token may say one in a message


def dialled(everybody, who, query="", has_header=True):
    """A WebSocket of theirs, with the token in the header or yet to be said."""
    query += "&device_id=another" if who == "wrong" else ""
    header = [f"Authorization: Bearer {everybody.of(who).token}"] if has_header and who != "nobody" else []
    return Socket(f"{everybody.suite.ws_url}?{query.removeprefix('&')}", header=header)


def test_who_may_have_a_websocket(everybody):
    for who in ALL:
        headers = {"Authorization": f"Bearer {everybody.of(who).token}"} if who != "nobody" else {}
        port, query = everybody.suite.direct.ws_port, "?device_id=another" if who == "wrong" else ""
        answer = Answer(port, handshake(port, f"/ws{query}", **headers))
        assert answer.status == (101 if UPGRADE[who] == OK else UPGRADE[who][0]), who
        if UPGRADE[who] != OK:
            assert json.loads(answer.read_body())["code"] == UPGRADE[who][1], who
        answer.socket.close()


# ---- what a client sends ----

CLOCK = {"mode": "per_cycle", "timePerCycleMs": 3600000, "participants": [{"participantId": "a"}, {"participantId": "b"}]}
TALKERS = ["stranger", "viewer", "editor", "owner", "reader", "admin", "removed", "only_admin", "writer"]


def row(*answers):
    return dict(zip(TALKERS, answers))


F, N, R, S = "forbidden", "not_found", "device_removed", "state_sync"
EDIT = row(N, F, "ack", "ack", F, F, R, F, "ack")
# name -> (message, the answer's type, or its code where it is an error). In this order over one connection; each who may has a
# session of its own.
MESSAGES = {
    "ping": ({}, dict.fromkeys(TALKERS, "pong")),
    "auth": ({"token": None}, dict.fromkeys(TALKERS, "hello")),
    "broadcast of what is not watched": ({"type": "broadcast", "message": 1}, dict.fromkeys(TALKERS, "invalid_request")),
    "subscribe": ({}, row(N, S, S, S, S, S, R, S, F)),
    "broadcast": ({"message": 1}, row("invalid_request", F, "ack", "ack", F, F, "invalid_request", F, "invalid_request")),
    "heartbeat": ({}, {**EDIT, "viewer": "ack"}),
    "patch": ({"operations": [{"op": "add", "path": "/data/n", "value": 1}]}, EDIT),
    "switch": ({"currentParticipantId": "a"}, EDIT),
    "status": ({"status": "paused"}, EDIT),
    "unsubscribe": ({}, dict.fromkeys(TALKERS, "unsubscribed")),
    "status of an end": ({"type": "status", "status": "cancelled"}, {**EDIT, "admin": "ack", "only_admin": "ack"}),
}


def message_of(everybody, who, name, session):
    message, _ = MESSAGES[name]
    message = {"type": name.partition(" ")[0], "sessionId": session["id"], **message}
    return {**message, "token": everybody.of(who).token} if "token" in message and who != "nobody" else message


def test_every_message_of_a_client_has_a_row():
    messages = [SOCKET.resolve(m) for m in SOCKET.root["channels"]["socket"]["messages"].values()]
    assert {name.partition(" ")[0] for name in MESSAGES} == {m["name"] for m in messages if m["x-from"] == "client"}


@pytest.mark.parametrize("who", TALKERS)
def test_who_may_send_what(everybody, who):
    session = everybody.session(clock=CLOCK)
    with dialled(everybody, who) as socket:
        socket.expect("hello")
        for name, (_, may) in MESSAGES.items():
            frame = ask(socket, **message_of(everybody, who, name, session))
            got = frame["code"] if frame["type"] == "error" else frame["type"]
            assert got == may[who], (who, name, frame)
    if "ack" not in [may[who] for name, (_, may) in MESSAGES.items() if name != "heartbeat"]:
        assert everybody.owner.read(session["id"])["version"] == 4, who


@pytest.mark.parametrize("name", MESSAGES)
def test_who_may_send_nothing(everybody, name):
    """Without a token, and right behind one that is refused: nothing but the refusal comes, and nothing happens."""
    session = everybody.session(clock=CLOCK)
    with dialled(everybody, "nobody", f"session={session['id']}") as socket:
        expected = "invalid_request" if name == "auth" else "unauthenticated"
        assert ask(socket, **message_of(everybody, "nobody", name, session))["code"] == expected
    for who, code, close in (("expired", "token_expired", 4002), ("wrong", "forbidden", 4001), ("deviceless", "invalid_request", 4001)):
        query = f"?session={session['id']}" + ("&device_id=another" if who == "wrong" else "")
        with Raw(everybody.suite.ws_port, f"/ws{query}") as raw:
            whole, sent = raw.socket, []
            raw.socket = type("Collect", (), {"sendall": lambda self, data, sent=sent: sent.append(data)})()
            raw.send(type="auth", token=everybody.of(who).token)
            raw.send(**message_of(everybody, who, name, session), id="behind")
            raw.socket = whole
            raw.socket.sendall(b"".join(sent))
            frame = raw.recv()
            assert (frame["type"], frame["code"]) == ("error", code), (who, frame)
            with pytest.raises(Closed) as closed:
                raw.recv()
            assert closed.value.code == close, who
    assert everybody.owner.read(session["id"])["version"] == 4


# ---- events ----

HEAR = [who for who in ALL if WATCH[who] == OK]
DEAF = ["nobody", "stranger", "removed", "writer"]  # who can have a connection all the same
# type -> who hears one that is published now. Its sender, by user and device, does not hear a broadcast.
EVENTS = {
    **{type: HEAR for type in ("state_delta", "status_changed", "participant_changed", "device_changed", "clock_set", "clock_switched",
                               "clock_adjusted", "clock_expired", "device_joined", "device_left", "clock_warning")},
    "broadcast": [who for who in HEAR if who not in ("owner", "reader")],
    "session_created": [],  # nobody can watch it before; see the test of what is told from the beginning
    "snapshot": [], "session_rebuilt": [],  # for backends only
    "session_deleted": HEAR,
}


def test_every_event_has_a_row():
    assert EVENTS.keys() == set(SOCKET.root["channels"]["session_updates"]["messages"]) == set(KINDS)


class Audience:
    """Everybody with a WebSocket, and who may with a stream, at one session; who hears nothing of it is connected, too."""

    def __init__(self, everybody, stack):
        self.session, self.everybody, self.markers = everybody.session(), everybody, itertools.count(1)
        query = f"session={self.session['id']}"
        self.hears = {}
        for who in HEAR:
            self.hears[who, "stream"] = stack.enter_context(streamed(everybody.of(who), self.session["id"]))
            if who != "deviceless":
                self.hears[who, "socket"] = stack.enter_context(dialled(everybody, who, query))
        self.deaf = {who: stack.enter_context(dialled(everybody, who, query)) for who in DEAF}
        for (_, kind), listener in self.hears.items():
            if kind == "socket":
                listener.expect("hello")
                listener.expect("state_sync")
        for who in set(DEAF) - {"nobody"}:
            self.deaf[who].expect("hello")
            self.deaf[who].expect("error", code=WATCH[who][1])

    def hear(self, backend, what):
        """What each was told since the last time, up to a broadcast that all hear."""
        marker = f"{what} {next(self.markers)}"
        told = backend.event(self.session, "broadcast", message=marker)
        backend.publish({**told, "deviceId": "of nobody here"})
        return {key: self.up_to(listener, marker) for key, listener in self.hears.items()}

    @staticmethod
    def up_to(listener, marker):
        frames = []
        while (frame := listener.recv(hears_presence=True)).get("message") != marker:
            if frame["type"] not in PRESENCE or frame["deviceId"] == "passes":  # else: those really there
                frames.append(frame)
        return frames


def example_of(backend, session, type):
    body = json.loads((PROTO / "examples" / f"event_{type}.json").read_text())
    named = {"participant": new_user(), "device": "far", "removed": True}
    event = {**{name: named.get(name, value) for name, value in body.items()}, **backend.event(session, type)}
    return {**event, "deviceId": "passes"} if type in PRESENCE else event


def test_who_hears_what(suite, everybody):
    backend, versioned = Backend(suite), {n for n, m in SOCKET.root["components"]["messages"].items() if m.get("x-versioned")}
    with contextlib.ExitStack() as stack, contextlib.closing(backend.connection):
        audience = Audience(everybody, stack)
        backend.wait_marked(audience.session, 4)
        for type, hear in EVENTS.items():
            if type == "session_deleted":
                continue
            event = example_of(backend, audience.session, type)
            if type in versioned and type != "session_created":
                event["version"] += 1
                backend.save(audience.session, event)
            backend.publish({**event, "version": 1} if type == "session_created" else event, message_id=str(uuid.uuid4()))
            for (who, kind), frames in audience.hear(backend, type).items():
                assert frames == ([event] if who in hear else []), (type, who, kind)
        assert everybody.owner.delete(f"/sessions/{audience.session['id']}").status_code == 204
        for (who, kind), listener in audience.hears.items():
            listener.recv_until("session_deleted")
            listener.expect("unsubscribed", code="not_found")
            if kind == "stream":
                with pytest.raises(Ended):
                    listener.recv()
        for who in set(DEAF) - {"nobody"}:
            assert is_alive(audience.deaf[who]) == [], who
        with contextlib.suppress(Closed):  # in time, for want of a token
            assert ask(audience.deaf["nobody"], "ping")["code"] == "unauthenticated"


def test_who_hears_all_from_the_beginning(everybody):
    session = everybody.session()
    told = everybody.owner.deltas(session["id"])
    assert [e["type"] for e in told] == ["session_created", "participant_changed", "participant_changed", "device_changed"]
    for who in ALL:
        if WATCH[who] != OK or who == "deviceless":
            continue
        with dialled(everybody, who, f"session={session['id']}&since=0") as socket:
            socket.expect("hello")
            socket.expect("subscribed", replayed=4)
            assert [socket.recv() for _ in told] == told, who

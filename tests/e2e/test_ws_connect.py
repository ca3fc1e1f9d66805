"""How a device gets a WebSocket, who it is there, and how long: contract sections 1 and 4."""

import asyncio
import datetime
import json
import re
import time

import pytest
import websocket
import websockets

from harness import PRESENCE, Closed, Socket, new_user, token
from ws import (MISSING_ID, Raw, ask, dial, ending, handshake, http_exchange, is_alive, read_head,
                set_to, status_of)

MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def refused_upgrade(url, **more):
    """The HTTP status and problem that a browser-like client gets instead of a WebSocket."""
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        Socket(url, **more)
    return caught.value.status_code


def bearer(text):
    return [f"Authorization: Bearer {text}"]


def expires_at(seconds):
    return datetime.datetime.fromtimestamp(int(time.time()) + seconds, datetime.timezone.utc).strftime(
        "%Y-%m-%dT%H:%M:%S.000Z")


@pytest.fixture(scope="module", autouse=True)
def laggard(suite):
    with dial(suite.direct.ws_port) as s:
        s.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
        yield s, time.monotonic()


# ---- hello ----

def test_hello_says_what_a_client_needs(phone):
    with phone.connect() as one, phone.connect() as other:
        hello = one.expect("hello")
        assert hello.keys() == {"type", "connectionId", "serverTime", "pingSeconds", "maxMessageBytes"}
        assert (hello["pingSeconds"], hello["maxMessageBytes"]) == (25, 65536)
        assert MOMENT.match(hello["serverTime"])
        assert isinstance(hello["connectionId"], str) and hello["connectionId"]
        assert other.expect("hello")["connectionId"] != hello["connectionId"]


def test_the_subprotocol_is_chosen_and_nothing_is_compressed(phone):
    s = dial(phone.suite.direct.ws_port)
    s.sendall(handshake(phone.suite.direct.ws_port, Authorization=f"Bearer {phone.token}",
                        Sec_WebSocket_Protocol="chat, handoff.v1",
                        Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"))
    head = read_head(s).partition(b"\r\n\r\n")[0].decode().lower()
    s.close()
    assert head.startswith("http/1.1 101")
    assert "sec-websocket-protocol: handoff.v1" in head
    assert "sec-websocket-extensions" not in head


def test_the_key_is_answered_as_rfc_6455_says(phone):
    with Raw(phone.suite.ws_port, Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
             Authorization=f"Bearer {phone.token}") as raw:
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in raw.head


@pytest.mark.parametrize("offered", ["chat", "handoff.v2", "handoff.v10", "xhandoff.v1", "HANDOFF.V1 x"])
def test_another_subprotocol_is_never_spoken(phone, offered):
    answer = http_exchange(phone.suite.direct.ws_port, handshake(
        phone.suite.ws_port, Authorization=f"Bearer {phone.token}", Sec_WebSocket_Protocol=offered))
    assert answer is None or 400 <= answer < 500


def test_a_second_independent_client_gets_the_same(phone):
    session = phone.create({"a": 1})

    async def talk():
        async with websockets.connect(f"{phone.suite.ws_url}?session={session['id']}",
                                      subprotocols=["handoff.v1"],
                                      extra_headers={"Authorization": f"Bearer {phone.token}"}) as ws:
            assert ws.subprotocol == "handoff.v1"
            assert json.loads(await ws.recv())["type"] == "hello"
            assert json.loads(await ws.recv())["session"] == session
            await (await ws.ping())
            await ws.send(json.dumps({"type": "ping", "id": "x"}))
            while (kind := json.loads(await ws.recv())["type"]) in PRESENCE:
                pass
            assert kind == "pong"
            await ws.close(1000, "bye")
            assert ws.close_code == 1000

    asyncio.run(talk())


# ---- the token ----

def test_a_token_in_the_header_authenticates(phone):
    with phone.connect() as socket:
        socket.expect("hello")


def test_a_token_in_the_first_message_authenticates(phone):
    session = phone.create({"a": 1})
    with Socket(f"{phone.suite.ws_url}?session={session['id']}") as socket:
        socket.send(type="auth", token=phone.token)
        socket.expect("hello")
        assert socket.expect("state_sync", reason="initial")["session"] == session


BAD_TOKENS = {
    "garbage": lambda: "abc", "empty": lambda: "", "three dots": lambda: "a.b.c",
    "another secret": lambda: token(new_user(), "d", secret="x" * 40),
    "no signature": lambda: token(new_user(), "d").rpartition(".")[0] + ".",
    "alg none": lambda: token(new_user(), "d", secret=None, algorithm="none"),
    "another algorithm": lambda: token(new_user(), "d", algorithm="HS512"),
    "expired": lambda: token(new_user(), "d", seconds=-60),
    "not yet valid": lambda: token(new_user(), "d", nbf=int(time.time()) + 120),
    "no user": lambda: token(None, "d"), "a user that is a number": lambda: token(7, "d"),
    "no exp": lambda: token(new_user(), "d", exp=None), "long": lambda: "x" * 3000,
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_bad_token_in_the_header_is_401(suite, kind):
    s = dial(suite.direct.ws_port)
    s.sendall(handshake(suite.direct.ws_port, Authorization=f"Bearer {BAD_TOKENS[kind]()}"))
    head = read_head(s)
    s.close()
    assert status_of(head) == 401
    assert b"\r\nwww-authenticate: bearer error=" in head.lower()


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "Token x", "Bearer a b"])
def test_another_authorization_is_401(suite, header):
    assert http_exchange(suite.direct.ws_port, handshake(suite.direct.ws_port, Authorization=header)) == 401


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_bad_token_in_a_message_closes(suite, kind):
    with Socket(suite.ws_url) as socket:
        socket.send(type="auth", token=BAD_TOKENS[kind]())
        code, _ = ending(socket)
        assert code == 4001 or (kind == "expired" and code == 4002)


@pytest.mark.parametrize("first", [
    '{"type":"ping"}', f'{{"type":"subscribe","sessionId":"{MISSING_ID}"}}', '{"type":"auth"}',
    '{"type":"auth","token":7}', '{"type":"auth","token":null}', "[]", "not json", '{"type":"nothing"}'])
def test_without_a_token_first_a_connection_gets_nothing(shared_fanout, first):
    fanout = shared_fanout(HANDOFF_AUTH_TIMEOUT="1s")
    with Socket(fanout.ws_url) as socket:
        socket.ws.send(first)
        with pytest.raises(Closed) as closed:
            while True:
                assert socket.recv()["type"] == "error"
        assert closed.value.code == 4001


def test_nothing_is_subscribed_or_changed_before_authentication(shared_fanout, phone):
    fanout = shared_fanout(HANDOFF_AUTH_TIMEOUT="1s")
    session = phone.create({"a": 1})
    with Socket(f"{fanout.ws_url}?session={session['id']}") as socket:
        socket.send(type="patch", id="p", sessionId=session["id"], operations=set_to("a", 2))
        try:
            while True:
                assert socket.recv()["type"] == "error"
        except Closed as closed:
            assert closed.code == 4001
    assert phone.read(session["id"]) == session


def test_who_does_not_authenticate_in_time_is_closed(shared_fanout, phone):
    fanout = shared_fanout(HANDOFF_AUTH_TIMEOUT="1s")
    laggard, quick = Socket(fanout.ws_url), Socket(fanout.ws_url)
    started = time.monotonic()
    quick.send(type="auth", token=phone.token)
    quick.expect("hello")
    assert ending(laggard)[0] == 4001
    assert time.monotonic() - started < 5
    is_alive(quick)
    quick.close()


@pytest.mark.parametrize("name", ["token", "access_token", "Authorization", "authorization", "jwt"])
def test_a_token_in_the_url_is_no_token(shared_fanout, phone, name):
    fanout = shared_fanout(HANDOFF_AUTH_TIMEOUT="1s")
    with Socket(f"{fanout.ws_url}?{name}={phone.token}") as socket:
        assert ending(socket)[0] == 4001
    text = (fanout.log_folder / "ws_fanout.log").read_text()
    assert phone.token not in text and phone.token.rpartition(".")[2] not in text


# ---- origins ----

def test_pages_of_allowed_origins_may_connect(phone):
    with phone.connect(origin="https://app.example") as socket:
        socket.expect("hello")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example", "null", "https://app",
                                    "https://app.example.evil.example", "https://app.example:8443", "*",
                                    "https://app.example/", "file://"])
def test_pages_of_other_origins_may_not(phone, origin):
    assert refused_upgrade(phone.suite.ws_url, origin=origin, header=bearer(phone.token)) == 403
    assert refused_upgrade(phone.suite.ws_url, origin=origin) == 403


# ---- the device ----

def test_the_device_may_come_in_the_query(suite, user):
    tablet = suite.device(user, None)
    with Socket(f"{suite.ws_url}?device_id=tv:1.a_b-C", header=bearer(tablet.token)) as socket:
        socket.expect("hello")
        session = suite.device(user, "phone").create({})
        assert ask(socket, "patch", sessionId=session["id"], operations=set_to("a", 1))["type"] == "ack"
        assert suite.device(user, "phone").read(session["id"])["modifiedBy"] == "tv:1.a_b-C"


def test_the_device_in_the_query_goes_with_a_token_in_a_message_too(suite, user):
    with Socket(f"{suite.ws_url}?device_id=tv") as socket:
        socket.send(type="auth", token=token(user))
        socket.expect("hello")


def test_claim_and_query_may_agree(suite, phone):
    with Socket(f"{suite.ws_url}?device_id=phone", header=bearer(phone.token)) as socket:
        socket.expect("hello")


def test_claim_and_query_that_differ_are_403(suite, phone):
    assert refused_upgrade(f"{suite.ws_url}?device_id=laptop", header=bearer(phone.token)) == 403
    with Socket(f"{suite.ws_url}?device_id=laptop") as socket:
        socket.send(type="auth", token=phone.token)
        assert ending(socket)[0] == 4001


def test_a_websocket_needs_a_device(suite, user):
    assert refused_upgrade(suite.ws_url, header=bearer(token(user))) in (400, 403)
    with Socket(suite.ws_url) as socket:
        socket.send(type="auth", token=token(user))
        assert ending(socket)[0] == 4001


@pytest.mark.parametrize("device", ["", ".", "..", "a b", "a/b", "x" * 129, "caf%C3%A9", "a%00b", "a%0Ab",
                                    "a%2Fb", "a&device_id=b"])
def test_a_device_has_few_characters(suite, user, device):
    target = f"/ws?device_id={device.replace(' ', '%20')}"
    got = http_exchange(suite.direct.ws_port, handshake(suite.direct.ws_port, target,
                                                 Authorization=f"Bearer {token(user)}"))
    # NUL and control characters in a URL are libwebsockets' to refuse: it hangs up, or finds no such path.
    assert got in (400, 403) or ("%0" in device and got in (None, 404))


def test_the_longest_device_connects(suite, user):
    with Socket(f"{suite.ws_url}?device_id={'x' * 128}", header=bearer(token(user))) as socket:
        socket.expect("hello")


# ---- the session in the query ----

@pytest.mark.parametrize("bad", [MISSING_ID, "x", "%20", MISSING_ID.upper(), MISSING_ID + "0",
                                 "%7B" + MISSING_ID + "%7D", "..%2f"])
def test_a_session_in_the_query_that_is_none_is_an_error_only(phone, bad):
    with phone.connect(bad) as socket:
        socket.expect("hello")
        socket.expect("error", code="not_found")
        is_alive(socket)


# ---- tokens end ----

def test_a_token_that_runs_out_is_announced_and_then_closes(suite, user):
    expires = expires_at(4)
    device = suite.device(user, "phone", seconds=4)
    session = suite.device(user, "phone").create({})
    with device.connect(session["id"]) as socket:
        socket.expect("hello")
        frames = [socket.recv(), socket.recv()]
        assert {f["type"] for f in frames} == {"state_sync", "token_expiring"}
        told = next(f for f in frames if f["type"] == "token_expiring")
        assert told.keys() == {"type", "expiresAt"}
        assert abs(datetime.datetime.fromisoformat(told["expiresAt"][:-1])
                   - datetime.datetime.fromisoformat(expires[:-1])) <= datetime.timedelta(seconds=1)
        code, _ = ending(socket)
        assert code == 4002
        assert time.time() >= datetime.datetime.fromisoformat(
            told["expiresAt"].replace("Z", "+00:00")).timestamp()


def test_a_token_with_time_left_is_not_announced(suite, user):
    with suite.device(user, "phone", seconds=75).connect() as socket:
        socket.expect("hello")
        assert is_alive(socket) == []


def test_a_live_connection_goes_on_with_a_new_token(suite, user):
    phone = suite.device(user, "phone")
    session = phone.create({"n": 0})
    with suite.device(user, "phone", seconds=4).connect(session["id"]) as socket, \
            suite.device(user, "phone", seconds=4).connect() as other:
        socket.expect("hello")
        socket.recv_until("token_expiring")
        socket.send(type="auth", token=phone.token)
        # The one that was not refreshed ends; this one goes on, with its subscription, unannounced.
        assert ending(other)[0] == 4002
        phone.json_patch(session["id"], set_to("n", 1))
        socket.recv_until("state_delta", version=2)
        assert ask(socket, "patch", sessionId=session["id"], operations=set_to("n", 2))["type"] == "ack"
        assert [f for f in is_alive(socket) if f["type"] == "token_expiring"] == []


def test_a_refresh_with_few_seconds_is_announced_again(suite, user):
    with suite.device(user, "phone", seconds=30).connect() as socket:
        socket.recv_until("token_expiring")
        socket.send(type="auth", token=token(user, "phone", seconds=20))
        told = socket.recv_until("token_expiring")
        left = datetime.datetime.fromisoformat(told["expiresAt"].replace("Z", "+00:00")).timestamp()
        assert left - time.time() < 21


@pytest.mark.parametrize("other", ["user", "device", "no device", "garbage"])
def test_a_live_connection_stays_with_its_user_and_device(suite, user, other):
    refresh = {"user": token(new_user(), "phone"), "device": token(user, "laptop"),
               "no device": token(user), "garbage": "abc"}[other]
    with suite.device(user, "phone").connect() as socket:
        socket.expect("hello")
        socket.send(type="auth", token=refresh)
        assert ending(socket)[0] == 4001


def test_a_refresh_may_take_rights_away(suite, user):
    phone = suite.device(user, "phone")
    session = phone.create({"n": 0})
    with phone.connect() as socket:
        socket.expect("hello")
        socket.send(type="auth", token=token(user, "phone", scope="sessions:read"))
        frame = ask(socket, "patch", sessionId=session["id"], operations=set_to("n", 1))
        assert frame["type"] == "error" and frame["code"] == "forbidden"
    assert phone.read(session["id"]) == session


# ---- handshakes that are none ----

BAD_HANDSHAKES = {
    "POST": {"method": "POST"}, "HEAD": {"method": "HEAD"}, "HTTP/1.0": {"http": "HTTP/1.0"},
    "version 8": {"Sec_WebSocket_Version": "8"}, "no version": {"Sec_WebSocket_Version": None},
    "version 131": {"Sec_WebSocket_Version": "131"},
    "no key": {"Sec_WebSocket_Key": None}, "short key": {"Sec_WebSocket_Key": "c2hvcnQ="},
    "long key": {"Sec_WebSocket_Key": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ=="},
    "no upgrade": {"Upgrade": None, "Connection": None}, "h2c": {"Upgrade": "h2c"},
    "upgrade elsewhere": {"Upgrade": "tls/1.0"}, "no host": {"Host": None},
    "another path": {"target": "/wss"}, "root": {"target": "/"}, "a folder": {"target": "/ws/x"},
    "long target": {"target": "/ws?x=" + "y" * 9000}, "chunks": {"Transfer_Encoding": "chunked"},
    "many headers": {f"X_{n}": "y" * 100 for n in range(200)},
}


@pytest.mark.parametrize("kind", BAD_HANDSHAKES)
def test_what_is_no_websocket_handshake_is_refused(suite, phone, kind):
    more = dict(BAD_HANDSHAKES[kind])
    if kind == "chunks":
        more["method"] = "POST"
    data = handshake(suite.direct.ws_port, more.pop("target", "/ws"),
                     **{"Authorization": f"Bearer {phone.token}", **more})
    status = http_exchange(suite.direct.ws_port, data)
    assert status is None or 400 <= status < 500
    with phone.connect() as socket:
        socket.expect("hello")


@pytest.mark.parametrize("data", [
    b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"GET http://other/ws HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    b"\r\n\r\n\r\n", b"garbage\r\n\r\n", bytes(4096), b"\xff" * 70000, b"GET /ws\r\n\r\n",
    b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /ws HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200000 + b"\r\n\r\n",
], ids=lambda data: repr(data[:24]))
def test_other_bytes_on_the_port_never_become_a_websocket(suite, phone, data):
    with dial(suite.direct.ws_port) as s:
        try:
            s.sendall(data)
            s.shutdown(1)
        except (BrokenPipeError, ConnectionResetError, OSError):
            pass
        status = status_of(read_head(s))
    assert status is None or 400 <= status < 500
    with phone.connect() as socket:
        socket.expect("hello")


def test_a_plain_get_learns_what_is_here(suite):
    with dial(suite.direct.ws_port) as s:
        s.sendall(b"GET /sessions HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = read_head(s)
    assert status_of(answer) == 404
    assert b"application/problem+json" in answer


def test_a_handshake_in_pieces_and_early_frames_work(suite, phone):
    request = handshake(suite.direct.ws_port, Authorization=f"Bearer {phone.token}")
    with dial(suite.direct.ws_port) as s:
        for i in range(0, len(request), 50):
            s.sendall(request[i:i + 50])
            time.sleep(0.001)
        assert status_of(read_head(s)) == 101


def test_header_names_and_values_in_another_case_work(suite, phone):
    request = handshake(suite.direct.ws_port, Authorization=f"bearer {phone.token}", Upgrade="WebSocket",
                        Connection="keep-alive, upgrade")
    assert http_exchange(suite.direct.ws_port, request) == 101


def test_who_never_finishes_its_handshake_is_cut(laggard):
    """Dialled when this file began, so that its time has mostly passed by now."""
    socket, started = laggard
    socket.settimeout(20)
    try:
        answer = socket.recv(1000)
    except ConnectionResetError:
        answer = b""
    assert answer == b"" or 400 <= status_of(answer) < 500
    assert time.monotonic() - started < 40

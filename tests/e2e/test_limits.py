"""Limits of rate: what a WebSocket connection may send, how many a user may have, and requests of a user
or an address over all instances of session_api. At the bound, past it, and after the time that was told."""

import contextlib
import json
import time

import pytest
import requests

from harness import Closed, Suite, new_user, token, wait_until
from rest import JSON, MISSING_ID, refused
from ws import Gone, Raw, ask, ending, is_alive, set_to, subscribed
from ws import refused as refused_frame


def retried(work, answer, timeout=10):
    """Waits the time that a refusal told, then does it again, until it is no refusal."""
    deadline = time.monotonic() + timeout
    while True:
        wait_ms = answer.get("retryAfterMs")
        if not wait_ms:
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(wait_ms / 1000)
        answer = work()


# ---- messages and bytes of a connection ----

@pytest.fixture
def slow_fanout(shared_fanout):
    return shared_fanout(HANDOFF_WS_MESSAGES_PER_SECOND="5", HANDOFF_WS_BYTES_PER_SECOND="16KiB")


@pytest.fixture
def bystander(slow_fanout, user):
    """Another connection to the instance, which must see every change and answer to the end."""
    device = slow_fanout.device(user, "bystander")
    session = device.create({"n": 0})
    with subscribed(device, session["id"]) as socket:
        yield socket
        device.json_patch(session["id"], set_to("n", "end"))
        socket.expect("state_delta", version=2)
        assert is_alive(socket) == []


def ping(n):
    return json.dumps({"type": "ping", "id": f"p{n}"})


def test_twice_the_rate_may_come_at_once_and_the_rest_later(slow_fanout, user, bystander):
    with slow_fanout.device(user, "phone").connect() as socket:
        socket.expect("hello")
        for n in range(10):
            socket.ws.send(ping(n))
        assert [socket.recv()["id"] for _ in range(10)] == [f"p{n}" for n in range(10)]
        answers = []
        while not answers or answers[-1]["type"] == "pong":  # the pace decides how many come through
            answers.append(ask(socket, "ping"))
        refusal = refused_frame(answers[-1], "rate_limited", temporary=True)
        assert refusal["id"] and 0 < refusal["retryAfterMs"] <= 200
        assert retried(lambda: ask(socket, "ping"), refusal)["type"] == "pong"


def test_a_refused_message_is_not_acted_on(slow_fanout, user, bystander):
    phone = slow_fanout.device(user, "phone")
    session = phone.create({"list": []})
    with phone.connect() as socket:
        socket.expect("hello")
        operations = [{"op": "add", "path": "/data/list/-", "value": 1}]
        for n in range(14):
            socket.send(type="patch", id=f"c{n}", sessionId=session["id"], operations=operations)
        answers = [socket.recv() for _ in range(14)]
    n_acked = sum(a["type"] == "ack" for a in answers)
    assert 10 <= n_acked < 14
    assert all(a["code"] == "rate_limited" and a["sessionId"] == session["id"]
               for a in answers if a["type"] == "error")
    assert phone.read(session["id"])["data"]["list"] == [1] * n_acked


def test_bytes_are_limited_too(slow_fanout, user, bystander):
    big = json.dumps({"type": "ping", "id": "big", "pad": "x" * 20_000})
    with slow_fanout.device(user, "phone").connect() as socket:
        socket.expect("hello")
        socket.ws.send(big)
        socket.expect("pong", id="big")
        socket.ws.send(big)
        refusal = refused_frame(socket.recv(), "rate_limited", temporary=True)
        assert "id" not in refusal and 0 < refusal["retryAfterMs"] <= 2000
        socket.ws.send(ping("small"))
        socket.expect("pong", id="psmall")

        def again():
            socket.ws.send(big)
            return socket.recv()
        answer = retried(again, refusal)
        assert (answer["type"], answer["id"]) == ("pong", "big")


@pytest.mark.parametrize("text", [ping(1), "x", json.dumps({"type": "ping", "pad": "y" * 8000})],
                         ids=["pings", "garbage", "large"])
def test_a_flood_is_closed_with_4029_and_nobody_else_notices(slow_fanout, user, bystander, text):
    with Raw.of(slow_fanout.device(user, "phone")) as raw:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(2000):
                raw.send_text(text)
        n_refused, closed = 0, None
        with contextlib.suppress(Gone):
            try:
                while True:
                    n_refused += raw.recv().get("code") in ("rate_limited", "invalid_json")
            except Closed as caught:
                closed = caught
        assert n_refused <= 30
        if closed:  # else it was cut while it went on sending, so that the close frame was lost
            assert closed.code == 4029
            if text != "x":
                assert json.loads(closed.reason)["retryAfterMs"] >= 1000
    with slow_fanout.device(user, "phone").connect() as socket:
        socket.expect("hello")


def test_the_close_says_when_to_come_back(slow_fanout, user, bystander):
    with slow_fanout.device(user, "phone").connect() as socket:
        socket.expect("hello")
        for n in range(20):  # 10 are taken, 10 refused
            socket.ws.send(ping(n))
        code, reason = ending(socket)
        assert code == 4029 and json.loads(reason) == {"retryAfterMs": 1000}


def test_one_that_is_refused_now_and_then_stays(slow_fanout, user, bystander):
    with slow_fanout.device(user, "phone").connect() as socket:
        socket.expect("hello")
        for _ in range(12):
            refusal = ask(socket, "ping")
            while refusal["type"] == "pong":
                refusal = ask(socket, "ping")
            time.sleep(1.01)  # the pause that is told of in docs/PROTOCOL.md
        assert ask(socket, "ping")["type"] == "pong"


# ---- connections of a user ----

def test_as_many_connections_of_a_user_as_allowed_and_one_more(shared_fanout, user):
    fanout = shared_fanout(HANDOFF_WS_CONNECTIONS_PER_USER="3")
    devices = [fanout.device(user, f"d{n}") for n in range(4)]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(d.connect()) for d in devices[:3]]
        for socket in sockets:
            socket.expect("hello")
        answer = requests.get(f"http://127.0.0.1:{fanout.ws_port}/ws", headers={
            "Authorization": f"Bearer {devices[3].token}", "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": "handoff.v1"})
        assert answer.status_code == 429 and answer.headers["Retry-After"] == "5"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "rate_limited" and answer.json()["retryAfterMs"] == 5000
        with Raw(fanout.ws_port) as raw:
            raw.send(type="auth", id="a", token=devices[3].token)
            refusal = raw.recv()
            refused_frame(refusal, "rate_limited", temporary=True, id="a", retryAfterMs=5000)
            with pytest.raises(Closed) as closed:
                raw.recv()
            assert closed.value.code == 4029 and json.loads(closed.value.reason) == {"retryAfterMs": 5000}
        with fanout.device(new_user(), "other").connect() as socket:
            socket.expect("hello")
        for socket in sockets:
            assert is_alive(socket) == []
            socket.send(type="auth", id="again", token=devices[sockets.index(socket)].token)
            socket.expect("hello", id="again")
        sockets[0].close()

        def connects():
            with contextlib.suppress(Exception):
                return devices[3].connect()
        last = stack.enter_context(wait_until(connects, what="room for one more"))
        last.expect("hello")

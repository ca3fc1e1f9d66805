"""A few hundred clients that are slow on purpose, of each kind: while they are there others are served, and in the end nothing of
them is left. tests/bench/slow.py does it with ten thousand, and takes the time."""

import contextlib
import socket

import pytest

from harness import Suite, new_user, wait_until
from rest import path_of
from ws import dial, handshake, is_alive, n_descriptors, set_to, subscribed

N = 50  # of each kind: 200 of HTTP, 200 of WebSockets
HASTY = {"HANDOFF_REQUEST_TIMEOUT": "1s", "HANDOFF_AUTH_TIMEOUT": "1s", "HANDOFF_PING_AFTER": "1s", "HANDOFF_PONG_TIMEOUT": "3s"}


@pytest.fixture(scope="module")
def hasty(suite, tmp_path_factory):
    """A session_api and a ws_fanout that wait a second for what they usually wait some for."""
    hasty = Suite(suite.servers, tmp_path_factory.mktemp("hasty"), names=["session_api", "ws_fanout"], **HASTY)
    try:
        yield hasty.start()
    finally:
        hasty.stop()


def kinds(hasty, user):
    """(port, what it says first, what it goes on with, whether its window is small)."""
    device = hasty.device(user, "phone")
    big = path_of(device.create({"text": "x" * 500_000}))
    bearer = {"Authorization": f"Bearer {device.token}"}
    head = f"Host: h\r\nAuthorization: Bearer {device.token}\r\n".encode()
    return [(hasty.api_port, b"", b"", False),
            (hasty.api_port, b"GET /time HTTP/1.1\r\n" + head + b"X: ", b"x", False),
            (hasty.api_port, b"POST /sessions HTTP/1.1\r\n" + head + b"Content-Length: 1000\r\n\r\n", b"x", False),
            (hasty.api_port, f"GET {big} HTTP/1.1\r\n".encode() + head + b"\r\n", b"", True),
            (hasty.ws_port, handshake(hasty.ws_port), b"", False),
            (hasty.ws_port, handshake(hasty.ws_port, **bearer), b"", False),
            (hasty.ws_port, handshake(hasty.ws_port, f"/ws?session={big.rpartition('/')[2]}", **bearer), b"\x81", True),
            (hasty.ws_port, b"POST /ws HTTP/1.1\r\n" + head + b"\r\n", b"x", False)]


def test_slow_clients_keep_nobody_out_and_leave_nothing(hasty, user):
    quick = hasty.device(new_user(), "phone")
    session = quick.create({"n": 0})
    before = {name: n_descriptors(hasty, name) for name in ("session_api", "ws_fanout")}
    slow = []
    with contextlib.ExitStack() as stack:
        for port, first, more, is_narrow in kinds(hasty, user):
            for _ in range(N):
                s = stack.enter_context(dial(port, rcvbuf=4096 if is_narrow else None))
                s.sendall(first)
                slow.append((s, more))
        with subscribed(quick, session["id"]) as socket_:
            for n in range(1, 21):  # beside them, while they go on a byte at a time
                for s, more in slow:
                    with contextlib.suppress(OSError):
                        s.send(more, socket.MSG_DONTWAIT)
                assert quick.json_patch(session["id"], set_to("n", n)).status_code == 200
                socket_.expect("state_delta", version=n + 1)
            assert is_alive(socket_) == []
        # Who only takes nothing has longer: it is seen to leave
    for name in before:
        wait_until(lambda name=name: n_descriptors(hasty, name) <= before[name], what=f"nothing left at {name}")


def test_who_is_slow_is_let_go_though_it_stays(hasty, user):
    before = {name: n_descriptors(hasty, name) for name in ("session_api", "ws_fanout")}
    all_kinds = kinds(hasty, user)
    hasty_kinds = [kind for kind in all_kinds if not kind[3]]
    with contextlib.ExitStack() as stack:
        for port, first, _, _ in hasty_kinds:
            for _ in range(N):
                stack.enter_context(dial(port)).sendall(first)
        quick = hasty.device(user, "laptop")
        for name in before:
            wait_until(lambda name=name: n_descriptors(hasty, name) <= before[name] + 1, timeout=60, what=f"nothing left at {name}")
            assert quick.get("/time").status_code == 200

"""Each proxy that compose/proxy/ has a file for, on that very file: one origin for REST, WebSockets and event streams, the
client's address, bodies at the limit, and a reload while devices are connected."""

import contextlib
import json
import socket
import threading
import types

import pytest
import requests
import websocket

import proxies
from harness import MAX_WAIT, Closed, Device, Frames, Suite, new_user, wait_until
from rest import refused
from ws import handshake, set_to, subscribed

LIMIT = 1 << 20
ADDRESS = "127.0.0.77"  # that one client comes from


class Stream(Frames):
    """Server-Sent Events by a client that takes them in chunks, as a proxy may cut them."""

    def __init__(self, device, session):
        self.answer = device.get(f"/sessions/{session}/events", stream=True, headers={"Accept": "text/event-stream"})
        assert self.answer.status_code == 200
        self.lines = self.answer.iter_lines(chunk_size=1)

    def recv_any(self):
        for line in self.lines:
            if line.startswith(b"data:"):
                return json.loads(line.removeprefix(b"data:"))
        raise EOFError

    def close(self):
        self.answer.close()


@pytest.fixture(scope="module")
def behind(new_realm, tmp_path_factory):
    suite = Suite(new_realm(), tmp_path_factory.mktemp("behind"), instances=2,
                  HANDOFF_API_ADDRESS_REQUESTS_PER_SECOND="1",
                  HANDOFF_API_ADDRESS_REQUESTS_BURST="1000000").start()
    yield suite
    suite.stop()


@pytest.fixture(scope="module", params=proxies.ALL)
def proxy(request, behind, tmp_path_factory):
    proxy = proxies.ALL[request.param](tmp_path_factory.mktemp("proxies") / request.param, behind).start()
    yield proxy
    proxy.stop()


@pytest.fixture
def origin(proxy):
    """What a Device takes for a suite."""
    return types.SimpleNamespace(api_url=f"http://127.0.0.1:{proxy.port}", ws_url=f"ws://127.0.0.1:{proxy.port}/ws",
                                 ws_port=proxy.port)


@pytest.fixture
def phone(origin):
    return Device(origin, new_user(), "phone")


def test_an_origin_for_all(origin, phone):
    session = phone.create({"n": 0})["id"]
    laptop = Device(origin, phone.user, "laptop")
    with subscribed(phone, session) as by_socket, Stream(laptop, session) as by_stream:
        by_stream.recv_until("state_sync")
        for n in range(1, 4):
            answer = phone.patch(session, set_to("n", n), headers={"X-Request-Id": f"mine-{n}"})
            assert (answer.status_code, answer.headers["X-Request-Id"]) == (200, f"mine-{n}")
            for frames in (by_socket, by_stream):
                frames.recv_until("state_delta", version=n + 1)
    assert phone.read(session)["data"] == {"n": 3}
    assert phone.get("/time").headers["X-Request-Id"] != phone.get("/time").headers["X-Request-Id"]
    assert phone.delete(f"/sessions/{session}").status_code == 204
    assert phone.get(f"/sessions/{session}").status_code == 404
    with pytest.raises(websocket.WebSocketBadStatusException) as bad:
        websocket.create_connection(origin.ws_url, subprotocols=["handoff.v1"], suppress_origin=True,
                                                   header=["Authorization: Bearer none"], timeout=MAX_WAIT)
    assert bad.value.status_code == 401


def test_bodies_up_to_the_limit_and_over_it(phone):
    def create(n_bytes):
        body = json.dumps({"name": "n", "type": "t", "data": {}}).encode()
        return phone.post("/sessions", data=body + b" " * (n_bytes - len(body)), headers={"Content-Type": "application/json"})

    assert create(LIMIT).status_code == 201
    for n_bytes in (LIMIT + 1, 4 * LIMIT, 9 * LIMIT + 1):
        try:
            answer = create(n_bytes)
        except requests.ConnectionError:
            # Over 8 MiB nobody reads on: the answer may be lost with the connection.
            assert n_bytes > 8 * LIMIT
            phone.http.close()
            continue
        refused(answer, 413, "body_too_large")


def test_the_clients_address_and_no_other(behind, proxy):
    """It cannot choose under which one it is counted."""
    with socket.create_connection(("127.0.0.1", proxy.port), MAX_WAIT, source_address=(ADDRESS, 0)) as s:
        s.sendall(f"GET /time HTTP/1.1\r\nHost: 127.0.0.1:{proxy.port}\r\nX-Forwarded-For: 203.0.113.5\r\n"
                  "Connection: close\r\n\r\n".encode())
        assert s.recv(65536).startswith(b"HTTP/1.1 200")
    keys = behind.redis_client().keys("rate:{address:*")
    assert f"rate:{{address:{ADDRESS}}}" in keys and not [k for k in keys if "203.0.113" in k]
    behind.redis_client().delete(f"rate:{{address:{ADDRESS}}}")


def connected(proxy, stack, address):
    """How the proxy answers one more WebSocket of that address, which stays."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # it may come before connect() returns
        s = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), MAX_WAIT, source_address=(address, 0)))
        s.sendall(handshake(proxy.port))
        return s.recv(65536).partition(b"\r\n")[0].split(b" ")[1:2]
    return []


def test_one_address_has_so_many_connections_and_the_others_theirs(proxy):
    """Not with Caddy, which cannot: its file says so."""
    over = {"Haproxy": [], "Nginx": [b"429"], "Caddy": [b"101"]}[type(proxy).__name__]
    was, proxy.n_of_address = proxy.n_of_address, 5
    proxy.reload()
    try:
        with contextlib.ExitStack() as stack:
            assert [connected(proxy, stack, ADDRESS) for _ in range(7)] == [[b"101"]] * 5 + [over] * 2
            assert connected(proxy, stack, "127.0.0.78") == [b"101"]
        with contextlib.ExitStack() as stack:
            wait_until(lambda: connected(proxy, stack, ADDRESS) == [b"101"], what="room again")
    finally:
        proxy.n_of_address = was
        proxy.reload()


class Reader(threading.Thread):
    """Watches, and comes back from where it was when its connection ends with a reload."""

    def __init__(self, device, session):
        super().__init__(daemon=True)
        self.device, self.session, self.versions, self.last = device, session, [], None
        self.n_connections, self.error = 0, None
        self.joined = threading.Event()

    def connect(self):
        self.n_connections += 1
        since = f"&since={self.versions[-1]}" if self.versions else ""
        return self.device.connect(self.session + since)

    def follow(self):
        with self.connect() as frames:
            frames.ws.settimeout(MAX_WAIT)
            while self.last is None or self.versions[-1] < self.last:
                frame = frames.recv()
                if frame["type"] == "state_sync":
                    assert not self.versions, "it had a position"
                    self.versions = [frame["version"]]
                elif frame["type"] == "state_delta":
                    self.versions.append(frame["version"])
                if self.versions:
                    self.joined.set()

    def run(self):
        while not self.error and (self.last is None or not self.versions or self.versions[-1] < self.last):
            try:
                self.follow()
            except (Closed, websocket.WebSocketConnectionClosedException, ConnectionError):
                assert self.n_connections < 20
            except BaseException as error:
                self.error = error


def test_a_reload_refuses_nobody_and_loses_nothing(proxy, phone, origin):
    session = phone.create({"n": 0})["id"]
    readers = [Reader(Device(origin, phone.user, f"reader{i}"), session) for i in range(8)]
    for reader in readers:
        reader.start()
        assert reader.joined.wait(MAX_WAIT)
    stopped, statuses, n_repeated = threading.Event(), [], [0]

    def write():
        n = 0
        while not stopped.wait(0.01):
            n += 1
            while True:  # each request comes by a connection of its own
                try:
                    answer = requests.patch(f"{origin.api_url}/sessions/{session}", timeout=MAX_WAIT,
                                            json={"operations": set_to("n", n)},
                                            headers={"Authorization": f"Bearer {phone.token}", "Idempotency-Key": f"k{n}",
                                                     "Connection": "close"})
                    break
                except requests.ConnectionError:
                    n_repeated[0] += 1
            statuses.append(answer.status_code)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    for _ in range(2):
        wanted = len(statuses) + 10
        wait_until(lambda: len(statuses) >= wanted, what="some writes")
        proxy.reload()
    wanted = len(statuses) + 20
    wait_until(lambda: len(statuses) >= wanted, what="writes after the reloads")
    stopped.set()
    writer.join(MAX_WAIT)
    assert set(statuses) == {200}, statuses
    last = phone.read(session)["version"]
    assert last == len(statuses) + 1
    for reader in readers:
        reader.last = last
    phone.patch(session, set_to("end", 1))
    for reader in readers:
        reader.join(MAX_WAIT)
        assert not reader.error, reader.error
        assert not reader.is_alive(), (last, reader.versions)
        assert reader.versions[:last] == list(range(1, last + 1))
    print(f"\n{len(statuses)} writes, {n_repeated[0]} repeated, connections of each reader: "
          f"{sorted({r.n_connections for r in readers})}", end=" ")

"""What the WebSocket tests say often: a second, raw client that may break every rule, and watchers that
check what they see as an app would."""

import base64
import contextlib
import json
import os
import pathlib
import socket
import struct
import threading
import time

import jsonpatch

from harness import MAX_WAIT, Closed, Frames, checksum_of, wait_until

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MISSING_ID = "0197a3b4-0000-7000-8000-000000000000"


class Gone(Exception):
    """The connection ended without a close frame."""


def handshake(port, target="/ws", *, method="GET", http="HTTP/1.1", **headers):
    """The bytes of an upgrade request; headers with _ for -, None leaves a usual one out."""
    usual = {"Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "Upgrade",
             "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
             "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "handoff.v1"}
    usual.update({k.replace("_", "-"): v for k, v in headers.items()})
    lines = [f"{method} {target} {http}"] + [f"{k}: {v}" for k, v in usual.items() if v is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def dial(port, *, rcvbuf=None, timeout=MAX_WAIT, address=None):
    """address: that it comes from, since a proxy lets one have a thousand connections."""
    s = socket.socket()
    s.settimeout(timeout)
    if address:
        s.bind((address, 0))
    if rcvbuf:
        # Segments of Ethernet's size: with loopback's 64 KiB a small window opens minutes late.
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.connect(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def reset(s):
    """Ends with an RST, as a device that lost its network."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def read_head(s):
    """An HTTP answer's head and what of the rest is there; b"" when the server just hung up."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while b"\r\n\r\n" not in received:
            chunk = s.recv(65536)
            if not chunk:
                break
            received += chunk
    return received


def status_of(received):
    return int(received.split(None, 2)[1]) if received.startswith(b"HTTP/1.") else None


def http_exchange(port, data):
    """The status that raw bytes get, None without any answer. The server must end the connection,
    unless it upgraded it."""
    with dial(port) as s:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(data)
        head = read_head(s)
        status = status_of(head)
        if status != 101:
            with contextlib.suppress(ConnectionResetError):
                while s.recv(65536):
                    pass
        return status


class Raw(Frames):
    """A WebSocket by hand: sends what it is told to, answers nothing by itself. Closed or Gone at the end."""

    def __init__(self, port, target="/ws", *, rcvbuf=None, timeout=MAX_WAIT, address=None, **headers):
        self.socket = dial(port, rcvbuf=rcvbuf, timeout=timeout, address=address)
        self.socket.sendall(handshake(port, target, **headers))
        received = read_head(self.socket)
        assert status_of(received) == 101, received
        self.head, _, self.buffer = received.partition(b"\r\n\r\n")

    @classmethod
    def of(cls, device, session_id=None, **more):
        target = f"/ws?session={session_id}" if session_id else "/ws"
        return cls(device.suite.ws_port, target, Authorization=f"Bearer {device.token}", **more)

    def send_frame(self, opcode, payload=b"", *, fin=True, mask=True, key=None, length=None, rsv=0):
        n = len(payload) if length is None else length
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        flag = 0x80 if mask else 0
        if n < 126:
            head += bytes([flag | n])
        elif n < 65536:
            head += bytes([flag | 126]) + struct.pack(">H", n)
        else:
            head += bytes([flag | 127]) + struct.pack(">Q", n)
        if mask:
            key = key or os.urandom(4)
            whole = (key * (len(payload) // 4 + 1))[:len(payload)]
            payload = key + (int.from_bytes(payload, "big")
                             ^ int.from_bytes(whole, "big")).to_bytes(len(payload), "big")
        self.socket.sendall(head + payload)

    def send_text(self, text, **more):
        self.send_frame(TEXT, text if isinstance(text, bytes) else text.encode(), **more)

    def send(self, **message):
        self.send_text(json.dumps(message))

    def _take(self, n):
        while len(self.buffer) < n:
            try:
                chunk = self.socket.recv(262144)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                raise Gone("no close frame")
            self.buffer += chunk
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def recv_frame(self):
        """(opcode, payload); the server's frames are whole and unmasked here."""
        first, second = self._take(2)
        assert second & 0x80 == 0, "a server does not mask"
        assert first & 0x70 == 0, "no extension was agreed on"
        n = second & 0x7F
        if n == 126:
            n, = struct.unpack(">H", self._take(2))
        elif n == 127:
            n, = struct.unpack(">Q", self._take(8))
        payload = self._take(n)
        if not first & 0x80 and first & 0x0F in (TEXT, CONTINUATION):
            opcode, rest = self.recv_frame()
            assert opcode == CONTINUATION
            return (first & 0x0F) or CONTINUATION, payload + rest
        return first & 0x0F, payload

    def recv_any(self):
        """Skips pings."""
        while True:
            opcode, payload = self.recv_frame()
            if opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                raise Closed(code, payload[2:].decode())
            if opcode == TEXT:
                return json.loads(payload)

    def ending(self):
        """Reads on to the end: the close code, None without one."""
        try:
            while True:
                self.recv()
        except Closed as closed:
            return closed.code
        except Gone:
            return None

    def reset(self):
        reset(self.socket)

    def close(self):
        self.socket.close()


# ---- what sockets say ----

def ending(socket):
    """Reads a harness.Socket to its end: (close code, reason), (None, "") when it was cut."""
    try:
        while True:
            socket.recv()
    except Closed as closed:
        return closed.code, closed.reason
    except Exception as error:  # websocket-client has several for a connection that is gone
        if isinstance(error, AssertionError) or "timed out" in str(error):
            raise
        return None, ""


def is_alive(socket):
    """Still answers, in order: what was to come before has come. Returns the frames before."""
    before, marker = [], os.urandom(6).hex()
    socket.send(type="ping", id=marker)
    while True:
        frame = socket.recv()
        if frame["type"] == "pong" and frame.get("id") == marker:
            return before
        before.append(frame)


def answer_to(socket, message):
    """The one answer to a message, by its id; events may come before it."""
    socket.send(**message)
    while True:
        frame = socket.recv()
        if frame.get("id") == message["id"]:
            return frame


_ids = iter(f"c{n}" for n in range(1, 1 << 62))


def ask(socket, type, **members):
    """Sends a message with an id of its own; its answer."""
    return answer_to(socket, {"type": type, "id": next(_ids), **members})


def refused(frame, code, temporary=False, **members):
    """An `error` of that code, with what every refusal has."""
    assert frame["type"] == "error" and frame["code"] == code, frame
    assert frame["temporary"] is temporary and frame["detail"], frame
    for name, value in members.items():
        assert frame.get(name) == value, frame
    return frame


def acked(frame, version, **members):
    """An `ack` with that version, and what every ack has."""
    assert frame["type"] == "ack", frame
    assert {"type", "id", "sessionId", "epoch", "version", "checksum", "rebased"} <= frame.keys()
    assert frame.keys() <= {"type", "id", "sessionId", "epoch", "version", "checksum", "rebased",
                            "replayed"}
    assert (frame["epoch"], frame["version"]) == (1, version), frame
    assert frame["rebased"] is members.pop("rebased", False), frame
    assert frame.get("replayed", False) is members.pop("replayed", False), frame
    for name, value in members.items():
        assert frame.get(name) == value, frame
    return frame


def subscribed(device, session_id, **more):
    """A socket that has seen hello and the session's first state_sync."""
    socket = device.connect(session_id, **more)
    socket.expect("hello")
    socket.sync = socket.expect("state_sync", sessionId=session_id)
    return socket


def wait_joined(suite, session_id, *devices):
    """Waits until it was told that these devices are in the session; the events by device. To the device
    itself it need not come: it may be told before the connection's first state."""
    def told():
        events = dict(suite.query("select device_id, payload from session_events where session_id = %s and "
                                  "type = 'device_joined'", session_id))
        return events if events.keys() >= set(devices) else None
    return wait_until(told, what=f"the joining of {', '.join(devices)}")


def pass_joined(device, session_id, joined, *sockets):
    """Waits until it was told that these devices are in the session, and reads the sockets past it. What
    audit_writer has is in the queue of each ws_fanout: what the device broadcasts then comes behind."""
    wait_joined(device.suite, session_id, *joined)
    marker = os.urandom(6).hex()
    answer = device.post(f"/sessions/{session_id}/broadcast", json={"message": marker, "echo": True})
    assert answer.status_code == 202, answer.text
    for told in sockets:
        told.recv_until("broadcast", message=marker)


@contextlib.contextmanager
def bystander_of(device):
    """Another connection of the device's instance, that must see every change and answer to the end."""
    session = device.create({"n": 0})
    with subscribed(device, session["id"]) as socket:
        yield socket
        device.json_patch(session["id"], set_to("n", "end"))
        socket.expect("state_delta", version=2)
        assert is_alive(socket) == []


def set_to(path, value):
    return [{"op": "add", "path": f"/data/{path}", "value": value}]


# ---- what a device makes of it ----

class Mirror:
    """The session as a device rebuilds it from its frames; every frame is checked on the way."""

    def __init__(self):
        self.session, self.versions, self.syncs = None, [], []

    @property
    def version(self):
        return self.session["version"] if self.session else 0

    def take(self, frame):
        kind = frame["type"]
        if kind == "state_sync":
            self._sync(frame)
        elif kind == "state_delta":
            self._delta(frame)
        elif kind == "status_changed":
            self._next(frame)
            assert frame["from"] == self.session["status"], frame
            self.session["status"] = frame["to"]
            self.session["activeDeviceId"] = frame["activeDeviceId"]
        else:
            assert kind in ("hello", "device_joined", "device_left", "ack", "pong"), frame

    def _sync(self, frame):
        assert frame["version"] == frame["session"]["version"], frame
        assert frame["epoch"] == frame["session"]["epoch"], frame
        assert frame["version"] >= self.version, "a state_sync never goes back"
        self.session = frame["session"]
        self.syncs.append((frame["reason"], frame["version"]))
        assert checksum_of(self.session["data"]) == self.session["checksum"]

    def _next(self, frame):
        assert self.session, f"an event before the state: {frame}"
        assert frame["version"] == self.version + 1, f"{frame['version']} after {self.version}"
        self.session["version"] = frame["version"]
        self.versions.append(frame["version"])

    def _delta(self, frame):
        self._next(frame)
        assert frame["baseVersion"] == frame["version"] - 1
        self.session = jsonpatch.apply_patch(self.session, frame["operations"])
        self.session["checksum"] = frame["checksum"]
        assert checksum_of(self.session["data"]) == frame["checksum"], frame["version"]


    def agrees_with(self, session):
        """Events tell the rest, but not lastModified and what follows from it."""
        told = ("id", "epoch", "version", "status", "activeDeviceId", "name", "data", "checksum")
        return all(self.session[member] == session[member] for member in told)


class Watcher(threading.Thread):
    """Joins a session after `delay` seconds, and mirrors it up to its version `last`."""

    def __init__(self, device, session_id, delay=0, timeout=MAX_WAIT):
        super().__init__(daemon=True)
        self.device, self.session_id, self.delay, self.timeout = device, session_id, delay, timeout
        self.mirror, self.error, self.last, self.joined = Mirror(), None, None, threading.Event()

    def run(self):
        try:
            time.sleep(self.delay)
            with self.device.connect(self.session_id) as socket:
                socket.ws.settimeout(0.3)
                self._read(socket)
        except BaseException as error:
            self.error = error
        self.joined.set()

    def _read(self, socket):
        quiet_since = time.monotonic()
        while self.last is None or self.mirror.version < self.last:
            try:
                self.mirror.take(socket.recv())
                quiet_since = time.monotonic()
                if self.mirror.session:
                    self.joined.set()
            except Exception as error:
                if "timed out" not in str(error):
                    raise
                assert time.monotonic() - quiet_since < self.timeout, \
                    f"silence at version {self.mirror.version}, {self.last} is the last"

    def finish(self, last):
        """What it saw once it has seen that version."""
        self.last = last
        self.join(self.timeout + 20)
        if self.error:
            raise self.error
        assert not self.is_alive(), f"still at {self.mirror.version}"
        return self.mirror


def watch(device, session_id, **more):
    watcher = Watcher(device, session_id, **more)
    watcher.start()
    return watcher


def finish(watchers, last):
    """What each of them saw once all have seen that version."""
    for watcher in watchers:
        watcher.last = last
    return [watcher.finish(last) for watcher in watchers]


# ---- looks at processes: all instances of a service ----

def pids_of(suite, name="ws_fanout"):
    return [service.process.pid for service in suite.instances(name)]


def rss_of(suite, name="ws_fanout"):
    texts = [pathlib.Path(f"/proc/{pid}/status").read_text() for pid in pids_of(suite, name)]
    return sum(int(text.partition("VmRSS:")[2].split()[0]) * 1024 for text in texts)


def n_descriptors(suite, name="ws_fanout"):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids_of(suite, name))


def wait_descriptors(suite, at_most, name="ws_fanout"):
    wait_until(lambda: n_descriptors(suite, name) <= at_most, what=f"no more than {at_most} descriptors open")

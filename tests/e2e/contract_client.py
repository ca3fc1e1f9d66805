"""A client written from docs/PROTOCOL.md, openapi.yaml and asyncapi.yaml alone: its own WebSocket and event
stream on plain sockets, its own JSON Patch, and a Copy of a session that is kept as the documents say.
What it cannot do by them is a fault of theirs."""

import base64
import copy
import json
import os
import socket
import struct
import time
import urllib.parse

import requests

from harness import MAX_WAIT, checksum_of, token

PRESENCE = ("device_joined", "device_left", "presence")
VERSIONED = ("session_created", "state_delta", "status_changed", "session_deleted", "participant_changed",
             "device_changed", "clock_set", "clock_switched", "clock_adjusted", "clock_expired")
EPHEMERAL = (*PRESENCE, "broadcast", "clock_warning")


class Refused(Exception):
    """An HTTP answer instead of a WebSocket or a stream."""

    def __init__(self, status, headers, problem):
        super().__init__(f"{status} {problem}")
        self.status, self.headers, self.problem = status, headers, problem


class Ended(Exception):
    """The connection ended; code: of the WebSocket's close, None without one."""

    def __init__(self, code=None, reason=""):
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


# ---- JSON Patch ----

def tokens_of(pointer):
    return [t.replace("~1", "/").replace("~0", "~") for t in pointer.split("/")[1:]]


def at(document, tokens):
    for name in tokens:
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def put(document, tokens, value, replace):
    parent, name = at(document, tokens[:-1]), tokens[-1]
    if isinstance(parent, dict) or replace:
        parent[name if isinstance(parent, dict) else int(name)] = value
    else:
        parent.insert(len(parent) if name == "-" else int(name), value)


def cut(document, tokens):
    parent, name = at(document, tokens[:-1]), tokens[-1]
    return parent.pop(name if isinstance(parent, dict) else int(name))


def apply(document, operations):
    """RFC 6902 without `test`, as events have it."""
    for operation in operations:
        op, path = operation["op"], tokens_of(operation["path"])
        if op in ("add", "replace"):
            put(document, path, copy.deepcopy(operation["value"]), op == "replace")
        elif op == "remove":
            cut(document, path)
        else:
            source = tokens_of(operation["from"])
            value = cut(document, source) if op == "move" else copy.deepcopy(at(document, source))
            put(document, path, value, False)


# ---- a copy of a session ----

class Copy:
    """A session as the messages tell it. Refuses a double, a gap, a wrong order, another checksum."""

    def __init__(self, user, session=None):
        self.user, self.session = user, copy.deepcopy(session)
        self.versions, self.syncs, self.others, self.lost, self.deleted = [], [], [], None, False

    @property
    def version(self):
        return self.session["version"]

    @property
    def epoch(self):
        return self.session["epoch"]

    def take(self, message):
        kind = message["type"]
        if kind == "state_sync":
            assert (message["epoch"], message["version"]) == (message["session"]["epoch"],
                                                              message["session"]["version"])
            self.session = message["session"]
            self.syncs.append((message["reason"], message["version"]))
        elif kind in VERSIONED:
            self._take_event(message)
        elif kind == "unsubscribed":
            self.lost = message.get("code")
        else:
            self.others.append(message)
        return self

    def _take_event(self, event):
        if event["type"] == "session_created":
            assert event["version"] == 1
            self.session = copy.deepcopy(event["session"])
            self.versions.append(1)
            return
        assert self.session, f"an event before any state: {event}"
        assert event["epoch"] == self.epoch
        assert event["version"] == self.version + 1, f"at {self.version}: {event}"
        getattr(self, "_" + event["type"])(self.session, event)
        self.session["version"], self.session["updatedAt"] = event["version"], event["timestamp"]
        self.versions.append(event["version"])

    def _state_delta(self, session, event):
        assert event["baseVersion"] == self.version
        apply(session, event["operations"])
        assert checksum_of(session["data"]) == event["checksum"]
        session["checksum"] = event["checksum"]
        session["lastModified"], session["modifiedBy"] = event["timestamp"], event["deviceId"]

    def _status_changed(self, session, event):
        assert event["from"] == session["status"]
        session["status"], session["activeDeviceId"] = event["to"], event["activeDeviceId"]
        if event["to"] in ("completed", "cancelled", "expired"):
            session["completedAt"] = event["timestamp"]
        assert ("clock" in event) == ("clock" in session)
        if "clock" in event:
            session["clock"] = event["clock"]

    def _clock(self, session, event):
        session["clock"] = event["clock"]

    _clock_set = _clock_switched = _clock_adjusted = _clock_expired = _clock

    def _participant_changed(self, session, event):
        if event["participant"] == self.user:
            session["role"] = event["role"]

    def _device_changed(self, session, event):
        assert event["removed"] in (True, False) and event["device"]

    def _session_deleted(self, session, event):
        self.deleted = True

    def agrees_with(self, session):
        """With what a GET answers; `expiresAt` moves without a version, and events do not tell it."""
        def told(s):
            return {name: value for name, value in s.items() if name != "expiresAt"}
        assert told(self.session) == told(session)
        return True


# ---- an HTTP answer on a plain socket ----

class Stream:
    """Bytes of a socket, with an HTTP head in front."""

    def __init__(self, port, request, timeout=MAX_WAIT, rcvbuf=None):
        self.socket = socket.socket()
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(request.encode())
        self.rest = b""
        head = self.until(b"\r\n\r\n").decode()
        first, *lines = head.split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.strip().lower(): value.strip()
                        for name, _, value in (line.partition(":") for line in lines)}

    def fill(self):
        data = self.socket.recv(65536)
        if not data:
            raise Ended()
        self.rest += data

    def until(self, end):
        while end not in self.rest:
            self.fill()
        data, self.rest = self.rest.split(end, 1)
        return data

    def exactly(self, n):
        while len(self.rest) < n:
            self.fill()
        data, self.rest = self.rest[:n], self.rest[n:]
        return data

    def refused(self):
        body = self.exactly(int(self.headers["content-length"]))
        self.socket.close()
        assert self.headers["content-type"] == "application/problem+json"
        problem = json.loads(body)
        assert problem["status"] == self.status and problem["requestId"] == self.headers["x-request-id"]
        return Refused(self.status, self.headers, problem)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def query_of(**parameters):
    return "?" + urllib.parse.urlencode({k: v for k, v in parameters.items() if v is not None})


class WebSocket(Stream):
    """handoff.v1 by RFC 6455. Presence is kept in `presence`, everything else comes by recv()."""

    def __init__(self, port, token=None, timeout=MAX_WAIT, rcvbuf=None, **query):
        lines = [f"GET /ws{query_of(**query)} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket",
                 "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: handoff.v1",
                 f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}"]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        super().__init__(port, "\r\n".join(lines) + "\r\n\r\n", timeout, rcvbuf)
        self.presence = []
        if self.status != 101:
            raise self.refused()
        assert self.headers["sec-websocket-protocol"] == "handoff.v1"

    def send_frame(self, opcode, payload):
        mask, n = os.urandom(4), len(payload)
        length = (bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536
                  else b"\xff" + struct.pack(">Q", n))
        key = (mask * (n // 4 + 1))[:n]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(n, "big")
        self.socket.sendall(bytes([0x80 | opcode]) + length + mask + masked)

    def send(self, **message):
        self.send_frame(1, json.dumps(message, separators=(",", ":")).encode())

    def recv_frame(self):
        """The next message; pings are answered, a close is Ended."""
        payload = b""
        while True:
            first, second = self.exactly(2)
            n = second & 0x7F
            if n > 125:
                n = int.from_bytes(self.exactly(2 if n == 126 else 8), "big")
            piece, opcode = self.exactly(n), first & 0x0F
            if opcode == 8:
                raise Ended(int.from_bytes(piece[:2], "big") if piece else 1005, piece[2:].decode())
            if opcode == 9:
                self.send_frame(10, piece)
            elif opcode in (0, 1):
                payload += piece
                if first & 0x80:
                    return json.loads(payload)

    def recv(self):
        while True:
            message = self.recv_frame()
            if message["type"] not in PRESENCE:
                return message
            self.presence.append(message)

    def expect(self, kind, **members):
        message = self.recv()
        assert message["type"] == kind, message
        assert members.items() <= message.items(), message
        return message

    def ask(self, kind, id="q", **members):
        """Sends it; its answer. Events that come before are kept in `events`."""
        self.send(type=kind, id=id, **members)
        self.events = []
        while True:
            message = self.recv()
            if message.get("id") == id:
                return message
            self.events.append(message)

    def silent(self):
        """What had been sent before the server answers a ping."""
        self.ask("ping", id="silence")
        return self.events


class EventStream(Stream):
    """GET /sessions/{id}/events; recv() is the next message, last_id as a client keeps it."""

    def __init__(self, port, session_id, token, last_id=None, device=None, timeout=MAX_WAIT, rcvbuf=None, **query):
        lines = [f"GET /sessions/{session_id}/events{query_of(**query)} HTTP/1.1", f"Host: 127.0.0.1:{port}",
                 f"Authorization: Bearer {token}", "Accept: text/event-stream"]
        lines += [f"Last-Event-ID: {last_id}"] if last_id else []
        lines += [f"X-Device-Id: {device}"] if device else []
        super().__init__(port, "\r\n".join(lines) + "\r\n\r\n", timeout, rcvbuf)
        self.last_id, self.presence, self.lines = last_id, [], b""
        if self.status != 200:
            raise self.refused()
        assert self.headers["content-type"].startswith("text/event-stream")

    def next_line(self):
        while b"\n" not in self.lines:
            if self.headers.get("transfer-encoding") == "chunked":
                n = int(self.until(b"\r\n").split(b";")[0], 16)
                if n == 0:
                    raise Ended()
                self.lines += self.exactly(n)
                self.exactly(2)
            else:
                self.lines += self.exactly(1) + self.rest
                self.rest = b""
        line, self.lines = self.lines.split(b"\n", 1)
        return line.rstrip(b"\r").decode()

    def recv_event(self):
        data, event_id = [], None
        while True:
            line = self.next_line()
            if line == "" and data:
                self.last_id = event_id or self.last_id
                return json.loads("\n".join(data))
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "id":
                event_id = value
            assert name in ("", "data", "id", "retry"), "there are no event types"

    def recv(self):
        while True:
            message = self.recv_event()
            if message["type"] in PRESENCE:
                self.presence.append(message)
            elif message["type"] != "hello":
                return message

    expect = WebSocket.expect


# ---- one device of a user ----

class App:
    """claim: the device stands in the token, else it is sent as the documents say where there is none."""

    def __init__(self, suite, user, device, claim=True, **claims):
        self.suite, self.user, self.device, self.claim = suite, user, device, claim
        self.api_url, self.ws_port = suite.api_url, suite.ws_port
        self.token = token(user, device if claim else None, **claims)

    def at(self, fanout):
        """The same device at another ws_fanout."""
        other = copy.copy(self)
        other.ws_port = fanout.ws_port
        return other

    def call(self, method, path, body=None, headers=None, **more):
        headers = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        if self.device and not self.claim:
            headers["X-Device-Id"] = self.device
        answer = requests.request(method, self.api_url + path, headers=headers, json=body, timeout=MAX_WAIT, **more)
        if answer.status_code >= 400 and method != "HEAD":
            problem = answer.json()
            assert {"type", "title", "detail", "code", "requestId", "temporary"} <= problem.keys()
        return answer

    def ok(self, method, path, body=None, **more):
        """The answer's JSON, of one that must succeed."""
        answer = self.call(method, path, body, **more)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:400]}"
        return answer.json() if answer.content else None

    def create(self, data=None, **more):
        body = {"name": "Evening meditation", "type": "meditation", **more}
        return self.ok("POST", "/sessions", {**body, "data": {} if data is None else data})

    def read(self, session_id):
        return self.ok("GET", f"/sessions/{session_id}")

    def write(self, session_id, *operations, **more):
        return self.ok("PATCH", f"/sessions/{session_id}", {"operations": list(operations)}, **more)["version"]

    def set(self, session_id, name, value):
        return self.write(session_id, {"op": "add", "path": f"/data/{name}", "value": value})

    def status(self, session_id, status):
        return self.ok("POST", f"/sessions/{session_id}?status={status}")

    def share(self, session_id, user, role):
        self.ok("PUT", f"/sessions/{session_id}/participants/{user}", {"role": role})

    def unshare(self, session_id, user):
        self.ok("DELETE", f"/sessions/{session_id}/participants/{user}")

    def devices(self, session_id):
        return {d["deviceId"]: d for d in self.ok("GET", f"/sessions/{session_id}/devices")["items"]}

    def deltas(self, session_id, since=0, epoch=1):
        """All events after it; (items, complete)."""
        items = []
        while True:
            page = self.ok("GET", f"/sessions/{session_id}/deltas?since={since}&epoch={epoch}&limit=100")
            items += page["items"]
            if not page["items"] or not page["complete"]:
                return items, page["complete"]
            since = page["items"][-1]["version"]

    def all(self, path):
        """Every page of a list, by its Link."""
        items, more = [], path
        while more:
            answer = self.call("GET", more)
            assert answer.status_code == 200, answer.text
            items += answer.json()["items"]
            more = answer.links.get("next", {}).get("url")
            assert bool(more) == bool(answer.json()["nextCursor"])
        return items

    def websocket(self, session_id=None, **more):
        """Greeted."""
        if not self.claim:
            more.setdefault("device_id", self.device)
        connection = WebSocket(self.ws_port, self.token, session=session_id, **more)
        connection.expect("hello")
        return connection

    def watch(self, session_id):
        """A WebSocket and its copy, at its first state."""
        connection = self.websocket(session_id)
        return connection, Copy(self.user).take(connection.expect("state_sync", reason="initial"))

    def stream(self, session_id, **more):
        if not self.claim:
            more.setdefault("device", self.device)
        return EventStream(self.ws_port, session_id, self.token, **more)


def follow(connection, mine, version):
    """Takes messages until the copy is at that version."""
    while mine.version < version:
        message = connection.recv()
        if message["type"] not in ("subscribed", "ack"):
            mine.take(message)
    return mine


def eventually(what, condition, seconds=MAX_WAIT):
    """As harness.wait_until, for what the documents say comes a moment later."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)

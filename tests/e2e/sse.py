"""A client of Server-Sent Events by hand: HTTP/1.1 on a plain socket, and the parser of WHATWG HTML
(9.2.6), strict where the standard lets a client ignore what the server should not have sent."""

import contextlib
import json
import re
import time

from harness import MAX_WAIT, Frames
from ws import dial, reset

ID = re.compile(r"[1-9]\d*:(0|[1-9]\d*)")
WITH_THEIR_POSITION = {"state_sync", "session_created", "state_delta", "status_changed", "session_deleted",
                       "participant_changed", "device_changed", "clock_set", "clock_switched", "clock_adjusted",
                       "clock_expired"}


class Parser:
    """Bytes in, dispatched events out: (last event id, type, data)."""

    def __init__(self):
        self.buffer, self.last_id, self.retry = b"", "", None
        self.id, self.data, self.type = "", [], ""
        self.n_comments, self.begun = 0, False

    def feed(self, chunk):
        self.buffer += chunk
        if not self.begun and len(self.buffer) >= 3:
            assert not self.buffer.startswith(b"\xef\xbb\xbf"), "no BOM is needed"
            self.begun = True
        while b"\n" in self.buffer:
            line, _, self.buffer = self.buffer.partition(b"\n")
            assert b"\r" not in line
            event = self._line(line.decode("utf-8"))
            if event:
                yield event

    def _line(self, line):
        if not line:
            return self._dispatch()
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            assert colon
            self.n_comments += 1
        elif name == "data":
            self.data.append(value)
        elif name == "id":
            assert "\0" not in value
            self.id = value
        elif name == "retry":
            assert value.isascii() and value.isdigit(), value
            self.retry = int(value)
        else:
            raise AssertionError(f"a field that nobody expects: {line!r}")
        return None

    def _dispatch(self):
        self.last_id = self.id
        data, self.data = self.data, []
        return (self.last_id, "message", "\n".join(data)) if data else None


class Ended(Exception):
    """The stream is over."""


class Refused(Exception):
    def __init__(self, status, headers, body):
        super().__init__(f"{status} {body[:300]}")
        self.status, self.headers, self.body = status, headers, body
        self.problem = json.loads(body) if body else None


def request(port, target, *, method="GET", http="HTTP/1.1", **headers):
    """The bytes of a request; headers with _ for -, None leaves a usual one out."""
    usual = {"Host": f"127.0.0.1:{port}", "Accept": "text/event-stream", "Cache-Control": "no-store", "Connection": "close"}
    usual.update({k.replace("_", "-"): v for k, v in headers.items()})
    lines = [f"{method} {target} {http}"] + [f"{k}: {v}" for k, v in usual.items() if v is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Answer:
    """A request's answer: status and headers (names in lower case); reads on as it is told to."""

    def __init__(self, port, data, *, rcvbuf=None, timeout=MAX_WAIT):
        self.socket = dial(port, rcvbuf=rcvbuf, timeout=timeout)
        self.socket.sendall(data)
        self.rest = b""
        head = self._read_head()
        lines = head.decode("latin-1").split("\r\n")
        assert re.fullmatch(r"HTTP/1\.1 \d{3} [A-Za-z ]+", lines[0]), lines[0]
        self.status = int(lines[0].split()[1])
        pairs = [line.split(": ", 1) for line in lines[1:]]
        self.headers = {name.lower(): value for name, value in pairs}
        assert len(self.headers) == len(pairs), f"a header is there twice: {lines}"

    def _read_head(self):
        received = b""
        while b"\r\n\r\n" not in received:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise Ended(f"without an answer, after {received!r}")
            received += chunk
        head, _, self.rest = received.partition(b"\r\n\r\n")
        return head

    def read_body(self):
        """To the end of the connection, which must be the end of the body."""
        body, self.rest = self.rest, b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := self.socket.recv(65536):
                body += chunk
        if "content-length" in self.headers:
            assert len(body) in (0, int(self.headers["content-length"]))
        self.socket.close()
        return body


def exchange(port, target, **more):
    """(status, headers, body) of a request whose answer ends."""
    answer = Answer(port, request(port, target, **more))
    return answer.status, answer.headers, answer.read_body()


def target_of(session_id, query=""):
    return f"/sessions/{session_id}/events{query}"


class Stream(Frames):
    """The events of a session, each checked for what holds of all; Ended when the stream is over. last_id
    is that of the last event that was given."""

    def __init__(self, device, session_id, query="", *, rcvbuf=None, timeout=MAX_WAIT, **more):
        port = device.suite.ws_port
        more.setdefault("Authorization", f"Bearer {device.token}")
        answer = Answer(port, request(port, target_of(session_id, query), **more),
                        rcvbuf=rcvbuf, timeout=timeout)
        if answer.status != 200:
            raise Refused(answer.status, answer.headers, answer.read_body())
        self.headers, self.socket = answer.headers, answer.socket
        self.parser, self.waiting = Parser(), []
        self.waiting += self.parser.feed(answer.rest)

    def _fill(self):
        try:
            chunk = self.socket.recv(262144)
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            raise Ended("the stream is over")
        self.waiting += self.parser.feed(chunk)

    def recv_any(self):
        while not self.waiting:
            self._fill()
        self.last_id, type, data = self.waiting.pop(0)
        assert type == "message"
        frame = json.loads(data)
        if frame["type"] in WITH_THEIR_POSITION:
            assert self.last_id == f"{frame['epoch']}:{frame['version']}", (self.last_id, frame)
        assert self.last_id == "" or ID.fullmatch(self.last_id)
        return frame

    def wait_comment(self):
        """Reads until a comment came; how long that took. Events in between are kept."""
        n, started = self.parser.n_comments, time.monotonic()
        while self.parser.n_comments == n:
            self._fill()
        return time.monotonic() - started

    def rest(self):
        """The events up to the end, which must come."""
        frames = []
        with contextlib.suppress(Ended):
            while True:
                frames.append(self.recv())
        return frames

    def reset(self):
        reset(self.socket)

    def close(self):
        self.socket.close()


def streamed(device, session_id, query="", **more):
    """A stream that has seen hello and the first state_sync."""
    stream = Stream(device, session_id, query, **more)
    stream.expect("hello")
    stream.sync = stream.expect("state_sync", sessionId=session_id)
    return stream


def refused(device, session_id, status, code, query="", **headers):
    """The refusal of a stream: problem+json of that status and code."""
    try:
        Stream(device, session_id, query, **headers)
    except Refused as refusal:
        check_problem(refusal.status, refusal.headers, refusal.problem)
        assert (refusal.status, refusal.problem["code"]) == (status, code), refusal
        return refusal
    raise AssertionError("it was not refused")


def check_problem(status, headers, problem):
    """What holds of every refusal."""
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store" and headers["x-api-version"] == "1"
    assert problem["status"] == status and problem["requestId"] == headers["x-request-id"]
    assert {"type", "title", "status", "detail", "code", "requestId", "temporary"} <= problem.keys()
    assert problem.keys() <= {"type", "title", "status", "detail", "code", "requestId", "temporary",
                              "field", "retryAfterMs"}
    assert ("www-authenticate" in headers) == (status == 401)
    assert ("retry-after" in headers) == (status in (429, 503))

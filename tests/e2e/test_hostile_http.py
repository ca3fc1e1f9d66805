"""Requests in bytes that two servers might read differently, paths that mean another one, floods: at session_api and ws_fanout
themselves, and at haproxy before both (compose/proxy/haproxy.cfg). Each case says what the answers may be; after each the next
clients of the same door get their own answers and no other's, and what a refused request had behind it has not happened."""

import contextlib
import json
import posixpath
import re
import socket
import uuid
from urllib.parse import unquote

import pytest

from harness import Suite, free_ports, new_user, wait_until
from proxy import Proxy
from rest import path_of, statuses
from ws import MISSING_ID, dial, handshake, n_descriptors, reset

REFUSED = {400, 404, 405, 413, 414, 431, 505}  # and without an answer, closed
PATCH = b'{"operations":[{"op":"add","path":"/data/n","value":1}]}'
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(PATCH), PATCH)
LENGTH = b"Content-Length: %d" % len(PATCH)
TE = b"Transfer-Encoding: "


@pytest.fixture(scope="module")
def hasty(suite, tmp_path_factory):
    """A session_api that gives a request a second to arrive."""
    api = Suite(suite.servers, tmp_path_factory.mktemp("hasty"), names=["session_api"], HANDOFF_REQUEST_TIMEOUT="1s")
    try:
        yield api.start()
    finally:
        api.stop()


@pytest.fixture(scope="module")
def doors(suite, hasty, tmp_path_factory):
    """name -> port."""
    here = {"session_api": hasty.api_port, "ws_fanout": suite.direct.ws_port}
    if suite.proxy:
        yield {**here, "proxy": suite.all_port}
        return
    proxy = Proxy(tmp_path_factory.mktemp("proxy"), list(suite.services.values()), *free_ports(3)).start()
    yield {**here, "proxy": proxy.ports["all"]}
    proxy.stop()


@pytest.fixture(scope="module")
def device(suite):
    return suite.device(new_user(), "phone")


class Victim:
    """A session, and the requests of its owner for it."""

    def __init__(self, device):
        self.device, self.session = device, device.create({"n": 0})
        self.path = path_of(self.session).encode()
        self.behind = self.head(b"DELETE {path} HTTP/1.1", b"Connection: close")

    def head(self, line, *lines):
        """{path} in the line is the session's."""
        return b"\r\n".join([line.replace(b"{path}", self.path), b"Host: h",
                             b"Authorization: Bearer " + self.device.token.encode(), *lines, b"", b""])

    def fate(self):
        """Its version, None when it was deleted."""
        return self.device.get(path_of(self.session)).json().get("version")


@pytest.fixture
def victim(device):
    return Victim(device)


def exchange(port, data, ends=True):
    """All that comes back, up to the end. ends: this side says that no more is to come."""
    received = b""
    with dial(port) as s, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        s.sendall(data)
        if ends:
            s.shutdown(socket.SHUT_WR)
        while chunk := s.recv(65536):
            received += chunk
    return received


def next_are_served(doors, door):
    """Two requests of others, one behind the other on a connection where that goes, get their own answers."""
    ids = [uuid.uuid4().hex[:12] for _ in range(2)]
    path, ends = ("/nowhere", ["close"]) if door == "ws_fanout" else ("/time", ["keep-alive", "close"])
    received = exchange(doors[door], "".join(
        f"GET {path} HTTP/1.1\r\nHost: h\r\nX-Request-Id: {name}\r\nConnection: {end}\r\n\r\n"
        for name, end in zip(ids, ends)).encode(), ends=False)
    assert statuses(received) == [404 if door == "ws_fanout" else 200] * len(ends), received
    assert re.findall(rb"x-request-id: (\w+)\r\n", received.lower()) == [name.encode() for name in ids[:len(ends)]], received


# ---- framing ----

def patch(*lines, line=b"PATCH {path} HTTP/1.1", body=PATCH):
    return line, (b"Content-Type: application/json", *lines), body


# What session_api has to refuse, whatever is behind it.
AMBIGUOUS = {
    "a length and a coding": patch(LENGTH, TE + b"chunked", body=CHUNKED),
    "a coding and a length": patch(TE + b"chunked", LENGTH, body=PATCH),
    "two lengths": patch(LENGTH, b"Content-Length: 0"),
    "lengths in a list": patch(b"Content-Length: %d, 0" % len(PATCH)),
    "a length with a sign": patch(b"Content-Length: +%d" % len(PATCH)),
    "a negative length": patch(b"Content-Length: -1"),
    "a length in hexadecimal": patch(b"Content-Length: 0x%x" % len(PATCH)),
    "a length over 64 bits": patch(b"Content-Length: 18446744073709551617"),
    "an empty length": patch(b"Content-Length:"),
    "a length with letters": patch(b"Content-Length: %dx" % len(PATCH)),
    "a length with a NUL": patch(b"Content-Length: %d\0" % len(PATCH)),
    "a length behind a fold": patch(b"Content-Length:\r\n %d" % len(PATCH)),
    "a coding behind a fold": patch(TE.rstrip() + b"\r\n chunked", body=CHUNKED),
    "another header behind a fold": patch(LENGTH, b"X: y\r\n z"),
    "another header behind a fold with a tab": patch(LENGTH, b"X: y\r\n\tz"),
    "a line feed alone behind a header": patch(LENGTH, b"X: y\nContent-Length: 0"),
    "a line feed alone behind the first line": patch(LENGTH, line=b"PATCH {path} HTTP/1.1\nX: y"),
    "an empty line of a line feed alone": patch(LENGTH, b"X: y\n\nDELETE / HTTP/1.1"),
    "a blank before the colon": patch(TE.rstrip(b": ") + b" : chunked", body=CHUNKED),
    "a tab before the colon": patch(b"Content-Length\t: %d" % len(PATCH)),
    "a header without a colon": patch(LENGTH, b"X-No-Colon"),
    "a header without a name": patch(LENGTH, b": x"),
    "a coding that is none": patch(TE + b"xchunked", body=CHUNKED),
    "two codings": patch(TE + b"gzip, chunked", body=CHUNKED),
    "chunked twice": patch(TE + b"chunked", TE + b"chunked", body=CHUNKED),
    "chunked, then identity": patch(TE + b"chunked", TE + b"identity", body=CHUNKED),
    "chunked in quotes": patch(TE + b'"chunked"', body=CHUNKED),
    "chunked behind a vertical tab": patch(TE + b"\x0bchunked", body=CHUNKED),
    "chunked before a NUL": patch(TE + b"chunked\0", body=CHUNKED),
    "chunked in HTTP/1.0": patch(TE + b"chunked", line=b"PATCH {path} HTTP/1.0", body=CHUNKED),
    "two hosts": patch(LENGTH, b"Host: other"),
    "the same host twice": patch(LENGTH, b"Host: h"),
    "a NUL in a name": patch(LENGTH, b"A\0B: c"),
    "a NUL in a value": patch(LENGTH, b"A: b\0c"),
    "a CR in a value": patch(LENGTH, b"A: b\rContent-Length: 0"),
    "a space in front of the first header": patch(LENGTH, line=b"PATCH {path} HTTP/1.1\r\n X: y"),
    "a NUL in the method": patch(LENGTH, line=b"PA\0TCH {path} HTTP/1.1"),
    "a NUL in the path": patch(LENGTH, line=b"PATCH {path}\0 HTTP/1.1"),
    "a version that is none": patch(LENGTH, line=b"PATCH {path} HTTP/1.1x"),
    "two versions": patch(LENGTH, line=b"PATCH {path} HTTP/1.1 HTTP/1.1"),
    "another protocol": patch(LENGTH, line=b"PATCH {path} RTSP/1.0"),
    "HTTP/2 in plain text": patch(LENGTH, line=b"PRI * HTTP/2.0\r\n\r\nSM\r\n"),
    "a chunk's size that is none": patch(TE + b"chunked", body=b"zz\r\n" + PATCH + b"\r\n0\r\n\r\n"),
    "a chunk's size with a sign": patch(TE + b"chunked", body=b"+" + CHUNKED),
    "a negative chunk": patch(TE + b"chunked", body=b"-" + CHUNKED),
    "a chunk's size with 0x": patch(TE + b"chunked", body=b"0x" + CHUNKED),
    "a chunk over 64 bits": patch(TE + b"chunked", body=b"1" + b"0" * 15 + CHUNKED),
    "a chunk of 2^63": patch(TE + b"chunked", body=b"8000000000000000\r\n" + PATCH + b"\r\n0\r\n\r\n"),
    "a chunk's size behind a line feed": patch(TE + b"chunked", body=b"\n" + CHUNKED),
    "a chunk's size behind a blank": patch(TE + b"chunked", body=b" " + CHUNKED),
    "a chunk without its end": patch(TE + b"chunked", body=b"%x\r\n%bxx0\r\n\r\n" % (len(PATCH), PATCH)),
    "a chunk without a size": patch(TE + b"chunked", body=b"\r\n" + PATCH + b"\r\n0\r\n\r\n"),
    "a chunk's extension without end": patch(TE + b"chunked", body=b"%x;" % len(PATCH) + b"e" * 100000),
    "a size that is padded without end": patch(TE + b"chunked", body=b"0" * 100000 + CHUNKED),
}


# What session_api says to them, where that is not 400; None: nothing, it closes.
ANSWERS = {"a length over 64 bits": 413, "a chunk over 64 bits": 413, "HTTP/2 in plain text": 505,
           "a chunk of 2^63": None, "a chunk's extension without end": None, "a size that is padded without end": None}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused(doors, victim, case):
    line, lines, body = AMBIGUOUS[case]
    received = exchange(doors["session_api"], victim.head(line, *lines) + body + victim.behind)
    # libmicrohttpd says its own refusals twice
    assert set(statuses(received)) == {ANSWERS.get(case, 400)} - {None} and len(statuses(received)) <= 2, received
    assert victim.fate() == 1
    next_are_served(doors, "session_api")


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_a_proxy_and_what_is_behind_it_read_the_same(doors, victim, case):
    """It refuses, or reads it in one way and hands on no other: then what follows is the next request."""
    line, lines, body = AMBIGUOUS[case]
    received = exchange(doors["proxy"], victim.head(line, *lines) + body + victim.behind, ends=False)
    first, *more = statuses(received) or [None]
    assert first in REFUSED | {422, 200, None} and more in ([], [204], [400], [413, 400]), received
    assert victim.fate() == (None if more == [204] else 2 if first == 200 else 1), received
    next_are_served(doors, "proxy")


@pytest.mark.parametrize("case", [case for case in AMBIGUOUS if AMBIGUOUS[case][0].startswith(b"PATCH {path} HTTP/1.1")])
def test_a_stream_has_no_second_request_behind_it(doors, victim, case):
    """ws_fanout answers once a connection: whatever it takes the end of a request for, what is behind is not read."""
    line, lines, body = AMBIGUOUS[case]
    line = line.replace(b"PATCH {path}", b"GET {path}/events")
    data = victim.head(line, *lines) + body + victim.head(b"GET {path}/events HTTP/1.1")
    received = b""
    with dial(doors["ws_fanout"]) as s, contextlib.suppress(OSError):
        s.sendall(data)
        received = s.recv(65536)
        s.shutdown(socket.SHUT_WR)
        while chunk := s.recv(65536):
            received += chunk
    # 401: libwebsockets takes a fold for more of the token
    assert len(statuses(received)) <= 1 and set(statuses(received)) <= REFUSED | {200, 401}, received
    next_are_served(doors, "ws_fanout")


@pytest.mark.parametrize("host, status", [
    (b"h, other", 400), (b"h other", 400), (b"h/sessions", 400), (b"a@h", 400), (b'h"', 400), (b"\xe9", 400), (b"h\x7f", 400), (b"h\\", 400),
    (b"h?", 400), (b"", 200), (b"h:8080", 200), (b"[::1]:80", 200), (b"a_b.c-d.example.", 200), (b"10.0.0.1", 200), (b"xn--bcher-kva.example", 200)])
def test_a_host_is_one(doors, victim, host, status):
    """RFC 9112, section 3.2. A proxy may hand it on as it is."""
    line, lines, body = patch(LENGTH)
    for door in ("session_api", "proxy"):
        head = victim.head(line, *lines, b"Connection: close").replace(b"Host: h\r\n", b"Host: " + host + b"\r\n")
        received = exchange(doors[door], head + body, ends=False)
        assert statuses(received) == [status], (door, received)
    assert victim.device.read(victim.session["id"])["version"] == (3 if status == 200 else 1)


@pytest.mark.parametrize("line, has_host", [(b"GET /time HTTP/1.1", False), (b"GET /time HTTP/1.2", False), (b"GET /time x HTTP/1.1", True),
                                            (b"GET /time HTTP/1.1 HTTP/1.1", True)])
def test_what_libmicrohttpd_would_refuse_is_refused_as_all_else(doors, line, has_host):
    """Its own answer is HTML, and has its head twice: a proxy hands on a part of that as the body."""
    for door in ("session_api", "proxy") if not has_host else ("session_api",):
        received = exchange(doors[door], line + b"\r\n" + (b"Host: h\r\n" if has_host else b"") + b"Connection: close\r\n\r\n", ends=False)
        head, _, body = received.partition(b"\r\n\r\n")
        assert statuses(received) == [400] and json.loads(body)["code"] == "invalid_request", received
        assert b"\r\ncontent-type: application/problem+json" in head.lower() and b"\r\nx-request-id: " in head.lower()


# What is odd and right, or right and rare: it is taken, and so is what is behind.
FINE = {
    "as usual": patch(LENGTH),
    "in chunks": patch(TE + b"chunked", body=CHUNKED),
    "in chunks of a byte": patch(TE + b"chunked", body=b"".join(b"1\r\n%c\r\n" % c for c in PATCH) + b"0\r\n\r\n"),
    "chunks with an extension": patch(TE + b"chunked", body=CHUNKED.replace(b"\r\n", b";name=value\r\n", 1)),
    "chunks with a length as trailer": patch(TE + b"chunked", body=CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n"),
    "chunks with a trailer": patch(TE + b"chunked", body=CHUNKED[:-2] + b"X-Trailer: x\r\n\r\n"),
    "a size with zeros before it": patch(TE + b"chunked", body=b"000" + CHUNKED),
    "CHUNKED": patch(b"TRANSFER-ENCODING: CHUNKED", body=CHUNKED),
    "no blank behind a colon": patch(b"Content-Length:%d" % len(PATCH)),
    "blanks and tabs behind a colon": patch(b"Content-Length: \t  %d" % len(PATCH)),
    "an empty value": patch(LENGTH, b"X-Empty:", b"X-Blank: "),
    "a value with a blank behind": patch(LENGTH, b"X-Blank: x  "),
    "a byte above ASCII in a value": patch(LENGTH, b"X-Latin: \xe9"),
    "a query": patch(LENGTH, line=b"PATCH {path}?a=b&&c&=d HTTP/1.1"),
    "an empty line before it": patch(LENGTH, line=b"\r\nPATCH {path} HTTP/1.1"),
    "a hundred headers": patch(LENGTH, *[b"X-%d: %d" % (n, n) for n in range(100)]),
}


@pytest.mark.parametrize("case", FINE)
def test_what_is_right_is_taken(doors, victim, case):
    line, lines, body = FINE[case]
    received = exchange(doors["session_api"], victim.head(line, *lines) + body + victim.behind, ends=False)
    assert statuses(received) == [200, 204], received
    assert victim.fate() is None


# How a chunked body may end its lines otherwise. libmicrohttpd takes a line feed alone, and what it likes behind a semicolon: so at
# session_api itself (its status); a proxy refuses, or hands on chunks of its own. What is behind is the next request, or nothing.
SIZE = b"%x" % len(PATCH)
LINES = {
    "a size, and a line feed": (200, SIZE + b"\n" + PATCH + b"\r\n0\r\n\r\n"),
    "a size, and a carriage return": (400, SIZE + b"\r" + PATCH + b"\r\n0\r\n\r\n"),
    "a size, and a blank": (400, SIZE + b" \r\n" + PATCH + b"\r\n0\r\n\r\n"),
    "a size, and a vertical tab": (400, SIZE + b"\x0b\r\n" + PATCH + b"\r\n0\r\n\r\n"),
    "a size, and a letter": (400, SIZE + b"g\r\n" + PATCH + b"\r\n0\r\n\r\n"),
    "an extension, and a line feed": (200, SIZE + b";e\n" + PATCH + b"\r\n0\r\n\r\n"),
    "an extension with a carriage return": (200, SIZE + b";e\re\r\n" + PATCH + b"\r\n0\r\n\r\n"),
    "an extension with a NUL": (200, SIZE + b";e\0\r\n" + PATCH + b"\r\n0\r\n\r\n"),
    "an extension with a quoted line": (400, SIZE + b';e="\r\n"\r\n' + PATCH + b"\r\n0\r\n\r\n"),
    "data, and a line feed": (200, SIZE + b"\r\n" + PATCH + b"\n0\r\n\r\n"),
    "data, and a carriage return": (400, SIZE + b"\r\n" + PATCH + b"\r0\r\n\r\n"),
    "data, and no line": (400, SIZE + b"\r\n" + PATCH + b"0\r\n\r\n"),
    "the last size, and line feeds": (200, SIZE + b"\r\n" + PATCH + b"\r\n0\n\n"),
    "the last size with an extension, and a line feed": (200, SIZE + b"\r\n" + PATCH + b"\r\n0;e\n\r\n"),
    "the last size, -0": (400, SIZE + b"\r\n" + PATCH + b"\r\n-0\r\n\r\n"),
    "the last size, 0x0": (400, SIZE + b"\r\n" + PATCH + b"\r\n0x0\r\n\r\n"),
    "a trailer, and line feeds": (200, CHUNKED[:-2] + b"X: y\n\n"),
    "a trailer with a fold": (200, CHUNKED[:-2] + b"X: y\r\n z\r\n\r\n"),
    "a trailer with a NUL": (200, CHUNKED[:-2] + b"X: y\0z\r\n\r\n"),
    "a trailer without a colon": (400, CHUNKED[:-2] + b"X\r\n\r\n"),
    "a trailer that is a request": (400, CHUNKED[:-2] + b"GET /time HTTP/1.1\r\nHost: h\r\n\r\n"),
}


@pytest.mark.parametrize("door", ["session_api", "proxy"])
@pytest.mark.parametrize("case", LINES)
def test_a_chunks_lines_end_where_they_end(doors, victim, case, door):
    status, body = LINES[case]
    line, lines, _ = patch(TE + b"chunked")
    received = exchange(doors[door], victim.head(line, *lines) + body + victim.behind, ends=False)
    seen = statuses(received)
    assert seen == [200, 204] if status == 200 and door == "session_api" else seen in ([400], [200, 204]), received
    assert status == 200 or door == "proxy" or seen == [400], received
    assert victim.fate() == (None if seen == [200, 204] else 1)
    next_are_served(doors, door)


@pytest.mark.parametrize("door", ["session_api", "proxy"])
def test_what_a_trailer_says_is_not_believed(doors, victim, door):
    """It comes when the head was judged."""
    line, lines, _ = patch(TE + b"chunked")
    for trailer in (b"X-Device-Id: other", b'If-Match: "77"', b"Idempotency-Key: k", b"Content-Type: text/plain", b"Host: other",
                    TE + b"chunked", b"Content-Length: 5", b"Authorization: Bearer x"):
        received = exchange(doors[door], victim.head(line, *lines, b"Connection: close") + CHUNKED[:-2] + trailer + b"\r\n\r\n", ends=False)
        assert statuses(received) == [200] and b"idempotency-replayed" not in received.lower(), (trailer, received)
    assert victim.device.read(victim.session["id"])["modifiedBy"] == "phone"
    head = victim.head(line, *lines, b"Connection: close")
    token = re.search(rb"Authorization: [^\r]*\r\n", head)[0]
    received = exchange(doors[door], head.replace(token, b"") + CHUNKED[:-2] + token + b"\r\n", ends=False)
    assert statuses(received) == [401], received


# ---- paths ----

# {id} is the session's. None is a path of session_api's: it decodes, folds and shortens none. ws_fanout has libwebsockets
# normalise them (RFC 3986, 6.2.2), so that some are the stream's; who may have it is asked for those as well.
PATHS = ["//sessions/{id}", "/sessions//{id}", "/sessions/{id}/", "/sessions/{id}//", "/./sessions/{id}", "/x/../sessions/{id}",
         "/sessions/x/../{id}", "/sessions/{id}/.", "/sessions/{id}/..", "/sessions/{id}/../{id}", "/%2e/sessions/{id}",
         "/%2e%2e/sessions/{id}", "/x/%2e%2e/sessions/{id}", "/x/%2E%2E%2Fsessions/{id}", "/sessions%2f{id}", "/sessions%5c{id}",
         "/sessions\\{id}", "/%73essions/{id}", "/sessions/{id}%00", "/sessions/{id}%00/devices", "/sessions/{id}%20",
         "/sessions/{id}%0d%0aX:%20y", "/sessions/{id};v=1", "/sessions;v=1/{id}", "/sessions/{id};/devices", "/SESSIONS/{id}",
         "/Sessions/{id}", "/sessions/{ID}", "/sessions/{id}/DEVICES", "/sessions/{id}/%64evices", "/sessions/%c0%ae%c0%ae/{id}",
         "/sessions/..%c0%af{id}", "/sessions/%252e%252e/{id}", "/sessions/%25{id}", "/sessions/{id}%2fdevices", "/sessions/{id}.json",
         "/sessions/{id}~", "/sessions/{id}:80", "/sessions/{id}/devices/tv/..", "/sessions/urn:uuid:{id}", "/sessions/%7b{id}%7d",
         "/sessions/{id}/events/", "/sessions/{id}/%65vents", "/sessions/{id}/events;x", "/sessions//{id}/events",
         "/x/sessions/{id}/events", "/sessions/{id}/EVENTS", "/sessions/{id}/events%00", "/ws/", "/WS", "/%77s", "/ws;x", "/ws%00",
         "//ws", "/ws/../sessions/{id}", "/sessions/../ws", "/health/../sessions/{id}", "/time/..;/sessions/{id}", "/docs/../sessions/{id}", "/docs/%2e%2e/sessions/{id}",
         "/docs/..%2fsessions/{id}", "/docs//", "/docs//rest", "/docs/./rest", "/docs/rest/", "/docs/%72est", "/docs/rest%00", "/docs\\rest",
         "/docs/errors/../rest", "/DOCS", "/docs;x", "http://h/sessions/{id}", "http://other/sessions/{id}", "http://a:b@h/sessions/{id}",
         "https://h/sessions/{id}", "/sessions/{id}#x", "/sessions/{id}\u00e9", "/sessions/%e0%80%ae%e0%80%ae/{id}", "/sessions/%f0%80%80%af{id}",
         "sessions/{id}", "*"]


@pytest.mark.parametrize("door", ["session_api", "ws_fanout", "proxy"])
def test_a_path_is_what_it_says(doors, device, door):
    victim = Victim(device)
    for path in PATHS:
        path = path.replace("{id}", victim.session["id"]).replace("{ID}", victim.session["id"].upper())
        request = victim.head(f"GET {path} HTTP/1.1".encode(), b"Connection: close")
        is_stream = posixpath.normpath(unquote(path)) in ("/" + path_of(victim.session) + "/events", path_of(victim.session) + "/events")
        received = exchange(doors[door], request, ends=is_stream)
        assert statuses(received) in ([400], [404], []) or (is_stream and statuses(received) == [200]), (path, received)
    for method in ("PUT", "DELETE") if door != "ws_fanout" else ():
        for name in ("", ".", "..", "%2e%2e", "..%2f", "a%2fb", "%00", "a%00", "%", "%zz", "a%0a", "%c0%ae", "a;b", "x" * 129):
            line = f"{method} {path_of(victim.session)}/devices/{name} HTTP/1.1".encode()
            received = exchange(doors[door], victim.head(line, b"Connection: close"), ends=False)
            assert statuses(received) in ([400], [404], [405], []), (name, received)
    assert victim.fate() == 1
    next_are_served(doors, door)


# ---- upgrades ----

UPGRADES = {
    "to h2c": [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"],
    "to TLS": [b"Connection: Upgrade", b"Upgrade: TLS/1.0"],
    "to a WebSocket without a key": [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"],
    "to a WebSocket of another version": [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 777",
                                          b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="],
    "to several": [b"Connection: Upgrade", b"Upgrade: h2c, websocket"],
}


@pytest.mark.parametrize("case", UPGRADES)
def test_an_upgrade_that_is_refused_opens_no_tunnel(doors, victim, case):
    """What is behind it would reach the instance past the proxy."""
    for path in (b"/ws", b"{path}", b"{path}/events"):
        request = victim.head(b"GET " + path + b" HTTP/1.1", *UPGRADES[case])
        for door in doors:
            received = b""
            with dial(doors[door]) as s, contextlib.suppress(OSError):
                s.sendall(request)
                received = s.recv(65536)
                assert 101 not in statuses(received) and b"101" not in received.partition(b"\r\n")[0]
                s.sendall(victim.behind.replace(victim.path, b"/sessions/" + MISSING_ID.encode()))
                s.shutdown(socket.SHUT_WR)
                while chunk := s.recv(65536):
                    received += chunk
            assert 204 not in statuses(received), received
    assert victim.fate() == 1
    for door in doors:
        next_are_served(doors, door)


# ---- floods ----

FLOODS = {
    "a thousand requests at once": lambda v: v.head(b"GET {path} HTTP/1.1") * 1000,
    "ten thousand small headers": lambda v: v.head(b"GET {path} HTTP/1.1", *[b"X:"] * 10000),
    "a header of a MiB": lambda v: v.head(b"GET {path} HTTP/1.1", b"X: " + b"x" * (1 << 20)),
    "a path of a MiB": lambda v: v.head(b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1"),
    "a query of a MiB": lambda v: v.head(b"GET {path}?" + b"a=b&" * (1 << 18) + b" HTTP/1.1"),
    "a method of a MiB": lambda v: v.head(b"G" * (1 << 20) + b" {path} HTTP/1.1"),
    "empty lines": lambda v: b"\r\n" * 100000,
    "line feeds": lambda v: b"\n" * 200000,
    "NULs": lambda v: b"\0" * 200000,
    "ten thousand chunks of nothing": lambda v: v.head(b"PATCH {path} HTTP/1.1", TE + b"chunked") + b"1;" + b"e" * 10000,
    "a trailer of a MiB": lambda v: v.head(b"PATCH {path} HTTP/1.1", TE + b"chunked", b"Content-Type: application/json")
    + CHUNKED[:-2] + b"X: " + b"x" * (1 << 20) + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", FLOODS)
def test_a_flood_keeps_nobody_out(doors, device, case):
    victim = Victim(device)
    for door in doors:
        with dial(doors[door]) as s:
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                s.send(FLOODS[case](victim))
            next_are_served(doors, door)  # while it is there, and reads nothing
            reset(s)
        next_are_served(doors, door)
    assert victim.fate() == 1


def test_who_connects_and_leaves_keeps_nobody_out(suite, hasty, doors):
    before = n_descriptors(hasty, "session_api"), n_descriptors(suite.direct)
    for i in range(300):
        for door in doors:
            s = dial(doors[door])
            s.sendall([b"", b"GET", handshake(doors[door])][i % 3])
            reset(s) if i % 2 else s.close()
    for door in doors:
        next_are_served(doors, door)
    wait_until(lambda: n_descriptors(hasty, "session_api") <= before[0] and n_descriptors(suite.direct) <= before[1],
               what="their descriptors closed")

"""WebSocket handshakes and frames in bytes that break RFC 6455, at ws_fanout itself and through haproxy: each with the answer, or
the close codes that may come (None: closed without one). Nothing that was sent takes effect, and nobody else notices."""

import contextlib
import json
import struct

import pytest

from harness import free_ports, new_user
from proxy import Proxy
from ws import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, dial, handshake, is_alive, read_head, set_to, status_of,
                subscribed)

BROKEN, TOO_BIG, NOT_UTF_8, NOT_TEXT = {1002, None}, {1009, None}, {1007, None}, {1003, None}


@pytest.fixture(scope="module")
def doors(suite, tmp_path_factory):
    """name -> port."""
    if suite.proxy:
        yield {"ws_fanout": suite.direct.ws_port, "proxy": suite.all_port}
        return
    proxy = Proxy(tmp_path_factory.mktemp("proxy"), list(suite.services.values()), *free_ports(3)).start()
    yield {"ws_fanout": suite.ws_port, "proxy": proxy.ports["all"]}
    proxy.stop()


@pytest.fixture(scope="module")
def phone(suite):
    return suite.device(new_user(), "phone")


@pytest.fixture(scope="module")
def session(phone):
    return phone.create({"n": 0})


@pytest.fixture(scope="module")
def bystander(phone, session):
    with subscribed(phone, session["id"]) as socket:
        yield socket


# ---- handshakes ----

KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
# name -> (status, what is otherwise, the lines more). haproxy refuses some itself: 400 as well.
HANDSHAKES = {
    "as usual": (101, {}, []),
    "two Connections": (101, {"Connection": "keep-alive"}, ["Connection: Upgrade"]),
    "a length of nothing": (101, {"Content_Length": "0"}, []),
    "extensions offered": (101, {"Sec_WebSocket_Extensions": "permessage-deflate, x"}, ["Sec-WebSocket-Extensions: y"]),
    "no version": (400, {"Sec_WebSocket_Version": None}, []),
    "version 8": (400, {"Sec_WebSocket_Version": "8"}, []),
    "version 13, and 8": (400, {"Sec_WebSocket_Version": "13, 8"}, []),
    "two versions": (400, {}, ["Sec-WebSocket-Version: 13"]),
    "no key": (400, {"Sec_WebSocket_Key": None}, []),
    "an empty key": (400, {"Sec_WebSocket_Key": ""}, []),
    "a short key": (400, {"Sec_WebSocket_Key": "c2hvcnQ="}, []),
    "two keys": (400, {}, [f"Sec-WebSocket-Key: {KEY}"]),
    "no Connection": (400, {"Connection": None}, []),
    "a Connection that ends": (400, {"Connection": "close"}, []),
    "a Connection to no Upgrade": (400, {"Connection": "keep-alive, xUpgrade"}, []),
    "no Upgrade": (400, {"Upgrade": None}, []),
    "no Upgrade nor Connection": (400, {"Upgrade": None, "Connection": None}, []),
    "an Upgrade to HTTP/2": (400, {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2_Settings": "AAMAAABkAAQAAP__"}, []),
    "HTTP/1.0": (400, {"http": "HTTP/1.0"}, []),
    "POST": (405, {"method": "POST"}, []),
    "HEAD": (405, {"method": "HEAD"}, []),
    "OPTIONS": (405, {"method": "OPTIONS"}, []),
    "a body": (400, {"Content_Length": "5"}, []),
    "chunks": (400, {"Transfer_Encoding": "chunked"}, []),
    "a body in two ways": (400, {"Transfer_Encoding": "chunked", "Content_Length": "5"}, []),
    "two hosts": (400, {}, ["Host: other"]),
    "two tokens": (401, {}, ["Authorization: Bearer x"]),
    "two origins, one of them allowed": (403, {"Origin": "https://app.example"}, ["Origin: https://evil.example"]),
    "no subprotocol": (400, {"Sec_WebSocket_Protocol": None}, []),
    "a subprotocol in capitals": (400, {"Sec_WebSocket_Protocol": "HANDOFF.V1"}, []),
    "a device twice": (400, {"target": "/ws?device_id=phone&device_id=phone"}, []),
    "an absolute target of another scheme": (404, {"target": "ws://h/ws"}, []),
}


@pytest.mark.parametrize("door", ["ws_fanout", "proxy"])
@pytest.mark.parametrize("case", HANDSHAKES)
def test_a_handshake_is_taken_or_told_why_not(doors, phone, case, door):
    status, more, lines = HANDSHAKES[case]
    head = handshake(doors[door], **{"target": "/ws", "Authorization": f"Bearer {phone.token}", **more})
    head = head[:-2] + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    with dial(doors[door]) as s:
        s.sendall(head + (b"hello" if b"Content-Length: 5" in head else b""))
        answer = read_head(s)
    is_of_proxy = answer.startswith(b"HTTP/1.1 400 Bad request\r\n")
    assert status_of(answer) == status or (door == "proxy" and is_of_proxy), answer
    if status != 101 and not is_of_proxy:
        assert b"\r\ncontent-type: application/problem+json\r\n" in answer.lower()
    if status == 405:
        assert b"\r\nallow: get\r\n" in answer.lower()
    if "ersion" in case:  # RFC 6455, section 4.4
        assert b"\r\nsec-websocket-version: 13\r\n" in answer.lower()


# ---- frames ----

class Attack:
    """A connection, and the change that it must not make."""

    def __init__(self, raw, session_id):
        self.raw = raw
        self.patch = json.dumps({"type": "patch", "id": "p", "sessionId": session_id, "operations": set_to("n", 1)}).encode()

    def frame(self, opcode, payload=None, **more):
        self.raw.send_frame(opcode, self.patch if payload is None else payload, **more)

    def bytes(self, data):
        self.raw.socket.sendall(data)

    def length(self, form, value, opcode=TEXT):
        """A frame whose length is said in that many bytes."""
        said = b"\xfe" + struct.pack(">H", value) if form == 2 else b"\xff" + struct.pack(">Q", value)
        self.bytes(bytes([0x80 | opcode]) + said + bytes(4) + self.patch)

    def parts(self, *frames):
        for opcode, payload, fin in frames:
            self.raw.send_frame(opcode, payload, fin=fin)


def halves(a):
    return a.patch[:20], a.patch[20:]


CASES = {
    "not masked": ({1002}, lambda a: a.frame(TEXT, mask=False)),
    "a ping that is not masked": ({1002}, lambda a: a.frame(PING, b"x", mask=False)),
    "a second part that is not masked": ({1002}, lambda a: (a.frame(TEXT, halves(a)[0], fin=False),
                                                            a.frame(CONTINUATION, halves(a)[1], mask=False))),
    "not masked, behind one of 64 KiB": ({1002}, lambda a: (a.frame(TEXT, b'{"type":"ping"}'.ljust(65536)), a.frame(TEXT, mask=False))),
    "not masked, behind one in the same segment": ({1002}, lambda a: a.bytes(b"\x8a\x80\0\0\0\0\x81\x0f" + b'{"type":"ping"}')),
    **{f"reserved bit {bit} of a text": (BROKEN, lambda a, bit=bit: a.frame(TEXT, rsv=bit)) for bit in (1, 2, 4, 7)},
    "a reserved bit of a ping": (BROKEN, lambda a: a.frame(PING, b"", rsv=1)),
    "a reserved bit of a close": (BROKEN, lambda a: a.frame(CLOSE, b"", rsv=4)),
    "compressed, which was not agreed on": (BROKEN, lambda a: a.frame(TEXT, b"\xaa\x56\x2a\xa9\x2c\x48\x55\xb2\x52\x2a\xc8\xcc\x4b\x57\xaa\x05\x00", rsv=4)),
    **{f"opcode {opcode:#x}": (BROKEN, lambda a, opcode=opcode: a.frame(opcode)) for opcode in (3, 4, 5, 6, 7)},
    **{f"opcode {opcode:#x}": (BROKEN, lambda a, opcode=opcode: a.frame(opcode, b"x")) for opcode in (0xB, 0xC, 0xD, 0xE, 0xF)},
    "a continuation of nothing": (BROKEN, lambda a: a.frame(CONTINUATION)),
    "a continuation of what is whole": (BROKEN, lambda a: a.parts((TEXT, b'{"type":"ping"}', True), (CONTINUATION, a.patch, True))),
    "a text within a text": (BROKEN, lambda a: a.parts((TEXT, halves(a)[0], False), (TEXT, halves(a)[1], True))),
    "a binary within a text": (BROKEN | NOT_TEXT, lambda a: a.parts((TEXT, halves(a)[0], False), (BINARY, halves(a)[1], True))),
    "a ping in two": (BROKEN, lambda a: a.parts((PING, b"x", False), (CONTINUATION, b"y", True))),
    "a pong in two": (BROKEN, lambda a: a.parts((PONG, b"x", False), (CONTINUATION, b"y", True))),
    "a close in two": (BROKEN, lambda a: a.parts((CLOSE, b"\x03", False), (CONTINUATION, b"\xe8", True))),
    "a ping of 126 bytes": (BROKEN, lambda a: a.frame(PING, b"x" * 126)),
    "a pong of 126 bytes": (BROKEN, lambda a: a.frame(PONG, b"x" * 126)),
    "a ping of 64 KiB": (BROKEN | TOO_BIG, lambda a: a.frame(PING, b"x" * 65536)),
    "a binary": (NOT_TEXT, lambda a: a.frame(BINARY)),
    "a binary in parts": (NOT_TEXT, lambda a: a.parts((BINARY, halves(a)[0], False), (CONTINUATION, halves(a)[1], True))),
    "a length with its highest bit": (BROKEN | TOO_BIG, lambda a: a.length(8, 1 << 63)),
    "a length of 2^63 - 1": (BROKEN | TOO_BIG, lambda a: a.length(8, (1 << 63) - 1)),
    "a length of 4 GiB": (BROKEN | TOO_BIG, lambda a: a.length(8, 1 << 32)),
    "a length of a MiB": (TOO_BIG, lambda a: a.length(8, 1 << 20)),
    "a continuation of a MiB": (TOO_BIG, lambda a: (a.frame(TEXT, b"{", fin=False), a.length(8, 1 << 20, CONTINUATION))),
    "fragments of a byte without end": (TOO_BIG, lambda a: (a.frame(TEXT, b"{", fin=False), a.bytes(b"\x00\x81\0\0\0\0 " * 70000))),
    "empty fragments without end": (TOO_BIG, lambda a: (a.frame(TEXT, b"", fin=False), a.bytes(b"\x00\x80\0\0\0\0" * 50000))),
    "a surrogate in UTF-8": (NOT_UTF_8, lambda a: a.frame(TEXT, b'{"type":"\xed\xa0\x80"}')),
    "an overlong slash": (NOT_UTF_8, lambda a: a.frame(TEXT, b'{"type":"\xc0\xaf"}')),
    "a code point over 10FFFF": (NOT_UTF_8, lambda a: a.frame(TEXT, b'{"type":"\xf4\x90\x80\x80"}')),
    "invalid UTF-8 across two fragments": (NOT_UTF_8, lambda a: a.parts((TEXT, b'{"type":"\xf0\x9f', False), (CONTINUATION, b'A"}', True))),
    "UTF-8 cut off at the end of two fragments": (NOT_UTF_8, lambda a: a.parts((TEXT, b'{"a":"', False), (CONTINUATION, b"\xf0\x9f\x98", True))),
    "a close of one byte": (BROKEN, lambda a: a.frame(CLOSE, b"\x03")),
    "what comes behind a close": ({1000, None}, lambda a: a.parts((CLOSE, b"\x03\xe8", True), (TEXT, a.patch, True))),
    "a second handshake": (BROKEN | TOO_BIG | NOT_UTF_8 | NOT_TEXT, lambda a: a.bytes(b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n")),
    "TLS": (BROKEN | TOO_BIG, lambda a: a.bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))),
}
CASES |= {f"a close with {code}": (BROKEN, lambda a, code=code: a.frame(CLOSE, struct.pack(">H", code)))
          for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)}
CASES["a close whose reason is not UTF-8"] = (BROKEN | NOT_UTF_8, lambda a: a.frame(CLOSE, b"\x03\xe8\xff\xfe"))


def attack(doors, door, phone, session, act):
    """The close code that it ends with."""
    with Raw(doors[door], Authorization=f"Bearer {phone.token}") as raw:
        assert raw.recv()["type"] == "hello"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            act(Attack(raw, session["id"]))
        return raw.ending()


@pytest.mark.parametrize("door", ["ws_fanout", "proxy"])
@pytest.mark.parametrize("case", CASES)
def test_a_frame_that_is_wrong_ends_its_connection_alone(doors, phone, session, bystander, case, door):
    codes, act = CASES[case]
    assert attack(doors, door, phone, session, act) in codes
    assert is_alive(bystander) == []  # no change came


RIGHT = {
    "a length of two bytes for what one could say": lambda a: a.length(2, len(a.patch)),
    "a length of eight bytes for what one could say": lambda a: a.length(8, len(a.patch)),
    "a mask of zeros": lambda a: a.frame(TEXT, key=bytes(4)),
    "byte by byte": lambda a: [a.frame(TEXT if i == 0 else CONTINUATION, a.patch[i:i + 1], fin=i == len(a.patch) - 1)
                               for i in range(len(a.patch))],
    "with pings in between": lambda a: (a.frame(TEXT, halves(a)[0], fin=False), a.frame(PING, b"?"),
                                        a.frame(CONTINUATION, halves(a)[1])),
    "behind empty fragments": lambda a: (a.frame(TEXT, b"", fin=False), a.frame(CONTINUATION, b"", fin=False), a.frame(CONTINUATION)),
    "behind a thousand pongs": lambda a: (a.bytes(b"\x8a\x80\0\0\0\0" * 1000), a.frame(TEXT)),
}


@pytest.mark.parametrize("door", ["ws_fanout", "proxy"])
@pytest.mark.parametrize("case", RIGHT)
def test_a_frame_that_is_odd_and_right_is_taken(doors, phone, case, door):
    session = phone.create({"n": 0})
    with Raw(doors[door], Authorization=f"Bearer {phone.token}") as raw:
        assert raw.recv()["type"] == "hello"
        RIGHT[case](Attack(raw, session["id"]))
        answer = raw.recv()
        assert (answer["type"], answer.get("version")) == ("ack", 2), answer


def test_none_of_them_has_changed_anything(phone, session):
    assert phone.read(session["id"])["version"] == 1


@pytest.mark.parametrize("door", ["ws_fanout", "proxy"])
def test_a_flood_of_pings_is_answered_or_ended(doors, phone, bystander, door):
    """Its answers are not read: what waits for it is bounded."""
    with Raw(doors[door], rcvbuf=4096, Authorization=f"Bearer {phone.token}") as raw:
        raw.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            for _ in range(300):
                raw.socket.send((b"\x89\xfd\0\0\0\0" + b"p" * 125) * 1000)
        assert is_alive(bystander) == []
    assert is_alive(bystander) == []

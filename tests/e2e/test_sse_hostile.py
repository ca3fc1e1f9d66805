"""Streams whose clients are slow, gone, hostile or many, and streams whose server ends: contract sections 4
and 8. Nobody else notices."""

import contextlib
import os
import random
import select
import signal
import threading
import time

import pytest

from harness import BUILD, MAX_DRAIN, metric, new_user, wait_until
from sse import Answer, Ended, Refused, Stream, check_problem, refused, request, streamed, target_of
from ws import (MISSING_ID, Mirror, dial, handshake, http_exchange, n_descriptors, read_head, reset, rss_of,
                set_to, status_of, subscribed, wait_descriptors)

SMALL = 16384  # a receive buffer


def n_streams(suite):
    return sum(metric(s, 'handoff_ws_connections{kind="stream"}') for s in suite.instances("ws_fanout"))


def cpu_of(suite):
    """Seconds of CPU that ws_fanout has used."""
    pid = suite.services["ws_fanout"].process.pid
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def follow(stream, last):
    """The events up to that version, mirrored."""
    mirror = Mirror()
    mirror.take(stream.sync)
    while mirror.version < last:
        mirror.take(stream.recv())
    return mirror


class Dripper(threading.Thread):
    """Sends a request's head byte by byte, and never its end."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.socket, self.is_cut = dial(port), threading.Event()
        self.start()

    def run(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(f"GET {target_of(MISSING_ID)} HTTP/1.1\r\nX: ".encode())
            while not self.is_cut.wait(0.5):
                self.socket.sendall(b"y")
                self.socket.settimeout(0.01)
                with contextlib.suppress(TimeoutError):
                    if not self.socket.recv(1000):
                        break
        self.is_cut.set()


@pytest.fixture(scope="module", autouse=True)
def dripper(suite):
    """Begun with this file, so that its time is over when its test comes."""
    dripper = Dripper(suite.direct.ws_port)
    yield dripper
    dripper.is_cut.set()
    dripper.join()


@pytest.fixture
def bystander(phone):
    """Another stream of the same instance, that must see every change and go on."""
    session = phone.create({"n": 0})
    with streamed(phone, session["id"]) as stream:
        yield stream
        phone.json_patch(session["id"], set_to("n", "end"))
        stream.expect("state_delta", version=2)


# ---- many ----

def test_200_streams_beside_200_websockets_see_the_same(suite, user):
    phone = suite.device(user, "phone")
    session, n, changes = phone.create({"all": []}), 200, 30
    # of five users: one may have 100 connections
    watchers = 40 * [suite.device(new_user(), "tv", scope="sessions:read sessions:admin") for _ in range(5)]
    with contextlib.ExitStack() as all_of_them:
        sockets = [all_of_them.enter_context(subscribed(w, session["id"])) for w in watchers[:n]]
        streams = [all_of_them.enter_context(streamed(w, session["id"])) for w in watchers[:n]]
        for i in range(changes):
            phone.json_patch(session["id"], [{"op": "add", "path": "/data/all/-", "value": i}])
        seen = [[watcher.recv() for _ in range(changes)] for watcher in sockets + streams]
    assert [e["version"] for e in seen[0]] == list(range(2, changes + 2))
    assert all(events == seen[0] for events in seen)


def test_streams_that_come_and_go_while_writes_go_on(suite, user):
    phone = suite.device(user, "phone")
    session, n = phone.create({"n": 0}), 60
    before = n_descriptors(suite)
    done = threading.Event()

    def write():
        writer = suite.device(user, "laptop")
        for i in range(n):
            assert writer.json_patch(session["id"], set_to("n", i)).status_code == 200
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    stays, n_met = streamed(phone, session["id"]), 0
    while not done.is_set():
        with streamed(phone, session["id"]) as stream:
            mirror = follow(stream, stream.sync["version"])
            with contextlib.suppress(TimeoutError):
                stream.socket.settimeout(0.02)
                while True:
                    mirror.take(stream.recv())
            n_met += 1
    writer.join()
    assert n_met and follow(stays, n + 1).session["data"] == phone.read(session["id"])["data"]
    stays.close()
    wait_descriptors(suite, before)


# ---- who goes away ----

@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_goes_away_is_noticed_at_once(suite, phone, how):
    session = phone.create({})
    before = n_streams(suite)
    streams = [streamed(phone, session["id"]) for _ in range(20)]
    assert n_streams(suite) == before + 20
    for stream in streams:
        getattr(stream, how)()
    wait_until(lambda: n_streams(suite) == before, what="the streams gone")


def test_a_client_that_is_reset_before_its_answer(suite, phone, bystander):
    session = phone.create({})
    before = n_streams(suite)
    data = request(suite.direct.ws_port, target_of(session["id"]), Authorization=f"Bearer {phone.token}")
    for i in range(200):
        s = dial(suite.direct.ws_port)
        s.sendall(data)
        reset(s) if i % 2 else s.close()
    wait_until(lambda: n_streams(suite) == before, what="the streams gone")


def test_a_client_that_dies_while_it_is_stalled(suite, phone):
    session = phone.create({"text": ""})
    before = n_streams(suite)
    stalled = [streamed(phone, session["id"], rcvbuf=SMALL) for _ in range(5)]
    for i in range(20):
        phone.json_patch(session["id"], set_to("text", "x" * 100_000 + str(i)))
    for stream in stalled:
        stream.reset()
    wait_until(lambda: n_streams(suite) == before, what="the streams gone")


# ---- who talks ----

def test_what_a_client_sends_after_its_request_is_ignored(suite, phone):
    session = phone.create({})
    data = request(suite.direct.ws_port, target_of(session["id"]), Authorization=f"Bearer {phone.token}")
    with streamed(phone, session["id"]) as stream:
        stream.socket.sendall(data * 3 + b"garbage\r\n\r\n\x00")
        phone.json_patch(session["id"], set_to("n", 1))
        stream.expect("state_delta", version=2)


@pytest.mark.parametrize("more", [b"x", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 3000])
def test_what_comes_with_the_request_gains_nothing_and_costs_nothing(shared_fanout, user, more):
    fanout = shared_fanout(HANDOFF_PING_AFTER="20s")
    phone = fanout.device(user, "phone")
    session = phone.create({})
    data = request(fanout.ws_port, target_of(session["id"]), Authorization=f"Bearer {phone.token}")
    answer = Answer(fanout.ws_port, data + more)
    assert answer.status == 200
    before = cpu_of(fanout)
    time.sleep(2)  # in which a loop that spins would use all of a core
    assert cpu_of(fanout) - before < 1
    assert b"HTTP/1." not in answer.rest
    answer.socket.close()


def test_who_never_stops_talking_is_cut(suite, user, bystander):
    phone = suite.direct.device(user, "phone")  # a proxy takes no notice
    session = phone.create({})
    with streamed(phone, session["id"]) as stream:
        with pytest.raises((BrokenPipeError, ConnectionResetError, Ended)):
            for _ in range(1000):
                stream.socket.sendall(b"x" * 4096)
            stream.recv()


def test_a_client_that_has_said_all_costs_nothing(shared_fanout, user):
    """It ends its side of the connection, stalled: the loop must not spin on it."""
    fanout = shared_fanout(HANDOFF_PING_AFTER="20s")
    phone = fanout.device(user, "phone")
    session = phone.create({"text": ""})
    before = n_streams(fanout)
    stream = streamed(phone, session["id"], rcvbuf=SMALL)
    for i in range(20):
        phone.json_patch(session["id"], set_to("text", "x" * 100_000 + str(i)))
    stream.socket.shutdown(1)
    wait_until(lambda: n_streams(fanout) == before, what="the stream gone")
    stream.close()


# ---- who is slow ----

def test_a_stalled_reader_gets_one_state_sync_when_it_reads_on(suite, user):
    phone = suite.device(user, "phone")
    session, n = phone.create({"text": ""}), 80
    with streamed(phone, session["id"], rcvbuf=SMALL) as slow, streamed(phone, session["id"]) as quick:
        memory = rss_of(suite)
        for i in range(n):
            phone.json_patch(session["id"], set_to("text", "x" * 100_000 + str(i)))
            quick.expect("state_delta", version=i + 2)
        if not BUILD.name.endswith("asan"):  # which keeps what was freed for a while
            assert rss_of(suite) - memory < 16 << 20
        assert metric(suite.services["ws_fanout"], "handoff_ws_outbox_bytes") <= 2 << 20  # others may be slow, too
        mirror, frames = Mirror(), []
        mirror.take(slow.sync)
        while mirror.version < n + 1:
            frames.append(slow.recv())
            mirror.take(frames[-1])
        syncs = [f for f in frames if f["type"] == "state_sync"]
        assert [f["reason"] for f in syncs] == ["slow"] and frames[-1] is syncs[0]
        assert [f["version"] for f in frames[:-1]] == list(range(2, len(frames) + 1))
        phone.json_patch(session["id"], set_to("text", "end"))
        slow.expect("state_delta", version=n + 2)


def test_a_reader_that_is_stuck_is_closed(shared_fanout, user):
    fanout = shared_fanout(HANDOFF_STUCK_TIMEOUT="1s")
    phone = fanout.device(user, "phone")
    session = phone.create({"text": ""})
    before = n_streams(fanout)
    with streamed(phone, session["id"], rcvbuf=SMALL), streamed(phone, session["id"]) as quick:
        for i in range(30):
            phone.json_patch(session["id"], set_to("text", "x" * 100_000 + str(i)))
            quick.expect("state_delta", version=i + 2)
        wait_until(lambda: n_streams(fanout) == before + 1, what="the stuck one closed")
        phone.json_patch(session["id"], set_to("text", "end"))
        quick.expect("state_delta", version=32)


def test_a_state_of_half_a_mebibyte_arrives_whole(phone):
    session = phone.create({"text": "x" * 500_000})
    with streamed(phone, session["id"], rcvbuf=SMALL) as stream:
        assert stream.sync["session"] == session


# ---- requests ----

def test_a_request_in_pieces_works(suite, phone):
    session = phone.create({})
    data = request(suite.direct.ws_port, target_of(session["id"]), Authorization=f"Bearer {phone.token}",
                   Last_Event_ID="1:1")
    with dial(suite.direct.ws_port) as s:
        for i in range(0, len(data), 50):
            s.sendall(data[i:i + 50])
            time.sleep(0.001)
        assert status_of(read_head(s)) == 200


HOSTILE = {
    "a giant Last-Event-ID": {"Last_Event_ID": "1" * 15000},
    "one past the headers' room": {"Last_Event_ID": "1" * 17000},
    "a giant device": {"X_Device_Id": "d" * 15000},
    "a giant token": {"Authorization": "Bearer " + "a" * 15000},
    "many headers": {f"X_{n}": "y" * 100 for n in range(200)},
    "many small headers": {f"X{n}": "" for n in range(1000)},
    "a header without a name": {"": "x"},
    "bytes above ASCII": {"X_Device_Id": "\u00ff\u00fe", "X_Request_Id": "\u00e9"},
    "a null": {"X_Device_Id": "a\0b"},
    "a tab": {"Last_Event_ID": "1:\t1"},
    "a control character": {"X_Request_Id": "a\x01b", "Last_Event_ID": "x"},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_headers_are_refused(phone, bystander, kind):
    headers = {"Authorization": f"Bearer {phone.token}", **HOSTILE[kind]}
    lines = [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
    data = "\r\n".join([f"GET {target_of(MISSING_ID)} HTTP/1.1", "Host: x", *lines, "", ""])
    status = http_exchange(phone.suite.direct.ws_port, data.encode("latin-1"))
    assert status is None or 400 <= status < 500


@pytest.mark.parametrize("line", [
    "GET /sessions/{id}/events", "GET  /sessions/{id}/events HTTP/1.1", "GET /sessions/{id}/events  HTTP/1.1",
    "GET /sessions/{id}/events HTTP/1.1 x", "get /sessions/{id}/events HTTP/1.1",
    "BREW /sessions/{id}/events HTTP/1.1", "TRACE /sessions/{id}/events HTTP/1.1",
    "GET http://x/sessions/{id}/events HTTP/1.1", "GET sessions/{id}/events HTTP/1.1",
    "GET //sessions/{id}/events HTTP/1.1", "GET /sessions/{id}/events%00 HTTP/1.1",
    "GET /sessions/{id}/events\x00 HTTP/1.1", "GET /sessions/%2e%2e/{id}/events HTTP/1.1",
    "GET /sessions/{id}/events#x HTTP/1.1", "GET /sessions/{id}/events?" + "x" * 20000 + " HTTP/1.1",
    "GET /sessions/" + "{id}" * 500 + "/events HTTP/1.1", "GET /sessions/{id}/events HTTP/9.9",
    "\r\n\r\nGET /sessions/{id}/events", " GET /sessions/{id}/events HTTP/1.1",
], ids=lambda line: repr(line[:48]))
def test_hostile_request_lines_are_refused_or_harmless(phone, bystander, line):
    session = phone.create({})
    data = f"{line}\r\nHost: x\r\nAuthorization: Bearer {phone.token}\r\n\r\n".replace("{id}", session["id"])
    with dial(phone.suite.direct.ws_port) as s:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(data.encode())
            s.shutdown(1)
        status = status_of(read_head(s))
    assert status is None or 400 <= status < 500 or status == 200


def test_random_requests_harm_nobody(suite, phone, bystander):
    good = request(suite.direct.ws_port, target_of(MISSING_ID), Authorization=f"Bearer {phone.token}",
                   Last_Event_ID="1:1", X_Device_Id="phone", Origin="https://app.example")
    chance = random.Random(11)
    before = n_streams(suite)
    for _ in range(300):
        data = bytearray(good)
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(data))
            if chance.random() < 0.4:
                data[at] = chance.randrange(256)
            elif chance.random() < 0.5:
                del data[at:at + chance.randint(1, 20)]
            else:
                data[at:at] = chance.randbytes(chance.randint(1, 20))
        with dial(suite.direct.ws_port) as s, contextlib.suppress(OSError):
            s.sendall(data)
            if chance.random() < 0.5:
                s.shutdown(1)
                read_head(s)
    wait_until(lambda: n_streams(suite) == before, what="no stream left")


def test_two_requests_on_one_connection_are_one(suite, phone):
    """The second one is not even read: the answer to the first ends the connection."""
    bad = request(suite.direct.ws_port, target_of(MISSING_ID))
    with dial(suite.direct.ws_port) as s:
        s.sendall(bad + bad)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := s.recv(65536):
                received += chunk
    assert received.count(b"HTTP/1.1 401") == 1


# ---- limits ----

def test_streams_count_as_connections(own_fanout, user):
    fanout = own_fanout(HANDOFF_MAX_CONNECTIONS="3")
    phone = fanout.device(user, "phone")
    session = phone.create({})
    with streamed(phone, session["id"]), subscribed(phone, session["id"]):
        with streamed(phone, session["id"]):
            refusal = refused(phone, session["id"], 503, "unavailable")
            assert refusal.problem["temporary"] is True and refusal.headers["retry-after"] == "1"
            assert http_exchange(fanout.ws_port, handshake(
                fanout.ws_port, Authorization=f"Bearer {phone.token}")) == 503
        wait_until(lambda: n_streams(fanout) == 1, what="the third one gone")
        streamed(phone, session["id"]).close()


def test_who_drips_its_request_is_cut(dripper):
    assert dripper.is_cut.wait(40)


def test_sockets_that_say_nothing_are_bounded(own_fanout, user):
    fanout = own_fanout(HANDOFF_MAX_CONNECTIONS="3")
    phone = fanout.device(user, "phone")
    session = phone.create({})
    with streamed(phone, session["id"]) as stream:
        before = n_descriptors(fanout)
        silent = [dial(fanout.ws_port) for _ in range(100)]
        at_once = 3 + 64  # the connections, and half of the spare descriptors
        wait_until(lambda: n_descriptors(fanout) - before <= at_once - 1 and
                   len(select.select(silent, [], [], 0)[0]) >= 100 - at_once, what="those too many closed")
        phone.json_patch(session["id"], set_to("n", 1))
        stream.expect("state_delta", version=2)
        for s in silent:
            s.close()
        wait_descriptors(fanout, before)
        streamed(phone, session["id"]).close()


# ---- the server's end ----

def test_sigterm_tells_when_to_come_back(own_fanout, user):
    fanout = own_fanout()
    devices = [fanout.device(user, f"d{i}") for i in range(6)]
    session = devices[0].create({})
    streams = [streamed(device, session["id"]) for device in devices * 2]
    process = fanout.services["ws_fanout"].process
    process.send_signal(signal.SIGTERM)
    for stream in streams:
        assert stream.rest() == []
        assert 0 < stream.parser.retry <= 60_000
        stream.close()
    assert len({stream.parser.retry for stream in streams}) > 1, "all would come back at once"
    assert process.wait(MAX_DRAIN) == 0


def test_sigterm_does_not_wait_for_streams_that_are_stalled(own_fanout, user):
    fanout = own_fanout()
    phone = fanout.device(user, "phone")
    session = phone.create({"text": ""})
    deaf = [streamed(phone, session["id"], rcvbuf=SMALL) for _ in range(3)]
    idle = streamed(phone, session["id"])
    for i in range(40):
        phone.json_patch(session["id"], set_to("text", "x" * 100_000 + str(i)))
    process = fanout.services["ws_fanout"].process
    process.send_signal(signal.SIGTERM)
    assert process.wait(MAX_DRAIN) == 0
    for stream in [*deaf, idle]:
        stream.close()


def test_streams_of_a_fanout_that_is_killed_break(own_suite, user):
    own = own_suite()
    phone = own.device(user, "phone")
    session = phone.create({"n": 0})
    streams = [streamed(phone, session["id"]) for _ in range(5)]
    own.kill("ws_fanout")
    for stream in streams:
        assert stream.rest() == [] and stream.parser.retry is None
    own.restart("ws_fanout")
    phone.json_patch(session["id"], set_to("n", 1))
    with streamed(phone, session["id"]) as stream:
        assert stream.sync["version"] == 2


def test_without_its_first_state_a_stream_is_refused(own_suite, user):
    own = own_suite(HANDOFF_COMMAND_DEADLINE="1s")
    phone = own.device(user, "phone")
    session = phone.create({})
    own.kill("state_engine")
    try:
        # Whether one that is not in Redis is missing, only an engine can say.
        with pytest.raises(Refused) as refusal:
            Stream(phone, MISSING_ID)
        assert refusal.value.status in (503, 504) and refusal.value.problem["temporary"] is True
        check_problem(refusal.value.status, refusal.value.headers, refusal.value.problem)
        streamed(phone, session["id"]).close()
    finally:
        own.restart("state_engine")

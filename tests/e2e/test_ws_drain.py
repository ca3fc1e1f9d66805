"""Ends that are planned and ends that are not: contract sections 4, 5 and 8. What a device asked for has
one effect, whatever ended in between."""

import json
import signal
import time

import pytest
import requests

from harness import MAX_DRAIN, MAX_WAIT, Closed, Suite, new_user, wait_until
from ws import MISSING_ID, Gone, Raw, answer_to, ask, ending, is_alive, set_to, subscribed


def append(i):
    return [{"op": "add", "path": "/data/all/-", "value": i}]


def command(session, i):
    return {"type": "patch", "id": f"c{i}", "key": f"k{i}", "sessionId": session["id"],
            "operations": append(i)}


def send_commands(socket, session, n):
    for i in range(n):
        socket.send(**command(session, i))


def take_answers(socket, answers, n):
    """Reads until all n commands are answered, or the connection ends; the close, if it ended."""
    while len(answers) < n:
        try:
            frame = socket.recv()
        except Closed as closed:
            return closed
        if "id" in frame:
            assert frame["id"] not in answers, f"answered twice: {frame}"
            assert frame["type"] in ("ack", "error"), frame
            answers[frame["id"]] = frame
    return None


def settle(device, session, answers, n):
    """Sends what was not answered, or in vain, again with its key; then each has had one effect."""
    for i in range(n):
        if answers.get(f"c{i}", {}).get("type") == "ack":
            continue

        def again():
            with device.connect() as socket:
                socket.expect("hello")
                frame = answer_to(socket, command(session, i))
            assert frame["type"] == "ack" or frame["temporary"], frame
            return frame["type"] == "ack" and frame

        answers[f"c{i}"] = wait_until(again, what=f"command {i} done")
    now = device.read(session["id"])
    assert sorted(now["data"]["all"]) == list(range(n))
    assert now["version"] == n + 1
    assert sorted(answers[f"c{i}"]["version"] for i in range(n)) == list(range(2, n + 2))


# ---- SIGTERM ----

def test_sigterm_sends_devices_elsewhere(own_fanout, user):
    fanout = own_fanout()
    devices = [fanout.device(user, f"d{i}") for i in range(10)]
    session = devices[0].create({})
    sockets = [subscribed(device, session["id"]) for device in devices]
    process = fanout.services["ws_fanout"].process
    process.send_signal(signal.SIGTERM)
    waits = []
    for socket in sockets:
        code, reason = ending(socket)
        assert code == 1001
        told = json.loads(reason)
        assert told.keys() == {"retryAfterMs"} and isinstance(told["retryAfterMs"], int)
        assert 0 <= told["retryAfterMs"] <= 60_000
        waits.append(told["retryAfterMs"])
        socket.ws.shutdown()
    assert len(set(waits)) > 1, "all would come back at once"
    assert process.wait(MAX_DRAIN) == 0
    with pytest.raises(OSError):
        devices[0].connect()


def test_sigterm_without_connections_ends_at_once(own_fanout):
    process = own_fanout().services["ws_fanout"].process
    process.send_signal(signal.SIGTERM)
    assert process.wait(MAX_DRAIN) == 0


def test_sigterm_does_not_wait_for_clients_that_do_not_listen(own_fanout, user):
    fanout = own_fanout()
    phone = fanout.device(user, "phone")
    session = phone.create({"text": ""})
    deaf = [Raw.of(phone, session["id"], rcvbuf=16384) for _ in range(3)]
    for i in range(60):
        phone.json_patch(session["id"], set_to("text", "x" * 100_000 + str(i)))
    anonymous = Raw(fanout.ws_port)  # it has 5 s to say who it is
    process = fanout.services["ws_fanout"].process
    process.send_signal(signal.SIGTERM)
    assert process.wait(MAX_DRAIN) == 0
    assert anonymous.ending() in (1001, None)
    for raw in deaf:
        raw.close()


def test_commands_in_hand_are_answered_before_the_end(own_fanout, user, suite):
    fanout = own_fanout()
    phone = fanout.device(user, "phone")
    session = phone.create({"all": []})
    n = 60
    with subscribed(phone, session["id"]) as socket:
        send_commands(socket, session, n)
        first = socket.recv_until("ack")
        answers = {first["id"]: first}
        fanout.services["ws_fanout"].process.send_signal(signal.SIGTERM)
        closed = take_answers(socket, answers, n)
        code = closed.code if closed else ending(socket)[0]
        assert code == 1001
    for frame in answers.values():
        assert frame["type"] == "ack" or frame["code"] in ("unavailable", "timeout"), frame
    assert fanout.services["ws_fanout"].process.wait(MAX_DRAIN) == 0
    settle(suite.device(user, "phone"), session, answers, n)


def test_while_draining_ready_is_503(own_fanout):
    fanout = own_fanout()
    service = fanout.services["ws_fanout"]
    assert requests.get(f"http://127.0.0.1:{service.admin_port}/ready", timeout=MAX_WAIT).status_code == 200
    service.process.send_signal(signal.SIGTERM)
    while service.process.poll() is None:
        try:
            status = requests.get(f"http://127.0.0.1:{service.admin_port}/ready", timeout=MAX_WAIT).status_code
        except requests.exceptions.ConnectionError:
            continue
        assert status in (200, 503)  # 200: the signal has not arrived yet


# ---- kill -9 ----

@pytest.fixture(scope="module")
def mortal(new_realm, tmp_path_factory):
    """A suite whose parts are killed and started again."""
    suite = Suite(new_realm(), tmp_path_factory.mktemp("mortal"),
                  HANDOFF_COMMAND_DEADLINE="1500ms").start()
    yield suite
    suite.stop()


@pytest.mark.parametrize("after", [0, 3, 25])
def test_commands_of_an_engine_that_is_killed(mortal, after):
    phone = mortal.device(new_user(), "phone")
    session = phone.create({"all": []})
    n, answers = 50, {}
    with subscribed(phone, session["id"]) as socket:
        send_commands(socket, session, n)
        take_answers(socket, answers, after)
        mortal.kill("state_engine")
        assert take_answers(socket, answers, n) is None, "the connection goes on"
        for frame in answers.values():
            assert frame["type"] == "ack" or frame["code"] in ("unavailable", "timeout"), frame
            assert frame["type"] == "ack" or frame["temporary"] is True
        is_alive(socket)
        mortal.restart("state_engine")
        acked = {frame["version"] for frame in answers.values() if frame["type"] == "ack"}
        settle(phone, session, answers, n)
        # Nothing that was acked is lost, and the watcher has seen all.
        assert acked <= {e["version"] for e in phone.deltas(session["id"])}
        socket.send(type="ping")
        phone.json_patch(session["id"], set_to("end", 1))
        socket.recv_until("state_delta", version=n + 2)


def test_a_command_is_not_begun_after_its_deadline(mortal):
    phone = mortal.device(new_user(), "phone")
    session = phone.create({"all": []})
    engine = mortal.services["state_engine"].process
    with subscribed(phone, session["id"]) as socket:
        engine.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            frame = answer_to(socket, command(session, 0))
            assert (frame["type"], frame["code"], frame["temporary"]) == ("error", "timeout", True)
            assert time.monotonic() - started > 1
            # Each process reckons the servers' time from its own last look at it, some milliseconds apart.
            wait_until(lambda: time.monotonic() - started > 2.5, what="the deadline past for everybody")
        finally:
            engine.send_signal(signal.SIGCONT)
        wait_until(lambda: ask(socket, "heartbeat", sessionId=session["id"])["type"] == "ack",
                   what="the engine at work again")
        now = phone.read(session["id"])
        assert (now["version"], now["data"]) == (1, {"all": []})
        settle(phone, session, {}, 1)


def test_devices_of_a_fanout_that_is_killed_come_back(mortal):
    phone = mortal.device(new_user(), "phone")
    session = phone.create({"all": []})
    n, answers = 40, {}
    raw = Raw.of(phone, session["id"])
    send_commands(raw, session, n)
    with pytest.raises(Gone):
        while True:
            frame = raw.recv()
            if frame["type"] == "ack":
                answers[frame["id"]] = frame
                if len(answers) == 5:
                    mortal.kill("ws_fanout")
    mortal.restart("ws_fanout")
    settle(phone, session, answers, n)
    with subscribed(phone, session["id"]) as socket:
        assert socket.sync["version"] == n + 1


def test_without_an_engine_a_subscribe_to_what_is_not_in_redis_may_be_sent_again(mortal):
    phone = mortal.device(new_user(), "phone")
    session = phone.create({"all": []})
    mortal.kill("state_engine")
    try:
        with phone.connect() as socket:
            socket.expect("hello")
            # Hot sessions are read without an engine; whether one is missing only an engine can say.
            assert ask(socket, "subscribe", sessionId=session["id"])["type"] == "state_sync"
            frame = ask(socket, "subscribe", sessionId=MISSING_ID)
            assert frame["type"] == "error" and frame["temporary"] is True, frame
            assert frame["code"] in ("unavailable", "timeout")
            is_alive(socket)
    finally:
        mortal.restart("state_engine")

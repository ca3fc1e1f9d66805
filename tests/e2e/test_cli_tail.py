"""handoff tail 'session.*.status': events by a routing pattern, with the rights of the broker's user `consumer`."""

import json
import signal
import uuid

import pytest

from cli import Running, handoff
from harness import wait_until


@pytest.fixture
def tail(suite):
    started = []

    def start(*words, broker_user="consumer"):
        started.append(Running(suite, "tail", *words, broker_user=broker_user))
        started[-1].wait_told("listening")
        return started[-1]

    yield start
    for one in started:
        one.stop()


def told(running, session):
    """Its lines about one session, without it: the suite is shared."""
    return [line.split("\t")[1:] for line in running.lines if line.startswith(session)]


def broadcasts(suite, session, n):
    with suite.amqp() as connection:
        channel = connection.channel()
        for i in range(n):
            event = {"type": "broadcast", "sessionId": session, "epoch": 1, "version": 1, "message": i,
                     "timestamp": "2026-02-12T12:00:00.000Z", "userId": session, "deviceId": "tab"}
            channel.basic_publish("session_updates", f"session.{session}.broadcast", json.dumps(event).encode())


def test_one_kind_of_all_sessions(tail, laptop):
    watch = tail("session.*.status", "session.*.deleted")
    session = laptop.create({"n": 0})["id"]
    laptop.patch(session, [{"op": "replace", "path": "/data/n", "value": 1}])
    laptop.status(session, "paused")
    laptop.delete(f"/sessions/{session}")
    wait_until(lambda: len(told(watch, session)) == 2)
    assert [line[1:] for line in told(watch, session)] == [
        ["status_changed", "3", "laptop", "active -> paused (request)"], ["session_deleted", "4", "laptop", ""]]
    assert watch.end(signal.SIGTERM) == (0, "handoff: listening")


def test_one_session_as_json(tail, laptop):
    session = laptop.create({"n": 0})["id"]
    watch = tail("--json", f"session.{session}.#")
    laptop.patch(session, [{"op": "replace", "path": "/data/n", "value": 1}])
    laptop.patch(laptop.create()["id"], [{"op": "add", "path": "/data/n", "value": 2}])
    laptop.post(f"/sessions/{session}/broadcast", json={"message": {"cue": "bell"}})
    wait_until(lambda: any('"broadcast"' in line for line in watch.lines))
    events = [json.loads(line) for line in watch.lines]
    assert {e["sessionId"] for e in events} == {session}
    assert [e["operations"][0]["value"] for e in events if e["type"] == "state_delta"] == [1]
    assert watch.end(signal.SIGINT)[0] == 0


def test_what_a_slow_reader_loses_is_told(tail, suite):
    session = str(uuid.uuid4())
    watch = tail("--buffer", "10", f"session.{session}.*")
    watch.process.send_signal(signal.SIGSTOP)
    broadcasts(suite, session, 500)
    watch.process.send_signal(signal.SIGCONT)
    watch.wait_told("oldest events are lost")
    wait_until(lambda: told(watch, session) and told(watch, session)[-1][-1] == "499", what="the last one")
    assert len(told(watch, session)) < 500
    assert watch.end(signal.SIGTERM)[0] == 1


def test_a_queue_that_was_not_full_lost_nothing(tail, suite):
    session = str(uuid.uuid4())
    watch = tail(f"session.{session}.*")
    broadcasts(suite, session, 500)
    wait_until(lambda: len(told(watch, session)) == 500)
    assert [line[-1] for line in told(watch, session)] == list(map(str, range(500)))
    assert watch.end(signal.SIGTERM)[0] == 0


def test_a_lost_connection_is_told_and_made_again(tail, suite, laptop):
    session = laptop.create()["id"]
    watch = tail("session.*.status")
    suite.servers.eval_in_broker(
        '[rabbit_networking:close_connection(P, "test") || P <- rabbit_networking:connections(), '
        "proplists:get_value(user, rabbit_networking:connection_info(P, [user])) =:= <<\"consumer\">>].")
    watch.wait_told("no connection")
    wait_until(lambda: watch.told.count("handoff: listening") == 2)
    laptop.status(session, "paused")
    wait_until(lambda: told(watch, session))
    assert watch.end(signal.SIGTERM)[0] == 1


@pytest.mark.parametrize("words, text", [
    (["status.*"], "begins with session"), (["session.*"], "three words"), (["session.A.status"], "words have"),
    (["session..status"], "words have"), (["session.*.*.*"], "three words"), (["sessions.#"], "begins with session"),
    (["session." + "x" * 300 + ".status"], "at most 255"), (["session.#", "--buffer", "0"], "--buffer takes a number"),
    (["session.#", "--fast"], "no option"), (["session.#", "--queue-prefix", "\n"], "printable"),
    (["session.*.status_changed"], "or one of: created"), (["session.*.Status"], "words have"),
    (["session.5.status"], "a UUID"), (["session.all.#"], "a UUID"),
    (["session.#", "--since", "4"], "go with --url"), (["--url", "ws://x", "--token-file", "t", "session.#", "--buffer", "9"], "go with a PATTERN")])
def test_mistakes_are_named(suite, words, text):
    assert text in handoff(suite, "tail", *words, code=2)


def test_what_the_user_may_not_and_help(suite):
    assert "403" in handoff(suite, "tail", "session.#", "--queue-prefix", "mine.", code=1, broker_user="consumer")
    assert "HANDOFF_AMQP_URL right" in handoff(suite, "tail", "session.#", code=1, HANDOFF_AMQP_URL="amqp://a:b@127.0.0.1:1/x")
    assert "PATTERN" in handoff(suite, "tail", "session.#", "--help")

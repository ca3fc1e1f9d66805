"""handoff dead-letters: looks at what was put away, puts it back, or drops it."""

import base64
import json
import subprocess

import pika
import pytest

from audit import DEAD, EVENTS, created, delta, new_session_id
from cli import HANDOFF, clean, ended
from harness import wait_until

COMMANDS, DEAD_COMMANDS = "state_engine.commands", "state_engine.dead"


@pytest.fixture(autouse=True)
def no_letters(trail):
    for queue in (DEAD, DEAD_COMMANDS, COMMANDS):
        trail.channel.queue_purge(queue)
    yield


def environment(trail, **env):
    return clean(**{"HANDOFF_AMQP_URL": trail.realm.rabbitmq.url, **env})


def run(trail, *arguments, **env):
    """Bytes: a body may be any."""
    return subprocess.run([HANDOFF, "dead-letters", *arguments], capture_output=True, env=environment(trail, **env), timeout=60)


def handoff(trail, *arguments, code=0, **env):
    """What it says: on stdout, or, where it ends with another code, on stderr."""
    done = run(trail, *arguments, **env)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert bool(done.stderr) == bool(code), done.stderr
    return done.stdout if code == 0 else done.stderr.decode()


def letters(trail, *arguments):
    return [json.loads(line) for line in handoff(trail, "list", "--json", *arguments).splitlines()]


def put_away(trail, *bodies, queue=DEAD, **properties):
    for body in bodies:
        trail.channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2, **properties))


def wait_queue(trail, queue, n):
    """What handoff gave back is there again only when the broker has noticed that it is gone."""
    wait_until(lambda: trail.n_messages(queue) == n, what=f"{n} in {queue}")


def test_a_second_content_is_listed_shown_and_put_back_when_the_first_was_wrong(trail):
    session = new_session_id()
    wrong, right = delta(session, 2), delta(session, 2, rebased=True)
    headers = {"commandId": session, "keyHash": "ab" * 32, "fingerprint": "cd" * 32}
    trail.tell(created(session), wrong)
    trail.tell(right, headers=headers)
    trail.settle()
    [letter] = letters(trail)
    assert letter["queue"] == DEAD and letter["type"] == "state_delta" and letter["when"].endswith("Z")
    assert letter["messageId"] == f"{session}:1:2" and "another content" in letter["reason"]
    assert letter["bytes"] == len(json.dumps(right))
    wait_queue(trail, DEAD, 1)

    head, body = handoff(trail, "show", letter["id"]).decode().split("\n\n", 1)
    shown = {line[:12].strip(): line[13:] for line in head.splitlines()}
    assert json.loads(body) == right
    assert shown == {"id": letter["id"], "queue": DEAD, "when": letter["when"], "reason": letter["reason"],
                     "type": "state_delta", "message id": f"{session}:1:2", "epoch": "1", "version": "2",
                     "device": "tab", "command": session, "key hash": "ab" * 32, "fingerprint": "cd" * 32}

    wait_queue(trail, DEAD, 1)
    whole = json.loads(handoff(trail, "show", letter["id"], "--json"))
    assert json.loads(whole.pop("body")) == right
    assert whole == {**letter, "epoch": 1, "version": 2, "deviceId": "tab", "commandId": session, "keyHash": "ab" * 32,
                     "fingerprint": "cd" * 32}

    trail.sql("delete from session_events where session_id = %s and version = 2", session)
    wait_queue(trail, DEAD, 1)
    assert handoff(trail, "replay", letter["id"]) == b"1 put back into audit_writer.events\n"
    trail.settle()
    rows = trail.suite.query("select payload, command_id::text, key_hash, fingerprint from session_events "
                             "where session_id = %s and version = 2", session)
    assert rows == [(right, *headers.values())]
    assert trail.n_messages(DEAD) == 0 and letters(trail) == []


def test_the_list_is_aligned_for_people(trail):
    put_away(trail, b"{}", message_id="m", type="state_delta", timestamp=1770897600,
             headers={"reason": "no\x1b[31m\nway"})
    put_away(trail, b"[]", queue=DEAD_COMMANDS)
    head, first, second = handoff(trail, "list").decode().splitlines()
    at = [head.index(name) for name in ("QUEUE", "WHEN", "TYPE", "MESSAGE ID", "REASON")]
    assert [first[a:].split()[0] for a in at] == [DEAD, "2026-02-12T12:00:00.000Z", "state_delta", "m", "no"]
    assert [second[a:].split()[0] for a in at] == [DEAD_COMMANDS, "-", "-", "-", "-"]
    assert "\x1b" not in first
    assert [r["queue"] for r in letters(trail, "--queue", DEAD_COMMANDS)] == [DEAD_COMMANDS]


def test_a_command_goes_back_to_the_engines_queue(trail):
    put_away(trail, b'{"commands":1}', queue=DEAD_COMMANDS, headers={"reason": "commands must be an array"})
    [letter] = letters(trail)
    assert handoff(trail, "replay", letter["id"]) == b"1 put back into state_engine.commands\n"
    assert trail.take(COMMANDS)[1] == b'{"commands":1}'
    assert trail.n_messages(DEAD_COMMANDS) == 0


def test_order_and_the_others_stay(trail):
    put_away(trail, *(f"letter {n}".encode() for n in range(5)))
    ids = [r["id"] for r in letters(trail)]
    assert len(set(ids)) == 5
    wait_queue(trail, DEAD, 5)
    assert handoff(trail, "drop", ids[2], "--yes") == b"1 dropped from audit_writer.dead\n"
    assert [r["id"] for r in letters(trail)] == ids[:2] + ids[3:]
    wait_queue(trail, DEAD, 4)
    assert "no letter" in handoff(trail, "drop", ids[2], "--yes", code=1)
    assert "no letter" in handoff(trail, "replay", ids[2], code=1)


def test_of_several_that_are_the_same_one_is_taken(trail):
    put_away(trail, b"same", b"same")
    ids = [r["id"] for r in letters(trail)]
    assert ids[0] == ids[1]
    wait_queue(trail, DEAD, 2)
    handoff(trail, "drop", ids[0], "--yes")
    assert [r["id"] for r in letters(trail)] == ids[:1]


def test_all_of_more_than_are_held_at_a_time(trail):
    with trail.suite.amqp() as connection:
        channel = connection.channel()
        for n in range(1003):
            channel.basic_publish("", DEAD_COMMANDS, str(n).encode())
    wait_queue(trail, DEAD_COMMANDS, 1003)
    done = run(trail, "list", "--json")
    assert len(done.stdout.splitlines()) == 1000 and b"the first 1000 of 1003" in done.stderr
    wait_queue(trail, DEAD_COMMANDS, 1003)
    assert handoff(trail, "replay", "--all") == b"1003 put back into state_engine.commands\n"
    assert trail.n_messages(COMMANDS) == 1003
    assert [trail.take(COMMANDS)[1] for _ in range(3)] == [b"0", b"1", b"2"]


def test_all_ends_although_what_is_put_back_comes_again(trail):
    """What still cannot be written is put away again: once around, and no further."""
    put_away(trail, *(f"junk {n}".encode() for n in range(30)))
    assert handoff(trail, "replay", "--all", "--queue", DEAD) == b"30 put back into audit_writer.events\n"
    trail.settle()
    assert trail.n_messages(DEAD) == 30 and trail.n_messages(EVENTS) == 0
    assert handoff(trail, "drop", "--all", "--yes") == b"30 dropped from audit_writer.dead\n"
    assert handoff(trail, "drop", "--all", "--yes") == b""


def test_ten_thousand_are_dropped(trail):
    with trail.suite.amqp() as connection:
        channel = connection.channel()
        for n in range(10_000):
            channel.basic_publish("", DEAD, str(n).encode())
    wait_queue(trail, DEAD, 10_000)
    done = run(trail, "drop", "--all", "--yes", "--json", "--progress")
    assert done.returncode == 0 and b"handoff: audit_writer.dead: " in done.stderr and b" of 10000\n" in done.stderr
    assert list(map(json.loads, done.stdout.splitlines())) == [
        {"queue": DEAD, "dropped": 10_000, "failed": 0}, {"queue": DEAD_COMMANDS, "dropped": 0, "failed": 0}]
    assert trail.n_messages(DEAD) == 0


def test_who_is_killed_in_the_middle_of_a_replay_loses_nothing(trail):
    with trail.suite.amqp() as connection:
        channel = connection.channel()
        for n in range(3000):
            channel.basic_publish("", DEAD_COMMANDS, str(n).encode())
    wait_queue(trail, DEAD_COMMANDS, 3000)
    process = subprocess.Popen([HANDOFF, "dead-letters", "replay", "--all"], stdout=subprocess.DEVNULL,
                               env=environment(trail))
    try:
        wait_until(lambda: trail.n_messages(COMMANDS) >= 50, what="the first ones")
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: trail.n_messages(COMMANDS) + trail.n_messages(DEAD_COMMANDS) >= 3000, what="all of them")
    assert 0 < trail.n_messages(DEAD_COMMANDS), "it was killed in the middle"
    run(trail, "replay", "--all")
    assert trail.n_messages(DEAD_COMMANDS) == 0
    bodies = [trail.take(COMMANDS)[1] for _ in range(trail.n_messages(COMMANDS))]
    assert set(bodies) == {str(n).encode() for n in range(3000)}
    assert len(bodies) <= 3000 + 4, "what was confirmed and not taken away yet is there twice"


def test_large_letters(trail):
    """Up to 16 MiB goes through; what is larger stays until it is dropped."""
    most = bytes(range(256)) * (1 << 16)
    put_away(trail, most, most + b"!", queue=DEAD_COMMANDS)
    largest, larger = letters(trail)
    assert largest["bytes"] == 1 << 24
    wait_queue(trail, DEAD_COMMANDS, 2)
    shown = json.loads(handoff(trail, "show", largest["id"], "--json"))
    assert base64.urlsafe_b64decode(shown["bodyBase64url"] + "==") == most
    wait_queue(trail, DEAD_COMMANDS, 2)
    assert handoff(trail, "replay", largest["id"]) == b"1 put back into state_engine.commands\n"
    assert trail.take(COMMANDS)[1] == most
    wait_queue(trail, DEAD_COMMANDS, 1)
    assert "still there" in handoff(trail, "replay", larger["id"], code=1)
    wait_queue(trail, DEAD_COMMANDS, 1)
    assert handoff(trail, "drop", larger["id"], "--yes") == b"1 dropped from state_engine.dead\n"


def test_what_another_has_in_hand_is_not_waited_for(trail):
    put_away(trail, *(f"letter {n}".encode() for n in range(5)))
    wait_queue(trail, DEAD, 5)
    with trail.suite.amqp() as connection:
        channel = connection.channel()
        channel.basic_get(DEAD)
        assert len(letters(trail)) == 4
        wait_queue(trail, DEAD, 4)
    wait_queue(trail, DEAD, 5)


@pytest.mark.parametrize("arguments,says", [
    ((), "knows list"), (("burn",), "knows list"), (("show",), "Which one"), (("replay",), "--all"),
    (("drop", "0123456789ab"), "--yes"), (("drop", "--all"), "--yes"), (("show", "xyz"), "An ID has"),
    (("list", "--queue", "other"), "--queue takes"), (("list", "--queue"), "--queue takes"),
    (("list", "0123456789ab"), "no ID"), (("show", "0123456789ab", "0123456789ac"), "One ID"),
    (("replay", "0123456789ab", "--all"), "instead of"), (("show", "--all"), "no option --all"),
    (("list", "--fast"), "no option --fast"), (("list", "--yes"), "no option --yes")])
def test_mistakes_are_told(trail, arguments, says):
    assert says in handoff(trail, *arguments, code=2)


def test_configuration_and_help(trail):
    assert "HANDOFF_AMQP_URL" in handoff(trail, "list", code=2, HANDOFF_AMQP_URL="http://x")
    assert "HANDOFF_AMQP" in handoff(trail, "list", code=2, HANDOFF_AMQP="x")
    told = ended("dead-letters", "--help").stdout
    assert "HANDOFF_AMQP_URL" in told and "HANDOFF_API_LISTEN" not in told  # what services alone have
    assert ended("--version").stdout.startswith("handoff ")


def test_a_broker_that_is_away_is_told(trail):
    assert "Is RabbitMQ up" in handoff(trail, "list", code=1, HANDOFF_AMQP_URL="amqp://a:b@127.0.0.1:1/x")

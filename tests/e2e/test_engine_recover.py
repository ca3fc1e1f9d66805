"""Recoveries seen from the broker: commands that come again after a loss, bounds, barriers, and what
travels with an event so that it can be restored (contract sections 5 and 6; docs/decisions/0009)."""

import contextlib
import json
import os
import signal

import pytest

from engine import get, new_session_id
from harness import metric, query, wait_until


def code(reply):
    return reply["error"]["code"] if "error" in reply else None


def recorded(world, session_id, version):
    wait_until(lambda: query(world.servers, "select 1 from sessions where id = %s and version = %s", session_id, version),
               what="the audit trail to catch up")


def body(*commands):
    return json.dumps({"commands": commands})


@contextlib.contextmanager
def audit_stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("members", [{}, {"key": "the key"}], ids=["by its id", "by its key"])
def test_a_command_that_comes_again_after_a_loss_takes_effect_once(world, members):
    first = world.engine()
    backend = world.connect()
    session_id = backend.create()
    patch = backend.patch(session_id, "/data/a", 1, seconds=120, **members)
    answer = backend.take(backend.send(patch))[0]
    backend.take(backend.send(backend.patch(session_id, "/data/b", 1)))
    recorded(world, session_id, 3)
    world.kill(first)
    world.redis.flushall()
    backend.leave_redelivered(body(patch))
    world.engine()
    backend.wait(lambda: len(backend.replies[patch["id"]]) == 2, "the second answer")
    again = backend.replies[patch["id"]][1]
    assert (again["version"], again["epoch"], again["checksum"]) == (2, 1, answer["checksum"])
    assert world.meta(session_id)["epoch"] == "2" and world.version(session_id) == 3
    assert world.data(session_id) == {"a": 1, "b": 1}


def test_a_create_that_comes_again_after_a_loss_makes_no_other_session(world):
    first = world.engine()
    backend = world.connect()
    session_id = new_session_id()
    create = backend.command("create", session_id, seconds=120, name="n", type="t", status="active", data={"a": 1})
    backend.take(backend.send(create))
    backend.take(backend.send(backend.patch(session_id, "/data/b", 1)))
    recorded(world, session_id, 2)
    world.kill(first)
    world.redis.flushall()
    backend.leave_redelivered(body(create))
    world.engine()
    backend.wait(lambda: len(backend.replies[create["id"]]) == 2, "the second answer")
    assert backend.replies[create["id"]][1]["version"] == 1
    assert world.data(session_id) == {"a": 1, "b": 1}


def test_an_event_tells_of_its_command_and_key(world):
    world.engine()
    backend, heard = world.connect(), world.subscribe()
    got = {}
    queue = heard.channel.queue_declare("", exclusive=True).method.queue
    heard.channel.queue_bind(queue, "session_updates", "session.#")
    heard.channel.basic_consume(queue, lambda _c, _m, properties, _b: got.update(
        {properties.headers.get("commandId"): properties.headers}), auto_ack=True)
    session_id = backend.create()
    with_key = backend.patch(session_id, "/data/a", 1, key="the key")
    without = backend.patch(session_id, "/data/b", 1)
    backend.take(backend.send(with_key, without))
    heard.wait(lambda: with_key["id"] in got and without["id"] in got, "both events")
    assert len(got[with_key["id"]]["keyHash"]) == len(got[with_key["id"]]["fingerprint"]) == 64
    assert "keyHash" not in got[without["id"]]
    recorded(world, session_id, 3)
    assert dict(query(world.servers, "select command_id::text, key_hash from session_events where session_id = %s "
                             "and version > 1", session_id)) == {
        with_key["id"]: got[with_key["id"]]["keyHash"], without["id"]: None}


def test_who_asks_at_once_shares_a_barrier(world, audit_pid):
    engine = world.engine()
    backend = world.connect()
    with audit_stopped(audit_pid):
        loads = [backend.command("load", new_session_id()) for _ in range(60)]
        replies = backend.take(backend.send(*loads))
    assert {code(r) for r in replies} == {"unavailable"}
    assert 1 <= metric(engine, "handoff_barriers_total") <= 3
    replies = backend.take(backend.send(*(backend.command("load", new_session_id()) for _ in range(60))))
    assert {code(r) for r in replies} == {"not_found"}


def test_a_cold_mark_does_not_hide_what_was_told_of_since(world, audit_pid):
    """A write that came while the session was going cold keeps it in Redis. Until the audit trail has it, the row
    says "cold", and Redis is emptied right then."""
    world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"a": 0})
    recorded(world, session_id, 1)
    query(world.servers, "update sessions set cold_epoch = epoch, cold_version = version where id = %s returning 1", session_id)
    with audit_stopped(audit_pid):
        backend.take(backend.send(backend.patch(session_id, "/data/a", 1)))
        subscriber.wait_for(session_id, 2)
        world.redis.flushall()
        assert code(backend.ask("load", session_id)) == "unavailable"
    assert code(backend.ask("load", session_id)) is None
    assert world.meta(session_id)["epoch"] == "2" and world.version(session_id) == 2
    assert world.data(session_id) == {"a": 1}


@pytest.mark.parametrize("loss, epoch", [("gone", 2), ("another run", 1)])
def test_who_is_there_is_judged_of_a_session_that_was_lost(world, loss, epoch):
    world.engine()
    backend = world.connect()
    session_id = backend.create()
    recorded(world, session_id, 1)
    if loss == "gone":
        world.redis.flushall()
    else:
        world.redis.hset(f"session:{{{session_id}}}:meta", "run_id", "0" * 40)
    reply = backend.ask("presence", session_id, scope=["read"])
    assert (code(reply), reply.get("version"), reply.get("epoch")) == (None, 1, epoch)
    assert world.meta(session_id)["run_id"] == world.redis.info("server")["run_id"]
    assert code(backend.ask("presence", new_session_id(), scope=["read"])) == "not_found"


def test_no_more_commands_wait_for_a_session_than_may(world, audit_pid):
    world.engine()
    backend = world.connect()
    session_id = new_session_id()
    with audit_stopped(audit_pid):
        messages = [[backend.command("load", session_id) for _ in range(60)] for _ in range(5)]
        replies = backend.take([id for m in messages for id in backend.send(*m)])
    assert {code(r) for r in replies} == {"unavailable"}
    refused = [r for r in replies if "too many commands" in r["error"]["detail"]]
    assert len(refused) == 300 - 256


def test_more_sessions_than_may_be_recovered_are_refused_and_nothing_else(world, audit_pid):
    engine = world.engine()
    backend = world.connect()
    with audit_stopped(audit_pid):
        messages = [[backend.command("load", new_session_id()) for _ in range(60)] for _ in range(20)]
        ids = [id for m in messages for id in backend.send(*m)]
        assert metric(engine, "handoff_recoveries") <= 1024
        replies = backend.take(ids)
        assert {code(r) for r in replies} == {"unavailable"}
    session_id = backend.create()
    assert "error" not in backend.take(backend.send(backend.patch(session_id)))[0]
    assert get(engine, "/ready")["status"] == "ready"


def test_a_lost_connection_ends_the_wait_for_a_barrier(world, audit_pid):
    relay = world.relay()
    engine = world.engine(relay=relay)
    backend = world.connect()
    with audit_stopped(audit_pid):
        ids = backend.send(backend.command("load", new_session_id()))
        wait_until(lambda: metric(engine, "handoff_recoveries") == 1, what="the recovery")
        relay.cut("publish")
        assert code(backend.take(ids)[0]) == "unavailable"
    world.wait_ready(engine)
    assert code(backend.ask("load", new_session_id())) == "not_found"

"""handoff sessions replay: for a consumer that was away longer than its queue reaches."""

import json
import uuid

import pytest

from cli import MISSING, both, handoff, objects
from harness import wait_until


@pytest.fixture
def channel(suite):
    with suite.amqp() as connection:
        yield connection.channel()


@pytest.fixture
def queue(channel):
    name = f"consumer.{uuid.uuid4()}"
    channel.queue_declare(name)
    yield name
    channel.queue_delete(name)


def drain(channel, queue, n):
    """The next n messages: (routing key, properties, body)."""
    def next_message():
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        return method and (method.routing_key, properties, body)
    return [wait_until(next_message, what=f"message {i} of {n}") for i in range(n)]


def positions(messages):
    return [(p.headers["epoch"], p.headers["version"]) for _, p, _ in messages if p.type != "snapshot"]


def make(suite, laptop, n_changes):
    session = laptop.create({"n": 0})["id"]
    for n in range(1, n_changes + 1):
        laptop.patch(session, [{"op": "replace", "path": "/data/n", "value": n}])
    wait_until(lambda: suite.query("select 1 from session_events where session_id = %s and version = %s limit 1",
                                   session, n_changes + 1), what="the trail")
    return session


def test_all_of_it_comes_again_as_it_was(suite, laptop, channel, queue):
    channel.queue_bind(queue, "session_updates", "session.#")
    session = make(suite, laptop, 3)
    laptop.post(f"/sessions/{session}/snapshots", json={"label": "a mark"})
    wait_until(lambda: suite.query("select 1 from session_events where session_id = %s and payload->>'label' = 'a mark'", session))
    n = suite.query("select count(*) from session_events where session_id = %s", session)[0][0]
    first = {}
    while len(first) < n:
        [(key, properties, body)] = drain(channel, queue, 1)
        if session in key and properties.delivery_mode == 2:
            first[properties.message_id] = (key, properties, body)
    channel.queue_unbind(queue, "session_updates", "session.#")
    channel.queue_purge(queue)

    assert handoff(suite, "sessions", "replay", session, "--queue", queue) == f"{n} published to {queue}\n"
    again = drain(channel, queue, n)
    assert channel.basic_get(queue)[0] is None
    assert {p.message_id for _, p, _ in again} == set(first)
    assert positions(again) == sorted(positions(again)), "in order"
    for _, properties, body in again:
        key, original, original_body = first[properties.message_id]
        assert json.loads(body) == json.loads(original_body)
        assert properties.headers == {**original.headers, "replay": True}
        assert (properties.type, properties.timestamp, properties.delivery_mode, properties.content_type) == (
            original.type, original.timestamp, 2, "application/json")


def test_a_part_to_an_exchange_with_a_consumers_own_rights(suite, laptop, channel, queue):
    """More than a page, under the routing keys that they had."""
    session = make(suite, laptop, 120)
    exchange = f"{queue}.replay"
    channel.exchange_declare(exchange, "topic")
    channel.queue_bind(queue, exchange, "session.*.update")
    channel.queue_bind(queue, exchange, "session.*.snapshot")
    try:
        said = handoff(suite, "sessions", "replay", session, "--exchange", exchange, "--from", 11, "--to", 115,
                       broker_user="consumer")
        n = int(said.split()[0])
        messages = drain(channel, queue, n)
        [result] = objects(handoff(suite, "sessions", "replay", session, "--exchange", exchange, "--from", 11, "--to", 115,
                                   "--json", "--progress", broker_user="consumer"))
    finally:
        channel.exchange_delete(exchange)
    assert result == {"sessionId": session, "exchange": exchange, "published": n, "missing": 0, "goOnFrom": None}
    assert positions(messages) == [(1, v) for v in range(11, 116)]
    assert {key for key, _, _ in messages} == {f"session.{session}.update", f"session.{session}.snapshot"}


def test_a_hole_in_the_trail_is_told(suite, laptop, queue):
    session = make(suite, laptop, 5)
    suite.query("delete from session_events where session_id = %s and version in (3, 4) returning version", session)
    assert "does not have 2 of these" in handoff(suite, "sessions", "replay", session, "--queue", queue, code=1)
    assert "does not have 1 of these" in handoff(suite, "sessions", "replay", session, "--queue", queue, "--from", 4, code=1)


def test_what_nobody_took_is_told_with_where_to_go_on(suite, laptop, channel, queue):
    session = make(suite, laptop, 60)
    told = handoff(suite, "sessions", "replay", session, "--queue", "consumer.nowhere", code=1)
    assert "no queue took" in told and "go on with --from 0" in told
    assert "404" in handoff(suite, "sessions", "replay", session, "--exchange", "consumer.nowhere", code=1)
    assert "403" in handoff(suite, "sessions", "replay", session, "--queue", queue, code=1, broker_user="consumer")
    full = queue + ".full"
    channel.queue_declare(full, arguments={"x-max-length": 55, "x-overflow": "reject-publish"})
    try:
        told = handoff(suite, "sessions", "replay", session, "--queue", full, code=1)
        assert "is it full" in told
        position = int(told.split("--from ")[1])
        assert 40 <= position <= 55, "the first page was confirmed"
        channel.queue_purge(full)
        [result] = objects(both(suite, "sessions", "replay", session, "--queue", full, "--json", code=1)[0])
        assert result == {"sessionId": session, "queue": full, "published": result["published"], "missing": 0,
                          "goOnFrom": result["goOnFrom"]} and 40 <= int(result["goOnFrom"]) <= 55 <= result["published"]
    finally:
        channel.queue_delete(full)


def test_to_all_consumers_only_when_it_is_meant(suite, laptop, channel, queue):
    session = make(suite, laptop, 1)
    channel.queue_bind(queue, "session_updates", f"session.{session}.*")
    assert "--yes" in handoff(suite, "sessions", "replay", session, "--exchange", "session_updates", code=2)
    n = int(handoff(suite, "sessions", "replay", session, "--exchange", "session_updates", "--yes").split()[0])
    assert all(p.headers["replay"] for _, p, _ in drain(channel, queue, n))
    assert laptop.read(session)["data"] == {"n": 1}


def test_a_broker_that_is_away(suite, laptop):
    session = make(suite, laptop, 1)
    assert "HANDOFF_AMQP_URL right" in handoff(suite, "sessions", "replay", session, "--queue", "q", code=1,
                                               HANDOFF_AMQP_URL="amqp://a:b@127.0.0.1:1/x")
    assert "no session" in handoff(suite, "sessions", "replay", MISSING, "--queue", "q", code=1)


@pytest.mark.parametrize("words, text", [
    ([], "--exchange or --queue"), (["--queue", "a", "--exchange", "b"], "one of them"), (["--queue", "state_engine.commands"], "own"),
    (["--queue", "audit_writer.events"], "own"), (["--exchange", "session_commands"], "for commands"),
    (["--queue", "a", "--from", "x"], "--from takes"), (["--queue", "a", "--to", "1.1"], "--to takes"),
    (["--queue", "q" * 256], "at most 255")])
def test_mistakes_are_named(suite, words, text):
    assert text in handoff(suite, "sessions", "replay", MISSING, *words, code=2)

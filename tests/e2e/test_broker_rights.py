"""Each service has a user of its own on the broker, with the rights of compose/rabbitmq/definitions.json:
enough for what it does (the whole suite runs with them), and for nothing that another one does."""

import contextlib
import uuid

import pika
import pytest

from cli import handoff, objects
from harness import NAMES, new_user, wait_until

COMMANDS, AUDIT = "state_engine.commands", "audit_writer.events"


@contextlib.contextmanager
def channel_of(suite, user):
    connection = pika.BlockingConnection(pika.URLParameters(suite.servers.rabbitmq.url_for(user)))
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        yield channel
    finally:
        connection.close()


def key(kind):
    return f"session.{uuid.uuid4()}.{kind}"


def is_refused(suite, user, attempt):
    with channel_of(suite, user) as channel:
        try:
            attempt(channel)
        except pika.exceptions.ChannelClosedByBroker as closed:
            assert closed.reply_code == 403, closed
            return True
    return False


def test_each_service_is_known_by_its_name(suite):
    users = suite.servers.eval_in_broker(
        "[{U, V} || P <- rabbit_networking:connections(), "
        "[{user, U}, {vhost, V}] <- [rabbit_networking:connection_info(P, [user, vhost])]].")
    for name in NAMES:
        assert f'<<"{name}">>' in users


@pytest.mark.parametrize("user, exchange, routing_key", [
    *((user, "session_updates", key(kind)) for user in ("session_api", "ws_fanout")
      for kind in ("update", "status", "created", "deleted", "broadcast.update")),
    *((user, "", queue) for user in ("session_api", "ws_fanout")
      for queue in (COMMANDS, AUDIT, "state_engine.dead", "audit_writer.dead")),
    ("state_engine", "session_commands", COMMANDS),
    ("audit_writer", "session_commands", COMMANDS),
    ("audit_writer", "session_updates", key("update")),
    *((user, "amq.topic", "x") for user in [*NAMES, "consumer", "operator"]),
    *(("operator", exchange, key("update")) for exchange in ("session_updates", "session_commands")),
    *(("consumer", "session_updates", key(kind)) for kind in ("update", "broadcast")),
    *(("consumer", exchange, queue) for exchange in ("", "session_commands") for queue in (COMMANDS, AUDIT, "consumer.x")),
])
def test_nobody_publishes_what_is_not_its_own(suite, user, exchange, routing_key):
    assert is_refused(suite, user, lambda channel: channel.basic_publish(exchange, routing_key, b"{}"))


@pytest.mark.parametrize("user, queue", [
    (user, queue) for queue, owner in ((COMMANDS, "state_engine"), (AUDIT, "audit_writer"),
                                       ("state_engine.dead", None), ("audit_writer.dead", None))
    for user in [*NAMES, "consumer", "operator"] if user != owner and (owner or user != "operator")])
def test_nobody_reads_what_is_for_another(suite, user, queue):
    assert is_refused(suite, user, lambda channel: channel.basic_get(queue))
    assert is_refused(suite, user, lambda channel: channel.queue_purge(queue))


@pytest.mark.parametrize("user", [*NAMES, "consumer", "operator"])
def test_nobody_makes_what_is_not_handoffs(suite, user):
    assert is_refused(suite, user, lambda channel: channel.queue_declare("other", durable=True))
    assert is_refused(suite, user, lambda channel: channel.exchange_declare("other"))


@pytest.mark.parametrize("user", ["session_api", "ws_fanout"])
def test_broadcasts_may_be_published(suite, user):
    assert not is_refused(
        suite, user, lambda channel: channel.basic_publish("session_updates", key("broadcast"), b"{}"))


def test_who_operates_looks_at_dead_letters_and_puts_them_back(suite):
    """What is no command comes again from the engine that got it."""
    mark = new_user()

    def letters(*arguments):
        return handoff(suite, "dead-letters", *arguments, broker_user="operator")

    def ids():
        found = objects(letters("list", "--json", "--queue", "state_engine.dead"))
        return [letter["id"] for letter in found if mark in letters("show", letter["id"])]

    with channel_of(suite, "handoff") as channel:
        channel.basic_publish("", "state_engine.dead", f"no command {mark}".encode(), pika.BasicProperties(delivery_mode=2))
    [first] = ids()
    letters("replay", first)
    [again] = wait_until(ids, what="the letter that is none again")
    letters("drop", again, "--yes")
    assert ids() == []

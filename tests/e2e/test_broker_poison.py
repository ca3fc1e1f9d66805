"""What may stand in the commands' queue besides commands: forged addresses, forged senders, messages that
kill. Each is set aside or refused, and nobody else notices (contract section 5)."""

import json
import secrets
import uuid

import pytest

from engine import COMMANDS, new_session_id
from harness import new_user, wait_until


def code(reply):
    return reply.get("error", {}).get("code")


def records(engine):
    return [json.loads(line) for line in engine.log.read_text(errors="replace").splitlines() if line.startswith("{")]


NOWHERE = ["amq.rabbitmq.reply-to.x", "amq.rabbitmq.reply-to." + "A" * 230, "amq.rabbitmq.reply-to.*",
           "amq.rabbitmq.reply-to.#", "amq.rabbitmq.reply-to.x.y.z"]
# RabbitMQ 3.10 ends the connection that publishes to one of these (541).
FATAL = ["amq.rabbitmq.reply-to.g1h2AA5yZXBseUA.ZZZ==", "amq.rabbitmq.reply-to.AAAA.AAAA"]
FOREIGN = ["amq.rabbitmq.reply-toX", "amq.rabbitmq.reply-to.", "amq.rabbitmq.reply-to.\u00e9\u0001", COMMANDS,
           "state_engine.dead", "audit_writer.events", "amq.gen-x", "session_updates",
           " amq.rabbitmq.reply-to.x", "x" * 255]


@pytest.mark.parametrize("address", FOREIGN)
def test_an_address_that_is_no_direct_reply_to_is_set_aside(world, address):
    world.engine()
    backend = world.connect()
    session_id = backend.create()
    backend.send(backend.patch(session_id), reply_to=address)
    assert "amq.rabbitmq.reply-to" in backend.dead()[1]
    assert code(backend.ask("heartbeat", session_id)) is None
    assert world.version(session_id) == 1


def test_an_address_that_leads_nowhere_disturbs_nobody(world):
    engine = world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create()
    for n, address in enumerate(NOWHERE):
        backend.send(backend.patch(session_id, f"/data/k{n}"), reply_to=address)
    reply = backend.take(backend.send(backend.patch(session_id, "/data/last")))[0]
    assert reply["version"] == len(NOWHERE) + 2
    subscriber.wait_for(session_id, len(NOWHERE) + 2)
    text = engine.log.read_text(errors="replace")
    assert "dependency_lost" not in text, "a reply that cannot be delivered cost the engine its connection"


@pytest.mark.parametrize("address", FATAL)
def test_an_address_that_the_broker_chokes_on_costs_replies_and_nothing_else(world, address):
    engine = world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create()
    backend.send(backend.patch(session_id, "/data/forged"), reply_to=address)

    def is_answered():
        patch = backend.patch(session_id, "/data/a", key="again")
        backend.send(patch)
        try:
            backend.wait(lambda: patch["id"] in backend.replies, "a reply", timeout=2)
        except AssertionError:
            return False
        return code(backend.replies[patch["id"]][0]) is None
    wait_until(is_answered, what="an answer, under the same key")
    subscriber.wait_for(session_id, 3)
    assert world.data(session_id) == {"forged": 0, "a": 0}
    lost = [r["dependency"] for r in records(engine) if r["event"] == "dependency_lost"]
    assert set(lost) <= {"rabbitmq_reply"}
    # The same answer, when the reply got lost; no event twice, since its connection stayed.
    assert len([m for m, _, _ in subscriber.got if m.startswith(session_id + ":")]) == 3
    wait_until(lambda: backend.channel.queue_declare(COMMANDS, passive=True).method.message_count == 0,
               what="an empty queue")


def test_what_kills_engines_is_set_aside_in_the_end(world):
    """An engine dies each time before its acknowledgement is out; the message comes again and again."""
    engine = world.engine()
    backend, relay = world.connect(), world.relay()
    session_id = backend.create()
    trace_id = secrets.token_hex(16)
    patch = {**backend.patch(session_id, "/data/poison"), "traceparent": f"00-{trace_id}-{'1' * 16}-00"}
    poison, tries = json.dumps({"commands": [patch]}), f"session:{{{session_id}}}:tries:{patch['id']}"
    engine.stop()
    relay.mutes_consumers = True
    backend.publish(poison)
    for n in range(5):
        engine = world.engine(relay=relay, ready=False)
        wait_until(lambda: world.version(session_id) == 2 and int(world.redis.get(tries) or 0) == n,
                   what=f"delivered again {n} times")
        world.kill(engine)
        relay.cut()
    engine = world.engine()
    dead, reason = backend.dead()
    assert dead == poison.encode() and "again" in reason
    told, = (r for r in records(engine) if r["event"] == "command_dead")
    assert [told[name] for name in ("sessionId", "commandId", "trace_id")] == [session_id, patch["id"], trace_id]
    assert world.data(session_id) == {"poison": 0} and world.version(session_id) == 2
    assert code(backend.ask("heartbeat", session_id)) is None
    assert backend.channel.queue_declare(COMMANDS, passive=True).method.message_count == 0


@pytest.mark.parametrize("kind, members, refusals", [
    ("patch", {"operations": [{"op": "add", "path": "/data/x", "value": 1}]}, {"not_found"}),
    ("status", {"status": "paused"}, {"not_found"}),
    ("delete", {}, {"not_found", None}),
    ("heartbeat", {}, {"not_found"}),
    ("load", {}, {"not_found"}),
])
def test_a_command_in_a_strangers_name_can_do_no_more_than_the_stranger(world, kind, members, refusals):
    world.engine()
    backend = world.connect()
    session_id = backend.create({"secret": 1})
    forged = backend.command(kind, session_id, **members, userId=new_user())
    reply = backend.take(backend.send(forged))[0]
    assert code(reply) in refusals, reply
    assert "secret" not in json.dumps(reply)
    assert world.version(session_id) == 1 and world.data(session_id) == {"secret": 1}
    narrow = backend.command(kind, session_id, **{**members, "scope": ["read"]})
    if kind in ("patch", "status", "delete"):
        assert code(backend.take(backend.send(narrow))[0]) == "forbidden"
    assert world.version(session_id) == 1


@pytest.mark.parametrize("session_id", [
    "", "x", "..", "*", "{a}", "0197a3b2-0000-7000-8000-00000000000", "0197a3b2-0000-7000-8000-00000000000g",
    "0197A3B2-0000-7000-8000-000000000001", "session:{0197a3b2-0000-7000-8000-000000000001}", "\u0000" * 36,
    "0197a3b2-0000-7000-8000-000000000001}:x{", 1, None, [], "a" * 70000])
def test_a_session_id_that_is_none_never_gets_to_redis(world, session_id):
    world.engine()
    backend = world.connect()
    keys = set(world.redis.keys())
    body = json.dumps({"commands": [{**backend.command("load", new_session_id()), "sessionId": session_id}]})
    backend.publish(body)
    dead, reason = backend.dead()
    assert dead == body.encode() and reason
    assert {key for key in set(world.redis.keys()) - keys if "session" in key} == set()
    assert code(backend.ask("load", str(new_session_id()))) == "not_found"


def test_properties_do_not_make_a_command_something_else(world):
    world.engine()
    backend = world.connect()
    session_id = backend.create()
    odd = [dict(content_type="text/html", content_encoding="gzip"), dict(priority=255), dict(type="barrier"),
           dict(message_id=f"{session_id}:9:9", timestamp=2 ** 62),
           dict(headers={"epoch": 9, "version": -1, "deviceId": "x" * 5000, "echo": True, "reason": {"a": [1]}}),
           dict(headers={str(i): "x" * 100 for i in range(500)}), dict(correlation_id=str(uuid.uuid4()) * 7),
           dict(app_id="state_engine", delivery_mode=2)]
    for n, properties in enumerate(odd):
        reply = backend.take(backend.send(backend.patch(session_id, f"/data/k{n}"), **properties))[0]
        assert reply["version"] == n + 2, properties

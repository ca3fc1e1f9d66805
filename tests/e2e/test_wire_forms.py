"""What a release wrote, every later one reads: values in Redis, commands, events, as that release's services left them in
wire_forms/<release>.json. The files are never changed; a release adds one, by
HANDOFF_RECORD_WIRE=<release> … pytest tests/e2e/test_wire_forms.py. What is recorded from this build is read back, too."""

import json
import os
import pathlib
import time
import uuid

import pika
import pytest

from clocks import MODES
from harness import MAX_WAIT, Suite, new_user, wait_until
from ws import set_to

FOLDER = pathlib.Path(__file__).parent / "wire_forms"
RELEASES = sorted(path.stem for path in FOLDER.glob("*.json"))
RUN_ID = "<run_id>"  # of the Redis that the values are put into
PROPERTIES = ("content_type", "delivery_mode", "type", "message_id", "app_id", "timestamp", "headers")


def own_queue(suite, exchange, routing_key):
    """A channel whose own queue gets copies of that; (channel, queue)."""
    channel = suite.amqp().channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, routing_key)
    return channel, queue


def taken(channel, queue):
    """What has come: each message as it can be sent again."""
    messages = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return messages
        messages.append({"exchange": method.exchange, "routingKey": method.routing_key, "body": body.decode(),
                         "properties": {name: getattr(properties, name) for name in PROPERTIES}})


def dump(redis, session_id):
    run_id, values = redis.info("server")["run_id"], {}
    read = {"string": redis.get, "hash": redis.hgetall, "stream": redis.xrange,
            "zset": lambda key: redis.zrange(key, 0, -1, withscores=True)}
    for key in sorted(redis.keys(f"session:{{{session_id}}}:*")):
        kind = redis.type(key)
        if not key.endswith((":devices", ":presence")):  # of a connection that is no more
            values[key] = {"type": kind, "value": read[kind](key)}
    return json.loads(json.dumps(values).replace(run_id, RUN_ID))


def record(suite):
    """A session with all that one has, and one with a clock."""
    commands, command_queue = own_queue(suite, "session_commands", "state_engine.commands")
    events, event_queue = own_queue(suite, "session_updates", "session.#")
    owner = suite.device(new_user(), "phone")
    sessions = [owner.create({"n": 0, "text": "Grüße, 你好", "list": [1, 2.5, None, {"a": True}]}, ttlSeconds=2592000)["id"],
                owner.create({"board": "empty"}, clock=MODES["per_participant"], ttlSeconds=2592000)["id"]]
    plain, timed = sessions
    viewer = new_user()
    for n in range(1, 4):
        assert owner.patch(plain, set_to("n", n), headers={"Idempotency-Key": f"k{n}"}).status_code == 200
    assert owner.request("PUT", f"/sessions/{plain}/participants/{viewer}", json={"role": "viewer"}).status_code in (200, 204)
    assert owner.post(f"/sessions/{plain}/snapshots", json={"label": "here"}).status_code in (200, 201)
    assert owner.status(plain, "paused").status_code == 200
    assert owner.status(plain, "active").status_code == 200
    assert owner.status(timed, "paused").status_code == 200
    redis = suite.redis_client()

    def is_published(session_id):
        meta = redis.hgetall(f"session:{{{session_id}}}:meta")
        return meta["published"] == meta["version"]

    wait_until(lambda: all(map(is_published, sessions)), what="every event told")
    found = {"user": owner.user, "viewer": viewer, "sessions": {s: owner.read(s) for s in sessions},
             "redis": {key: value for s in sessions for key, value in dump(redis, s).items()},
             "commands": taken(commands, command_queue), "events": taken(events, event_queue)}
    for channel in (commands, events):
        channel.connection.close()
    return json.loads(json.dumps(found))


@pytest.fixture(scope="module")
def forms(own_worlds):
    """forms(release) -> what it wrote."""
    def get(release):
        if release != "this build":
            return json.loads((FOLDER / f"{release}.json").read_text())
        found = record(own_worlds())
        if wanted := os.environ.get("HANDOFF_RECORD_WIRE"):
            path = FOLDER / f"{wanted}.json"
            assert not path.exists(), "what a release wrote is never changed"
            path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
        return found
    return get


@pytest.fixture(scope="module")
def own_worlds(new_realm, tmp_path_factory):
    started = []

    def start():
        started.append(Suite(new_realm(), tmp_path_factory.mktemp("wire")).start())
        return started[-1]

    yield start
    for suite in started:
        suite.stop()


def restore(redis, values):
    text = json.dumps(values).replace(RUN_ID, redis.info("server")["run_id"])
    for key, found in json.loads(text).items():
        value = found["value"]
        if found["type"] == "string":
            redis.set(key, value)
        elif found["type"] == "hash":
            redis.hset(key, mapping=value)
        elif found["type"] == "zset":
            redis.zadd(key, dict(value))
        else:
            for entry, fields in value:
                redis.xadd(key, fields, id=entry)


def send(suite, messages):
    connection = suite.amqp()
    channel = connection.channel()
    channel.confirm_delivery()
    for message in messages:
        channel.basic_publish(message["exchange"], message["routingKey"], message["body"],
                              pika.BasicProperties(**message["properties"]))
    connection.close()


def ask(suite, message):
    """The reply to a command of before, with a deadline and an id of now."""
    body = json.loads(message["body"])
    for command in body["commands"]:
        command["id"], command["deadline"] = str(uuid.uuid4()), int(time.time() * 1000) + 5000
        for name in ("sentAt", "key", "baseVersion"):
            command.pop(name, None)
    connection, replies = suite.amqp(), []
    channel = connection.channel()
    channel.basic_consume("amq.rabbitmq.reply-to", lambda *got: replies.append(json.loads(got[3])), auto_ack=True)
    channel.basic_publish(message["exchange"], message["routingKey"], json.dumps(body),
                          pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="c"))
    end = time.monotonic() + MAX_WAIT
    while not replies and time.monotonic() < end:
        connection.process_data_events(0.1)
    connection.close()
    return replies[0]["replies"]


@pytest.mark.parametrize("release", [*RELEASES, "this build"])
def test_what_a_release_wrote_is_read(own_worlds, forms, release):
    found = forms(release)
    suite = own_worlds()
    restore(suite.redis_client(), found["redis"])
    owner, viewer = suite.device(found["user"], "phone"), suite.device(found["viewer"], "tv")
    for session_id, was in found["sessions"].items():
        now = owner.read(session_id)
        assert {name: now.get(name) for name in was if name != "clock"} == {name: was[name] for name in was if name != "clock"}
        bodies = [json.loads(e["body"]) for e in found["events"] if session_id in e["routingKey"]]
        versioned = [b for b in bodies if b["type"] in ("state_delta", "status_changed", "participant_changed")]
        with owner.connect(f"{session_id}&since=1") as socket:
            socket.recv_until("subscribed", version=was["version"])
            for body in versioned:
                assert socket.recv_until(body["type"], version=body["version"]) == body
    plain = next(iter(found["sessions"]))
    version = found["sessions"][plain]["version"]
    assert viewer.read(plain)["role"] == "viewer" and viewer.patch(plain, set_to("n", 9)).status_code == 403
    patches = [m for m in found["commands"] if any(c["kind"] == "patch" for c in json.loads(m["body"])["commands"])]
    for n, message in enumerate(patches, 1):
        assert [r.get("version") for r in ask(suite, message)] == [version + n], message
    assert owner.patch(plain, set_to("n", 10)).json()["version"] == version + len(patches) + 1
    send(suite, found["events"])
    durable = {e["properties"]["message_id"] for e in found["events"] if e["properties"]["delivery_mode"] == 2}
    wait_until(lambda: durable <= {row[0] for row in suite.query("select message_id from session_events")}, what="every row")
    assert suite.query("select version, name from sessions where id = %s", plain) == [
        (version + len(patches) + 1, found["sessions"][plain]["name"])]
    dead = suite.amqp()
    for queue in ("state_engine.dead", "audit_writer.dead"):
        assert dead.channel().queue_declare(queue, passive=True).method.message_count == 0
    dead.close()

"""What Redis lost, or holds and cannot be believed about, is put together again from PostgreSQL: once,
under a new epoch, and with what was asked for under each key (contract section 6; docs/decisions/0009)."""

import json
import signal
import uuid

import pytest

from harness import new_user, together, wait_until
from rest import refused


def add(key, value):
    return [{"op": "add", "path": f"/data/{key}", "value": value}]


def position(session):
    return session["epoch"], session["version"]


def keys(suite, session):
    return suite.redis_client().keys(f"session:{{{session['id']}}}:*")


def key(session, name):
    return f"session:{{{session['id']}}}:{name}"


class Rebuilds:
    """An independent subscriber: who heard of which rebuild, by message id."""

    def __init__(self, suite):
        self.connection = suite.amqp()
        self.channel = self.connection.channel()
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, "session_updates", "session.*.rebuilt")
        self.got = {}

    def take(self):
        """Session id -> the different rebuilds that were told, as (epoch, version)."""
        while True:
            method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            if not method:
                return {id: set(told.values()) for id, told in self.got.items()}
            event = json.loads(body)
            assert properties.type == "session_rebuilt"
            self.got.setdefault(event["sessionId"], {})[properties.message_id] = position(event)

    def wait_for(self, session):
        return wait_until(lambda: self.take().get(session["id"]), what="session_rebuilt")

    def close(self):
        self.connection.close()


@pytest.fixture
def lossy(own_suite):
    """A suite of its own, in whose Redis a test may break what it likes."""
    return own_suite()


@pytest.fixture
def rebuilds(lossy):
    rebuilds = Rebuilds(lossy)
    yield rebuilds
    rebuilds.close()


def recorded(suite, session):
    """Waits until PostgreSQL has the session's position."""
    wait_until(lambda: suite.query("select 1 from sessions where id = %s and epoch = %s and version = %s",
                                   session["id"], session["epoch"], session["version"]),
               what="the audit trail to catch up")


def test_a_lost_session_is_rebuilt_under_a_new_epoch(lossy, rebuilds):
    phone = lossy.device(new_user(), "phone")
    session = phone.create({"a": 1})
    phone.patch(session["id"], add("b", [2, {"c": "ü"}]))
    lossy.redis_client().flushdb()
    answer = refused(phone.patch(session["id"], add("d", 3), baseVersion=2), 409, "version_conflict")
    assert (answer["epoch"], answer["currentVersion"]) == (2, 2)
    assert answer["session"]["data"] == {"a": 1, "b": [2, {"c": "ü"}]}
    assert rebuilds.wait_for(session) == {(2, 2)}
    after = phone.patch(session["id"], add("d", 3), baseVersion=2, epoch=2).json()
    assert position(after) == (2, 3)
    assert phone.read(session["id"])["data"] == {"a": 1, "b": [2, {"c": "ü"}], "d": 3}
    assert phone.heartbeat(session["id"]).status_code == 200
    assert rebuilds.take() == {session["id"]: {(2, 2)}}


def test_a_key_is_answered_once_across_a_loss(lossy):
    phone = lossy.device(new_user(), "phone")
    session = phone.create({})
    headers = {"Idempotency-Key": "the patch"}
    first = phone.patch(session["id"], add("a", 1), baseVersion=1, headers=headers)
    other = phone.patch(session["id"], add("b", 1))
    lossy.redis_client().flushdb()
    again = phone.patch(session["id"], add("a", 1), baseVersion=1, headers=headers)
    assert again.status_code == 200, again.text
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["version"] == first.json()["version"] == 2
    assert again.json()["checksum"] == first.json()["checksum"]
    refused(phone.patch(session["id"], add("a", 2), headers=headers), 422, "idempotency_key_reused")
    assert phone.read(session["id"])["version"] == other.json()["version"]


def test_a_create_is_answered_once_across_a_loss(lossy):
    phone = lossy.device(new_user(), "phone")
    body = {"name": "n", "type": "t", "data": {"a": 1}}

    def create(**more):
        return phone.post("/sessions", json={**body, **more}, headers={"Idempotency-Key": "the create"})

    first = create().json()
    lossy.redis_client().flushdb()
    answers = together(5, lambda i: lossy.device(phone.user, f"d{i}").post(
        "/sessions", json=body, headers={"Idempotency-Key": "the create"}))
    assert {a.status_code for a in answers} == {201}, [a.text for a in answers]
    assert {a.json()["id"] for a in answers} == {first["id"]}
    assert {a.headers["Idempotency-Replayed"] for a in answers} == {"true"}
    refused(create(name="other"), 422, "idempotency_key_reused")
    assert lossy.query("select count(*) from sessions where user_id = %s", phone.user) == [(1,)]


def test_a_create_whose_session_was_lost_or_deleted_makes_no_other(lossy):
    phone = lossy.device(new_user(), "phone")
    headers = {"Idempotency-Key": "the create"}
    body = {"name": "n", "type": "t"}
    session = phone.post("/sessions", json=body, headers=headers).json()
    lossy.redis_client().delete(*keys(lossy, session))
    assert phone.post("/sessions", json=body, headers=headers).json()["id"] == session["id"]
    assert position(phone.read(session["id"])) == (2, 1)
    phone.delete(f"/sessions/{session['id']}")
    wait_until(lambda: lossy.query("select 1 from sessions where id = %s and deleted_at is not null",
                                   session["id"]), what="the deletion in PostgreSQL")
    lossy.redis_client().flushdb()
    refused(phone.post("/sessions", json=body, headers=headers), 404, "not_found")


def test_what_redis_remembers_for_a_day_needs_no_postgresql(lossy):
    phone = lossy.device(new_user(), "phone")
    phone.create()
    client = lossy.redis_client()
    body = {"name": "n", "type": "t"}
    assert phone.post("/sessions", json=body, headers={"Idempotency-Key": "one"}).status_code == 201
    since, run_id = client.get("store:{0}:memory").split()
    assert run_id == client.info("server")["run_id"]
    client.set("store:{0}:memory", f"{int(since) - 24 * 3600 * 1000} {run_id}")
    writer = lossy.services["audit_writer"]
    writer.process.send_signal(signal.SIGSTOP)
    try:
        answer = phone.post("/sessions", json=body, headers={"Idempotency-Key": "two"})
        assert answer.status_code == 201, answer.text
    finally:
        writer.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("damage", [
    lambda redis, session: redis.delete(key(session, "meta")),
    lambda redis, session: redis.delete(key(session, "state")),
    lambda redis, session: redis.setrange(key(session, "state"), 0, "x"),
    lambda redis, session: redis.set(key(session, "state"), redis.get(key(session, "state"))[:-9]),
    lambda redis, session: redis.set(key(session, "meta"), "text"),
    lambda redis, session: redis.hset(key(session, "meta"), "version", "many"),
    lambda redis, session: (redis.delete(key(session, "meta")), redis.hset(key(session, "meta"), "x", "y")),
    lambda redis, session: redis.set(key(session, "deltas"), "text"),
], ids=["no meta", "no state", "state changed", "state cut", "meta is a text", "version is none",
        "meta of others", "deltas are a text"])
def test_damage_is_found_and_put_right(lossy, rebuilds, damage):
    phone = lossy.device(new_user(), "phone")
    session = phone.create({"a": 1})
    session = {**session, **phone.patch(session["id"], add("b", 2)).json()}
    recorded(lossy, session)
    damage(lossy.redis_client(), session)
    patched = phone.patch(session["id"], add("c", 3))
    assert patched.status_code == 200, patched.text
    assert position(patched.json()) == (2, 3)
    assert phone.read(session["id"])["data"] == {"a": 1, "b": 2, "c": 3}
    assert rebuilds.wait_for(session) == {(2, 2)}


@pytest.mark.parametrize("name", ["idem", "idem_order", "devices", "presence"])
def test_a_value_of_a_wrong_type_that_a_save_finds_is_put_right(lossy, rebuilds, name):
    phone = lossy.device(new_user(), "phone")
    laptop = lossy.device(phone.user, "laptop")
    session = phone.create({"a": 1})
    recorded(lossy, session)
    redis = lossy.redis_client()
    redis.delete(key(session, name))
    redis.set(key(session, name), "text")
    answer = laptop.status(session["id"], "active", headers={"Idempotency-Key": "x"})
    assert answer.status_code == 200, answer.text
    assert laptop.read(session["id"])["activeDeviceId"] == "laptop"
    assert len(rebuilds.wait_for(session)) == 1


def test_many_lost_sessions_are_each_rebuilt_once(lossy, rebuilds):
    user = new_user()
    devices = [lossy.device(user, f"d{i}") for i in range(10)]
    ids = [s["id"] for batch in together(10, lambda i: [devices[i].create({"n": n}) for n in range(20)])
           for s in batch]
    lossy.redis_client().flushdb()
    together(10, lambda i: [devices[i].patch(id, add(f"d{i}", i)) for id in ids])
    wait_until(lambda: len(rebuilds.take()) == len(ids), what="200 rebuilds")
    assert all(told == {(2, 1)} for told in rebuilds.take().values())
    for n, id in enumerate(ids):
        assert devices[0].read(id)["data"] == {"n": n % 20, **{f"d{i}": i for i in range(10)}}



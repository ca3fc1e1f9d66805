"""What Redis lost, or holds and cannot be believed about, is put together again from PostgreSQL: once,
under a new epoch, and with what was asked for under each key (contract section 6; docs/decisions/0009)."""

import contextlib
import json
import os
import signal
import time
import uuid

import psycopg2
import pytest

from harness import MAX_WAIT, Servers, Suite, new_user, run_ids, together, wait_until
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


def test_events_that_are_on_their_way_are_waited_for(lossy, rebuilds):
    """Another engine may have saved and answered a moment before the loss."""
    phone = lossy.device(new_user(), "phone")
    session = phone.create({})
    recorded(lossy, session)
    lossy.redis_client().flushdb()
    began = time.monotonic()
    assert phone.patch(session["id"], add("a", 1)).status_code == 200
    assert time.monotonic() - began >= 0.5
    assert rebuilds.wait_for(session) == {(2, 1)}


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
    for key in client.keys("store:*:memory"):
        since, run = client.get(key).split()
        assert run.partition("/")[0] in run_ids(client)
        client.set(key, f"{int(since) - 24 * 3600 * 1000} {run}")
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
    if lossy.redis_client().exists(key(session, "state")):  # an engine that keeps the session would write it anew
        lossy.services["state_engine"].stop()
        lossy.restart("state_engine")
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




# ---- cold, and deleted ----

def let_go(suite, session, version):
    """What going cold leaves: no keys, and a mark in the row."""
    recorded(suite, session)
    connection = psycopg2.connect(suite.servers.postgresql.url)
    with connection, connection.cursor() as cursor:
        cursor.execute("update sessions set cold_epoch = 1, cold_version = %s where id = %s",
                       (version, session["id"]))
    connection.close()
    suite.redis_client().delete(*keys(suite, session))


def test_a_cold_session_is_loaded_in_the_same_epoch(lossy, rebuilds):
    phone = lossy.device(new_user(), "phone")
    session = phone.create({"a": 1})
    let_go(lossy, session, 1)
    with stopped(lossy.services["audit_writer"].process.pid):  # only the barrier shows that it is the last
        refused(phone.patch(session["id"], add("b", 2), baseVersion=1, timeout=MAX_WAIT), 503, "unavailable")
    answer = phone.patch(session["id"], add("b", 2), baseVersion=1, timeout=MAX_WAIT)
    assert position(answer.json()) == (1, 2)
    assert lossy.query("select cold_epoch from sessions where id = %s", session["id"]) == [(None,)]
    assert phone.read(session["id"])["data"] == {"a": 1, "b": 2}
    assert rebuilds.take() == {}


def test_a_mark_of_another_position_is_none(lossy, rebuilds):
    phone = lossy.device(new_user(), "phone")
    session = phone.create({"a": 1})
    session = {**session, **phone.patch(session["id"], add("b", 2)).json()}
    let_go(lossy, session, 1)
    assert position(phone.patch(session["id"], add("c", 3)).json()) == (2, 3)
    assert rebuilds.wait_for(session) == {(2, 2)}


def test_a_deleted_session_stays_deleted(lossy):
    phone = lossy.device(new_user(), "phone")
    session = phone.create({"a": 1})
    assert phone.delete(f"/sessions/{session['id']}").status_code == 204
    lossy.redis_client().flushdb()
    refused(phone.patch(session["id"], add("b", 2)), 404, "not_found")


def test_idle_is_a_minute_away_when_it_comes_back(lossy):
    """Who asks for a session wants to use it."""
    phone = lossy.device(new_user(), "phone")
    session = phone.create({"a": 1}, ttlSeconds=60)
    recorded(lossy, session)
    redis = lossy.redis_client()
    connection = psycopg2.connect(lossy.servers.postgresql.url)
    with connection, connection.cursor() as cursor:
        cursor.execute("update sessions set due_at = now() - interval '1 hour' where id = %s", (session["id"],))
    connection.close()
    redis.flushdb()
    assert phone.patch(session["id"], add("b", 2), baseVersion=1).status_code == 409
    touched = int(redis.hget(key(session, "meta"), "touchedAt"))
    seconds, micros = redis.time()
    assert touched + 60000 > seconds * 1000 + micros // 1000


# ---- outages beside the loss ----

@pytest.fixture
def frail(tmp_path):
    """A suite on servers of its own, which a test may stop, and whose files it may cut."""
    servers = Servers()
    suite = Suite(servers.start(), tmp_path)
    try:
        yield suite.start()
    finally:
        suite.stop()
        servers.stop()


@contextlib.contextmanager
def stopped(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def patched(device, session_id, name):
    """The answer once it is accepted."""
    def send():
        answer = device.patch(session_id, add(name, 1), headers={"Idempotency-Key": name}, timeout=MAX_WAIT)
        assert answer.status_code in (200, 503, 504), answer.text
        return answer.status_code == 200 and answer.json()
    return wait_until(send, timeout=40, what="an accepted patch")


def test_what_the_audit_trail_has_not_heard_of_is_not_not_found(lossy):
    """A session that PostgreSQL does not know yet, and Redis no more."""
    phone = lossy.device(new_user(), "phone")
    with stopped(lossy.services["audit_writer"].process.pid):
        session = phone.create({"a": 1})
        lossy.redis_client().delete(*keys(lossy, session))
        answers = together(4, lambda i: phone.patch(session["id"], add("b", 2), timeout=MAX_WAIT))
        assert {a.status_code for a in answers} == {503}, [a.text for a in answers]
        refused(phone.patch(session["id"], add("b", 2), timeout=MAX_WAIT), 503, "unavailable")
    assert position(patched(phone, session["id"], "b")) == (2, 2)
    assert phone.read(session["id"])["data"] == {"a": 1, "b": 1}


def test_an_unknown_session_is_not_found_only_when_everybody_says_so(lossy):
    phone = lossy.device(new_user(), "phone")
    id = str(uuid.uuid4())
    refused(phone.patch(id, add("b", 2)), 404, "not_found")
    with stopped(lossy.services["audit_writer"].process.pid):
        refused(phone.patch(id, add("b", 2), timeout=MAX_WAIT), 503, "unavailable")


def test_without_postgresql_the_lost_wait_and_the_rest_goes_on(frail):
    phone = frail.device(new_user(), "phone")
    lost, kept = phone.create({"a": 1}), phone.create({"a": 1})
    recorded(frail, lost)
    frail.redis_client().delete(*keys(frail, lost))
    postgresql = frail.servers.postgresql
    silent = frail.query("select pid from pg_stat_activity where application_name like 'handoff state_engine%%'")
    with stopped(postgresql.process.pid, *[pid for pid, in silent]):
        answers = together(8, lambda i: phone.patch((lost if i % 2 else kept)["id"], add(f"p{i}", 1),
                                                    timeout=MAX_WAIT))
        assert [a.status_code for a in answers] == [200, 503] * 4, [a.text for a in answers]
    postgresql.stop()
    refused(phone.patch(lost["id"], add("x", 1), timeout=MAX_WAIT), 503, "unavailable")
    postgresql.start()
    assert position(patched(phone, lost["id"], "y")) == (2, 2)
    assert phone.read(lost["id"])["data"] == {"a": 1, "y": 1}


def test_a_redis_that_lost_nothing_goes_on_in_the_same_epoch(frail):
    phone = frail.device(new_user(), "phone")
    sessions = [phone.create({"n": n}) for n in range(5)]
    frail.servers.redis.stop()
    frail.servers.redis.start()
    for session in sessions:
        assert position(patched(phone, session["id"], "a")) == (1, 2)
    assert not [r for r in frail.log_records("state_engine") if r["event"] == "session_rebuilt"]


def aof_of(node):
    return next(node.data.glob("*.incr.aof"))


def test_a_redis_that_is_back_in_time_is_found_and_rebuilt(frail):
    phone = frail.device(new_user(), "phone")
    behind, level, gone = phone.create({}), phone.create({}), phone.create({})
    patched(phone, behind["id"], "early")
    recorded(frail, {**behind, "version": 2})
    redis = frail.servers.redis
    sizes = [aof_of(node).stat().st_size for node in redis.nodes]
    late = patched(phone, behind["id"], "late")
    recorded(frail, {**behind, "version": late["version"]})
    assert phone.delete(f"/sessions/{gone['id']}").status_code == 204
    wait_until(lambda: frail.query("select 1 from sessions where id = %s and deleted_at is not null", gone["id"]),
               what="the deletion in PostgreSQL")
    redis.kill()
    for node, size in zip(redis.nodes, sizes):
        with open(aof_of(node), "r+b") as aof:  # what had not come to the disk when the power went
            aof.truncate(size)
    redis.start()
    again = patched(phone, behind["id"], "late")
    assert (again["version"], again["epoch"]) == (3, 1), "the answer is the one that was given"
    after = patched(phone, behind["id"], "after")
    assert position(after) == (2, 4)
    assert phone.read(behind["id"])["data"] == {"early": 1, "late": 1, "after": 1}
    assert position(patched(phone, level["id"], "a")) == (1, 2)
    refused(phone.patch(gone["id"], add("a", 1), timeout=MAX_WAIT), 404, "not_found")


def test_an_engine_that_dies_over_recoveries_leaves_them_to_another(lossy, rebuilds):
    user = new_user()
    devices = [lossy.device(user, f"d{i}") for i in range(5)]
    ids = [s["id"] for batch in together(5, lambda i: [devices[i].create({"n": n}) for n in range(8)])
           for s in batch]
    lossy.add_engine("state_engine_2")
    for id in ids:
        recorded(lossy, {"id": id, "epoch": 1, "version": 1})
    lossy.redis_client().flushdb()

    def work(i):
        if i == 5:
            wait_until(lambda: lossy.redis_client().keys("session:*:meta"), what="the first rebuild")
            lossy.kill("state_engine")
            return
        for id in ids:
            patched(devices[i], id, f"d{i}")

    together(6, work)
    for n, id in enumerate(ids):
        session = devices[0].read(id)
        assert session["data"] == {"n": n % 8, **{f"d{i}": 1 for i in range(5)}}
        assert position(session) == (2, 6)
    wait_until(lambda: len(rebuilds.take()) == len(ids), what="every rebuild, published by whichever engine")
    assert all(told == {(2, 1)} for told in rebuilds.take().values())
    lossy.restart("state_engine")

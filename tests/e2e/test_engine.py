"""A state_engine alone, between the broker and Redis: what it does with commands that come again, with
messages that are none, and while a server is away (contract sections 5 and 6)."""

import json
import random
import signal
import time

import psycopg2

from engine import add, continue_process, get, new_session_id, stop_process
from harness import metric, wait_until


def code(reply):
    return reply["error"]["code"] if "error" in reply else None


# ---- messages ----

def test_each_message_is_answered_under_its_correlation_id(world):
    world.engine()
    backend = world.connect()
    session_id = backend.create()
    sent = {f"call-{i}": backend.send(backend.patch(session_id), correlation_id=f"call-{i}")
            for i in range(40)}
    backend.take([i for ids in sent.values() for i in ids])
    for correlation_id, ids in backend.messages[1:]:
        assert ids == sent[correlation_id]


def test_malformed_messages_are_set_aside_with_the_reason(world):
    world.engine()
    backend = world.connect()
    good = backend.command("load", new_session_id())
    bodies = [b"", b"{", b"[]", b'"x"', b'{"commands":[]}', b'{"commands":[{}]}', b'{"commands":{}}',
              b"\xff", b"[" * 5000,
              json.dumps({"commands": [{**good, "kind": "explode"}]}).encode(),
              json.dumps({"commands": [{**good, "id": "x"}]}).encode(),
              json.dumps({"commands": [{**good, "userId": None}]}).encode(),
              json.dumps({"commands": [good, {**good, "deadline": "soon"}]}).encode(),
              json.dumps({"commands": [good] * 65}).encode()]
    for body in bodies:
        backend.publish(body)
        dead, reason = backend.dead()
        assert dead == body
        assert reason
    assert code(backend.ask("load", new_session_id())) == "not_found"
    assert list(backend.replies) != [good["id"]], "nothing of a malformed message is begun"
    assert good["id"] not in backend.replies


def test_a_message_that_is_too_large_is_set_aside_and_says_so(world):
    world.engine()
    backend = world.connect()
    backend.publish(b" " * (17 << 20))
    assert "too large" in backend.dead()[1]


def test_answers_go_to_direct_reply_to_only(world):
    world.engine()
    backend = world.connect()
    session_id = backend.create()
    backend.channel.queue_declare("mine", exclusive=True)
    backend.send(backend.patch(session_id), reply_to="mine")
    assert "amq.rabbitmq.reply-to" in backend.dead()[1]
    assert world.version(session_id) == 1
    assert backend.channel.queue_declare("mine", exclusive=True).method.message_count == 0


def test_a_command_without_reply_to_takes_effect(world):
    world.engine()
    backend = world.connect()
    session_id = backend.create()
    backend.send(backend.patch(session_id), reply_to=None)
    wait_until(lambda: world.version(session_id) == 2, what="version 2")


def test_many_large_sessions_are_all_answered(world):
    world.engine()
    backend = world.connect()
    sessions = [backend.create({"text": "x" * 480_000}) for _ in range(40)]
    replies = backend.take(backend.send(*(backend.command("status", s, status="paused") for s in sessions)))
    assert [code(r) for r in replies] == [None] * 40


# ---- keys of creates ----

def create(backend, key, **members):
    members = {"name": "n", "type": "t", "status": "active", "data": {}, **members}
    return backend.ask("create", new_session_id(), key=key, **members)


def test_a_refused_create_leaves_its_key_free(world):
    world.engine()
    backend = world.connect()
    assert code(create(backend, "k", data="x" * 600_000)) == "state_too_large"
    accepted = create(backend, "k", name="smaller")
    assert code(accepted) is None and not accepted.get("replayed")
    again = create(backend, "k", name="smaller")
    assert again["replayed"] is True and again["sessionId"] == accepted["sessionId"]
    assert code(create(backend, "k", name="other")) == "idempotency_key_reused"


def test_a_create_that_the_session_forgot_is_known_by_its_claim(world):
    world.engine()
    backend = world.connect()
    first = create(backend, "k")
    session = f"session:{{{first['sessionId']}}}"
    world.redis.delete(f"{session}:idem", f"{session}:idem_order")
    assert create(backend, "k")["replayed"] is True
    assert code(create(backend, "k", name="other")) == "idempotency_key_reused"


# ---- what comes again ----

def test_the_same_message_twice_in_one_batch_takes_effect_once(world):
    world.kill(world.engine())
    backend = world.connect()
    session_id = new_session_id()
    create_command = backend.command("create", session_id, name="n", type="t", status="active", data={})
    patch = backend.patch(session_id, "/data/-", 1)
    patch["operations"] = add("/data/a", 1)
    bodies = [json.dumps({"commands": [c]}) for c in (create_command, patch, create_command, patch)]
    backend.leave_redelivered(*bodies)
    world.engine()
    backend.wait(lambda: len(backend.replies.get(patch["id"], [])) == 2, "both answered")
    backend.wait(lambda: len(backend.replies.get(create_command["id"], [])) == 2, "both answered")
    assert world.version(session_id) == 2
    assert [r["version"] for r in backend.replies[patch["id"]]] == [2, 2]
    assert [r["version"] for r in backend.replies[create_command["id"]]] == [1, 1]


def sent(backend):
    return {"sentAt": backend.now()}


def test_what_another_engine_did_meanwhile_is_not_done_again(world):
    """An engine was stopped over commands that came to it for the first time. The broker has long given them to
    another when it goes on, and it does not know."""
    relay = world.relay()
    zombie, other = world.engine(relay=relay), world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id, n, n_new = backend.create({"list": []}), 40, 10
    created = [new_session_id() for _ in range(n_new)]
    backend.take(backend.send(backend.patch(session_id, "/data/first", 1)))
    before = metric(zombie, "handoff_commands_total"), metric(other, "handoff_commands_total")
    stop_process(zombie.process.pid)
    ids = [i for k in range(n) for i in
           backend.send(backend.patch(session_id, "/data/list/-", k, **(sent(backend) if k % 4 > 1 else {})))]
    ids += [i for s in created for i in
            backend.send(backend.command("create", s, name="n", type="t", status="active", data={}))]
    wait_until(lambda: metric(other, "handoff_commands_total") - before[1] == len(ids) / 2, what="its half is done")
    relay.lose("consume")
    backend.take(ids)
    assert code(backend.take(backend.send(backend.patch(session_id, "/data/last", 1)))[0]) is None
    continue_process(zombie.process.pid)
    wait_until(lambda: metric(zombie, "handoff_commands_total") - before[0] >= len(ids) / 2, what="done again")
    # One of the zombie's own does not hide what the other one did before it.
    backend.take(backend.send(backend.patch(session_id, "/data/end", 1)))
    assert sorted(world.data(session_id)["list"]) == list(range(n))
    assert world.version(session_id) == n + 4
    for i in ids:
        assert {code(r) for r in backend.replies[i]} == {None}
        assert len({r["version"] for r in backend.replies[i]}) == 1
    subscriber.wait_for(session_id, n + 4)


def test_the_fifth_redelivery_goes_to_the_dead_letters(world):
    engine = world.engine()
    backend = world.connect()
    session_id = backend.create()
    engine.stop()
    fourth, fifth = backend.patch(session_id, "/data/fourth"), backend.patch(session_id, "/data/fifth")
    world.redis.set(f"session:{{{session_id}}}:tries:{fourth['id']}", 3, ex=60)
    world.redis.set(f"session:{{{session_id}}}:tries:{fifth['id']}", 4, ex=60)
    body = json.dumps({"commands": [fifth, backend.patch(session_id)]})
    backend.leave_redelivered(json.dumps({"commands": [fourth]}), body)
    world.engine()
    assert code(backend.take([fourth["id"]])[0]) is None
    dead, reason = backend.dead()
    assert dead == body.encode() and "again" in reason
    assert world.data(session_id) == {"fourth": 0}
    assert fifth["id"] not in backend.replies
    assert code(backend.ask("heartbeat", session_id)) is None


def test_killed_engines_lose_nothing_and_double_nothing(world):
    engines = [world.engine(), world.engine()]
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"list": []})
    randomness, n_rounds, n_each = random.Random(4), 30, 5
    for n in range(n_rounds):
        ids = [i for k in range(n_each) for i in
               backend.send(backend.patch(session_id, "/data/list/-", n * n_each + k, seconds=60))]
        time.sleep(randomness.uniform(0, 0.008))
        world.kill(engines[n % 2])
        engines[n % 2] = world.engine(ready=False)
        assert {code(r) for r in backend.take(ids)} == {None}
    n = n_rounds * n_each
    assert sorted(world.data(session_id)["list"]) == list(range(n))
    assert world.version(session_id) == n + 1
    subscriber.wait_for(session_id, n + 1)
    world.wait_marked(session_id)
    for engine in engines:
        world.wait_ready(engine)


# ---- what was saved and not published ----

def test_what_a_killed_engine_saved_is_published_by_another(world):
    relay = world.relay()
    engine = world.engine(relay=relay, HANDOFF_SNAPSHOT_EVERY="2")
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"a": 1})
    subscriber.wait_for(session_id, 1)
    relay.hold("publish")
    # Expired when the engine dies, so that no redelivery brings them back.
    backend.send(*(backend.patch(session_id, "/data/a", n) for n in range(3)), expiration="1")
    backend.send(backend.command("status", session_id, status="paused"), expiration="1")
    wait_until(lambda: world.version(session_id) == 5, what="all saved")
    world.kill(engine)
    relay.cut()
    kinds = len(subscriber.got)
    world.engine()
    subscriber.wait_for(session_id, 5)
    world.wait_marked(session_id)
    subscriber.wait(lambda: [t for _, t, _ in subscriber.got[kinds:]].count("snapshot") >= 2, "snapshots")
    wait_until(lambda: world.redis.exists(f"session:{{{session_id}}}:snapshot:5"), what="a snapshot")


def test_what_is_published_again_is_the_same_to_the_byte(world):
    world.engine(HANDOFF_SNAPSHOT_EVERY="1")
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"a": [1.5, "ü"]})
    backend.take(backend.send(*(backend.patch(session_id, "/data/a/-", n) for n in range(3)),
                              backend.command("status", session_id, status="paused"),
                              backend.command("status", session_id, status="active", deviceId="laptop")))
    world.wait_marked(session_id)
    subscriber.wait_for(session_id, 6)
    subscriber.wait(lambda: len(subscriber.got) == 12, "six versions, five snapshots, a device")
    world.redis.hset(f"session:{{{session_id}}}:meta", "published", 0)
    subscriber.wait(lambda: len(subscriber.got) == 24, "all of it again")
    first, again = sorted(subscriber.got[:12]), sorted(subscriber.got[12:])
    assert first == again
    world.wait_marked(session_id)


def test_a_deleted_session_is_published_too(world):
    relay = world.relay()
    engine = world.engine(relay=relay)
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create()
    relay.hold("publish")
    backend.send(backend.patch(session_id), backend.command("delete", session_id), expiration="1")
    wait_until(lambda: world.meta(session_id).get("deleted") == "1", what="deleted")
    world.kill(engine)
    relay.cut()
    world.engine()
    subscriber.wait_for(session_id, 3)
    world.wait_marked(session_id)


def test_a_lost_publishing_connection_publishes_again(world):
    relay = world.relay()
    engine = world.engine(relay=relay)
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create()
    for n in range(5):
        world.wait_ready(engine)
        relay.hold("publish")
        backend.send(backend.patch(session_id, "/data/a", n))
        wait_until(lambda: world.version(session_id) == n + 2, what="saved")
        relay.cut("publish")
        relay.release()
    subscriber.wait_for(session_id, 6)
    world.wait_marked(session_id)


def test_a_lost_consuming_connection_answers_each_refusal_once(world):
    """A refusal that waits for its message's confirms is void when the message comes again."""
    relay = world.relay()
    engine = world.engine(relay=relay)
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create()
    relay.hold("publish")
    accepted, refused = backend.send(backend.patch(session_id),
                                     backend.patch(session_id, baseVersion=7))
    wait_until(lambda: world.version(session_id) == 2, what="saved")
    relay.cut("consume")
    # Create, both, and both again.
    wait_until(lambda: metric(engine, "handoff_commands_total") >= 5, what="judged again")
    relay.release()
    backend.take([accepted, refused])
    subscriber.wait_for(session_id, 2)
    world.wait_marked(session_id)
    backend.ask("load", session_id)
    assert world.version(session_id) == 2
    assert {code(r) for r in backend.replies[accepted]} == {None}
    assert [code(r) for r in backend.replies[refused]] == ["version_conflict"]


def test_a_queue_that_refuses_does_not_keep_the_engine_busy(world):
    engine = world.engine()
    backend = world.connect()
    full, other = backend.create(), backend.create()
    backend.channel.queue_declare("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    backend.channel.basic_publish("", "full", b"")
    backend.channel.queue_bind("full", "session_updates", f"session.{full}.*")
    try:
        assert code(backend.ask("heartbeat", other)) is None
        before = metric(engine, "handoff_published_total")
        assert code(backend.take(backend.send(backend.patch(full)))[0]) is None
        for _ in range(20):
            assert code(backend.take(backend.send(backend.patch(other)))[0]) is None
        time.sleep(1.5)
        assert metric(engine, "handoff_published_total") - before < 100
        assert world.meta(full)["published"] == "1"
    finally:
        backend.channel.queue_delete("full")
    world.wait_marked(full)
    world.wait_marked(other)


# ---- Redis ----

def test_commands_while_redis_is_stopped_are_answered_and_never_doubled(world):
    engine = world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"list": []})
    world.servers.redis.signal(signal.SIGSTOP)
    try:
        sent = {i: n for n in range(50)
                for i in backend.send(backend.patch(session_id, "/data/list/-", n, seconds=4))}
        start = time.monotonic()
        while time.monotonic() < start + 3:
            backend.connection.process_data_events(0.05)
    finally:
        world.servers.redis.signal(signal.SIGCONT)
    replies = dict(zip(sent, backend.take(list(sent))))
    assert {code(r) for r in replies.values()} <= {None, "unavailable", "timeout"}
    later = backend.take(backend.send(backend.patch(session_id, "/data/list/-", -1)))[0]
    assert code(later) is None
    found = world.data(session_id)["list"]
    assert len(found) == len(set(found))
    for i, n in sent.items():
        if code(replies[i]) is None:
            assert n in found
        elif code(replies[i]) == "unavailable":
            assert n not in found
    subscriber.wait_for(session_id, later["version"])
    world.wait_ready(engine)


def test_redelivered_commands_do_not_stop_the_loop_while_redis_is_stopped(world):
    engine = world.engine()
    backend = world.connect()
    session_id = backend.create({"list": []})
    engine.stop()
    commands = [backend.patch(session_id, "/data/list/-", n, seconds=60) for n in range(20)]
    backend.leave_redelivered(*(json.dumps({"commands": [c]}) for c in commands))
    world.servers.redis.signal(signal.SIGSTOP)
    try:
        engine = world.engine(ready=False)
        wait_until(lambda: health(engine), what="started")
        for _ in range(8):
            assert get(engine, "/health", timeout=10)
            time.sleep(0.2)
    finally:
        world.servers.redis.signal(signal.SIGCONT)
    backend.take([c["id"] for c in commands])
    assert sorted(world.data(session_id)["list"]) == list(range(20))
    world.wait_ready(engine)


def health(engine):
    try:
        return get(engine, "/health", timeout=10)
    except OSError:
        return None


def test_a_full_redis_refuses_writes_and_the_engine_goes_on(world):
    engine = world.engine()
    backend = world.connect()
    session_id = backend.create()
    world.redis.config_set("maxmemory", "1mb")
    try:
        assert code(create(backend, "k")) == "unavailable"
        assert code(backend.take(backend.send(backend.patch(session_id)))[0]) == "unavailable"
        assert code(backend.ask("load", session_id)) is None
        time.sleep(2.5)
        assert get(engine, "/health")
    finally:
        world.redis.config_set("maxmemory", "0")
    assert code(create(backend, "k")) is None
    assert code(backend.take(backend.send(backend.patch(session_id)))[0]) is None
    world.wait_marked(session_id)
    world.wait_ready(engine)


def test_scripts_that_redis_forgot_are_loaded_again(world):
    world.engine()
    backend = world.connect()
    session_id = backend.create()
    world.redis.script_flush()
    ids = backend.send(*(backend.patch(session_id, "/data/a", n) for n in range(3)))
    assert [r["version"] for r in backend.take(ids)] == [2, 3, 4]
    world.redis.script_flush()
    assert code(create(backend, "k")) is None


# ---- PostgreSQL ----

def backends_of_the_engine(world):
    connection = psycopg2.connect(world.servers.postgresql.url)
    cursor = connection.cursor()
    cursor.execute("select pid from pg_stat_activity where application_name = 'handoff state_engine'")
    pids = [pid for pid, in cursor.fetchall()]
    connection.close()
    return pids


def test_a_silent_postgresql_stops_nobody_who_needs_it_not(world):
    world.engine()
    backend = world.connect()
    session_id = backend.create()
    pids = backends_of_the_engine(world)
    for pid in pids:
        stop_process(pid)
    try:
        strangers = [i for _ in range(140) for i in
                     backend.send(backend.command("load", new_session_id(), seconds=60))]
        hot = backend.send(backend.patch(session_id, seconds=60))
        # Before any of PostgreSQL's own time limits.
        assert code(backend.take(hot)[0]) is None
        assert {code(r) for r in backend.take(strangers)} == {"unavailable"}
    finally:
        for pid in pids:
            continue_process(pid)


# ---- drain ----

def test_a_drained_engine_leaves_nothing_half_done(world):
    first = world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"list": []})
    ids = [i for n in range(100) for i in backend.send(backend.patch(session_id, "/data/list/-", n))]
    first.process.send_signal(signal.SIGTERM)
    ids += [i for n in range(100, 200) for i in
            backend.send(backend.patch(session_id, "/data/list/-", n))]
    assert first.process.wait(15) == 0
    world.engine()
    assert {code(r) for r in backend.take(ids)} == {None}
    assert sorted(world.data(session_id)["list"]) == list(range(200))
    subscriber.wait_for(session_id, 201)
    world.wait_marked(session_id)


def test_an_engine_that_cannot_publish_still_ends(world):
    relay = world.relay()
    engine = world.engine(relay=relay, HANDOFF_DRAIN_TIMEOUT="1s")
    backend = world.connect()
    session_id = backend.create()
    relay.hold("publish")
    backend.send(backend.patch(session_id), backend.patch(session_id, baseVersion=9))
    wait_until(lambda: world.version(session_id) == 2, what="saved")
    engine.stop()
    assert engine.process.returncode == 0


def test_an_engine_that_never_reached_the_broker_ends(world):
    relay = world.relay()
    relay.hold("")  # all of it: the broker takes connections and stays silent
    engine = world.engine(ready=False, relay=relay)
    wait_until(lambda: len(relay.links) >= 3, what="its three connections")
    engine.stop()
    assert engine.process.returncode == 0


# ---- what others read in events ----

def test_a_name_that_was_moved_there_is_told(world):
    world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"title": "Evening", "rest": 1})
    reply = backend.ask("patch", session_id,
                        operations=[{"op": "move", "from": "/data/title", "path": "/name"}])
    assert code(reply) is None
    subscriber.wait_for(session_id, 2)
    body = json.loads(next(iter(subscriber.versions(session_id)[2])))
    assert body["operations"] == [{"op": "remove", "path": "/data/title"},
                                  {"op": "replace", "path": "/name", "value": "Evening"}]
    assert world.meta(session_id)["name"] == "Evening"

    def row():
        with psycopg2.connect(world.servers.postgresql.url) as connection:
            cursor = connection.cursor()
            cursor.execute("select name from sessions where id = %s", (session_id,))
            return cursor.fetchone() == ("Evening",)
    wait_until(row, what="the row's name")


def test_a_heartbeat_may_ask_for_the_session(world):
    world.engine()
    backend = world.connect()
    session_id = backend.create({"a": 1})
    assert backend.ask("heartbeat", session_id, wantsSession=True)["session"]["data"] == {"a": 1}
    conflict = backend.ask("heartbeat", session_id, ifMatch=[{"version": 9, "epoch": 1}])["error"]["conflict"]
    assert conflict["session"]["data"] == {"a": 1}

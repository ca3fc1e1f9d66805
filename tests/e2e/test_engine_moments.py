"""What must hold between two steps of a command, of a dead letter and of a rebuild: a relay before the broker or
before Redis holds the engine, or ends its connection, at just that step (contract sections 5 and 6). Each of these
moments is also broken on purpose (tests/mutants)."""

import contextlib
import os
import signal
import socket
import threading

import psycopg2
import pytest

from engine import COMMANDS, new_session_id
from harness import MAX_WAIT, metric, wait_until
from window import packed_id


def code(reply):
    return reply["error"]["code"] if "error" in reply else None


def recorded(world, session_id, version):
    def is_there():
        with psycopg2.connect(world.servers.postgresql.url) as connection:
            cursor = connection.cursor()
            cursor.execute("select 1 from sessions where id = %s and version = %s", (session_id, version))
            return cursor.fetchone()
    wait_until(is_there, what="the audit trail to catch up")


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class RedisRelay:
    """Passes bytes between an engine and Redis, until one of `needles` goes by: then `step` is given what it was in,
    and no answer comes before it is done."""

    def __init__(self, port):
        self.target, self.needles, self.step, self.is_there = port, [], None, threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, url):
        return url.replace(f":{self.target}", f":{self.listener.getsockname()[1]}")

    def wait_for(self, needles, step):
        self.needles, self.step = [needle.encode() for needle in needles], step

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.target))
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source, target, is_asked):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                if is_asked and any(needle in data for needle in self.needles):
                    self.needles = []
                    self.is_there.set()
                    self.may_answer.clear()
                    self.step(source, target, data)
                    self.may_answer.set()
                    continue
                if not is_asked:
                    self.may_answer.wait(MAX_WAIT)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()


@pytest.fixture
def redis_relay(world):
    relay = RedisRelay(world.servers.redis.port)
    yield relay
    relay.close()


# ---- taken, and saved ----

def test_a_command_in_hand_comes_again_when_its_engine_dies(world, audit_pid):
    engine = world.engine()
    backend = world.connect()
    session_id = backend.create()
    recorded(world, session_id, 1)
    world.redis.flushall()
    with stopped(audit_pid):  # the command waits for its session's recovery
        patch = backend.send(backend.patch(session_id, seconds=60))[0]
        wait_until(lambda: metric(engine, "handoff_recoveries") == 1, what="the recovery")
        world.kill(engine)
    world.engine()
    assert code(backend.take([patch])[0]) is None
    assert world.version(session_id) == 2


def test_a_message_stays_until_its_events_are_confirmed(world):
    relay = world.relay()
    engine = world.engine(relay=relay)
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"list": []})
    world.wait_marked(session_id)  # then its own message is gone
    relay.hold("publish")
    patch = backend.send(backend.patch(session_id, "/data/list/-", 1, seconds=60))[0]
    # Create and patch: whatever the engine does with the message it has done.
    wait_until(lambda: metric(engine, "handoff_commands_total") == 2, what="saved")
    world.kill(engine)
    wait_until(lambda: backend.channel.queue_declare(COMMANDS, passive=True).method.message_count == 1,
               what="the message again")
    relay.cut()
    world.engine()
    assert backend.take([patch])[0]["version"] == 2
    subscriber.wait_for(session_id, 2)
    world.wait_marked(session_id)
    assert world.data(session_id) == {"list": [1]}


@pytest.mark.parametrize("is_made", [True, False], ids=["it was made", "it was not made"])
def test_a_save_of_unknown_outcome_takes_effect_once(world, redis_relay, is_made):
    """The connection ends with the save under way. Sent after the session's last save by another engine, the command is
    looked for only for what this one may have done."""
    world.engine(HANDOFF_REDIS_URL=redis_relay.url(world.servers.redis.url))
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"list": []})
    wait_until(lambda: backend.now() > int(world.meta(session_id)["saverSince"]), what="the next millisecond")
    patch = backend.patch(session_id, "/data/list/-", 1, sentAt=backend.now())

    def cut(client, server, data):
        if is_made:
            server.sendall(data)
            wait_until(lambda: world.version(session_id) == 2, what="saved")
        for end in (client, server):
            end.shutdown(socket.SHUT_RDWR)

    redis_relay.wait_for([packed_id(patch["id"])], cut)
    reply = backend.take(backend.send(patch))[0]
    assert redis_relay.is_there.is_set()
    assert (code(reply), reply.get("version")) == (None, 2)
    assert world.data(session_id) == {"list": [1]}
    subscriber.wait_for(session_id, 2)
    world.wait_marked(session_id)


def test_a_save_that_lost_its_race_is_made_again(world, redis_relay):
    """One engine's save is held until another one's is made: of the commands that come meanwhile the other has its
    share, and the first one's session was loaded before."""
    world.engine(HANDOFF_REDIS_URL=redis_relay.url(world.servers.redis.url))
    world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"list": []})
    patches = [backend.patch(session_id, "/data/list/-", n) for n in range(16)]
    is_held = threading.Event()

    def hold(_client, server, data):
        held_at = world.version(session_id)
        is_held.set()
        wait_until(lambda: world.version(session_id) > held_at, what="the other engine's save")
        server.sendall(data)

    redis_relay.wait_for([packed_id(patch["id"]) for patch in patches[:8]], hold)
    ids = [id for patch in patches[:8] for id in backend.send(patch)]
    assert is_held.wait(MAX_WAIT)
    ids += [id for patch in patches[8:] for id in backend.send(patch)]
    replies = backend.take(ids)
    assert sorted(reply["version"] for reply in replies) == list(range(2, 18))
    assert sorted(world.data(session_id)["list"]) == list(range(16))
    subscriber.wait_for(session_id, 17)


def test_a_command_is_not_begun_after_its_deadline(world):
    world.engine()
    backend = world.connect()
    session_id = backend.create()
    late = backend.patch(session_id, seconds=-1)
    assert code(backend.take(backend.send(late))[0]) == "unavailable"
    assert world.version(session_id) == 1


def test_a_key_takes_effect_once_in_one_batch_and_after_it(world):
    world.engine()
    backend = world.connect()
    session_id = backend.create({"list": []})
    patches = [backend.patch(session_id, "/data/list/-", 1, key="k") for _ in range(3)]
    first, second = backend.take(backend.send(*patches[:2]))
    third = backend.take(backend.send(patches[2]))[0]
    assert [r["version"] for r in (first, second, third)] == [2, 2, 2]
    assert [r.get("replayed", False) for r in (first, second, third)] == [False, True, True]
    assert world.data(session_id) == {"list": [1]}


# ---- dead letters ----

def test_a_dead_letter_is_confirmed_before_its_message_goes(world):
    relay = world.relay()
    engine = world.engine(relay=relay)
    backend = world.connect()
    relay.hold("publish")
    backend.publish(b"junk")
    wait_until(lambda: metric(engine, "handoff_dead_letters_total") == 1, what="set aside")
    world.kill(engine)
    relay.cut()
    world.engine()
    assert backend.dead()[0] == b"junk"


# ---- losses ----

def test_a_create_after_a_loss_is_the_one_that_was(world):
    world.engine()
    backend = world.connect()

    def create():
        return backend.ask("create", new_session_id(), key="k", name="n", type="t", status="active", data={})

    first = create()
    recorded(world, first["sessionId"], 1)
    world.redis.flushall()
    again = create()
    assert (again["sessionId"], again["replayed"]) == (first["sessionId"], True)


def test_a_rebuild_is_published_by_another_engine(world, audit_pid):
    """The engine dies when it has written the session, and has told nobody."""
    relay = world.relay()
    engine = world.engine(relay=relay)
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"a": 1})
    recorded(world, session_id, 1)
    subscriber.wait_for(session_id, 1)
    world.redis.flushall()
    relay.watch(b"barrier", holds_after=True)
    backend.send(backend.command("load", session_id, seconds=60))
    wait_until(lambda: world.meta(session_id).get("version") == "1", what="the session written")
    world.kill(engine)
    relay.cut()
    assert (world.meta(session_id)["epoch"], world.meta(session_id)["published"]) == ("2", "0")
    world.engine()

    def rebuilds():
        return {message_id for message_id, type, _ in subscriber.got if type == "session_rebuilt"}

    subscriber.wait(lambda: len(rebuilds()) == 1, "session_rebuilt")
    world.wait_marked(session_id)


def test_who_asks_while_a_barrier_is_under_way_waits_for_the_next(world, audit_pid):
    """What was confirmed since it was sent, it says nothing of."""
    relay = world.relay()
    engine = world.engine(relay=relay)
    backend = world.connect()
    passed = 'handoff_barriers_total{outcome="passed"}'
    relay.watch(b"barrier")
    with stopped(audit_pid):
        first = backend.send(backend.command("load", new_session_id()))
        assert relay.passed.wait(MAX_WAIT), "no barrier"
        second = backend.send(backend.command("load", new_session_id()))
        wait_until(lambda: metric(engine, "handoff_recoveries") == 2, what="the second recovery")
        wait_until(lambda: backend_questions(world) == 0, timeout=MAX_WAIT, what="PostgreSQL asked for both")
    assert {code(r) for r in backend.take(first + second)} == {"not_found"}
    assert metric(engine, passed) == 2


def backend_questions(world):
    """Statements of the engine that PostgreSQL works on."""
    with psycopg2.connect(world.servers.postgresql.url) as connection:
        cursor = connection.cursor()
        cursor.execute("select count(*) from pg_stat_activity where application_name like 'handoff state_engine%' "
                       "and state <> 'idle'")
        return cursor.fetchone()[0]

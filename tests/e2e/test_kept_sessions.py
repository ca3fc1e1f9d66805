"""What an engine keeps of a session is never believed when it is out of date (docs/decisions/0014): whoever changed the
session between two commands, and however, the answers are those of an engine that keeps nothing."""

import random

import pytest
import redis

from engine import add
from harness import metric, new_user, query, wait_until

HITS, MISSES = "handoff_session_cache_hits_total", "handoff_session_cache_misses_total"


def code(reply):
    return reply["error"]["code"] if "error" in reply else None


def ask(backend, kind, session_id, **members):
    """As the services send it: with the moment when it was sent."""
    return backend.ask(kind, session_id, sentAt=backend.now(), **members)


def patch(backend, session_id, path="/data/a", value=1, **members):
    return ask(backend, "patch", session_id, operations=add(path, value), **members)


def recorded(world, session_id, version):
    wait_until(lambda: query(world.servers, "select 1 from sessions where id = %s and version = %s", session_id, version),
               what="the audit trail to catch up")


def in_later_ms(backend, moment):
    """What was sent in the moment of the engine's own version is looked for, and so loaded."""
    wait_until(lambda: backend.now() > moment + 1, what="the next moment")


def test_the_usual_changes_need_no_load(world):
    engine = world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"list": []})
    in_later_ms(backend, backend.now() + 5)
    before = int(world.redis.info("commandstats")["cmdstat_hgetall"]["calls"])
    for k in range(20):
        reply = patch(backend, session_id, "/data/list/-", k, **({"key": f"key {k}"} if k % 2 else {}))
        assert (code(reply), reply["version"], reply["epoch"]) == (None, k + 2, 1)
    assert metric(engine, HITS) == 20 and metric(engine, MISSES) == 0
    assert int(world.redis.info("commandstats")["cmdstat_hgetall"]["calls"]) - before < 10  # looks, not loads
    assert world.data(session_id) == {"list": list(range(20))}
    subscriber.wait_for(session_id, 21)


def test_an_engine_that_keeps_nothing_loads(world):
    engine = world.engine(HANDOFF_MAX_KEPT_BYTES="0")
    backend = world.connect()
    session_id = backend.create()
    for k in range(5):
        assert patch(backend, session_id)["version"] == k + 2
    assert metric(engine, HITS) == 0


def test_what_is_refused_is_judged_on_what_redis_has(world):
    """Each is as right as the other engine's last change, of which this one has not heard."""
    world.engine()
    backend = world.connect()
    owner = backend.user
    session_id = backend.create({"n": 0})
    in_later_ms(backend, backend.now() + 5)
    assert patch(backend, session_id, "/data/n", 1)["version"] == 2
    conflict = patch(backend, session_id, "/data/n", 5, baseVersion=1)
    assert code(conflict) == "version_conflict"
    assert [e["version"] for e in conflict["error"]["conflict"]["deltas"]] == [2]
    assert code(patch(backend, session_id, "/data/n", 5, baseVersion=9)) == "version_conflict"
    assert code(patch(backend, session_id, "/status", "paused")) == "path_not_writable"
    assert code(ask(backend, "patch", session_id, operations=[{"op": "test", "path": "/data/n", "value": 7}])) == \
        "patch_failed"
    nothing = ask(backend, "patch", session_id, operations=[{"op": "test", "path": "/data/n", "value": 1}])
    assert (code(nothing), nothing["version"]) == (None, 2)
    backend.user = new_user()
    assert code(patch(backend, session_id)) == "not_found"
    backend.user = owner
    assert patch(backend, session_id, "/data/n", 2, baseVersion=2)["version"] == 3


def test_commands_of_one_message_stay_in_order_behind_a_refused_one(world):
    """The refused one is loaded for; what follows it of the session waits for it."""
    engine = world.engine()
    backend = world.connect()
    session_id = backend.create({"list": []})
    in_later_ms(backend, backend.now() + 5)
    patch(backend, session_id, "/data/first", 1)
    sent = {"sentAt": backend.now()}
    values = [backend.patch(session_id, "/data/list/-", k, **sent) for k in range(6)]
    bad = backend.command("patch", session_id, operations=[{"op": "remove", "path": "/data/absent"}], **sent)
    both = backend.command("patch", session_id, operations=[{"op": "remove", "path": "/data/list/3"}], **sent)
    replies = backend.take(backend.send(*values[:2], bad, *values[2:4], both, *values[4:]))
    assert [code(r) for r in replies] == [None, None, "patch_failed", None, None, None, None, None]
    assert [r.get("version") for r in replies] == [3, 4, None, 5, 6, 7, 8, 9]
    assert world.data(session_id)["list"] == [0, 1, 2, 4, 5]
    assert metric(engine, "handoff_lost_races_total") == 0


def test_a_key_that_was_used_is_found_though_the_session_is_kept(world):
    """At both engines, one after the other, and twice in one message."""
    world.engine(), world.engine()
    backend = world.connect()
    session_id = backend.create({"list": []})
    in_later_ms(backend, backend.now() + 5)
    for k in range(8):
        first = patch(backend, session_id, "/data/list/-", k, key=f"key {k}")
        assert (code(first), first["version"]) == (None, k + 2)
        for _ in range(3):
            again = patch(backend, session_id, "/data/list/-", k, key=f"key {k}")
            assert (again["version"], again["checksum"], again.get("replayed")) == (k + 2, first["checksum"], True)
        assert code(patch(backend, session_id, "/data/list/-", "x", key=f"key {k}")) == "idempotency_key_reused"
        # Keys are looked up before the base is judged.
        assert code(patch(backend, session_id, "/data/list/-", "x", key=f"key {k}", baseVersion=1)) == \
            "idempotency_key_reused"
    sent = {"sentAt": backend.now(), "key": "twice"}
    replies = backend.take(backend.send(*[backend.patch(session_id, "/data/list/-", 8, **sent) for _ in range(2)]))
    assert [r["version"] for r in replies] == [10, 10] and replies[1]["replayed"]
    assert world.data(session_id) == {"list": list(range(9))}


class Model:
    """What the session is, as one who did every command in order knows it."""

    def __init__(self, backend, session_id, rng):
        self.backend, self.session_id, self.rng = backend, session_id, rng
        self.owner, self.friend = backend.user, new_user()
        self.version, self.count, self.is_paused, self.role = 1, 0, False, None
        self.keys = {}

    def ask(self, kind, **members):
        return ask(self.backend, kind, self.session_id, **members)

    def expect(self, reply, changes=True):
        self.version += changes
        assert (code(reply), reply["version"]) == (None, self.version), reply

    def patch(self):
        self.count += 1
        base = self.rng.choice([{}, {"baseVersion": self.version}, {"ifMatch": [{"version": self.version, "epoch": 1}]}])
        key = self.rng.choice([{}, {"key": f"key {self.count}"}])
        self.expect(self.ask("patch", operations=add("/data/n", self.count), **key, **base))
        if key:
            self.keys[key["key"]] = (self.count, base, self.version)

    def repeat(self):
        if self.keys:
            key = self.rng.choice(list(self.keys))
            count, base, version = self.keys[key]
            reply = self.ask("patch", operations=add("/data/n", count), key=key, **base)
            assert (code(reply), reply["version"], reply["replayed"]) == (None, version, True)

    def conflict(self):
        if self.version == 1:
            return
        behind = self.rng.randint(1, min(5, self.version - 1))
        reply = self.ask("patch", operations=add("/data/n", -1), baseVersion=self.version - behind)
        conflict = reply["error"]["conflict"]
        assert (code(reply), conflict["currentVersion"]) == ("version_conflict", self.version)
        missed = [e["version"] for e in conflict.get("deltas", [])]
        assert missed == list(range(self.version - behind + 1, self.version + 1))

    def heartbeat(self):
        self.expect(self.ask("heartbeat"), changes=False)

    def status(self):
        self.is_paused = not self.is_paused
        self.expect(self.ask("status", status="paused" if self.is_paused else "active"))

    def share(self):
        self.role = self.rng.choice([r for r in ("editor", "viewer", None) if r != self.role])
        self.expect(self.ask("participant", participant=self.friend, role=self.role))

    def as_friend(self):
        self.backend.user = self.friend
        reply = self.ask("patch", operations=add("/data/friend", self.version))
        self.backend.user = self.owner
        if self.role == "editor":
            self.expect(reply)
        else:
            assert code(reply) == ("forbidden" if self.role else "not_found")

    def snapshot(self):
        assert code(self.ask("snapshot")) is None

    def go(self, n):
        steps = [self.patch] * 6 + [self.repeat, self.conflict, self.heartbeat, self.status, self.share, self.as_friend,
                                    self.snapshot]
        for _ in range(n):
            self.rng.choice(steps)()


@pytest.mark.parametrize("n_engines", [1, 2])
def test_engines_in_turns_answer_as_if_each_had_seen_it_all(world, n_engines):
    engines = [world.engine(HANDOFF_SNAPSHOT_EVERY="7") for _ in range(n_engines)]
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"n": 0})
    model = Model(backend, session_id, random.Random(20260212))
    model.go(250)
    assert world.version(session_id) == model.version and world.data(session_id)["n"] == model.count
    assert sum(metric(e, HITS) for e in engines) > 20
    subscriber.wait_for(session_id, model.version)
    assert code(ask(backend, "delete", session_id)) is None
    for _ in range(2 * n_engines):
        assert code(patch(backend, session_id)) == "not_found"


def lose_keys(world):
    world.redis.flushall()


def restart_redis(world):
    world.servers.redis.stop()
    world.servers.redis.start()


@pytest.mark.parametrize("lose, epoch", [(lose_keys, 2), (restart_redis, 1)], ids=["FLUSHALL", "restart"])
def test_a_copy_does_not_outlive_what_redis_had(world, lose, epoch):
    engine = world.engine()
    backend = world.connect()
    session_id = backend.create({"a": 0})
    in_later_ms(backend, backend.now() + 5)
    for k in range(3):
        assert patch(backend, session_id, value=k)["version"] == k + 2
    recorded(world, session_id, 4)
    lose(world)
    world.wait_ready(engine)
    reply = patch(backend, session_id, "/data/b", 1)
    assert (code(reply), reply["version"], reply["epoch"]) == (None, 5, epoch)
    assert world.data(session_id) == {"a": 2, "b": 1}


def test_a_copy_does_not_outlive_older_data(world):
    """Redis comes back with the session as it was, at the same place: what was saved since is not there."""
    engine = world.engine()
    backend = world.connect()
    session_id = backend.create({"a": 0})
    in_later_ms(backend, backend.now() + 5)
    assert patch(backend, session_id, value=1)["version"] == 2
    keys = [f"session:{{{session_id}}}:{name}" for name in ("meta", "state")]
    raw = redis.Redis(**{**world.redis.connection_pool.connection_kwargs, "decode_responses": False})
    old = {key: raw.dump(key) for key in keys}
    assert patch(backend, session_id, value=2)["version"] == 3
    for key, value in old.items():
        raw.restore(key, 0, value, replace=True)
    raw.delete(f"session:{{{session_id}}}:deltas")
    reply = patch(backend, session_id, "/data/b", 1)
    assert (code(reply), reply["version"]) == (None, 3)
    assert world.data(session_id) == {"a": 1, "b": 1}
    assert metric(engine, "handoff_lost_races_total") == 1

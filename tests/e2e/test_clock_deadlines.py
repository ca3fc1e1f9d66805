"""A clock's moments: what is due is acted on by itself and once, whichever engine lives, and late or in time makes
no difference to what is booked. What is asserted is what was done, never how fast."""

import time

from redis import exceptions as redis_errors

from harness import metric, wait_until
from window import window_of
from ws import subscribed


def chess(total_ms=1000, action="end_session", **more):
    return {"mode": "per_participant", "totalTimeMs": total_ms, "onTimeout": {"action": action},
            "participants": [{"participantId": "white"}, {"participantId": "black"}], **more}


def events_of(suite, session_id):
    return suite.query("select version, type, payload from session_events where session_id = %s and version is not null "
                       "and type not in ('snapshot', 'device_joined', 'device_left') order by version", session_id)


def recv_types(socket, *types):
    """The next events of these types, whatever else comes between."""
    return [socket.recv_until(type) for type in types]


# ---- seen by devices ----

def test_a_clock_of_a_second_ends_the_session_on_every_device(suite, phone, laptop):
    session = phone.create({"n": 1}, status="pending", clock=chess())
    assert session["clock"]["cycleStartedAt"] is None
    with subscribed(laptop, session["id"]) as watcher:
        assert phone.status(session["id"], "active").status_code == 200
        started, expired, ended = recv_types(watcher, "status_changed", "clock_expired", "status_changed")
        assert started["clock"]["activeParticipantId"] == "white"
        assert (expired["version"], expired["participantId"], expired["action"]) == (3, "white", "end_session")
        assert expired["winner"] == "black"
        white, black = expired["clock"]["participants"]
        assert (white["timeUsedMs"], white["timeRemainingMs"], white["hasExpired"]) == (1000, 0, True)
        assert (black["timeUsedMs"], black["timeRemainingMs"]) == (0, 1000)
        assert (ended["version"], ended["from"], ended["to"], ended["reason"]) == (4, "active", "expired", "clock")
        assert ended["clock"] == expired["clock"]
    now = phone.read(session["id"])
    assert (now["status"], now["version"], now["expiresAt"]) == ("expired", 4, None)
    assert now["clock"] == expired["clock"] and now["data"] == {"n": 1}
    # Both versions can be caught up with, and are in the audit trail, with one snapshot.
    assert [e["type"] for e in phone.deltas(session["id"], 2)] == ["clock_expired", "status_changed"]
    wait_until(lambda: [row[:2] for row in events_of(suite, session["id"])] == [
        (1, "session_created"), (2, "status_changed"), (3, "clock_expired"), (4, "status_changed")],
               what="the audit trail")
    wait_until(lambda: suite.query("select 1 from session_snapshots where session_id = %s and version = 4",
                                   session["id"]), what="a snapshot of the end")
    redis = suite.redis_client()
    meta = f"session:{{{session['id']}}}:meta"
    wait_until(lambda: redis.hget(meta, "published") == "4", what="both marked")


def test_warnings_are_told_and_are_no_versions(suite, phone, laptop):
    # Seconds apart: of two that are due together the nearer is told, and from the deadline on none.
    session = phone.create(status="pending", clock=chess(7000, warningsMs=[6000, 3000]))
    with subscribed(laptop, session["id"]) as watcher:
        assert phone.status(session["id"], "active").status_code == 200
        for remaining in (6000, 3000):
            warning = watcher.recv_until("clock_warning")
            assert (warning["participantId"], warning["remainingMs"], warning["version"]) == ("white", remaining, 2)
        assert watcher.recv_until("clock_expired")["version"] == 3
    assert phone.read(session["id"])["version"] == 4
    assert not suite.query("select 1 from session_events where session_id = %s and type = 'clock_warning'",
                           session["id"])


def test_turns_go_on_by_themselves(phone, laptop):
    clock = {"mode": "per_cycle", "timePerCycleMs": 1000, "onTimeout": {"action": "auto_switch"},
             "participants": [{"participantId": p} for p in "abc"]}
    session = phone.create(status="pending", clock=clock)
    with subscribed(laptop, session["id"]) as watcher:
        started = phone.status(session["id"], "active").json()
        turns = recv_types(watcher, *["clock_expired"] * 4)
    assert [t["participantId"] for t in turns] == ["a", "b", "c", "a"]
    assert [t["version"] for t in turns] == [3, 4, 5, 6]
    moments = [started["clock"]["cycleStartedAt"]] + [t["clock"]["cycleStartedAt"] for t in turns]
    # Each turn begins at the deadline of the one before, however late that was acted on.
    assert [moment[-5:] for moment in moments] == [moments[0][-5:]] * 5
    assert len(set(moments)) == 5


# ---- engines that die, servers that stop ----

def wait_passed(deadline):
    wait_until(lambda: time.time() * 1000 > deadline, what="the deadline passed")


def answers(client):
    def has_answered():
        try:
            return client.ping()
        except redis_errors.ConnectionError:  # it is starting, or loading its data
            return False
    return has_answered


class Clocks:
    """Engines, driven over the broker, and what they leave in Redis."""

    def __init__(self, world):
        self.world, self.backend = world, world.connect()

    def create(self, **clock):
        return self.backend.create(clock=chess(**clock))

    def field(self, session_id, name):
        return self.world.redis.hget(f"session:{{{session_id}}}:meta", name)

    def set_entry(self, session_id, at):
        """The session's entry stands there, as an engine that claimed it left it."""
        for slot in range(64):
            self.world.redis.zadd(f"attention:{{{slot}}}", {session_id: at}, xx=True)

    def wait_ended(self, session_id):
        wait_until(lambda: self.field(session_id, "status") == "expired", what="the session expired")
        wait_until(lambda: self.field(session_id, "published") == "3", what="both versions confirmed")
        events = window_of(self.world.redis, session_id)
        assert [(e["version"], e["type"]) for e in events] == [
            (1, "session_created"), (2, "clock_expired"), (3, "status_changed")]
        return events[1]["clock"]["participants"][0]


def test_another_engine_acts_when_the_one_that_had_it_dies(world):
    first = world.engine()
    clocks = Clocks(world)
    session_id = clocks.create(total_ms=2500)
    world.kill(first)
    second = world.engine()
    white = clocks.wait_ended(session_id)
    assert (white["timeUsedMs"], white["timeRemainingMs"]) == (2500, 0)
    assert metric(second, "handoff_deadline_lateness_seconds_count") == 1


def test_of_two_engines_one_acts(world):
    engines = [world.engine(), world.engine()]
    clocks = Clocks(world)
    ids = [clocks.create(total_ms=1000 + 50 * (i % 20)) for i in range(60)]
    for session_id in ids:
        clocks.wait_ended(session_id)
    wait_until(lambda: sum(metric(e, "handoff_deadline_lateness_seconds_count") for e in engines) == 60,
               what="each deadline once")


def test_a_claim_of_an_engine_that_died_ends(world):
    world.engine()
    clocks = Clocks(world)
    session_id = clocks.create(total_ms=5000)
    clocks.set_entry(session_id, int(time.time() * 1000) + 7000)
    assert clocks.wait_ended(session_id)["timeUsedMs"] == 5000


def test_a_deadline_while_redis_is_away_is_acted_on_once(world):
    world.engine()
    clocks = Clocks(world)
    session_id = clocks.create(total_ms=3000)
    redis = world.servers.redis
    wait_until(lambda: clocks.field(session_id, "published") == "1", what="the create marked")
    deadline = int(clocks.field(session_id, "clockAt"))
    redis.stop()
    wait_passed(deadline)
    redis.start()
    wait_until(answers(world.redis), what="Redis with its data")
    assert clocks.wait_ended(session_id)["timeUsedMs"] == 3000


def test_a_deadline_while_the_broker_is_away_is_acted_on_once(world):
    world.engine()
    clocks = Clocks(world)
    session_id = clocks.create(total_ms=1000)
    rabbitmq = world.servers.rabbitmq
    deadline = int(clocks.field(session_id, "clockAt") or 0)
    rabbitmq.stop()
    wait_passed(deadline)
    rabbitmq.start()
    assert clocks.wait_ended(session_id)["timeUsedMs"] == 1000
    world.backend = None  # its connection is gone


# ---- what crosses a deadline ----

def test_a_command_behind_the_deadline_finds_what_that_has_changed(world):
    """The engine stands still over the deadline; a switch that comes then is not taken for one in time."""
    world.engine()
    clocks = Clocks(world)
    session_id = clocks.create(total_ms=1000, action="skip")
    backend = clocks.backend
    clocks.set_entry(session_id, int(time.time() * 1000) + 60000)  # nobody looks
    wait_passed(int(clocks.field(session_id, "clockAt")))
    late = backend.ask("switch", session_id, currentParticipantId="white")
    assert late["error"]["code"] == "not_active_participant"
    done = backend.ask("switch", session_id, currentParticipantId="black")
    assert done["version"] == 3
    events = window_of(world.redis, session_id)
    assert [e["type"] for e in events] == ["session_created", "clock_expired", "clock_switched"]
    assert events[1]["clock"]["participants"][0]["timeUsedMs"] == 1000
    assert (events[2]["from"], events[2]["to"]) == ("black", "black")  # nobody else has time left


def test_of_many_that_switch_one_turn_one_does(world):
    for _ in range(2):
        world.engine()
    clocks = Clocks(world)
    session_id, backend = clocks.create(total_ms=600_000), clocks.backend
    for turn in range(20):
        current = ("white", "black")[turn % 2]
        ids = [backend.send(backend.command("switch", session_id, currentParticipantId=current))[0] for _ in range(64)]
        replies = backend.take(ids)
        assert [r["version"] for r in replies if "error" not in r] == [turn + 2]
        assert {r["error"]["code"] for r in replies if "error" in r} == {"not_active_participant"}

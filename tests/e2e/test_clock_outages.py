"""A deadline that falls into an outage (contract of clocks): whatever died around it, the engine acts once, and books
the time as of the deadline. And a clock that runs keeps its session from lapsing and from going cold."""

import signal
import time

import pytest

from clocks import (LONG, adjust, begun, check_clock, clock_of, ms_of, of, pass_moment, person, read_clock, runs, shown,
                    switch, whole_history)
from harness import MAX_WAIT, Suite, new_user, wait_until
from rest import accepted
from test_crash import wait_all_ready
from test_due import HOUR, MINUTE, Unused, cold_mark, row
from ws import subscribed

BACKSTOP = 60 + MAX_WAIT  # s: what nobody asks for and Redis forgot is armed once a minute


def read_again(device, session):
    """The session, as soon as what it is read from is back."""
    def read():
        answer = device.get(f"/sessions/{session['id']}")
        assert answer.status_code in (200, 503), answer.text
        return answer.status_code == 200 and answer.json()
    return wait_until(read, what="the session read")


class Games:
    """Sessions whose first turn ends by the clock, one after the other: of every second one that is the end."""

    def __init__(self, suite, n, first=2000, step=100):
        self.suite, self.device = suite, suite.device(new_user(), "phone")
        self.sessions = [self._begin(first + step * i, ("auto_switch", "end_session")[i % 2]) for i in range(n)]

    def _begin(self, total, action):
        clock = clock_of(ids=[person("white", total), "black"], action=action)
        session = self.device.create(status="pending", clock=clock)
        return accepted(self.device.status(session["id"], "active"), 2)

    def deadline(self, session):
        clock = session["clock"]
        return begun(clock) + of(clock, "white")["timeRemainingMs"]

    @property
    def deadlines(self):
        return sorted(map(self.deadline, self.sessions))

    def pass_half(self):
        """Until half of the deadlines are past."""
        pass_moment(self.device, self.deadlines[len(self.sessions) // 2])

    def pass_all(self):
        pass_moment(self.device, self.deadlines[-1])

    def check(self, timeout=MAX_WAIT):
        """Each was acted on, once, in the audit trail and in the session."""
        for session in self.sessions:
            self._check(session, timeout)

    def _check(self, session, timeout):
        ends = session["clock"]["onTimeout"]["action"] == "end_session"
        types = ["session_created", "status_changed", "clock_expired"] + ["status_changed"] * ends
        events = whole_history(self.suite, session, len(types), timeout)
        assert [e["type"] for e in events] == types
        expired, total = events[2], of(session["clock"], "white")["totalTimeMs"]
        assert expired["participantId"] == "white" and ms_of(expired["timestamp"]) >= self.deadline(session)
        for event in events[2:]:
            white = of(check_clock(event["clock"]), "white")
            assert (white["timeUsedMs"], white["timeRemainingMs"]) == (total, 0)
            assert of(event["clock"], "black")["timeUsedMs"] == 0
        if ends:
            assert (events[3]["to"], events[3]["reason"]) == ("expired", "clock") and not runs(events[3]["clock"])
        else:
            assert expired["clock"]["activeParticipantId"] == "black"
            assert begun(expired["clock"]) == self.deadline(session)
        now = read_again(self.device, session)
        assert (now["version"], now["clock"]) == (len(types), events[-1]["clock"])
        assert now["status"] == ("expired" if ends else "active")


# ---- an engine dies ----

@pytest.fixture
def pair(own_suite):
    """A suite with two engines, in a world of its own."""
    suite = own_suite()
    suite.add_engine("state_engine-2")
    return suite


ENGINES = ["state_engine", "state_engine-2"]


@pytest.mark.parametrize("victim", ENGINES)
def test_an_engine_is_killed_around_a_deadline(pair, victim):
    games = Games(pair, 40, step=50)
    games.pass_half()
    pair.kill(victim)
    games.check()
    pair.restart(victim)
    games.check()


@pytest.mark.parametrize("victim", ENGINES)
def test_an_engine_is_killed_before_its_deadlines(pair, victim):
    games = Games(pair, 10)
    pair.kill(victim)
    games.check()
    pair.restart(victim)


def test_both_engines_are_killed_and_one_comes_back_late(pair):
    games = Games(pair, 40, step=50)
    games.pass_half()
    for engine in ENGINES:
        pair.kill(engine)
    games.pass_all()
    pair.restart("state_engine-2")
    games.check()
    pair.restart("state_engine")
    games.check()


def test_an_engine_that_hangs_over_a_deadline_acts_no_second_time(pair):
    games = Games(pair, 20, step=100)
    games.pass_half()
    process = pair.services["state_engine"].process
    process.send_signal(signal.SIGSTOP)
    try:
        games.check()
    finally:
        process.send_signal(signal.SIGCONT)
    late = Games(pair, 2)  # so that it had time to act
    late.check()
    games.check()


def test_several_deadlines_that_passed_are_each_acted_on_as_of_their_moment(own_suite):
    suite = own_suite()
    phone = suite.device(new_user(), "phone")
    asked = clock_of(ids=[person("a", 1000), person("b", 1500), "c"], action="auto_switch")
    session = phone.create(clock=asked)
    suite.kill("state_engine")
    started = begun(session["clock"])
    pass_moment(phone, started + 4000)
    assert phone.read(session["id"]) == session, "nobody was there to act"
    suite.restart("state_engine")
    events = whole_history(suite, session, 3)
    assert [(e["type"], e["participantId"]) for e in events[1:]] == [("clock_expired", "a"), ("clock_expired", "b")]
    assert [begun(e["clock"]) for e in events[1:]] == [started + 1000, started + 2500]
    now = phone.read(session["id"])["clock"]
    assert now == events[2]["clock"] and now["activeParticipantId"] == "c"
    assert [of(now, name)["timeUsedMs"] for name in "abc"] == [1000, 1500, 0]
    at = started + 4000
    assert shown(now, "c", at) == LONG - 1500, "what it lost it lost, also while nobody acted"


def test_a_switch_that_comes_before_the_late_deadline_does_not_undo_it(own_suite):
    """The first command after an outage is for a turn that is over."""
    suite = own_suite()
    phone = suite.device(new_user(), "phone")
    session = phone.create(clock=clock_of(ids=[person("white", 1000), "black"], action="auto_switch", incrementMs=5000))
    suite.kill("state_engine")
    pass_moment(phone, begun(session["clock"]) + 2000)
    suite.services["state_engine"].start()
    answer = phone.post(f"/sessions/{session['id']}/switch", json={"currentParticipantId": "white"},
                        headers={"Idempotency-Key": "k"}, timeout=MAX_WAIT)
    assert answer.status_code in (409, 503, 504), answer.text
    suite.services["state_engine"].wait_ready()
    suite.exit_codes.pop("state_engine")
    events = whole_history(suite, session, 2)
    assert events[1]["type"] == "clock_expired"
    white = of(events[1]["clock"], "white")
    assert (white["timeUsedMs"], white["timeRemainingMs"]) == (1000, 0)
    assert begun(events[1]["clock"]) == begun(session["clock"]) + 1000
    assert phone.read(session["id"])["version"] == 2


# ---- a server goes away, and comes back ----

@pytest.fixture(scope="module")
def shaky(shaky_servers, tmp_path_factory):
    suite = Suite(shaky_servers, tmp_path_factory.mktemp("shaky"))
    try:
        suite.start().add_engine("state_engine-2")
        yield suite
    finally:
        suite.stop()


def test_the_broker_restarts_around_deadlines(shaky):
    games = Games(shaky, 40, step=200)
    pass_moment(games.device, games.deadlines[4])
    shaky.servers.rabbitmq.stop()
    games.pass_all()
    shaky.servers.rabbitmq.start()
    wait_all_ready(shaky)
    games.check(timeout=2 * MAX_WAIT)


def test_the_broker_is_away_when_the_only_deadline_comes_and_devices_are_told_later(shaky):
    games = Games(shaky, 2, first=3000)
    phone, session = games.device, games.sessions[1]
    with subscribed(phone, session["id"]):
        shaky.servers.rabbitmq.stop()
        games.pass_all()
        shaky.servers.rabbitmq.start()
        wait_all_ready(shaky)
        wait_until(lambda: phone.read(session["id"])["status"] == "expired", timeout=2 * MAX_WAIT, what="its end")
    games.check(timeout=2 * MAX_WAIT)
    with phone.connect() as socket:
        socket.expect("hello")
        socket.send(type="subscribe", id="s", sessionId=session["id"], since=2, epoch=1)
        assert [socket.recv_until(kind)["version"] for kind in ("clock_expired", "status_changed")] == [3, 4]
    wait_all_ready(shaky)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_redis_restarts_around_deadlines(shaky, how):
    """With its append-only file: stopped in order, or with what had not come to the disk lost."""
    games = Games(shaky, 40, step=150)
    games.pass_half()
    getattr(shaky.servers.redis, how)()
    time_of_last = games.deadlines[-1]
    wait_until(lambda: time.time() * 1000 > time_of_last, what="the last deadline")  # GET /time may need Redis
    shaky.servers.redis.start()
    wait_all_ready(shaky)
    games.check(timeout=BACKSTOP)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_redis_restarts_at_once_among_deadlines(shaky, how):
    games = Games(shaky, 40, step=150)
    games.pass_half()
    getattr(shaky.servers.redis, how)()
    shaky.servers.redis.start()
    wait_all_ready(shaky)
    games.check(timeout=BACKSTOP)


# ---- Redis loses everything ----

def recorded(games):
    for session in games.sessions:
        whole_history(games.suite, session, 2)


def test_redis_is_emptied_among_deadlines_and_nobody_asks(pair):
    """Nothing tells an engine; it sees that Redis has just begun to remember, and asks PostgreSQL each second."""
    games = Games(pair, 20, first=4000, step=200)
    recorded(games)
    games.pass_half()
    pair.redis_client().flushdb()
    games.check()


def test_redis_is_emptied_before_a_deadline_and_somebody_reads(pair):
    games = Games(pair, 4, first=4000)
    recorded(games)
    pair.redis_client().flushdb()
    for session in games.sessions:
        now = games.device.read(session["id"])
        assert (now["epoch"], now["clock"]) == (2, session["clock"])
    games.check()


def test_redis_is_emptied_while_a_device_watches(pair):
    games = Games(pair, 1, first=4000)
    session = games.sessions[0]
    with subscribed(games.device, session["id"]) as socket:
        recorded(games)
        pair.redis_client().flushdb()
        games.device.heartbeat(session["id"])
        sync = socket.recv_until("state_sync")
        assert (sync["epoch"], sync["session"]["clock"]) == (2, session["clock"])
        event = socket.recv_until("clock_expired", version=3, epoch=2)
        assert begun(event["clock"]) == games.deadline(session)
    games.check()


def test_redis_is_emptied_while_no_engine_runs_and_the_deadline_passes(pair):
    games = Games(pair, 4)
    recorded(games)
    for engine in ENGINES:
        pair.kill(engine)
    games.pass_all()
    pair.redis_client().flushdb()
    for engine in ENGINES:
        pair.restart(engine)
    games.check(timeout=2 * BACKSTOP)


# ---- what a running clock keeps ----

def test_a_running_clock_keeps_its_session_from_lapsing(suite):
    phone = suite.device(new_user(), "phone")
    sessions = {on_idle: phone.create(clock=clock_of("count_up"), ttlSeconds=60, onIdle=on_idle)
                for on_idle in ("pause", "expire")}
    control = Unused(suite, phone.create(ttlSeconds=60)["id"])
    for session in sessions.values():
        kept = Unused(suite, session["id"])
        kept.pass_time(MINUTE)
        wait_until(lambda u=kept: u.entry() != 1, what="looked at")
    control.pass_time(MINUTE)
    wait_until(lambda: phone.read(control.id)["status"] == "paused", what="the other one paused")
    for session in sessions.values():
        now = phone.read(session["id"])
        assert (now["status"], now["version"], now["clock"]) == ("active", 1, session["clock"])


def test_a_clock_that_stands_lets_its_session_lapse(suite):
    phone = suite.device(new_user(), "phone")
    session = phone.create(clock=clock_of())
    accepted(phone.status(session["id"], "paused"), 2)
    unused = Unused(suite, session["id"])
    unused.pass_time(30 * 24 * HOUR)
    wait_until(lambda: phone.read(session["id"])["status"] == "expired", what="its expiry")
    event = phone.deltas(session["id"], since=2)[0]
    assert (event["reason"], event["version"]) == ("idle", 3) and not runs(event["clock"])


def test_a_running_clock_keeps_its_session_hot_and_a_pause_lets_it_go(own_suite):
    suite = own_suite(HANDOFF_COLD_AFTER="1s")
    phone = suite.device(new_user(), "phone")
    playing = phone.create(clock=clock_of())
    control = phone.create()
    kept = Unused(suite, playing["id"])
    wait_until(lambda: Unused(suite, control["id"]).keys() == [], timeout=2 * MAX_WAIT, what="the other one cold")
    assert {"meta", "state"} <= set(kept.keys()) and kept.get("cooling") is None
    assert cold_mark(suite, playing["id"]) == (None, None)
    assert phone.read(playing["id"]) == {**playing, "expiresAt": phone.read(playing["id"])["expiresAt"]}
    # Adjourned with two seconds on the clock, and cold.
    paused = accepted(phone.status(playing["id"], "paused"), 2)["clock"]
    left = of(paused, "white")["timeRemainingMs"]
    assert adjust(phone, playing, "white", 2000 - left).ok
    paused = read_clock(phone, playing)
    assert of(paused, "white")["timeRemainingMs"] == 2000
    wait_until(lambda: kept.keys() == [], timeout=2 * MAX_WAIT, what="the adjourned game cold")
    assert row(suite, playing["id"], "status, cold_version") == ("paused", 3)
    assert phone.read(playing["id"])["clock"] == paused and kept.keys() == []
    active = accepted(phone.status(playing["id"], "active"), 4)["clock"]
    wait_until(lambda: phone.read(playing["id"])["status"] == "expired", what="the end of its time")
    expired, final = phone.deltas(playing["id"], since=4)
    assert ms_of(expired["timestamp"]) >= begun(active) + 2000
    assert of(final["clock"], "white")["timeUsedMs"] == of(paused, "white")["timeUsedMs"] + 2000


def test_a_deadline_far_away_is_found_in_a_session_that_nobody_touched(own_suite):
    """Longer than it takes a session without a clock to go cold."""
    suite = own_suite(HANDOFF_COLD_AFTER="1s")
    phone = suite.device(new_user(), "phone")
    session = phone.create(clock=clock_of(ids=[person("white", 20_000), "black"], action="auto_switch"))
    events = whole_history(suite, session, 2, timeout=20 + MAX_WAIT)
    assert events[1]["type"] == "clock_expired" and begun(events[1]["clock"]) == begun(session["clock"]) + 20_000
    assert accepted(switch(phone, session, "black"), 3)["epoch"] == 1

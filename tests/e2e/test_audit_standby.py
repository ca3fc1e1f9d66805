"""Two audit_writers: one writes, the other takes over when it dies, stops or freezes; nothing is lost, and nothing
is there twice."""

import signal

import psycopg2
import pytest
import requests

from audit import DEAD, EVENTS, Trail, created, delta, new_session_id
from harness import wait_until

NAMES = ["audit_writer", "audit_writer-2"]


@pytest.fixture
def trail(new_realm, tmp_path):
    trail = Trail(new_realm(), tmp_path / "log", instances=2)
    try:
        yield trail
    finally:
        trail.stop()


def metric(trail, name, of):
    port = trail.suite.services[name].admin_port
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(of + " "))


def n_written(trail, name):
    return metric(trail, name, "handoff_audit_rows_total")


def who_writes(trail):
    """(the active one, the one that stands by)"""
    before = {name: n_written(trail, name) for name in NAMES}
    trail.tell(created(new_session_id()))
    trail.settle()
    active = [name for name in NAMES if n_written(trail, name) > before[name]]
    assert len(active) == 1, active
    return active[0], next(name for name in NAMES if name not in active)


class Story:
    """A session that goes on and on."""

    def __init__(self, trail):
        self.trail, self.session, self.version = trail, new_session_id(), 1
        trail.tell(created(self.session))

    def go_on(self, n):
        first, self.version = self.version + 1, self.version + n
        self.trail.tell(*(delta(self.session, v) for v in range(first, self.version + 1)))

    def check(self, timeout=20):
        self.trail.hear(self.trail.ask(), timeout=timeout)
        assert self.trail.versions(self.session) == list(range(1, self.version + 1))
        assert self.trail.suite.query("select version from sessions where id = %s", self.session) == [(self.version,)]
        assert self.trail.n_messages(DEAD) == 0 and self.trail.logged("audit_two_contents") == []


def test_the_active_one_is_killed(trail):
    active, standby = who_writes(trail)
    story = Story(trail)
    story.go_on(50)
    trail.suite.kill(active)
    story.go_on(50)
    story.check()
    assert n_written(trail, standby) > 0
    # And back: the one that was killed stands by now.
    trail.suite.restart(active)
    trail.suite.kill(standby)
    story.go_on(50)
    story.check()


def test_the_active_one_ends(trail):
    active, standby = who_writes(trail)
    story = Story(trail)
    story.go_on(50)
    assert trail.suite.terminate(active) == 0
    story.go_on(50)
    story.check()
    assert n_written(trail, standby) > 0


def test_the_active_one_freezes_and_comes_back(trail):
    """The broker takes its messages back when it has been silent for long enough; what it still had in hand when
    it comes back is written a second time, and changes nothing."""
    active, standby = who_writes(trail)
    story = Story(trail)
    story.go_on(20)
    process = trail.suite.services[active].process
    process.send_signal(signal.SIGSTOP)
    try:
        story.go_on(200)
        story.check(timeout=60)
        assert n_written(trail, standby) > 0
    finally:
        process.send_signal(signal.SIGCONT)
    story.go_on(20)
    story.check()
    wait_until(lambda: trail.suite.services[active].is_ready(), what="the other one, ready again")
    assert trail.n_messages(EVENTS) == 0


def test_what_the_active_one_suspected_is_filled_by_the_other(trail):
    """The active one cannot look for it, and is killed. No event comes any more that would tell of it."""
    active, standby = who_writes(trail)
    trail.suite.services[active].env["HANDOFF_REDIS_URL"] = "redis://127.0.0.1:1/0"
    assert trail.suite.terminate(active) == 0
    trail.suite.restart(active)
    assert trail.suite.terminate(standby) == 0
    trail.suite.restart(standby)
    session = new_session_id()
    told = [created(session), *(delta(session, v) for v in range(2, 8))]
    trail.keep(*told)
    trail.tell(told[0], told[3], told[6])
    trail.settle()
    assert trail.versions(session) == [1, 4, 7]
    trail.suite.kill(active)
    wait_until(lambda: trail.versions(session) == list(range(1, 8)), what="the versions")
    assert trail.logged("audit_gap") == []


def test_two_look_for_the_same_gaps(trail):
    """Both start at once, and find 300 that nobody can fill, and 50 that Redis has got."""
    for name in NAMES:
        assert trail.suite.terminate(name) == 0
    lost, kept = ([new_session_id() for _ in range(n)] for n in (300, 50))
    for session in kept:
        trail.keep(created(session), delta(session, 2))
    trail.sql("insert into session_gaps (session_id, epoch, version) select unnest(%s::uuid[]), 1, 2", lost + kept)
    for name in NAMES:
        trail.suite.services[name].start()
    for name in NAMES:
        trail.suite.services[name].wait_ready()
    wait_until(lambda: trail.suite.query("select count(*), count(told_at) from session_gaps") == [(300, 300)],
               what="all filled, or told as lost")
    wait_until(lambda: len(trail.logged("audit_gap")) == 300, what="the records")
    assert {r["sessionId"] for r in trail.logged("audit_gap")} == set(lost)
    assert sum(metric(trail, name, "handoff_audit_gaps_total") for name in NAMES) == 300
    assert all(trail.versions(session) == [1, 2] for session in kept)
    assert trail.n_messages(DEAD) == 0 and trail.logged("audit_two_contents") == []


def test_a_barrier_waits_for_what_the_one_that_ends_has_in_hand(trail):
    """The standby has nothing of it: only the broker keeps the order, and it must not hand on the queue before."""
    active, _ = who_writes(trail)
    session = new_session_id()
    blocker = psycopg2.connect(trail.realm.postgresql.url)
    try:
        blocker.cursor().execute("lock table session_events in exclusive mode")
        trail.tell(created(session))
        wait_until(lambda: metric(trail, active, "handoff_audit_pending") == 1, what="the event in hand")
        trail.suite.services[active].process.terminate()
        names = trail.ask()
        trail.connection.process_data_events(1)
        assert not set(names) & {mark for mark, _ in trail.answers}, "answered before the commit"
    finally:
        blocker.close()
    trail.hear(names)
    assert trail.versions(session) == [1]
    assert trail.suite.services[active].process.wait(timeout=15) == 0
    assert trail.n_messages(DEAD) == 0

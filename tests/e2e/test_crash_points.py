"""Every step between receive and acknowledge, as a place where the process dies, stands still, or loses the
connection that it is about to use (base/crash_point.h): nothing is lost, nothing is done twice, and a point
that was not passed fails. Only builds with sanitizers have crash points; of any other this shows that it has
none.

The default is a part: every point with `die`, and a sixth of the rest, another one with each commit, pausing 3 s.
HANDOFF_TEST_CRASH_POINTS=all (make crash-points) is all of it, pausing 20 s."""

import concurrent.futures
import contextlib
import datetime
import os
import queue
import time

import pika
import pytest

from clocks import clock_of, history_of
from cold import age, cool, lose
from crash_lane import ACTIONS, Lane, binary_has, connect, points_of_sources, ring, service_of
from harness import new_user, wait_until
from parts import turn
from test_due import HOUR, MINUTE, Unused

POINTS = points_of_sources()
HAS_POINTS = any(binary_has(service_of(p), p) for p in POINTS)
IS_ALL = os.environ.get("HANDOFF_TEST_CRASH_POINTS") == "all"
N_LANES = int(os.environ.get("HANDOFF_TEST_CRASH_LANES", "5" if IS_ALL else "3"))  # who pauses needs no processor
PAUSE_MS = int(os.environ.get("CRASH_POINT_PAUSE_MS", 20_000 if IS_ALL else 3_000))
COMMANDS, EVENTS = "state_engine.commands", "audit_writer.events"


# ---- what passes a point ----

class Scenario:
    """Usual work passes it. `env`: of the instance with the point; `watching`: of the watcher; `has_refills`:
    what PostgreSQL has may come from Redis' delta window; `is_first`: the point is passed before any other work."""

    env, watching, has_refills, is_first = {}, {}, False, False

    def before(self, lane):
        """All is well."""

    def without(self, lane, work):
        """Nothing of the service runs (a ws_fanout: it goes on beside)."""

    def during(self, lane, work, armed):
        """The instance with the point is there, and the work has begun."""

    def after(self, lane, action):
        """What is to be seen beside the work's outcome."""


class Apart(Scenario):
    """Beside the work, a session that is ready to be lost, cold, or due."""

    more, version = {}, 3

    def before(self, lane):
        self.phone = lane.suite.device("7d2f6f0a-63a5-4e0e-9b0c-2f4d1c9a1b3e", "old-phone")
        self.session = self.phone.create({"ring": []}, **self.more)
        for token in "ab":
            assert self.phone.patch(self.session["id"], ring(token)).status_code == 200
        self.id = self.session["id"]
        self.unused = Unused(lane.suite, self.id)
        self.unused.settle()
        wait_until(lambda: lane.suite.query("select 1 from sessions where id = %s and version = 3", self.id),
                   what="the row")

    def read(self):
        def ask():
            answer = self.phone.get(f"/sessions/{self.id}")
            assert answer.status_code in (200, 503, 504), answer.text
            return answer.json() if answer.status_code == 200 else time.sleep(0.05)  # a client's backoff
        return wait_until(ask, what="the session")

    def after(self, lane, action):
        got = self.read()
        assert (got["version"], got["data"]) == (self.version, {"ring": ["a", "b"]}), got
        self.judge_epoch(lane, got["epoch"])

    def judge_epoch(self, lane, epoch):
        """As a rule nothing was rebuilt."""
        assert epoch == 1


class Lost(Apart):
    """Redis forgets it; it is rebuilt, once."""

    def without(self, lane, work):
        lose(lane.suite, self.id)

    def during(self, lane, work, armed):
        self.asking = concurrent.futures.ThreadPoolExecutor(1).submit(self.read)

    def judge_epoch(self, lane, epoch):
        self.asking.result()
        assert epoch == 2
        wait_until(lambda: lane.subscriber.rebuilt(self.id) == [(2, 3)], what="session_rebuilt, once")


class LostToWatchers(Lost):
    """A watcher asks for it, by the instance with the point, before anybody else does: who came later would find it there."""

    def before(self, lane):
        super().before(lane)
        lose(lane.suite, self.id)

    def without(self, lane, work):
        pass

    def during(self, lane, work, armed):
        def watch():
            with contextlib.suppress(Exception), connect(self.phone, armed.port, self.id) as socket:
                while socket.recv()["type"] not in ("state_sync", "error"):  # "error": unavailable, it may ask again
                    pass
            return self.read()
        self.asking = concurrent.futures.ThreadPoolExecutor(1).submit(watch)


class Cold(Lost):
    """It went cold, and is loaded since its time to be looked at has come; where that is torn apart, rebuilt."""

    def without(self, lane, work):
        cool(lane.suite, self.id)
        self.unused.look()

    def judge_epoch(self, lane, epoch):
        self.asking.result()
        assert lane.subscriber.rebuilt(self.id) == [(e, 3) for e in range(2, epoch + 1)] and epoch <= 2


class Aged(Apart):
    """Another node took its last save, and it is looked at."""

    def without(self, lane, work):
        age(lane.suite, self.id)
        self.unused.look()


class Looked(Apart):
    def without(self, lane, work):
        self.unused.look()


class Unpublished(Apart):
    """Nobody knows that its last version was published."""

    def without(self, lane, work):
        lane.redis.hset(self.unused.meta, "published", 2)
        self.unused.look()

    def after(self, lane, action):
        super().after(lane, action)
        wait_until(lambda: self.unused.get("published") == "3", what="the mark")


class Cooling(Apart):
    """Nobody uses it any more, and it was paused: an active one would be, first."""

    version = 4

    def before(self, lane):
        super().before(lane)
        assert self.phone.status(self.id, "paused").status_code == 200

    def without(self, lane, work):
        self.unused.pass_time(HOUR)

    def during(self, lane, work, armed):
        """One that could not ask PostgreSQL yet looks again in 30 s."""
        wait_until(lambda: armed.was_hit() or self.unused.look(), what="going cold")

    def judge_epoch(self, lane, epoch):
        assert lane.subscriber.rebuilt(self.id) == [(e, 4) for e in range(2, epoch + 1)] and epoch <= 2


class Overdue(Apart):
    """It fell due, and only PostgreSQL knows."""

    more = {"ttlSeconds": 60}

    def without(self, lane, work):
        self.unused.pass_time(MINUTE)
        for slot in range(64):
            lane.redis.zrem(f"attention:{{{slot}}}", self.id)
        lane.suite.query("update sessions set due_at = now() - interval '1 second' where id = %s returning 1", self.id)

    def after(self, lane, action):
        """Who lost its connection there asks again in a minute: that is too long to wait for."""
        if action != "fail":
            wait_until(lambda: self.read()["status"] == "paused", what="paused")


class Deadline(Scenario):
    """A clock's time is up while no engine lives: two versions in one save, booked as of the deadline. All other
    sessions rest, so that it is this one's way to its end on which the point is."""

    is_first, total = True, 60_000

    def before(self, lane):
        self.phone = lane.suite.device(new_user(), "old-phone")
        clock = clock_of(ids=("white", "black"), totalTimeMs=self.total)
        self.session = self.phone.create({"n": 1}, status="pending", clock=clock)
        self.id = self.session["id"]
        self.begun = self.phone.status(self.id, "active").json()["clock"]
        self.unused = Unused(lane.suite, self.id)
        self.unused.settle()
        lane.subscriber.wait_whole(self.id, 2)

    def without(self, lane, work):
        """Time passes: what the session counts from moves back, as long as its turn may take and a second."""
        def earlier(moment):
            return moment - datetime.timedelta(milliseconds=self.total + 1000)
        state, meta = self.unused.meta.replace(":meta", ":state"), self.unused.meta
        began = datetime.datetime.fromisoformat(self.begun["cycleStartedAt"])
        self.moved = earlier(began).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = lane.redis.get(state)
        assert text.count(self.begun["cycleStartedAt"]) >= 1
        lane.redis.set(state, text.replace(self.begun["cycleStartedAt"], self.moved))
        for field in ("clockAt", "updatedAt", "touchedAt"):
            lane.redis.hincrby(meta, field, -self.total - 1000)
        self.rest_all(lane)
        self.unused.look()

    @staticmethod
    def rest_all(lane):
        """Nothing else is due within half a minute."""
        later = int((time.time() + 30) * 1000)
        for slot in range(64):
            name = f"attention:{{{slot}}}"
            entries = lane.redis.zrange(name, 0, -1)
            if entries:
                lane.redis.zadd(name, {entry: later for entry in entries}, xx=True)

    def after(self, lane, action):
        lane.subscriber.wait_whole(self.id, 4)
        events = wait_until(lambda: (found := history_of(lane.suite, self.session)) and len(found) >= 4 and found,
                            what="the end in PostgreSQL")
        assert [(e["version"], e["type"]) for e in events[1:]] == [
            (2, "status_changed"), (3, "clock_expired"), (4, "status_changed")]
        expired, ended = events[2:]
        assert (expired["winner"], expired["timestamp"]) == ("black", ended["timestamp"])
        assert (ended["to"], ended["reason"], ended["clock"]) == ("expired", "clock", expired["clock"])
        white, black = expired["clock"]["participants"]
        assert (white["timeUsedMs"], white["timeRemainingMs"], white["hasExpired"]) == (self.total, 0, True)
        assert (black["timeUsedMs"], black["timeRemainingMs"]) == (0, self.total)
        now = self.phone.read(self.id)
        assert (now["epoch"], now["version"], now["status"], now["clock"]) == (1, 4, "expired", ended["clock"])


class Redelivered(Scenario):
    """The commands come as if an engine had died over them."""

    def without(self, lane, work):
        work.write()
        with lane.suite.amqp() as connection:
            channel, tags = connection.channel(), []

            def take():
                method, _, _ = channel.basic_get(COMMANDS)
                tags.extend([method.delivery_tag] if method else [])
                return len(tags) >= 2
            wait_until(take, what="commands in the queue")
            channel.basic_nack(tags[-1], multiple=True, requeue=True)


def take_letters(lane, name, body):
    """Until that message is among the dead letters; at least once."""
    with lane.suite.amqp() as connection:
        channel = connection.channel()
        wait_until(lambda: channel.basic_get(name, auto_ack=True)[2] == body, what=f"the message in {name}")
        channel.queue_purge(name)


class Malformed(Scenario):
    """What is no command."""

    exchange, key, dead, body = "session_commands", "state_engine.commands", "state_engine.dead", b"{"

    def during(self, lane, work, armed):
        with lane.suite.amqp() as connection:
            connection.channel().basic_publish(self.exchange, self.key, self.body, pika.BasicProperties())

    def after(self, lane, action):
        take_letters(lane, self.dead, self.body)


class MalformedEvent(Malformed):
    """What is no event."""

    exchange, key, dead, body = "session_updates", "session.x.update", "audit_writer.dead", b"[1]"


def tell_again(lane, session_id):
    """The session's newest event comes again, as it may after an engine lost the broker."""
    key, properties, body = lane.subscriber.messages[session_id]
    with lane.suite.amqp() as connection:
        connection.channel().basic_publish("session_updates", key, body, properties)


class Doubled(Apart):
    """An event that is there already."""

    def before(self, lane):
        super().before(lane)
        lane.subscriber.wait_whole(self.id, 3)

    def during(self, lane, work, armed):
        tell_again(lane, self.id)


class Purged(Apart):
    """Versions that the audit queue lost, and Redis still has."""

    has_refills = True

    def without(self, lane, work):
        for token in "cde":
            assert self.phone.patch(self.id, ring(token)).status_code == 200
        lane.subscriber.wait_whole(self.id, 6)
        lost = []
        with lane.suite.amqp() as connection:
            channel = connection.channel()
            while (got := channel.basic_get(EVENTS))[0]:
                is_lost = self.id.encode() in got[2] and (b'"version":4' in got[2] or b'"version":5' in got[2])
                lost.extend([got[0].delivery_tag] if is_lost else [])
            for tag in lost:
                channel.basic_ack(tag)
        assert len(lost) == 2, lost

    def after(self, lane, action):
        """Whoever suspected it may be gone: PostgreSQL tells its successor."""
        wait_until(lambda: [v for v, _, _ in lane.suite.events_in_postgresql(self.id)] == [1, 2, 3, 4, 5, 6],
                   what="the gap to be filled")


class Watched(Scenario):
    """A device writes and watches by the instance with the point, and says something to the others."""

    env = {"HANDOFF_FANOUT_BINDING": "session"}
    watching = {"writes": 2, "says": True}

    def during(self, lane, work, armed):
        """Somebody else comes with a position, and leaves."""
        wait_until(lambda: armed.was_hit() or (work.watcher.at or 0) >= 2, what="something that was missed")
        guest = lane.suite.device(work.user, "guest")
        try:
            with connect(guest, armed.port, work.session["id"], since=1) as socket:
                while socket.recv_any()["type"] not in ("subscribed", "state_sync", "error"):
                    pass
        except Exception:
            assert armed.was_hit()


SCENARIOS = {
    **{f"engine.{step}": Scenario for step in (
        "delivery.received", "claims.asking", "claims.answered", "load.asking", "load.answered", "window.asking",
        "attention.arming", "save.sending", "save.answered", "reply.queued", "reply.sent", "publish.queued",
        "publish.put", "publish.sent", "confirm.received", "confirm.noted", "mark.moving", "mark.moved",
        "acknowledgement.sending", "acknowledgement.queued", "refusal.held", "refusal.acknowledged",
        "key.asking", "key.answered", "presence.judged", "presence.published", "presence.noting",
        "presence.noted")},
    **{f"engine.redelivery.{step}": Redelivered for step in ("counting", "counted")},
    **{f"engine.dead_letter.{step}": Malformed for step in ("publishing", "confirmed")},
    **{f"engine.attention.{step}": Looked for step in ("claimed", "rearming")},
    "engine.attention.republished": Unpublished,
    "engine.due.given": Aged,
    **{f"engine.cooling.{step}": Cooling for step in (
        "begun", "snapshot_published", "barrier_passed", "row_marked", "keys_going", "keys_gone")},
    **{f"engine.recovery.{step}": Aged for step in ("barrier_asking", "barrier_passed", "looking", "adopting")},
    **{f"engine.recovery.{step}": Lost for step in (
        "row_asking", "row_answered", "data_rebuilt", "keys_answered", "writing", "written", "published")},
    **{f"engine.recovery.{step}": Cold for step in ("mark_clearing", "mark_cleared")},
    **{f"engine.backstop.{step}": Overdue for step in ("found", "armed")},
    **{f"fanout.{step}": Watched for step in (
        "binding.asked", "binding.confirmed", "event.received", "event.sending", "event.forwarded", "state.asking",
        "state.answered", "window.asking", "window.answered", "command.taken", "reply.received", "reply.forwarded",
        "broadcast.read", "broadcast.published", "arrival.asking", "arrival.answered", "departure.asking",
        "departure.answered", "instance.renewing", "instance.renewed", "nudge.sending")},
    **{f"fanout.load.{step}": LostToWatchers for step in ("asking", "answered")},
    **{f"audit.{step}": Scenario for step in (
        "delivery.received", "batch.begun", "events.inserted", "rest.inserted", "commit.sent", "commit.answered",
        "acknowledgement.sending", "acknowledgement.sent", "migration.begun", "migration.done", "partitions.made",
        "purge.step_made")},
    **{f"audit.barrier.{step}": Lost for step in ("answering", "answered")},
    **{f"audit.dead_letter.{step}": MalformedEvent for step in ("publishing", "confirmed")},
    "audit.comparison.sent": Doubled,
    **{f"audit.gap.{step}": Purged for step in ("checking", "reading", "read", "refilled")},
}

# The way of a deadline: each of these steps once more, when it is its own.
DUE = [f"engine.{step}" for step in (
    "attention.claimed", "due.given", "load.asking", "load.answered", "attention.arming", "save.sending",
    "save.answered", "publish.queued", "publish.put", "publish.sent", "confirm.received", "confirm.noted",
    "mark.moving", "mark.moved")]


# ---- the run ----

def choose():
    """All with `die`, so that every point is passed, and of the rest all, or this commit's sixth. A case is a point, an
    action, and "clock" where it is about a deadline."""
    cases = [(p, a) for p in POINTS for a in ACTIONS] + [(p, a, "clock") for p in DUE for a in ACTIONS]
    rest = [case for case in cases if case[1] != "die"]
    now = turn(6)
    return [c for c in cases if c[1] == "die"] + [c for i, c in enumerate(rest) if IS_ALL or i % 6 == now]


def scenario_of(point, action, what=None):
    return Deadline() if what else SCENARIOS[point]()


class Campaign:
    """The chosen cases, in lanes side by side: a case waits more than it works."""

    def __init__(self, new_realm, folder, cases):
        self.waiting, self.results, self.took = queue.Queue(), {c: concurrent.futures.Future() for c in cases}, {}
        for case in cases:
            self.waiting.put(case)
        lanes = min(N_LANES, len(cases))
        self.pool = concurrent.futures.ThreadPoolExecutor(lanes)
        self.lanes = [self.pool.submit(self._work, new_realm(), folder / f"lane{i}") for i in range(lanes)]

    def _work(self, realm, folder):
        folder.mkdir()
        lane, n = None, 0
        while True:
            try:
                case = self.waiting.get_nowait()
            except queue.Empty:
                break
            try:
                n += 1
                if not lane:
                    (folder / str(n)).mkdir()
                    lane = Lane(realm, folder / str(n), PAUSE_MS)
                started = time.monotonic()
                lane.run(*case[:2], scenario_of(*case))
                self.took[case] = time.monotonic() - started
                self.results[case].set_result(None)
            except BaseException as error:
                self.results[case].set_exception(error)
                broken, lane = lane, None
                with contextlib.suppress(Exception):  # the next case begins in a world that is whole
                    broken.stop()
        if lane:
            lane.stop()

    def end(self):
        """Also before its time, when pytest gives up."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.waiting.get_nowait()
        for lane in self.lanes:
            lane.result()
        took = sorted((s, "-".join(case)) for case, s in self.took.items())
        print(f"\n{len(took)} cases, {sum(s for s, _ in took) / max(1, len(took)):.1f} s each; the longest:",
              ", ".join(f"{name} {s:.1f} s" for s, name in took[-8:]))


@pytest.fixture(scope="module")
def campaign(request, new_realm, tmp_path_factory):
    """Of the cases that this run of pytest has selected."""
    cases = [item.callspec.params["case"] for item in request.session.items
             if item.module is request.module and hasattr(item, "callspec")]
    campaign = Campaign(new_realm, tmp_path_factory.mktemp("lanes"), cases)
    yield campaign
    campaign.end()


def test_a_scenario_is_there_for_every_point_once():
    assert len(POINTS) == len(set(POINTS)) >= 44
    assert set(POINTS) == set(SCENARIOS)


def test_only_builds_for_tests_have_points():
    assert {binary_has(service_of(p), p) for p in POINTS} == {HAS_POINTS}


if HAS_POINTS:  # else there is nothing to do, which is no skipped test
    @pytest.mark.parametrize("case", choose(), ids=lambda case: "-".join(case))
    def test_a_point(campaign, case):
        campaign.results[case].result()

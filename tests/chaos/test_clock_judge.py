"""What judges clocks finds what it is there for: each wrong history of a clock is a violation, and a right one is
none."""

import copy
import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from clock_judge import ClockJudge, deadline_of, text_of  # noqa: E402
from model import Model, checksum_of  # noqa: E402
from run import Run, options_of  # noqa: E402

ZERO = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DATA = {"w": {"t": "made"}}


def participant(name, group=None, left=60_000):
    return {"participantId": name, "groupId": group, "totalTimeMs": left, "timeUsedMs": 0, "timeRemainingMs": left,
            "cycleCount": 0, "isActive": False, "hasExpired": False}


def clock_of(mode="per_participant", action="end_session", people=(("ada", None), ("bob", None)), left=60_000):
    return {"mode": mode, "totalTimeMs": left, "incrementMs": 2000, "timePerCycleMs": 60_000, "maxTimeMs": left,
            "onTimeout": {"action": action}, "warningsMs": [], "activeParticipantId": None, "cycleStartedAt": None,
            "cycleCount": 0, "participants": [participant(name, group, left) for name, group in people]}


class History:
    """A session with a clock, whose events are written by hand: change(clock) makes what each tells."""

    def __init__(self, **clock):
        self.model = Model(on_violation=lambda text: None)
        self.session = self.model.add_session("s", "u")
        self.clock, self.events, self.status = clock_of(**clock), [], "active"
        self.model.acked(self.model.begin(self.session, "made", "create", "phone"), (1, 1))
        self.tell("session_created", 0, session={"data": DATA, "status": "pending", "clock": copy.deepcopy(self.clock)})
        self.model.begin(self.session, "on", "status", "phone", "active")
        self.clock.update(activeParticipantId="ada", cycleStartedAt=text_of(ZERO + 1000))
        self.of("ada")["isActive"] = True
        self.tell("status_changed", 1000, **{"from": "pending", "to": "active", "reason": "request"})

    def of(self, name):
        return next(p for p in self.clock["participants"] if p["participantId"] == name)

    def tell(self, kind, ms, device="phone", **members):
        event = {"type": kind, "sessionId": "s", "epoch": 1, "version": len(self.events) + 1, "deviceId": device,
                 "timestamp": text_of(ZERO + ms), **members}
        if kind not in ("session_created", "state_delta"):
            event["clock"] = copy.deepcopy(self.clock)
        self.events.append(event)
        return event

    def turn(self, to, at, name, **op):
        """The one who has the turn passes it on at that moment (ms), as it should be booked."""
        turn, began = self.of(self.clock["activeParticipantId"]), self.began
        turn.update(timeUsedMs=turn["timeUsedMs"] + at - began, timeRemainingMs=turn["timeRemainingMs"] - at + began + 2000,
                    cycleCount=turn["cycleCount"] + 1, isActive=False)
        self.begin_turn(to, at)
        device = f"turn.{name}"
        op = self.model.begin(self.session, device, "switch", device,
                              asked={"current": turn["participantId"], **op})
        self.model.acked(op, (1, len(self.events) + 1))
        return self.tell("clock_switched", at, device, **{"from": turn["participantId"], "to": to,
                                                          "elapsedMs": at - began})

    def begin_turn(self, to, at):
        self.clock["cycleCount"] += 1
        self.clock.update(activeParticipantId=to, cycleStartedAt=text_of(ZERO + at))
        self.of(to)["isActive"] = True

    @property
    def began(self):
        return deadline_of(self.clock) - self.of(self.clock["activeParticipantId"])["timeRemainingMs"] - ZERO

    def expire(self, acted, **members):
        """The time of whose turn it is is up; end_session."""
        p = self.of(self.clock["activeParticipantId"])
        p.update(timeUsedMs=p["timeUsedMs"] + p["timeRemainingMs"], timeRemainingMs=0, hasExpired=True, isActive=False,
                 cycleCount=p["cycleCount"] + 1)
        self.clock["cycleCount"] += 1
        self.clock.update(activeParticipantId=None, cycleStartedAt=None)
        return self.tell("clock_expired", acted, None, participantId=p["participantId"], action="end_session", **members)

    def end(self, acted):
        return self.tell("status_changed", acted, None, **{"from": "active", "to": "expired", "reason": "clock"})

    def judge(self):
        for event in self.events:
            self.model.event(copy.deepcopy(event), "subscriber")
        last = self.events[-1]["version"]
        resource = {"epoch": 1, "version": last, "data": DATA, "checksum": checksum_of(DATA), "clock": self.clock}
        self.model.check(self.session, resource, [(1, e["version"], e) for e in copy.deepcopy(self.events)])
        return {v["what"] for v in self.model.violations}


def game():
    """Two turns; then Ada's time is up, a second after it was."""
    history = History()
    history.turn("bob", 11_000, "one")
    history.turn("ada", 16_000, "two")
    history.expire(16_000 + 52_000 + 1000, winner="bob")
    history.end(16_000 + 52_000 + 1000)
    return history


def test_a_right_game_has_no_violation():
    history = game()
    assert history.judge() == set()
    assert history.model.lateness == [(ZERO + 68_000, ZERO + 69_000)]


def without(history, n):
    """As if version n had never been: those after it move up."""
    del history.events[n - 1]
    for event in history.events[n - 1:]:
        event["version"] -= 1


def lost_switch(history):
    without(history, 3)


def double_switch(history):
    history.events.insert(4, copy.deepcopy(history.events[3]))
    for event in history.events[4:]:
        event["version"] += 1


def double_timeout(history):
    again = copy.deepcopy(history.events[4])
    history.events.insert(5, again)
    for event in history.events[5:]:
        event["version"] += 1


def wrongly_booked(history):
    """A switch that booked 10 ms less."""
    history.events[2]["elapsedMs"] -= 10


def booked_when_acted(history):
    """The time of the outage was booked as well."""
    for event in history.events[4:]:
        event["clock"]["participants"][0]["timeUsedMs"] += 1000
    history.clock["participants"][0]["timeUsedMs"] += 1000


def too_early(history):
    for event in history.events[4:]:
        event["timestamp"] = text_of(ZERO + 67_999)


def too_late(history):
    history.model.may_be_late = lambda deadline, acted: acted - deadline < 1000


def no_end(history):
    history.events.pop()


def no_end_but_a_write(history):
    history.events[5] = {**history.events[5], "type": "state_delta", "operations": [], "baseVersion": 5,
                         "checksum": checksum_of(DATA)}


def another_winner(history):
    history.events[4]["winner"] = "ada"


def passed_over(history):
    """A write comes when the deadline is over and was not acted on."""
    delta = {"type": "state_delta", "sessionId": "s", "epoch": 1, "version": 5, "deviceId": "phone", "operations": [],
             "timestamp": text_of(ZERO + 68_000), "baseVersion": 4, "checksum": checksum_of(DATA)}
    history.events.insert(4, delta)
    for event in history.events[5:]:
        event["version"] += 1


def gift(history):
    """Time that nobody gave, told ever since."""
    for event in history.events[3:]:
        event["clock"]["participants"][1]["timeRemainingMs"] += 5
    history.clock["participants"][1]["timeRemainingMs"] += 5


def other_turn(history):
    history.session.ops["turn.two"].asked = {"current": "ada"}


def refused_switch(history):
    history.session.ops["turn.two"].outcome = "refused"


def strangers_switch(history):
    del history.session.ops["turn.two"]


def other_read(history):
    history.clock = {**history.clock, "cycleCount": 9}


def other_sync(history):
    history.model.clock(history.session, (1, 4), {**history.clock, "cycleCount": 9}, "a device")


@pytest.mark.parametrize("break_it, what", [
    (lost_switch, "a lost write"),
    (lost_switch, "a switch of another turn"),
    (double_switch, "applied twice"),
    (double_switch, "a switch of another turn"),
    (double_timeout, "time was up twice, or never"),
    (wrongly_booked, "a wrongly booked time"),
    (booked_when_acted, "a clock that its event does not make"),
    (booked_when_acted, "time that nobody gave, or that is gone"),
    (too_early, "time was up too early"),
    (too_late, "a deadline that was acted on too late"),
    (no_end_but_a_write, "a clock ended, and its session did not"),
    (no_end, "a clock ended, and its session did not"),
    (another_winner, "another outcome"),
    (passed_over, "a deadline was passed over"),
    (gift, "time that nobody gave, or that is gone"),
    (other_turn, "a switch of another turn"),
    (refused_switch, "refused, and applied"),
    (strangers_switch, "nobody wrote this"),
    (other_read, "the clock is not what its events make"),
    (other_sync, "two contents"),
])
def test_a_wrong_history_is_found(break_it, what):
    history = game()
    break_it(history)
    assert what in history.judge()


# ---- over a WebSocket: by position ----

def by_websocket(history, at, outcome="acked"):
    """A switch without a token of its own."""
    event = history.turn("bob", at, "ws")
    del history.session.ops["turn.ws"]
    event["deviceId"] = "laptop"
    op = history.model.begin(history.session, "w.1", "turn", "laptop", asked={"current": "ada"})
    if outcome == "acked":
        history.model.acked(op, (1, event["version"]))
    return op


def test_a_switch_over_a_websocket_is_known_by_its_position():
    for outcome in ("acked", "unknown"):
        history = History()
        by_websocket(history, 5000, outcome)
        assert history.judge() == set()


def test_a_switch_over_a_websocket_that_is_lost_doubled_or_nobodys():
    lost = History()
    lost.model.acked(lost.model.begin(lost.session, "w.1", "turn", "laptop"), (1, 2))
    assert "a lost switch" in lost.judge()
    twice = History()
    by_websocket(twice, 5000)
    twice.model.acked(twice.model.begin(twice.session, "w.2", "turn", "laptop"), (1, 3))
    assert "a lost switch" in twice.judge()
    nobody = History()
    by_websocket(nobody, 5000)
    nobody.session.ops.clear()
    assert "nobody wrote this" in nobody.judge()


# ---- the rules, beside those of the game ----

def judge_one(clock, event, is_active=True):
    judge = ClockJudge()
    judge.clock, judge.is_active = judge._give(clock), is_active
    base = {"epoch": 1, "version": 9, "deviceId": None, "userId": "u"}
    return [what for what, _ in judge.fold({**base, **event})]


def running(clock, name="ada"):
    clock.update(activeParticipantId=name, cycleStartedAt=text_of(ZERO))
    for p in clock["participants"]:
        p["isActive"] = p["participantId"] == name
    return clock


def test_who_shares_a_time_uses_it_up_together():
    people = (("ada", "red"), ("bob", "blue"), ("eve", "red"))
    clock = running(clock_of("per_group", "skip", people))
    after = copy.deepcopy(clock)
    for name, used, active in (("ada", 60_000, False), ("eve", 0, False), ("bob", 0, True)):
        p = next(p for p in after["participants"] if p["participantId"] == name)
        p.update(timeUsedMs=used, isActive=active)
        if name != "bob":
            p.update(timeRemainingMs=0, hasExpired=True)
    after["participants"][0]["cycleCount"] = after["cycleCount"] = 1
    after.update(activeParticipantId="bob", cycleStartedAt=text_of(ZERO + 60_000))
    event = {"type": "clock_expired", "timestamp": text_of(ZERO + 99_000), "groupId": "red", "action": "skip",
             "clock": after}
    assert judge_one(copy.deepcopy(clock), event) == []
    assert judge_one(copy.deepcopy(clock), {**event, "groupId": "blue"}) == ["another one's time was up"]
    after["participants"][2]["timeRemainingMs"] = 60_000
    assert judge_one(copy.deepcopy(clock), event) == ["a clock that its event does not make"]


def test_a_quiz_gives_the_whole_turn_again():
    clock = running(clock_of("per_cycle", "auto_switch"))
    after = copy.deepcopy(clock)
    after["participants"][0].update(timeUsedMs=60_000, cycleCount=1, isActive=False)
    after["participants"][1]["isActive"] = True
    after.update(activeParticipantId="bob", cycleStartedAt=text_of(ZERO + 60_000), cycleCount=1)
    event = {"type": "clock_expired", "timestamp": text_of(ZERO + 60_000), "participantId": "ada",
             "action": "auto_switch", "clock": after}
    assert judge_one(clock, event) == []


def test_a_turn_that_stands_goes_on_with_time_given():
    clock = running(clock_of(action="notify"))
    clock["cycleStartedAt"] = None
    clock["participants"][0].update(timeUsedMs=60_000, timeRemainingMs=0, hasExpired=True)
    after = copy.deepcopy(clock)
    after["participants"][0].update(timeRemainingMs=500, hasExpired=False)
    after["cycleStartedAt"] = text_of(ZERO + 70_000)
    event = {"type": "clock_adjusted", "timestamp": text_of(ZERO + 70_000), "participantId": "ada", "adjustMs": 500,
             "clock": after}
    assert judge_one(copy.deepcopy(clock), event) == []
    assert judge_one(copy.deepcopy(clock), event, is_active=False) == ["a clock that its event does not make"]


# ---- what excuses a deadline ----

class Kind:
    def __init__(self, loses):
        self.loses = loses


@pytest.mark.parametrize("spans, late, may_be", [
    ([], 4.9, True), ([], 5.1, False),
    ([(-10, -2, False)], 5.1, False),             # over, and whole, before
    ([(1, 3, False)], 6.9, True), ([(1, 3, False)], 7.1, False),
    ([(-1, 20, False)], 24.9, True), ([(-1, 20, False)], 25.1, False),
    ([(1, 3, False), (4, 6, False)], 9.1, False),  # what lies between two counts
    ([(1, None, False)], 60, True),
    ([(-5, 1, True)], 20.9, True), ([(-5, 1, True)], 21.1, False)])
def test_only_the_time_in_which_nothing_was_broken_counts(spans, late, may_be):
    run, now = Run(options_of([])), time.monotonic()
    run.spans = [["", [Kind(loses)], now + begin, None if end is None else now + end] for begin, end, loses in spans]
    due = time.time() * 1000
    assert run.may_be_late(due, due + late * 1000) == may_be

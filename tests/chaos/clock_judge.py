"""What a clock must be after each event: the contract's rules once more, from its text and decision 0012 alone. Follows
one session's clock from event to event; what an event tells of it has to be what the rules make of the one before."""

import copy
from datetime import datetime, timezone

MAX_TIME = 86_400_000  # ms: of one time
NOT_PASSED = ("clock_expired", "session_deleted")  # what may come when a deadline was not acted on


def ms_of(moment):
    """RFC 3339, as milliseconds."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def text_of(ms):
    moment = datetime.fromtimestamp(ms // 1000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


# ---- a clock ----

def of(clock, name):
    return next(p for p in clock["participants"] if p["participantId"] == name)


def active(clock):
    return clock["activeParticipantId"] and of(clock, clock["activeParticipantId"])


def deadline_of(clock):
    """ms; None: never."""
    if not clock or not clock["cycleStartedAt"] or active(clock)["timeRemainingMs"] is None:
        return None
    return ms_of(clock["cycleStartedAt"]) + active(clock)["timeRemainingMs"]


def purse_of(clock, p):
    """What the participant's time is known by, and all who share it; None: where no time is given for good."""
    if clock["mode"] == "per_cycle" or p["timeRemainingMs"] is None:
        return None
    return {"per_group": p["groupId"], "global": ""}.get(clock["mode"], p["participantId"])


def sharing(clock, p):
    if clock["mode"] == "per_cycle" or purse_of(clock, p) is None:
        return [p]
    return [q for q in clock["participants"] if purse_of(clock, q) == purse_of(clock, p)]


def set_left(clock, p, ms, has_expired):
    for q in sharing(clock, p):
        q["timeRemainingMs"], q["hasExpired"] = ms, has_expired


def has_in_all(clock, p):
    """What was used of a time, and what remains of it."""
    return sum(q["timeUsedMs"] for q in sharing(clock, p)) + (p["timeRemainingMs"] or 0)


def has_time(p):
    return p["timeRemainingMs"] is None or p["timeRemainingMs"] > 0


def following(clock, name):
    """The next in rotation who has time, oneself last; None: nobody."""
    names = [p["participantId"] for p in clock["participants"]]
    at = names.index(name) + 1 if name else 0
    return next((n for n in names[at:] + names[:at] if has_time(of(clock, n))), None)


def book(clock, at):
    """The time that ran up to there is used; returns it."""
    if not clock["cycleStartedAt"]:
        return 0
    p, began = active(clock), ms_of(clock["cycleStartedAt"])
    ran = max(0, at - began)
    if p["timeRemainingMs"] is not None:
        ran = min(ran, p["timeRemainingMs"])
        set_left(clock, p, p["timeRemainingMs"] - ran, p["hasExpired"])
    p["timeUsedMs"] += ran
    clock["cycleStartedAt"] = text_of(max(at, began))
    return ran


def end_turn(clock):
    p = active(clock)
    p["cycleCount"] += 1
    clock["cycleCount"] += 1
    if clock["mode"] == "per_cycle":
        p["timeRemainingMs"], p["hasExpired"] = clock["timePerCycleMs"], False
    return p


def begin_turn(clock, name):
    for p in clock["participants"]:
        p["isActive"] = p["participantId"] == name
    clock["activeParticipantId"] = name


def go_on(clock, at):
    """A turn goes on, or the first one begins, unless its time is over."""
    if clock["cycleStartedAt"]:
        return
    if not clock["activeParticipantId"]:
        begin_turn(clock, following(clock, None))
    if active(clock) and not active(clock)["hasExpired"]:
        clock["cycleStartedAt"] = text_of(at)


def winner_of(clock, loser):
    groups = all(p["groupId"] for p in clock["participants"])
    side = (lambda p: p["groupId"]) if groups else (lambda p: p["participantId"])
    others = {side(p) for p in clock["participants"]} - {side(loser)}
    if len(others) != 1:
        return None
    return next((side(p) for p in clock["participants"] if side(p) in others and has_time(p)), None)


# ---- the judge ----

class ClockJudge:
    """One session's. clock: after what was folded, None without one; purses: of each time what was ever given."""

    def __init__(self):
        self.clock, self.purses, self.ended_at, self.is_active = None, {}, None, False
        self.late = []  # (deadline, acted), ms, of each deadline

    def fold(self, event, op=None):
        """op: by which a switch or an adjustment was asked for, if it is known. Returns what is wrong, as (what, text)."""
        told = event.get("clock") or event.get("session", {}).get("clock")
        if not self.clock and not told:
            return []
        self.wrong, at = [], ms_of(event["timestamp"])
        due = deadline_of(self.clock)
        if self.ended_at and (event["type"], event.get("reason"), event["version"]) != (
                "status_changed", "clock", self.ended_at + 1):
            self._bad("a clock ended, and its session did not", event)
        if due is not None and due <= at and event["type"] not in NOT_PASSED:
            self._bad("a deadline was passed over", event, f"of {text_of(due)}")
        step = getattr(self, f"_{event['type']}", None)
        made = step(copy.deepcopy(self.clock), event, at, op) if step else self.clock
        if told and told != made:
            self._bad("a clock that its event does not make", event, self._difference(made, told))
        elif step and not told and event["type"] != "session_deleted":
            self._bad("an event without its clock", event)
        self.clock = told or made
        self._check_purses(event)
        return self.wrong

    def _bad(self, what, event, text=""):
        self.wrong.append((what, f"({event['epoch']}, {event['version']}) {event['type']}: {text}"))

    @staticmethod
    def _difference(made, told):
        parts = [f"{n}: {told.get(n)}, not {made[n]}" for n in made if n != "participants" and told.get(n) != made[n]]
        for p, q in zip(made["participants"], told["participants"]):
            parts += [f"{p['participantId']}.{n}: {q.get(n)}, not {p[n]}" for n in p if q.get(n) != p[n]]
        return "; ".join(parts)

    def _check_purses(self, event):
        """Time used + time that remains = time given + increments + adjustments, whatever happened."""
        for purse, given in self.purses.items():
            has = has_in_all(self.clock, next(p for p in self.clock["participants"] if purse_of(self.clock, p) == purse))
            if has != given:
                self._bad("time that nobody gave, or that is gone", event, f"{purse}: {has} ms of {given}")
                self.purses[purse] = has

    # ---- what each event makes of it ----

    def _give(self, clock):
        """All that there is of each time was given."""
        self.purses = {purse_of(clock, p): has_in_all(clock, p) for p in clock["participants"]}
        self.purses.pop(None, None)
        return clock

    def _session_created(self, _, event, at, op):
        clock = event["session"]["clock"]
        self._give(clock)
        made, self.is_active = copy.deepcopy(clock), event["session"]["status"] == "active"
        if self.is_active:
            made["cycleStartedAt"] = None
            go_on(made, at)
        return made

    def _clock_set(self, _, event, at, op):
        self._give(event["clock"])
        return event["clock"]

    def _clock_switched(self, clock, event, at, op):
        turn, to = clock["activeParticipantId"], event["to"]
        asked = op.asked if op and op.asked else {}
        if event["from"] != turn or asked.get("current", turn) != turn:
            self._bad("a switch of another turn", event, f"of {event['from']}, asked for {asked}, at {turn}")
            return event["clock"]
        if asked.get("base", event["version"] - 1) != event["version"] - 1:
            self._bad("a switch with another base", event, f"{asked}")
        p = active(clock)
        at = max(at, ms_of(clock["cycleStartedAt"]) if clock["cycleStartedAt"] else at)
        ran = book(clock, at)
        if event["elapsedMs"] != ran:
            self._bad("a wrongly booked time", event, f"{event['elapsedMs']} ms, not {ran}")
        self._increment(clock, p, to)
        end_turn(clock)
        rotation = following(clock, turn)
        if op and to != (asked.get("next") or rotation):
            self._bad("a switch to another one", event, f"to {to}; asked for {asked}, in rotation {rotation}")
        begin_turn(clock, to)
        clock["cycleStartedAt"] = text_of(at)
        return clock

    def _increment(self, clock, p, to):
        stays = clock["mode"] == "per_group" and p["groupId"] == of(clock, to)["groupId"]
        if purse_of(clock, p) is None or clock["mode"] == "count_up" or p["hasExpired"] or stays:
            return
        gets = min(clock["incrementMs"], MAX_TIME - p["timeRemainingMs"])
        set_left(clock, p, p["timeRemainingMs"] + gets, False)
        self.purses[purse_of(clock, p)] += gets

    def _clock_adjusted(self, clock, event, at, op):
        p = of(clock, event["participantId"])
        book(clock, at)
        left = p["timeRemainingMs"] + event["adjustMs"]
        set_left(clock, p, left, p["hasExpired"] and left == 0)
        if purse_of(clock, p) is not None:
            self.purses[purse_of(clock, p)] += event["adjustMs"]
        if self.is_active:
            go_on(clock, at)
        return clock

    def _clock_expired(self, clock, event, at, op):
        due = deadline_of(clock)
        if due is None:
            self._bad("time was up twice, or never", event, "no time runs")
            return event["clock"]
        if due > at:
            self._bad("time was up too early", event, f"at {text_of(at)}, due at {text_of(due)}")
        self.late.append((due, at))
        p, action = active(clock), clock["onTimeout"]["action"]
        whose = p["groupId"] if clock["mode"] == "per_group" else p["participantId"]
        if event.get("groupId", event.get("participantId")) != whose:
            self._bad("another one's time was up", event, f"not that of {whose}")
        book(clock, due)
        return self._act(clock, p, action, due, event)

    def _act(self, clock, p, action, due, event):
        if action == "notify":
            set_left(clock, p, 0, True)
            clock["cycleStartedAt"] = None
            return clock
        end_turn(clock)
        if clock["mode"] != "per_cycle" or action != "auto_switch":
            set_left(clock, p, 0, True)
        to = None if action == "end_session" else following(clock, p["participantId"])
        begin_turn(clock, to)
        clock["cycleStartedAt"] = text_of(due) if to else None
        self.ended_at = None if to else event["version"]
        expected = (action, None) if to else ("end_session", winner_of(clock, p))
        if (event["action"], event.get("winner")) != expected:
            self._bad("another outcome", event, f"{event['action']}, {event.get('winner')}, not {expected}")
        return clock

    def _status_changed(self, clock, event, at, op):
        self.ended_at = None
        self.is_active = event["to"] == "active"
        if event["reason"] in ("takeover", "clock"):
            return clock
        if self.is_active:
            go_on(clock, at)
        else:
            book(clock, at)
            clock["cycleStartedAt"] = None
        return clock

    def _session_deleted(self, clock, event, at, op):
        return clock

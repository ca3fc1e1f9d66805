"""What the tests of clocks say often, from the contract alone: a clock as a client asks for one, what a device
shows of it, and what its events must add up to."""

import datetime

from harness import MAX_WAIT, wait_until
from rest import path_of

COMMON = {"type", "sessionId", "epoch", "version", "timestamp", "userId", "deviceId"}
CLOCK = {"mode", "totalTimeMs", "incrementMs", "timePerCycleMs", "maxTimeMs", "onTimeout", "warningsMs",
         "participants", "activeParticipantId", "cycleStartedAt", "cycleCount"}
PARTICIPANT = {"participantId", "groupId", "totalTimeMs", "timeUsedMs", "timeRemainingMs", "cycleCount", "isActive",
               "hasExpired"}
VERSIONED = ("session_created", "state_delta", "status_changed", "participant_changed", "device_changed",
             "session_deleted", "clock_set", "clock_switched", "clock_adjusted", "clock_expired")
LONG = 600_000  # ms: no test waits for it
HOUSE = ("white", "black")


# ---- a clock as a client asks for one ----

def clock_of(mode="per_participant", ids=HOUSE, action="end_session", **members):
    """With what its mode needs; ids: of participants, or whole participants."""
    needs = {"per_cycle": {"timePerCycleMs": LONG}, "count_up": {}}.get(mode, {"totalTimeMs": LONG})
    participants = [{"participantId": p} if isinstance(p, str) else p for p in ids]
    return {"mode": mode, **needs, "onTimeout": {"action": action}, "participants": participants, **members}


def person(name, total=None, group=None):
    return {"participantId": name, **({"totalTimeMs": total} if total else {}), **({"groupId": group} if group else {})}


MODES = {
    "per_participant": clock_of(incrementMs=3000),
    "per_cycle": clock_of("per_cycle"),
    "per_group": clock_of("per_group", [person("white", group="one"), person("black", group="two")]),
    "global": clock_of("global"),
    "count_up": clock_of("count_up"),
}


def told(clock):
    """What is particular of it, as the name of a test."""
    usual = clock_of()
    if not isinstance(clock, dict):
        return ascii(clock)
    return ascii({name: value for name, value in clock.items() if value != usual.get(name)}
                 | {name: None for name in usual.keys() - clock.keys()})[:60]


def key(text):
    return {"Idempotency-Key": text}


def switch(device, session, current=None, following=None, **http):
    """POST …/switch."""
    body = {name: value for name, value in (("currentParticipantId", current), ("nextParticipantId", following))
            if value is not None}
    return device.post(f"{path_of(session)}/switch", json=body, **http)


def adjust(device, session, participant, ms, reason="a rule", **http):
    return device.post(f"{path_of(session)}/clock/{participant}", json={"adjustMs": ms, "reason": reason}, **http)


def put_clock(device, session, clock, **http):
    return device.request("PUT", f"{path_of(session)}/clock", json=clock, **http)


# ---- what a device makes of it ----

def ms_of(moment):
    """RFC 3339 with milliseconds, as milliseconds."""
    parsed = datetime.datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    return round(parsed.timestamp() * 1000)


def server_ms(device):
    return ms_of(device.get("/time").json()["serverTime"])


def pass_moment(device, moment):
    """Until the server's time is past it."""
    wait_until(lambda: server_ms(device) > moment, what="the moment")


def of(clock, name):
    """A participant of a clock."""
    return next(p for p in clock["participants"] if p["participantId"] == name)


def runs(clock):
    return clock["cycleStartedAt"] is not None


def begun(clock):
    return ms_of(clock["cycleStartedAt"])


def shares(clock, name):
    """Whether the time that runs is this participant's."""
    if clock["mode"] == "global":
        return True
    active = of(clock, clock["activeParticipantId"])
    return active["participantId"] == name or (
        clock["mode"] == "per_group" and active["groupId"] == of(clock, name)["groupId"])


def shown(clock, name, at):
    """What is left to a participant at that moment of the server, as any device calculates it."""
    left = of(clock, name)["timeRemainingMs"]
    return left - (at - begun(clock)) if runs(clock) and shares(clock, name) else left


def check_clock(clock):
    """What holds of every clock that is shown; returns it."""
    assert clock.keys() == CLOCK
    for p in clock["participants"]:
        assert p.keys() == PARTICIPANT
        assert p["isActive"] is (p["participantId"] == clock["activeParticipantId"])
        assert p["hasExpired"] in (True, False)
        for count in ("timeUsedMs", "cycleCount"):
            assert isinstance(p[count], int) and p[count] >= 0
        assert p["timeRemainingMs"] is None or isinstance(p["timeRemainingMs"], int)
    assert isinstance(clock["cycleCount"], int)
    assert not runs(clock) or clock["activeParticipantId"]
    return clock


def read_clock(device, session):
    return check_clock(device.read(session["id"])["clock"])


# ---- what its events add up to ----

def check_turns(clock, events):
    """Follows a running clock of per_participant through the events of its turns: of each turn every millisecond
    is booked, once. Returns the last clock."""
    for event in events:
        was, now = clock, check_clock(event["clock"])
        ended = was["activeParticipantId"]
        if event["type"] == "clock_switched":
            elapsed, gains = event["elapsedMs"], was["incrementMs"] or 0
            assert (event["from"], event["to"]) == (ended, now["activeParticipantId"]), event
        else:
            assert (event["type"], event["participantId"]) == ("clock_expired", ended), event
            elapsed, gains = of(was, ended)["timeRemainingMs"], 0
        assert 0 <= elapsed <= of(was, ended)["timeRemainingMs"], event
        assert begun(now) == begun(was) + elapsed, event
        assert ms_of(event["timestamp"]) >= begun(now)
        expected = {p["participantId"]: dict(p) for p in was["participants"]}
        expected[ended]["timeUsedMs"] += elapsed
        expected[ended]["timeRemainingMs"] += gains - elapsed
        expected[ended]["cycleCount"] += 1
        for p in now["participants"]:
            told = ("timeUsedMs", "timeRemainingMs", "cycleCount")
            assert [p[n] for n in told] == [expected[p["participantId"]][n] for n in told], event
        assert now["cycleCount"] == was["cycleCount"] + 1
        clock = now
    return clock


def history_of(suite, session):
    """All versioned events that PostgreSQL has, in order."""
    rows = suite.query("select payload from session_events where session_id = %s and type = any(%s) "
                       "order by epoch, version", session["id"], list(VERSIONED))
    return [payload for payload, in rows]


def whole_history(suite, session, version, timeout=MAX_WAIT):
    """Once PostgreSQL has it up to that version: each version, once."""
    events = wait_until(lambda: (found := history_of(suite, session)) and found[-1]["version"] >= version and found,
                        timeout=timeout, what=f"version {version} in the history")
    assert [e["version"] for e in events] == list(range(1, version + 1))
    return events


def of_type(events, *types):
    return [e for e in events if e["type"] in types]


def turns_once(backend, session, n):
    """The n events of turns that a subscriber got, in order: each version once, whatever came twice."""
    def told():
        by_id = {}
        for properties, _, event in backend.messages(session, "clock_switched", "clock_expired"):
            assert by_id.setdefault(properties.message_id, event) == event, "two contents for one version"
        return by_id if len(by_id) >= n else None
    by_id = wait_until(told, what=f"{n} turns at the backend")
    assert len(by_id) == n
    return sorted(by_id.values(), key=lambda e: (e["epoch"], e["version"]))

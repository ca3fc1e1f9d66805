"""What a clock is and does, mode by mode, as a client sees it (contract of clocks): its resource, its bounds, what
a status, a turn, an adjustment and a deadline make of it."""

import contextlib
import json

import pytest

from clocks import (CLOCK, COMMON, HOUSE, LONG, MODES, adjust, begun, check_clock, check_turns, clock_of, ms_of, of,
                    of_type, person, put_clock, read_clock, runs, server_ms, shown, switch, told, whole_history)
from rest import MOMENT, accepted, invalid, path_of, refused
from ws import subscribed

DAY = 86_400_000  # ms
SHORT = 1000  # ms: the shortest there may be


def pending(device, clock, **more):
    return device.create(status="pending", clock=clock, **more)


@contextlib.contextmanager
def game(device, clock):
    """A session that begins now, at version 2, under a watcher's eyes: (session, socket)."""
    session = pending(device, clock)
    with subscribed(device, session["id"]) as socket:
        session = accepted(device.status(session["id"], "active"), 2)
        assert socket.expect("status_changed", version=2)["clock"] == check_clock(session["clock"])
        yield session, socket


def deadline_of(clock, name):
    return begun(clock) + of(clock, name)["timeRemainingMs"]


def used(clock, *names):
    return [of(clock, name)["timeUsedMs"] for name in names]


def expired(socket, clock, name, *actions):
    """The clock_expired of the turn that runs in that clock: not before its moment."""
    event = socket.recv_until("clock_expired")
    assert event["action"] in actions, event
    assert ms_of(event["timestamp"]) >= deadline_of(clock, name)
    check_clock(event["clock"])
    return event


def ended_by_clock(socket, device, event):
    """The session that a clock_expired ended: the next version, by the clock; its resource."""
    change = socket.expect("status_changed", version=event["version"] + 1, to="expired", reason="clock")
    assert change["from"] == "active" and not runs(check_clock(change["clock"]))
    session = device.read(event["sessionId"])
    assert (session["status"], session["version"]) == ("expired", change["version"])
    assert session["completedAt"] == session["updatedAt"] and session["clock"] == change["clock"]
    return session


# ---- the resource ----

def test_a_clock_that_stands_is_shown_as_the_contract_shows_it(suite, phone):
    asked = {"mode": "per_participant", "totalTimeMs": 600000, "incrementMs": 3000, "warningsMs": [10000, 5000, 1000],
             "onTimeout": {"action": "end_session"}, "participants": [{"participantId": name} for name in HOUSE]}
    session = pending(phone, asked)
    assert session["clock"] == {
        **asked, "timePerCycleMs": None, "maxTimeMs": None, "activeParticipantId": None, "cycleStartedAt": None,
        "cycleCount": 0, "participants": [
            {"participantId": name, "groupId": None, "totalTimeMs": 600000, "timeUsedMs": 0, "timeRemainingMs": 600000,
             "cycleCount": 0, "isActive": False, "hasExpired": False} for name in HOUSE]}
    assert phone.read(session["id"]) == session
    state = json.loads(suite.redis_client().get(f"session:{{{session['id']}}}:state"))
    assert state["clock"] == session["clock"] and state["data"] == session["data"]


def test_participants_come_with_a_group_and_a_time_of_their_own(phone):
    session = pending(phone, clock_of(ids=[person("white", 60_000, "one"), person("black", group="two"), "blue"]))
    assert [(p["participantId"], p["totalTimeMs"], p["timeRemainingMs"], p["groupId"])
            for p in check_clock(session["clock"])["participants"]] == [
        ("white", 60_000, 60_000, "one"), ("black", LONG, LONG, "two"), ("blue", LONG, LONG, None)]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_stands_until_the_session_begins(phone, mode):
    clock = check_clock(pending(phone, MODES[mode])["clock"])
    assert (clock["mode"], clock["activeParticipantId"], runs(clock), clock["cycleCount"]) == (mode, None, False, 0)
    left = {"count_up": None}.get(mode, LONG)
    assert [p["timeRemainingMs"] for p in clock["participants"]] == [left, left]
    assert used(clock, *HOUSE) == [0, 0]


def test_a_session_without_a_clock_shows_none(phone):
    assert "clock" not in phone.create()


def test_the_checksum_is_of_the_data_alone(phone):
    assert pending(phone, MODES["global"])["checksum"] == phone.create()["checksum"]


def test_what_is_computed_is_not_believed(phone):
    """A client that sends a clock back as it read it."""
    clock = read_clock(phone, phone.create(clock=MODES["global"]))
    clock["participants"][0].update(timeUsedMs=5, timeRemainingMs=7, cycleCount=9, hasExpired=True)
    answer = create(phone, {**clock, "cycleCount": 9})
    if answer.status_code == 201:
        fresh = pending(phone, MODES["global"])["clock"]
        assert answer.json()["clock"] == fresh
    else:
        invalid(answer)


# ---- bounds ----

def create(device, clock):
    return device.post("/sessions", json={"name": "n", "type": "t", "status": "pending", "clock": clock})


@pytest.mark.parametrize("clock", [
    clock_of(totalTimeMs=1000), clock_of(totalTimeMs=DAY), clock_of(ids=[person("a", 1000), person("b", DAY)]),
    clock_of("per_cycle", timePerCycleMs=1000), clock_of("per_cycle", timePerCycleMs=DAY),
    clock_of("global", totalTimeMs=1000), clock_of("global", totalTimeMs=DAY),
    clock_of(incrementMs=0), clock_of(incrementMs=60_000), clock_of(ids=["alone"]), clock_of(warningsMs=[]),
    clock_of(ids=["a", "A", "0", "._:-", "...", "x" * 128]), clock_of("count_up", maxTimeMs=LONG)], ids=told)
def test_what_is_within_the_bounds_is_taken(phone, clock):
    answer = create(phone, clock)
    assert answer.status_code == 201, answer.text
    shows = check_clock(answer.json()["clock"])
    assert {name: shows[name] for name in clock if name != "participants"} == {
        name: value for name, value in clock.items() if name != "participants"}
    assert [p["participantId"] for p in shows["participants"]] == [p["participantId"] for p in clock["participants"]]


def test_a_thousand_take_part_and_no_more(phone):
    ids = [f"p{n}" for n in range(1001)]
    session = phone.create(clock=clock_of(ids=ids[:1000]))
    assert [p["participantId"] for p in check_clock(session["clock"])["participants"]] == ids[:1000]
    after = accepted(switch(phone, session, "p0", "p999"), 2)["clock"]
    assert after["activeParticipantId"] == "p999"
    assert accepted(switch(phone, session, "p999"), 3)["clock"]["activeParticipantId"] == "p0"
    refused(create(phone, clock_of(ids=ids)), 422, "invalid_value")
    refused(create(phone, clock_of(ids=[])), 422, "invalid_value")


@pytest.mark.parametrize("clock", [
    clock_of(totalTimeMs=999), clock_of(totalTimeMs=DAY + 1), clock_of(totalTimeMs=0), clock_of(totalTimeMs=-1000),
    clock_of("global", totalTimeMs=999), clock_of("per_group", [person("a", group="g")], totalTimeMs=DAY + 1),
    clock_of(ids=[person("a", 999)]), clock_of(ids=[person("a", DAY + 1)]),
    clock_of("per_cycle", timePerCycleMs=999), clock_of("per_cycle", timePerCycleMs=DAY + 1),
    clock_of(incrementMs=60_001), clock_of(incrementMs=-1),
    clock_of(ids=[""]), clock_of(ids=["."]), clock_of(ids=[".."]), clock_of(ids=["x" * 129]), clock_of(ids=["a b"]),
    clock_of(ids=["a/b"]), clock_of(ids=["\u00e4"]), clock_of(ids=["a\n"]), clock_of(ids=["a", "b", "a"])], ids=told)
def test_what_is_out_of_bounds_is_refused(phone, clock):
    body = refused(create(phone, clock), 422, "invalid_value")
    assert body["field"].startswith("clock"), body


@pytest.mark.parametrize("clock", [
    5, [], "per_participant", clock_of(totalTimeMs="1000"), clock_of(totalTimeMs=[1000]), clock_of(mode=5),
    clock_of(participants={}), clock_of(participants="a"), clock_of(participants=[5]), clock_of(participants=["a"]),
    clock_of(participants=[{"participantId": 5}]), clock_of(onTimeout=5),
    clock_of(onTimeout={"action": 5}), clock_of(warningsMs=5), clock_of(warningsMs=["1"]), clock_of(incrementMs=True)],
    ids=told)
def test_what_has_a_wrong_shape_is_refused(phone, clock):
    refused(create(phone, clock), 400, "invalid_request")


def without(clock, name):
    return {member: value for member, value in clock.items() if member != name}


@pytest.mark.parametrize("clock", [
    clock_of(mode="chess", totalTimeMs=LONG), clock_of(action="explode"), clock_of(totalTimeMs=1000.5),
    clock_of(warningsMs=[-1]), clock_of(totalTimeMs=None), clock_of("per_cycle", timePerCycleMs=None),
    clock_of(participants=[{}]), without(clock_of(), "mode"), without(clock_of(), "participants"),
    without(clock_of(), "totalTimeMs"), without(clock_of("per_cycle"), "timePerCycleMs"),
    without(clock_of("global"), "totalTimeMs"), without(MODES["per_group"], "totalTimeMs"), clock_of("per_group"),
    clock_of("per_group", [person("a", group="g"), person("b")]),
    clock_of("per_group", [{"participantId": "a", "groupId": 5}])], ids=told)
def test_what_a_mode_needs_must_be_there(phone, clock):
    body = invalid(create(phone, clock))
    assert body["field"].startswith("clock"), body


def test_a_clock_that_is_refused_leaves_no_session(suite, phone):
    refused(create(phone, clock_of(totalTimeMs=999)), 422, "invalid_value")
    session = phone.create()
    from_list = suite.query("select count(*) from sessions where user_id = %s and id <> %s", phone.user, session["id"])
    assert from_list == [(0,)]


# ---- PUT: before it begins ----

def test_a_pending_sessions_clock_is_set_replaced_and_begins(phone, laptop):
    session = phone.create({"a": 1}, status="pending")
    with subscribed(laptop, session["id"]) as socket:
        for version, mode in enumerate(MODES, 2):
            answer = put_clock(phone, session, MODES[mode])
            assert answer.ok, answer.text
            event = socket.expect("clock_set", version=version, deviceId="phone", userId=phone.user)
            assert event.keys() == COMMON | {"clock"}
            assert check_clock(event["clock"])["mode"] == mode and not runs(event["clock"])
            now = phone.read(session["id"])
            assert (now["version"], now["clock"], now["data"]) == (version, event["clock"], {"a": 1})
            assert now["checksum"] == session["checksum"]
    begun_clock = accepted(phone.status(session["id"], "active"))["clock"]
    assert (begun_clock["mode"], begun_clock["activeParticipantId"]) == ("count_up", "white")


@pytest.mark.parametrize("clock", [clock_of(totalTimeMs=999), clock_of(incrementMs=60_001), clock_of(ids=[]),
                                   clock_of(ids=["a", "a"])], ids=told)
def test_a_put_has_the_same_bounds(phone, clock):
    session = pending(phone, MODES["global"])
    refused(put_clock(phone, session, clock), 422, "invalid_value")
    assert phone.read(session["id"]) == session


# ---- status drives it ----

@pytest.mark.parametrize("mode", MODES)
def test_active_starts_the_first_participants_turn(phone, laptop, mode):
    session = pending(phone, MODES[mode])
    before = server_ms(phone)
    with subscribed(laptop, session["id"]) as socket:
        active = accepted(phone.status(session["id"], "active"), 2)
        clock = check_clock(active["clock"])
        assert clock["activeParticipantId"] == "white" and MOMENT.match(clock["cycleStartedAt"])
        assert before - 1000 <= begun(clock) <= server_ms(phone) + 1000
        assert clock["cycleStartedAt"] == active["updatedAt"]
        event = socket.expect("status_changed", version=2, to="active", reason="request")
        assert event["clock"] == clock
        assert event.keys() == COMMON | {"from", "to", "activeDeviceId", "reason", "clock"}
    if mode != "count_up":
        assert shown(clock, "white", begun(clock)) == LONG
    assert used(clock, *HOUSE) == [0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_a_session_that_is_created_active_has_it_running(phone, mode):
    session = phone.create(clock=MODES[mode])
    clock = check_clock(session["clock"])
    assert (session["status"], clock["activeParticipantId"]) == ("active", "white")
    assert clock["cycleStartedAt"] == session["createdAt"]
    created, = phone.deltas(session["id"])
    assert created["session"]["clock"] == clock


@pytest.mark.parametrize("mode", MODES)
def test_reading_changes_nothing(phone, mode):
    """Calculate, don't count."""
    session = phone.create(clock=MODES[mode])
    with subscribed(phone, session["id"]) as socket:
        assert phone.read(session["id"]) == session
        assert socket.sync["session"] == session


@pytest.mark.parametrize("mode", MODES)
def test_a_pause_books_and_stops_and_active_goes_on(phone, mode):
    session = phone.create(clock=MODES[mode])
    started = begun(session["clock"])
    paused = accepted(phone.status(session["id"], "paused"), 2)
    clock = check_clock(paused["clock"])
    elapsed = ms_of(paused["updatedAt"]) - started
    assert not runs(clock) and used(clock, "white") == [elapsed]
    assert clock["activeParticipantId"] == "white"
    if mode != "count_up":
        assert of(clock, "white")["timeRemainingMs"] == LONG - elapsed
    assert read_clock(phone, session) == clock
    active = accepted(phone.status(session["id"], "active"), 3)
    again = check_clock(active["clock"])
    assert again["cycleStartedAt"] == active["updatedAt"]
    assert {**again, "cycleStartedAt": None} == clock, "a pause is not the end of a turn"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_a_final_status_books_and_stops(phone, mode, status):
    session = phone.create(clock=MODES[mode])
    final = accepted(phone.status(session["id"], status), 2)
    clock = check_clock(final["clock"])
    assert not runs(clock)
    assert used(clock, "white") == [ms_of(final["completedAt"]) - begun(session["clock"])]


def test_a_pending_session_that_is_cancelled_used_nothing(phone):
    session = pending(phone, MODES["per_participant"])
    clock = check_clock(accepted(phone.status(session["id"], "cancelled"), 2)["clock"])
    assert not runs(clock) and used(clock, *HOUSE) == [0, 0]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "count_up"])
def test_a_takeover_and_a_patch_and_a_restore_leave_it_running(phone, laptop, mode):
    session = phone.create({"a": 1}, clock=MODES[mode])
    before = session["clock"]
    taken = accepted(laptop.status(session["id"], "active"), 2)["clock"]
    at = server_ms(phone)
    assert runs(taken) and shown(taken, "white", at) == shown(before, "white", at)
    assert phone.patch(session["id"], [{"op": "add", "path": "/data/a", "value": 2}]).ok
    assert read_clock(phone, session) == taken
    assert phone.post(f"{path_of(session)}/restore", json={"version": 1}).ok
    now = phone.read(session["id"])
    assert (now["clock"], now["data"]) == (taken, {"a": 1})


# ---- turns ----

def test_chess_each_turn_takes_from_ones_own_time_and_gains_the_increment(phone):
    session = phone.create(clock=MODES["per_participant"])
    clock = session["clock"]
    for version, name in enumerate(["white", "black", "white", "black", "white"], 2):
        assert clock["activeParticipantId"] == name
        after = accepted(switch(phone, session, name), version)
        clock = check_clock(after["clock"])
        assert clock["cycleStartedAt"] == after["updatedAt"]
    events = phone.deltas(session["id"], since=1)
    assert {e["type"] for e in events} == {"clock_switched"}
    assert check_turns(session["clock"], events) == clock
    assert [of(clock, name)["cycleCount"] for name in HOUSE] == [3, 2] and clock["cycleCount"] == 5
    for name, turns in zip(HOUSE, (3, 2)):
        p = of(clock, name)
        assert p["timeUsedMs"] + p["timeRemainingMs"] == LONG + turns * 3000


def test_a_pause_within_a_turn_is_not_its_time_and_brings_no_increment(phone):
    session = phone.create(clock=MODES["per_participant"])
    paused = accepted(phone.status(session["id"], "paused"), 2)
    first = used(paused["clock"], "white")[0]
    active = accepted(phone.status(session["id"], "active"), 3)
    white = of(accepted(switch(phone, session, "white"), 4)["clock"], "white")
    event = phone.deltas(session["id"], since=3)[0]
    assert white["timeUsedMs"] == first + ms_of(event["timestamp"]) - begun(active["clock"])
    assert white["timeUsedMs"] + white["timeRemainingMs"] == LONG + 3000
    assert white["cycleCount"] == 1


def test_the_rotation_is_as_given_and_whoever_is_named_comes_next(phone):
    session = phone.create(clock=clock_of(ids=["a", "b", "c"]))
    order = ["a"]
    for following in (None, None, None, "c", None, "c", "b", None):
        clock = accepted(switch(phone, session, order[-1], following))["clock"]
        order.append(clock["activeParticipantId"])
    assert order == ["a", "b", "c", "a", "c", "a", "c", "b", "c"]
    assert check_turns(session["clock"], phone.deltas(session["id"], since=1)) == clock


def test_per_cycle_every_turn_starts_with_the_whole_time(phone):
    session = phone.create(clock=clock_of("per_cycle", ["a", "b", "c"]))
    clock, spent = session["clock"], {"a": 0, "b": 0, "c": 0}
    for name in ["a", "b", "c", "a", "b"]:
        assert clock["activeParticipantId"] == name
        assert shown(clock, name, begun(clock)) == LONG
        after = accepted(switch(phone, session, name))["clock"]
        spent[name] += begun(after) - begun(clock)
        clock = check_clock(after)
    assert {name: used(clock, name)[0] for name in spent} == spent
    assert clock["cycleCount"] == 5 and [p["cycleCount"] for p in clock["participants"]] == [2, 2, 1]


def test_per_group_the_members_share_their_time(phone):
    people = [person("a1", group="a"), person("b1", group="b"), person("a2", group="a"), person("b2", group="b")]
    session = phone.create(clock=clock_of("per_group", people))
    started, clock = begun(session["clock"]), session["clock"]

    def left(names, at):
        return {shown(clock, name, at) for name in names}
    clock = accepted(switch(phone, session, "a1", "a2"))["clock"]  # within the group
    at = server_ms(phone)
    assert clock["activeParticipantId"] == "a2"
    assert left(("a1", "a2"), at) == {LONG - (at - started)} and left(("b1", "b2"), at) == {LONG}
    clock = check_clock(accepted(switch(phone, session, "a2", "b2"))["clock"])
    a_used, b_started, at = begun(clock) - started, begun(clock), server_ms(phone)
    assert left(("a1", "a2"), at) == {LONG - a_used} and left(("b1", "b2"), at) == {LONG - (at - b_started)}
    clock = accepted(switch(phone, session, "b2", "a1"))["clock"]
    b_used, started, at = begun(clock) - b_started, begun(clock), server_ms(phone)
    assert left(("a1", "a2"), at) == {LONG - a_used - (at - started)} and left(("b1", "b2"), at) == {LONG - b_used}
    assert clock["cycleCount"] == 3


def test_global_one_time_runs_for_all(phone):
    session = phone.create(clock=clock_of("global", ["a", "b", "c"]))
    started, clock = begun(session["clock"]), session["clock"]
    for name in ["a", "b", "c", "a"]:
        assert clock["activeParticipantId"] == name
        clock = check_clock(accepted(switch(phone, session, name))["clock"])
        at = server_ms(phone)
        assert {shown(clock, p, at) for p in "abc"} == {LONG - (at - started)}
    clock = check_clock(accepted(phone.status(session["id"], "paused"))["clock"])
    elapsed = ms_of(phone.read(session["id"])["updatedAt"]) - started
    assert {p["timeRemainingMs"] for p in clock["participants"]} == {LONG - elapsed}


def test_count_up_counts_what_each_used(phone):
    session = phone.create(clock=clock_of("count_up", ["a", "b"]))
    clock, spent = session["clock"], {"a": 0, "b": 0}
    for name in ["a", "b", "a"]:
        after = accepted(switch(phone, session, name))["clock"]
        spent[name] += begun(after) - begun(clock)
        clock = check_clock(after)
    assert {name: used(clock, name)[0] for name in spent} == spent
    assert [p["timeRemainingMs"] for p in clock["participants"]] == [None, None]


# ---- deadlines ----

def test_chess_who_is_out_of_time_loses(phone):
    with game(phone, clock_of(ids=[person("white", SHORT), "black"], incrementMs=3000)) as (session, socket):
        event = expired(socket, session["clock"], "white", "end_session")
        assert event.keys() == COMMON | {"participantId", "action", "clock", "winner"}
        assert (event["participantId"], event["winner"], event["version"]) == ("white", "black", 3)
        final = ended_by_clock(socket, phone, event)["clock"]
    for clock in (event["clock"], final):
        white = of(clock, "white")
        assert (white["timeUsedMs"], white["timeRemainingMs"], white["hasExpired"]) == (SHORT, 0, True)
        black = of(clock, "black")
        assert (black["timeUsedMs"], black["timeRemainingMs"], black["hasExpired"]) == (0, LONG, False)


@pytest.mark.parametrize("clock, member", [
    (clock_of("per_cycle", timePerCycleMs=SHORT), ("participantId", "white")),
    (clock_of("per_group", [person("white", group="one"), person("black", group="two")], totalTimeMs=SHORT),
     ("groupId", "one")),
    (clock_of("global", totalTimeMs=SHORT), None),
    (clock_of("global", totalTimeMs=SHORT, action="skip"), None),
    (clock_of("count_up", ["white"], maxTimeMs=SHORT), ("participantId", "white"))],
    ids=["per_cycle", "per_group", "global", "global skip", "count_up"])
def test_the_end_of_time_ends_the_session(phone, clock, member):
    with game(phone, clock) as (session, socket):
        event = socket.expect("clock_expired", version=3)
        assert ms_of(event["timestamp"]) >= begun(session["clock"]) + SHORT
        assert COMMON | {"action", "clock"} <= event.keys()
        assert event.keys() <= COMMON | {"action", "clock", "participantId", "groupId", "winner"}
        assert event["action"] in ("end_session", clock["onTimeout"]["action"])
        if member:
            assert event[member[0]] == member[1]
        if "groupId" in event:
            assert event["winner"] == "two"
        final = ended_by_clock(socket, phone, event)["clock"]
    assert used(final, "white") == [SHORT]
    if clock["mode"] != "count_up":
        assert of(final, "white")["timeRemainingMs"] == 0


def test_of_more_than_two_nobody_wins(phone):
    with game(phone, clock_of(ids=[person("a", SHORT), "b", "c"])) as (session, socket):
        event = expired(socket, session["clock"], "a", "end_session")
        assert "winner" not in event
        ended_by_clock(socket, phone, event)


def test_skip_goes_on_with_the_next_until_nobody_is_left(phone):
    asked = clock_of(ids=["a", "b", "c"], action="skip", totalTimeMs=SHORT, incrementMs=1000)
    with game(phone, asked) as (session, socket):
        clock = session["clock"]
        started = begun(clock)
        for n, name in enumerate("abc", 1):
            event = expired(socket, clock, name, "skip", *(["end_session"] if name == "c" else []))
            assert (event["participantId"], event["version"]) == (name, n + 2)
            clock = event["clock"]
            one = of(clock, name)
            assert (one["timeUsedMs"], one["timeRemainingMs"], one["hasExpired"]) == (SHORT, 0, True)
            if name != "c":
                assert clock["activeParticipantId"] == "abc"[n] and begun(clock) == started + n * SHORT
        final = ended_by_clock(socket, phone, event)["clock"]
    assert used(final, *"abc") == [SHORT] * 3 and all(p["hasExpired"] for p in final["participants"])


def test_who_was_skipped_has_no_turn_again(phone):
    session = phone.create(clock=clock_of(ids=["a", person("b", SHORT), "c"], action="skip"))
    with subscribed(phone, session["id"]) as socket:
        clock = accepted(switch(phone, session, "a"))["clock"]
        event = expired(socket, clock, "b", "skip")
    assert event["clock"]["activeParticipantId"] == "c" and begun(event["clock"]) == deadline_of(clock, "b")
    assert accepted(switch(phone, session, "c"))["clock"]["activeParticipantId"] == "a"
    clock = accepted(switch(phone, session, "a"))["clock"]
    assert clock["activeParticipantId"] == "c", "b has no time left"
    assert used(clock, "b") == [SHORT]


def test_a_group_that_is_skipped_is_skipped_with_all_its_members(phone):
    people = [person("a1", group="a"), person("a2", group="a"), person("b1", group="b")]
    with game(phone, clock_of("per_group", people, action="skip", totalTimeMs=SHORT)) as (session, socket):
        clock = session["clock"]
        event = expired(socket, clock, "a1", "skip")
        assert event["groupId"] == "a" and event["clock"]["activeParticipantId"] == "b1"
        assert begun(event["clock"]) == begun(clock) + SHORT
        assert [of(event["clock"], p)["timeRemainingMs"] for p in ("a1", "a2", "b1")] == [0, 0, SHORT]
        event = expired(socket, event["clock"], "b1", "skip", "end_session")
        assert event["groupId"] == "b"
        ended_by_clock(socket, phone, event)


def test_auto_switch_is_a_switch_without_an_increment(phone):
    asked = clock_of(ids=[person("white", SHORT), "black"], action="auto_switch", incrementMs=5000)
    with game(phone, asked) as (session, socket):
        event = expired(socket, session["clock"], "white", "auto_switch")
        assert event.keys() == COMMON | {"participantId", "action", "clock"}
        assert event["participantId"] == "white" and event["clock"]["activeParticipantId"] == "black"
    assert check_turns(session["clock"], phone.deltas(session["id"], since=2)) == event["clock"]
    assert of(event["clock"], "white")["timeRemainingMs"] == 0
    assert accepted(switch(phone, session, "black"), 4)["status"] == "active"


def test_per_cycle_auto_switch_goes_round(phone):
    """A meeting's agenda: each item its time, again and again."""
    with game(phone, clock_of("per_cycle", ["a", "b"], action="auto_switch", timePerCycleMs=SHORT)) as (session, socket):
        clock = session["clock"]
        started = begun(clock)
        for n, name in enumerate("abab", 1):
            event = expired(socket, clock, name, "auto_switch")
            assert event["participantId"] == name and begun(event["clock"]) == started + n * SHORT
            clock = event["clock"]
            assert clock["activeParticipantId"] == "ba"[(n - 1) % 2]
            assert shown(clock, clock["activeParticipantId"], begun(clock)) == SHORT
    clock = accepted(phone.status(session["id"], "paused"))["clock"]
    assert used(clock, "a")[0] >= 2 * SHORT


def test_per_cycle_skip_passes_to_the_next(phone):
    with game(phone, clock_of("per_cycle", ["a", "b", "c"], action="skip", timePerCycleMs=SHORT)) as (session, socket):
        after = expired(socket, session["clock"], "a", "skip")["clock"]
        assert (after["activeParticipantId"], begun(after)) == ("b", begun(session["clock"]) + SHORT)
        assert of(after, "a")["hasExpired"] and used(after, "a") == [SHORT]
        assert shown(after, "b", begun(after)) == SHORT


def test_notify_is_told_once_and_the_rest_is_the_apps(phone):
    with game(phone, clock_of(ids=[person("white", SHORT), "black"], action="notify")) as (session, socket):
        deadline = deadline_of(session["clock"], "white")
        event = expired(socket, session["clock"], "white", "notify")
        assert event.keys() == COMMON | {"participantId", "action", "clock"} and event["version"] == 3
        clock = event["clock"]
        assert clock["activeParticipantId"] == "white" and shown(clock, "white", deadline) == 0
    now = phone.read(session["id"])
    assert (now["status"], now["version"], now["clock"]) == ("active", 3, clock)
    after = accepted(switch(phone, session, "white"), 4)["clock"]
    assert after["activeParticipantId"] == "black"
    assert [e["type"] for e in phone.deltas(session["id"], since=2)] == ["clock_expired", "clock_switched"]


def test_a_turn_that_ends_in_time_moves_the_deadline(phone):
    """The first turn's deadline must find the second's."""
    with game(phone, clock_of("per_cycle", timePerCycleMs=3000)) as (session, socket):
        second = accepted(switch(phone, session, "white"))["clock"]
        event = socket.recv_until("clock_expired")
        assert event["participantId"] == "black"
        assert ms_of(event["timestamp"]) >= begun(second) + 3000
        final = ended_by_clock(socket, phone, event)["clock"]
    assert used(final, *HOUSE) == [begun(second) - begun(session["clock"]), 3000]


def test_a_pause_takes_the_deadline_away(phone):
    with game(phone, clock_of(totalTimeMs=2000)) as (session, socket):
        paused = accepted(phone.status(session["id"], "paused"))
        with game(phone, clock_of(totalTimeMs=3000)) as (_, control):
            control.expect("clock_expired")
        assert phone.read(session["id"]) == paused, "its moment has passed, and it stood"
        clock = accepted(phone.status(session["id"], "active"))["clock"]
        event = expired(socket, clock, "white", "end_session")
        assert used(ended_by_clock(socket, phone, event)["clock"], "white") == [2000]


def test_a_session_that_ended_has_no_deadline(phone):
    sessions = [phone.create(clock=clock_of(totalTimeMs=3000)) for _ in range(2)]
    ended = [accepted(phone.status(s["id"], status)) for s, status in zip(sessions, ("completed", "cancelled"))]
    with game(phone, clock_of(totalTimeMs=4000)) as (_, control):
        control.expect("clock_expired")
    assert [phone.read(s["id"]) for s in sessions] == ended


def test_a_deleted_session_has_no_deadline(suite, phone):
    session = phone.create(clock=clock_of(totalTimeMs=3000))
    assert phone.delete(path_of(session)).status_code == 204
    with game(phone, clock_of(totalTimeMs=4000)) as (other, control):
        control.expect("clock_expired")
        whole_history(suite, other, 4)
    assert [e["type"] for e in whole_history(suite, session, 2)] == ["session_created", "session_deleted"]


# ---- warnings ----

def test_warnings_come_before_the_end_in_order(phone):
    with game(phone, clock_of(totalTimeMs=3000, warningsMs=[2000, 1000], action="auto_switch")) as (session, socket):
        started = begun(session["clock"])
        for before in (2000, 1000):
            warning = socket.expect("clock_warning", participantId="white", version=2, epoch=1)
            assert warning.keys() == COMMON | {"participantId", "remainingMs"}
            assert 0 < warning["remainingMs"] <= before
            assert ms_of(warning["timestamp"]) >= started + 3000 - before
        socket.expect("clock_expired", version=3, participantId="white")
        # The next turn has its own.
        warning = socket.expect("clock_warning", participantId="black", version=3)
        assert 0 < warning["remainingMs"] <= 2000
    assert of_type(phone.deltas(session["id"]), "clock_warning") == []


def test_a_turn_that_ended_warns_no_more(phone):
    asked = clock_of(ids=[person("white", 3000), person("black", 5000)], warningsMs=[1000])
    with game(phone, asked) as (session, socket):
        accepted(switch(phone, session, "white"))
        assert socket.recv_until("clock_warning")["participantId"] == "black"
        socket.expect("clock_expired", participantId="black")


def test_a_warning_is_told_once_also_over_a_pause(phone):
    with game(phone, clock_of(totalTimeMs=4000, warningsMs=[3000, 500])) as (session, socket):
        assert socket.expect("clock_warning")["remainingMs"] <= 3000
        accepted(phone.status(session["id"], "paused"), 3)
        clock = accepted(phone.status(session["id"], "active"), 4)["clock"]
        for version in (3, 4):
            socket.expect("status_changed", version=version)
        warning = socket.expect("clock_warning", version=4)
        assert warning["remainingMs"] <= 500
        assert ms_of(warning["timestamp"]) >= deadline_of(clock, "white") - 500
        socket.expect("clock_expired", version=5)


# ---- adjustments ----

def test_time_is_given_and_taken(phone, laptop):
    session = pending(phone, MODES["per_participant"])
    with subscribed(laptop, session["id"]) as socket:
        for version, ms in enumerate((60_000, -30_000), 2):
            answer = adjust(phone, session, "black", ms, reason="the arbiter")
            assert answer.ok, answer.text
            event = socket.expect("clock_adjusted", version=version, participantId="black", adjustMs=ms,
                                  reason="the arbiter", deviceId="phone")
            assert event.keys() == COMMON | {"participantId", "adjustMs", "reason", "clock"}
            assert read_clock(phone, session) == event["clock"]
    assert [of(event["clock"], p)["timeRemainingMs"] for p in HOUSE] == [LONG, LONG + 30_000]


def test_the_running_participant_is_adjusted_in_its_turn(phone):
    session = phone.create(clock=clock_of())
    assert adjust(phone, session, "white", 10_000).ok
    clock = read_clock(phone, session)
    at = server_ms(phone)
    assert clock["activeParticipantId"] == "white" and clock["cycleCount"] == 0
    assert shown(clock, "white", at) == LONG + 10_000 - (at - begun(session["clock"]))
    assert shown(clock, "black", at) == LONG
    paused = accepted(phone.status(session["id"], "paused"))["clock"]
    white = of(paused, "white")
    assert white["timeUsedMs"] + white["timeRemainingMs"] == LONG + 10_000


def test_time_that_is_taken_brings_the_deadline_nearer(phone):
    with game(phone, clock_of()) as (session, socket):
        assert adjust(phone, session, "white", SHORT - LONG).ok
        event = socket.recv_until("clock_expired")
        assert event["participantId"] == "white"
        assert ms_of(event["timestamp"]) >= begun(session["clock"]) + SHORT
        final = ended_by_clock(socket, phone, event)["clock"]
    assert used(final, "white") == [SHORT]


def test_time_that_is_given_puts_the_deadline_off(phone):
    session = phone.create(clock=clock_of(totalTimeMs=3000))
    assert accepted(phone.status(session["id"], "paused"))["status"] == "paused"
    assert adjust(phone, session, "white", SHORT).ok
    with subscribed(phone, session["id"]) as socket:
        clock = accepted(phone.status(session["id"], "active"))["clock"]
        event = expired(socket, clock, "white", "end_session")
        assert used(ended_by_clock(socket, phone, event)["clock"], "white") == [3000 + SHORT]


def test_more_is_taken_than_there_is(phone):
    """Whatever the server makes of it, nobody has less than nothing."""
    session = pending(phone, clock_of(ids=["a", "b", "c"], action="skip"))
    answer = adjust(phone, session, "b", -LONG - 5000)
    if answer.ok:
        assert of(read_clock(phone, session), "b")["timeRemainingMs"] == 0
    else:
        refused(answer, 422, "invalid_value")
        assert phone.read(session["id"]) == session


@pytest.mark.parametrize("name", ["per_group", "global"])
def test_a_shared_time_is_adjusted_for_all_who_share_it(phone, name):
    people = [person("a1", group="a"), person("a2", group="a"), person("b1", group="b")]
    session = pending(phone, clock_of(name, people))
    assert adjust(phone, session, "a2", 60_000).ok
    shares = {"per_group": [LONG + 60_000, LONG + 60_000, LONG], "global": [LONG + 60_000] * 3}[name]
    assert [p["timeRemainingMs"] for p in read_clock(phone, session)["participants"]] == shares


def test_the_clocks_members_are_always_the_same(phone):
    """Through all that can happen to it."""
    session = pending(phone, MODES["per_participant"])
    accepted(phone.status(session["id"], "active"))
    accepted(switch(phone, session, "white"))
    assert adjust(phone, session, "white", 1).ok
    accepted(phone.status(session["id"], "completed"))
    clocks = [e.get("clock") or e["session"]["clock"] for e in phone.deltas(session["id"])]
    assert len(clocks) == 5 and all(check_clock(clock).keys() == CLOCK for clock in clocks)

"""Who is quicker: many devices, a pause or the deadline end the same turn, and one of them does. No turn is lost or
ended twice, by what they are answered, by the history and by what a subscriber is told."""

import contextlib
import time

import pytest

from backend import Backend
from clocks import (LONG, adjust, begun, check_turns, clock_of, of_type, person, read_clock, switch,
                    turns_once, whole_history)
from harness import new_user, together
from rest import accepted, path_of, refused
from ws import acked, ask, subscribed
from ws import refused as refused_frame

N_DEVICES = 64
ROUNDS = {"by participant": 80, "by version": 40, "both": 40, "WebSocket": 40}


@pytest.fixture
def devices(suite, phone, user):
    return [phone] + [suite.device(user, f"device-{i}") for i in range(1, N_DEVICES)]


def by_participant(device, session, now):
    return switch(device, session, now["clock"]["activeParticipantId"])


def by_version(device, session, now):
    return switch(device, session, headers={"If-Match": f'"{now["version"]}"'})


def lost_the_race(answer):
    """Answered that the turn was ended already."""
    return (answer.status_code, answer.json()["code"]) in ((409, "not_active_participant"), (412, "version_conflict"))


def check_rounds(backend, device, session, now, n):
    """n turns after version 1 have been played, each once, up to the session as it is now."""
    events = whole_history(device.suite, session, n + 1)[1:]
    assert check_turns(session["clock"], events) == now["clock"] == read_clock(device, session)
    assert turns_once(backend, session, n) == events
    assert now["clock"]["cycleCount"] == n and now["version"] == n + 1


@pytest.mark.parametrize("way", ["by participant", "by version", "both"])
def test_64_devices_end_the_same_turn_once(suite, phone, devices, way):
    ways = {"by participant": [by_participant], "by version": [by_version], "both": [by_participant, by_version]}[way]
    with Backend(suite) as backend:
        session = now = phone.create(clock=clock_of(incrementMs=2000))
        for _ in range(ROUNDS[way]):
            answers = together(N_DEVICES, lambda i: ways[i % len(ways)](devices[i], session, now))
            took = [a for a in answers if a.status_code == 200]
            assert len(took) == 1, [a.text for a in answers]
            assert all(lost_the_race(a) for a in answers if a is not took[0]), [a.text for a in answers]
            now = accepted(took[0], now["version"] + 1)
        check_rounds(backend, phone, session, now, ROUNDS[way])


def test_64_devices_end_the_same_turn_once_by_websocket(suite, phone):
    with Backend(suite) as backend, contextlib.ExitStack() as stack:
        session = phone.create(clock=clock_of(incrementMs=2000))
        first = phone.read(session["id"])["version"]
        friends = [new_user() for _ in range(8)]
        for friend in friends:
            answer = phone.request("PUT", f"{path_of(session)}/participants/{friend}", json={"role": "editor"})
            assert answer.ok, answer.text
        first += len(friends)
        sockets = [stack.enter_context(subscribed(suite.device(friends[i % 8], f"d{i}"), session["id"]))
                   for i in range(N_DEVICES)]
        n = ROUNDS["WebSocket"]
        for turn in range(n):
            name = ("white", "black")[turn % 2]
            frames = together(N_DEVICES, lambda i: ask(sockets[i], "switch", sessionId=session["id"],
                                                       currentParticipantId=name))
            took = [f for f in frames if f["type"] == "ack"]
            assert len(took) == 1, frames
            acked(took[0], first + turn + 1)
            for frame in frames:
                if frame is not took[0]:
                    refused_frame(frame, "not_active_participant")
        events = of_type(whole_history(suite, session, first + n), "clock_switched")
        assert check_turns(session["clock"], events) == read_clock(phone, session)
        assert turns_once(backend, session, n) == events


def test_of_64_different_wishes_who_is_next_one_is_granted(phone, devices):
    names = [f"p{i}" for i in range(N_DEVICES)]  # and not oneself: that turn would be the same one's again
    session = phone.create(clock=clock_of(ids=["first", *names]))
    answers = together(N_DEVICES, lambda i: switch(devices[i], session, "first", names[i]))
    took = [i for i, a in enumerate(answers) if a.status_code == 200]
    assert len(took) == 1, [a.text for a in answers]
    clock = accepted(answers[took[0]], 2)["clock"]
    assert clock["activeParticipantId"] == names[took[0]] and clock["cycleCount"] == 1
    assert read_clock(phone, session) == clock


def test_a_pause_and_a_switch_at_the_same_moment(phone, laptop):
    """Either the turn was ended before the pause, or it was not ended at all."""
    session = now = phone.create(clock=clock_of())
    for _ in range(20):
        name = now["clock"]["activeParticipantId"]
        paused, switched = together(2, lambda i: switch(laptop, session, name) if i else phone.status(
            session["id"], "paused"))
        assert paused.status_code == 200, paused.text
        if switched.status_code == 200:
            assert switched.json()["version"] == now["version"] + 1
        else:
            refused(switched, 409, "invalid_transition")
        after = phone.read(session["id"])
        n_turns = int(switched.status_code == 200)
        assert after["version"] == now["version"] + 1 + n_turns and after["status"] == "paused"
        assert after["clock"]["cycleCount"] == now["clock"]["cycleCount"] + n_turns
        assert (after["clock"]["activeParticipantId"] == name) is (n_turns == 0)
        now = accepted(phone.status(session["id"], "active"), after["version"] + 1)
    whole = phone.read(session["id"])["clock"]
    assert all(p["timeUsedMs"] + p["timeRemainingMs"] == LONG for p in whole["participants"])


def test_a_switch_at_the_deadline(suite, phone, devices):
    """Whoever is first, player or clock: the turn ends once, and nobody plays on borrowed time."""
    n = 8
    names = [f"p{i}" for i in range(n)]
    with Backend(suite) as backend:
        people = [person(name, 1000) for name in names] + ["last"]
        session = phone.create(clock=clock_of(ids=people, action="auto_switch"))
        clock = session["clock"]
        for turn, name in enumerate(names):
            assert clock["activeParticipantId"] == name
            deadline = begun(clock) + 1000

            def attempt(i):
                # Aimed around the deadline; what is asserted does not depend on where it hits.
                time.sleep(max(0, deadline - 12 + 3 * i - time.time() * 1000) / 1000)
                return switch(devices[i], session, name)
            answers = together(8, attempt)
            assert sum(a.status_code == 200 for a in answers) <= 1
            assert all(a.status_code == 200 or lost_the_race(a) for a in answers), [a.text for a in answers]
            now = phone.read(session["id"])
            assert now["version"] == turn + 2, "the turn ended once"
            clock = now["clock"]
        check_rounds(backend, phone, session, now, n)


def test_an_adjustment_and_a_switch_at_the_same_moment_both_count(phone, laptop):
    session = now = phone.create(clock=clock_of())
    for n in range(1, 11):
        name = now["clock"]["activeParticipantId"]
        answers = together(2, lambda i: switch(laptop, session, name) if i else adjust(phone, session, name, 1000))
        assert [a.status_code for a in answers] == [200, 200], [a.text for a in answers]
        now = phone.read(session["id"])
        assert now["version"] == 1 + 2 * n
        given = sum(p["timeUsedMs"] + p["timeRemainingMs"] for p in now["clock"]["participants"])
        assert given == 2 * LONG + 1000 * n

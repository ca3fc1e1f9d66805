"""Commands to a clock (contract of clocks): who may, on what base, under which key, by REST and by WebSocket; what
everybody is told of them, and where a clock is found again."""

import contextlib
import json
import uuid

import pytest

import ws
from backend import Backend
from clocks import (CLOCK, COMMON, HOUSE, LONG, MODES, adjust, begun, check_clock, check_turns, clock_of, key,
                    ms_of, of, of_type, person, put_clock, read_clock, runs, shown, switch, whole_history)
from cold import age, cool, lose
from harness import new_user, wait_until
from rest import MISSING_ID, accepted, invalid, path_of, refused, unchanged
from sse import streamed
from ws import acked, ask, is_alive, subscribed

FINAL = ["completed", "cancelled"]


def if_match(version):
    return {"If-Match": f'"{version}"'}


@pytest.fixture
def session(phone):
    """White's turn, at version 1."""
    return phone.create({"n": 0}, clock=MODES["per_participant"])


@pytest.fixture
def pending(phone):
    return phone.create({"n": 0}, status="pending", clock=MODES["per_participant"])


@pytest.fixture
def socket(laptop, session):
    with subscribed(laptop, session["id"]) as socket:
        yield socket


def share(phone, session, device, role):
    answer = phone.request("PUT", f"{path_of(session)}/participants/{device.user}", json={"role": role})
    assert answer.ok, answer.text


# ---- the base of a switch ----

def test_a_switch_needs_to_know_which_turn_it_ends(phone, session):
    with unchanged(phone, session["id"]):
        refused(switch(phone, session), 428, "precondition_required")
        refused(switch(phone, session, following="black"), 428, "precondition_required")
        refused(switch(phone, session, headers=key("k")), 428, "precondition_required")


def test_the_turn_is_named_by_its_participant_or_by_the_version(phone, session):
    assert accepted(switch(phone, session, "white"), 2)["clock"]["activeParticipantId"] == "black"
    ways = [{"headers": if_match(2)}, {"current": "white", "headers": if_match(3)}, {"headers": {"If-Match": '"1", "4"'}}]
    for version, way in enumerate(ways, 3):
        clock = accepted(switch(phone, session, **way), version)["clock"]
        assert clock["activeParticipantId"] == HOUSE[version % 2 == 0]


def test_any_version_may_be_meant(phone, laptop, session):
    """Who says so ends whichever turn it is, and the next device the one after it."""
    any_version = {"If-Match": "*"}
    assert accepted(switch(phone, session, headers=any_version), 2)["clock"]["activeParticipantId"] == "black"
    assert accepted(switch(laptop, session, headers=any_version), 3)["clock"]["activeParticipantId"] == "white"
    refused(switch(phone, session, "black", headers=any_version), 409, "not_active_participant")


def test_a_switch_answers_the_session(phone, session):
    answer = switch(phone, session, "white")
    assert accepted(answer, 2) == phone.read(session["id"])
    assert answer.json().keys() == session.keys() and answer.json()["data"] == {"n": 0}


def test_another_turn_than_the_one_that_runs_is_not_ended(phone, session):
    with unchanged(phone, session["id"]):
        refused(switch(phone, session, "black"), 409, "not_active_participant", temporary=False)
        refused(switch(phone, session, "black", "white"), 409, "not_active_participant")
        refused(switch(phone, session, "black", headers=if_match(1)), 409, "not_active_participant")


def test_another_version_than_the_sessions_is_no_base(phone, session):
    accepted(switch(phone, session, "white"), 2)
    with unchanged(phone, session["id"]):
        for version in (1, 3):
            refused(switch(phone, session, headers=if_match(version)), 412, "version_conflict", currentVersion=2)
        # If-Match is judged first.
        refused(switch(phone, session, "white", headers=if_match(1)), 412, "version_conflict")
        refused(switch(phone, session, "black", headers=if_match("2.2")), 412, "version_conflict")
        body = refused(switch(phone, session, headers=if_match(1)), 412, "version_conflict", epoch=1)
        assert [e["type"] for e in body["deltas"]] == ["clock_switched"]
        assert body["deltas"] == phone.deltas(session["id"], since=1)
    for bad in ("1", 'W/"2"', '"x', ""):
        assert switch(phone, session, headers={"If-Match": bad}).status_code in (400, 412, 428), bad
    assert phone.read(session["id"])["version"] == 2


def test_two_devices_end_the_same_turn_once(phone, laptop, session):
    accepted(switch(phone, session, "white"), 2)
    refused(switch(laptop, session, "white"), 409, "not_active_participant")
    refused(switch(laptop, session, headers=if_match(1)), 412, "version_conflict")
    assert phone.read(session["id"])["version"] == 2


@pytest.mark.parametrize("body", [
    {"currentParticipantId": 5}, {"currentParticipantId": "white", "nextParticipantId": 5}, [], "white", 5,
    {"currentParticipantId": ["white"]}], ids=json.dumps)
def test_a_switch_of_a_wrong_shape_is_refused(phone, session, body):
    with unchanged(phone, session["id"]):
        refused(phone.post(f"{path_of(session)}/switch", json=body), 400, "invalid_request")


def test_nobody_comes_next_who_takes_no_part(phone, session):
    with unchanged(phone, session["id"]):
        invalid(switch(phone, session, "white", "nobody"))


# ---- without a running clock ----

def test_without_a_clock_nothing_is_switched(phone):
    session = phone.create()
    with unchanged(phone, session["id"]):
        refused(switch(phone, session, "white"), 409, "invalid_transition")
        refused(switch(phone, session, headers=if_match(1)), 409, "invalid_transition")


def test_a_clock_that_stands_is_not_switched(phone, session, pending):
    with unchanged(phone, pending["id"]):
        refused(switch(phone, pending, "white"), 409, "invalid_transition")
        refused(switch(phone, pending, headers=if_match(1)), 409, "invalid_transition")
    accepted(phone.status(session["id"], "paused"), 2)
    with unchanged(phone, session["id"]):
        refused(switch(phone, session, "white"), 409, "invalid_transition")
        refused(switch(phone, session, headers=if_match(2)), 409, "invalid_transition")


@pytest.mark.parametrize("status", FINAL)
def test_after_the_end_nothing_is_written(phone, session, status):
    accepted(phone.status(session["id"], status), 2)
    with unchanged(phone, session["id"]):
        refused(switch(phone, session, "white"), 409, "session_ended")
        refused(adjust(phone, session, "white", 1000), 409, "session_ended")
        refused(put_clock(phone, session, MODES["global"]), 409, "session_ended")


def test_after_the_clock_ended_it_nothing_is_written(phone):
    session = phone.create(clock=clock_of(totalTimeMs=1000))
    wait_until(lambda: phone.read(session["id"])["status"] == "expired", what="the end of its time")
    with unchanged(phone, session["id"]):
        refused(switch(phone, session, "white"), 409, "session_ended")
        refused(adjust(phone, session, "white", 1000), 409, "session_ended")
        refused(phone.status(session["id"], "active"), 409, "session_ended")


# ---- setting and adjusting ----

def test_a_clock_is_set_only_before_it_begins(phone, session, pending):
    with unchanged(phone, session["id"]):
        refused(put_clock(phone, session, MODES["global"]), 409, "invalid_transition")
    accepted(phone.status(session["id"], "paused"), 2)
    with unchanged(phone, session["id"]):
        refused(put_clock(phone, session, MODES["global"]), 409, "invalid_transition")
    bare = phone.create()
    with unchanged(phone, bare["id"]):
        refused(put_clock(phone, bare, MODES["global"]), 409, "invalid_transition")
    assert put_clock(phone, pending, MODES["global"]).ok
    assert read_clock(phone, pending)["mode"] == "global"


def test_what_is_wrong_with_a_clock_is_named_as_it_was_sent(phone, pending):
    """The body is the clock: there is no member `clock` in it."""
    twice = [person("ada"), person("ada")]
    with unchanged(phone, pending["id"]):
        for clock, field in ((clock_of(totalTimeMs=999), "totalTimeMs"), (clock_of(ids=twice), "participants.1.participantId"),
                             (clock_of(color="red"), "color"), (clock_of(onTimeout={"action": 5}), "onTimeout.action")):
            assert put_clock(phone, pending, clock).json()["field"] == field
    answer = put_clock(phone, phone.create(), MODES["global"])
    assert "field" not in refused(answer, 409, "invalid_transition")


def test_every_write_of_a_clock_may_have_a_base(phone, pending):
    with unchanged(phone, pending["id"]):
        refused(put_clock(phone, pending, MODES["global"], headers=if_match(2)), 412, "version_conflict")
        refused(adjust(phone, pending, "white", 1000, headers=if_match(2)), 412, "version_conflict")
    assert put_clock(phone, pending, MODES["global"], headers=if_match(1)).ok
    assert adjust(phone, pending, "white", 1000, headers=if_match(2)).ok
    assert phone.read(pending["id"])["version"] == 3


@pytest.mark.parametrize("body", [
    {"adjustMs": "5", "reason": "r"}, {"adjustMs": [5], "reason": "r"}, {"adjustMs": 5, "reason": 5}, [], 5],
    ids=json.dumps)
def test_an_adjustment_of_a_wrong_shape_is_refused(phone, session, body):
    with unchanged(phone, session["id"]):
        refused(phone.post(f"{path_of(session)}/clock/white", json=body), 400, "invalid_request")


@pytest.mark.parametrize("body", [
    {}, {"reason": "r"}, {"adjustMs": 5}, {"adjustMs": 1.5, "reason": "r"}, {"adjustMs": 5, "reason": ""},
    {"adjustMs": 5, "reason": "r" * 256}],
    ids=lambda body: json.dumps(body)[:40])
def test_an_adjustment_without_its_members_is_refused(phone, session, body):
    with unchanged(phone, session["id"]):
        invalid(phone.post(f"{path_of(session)}/clock/white", json=body))


def test_only_who_takes_part_is_adjusted(phone, session):
    with unchanged(phone, session["id"]):
        for name in ("nobody", "x" * 128):
            assert adjust(phone, session, name, 1000).status_code in (404, 422)
        for name in ("a%20b", "x" * 129):
            assert adjust(phone, session, name, 1000).status_code in (400, 404, 422)
    bare = phone.create()
    with unchanged(phone, bare["id"]):
        assert adjust(phone, bare, "white", 1000).status_code in (404, 409, 422)


def test_participants_of_every_name_are_adjusted(phone):
    session = phone.create(status="pending", clock=clock_of(ids=["x" * 128, "._:-", "..."]))
    for version, name in enumerate(("x" * 128, "._:-", "..."), 2):
        assert adjust(phone, session, name, 1000).ok
        now = phone.read(session["id"])
        assert (now["version"], of(now["clock"], name)["timeRemainingMs"]) == (version, LONG + 1000)


# ---- keys ----

def test_a_switch_repeated_with_its_key_takes_effect_once(phone, laptop, session):
    first = switch(phone, session, "white", headers=key("k"))
    result = accepted(first, 2)
    again = switch(phone, session, "white", headers=key("k"))
    assert accepted(again, 2) == result
    assert "Idempotency-Replayed" not in first.headers and again.headers["Idempotency-Replayed"] == "true"
    # Whoever's turn it is by now.
    accepted(switch(laptop, session, "black"), 3)
    with unchanged(phone, session["id"]):
        late = switch(laptop, session, "white", headers=key("k"))
        assert (late.status_code, late.headers["Idempotency-Replayed"]) == (200, "true")


@pytest.mark.parametrize("send", [
    lambda d, s, h: switch(d, s, "white", "black", headers=h),
    lambda d, s, h: switch(d, s, headers={**h, **if_match(1)}),
    lambda d, s, h: adjust(d, s, "white", 1000, headers=h),
    lambda d, s, h: adjust(d, s, "black", -1000, headers={**h, **if_match(1)})],
    ids=["a named switch", "a switch of a version", "an adjustment", "an adjustment of a version"])
def test_every_command_repeated_takes_effect_once(phone, session, send):
    assert send(phone, session, key("k")).ok
    with unchanged(phone, session["id"]) as now:
        again = send(phone, session, key("k"))
        assert again.ok and again.headers["Idempotency-Replayed"] == "true"
        assert now["version"] == 2


@pytest.mark.parametrize("other", [
    lambda d, s, h: switch(d, s, "black", headers=h),
    lambda d, s, h: switch(d, s, "white", "black", headers=h),
    lambda d, s, h: switch(d, s, "white", headers={**h, **if_match(1)}),
    lambda d, s, h: switch(d, s, headers={**h, **if_match(1)}),
    lambda d, s, h: adjust(d, s, "white", 1000, headers=h),
    lambda d, s, h: d.status(s["id"], "paused", headers=h),
    lambda d, s, h: d.patch(s["id"], [], headers=h)],
    ids=["another turn", "another next", "a base as well", "another base", "an adjustment", "a status", "a patch"])
def test_another_request_under_the_key_is_refused(phone, session, other):
    accepted(switch(phone, session, "white", headers=key("k")), 2)
    with unchanged(phone, session["id"]):
        refused(other(phone, session, key("k")), 422, "idempotency_key_reused", temporary=False)


def test_another_adjustment_under_the_key_is_refused(phone, session):
    assert adjust(phone, session, "white", 1000, "r", headers=key("k")).ok
    with unchanged(phone, session["id"]):
        for name, ms, reason in (("black", 1000, "r"), ("white", 1001, "r"), ("white", 1000, "s")):
            refused(adjust(phone, session, name, ms, reason, headers=key("k")), 422, "idempotency_key_reused")


def test_a_create_with_another_clock_under_its_key_is_refused(phone):
    body = {"name": "n", "type": "t", "status": "pending"}
    first = phone.post("/sessions", json={**body, "clock": MODES["global"]}, headers=key("k"))
    again = phone.post("/sessions", json={**body, "clock": MODES["global"]}, headers=key("k"))
    assert first.status_code == 201 and again.json() == first.json()
    for other in ({**body, "clock": MODES["per_cycle"]}, body):
        refused(phone.post("/sessions", json=other, headers=key("k")), 422, "idempotency_key_reused")


def test_the_key_of_a_refused_switch_can_be_used_again(phone, laptop, session):
    refused(switch(phone, session, "black", headers=key("k")), 409, "not_active_participant")
    accepted(switch(laptop, session, "white"), 2)
    accepted(switch(phone, session, "black", headers=key("k")), 3)


# ---- rights ----

def test_who_may_switch_and_whose_clock_it_is(suite, phone, stranger, session, pending):
    roles = {role: suite.device(new_user(), role) for role in ("editor", "viewer")}
    for role, device in roles.items():
        share(phone, session, device, role)
        share(phone, pending, device, role)
    with unchanged(phone, session["id"]), unchanged(phone, pending["id"]):
        refused(switch(roles["viewer"], session, "white"), 403, "forbidden")
        refused(switch(stranger, session, "white"), 404, "not_found")
        for device, status, code in ((roles["editor"], 403, "forbidden"), (roles["viewer"], 403, "forbidden"),
                                     (stranger, 404, "not_found")):
            refused(adjust(device, session, "white", 1000), status, code)
            refused(put_clock(device, pending, MODES["global"]), status, code)
    after = accepted(switch(roles["editor"], session, "white"))
    assert (after["role"], after["clock"]["activeParticipantId"]) == ("editor", "black")
    assert roles["viewer"].read(session["id"])["clock"] == after["clock"]


def test_tokens_that_may_not_write(suite, phone, session, pending):
    reader = suite.device(phone.user, "phone", scope="sessions:read")
    admin = suite.device(new_user(), "console", scope="sessions:admin")
    with unchanged(phone, session["id"]), unchanged(phone, pending["id"]):
        for device in (reader, admin):
            refused(switch(device, session, "white"), 403, "forbidden")
            refused(adjust(device, session, "white", 1000), 403, "forbidden")
            refused(put_clock(device, pending, MODES["global"]), 403, "forbidden")
    assert admin.read(session["id"])["clock"] == session["clock"]


def test_what_is_not_there_is_not_found(phone):
    for missing in ({"id": MISSING_ID}, {"id": "x"}):
        refused(switch(phone, missing, "white"), 404, "not_found")
        refused(adjust(phone, missing, "white", 1000), 404, "not_found")
        refused(put_clock(phone, missing, MODES["global"]), 404, "not_found")


def test_other_methods_are_not_allowed(phone, session):
    for method, path, allowed in (("GET", "/switch", "POST"), ("GET", "/clock", "PUT"), ("POST", "/clock", "PUT"),
                                  ("GET", "/clock/white", "POST"), ("PUT", "/clock/white", "POST")):
        answer = phone.request(method, path_of(session) + path)
        refused(answer, 405, "method_not_allowed")
        assert allowed in answer.headers["Allow"]


# ---- a patch and the clock ----

@pytest.mark.parametrize("operation", [
    {"op": "replace", "path": "/clock", "value": {}}, {"op": "remove", "path": "/clock"},
    {"op": "add", "path": "/clock/mode", "value": "global"}, {"op": "replace", "path": "/clock/cycleCount", "value": 9},
    {"op": "replace", "path": "/clock/participants/0/timeRemainingMs", "value": 9},
    {"op": "move", "from": "/clock", "path": "/data/clock"},
    {"op": "copy", "from": "/clock/participants", "path": "/data/participants"},
    {"op": "copy", "from": "/data", "path": "/clock/participants/-"}], ids=lambda o: f"{o['op']} {o['path']}")
def test_a_patch_writes_nothing_of_a_clock(phone, session, socket, operation):
    operations = [{"op": "add", "path": "/data/n", "value": 1}, operation]
    with unchanged(phone, session["id"]):
        refused(phone.json_patch(session["id"], operations), 422, "path_not_writable")
        refused(phone.patch(session["id"], operations), 422, "path_not_writable")
        ws.refused(ask(socket, "patch", sessionId=session["id"], operations=operations), "path_not_writable")


def test_a_merge_patch_writes_nothing_of_a_clock(phone, session):
    with unchanged(phone, session["id"]):
        for patch in ({"clock": None}, {"clock": {"mode": "global"}}, {"data": {"n": 1}, "clock": {}}):
            refused(phone.merge_patch(session["id"], patch), 422, "path_not_writable")


def test_a_patch_may_test_the_clock(phone, session):
    """Write down the move only while it is one's turn."""
    def move(name):
        return phone.json_patch(session["id"], [
            {"op": "test", "path": "/clock/activeParticipantId", "value": name},
            {"op": "test", "path": "/clock/participants/0/participantId", "value": "white"},
            {"op": "add", "path": "/data/n", "value": name}])
    accepted(move("white"), 2)
    with unchanged(phone, session["id"]):
        refused(move("black"), 422, "patch_failed")
    accepted(phone.json_patch(session["id"], [{"op": "test", "path": "/clock", "value": session["clock"]}]), 2)
    accepted(switch(phone, session, "white"), 3)
    accepted(move("black"), 4)
    bare = phone.create()
    refused(phone.json_patch(bare["id"], [{"op": "test", "path": "/clock/mode", "value": "global"}]), 422, "patch_failed")


def test_a_patch_between_two_turns_is_a_version_of_its_own(phone, session):
    accepted(switch(phone, session, "white"), 2)
    accepted(phone.patch(session["id"], [{"op": "add", "path": "/data/n", "value": 1}], baseVersion=2), 3)
    refused(switch(phone, session, headers=if_match(2)), 412, "version_conflict", currentVersion=3)
    accepted(switch(phone, session, headers=if_match(3)), 4)
    # A switch wrote nothing that a patch reads.
    answer = phone.patch(session["id"], [{"op": "add", "path": "/data/n", "value": 2}], baseVersion=3, merge="disjoint")
    assert accepted(answer, 5)["rebased"] is True


# ---- by WebSocket ----

def test_a_switch_by_websocket_is_acked(phone, laptop, session, socket):
    acked(ask(socket, "switch", sessionId=session["id"], currentParticipantId="white"), 2,
          checksum=session["checksum"])
    acked(ask(socket, "switch", sessionId=session["id"], currentParticipantId="black", nextParticipantId="white"), 3)
    acked(ask(socket, "switch", sessionId=session["id"], baseVersion=3), 4)
    acked(ask(socket, "switch", sessionId=session["id"], baseVersion=4, epoch=1, nextParticipantId="white"), 5)
    events = phone.deltas(session["id"], since=1)
    assert [(e["from"], e["to"], e["deviceId"]) for e in events] == [
        ("white", "black", "laptop"), ("black", "white", "laptop")] * 2
    assert check_turns(session["clock"], events) == read_clock(phone, session)


def test_a_switch_by_websocket_is_refused(phone, session, socket):
    bare = phone.create()
    with unchanged(phone, session["id"]):
        for code, members in (
                ("precondition_required", {}), ("precondition_required", {"nextParticipantId": "black"}),
                ("not_active_participant", {"currentParticipantId": "black"}),
                ("invalid_request", {"currentParticipantId": 5}),
                ("invalid_request", {"currentParticipantId": "white", "nextParticipantId": {}}),
                ("invalid_request", {"baseVersion": "1"}),
                ("not_found", {"currentParticipantId": "white", "sessionId": MISSING_ID}),
                ("invalid_transition", {"currentParticipantId": "white", "sessionId": bare["id"]})):
            ws.refused(ask(socket, "switch", **{"sessionId": session["id"], **members}), code)
        frame = ask(socket, "switch", sessionId=session["id"], baseVersion=2)
        ws.refused(frame, "version_conflict", currentVersion=1)
        frame = ask(socket, "switch", sessionId=session["id"], baseVersion=1, epoch=2)
        ws.refused(frame, "version_conflict", currentVersion=1)
        frame = ask(socket, "switch", sessionId=session["id"], currentParticipantId="white", nextParticipantId="nobody")
        assert (frame["type"], frame["code"]) in (("error", "invalid_value"), ("error", "invalid_request"))
    acked(ask(socket, "switch", sessionId=session["id"], currentParticipantId="white"), 2)
    ws.refused(ask(socket, "switch", sessionId=session["id"], baseVersion=1), "version_conflict", currentVersion=2)
    accepted(phone.status(session["id"], "paused"), 3)
    ws.refused(ask(socket, "switch", sessionId=session["id"], currentParticipantId="black"), "invalid_transition")
    accepted(phone.status(session["id"], "completed"), 4)
    ws.refused(ask(socket, "switch", sessionId=session["id"], currentParticipantId="black"), "session_ended")


def test_a_viewers_switch_by_websocket_is_refused(phone, stranger, session):
    share(phone, session, stranger, "viewer")
    with subscribed(stranger, session["id"]) as viewer:
        ws.refused(ask(viewer, "switch", sessionId=session["id"], currentParticipantId="white"), "forbidden")
        share(phone, session, stranger, "editor")
        acked(ask(viewer, "switch", sessionId=session["id"], currentParticipantId="white"),
              phone.read(session["id"])["version"])


def test_a_strangers_switch_by_websocket_finds_nothing(phone, stranger, session):
    with stranger.connect() as connection:
        connection.expect("hello")
        ws.refused(ask(connection, "switch", sessionId=session["id"], currentParticipantId="white"), "not_found")


def test_a_switch_by_websocket_has_a_key(phone, laptop, session, socket):
    members = {"sessionId": session["id"], "currentParticipantId": "white", "key": "k"}
    ws.refused(ask(socket, "switch", **{**members, "currentParticipantId": "black"}), "not_active_participant")
    first = acked(ask(socket, "switch", **members), 2)
    again = acked(ask(socket, "switch", **members), 2, replayed=True)
    assert again["checksum"] == first["checksum"]
    accepted(switch(phone, session, "black"), 3)
    with unchanged(phone, session["id"]):
        acked(ask(socket, "switch", **members), 2, replayed=True)
        # By REST it is the same key, and the same request.
        answer = switch(laptop, session, "white", headers=key("k"))
        assert (answer.status_code, answer.headers.get("Idempotency-Replayed")) == (200, "true")
        for other in ({"currentParticipantId": "black"}, {"nextParticipantId": "black"}, {"baseVersion": 3}):
            ws.refused(ask(socket, "switch", **{**members, **other}), "idempotency_key_reused")


# ---- what everybody is told ----

def test_all_devices_are_told_of_every_turn(phone, laptop, stranger, session):
    share(phone, session, stranger, "viewer")
    with contextlib.ExitStack() as stack:
        watchers = [stack.enter_context(subscribed(d, session["id"])) for d in (phone, laptop, stranger)]
        watchers.append(stack.enter_context(streamed(laptop, session["id"])))
        clock = accepted(switch(phone, session, "white"), 3)["clock"]
        for socket in watchers:
            event = socket.expect("clock_switched", sessionId=session["id"], epoch=1, version=3, userId=phone.user,
                                  deviceId="phone", to="black", clock=clock)
            assert event["from"] == "white"
            assert event.keys() == COMMON | {"from", "to", "elapsedMs", "clock"}
            assert event["elapsedMs"] == begun(clock) - begun(session["clock"])
        assert adjust(phone, session, "black", 5000, "late start").ok
        told = [socket.expect("clock_adjusted", version=4, participantId="black", adjustMs=5000, reason="late start")
                for socket in watchers]
        assert all(e == told[0] and e.keys() == COMMON | {"participantId", "adjustMs", "reason", "clock"} for e in told)
        accepted(phone.status(session["id"], "paused"), 5)
        told = [socket.expect("status_changed", version=5) for socket in watchers]
        assert all(e == told[0] and check_clock(e["clock"]) and not runs(e["clock"]) for e in told)
        for socket in watchers[:3]:
            assert is_alive(socket) == []


def test_a_device_that_was_away_is_told_what_it_missed(phone, laptop, session):
    for name in ("white", "black", "white"):
        accepted(switch(phone, session, name))
    with laptop.connect() as socket:
        socket.expect("hello")
        socket.send(type="subscribe", id="s", sessionId=session["id"], since=1, epoch=1)
        assert socket.recv_until("subscribed")["replayed"] == 3
        missed = [socket.expect("clock_switched", version=version) for version in (2, 3, 4)]
    assert missed == phone.deltas(session["id"], since=1)
    assert check_turns(session["clock"], missed) == read_clock(phone, session)


def test_a_state_sync_has_the_clock(phone, laptop, session):
    after = accepted(switch(phone, session, "white"), 2)
    with subscribed(laptop, session["id"]) as socket:
        assert socket.sync["session"] == after


def test_what_backends_are_told(suite, phone):
    with Backend(suite) as backend:
        session = phone.create(status="pending")
        assert put_clock(phone, session, clock_of(ids=[person("white", 3000), "black"], warningsMs=[2000])).ok
        accepted(phone.status(session["id"], "active"), 3)
        assert adjust(phone, session, "black", 1000).ok
        kinds = {"clock_set": 2, "clock_adjusted": 4, "clock_expired": 5}
        for kind, version in kinds.items():
            properties, routing_key, event = backend.wait(session, 1, kind)[0]
            assert event["version"] == version and properties.type == kind
            assert routing_key == f"session.{session['id']}.clock"
            assert properties.message_id == f"{session['id']}:1:{version}"
            assert (properties.delivery_mode, properties.headers["version"]) == (2, version)
        properties, routing_key, event = backend.wait(session, 1, "clock_warning")[0]
        assert routing_key == f"session.{session['id']}.clock_warning" and properties.type == "clock_warning"
        assert uuid.UUID(properties.message_id) and properties.delivery_mode != 2
        assert event.keys() == COMMON | {"participantId", "remainingMs"} and event["version"] == 4
        change = backend.wait(session, 2, "status_changed")[1][2]
        assert (change["version"], change["to"], change["reason"]) == (6, "expired", "clock")


def test_a_session_and_its_end_are_told_with_the_clock(suite, phone):
    with Backend(suite) as backend:
        session = phone.create(clock=MODES["per_group"])
        created = backend.wait(session, 1, "session_created")[0][2]
        assert created["session"]["clock"] == session["clock"]
        final = accepted(phone.status(session["id"], "completed"), 2)
        assert backend.wait(session, 1, "status_changed")[0][2]["clock"] == final["clock"]


# ---- where it is found again ----

def test_every_turn_is_a_row_of_history(suite, phone, laptop, session):
    for device, name in ((phone, "white"), (laptop, "black"), (phone, "white")):
        accepted(switch(device, session, name))
    assert adjust(phone, session, "white", 1000).ok
    accepted(phone.status(session["id"], "completed"), 6)
    events = whole_history(suite, session, 6)
    assert events[1:] == phone.deltas(session["id"], since=1)

    def history(**query):
        answer = phone.get(f"{path_of(session)}/history", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["items"][::-1]
    assert history(type="clock_switched") == of_type(events, "clock_switched")
    assert [e["version"] for e in history(type="clock_switched", deviceId="laptop")] == [3]
    assert history(type="clock_adjusted") == of_type(events, "clock_adjusted")
    assert history(type="clock_set") == history(type="clock_expired") == []
    assert [e["type"] for e in history() if e["type"].startswith("clock")] == ["clock_switched"] * 3 + ["clock_adjusted"]


def test_turns_that_expired_are_rows_and_warnings_are_not(suite, phone):
    session = phone.create(clock=clock_of("per_cycle", ["a", "b"], "end_session", timePerCycleMs=2000, warningsMs=[1000]))
    wait_until(lambda: phone.read(session["id"])["status"] == "expired", what="the end of its time")
    events = whole_history(suite, session, 3)
    assert [e["type"] for e in events] == ["session_created", "clock_expired", "status_changed"]
    answer = phone.get(f"{path_of(session)}/history?type=clock_expired")
    assert answer.json()["items"] == events[1:2]
    assert suite.query("select count(*) from session_events where session_id = %s and type = 'clock_warning'",
                       session["id"]) == [(0,)]


def test_a_cold_session_shows_its_clock(suite, phone, session):
    accepted(switch(phone, session, "white"), 2)
    paused = accepted(phone.status(session["id"], "paused"), 3)
    cool(suite, session["id"])
    assert phone.read(session["id"]) == paused
    assert not suite.redis_client().keys(f"session:{{{session['id']}}}:*"), "a read leaves it cold"


def test_a_pause_over_a_cold_session_keeps_its_clock(suite, phone, laptop, session):
    """Adjourned in the evening, gone on with next morning on another device."""
    accepted(switch(phone, session, "white"), 2)
    paused = accepted(phone.status(session["id"], "paused"), 3)["clock"]
    cool(suite, session["id"])
    with subscribed(phone, session["id"]) as socket:
        assert socket.sync["session"]["clock"] == paused and socket.sync["epoch"] == 1
        active = accepted(laptop.status(session["id"], "active"), 4)
        clock = check_clock(active["clock"])
        assert clock["cycleStartedAt"] == active["updatedAt"]
        assert {**clock, "cycleStartedAt": None} == paused
        socket.expect("status_changed", version=4, clock=clock)
    after = accepted(switch(phone, session, "black"), 5)["clock"]
    assert of(after, "black")["timeUsedMs"] == of(paused, "black")["timeUsedMs"] + begun(after) - begun(clock)


def test_the_deadline_of_a_session_that_was_cold_is_kept(suite, phone):
    session = phone.create(clock=clock_of(totalTimeMs=4000))
    paused = accepted(phone.status(session["id"], "paused"), 2)["clock"]
    cool(suite, session["id"])
    active = accepted(phone.status(session["id"], "active"), 3)["clock"]
    wait_until(lambda: phone.read(session["id"])["status"] == "expired", what="the end of its time")
    event, final = phone.deltas(session["id"], since=3)
    assert ms_of(event["timestamp"]) >= begun(active) + of(paused, "white")["timeRemainingMs"]
    assert of(final["clock"], "white")["timeUsedMs"] == 4000


def test_a_session_that_redis_lost_comes_back_with_its_clock(suite, phone, session):
    after = accepted(switch(phone, session, "white"), 2)
    whole_history(suite, session, 2)
    lose(suite, session["id"])
    now = phone.read(session["id"])
    assert (now["epoch"], now["version"], now["clock"]) == (2, 2, after["clock"])
    answer = switch(phone, session, "black")
    assert (answer.status_code, answer.json()["version"]) == (200, 3)
    clock = check_clock(answer.json()["clock"])
    assert of(clock, "black")["timeUsedMs"] == begun(clock) - begun(after["clock"]), "it ran on meanwhile"


def test_a_session_of_another_node_comes_with_its_clock(suite, phone, session):
    after = accepted(switch(phone, session, "white"), 2)
    whole_history(suite, session, 2)
    age(suite, session["id"])
    assert phone.read(session["id"])["clock"] == after["clock"]
    accepted(switch(phone, session, "black"), 3)


def test_a_list_and_a_snapshot_of_a_session_with_a_clock(suite, phone, session):
    accepted(switch(phone, session, "white"), 2)
    wait_until(lambda: [s["version"] for s in phone.get("/sessions").json()["items"]] == [2], what="the list")
    answer = phone.post(f"{path_of(session)}/snapshots", json={"label": "l"})
    assert answer.ok, answer.text
    assert phone.get(f"{path_of(session)}/snapshots/2").json()["data"] == {"n": 0}
    assert phone.read(session["id"])["version"] == 2


def test_a_deleted_sessions_clock_is_gone(phone, session):
    assert phone.delete(path_of(session)).status_code == 204
    refused(switch(phone, session, "white"), 404, "not_found")
    refused(adjust(phone, session, "white", 1000), 404, "not_found")
    refused(put_clock(phone, session, MODES["global"]), 404, "not_found")


def test_a_switch_writes_nothing_else_and_is_a_use(phone, session):
    """Whatever it says of idle while a clock runs, the pause after it counts from there."""
    after = accepted(switch(phone, session, "white"), 2)
    assert (after["data"], after["checksum"], after["status"]) == ({"n": 0}, session["checksum"], "active")
    assert after["clock"].keys() == CLOCK and shown(after["clock"], HOUSE[0], begun(after["clock"])) > LONG
    paused = accepted(phone.status(session["id"], "paused"), 3)
    assert ms_of(paused["expiresAt"]) == ms_of(paused["updatedAt"]) + 30 * 24 * 3_600_000

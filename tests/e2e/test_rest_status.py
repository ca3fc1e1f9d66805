"""Transitions of a session, takeover, and the time it has left."""

import datetime

import pytest

from harness import wait_until
from rest import MOMENT, accepted, invalid, path_of, refused, unchanged

ENDED = ("completed", "cancelled")
TARGETS = ("active", "paused", "completed", "cancelled")
ALLOWED = {("pending", "active"), ("pending", "cancelled"),
           ("active", "paused"), ("active", "completed"), ("active", "cancelled"),
           ("paused", "active"), ("paused", "completed"), ("paused", "cancelled")}
DAYS_30 = 30 * 24 * 3600


def session_in(device, status, **more):
    session = device.create({"a": 1}, status="pending" if status == "pending" else "active", **more)
    return session if status in ("pending", "active") else accepted(device.status(session["id"], status))


def seconds(moment):
    assert MOMENT.match(moment), moment
    return datetime.datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("origin", ["pending", "active", "paused"])
def test_the_transition_table(phone, suite, origin, to):
    session = session_in(phone, origin)
    answer = phone.status(session["id"], to)
    if (origin, to) in ALLOWED:
        after = accepted(answer, version=session["version"] + 1)
        assert (after["status"], after["data"]) == (to, {"a": 1})
        assert after["activeDeviceId"] == ("phone" if to == "active" else None) or to in ENDED
        assert (after["completedAt"] is not None) == (to in ENDED)
        assert after == phone.read(session["id"])
        event = phone.deltas(session["id"], since=session["version"])[0]
        assert (event["type"], event["from"], event["to"], event["reason"]) == (
            "status_changed", origin, to, "request")
        assert event["activeDeviceId"] == after["activeDeviceId"]
    elif origin == to:
        assert accepted(answer) == session
    else:
        refused(answer, 409, "invalid_transition")
        assert phone.read(session["id"]) == session


@pytest.mark.parametrize("ended", ENDED)
def test_what_has_ended_can_be_read_and_not_written(phone, ended):
    session = session_in(phone, ended)
    patch = [{"op": "replace", "path": "/data/a", "value": 2}]
    assert session["expiresAt"] is None
    assert session["completedAt"] == session["updatedAt"]
    with unchanged(phone, session["id"]):
        for answer in (phone.patch(session["id"], patch), phone.patch(session["id"], patch, baseVersion=2),
                       phone.json_patch(session["id"], patch), phone.json_patch(session["id"], []),
                       phone.merge_patch(session["id"], {"data": {"a": 2}}), phone.heartbeat(session["id"]),
                       *(phone.status(session["id"], to) for to in TARGETS)):
            refused(answer, 409, "session_ended", temporary=False)


@pytest.mark.parametrize("status", ["pending", "paused"])
def test_what_waits_can_be_patched(phone, status):
    session = session_in(phone, status)
    result = accepted(phone.merge_patch(session["id"], {"data": {"a": 2}}))
    after = phone.read(session["id"])
    assert (after["data"], after["status"], after["activeDeviceId"], after["version"]) == (
        {"a": 2}, status, None, result["version"])


def test_the_active_device_may_say_so_again(phone):
    session = phone.create()
    with unchanged(phone, session["id"]):
        assert accepted(phone.status(session["id"], "active")) == session


def test_another_device_takes_over(suite, phone, laptop):
    session = phone.create({"progress": 75})
    after = accepted(laptop.status(session["id"], "active"), version=2)
    assert (after["activeDeviceId"], after["data"]) == ("laptop", {"progress": 75})
    [event] = phone.deltas(session["id"], since=1)
    assert {k: event[k] for k in ("type", "from", "to", "reason", "activeDeviceId", "deviceId")} == {
        "type": "status_changed", "from": "active", "to": "active", "reason": "takeover",
        "activeDeviceId": "laptop", "deviceId": "laptop"}
    wait_until(lambda: [r[2]["activeDeviceId"] for r in suite.events_in_postgresql(session["id"])
                        if r[1] == "status_changed"] == ["laptop"], what="the takeover's row")


def test_activity_locks_nothing(phone, laptop):
    session = phone.create({"a": 0})
    accepted(laptop.merge_patch(session["id"], {"data": {"a": 1}}), version=2)
    assert phone.read(session["id"])["activeDeviceId"] == "phone"
    accepted(laptop.status(session["id"], "paused"), version=3)


def test_pausing_and_going_on_elsewhere(phone, laptop):
    session = phone.create()
    assert accepted(phone.status(session["id"], "paused"))["activeDeviceId"] is None
    assert accepted(laptop.status(session["id"], "active"), version=3)["activeDeviceId"] == "laptop"
    assert phone.deltas(session["id"], since=2)[0]["reason"] == "request"


@pytest.mark.parametrize("query", ["", "?status=", "?status=expired", "?status=pending", "?status=Active",
                                   "?status=active%00", "?status=nothing", "?status=active&status=paused"])
def test_other_targets_are_refused(phone, query):
    session = phone.create()
    with unchanged(phone, session["id"]):
        assert invalid(phone.post(path_of(session) + query))["field"] == "status"


def test_a_transition_with_a_base(phone, laptop):
    session = phone.create({"a": 1})
    laptop.merge_patch(session["id"], {"data": {"a": 2}})
    body = refused(phone.status(session["id"], "paused", headers={"If-Match": '"1"'}), 412, "version_conflict")
    assert body["deltas"][0]["version"] == 2
    accepted(phone.status(session["id"], "paused", headers={"If-Match": '"2"'}), version=3)


# ---- the time that is left ----

@pytest.mark.parametrize("status, left", [("active", 60), ("pending", DAYS_30), ("paused", DAYS_30)])
def test_when_idle_or_expiry_act_next(phone, status, left):
    session = session_in(phone, status, ttlSeconds=60)
    assert seconds(session["expiresAt"]) - seconds(session["updatedAt"]) == pytest.approx(left, abs=0.001)


def test_a_write_starts_the_time_again(phone):
    session = phone.create({"a": 1}, ttlSeconds=60)
    wait_until(lambda: phone.get("/time").json()["serverTime"] > session["updatedAt"])
    phone.merge_patch(session["id"], {"data": {"a": 2}})
    after = phone.read(session["id"])
    assert after["expiresAt"] > session["expiresAt"]
    assert seconds(after["expiresAt"]) - seconds(after["updatedAt"]) == pytest.approx(60, abs=0.001)


def test_a_heartbeat_starts_the_time_again_and_changes_nothing_else(phone, laptop):
    session = phone.create({"a": 1}, ttlSeconds=60)
    wait_until(lambda: phone.get("/time").json()["serverTime"] > session["updatedAt"])
    answer = laptop.heartbeat(session["id"])
    assert answer.status_code == 200
    beat = answer.json()
    assert beat.keys() == {"expiresAt", "serverTime"}
    assert beat["expiresAt"] > session["expiresAt"]
    assert seconds(beat["expiresAt"]) - seconds(beat["serverTime"]) == pytest.approx(60, abs=2)
    after = phone.get(path_of(session))
    assert after.json() == {**session, "expiresAt": beat["expiresAt"]}
    assert after.headers["ETag"] == '"1"', "the tag does not cover expiresAt"
    assert phone.deltas(session["id"], since=1) == []


@pytest.mark.parametrize("status", ["pending", "paused"])
def test_a_heartbeat_of_what_waits(phone, status):
    session = session_in(phone, status, ttlSeconds=60)
    beat = phone.heartbeat(session["id"]).json()
    assert beat["expiresAt"] >= session["expiresAt"]
    assert phone.read(session["id"])["status"] == status

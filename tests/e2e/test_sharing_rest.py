"""Sharing and devices over REST: who takes part, what each role may, what a list shows."""

import pytest

from cold import cool
from harness import new_user, wait_until
from rest import MISSING_ID, MOMENT, path_of, refused


def add(path, value):
    return [{"op": "add", "path": path, "value": value}]


def share(owner, session, user, role):
    answer = owner.request("PUT", f"{path_of(session)}/participants/{user}", json={"role": role})
    assert answer.status_code == 204 and not answer.content, answer.text


def participants(device, session):
    answer = device.get(f"{path_of(session)}/participants")
    assert answer.status_code == 200, answer.text
    return [(p["userId"], p["role"]) for p in answer.json()["items"]]


def unshare(device, session, user):
    return device.delete(f"{path_of(session)}/participants/{user}")


@pytest.fixture
def session(phone):
    return phone.create({"n": 1})


@pytest.fixture
def editor(suite, phone, session):
    device = suite.device(new_user(), "tablet")
    share(phone, session, device.user, "editor")
    return device


@pytest.fixture
def viewer(suite, phone, session):
    device = suite.device(new_user(), "screen")
    share(phone, session, device.user, "viewer")
    return device


# ---- participants ----

def test_a_session_is_shared_changed_and_taken_back(phone, stranger, session):
    user = stranger.user
    assert participants(phone, session) == [(phone.user, "owner")]
    refused(stranger.get(path_of(session)), 404, "not_found")
    share(phone, session, user, "viewer")
    assert participants(stranger, session) == [(phone.user, "owner"), (user, "viewer")]
    assert stranger.read(session["id"])["role"] == "viewer"
    share(phone, session, user, "editor")
    assert stranger.read(session["id"])["role"] == "editor"
    share(phone, session, user, "editor")  # is so already: no version
    assert unshare(phone, session, user).status_code == 204
    assert unshare(phone, session, user).status_code == 204
    refused(stranger.get(path_of(session)), 404, "not_found")
    refused(stranger.get(f"{path_of(session)}/participants"), 404, "not_found")
    assert phone.read(session["id"])["version"] == 4
    events = [(e["version"], e["participant"], e["role"]) for e in phone.deltas(session["id"], since=1)]
    assert events == [(2, user, "viewer"), (3, user, "editor"), (4, user, None)]


def test_what_each_role_may(phone, editor, viewer, session):
    path = path_of(session)
    for device in (editor, viewer):
        for route in ("", "/deltas", "/history", "/snapshots", "/snapshots/1", "/devices", "/participants"):
            assert device.get(path + route).status_code == 200, route
        refused(device.delete(path), 403, "forbidden")
        refused(device.request("PUT", f"{path}/participants/{new_user()}", json={"role": "viewer"}),
                403, "forbidden")
        refused(unshare(device, session, phone.user), 403, "forbidden")
        refused(device.request("PUT", f"{path}/devices/x"), 403, "forbidden")
        refused(device.delete(f"{path}/devices/x"), 403, "forbidden")
    assert viewer.heartbeat(session["id"]).status_code == 200
    refused(viewer.patch(session["id"], add("/data/n", 2)), 403, "forbidden")
    refused(viewer.status(session["id"], "paused"), 403, "forbidden")
    refused(viewer.post(f"{path}/restore", json={"version": 1}), 403, "forbidden")
    refused(viewer.post(f"{path}/snapshots", json={}), 403, "forbidden")
    assert editor.patch(session["id"], add("/data/n", 2)).status_code == 200
    assert editor.post(f"{path}/restore", json={"version": 1}).status_code == 200
    assert editor.post(f"{path}/snapshots", json={}).status_code == 201
    assert editor.status(session["id"], "active").json()["activeDeviceId"] == "tablet"


def test_one_may_leave_by_oneself(phone, viewer, editor, session):
    refused(unshare(viewer, session, editor.user), 403, "forbidden")
    assert unshare(viewer, session, viewer.user).status_code == 204
    refused(viewer.get(path_of(session)), 404, "not_found")
    assert participants(phone, session) == [(phone.user, "owner"), (editor.user, "editor")]


@pytest.mark.parametrize("body, status, code", [
    ({"role": "owner"}, 422, "invalid_value"), ({"role": ""}, 422, "invalid_value"),
    ({"role": None}, 400, "invalid_request"), ({}, 400, "invalid_request"),
    ({"role": "editor", "x": 1}, 400, "invalid_request"), ([], 400, "invalid_request")])
def test_a_bad_role_is_refused(phone, session, body, status, code):
    path = f"{path_of(session)}/participants/{new_user()}"
    refused(phone.request("PUT", path, json=body), status, code)
    refused(phone.request("PUT", path, data="role=editor"), 415, "unsupported_media_type")


def test_the_owner_is_no_participant(phone, session):
    path = f"{path_of(session)}/participants/{phone.user}"
    refused(phone.request("PUT", path, json={"role": "editor"}), 422, "invalid_value")


@pytest.mark.parametrize("user", ["x", "0197A3B4-1C2D-7E3F-8A4B-5C6D7E8F9A0B", "%20"])
def test_who_is_no_user_is_not_there(phone, session, user):
    refused(phone.request("PUT", f"{path_of(session)}/participants/{user}", json={"role": "editor"}),
            404, "not_found")


def test_sharing_heeds_if_match(phone, session):
    path = f"{path_of(session)}/participants/{new_user()}"
    refused(phone.request("PUT", path, json={"role": "viewer"}, headers={"If-Match": '"7"'}),
            412, "version_conflict")
    answer = phone.request("PUT", path, json={"role": "viewer"}, headers={"If-Match": '"1"'})
    assert answer.status_code == 204
    refused(phone.request("DELETE", path, headers={"If-Match": '"1"'}), 412, "version_conflict")


def test_participants_at_their_bound(suite, phone, session):
    users = [new_user() for _ in range(101)]
    for user in users[:100]:
        share(phone, session, user, "viewer")
    answer = phone.request("PUT", f"{path_of(session)}/participants/{users[100]}", json={"role": "viewer"})
    refused(answer, 422, "invalid_value")
    share(phone, session, users[99], "editor")  # there already
    assert participants(phone, session)[1:] == sorted(
        [(u, "viewer") for u in users[:99]] + [(users[99], "editor")],
        key=lambda p: users.index(p[0]))


# ---- the list ----

def listed(device, query=""):
    answer = device.get("/sessions" + query)
    assert answer.status_code == 200, answer.text
    return [(s["id"], s["role"]) for s in answer.json()["items"]]


def wait_listed(device, expected, query=""):
    wait_until(lambda: listed(device, query) == expected, what=f"{expected} in the list")


def test_own_and_shared_sessions_are_one_list_newest_first(suite, phone, stranger):
    first, second = phone.create(name="1"), stranger.create(name="2")
    third, fourth = phone.create(name="3"), stranger.create(name="4")
    share(phone, third, stranger.user, "viewer")
    share(phone, first, stranger.user, "editor")
    expected = [(fourth["id"], "owner"), (third["id"], "viewer"), (second["id"], "owner"),
                (first["id"], "editor")]
    wait_listed(stranger, expected)
    shared = stranger.get("/sessions").json()["items"][1]
    assert shared["userId"] == phone.user and shared["name"] == "3" and "data" not in shared
    seen, query = [], "?limit=1"
    while query:
        page = stranger.get(f"/sessions{query}")
        seen += [(s["id"], s["role"]) for s in page.json()["items"]]
        query = page.links["next"]["url"].removeprefix("/sessions") if "next" in page.links else None
    assert seen == expected
    assert phone.status(third["id"], "paused").status_code == 200
    wait_listed(stranger, [(third["id"], "viewer")], "?status=paused")
    assert listed(phone) == [(third["id"], "owner"), (first["id"], "owner")]


def test_what_is_taken_back_or_deleted_leaves_the_list(phone, stranger):
    kept, taken, deleted = phone.create(), phone.create(), phone.create()
    for session in (kept, taken, deleted):
        share(phone, session, stranger.user, "viewer")
    wait_until(lambda: len(listed(stranger)) == 3, what="three sessions")
    assert unshare(phone, taken, stranger.user).status_code == 204
    assert phone.delete(path_of(deleted)).status_code == 204
    wait_listed(stranger, [(kept["id"], "viewer")])


def test_a_participant_reads_what_redis_has_not(suite, phone, editor, viewer, session):
    wait_until(lambda: len(listed(viewer)) == 1 and len(listed(editor)) == 1, what="the lists")
    cool(suite, session["id"])
    assert viewer.get(f"{path_of(session)}/history").json()["items"]
    assert editor.get(f"{path_of(session)}/snapshots/1").json()["data"] == {"n": 1}
    assert participants(viewer, session)[0] == (phone.user, "owner")
    assert set(participants(viewer, session)[1:]) == {(editor.user, "editor"), (viewer.user, "viewer")}
    refused(viewer.post(f"{path_of(session)}/restore", json={"version": 1}), 403, "forbidden")


# ---- devices ----

def devices(device, session):
    answer = device.get(f"{path_of(session)}/devices")
    assert answer.status_code == 200, answer.text
    return {d["deviceId"]: d for d in answer.json()["items"]}


def test_a_device_is_known_by_what_it_did(phone, laptop, session):
    assert laptop.status(session["id"], "active").status_code == 200
    found = wait_until(lambda: (lambda d: d if {"phone", "laptop"} <= d.keys() and
                                d["laptop"]["lastSeen"] else None)(devices(phone, session)),
                       what="both devices")
    for name, active in (("phone", False), ("laptop", True)):
        d = found[name]
        assert d.keys() == {"deviceId", "userId", "name", "platform", "firstSeen", "lastSeen", "connected",
                            "active", "removed"}
        assert (d["active"], d["removed"], d["connected"]) == (active, False, False)
        assert MOMENT.match(d["firstSeen"]) and MOMENT.match(d["lastSeen"])
        assert d["userId"] == phone.user


def test_a_device_is_kept_out_and_let_in_again(suite, phone, laptop, session):
    path = f"{path_of(session)}/devices/laptop"
    assert phone.delete(path).status_code == 204
    assert phone.delete(path).status_code == 204  # is so already
    assert devices(phone, session)["laptop"]["removed"] is True
    for route in ("", "/deltas", "/history", "/snapshots", "/snapshots/1", "/devices", "/participants"):
        refused(laptop.get(path_of(session) + route), 403, "device_removed")
    refused(laptop.patch(session["id"], add("/data/n", 2)), 403, "device_removed")
    refused(laptop.post(f"{path_of(session)}/restore", json={"version": 1}), 403, "device_removed")
    refused(laptop.request("PUT", path), 403, "device_removed")
    assert suite.device(phone.user, "other").read(session["id"])["version"] == 2
    assert phone.request("PUT", path).status_code == 204
    assert phone.request("PUT", path).status_code == 204
    assert laptop.read(session["id"])["version"] == 3
    assert devices(phone, session).get("laptop", {"removed": False})["removed"] is False


def test_a_removed_device_is_kept_out_without_redis_too(suite, phone, laptop, session):
    assert phone.delete(f"{path_of(session)}/devices/laptop").status_code == 204
    cool(suite, session["id"])
    refused(laptop.get(f"{path_of(session)}/history"), 403, "device_removed")
    found = devices(phone, session)
    assert found["laptop"]["removed"] and found["laptop"]["lastSeen"] is None
    assert found["phone"]["active"]


def test_a_devices_id_may_have_its_colon_escaped(suite, phone, session):
    assert phone.delete(f"{path_of(session)}/devices/app%3A1.2_x-y").status_code == 204
    assert devices(phone, session)["app:1.2_x-y"]["removed"]
    assert phone.request("PUT", f"{path_of(session)}/devices/app:1.2_x-y").status_code == 204
    refused(phone.delete(f"{path_of(session)}/devices/a%20b"), 404, "not_found")


def test_removed_devices_at_their_bound(phone, session):
    for n in range(100):
        assert phone.delete(f"{path_of(session)}/devices/d{n}").status_code == 204
    refused(phone.delete(f"{path_of(session)}/devices/d100"), 422, "invalid_value")
    assert phone.delete(f"{path_of(session)}/devices/d5").status_code == 204  # is so already
    assert phone.request("PUT", f"{path_of(session)}/devices/d5").status_code == 204
    assert phone.delete(f"{path_of(session)}/devices/d100").status_code == 204
    assert sum(d["removed"] for d in devices(phone, session).values()) == 100


@pytest.mark.parametrize("route", ["/devices", "/participants"])
def test_lists_are_their_readers_alone(phone, stranger, session, route):
    refused(stranger.get(path_of(session) + route), 404, "not_found")
    refused(phone.get(f"/sessions/{MISSING_ID}{route}"), 404, "not_found")
    answer = phone.request("HEAD", path_of(session) + route)
    assert answer.status_code == 200 and not answer.content

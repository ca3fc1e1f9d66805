"""Point 6: one long story, read back version by version, filtered, labelled and restored."""

import copy
import random

import pytest

from contract_client import App, Copy, eventually
from harness import checksum_of, new_user

N = 130


@pytest.fixture(scope="module")
def story(suite):
    """A session with 130 changes of all kinds: (owner, id, data by version, events)."""
    dice = random.Random(7)
    owner, guest = App(suite, new_user(), "phone"), App(suite, new_user(), "tablet")
    s = owner.create({"list": [], "count": 0})["id"]
    owner.share(s, guest.user, "editor")

    def change_list(n):
        return (owner if n % 2 else guest).write(
            s, {"op": "add", "path": f"/data/list/{'-' if n % 3 else '0'}", "value": {"v": n}},
            {"op": "replace", "path": "/data/count", "value": n})

    changes = [change_list] * 5 + [
        lambda n: guest.write(s, {"op": "replace", "path": "/data/list", "value": [n]}),
        lambda n: guest.status(s, "paused" if guest.read(s)["status"] == "active" else "active"),
        lambda n: owner.share(s, new_user(), "viewer"),
        lambda n: owner.ok("DELETE", f"/sessions/{s}/devices/old{n}"),
        lambda n: owner.write(s, {"op": "replace", "path": "/name", "value": f"at {n}"})]
    for n in range(N):
        dice.choice(changes)(n)
    events, complete = owner.deltas(s)
    assert complete and len(events) >= N
    mine, data = Copy(owner.user), {}
    for event in events:
        data[event["version"]] = copy.deepcopy(mine.take(event).session["data"])
    assert mine.agrees_with(owner.read(s))
    eventually("the audit trail has it", lambda: owner.ok(
        "GET", f"/sessions/{s}/history?limit=1&type={events[-1]['type']}")["items"] == [events[-1]])
    return owner, s, data, events


def code_of(answer):
    return answer.status_code, answer.json()["code"]


def test_every_version_that_there_was(story):
    owner, s, data, _ = story
    for version, value in data.items():
        answer = owner.call("GET", f"/sessions/{s}/snapshots/{version}?epoch=1")
        assert answer.json() == {"sessionId": s, "version": version, "epoch": 1, "data": value,
                                 "checksum": checksum_of(value)}
        assert owner.call("GET", f"/sessions/{s}/snapshots/{version}",
                          headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_every_version_without_redis(suite, story):
    """The window is gone, and the snapshots in Redis: PostgreSQL has it all."""
    owner, s, data, _ = story
    redis = suite.redis_client()
    keys = [k for k in redis.keys(f"session:{{{s}}}:*") if ":snapshot:" in k or k.endswith(":deltas")]
    kept = _move_away(redis, keys)
    try:
        for version in list(data)[::3] + [1, len(data)]:
            assert owner.ok("GET", f"/sessions/{s}/snapshots/{version}")["data"] == data[version]
    finally:
        _move_back(redis, kept)


def _move_away(redis, keys):
    away = {k: k.replace("session:", "away:", 1) for k in keys}
    for key, other in away.items():
        redis.rename(key, other)
    return away


def _move_back(redis, away):
    for key, other in away.items():
        redis.rename(other, key)


@pytest.mark.parametrize("path, expected", [
    ("snapshots/{next}", (410, "version_gone")), ("snapshots/9007199254740991", (410, "version_gone")),
    ("snapshots/5?epoch=2", (410, "version_gone")), ("snapshots/0", (404, "not_found")),
    ("snapshots/5?epoch=0", (422, "invalid_value")), ("snapshots/5?epoch=x", (400, "invalid_request"))])
def test_versions_that_there_are_not(story, path, expected):
    owner, s, data, _ = story
    assert code_of(owner.call("GET", f"/sessions/{s}/" + path.format(next=len(data) + 1))) == expected


# ---- history ----

def test_all_of_it_in_pages_is_what_was_published(story):
    owner, s, _, events = story
    versioned = [e for e in owner.all(f"/sessions/{s}/history?limit=7")
                 if e["type"] not in ("snapshot", "device_joined", "device_left")]
    assert versioned == events[::-1]
    order = [(e["epoch"], e["version"]) for e in owner.all(f"/sessions/{s}/history?limit=100")]
    assert order == sorted(order, reverse=True)


def test_filters_alone_and_together(story):
    owner, s, _, events = story
    middle, end = events[40]["timestamp"], events[-1]["timestamp"]
    for kind in (None, "state_delta", "status_changed", "participant_changed", "device_changed", "session_created",
                 "session_deleted"):
        for device in (None, "phone", "tablet", "none"):
            for span in ((None, None), (middle, None), (None, middle), (middle, end)):
                expected = [e for e in events[::-1] if kind in (None, e["type"]) and device in (None, e["deviceId"])
                            and (span[0] or "") <= e["timestamp"] < (span[1] or "9")]
                query = "".join(f"&{name}={value}" for name, value in
                                (("type", kind), ("deviceId", device), ("from", span[0]), ("to", span[1])) if value)
                found = owner.all(f"/sessions/{s}/history?limit=100{query}")
                assert [e for e in found if "version" in e and e["type"] not in
                        ("snapshot", "device_joined", "device_left")] == expected, query
                assert all("data" not in e for e in found)


def test_a_cursor_belongs_to_its_question(story):
    """It may go on with another limit, and new events do not disturb it."""
    owner, s, _, events = story
    first = owner.ok("GET", f"/sessions/{s}/history?type=state_delta&limit=3")
    owner.ok("POST", f"/sessions/{s}/snapshots", {"label": "meanwhile"})
    rest = owner.all(f"/sessions/{s}/history?type=state_delta&limit=50&cursor={first['nextCursor']}")
    assert first["items"] + rest == [e for e in events[::-1] if e["type"] == "state_delta"]


# ---- kept ones, and restoring ----

@pytest.fixture
def app(suite, user):
    return App(suite, user, "phone")


def test_kept_by_itself_every_fifty_and_at_each_status(suite, story):
    owner, s, data, events = story
    items = owner.all(f"/sessions/{s}/snapshots?limit=2")
    kept = [i["version"] for i in items]
    assert kept == sorted(set(kept), reverse=True), "newest first, each once"
    statuses = [e["version"] for e in events if e["type"] == "status_changed"]
    assert set(statuses) <= set(kept) and {50, 100} <= set(kept)
    for item in items:
        assert item["checksum"] == checksum_of(data[item["version"]]) and item["epoch"] == 1


def test_a_snapshot_a_label_and_the_latest_label_stays(app):
    s = app.create({"n": 1})["id"]
    path = f"/sessions/{s}/snapshots"
    for label in ("first", "x" * 255, "😀" * 255, None):
        answer = app.call("POST", path, {} if label is None else {"label": label}, headers={"If-Match": '"1"'})
        assert answer.status_code == 201 and answer.json()["version"] == 1
        made = app.ok("GET", answer.headers["Location"])
        assert (made["version"], made["data"]) == (1, {"n": 1})
    eventually("in the list", lambda: [(i["version"], i["label"]) for i in app.ok("GET", path)["items"]]
               == [(1, "😀" * 255)])
    assert code_of(app.call("POST", path, {"label": "x" * 256})) == (422, "invalid_value")
    assert code_of(app.call("POST", path, {}, headers={"If-Match": '"2"'})) == (412, "version_conflict")
    assert app.read(s)["version"] == 1


def test_restores_of_restores_with_bases_and_keys(suite, app):
    laptop = App(suite, app.user, "laptop")
    s = app.create({"n": 1})["id"]
    for n in range(2, 5):
        app.set(s, "n", n)
    app.write(s, {"op": "replace", "path": "/name", "value": "new"})
    app.status(s, "paused")
    path = f"/sessions/{s}/restore"
    connection, mine = laptop.watch(s)
    with connection as ws:
        def restore(version, tag=None, key=None, status=200):
            headers = {**({"If-Match": tag} if tag else {}), **({"Idempotency-Key": key} if key else {})}
            answer = app.call("POST", path, {"version": version}, headers=headers)
            assert answer.status_code == status, answer.text
            return answer

        first = restore(2, '"6"', "a").json()
        assert (first["version"], first["data"], first["name"], first["status"]) == (7, {"n": 2}, "new", "paused")
        event = ws.expect("state_delta", version=7)
        assert event["operations"] == [{"op": "replace", "path": "/data", "value": {"n": 2}}]
        mine.take(event)
        app.set(s, "n", 9)
        again = restore(2, '"6"', "a")  # the key is looked up before the base is judged
        assert again.headers["Idempotency-Replayed"] == "true" and again.headers["ETag"] == '"8"'
        assert (again.json()["version"], again.json()["data"]) == (8, {"n": 9}), "the session as it is now"
        assert code_of(restore(3, '"6"', "a", 422)) == (422, "idempotency_key_reused")
        conflict = restore(3, '"6"', "b", 412).json()
        assert conflict["currentVersion"] == 8 and [d["version"] for d in conflict["deltas"]] == [7, 8]
        assert restore(3, '"5", "8"', "b").json()["data"] == {"n": 3}, "a refused one is not remembered"
        assert restore(7).json()["data"] == {"n": 2}, "what a restore made is a version like any other"
        assert restore(10).json()["version"] == 11, "also of what there is already"
        assert code_of(restore(12, status=410)) == (410, "version_gone")
        while mine.version < 11:
            mine.take(ws.recv())
        assert mine.agrees_with(laptop.read(s))
    for version, n in ((6, 4), (7, 2), (8, 9), (9, 3), (10, 2), (11, 2)):
        assert app.ok("GET", f"/sessions/{s}/snapshots/{version}")["data"] == {"n": n}
    # From a base before it, disjoint with nothing that it wrote.
    late = app.call("PATCH", f"/sessions/{s}", {"baseVersion": 10, "merge": "disjoint", "operations": [
        {"op": "add", "path": "/data/m", "value": 1}]})
    assert code_of(late) == (409, "version_conflict")
    renamed = app.ok("PATCH", f"/sessions/{s}", {"baseVersion": 10, "merge": "disjoint", "operations": [
        {"op": "replace", "path": "/name", "value": "late"}]})
    assert renamed["rebased"] and renamed["version"] == 12


def test_a_hole_in_the_trail_is_gone_and_what_is_behind_it_is_not(suite, app):
    s = app.create({"n": 1})["id"]
    for n in range(2, 8):
        app.set(s, "n", n)
    app.ok("POST", f"/sessions/{s}/snapshots", {})
    app.set(s, "n", 9)
    eventually("all written", lambda: len(app.ok("GET", f"/sessions/{s}/history")["items"]) >= 9)
    suite.query("delete from session_events where session_id = %s and version = 4 returning 1", s)
    redis = suite.redis_client()
    redis.delete(f"session:{{{s}}}:deltas", *redis.keys(f"session:{{{s}}}:snapshot:*"))
    told = {v: app.call("GET", f"/sessions/{s}/snapshots/{v}").status_code for v in range(1, 9)}
    assert told == {1: 200, 2: 200, 3: 200, 4: 410, 5: 410, 6: 410, 7: 200, 8: 200}
    assert code_of(app.call("POST", f"/sessions/{s}/restore", {"version": 5})) == (410, "version_gone")
    assert app.ok("POST", f"/sessions/{s}/restore", {"version": 3})["data"] == {"n": 3}


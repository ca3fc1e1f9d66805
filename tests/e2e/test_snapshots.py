"""Earlier versions: which are kept, any of them read again, one made the newest."""

import concurrent.futures

import psycopg2
import pytest

from cold import cool
from harness import canonical, checksum_of, new_user, wait_until
from rest import MISSING_ID, MOMENT, path_of, refused

BIG = 300 << 10


def add(path, value):
    return [{"op": "add", "path": path, "value": value}]


def version_of(device, session, version, status=200, query=""):
    answer = device.get(f"{path_of(session)}/snapshots/{version}{query}")
    assert answer.status_code == status, answer.text[:500]
    return answer.json()


def expect_version(device, session, version, data):
    answer = device.get(f"{path_of(session)}/snapshots/{version}")
    assert answer.status_code == 200, f"{version}: {answer.text[:500]}"
    assert answer.headers["ETag"] == f'"{version}"'
    assert answer.json() == {"sessionId": session["id"], "version": version, "epoch": 1, "data": data,
                             "checksum": checksum_of(data)}


def write(device, session, operations):
    answer = device.patch(session["id"], operations)
    assert answer.status_code == 200, answer.text
    return answer.json()["version"]


def wait_told(suite, session, version):
    wait_until(lambda: suite.query("select 1 from session_events where session_id = %s and version = %s",
                                   session["id"], version), what=f"version {version} in PostgreSQL")


@pytest.fixture
def counted(phone):
    """A session whose version v has data {"n": v} up to 4, where all six operations were at work."""
    session = phone.create({"n": 1})
    write(phone, session, [{"op": "replace", "path": "/data/n", "value": 2}])
    write(phone, session, [{"op": "copy", "from": "/data/n", "path": "/data/m"},
                           {"op": "test", "path": "/data/m", "value": 2},
                           {"op": "remove", "path": "/data/m"}] + add("/data/n", 3))
    write(phone, session, [{"op": "move", "from": "/data/n", "path": "/data/k"},
                           {"op": "move", "from": "/data/k", "path": "/data/n"}] + add("/data/n", 4))
    return session


# ---- any version ----

def test_every_version_is_read_again(phone, counted):
    for version in (1, 2, 3, 4):
        expect_version(phone, counted, version, {"n": version})


def test_a_version_that_left_data_alone_has_the_data_before_it(phone, counted):
    assert phone.status(counted["id"], "paused").status_code == 200
    write(phone, counted, [{"op": "replace", "path": "/name", "value": "Other"}])
    write(phone, counted, add("/data/n", 7))
    for version, n in ((4, 4), (5, 4), (6, 4), (7, 7), (1, 1)):
        expect_version(phone, counted, version, {"n": n})


def test_the_name_moves_through_data(suite, phone):
    """A snapshot has no name; what was copied from it is rebuilt all the same."""
    session = phone.create({}, name="First")
    write(phone, session, [{"op": "copy", "from": "/name", "path": "/data/a"}])
    assert phone.status(session["id"], "paused").status_code == 200  # keeps a snapshot
    write(phone, session, [{"op": "replace", "path": "/name", "value": "Second"}])
    write(phone, session, [{"op": "copy", "from": "/name", "path": "/data/b"}])
    write(phone, session, [{"op": "replace", "path": "/name", "value": "Third"}])
    write(phone, session, [{"op": "move", "from": "/name", "path": "/data/c"}] + add("/name", "Fourth"))
    write(phone, session, add("/data/d", 1))
    last = {"a": "First", "b": "Second", "c": "Third"}
    for _ in range(2):
        expect_version(phone, session, 5, {"a": "First", "b": "Second"})
        expect_version(phone, session, 7, last)
        wait_told(suite, session, 8)
        suite.redis_client().delete(f"session:{{{session['id']}}}:deltas")  # PostgreSQL alone, then


def test_a_version_behind_the_window_comes_from_postgresql(suite, phone, counted):
    wait_told(suite, counted, 4)
    r = suite.redis_client()
    r.xtrim(f"session:{{{counted['id']}}}:deltas", maxlen=1, approximate=False)
    for version in (1, 2, 3, 4):
        expect_version(phone, counted, version, {"n": version})


def test_a_session_that_redis_has_not_is_read_from_postgresql(suite, phone, stranger, counted):
    wait_told(suite, counted, 4)
    cool(suite, counted["id"])
    for version in (1, 4):
        expect_version(phone, counted, version, {"n": version})
    refused(stranger.get(f"{path_of(counted)}/snapshots/1"), 404, "not_found")


def test_versions_around_a_kept_snapshot(suite, phone):
    """Every 50th is kept by itself; before, at and after it, from Redis and from PostgreSQL."""
    session = phone.create({"n": 1})
    for n in range(2, 104):
        write(phone, session, add("/data/n", n))
    for _ in range(2):
        for version in (1, 2, 49, 50, 51, 99, 100, 101, 103):
            expect_version(phone, session, version, {"n": version})
        wait_told(suite, session, 103)
        suite.redis_client().delete(f"session:{{{session['id']}}}:deltas")


def test_the_epoch_is_the_sessions_unless_it_is_said(phone, counted):
    assert version_of(phone, counted, 2, query="?epoch=1")["data"] == {"n": 2}
    refused(phone.get(f"{path_of(counted)}/snapshots/2?epoch=2"), 410, "version_gone")
    refused(phone.get(f"{path_of(counted)}/snapshots/2?epoch=0"), 422, "invalid_value", field="epoch")
    refused(phone.get(f"{path_of(counted)}/snapshots/2?epoch=x"), 400, "invalid_request", field="epoch")


@pytest.mark.parametrize("version", ["5", "2147483647", "2147483648", "9007199254740991"])
def test_a_version_that_is_not_yet_is_gone_too(phone, counted, version):
    body = refused(phone.get(f"{path_of(counted)}/snapshots/{version}"), 410, "version_gone")
    assert body["temporary"] is False


@pytest.mark.parametrize("version", ["0", "01", "-1", "x", "1.0", "9007199254740992", "1/x", ""])
def test_what_is_no_version_is_not_there(phone, counted, version):
    refused(phone.get(f"{path_of(counted)}/snapshots/{version}"), 404, "not_found")


def test_what_postgresql_has_lost_is_gone(suite, phone, counted):
    """A hole in the trail, and a checksum that does not fit: never a guess."""
    wait_told(suite, counted, 4)
    suite.redis_client().delete(f"session:{{{counted['id']}}}:deltas")
    change(suite, "update session_events set payload = replace(payload::text, '\"value\":3', '\"value\":9')"
                  "::json where session_id = %s and version = 3", counted)
    expect_version(phone, counted, 2, {"n": 2})
    refused(phone.get(f"{path_of(counted)}/snapshots/3"), 410, "version_gone")
    change(suite, "delete from session_events where session_id = %s and version = 2", counted)
    expect_version(phone, counted, 1, {"n": 1})
    for version in (2, 3):
        refused(phone.get(f"{path_of(counted)}/snapshots/{version}"), 410, "version_gone")
    expect_version(phone, counted, 4, {"n": 4})  # the newest is Redis' own


def change(suite, sql, session):
    import psycopg2
    connection = psycopg2.connect(suite.servers.postgresql.url)
    with connection, connection.cursor() as cursor:
        cursor.execute(sql, (session["id"],))
    connection.close()


def test_a_client_that_has_the_version_is_told_so(phone, counted):
    tag = phone.get(f"{path_of(counted)}/snapshots/2").headers["ETag"]
    answer = phone.get(f"{path_of(counted)}/snapshots/2", headers={"If-None-Match": tag})
    assert answer.status_code == 304 and answer.headers["ETag"] == tag and not answer.content
    assert phone.get(f"{path_of(counted)}/snapshots/3", headers={"If-None-Match": tag}).status_code == 200


def test_versions_are_their_readers_alone(suite, phone, stranger, counted):
    for path in ("/snapshots", "/snapshots/1"):
        refused(stranger.get(path_of(counted) + path), 404, "not_found")
        refused(phone.get(f"/sessions/{MISSING_ID}{path}"), 404, "not_found")
    admin = suite.device(new_user(), "console", scope="sessions:admin")
    assert version_of(admin, counted, 2)["data"] == {"n": 2}
    refused(admin.post(f"{path_of(counted)}/restore", json={"version": 1}), 403, "forbidden")


def test_large_versions_many_at_once(phone):
    """Past the bound some are told to come again; the others are right, and nobody else waits long."""
    session = phone.create({"big": "x" * BIG, "n": 1})
    for n in range(2, 42):
        write(phone, session, add("/data/n", n))
    data = {"big": "x" * BIG, "n": 40}
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: phone.get(f"{path_of(session)}/snapshots/40"), range(48)))
    assert {a.status_code for a in answers} <= {200, 503}
    good = [a for a in answers if a.status_code == 200]
    assert good and all(a.json()["data"] == data for a in good)
    expect_version(phone, session, 40, data)


def test_one_user_leaves_room_for_others(own_suite):
    """Half of the versions that may be made again at once is the most of one user."""
    suite = own_suite()
    phone, other = (suite.device(new_user(), "phone") for _ in range(2))
    sessions = [device.create({"n": 1}) for device in (phone, other)]
    for session in sessions:
        cool(suite, session["id"])
    connection = psycopg2.connect(suite.servers.postgresql.url)
    connection.cursor().execute("lock table session_snapshots in access exclusive mode")
    paths = [f"{path_of(session)}/snapshots/1" for session in sessions]
    with concurrent.futures.ThreadPoolExecutor(7) as pool:
        asked = [pool.submit(suite.device(phone.user, "phone").get, paths[0]) for _ in range(6)]
        wait_until(lambda: sum(a.done() for a in asked) >= 2, what="the two that are too many")
        early = [a.result() for a in asked if a.done()]
        assert all(refused(a, 503, "unavailable")["detail"].startswith("too many versions") for a in early[:2])
        good = pool.submit(other.get, paths[1])
        connection.rollback()
        assert good.result().status_code == 200
    connection.close()


# ---- those kept ----

def kept(device, session, query=""):
    answer = device.get(f"{path_of(session)}/snapshots{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_kept_snapshots_are_listed_newest_first(phone, laptop, counted):
    for device, status in ((phone, "paused"), (laptop, "active"), (laptop, "paused")):
        assert device.status(counted["id"], status).status_code == 200
    items = wait_until(lambda: (lambda x: x if len(x) == 3 else None)(kept(phone, counted)["items"]),
                       what="three snapshots")
    assert [s["version"] for s in items] == [7, 6, 5]
    for s in items:
        assert s == {"version": s["version"], "epoch": 1, "createdAt": s["createdAt"], "label": None,
                     "checksum": checksum_of({"n": 4})}
        assert MOMENT.match(s["createdAt"])
    first = phone.get(f"{path_of(counted)}/snapshots?limit=2")
    assert [s["version"] for s in first.json()["items"]] == [7, 6]
    second = phone.get(first.links["next"]["url"]).json()
    assert [s["version"] for s in second["items"]] == [5] and second["nextCursor"] is None
    assert kept(phone, counted, "?limit=3")["nextCursor"] is None
    refused(phone.get(f"{path_of(counted)}/snapshots?cursor=x"), 400, "invalid_request", field="cursor")
    refused(phone.get(f"{path_of(counted)}/snapshots?limit=101"), 422, "invalid_value", field="limit")


# ---- made by hand ----

def snapshot(device, session, body=None, **headers):
    more = {"json": body} if body is not None else {}
    return device.post(f"{path_of(session)}/snapshots", headers=headers, **more)


def test_a_snapshot_is_made_with_a_label(phone, counted):
    answer = snapshot(phone, counted, {"label": "before “it”"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made == {"version": 4, "epoch": 1, "createdAt": made["createdAt"], "label": "before “it”",
                    "checksum": checksum_of({"n": 4})}
    assert answer.headers["ETag"] == '"4"'
    assert phone.get(answer.headers["Location"]).json()["data"] == {"n": 4}
    assert wait_until(lambda: kept(phone, counted)["items"], what="the snapshot") == [made]
    assert phone.read(counted["id"])["version"] == 4
    events = wait_until(lambda: phone.get(f"{path_of(counted)}/history?type=snapshot").json()["items"],
                        what="the event")
    assert events[0]["label"] == "before “it”" and events[0]["deviceId"] == "phone"


@pytest.mark.parametrize("body", [None, {}])
def test_a_label_is_not_needed(phone, counted, body):
    answer = snapshot(phone, counted, body)
    assert answer.status_code == 201 and answer.json()["label"] is None


@pytest.mark.parametrize("body, status, code", [
    ({"label": ""}, 422, "invalid_value"), ({"label": "x" * 256}, 422, "invalid_value"),
    ({"label": 1}, 400, "invalid_request"), ({"lable": "x"}, 400, "invalid_request"),
    ([], 400, "invalid_request")])
def test_a_bad_label_is_refused(phone, counted, body, status, code):
    refused(snapshot(phone, counted, body), status, code)


def test_a_snapshot_under_a_key_is_made_once(suite, phone, counted):
    key = {"Idempotency-Key": "snap-1"}
    first = snapshot(phone, counted, {"label": "a"}, **key)
    write(phone, counted, add("/data/n", 5))
    again = snapshot(phone, counted, {"label": "a"}, **key)
    assert again.status_code == 201 and again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    refused(snapshot(phone, counted, {"label": "b"}, **key), 422, "idempotency_key_reused")
    assert [s["version"] for s in wait_until(lambda: kept(phone, counted)["items"], what="it")] == [4]


def test_a_label_joins_a_snapshot_that_was_kept_by_itself(phone, counted):
    assert phone.status(counted["id"], "paused").status_code == 200
    assert snapshot(phone, counted, {"label": "paused here"}).status_code == 201
    wait_until(lambda: [s["label"] for s in kept(phone, counted)["items"]] == ["paused here"],
               what="the label")


# ---- restore ----

def restore(device, session, body, **headers):
    return device.post(f"{path_of(session)}/restore", json=body, headers=headers)


def test_a_restore_is_a_new_version_with_that_data(phone, laptop, counted):
    with phone.connect(counted["id"]) as socket:
        socket.recv_until("state_sync")
        answer = restore(laptop, counted, {"version": 2})
        assert answer.status_code == 200, answer.text
        session = answer.json()
        assert answer.headers["ETag"] == '"5"'
        assert (session["version"], session["data"], session["modifiedBy"]) == (5, {"n": 2}, "laptop")
        event = socket.recv_until("state_delta", version=5)
        assert event["operations"] == [{"op": "replace", "path": "/data", "value": {"n": 2}}]
    assert phone.read(counted["id"]) == session
    for version, n in ((4, 4), (5, 2), (2, 2)):
        expect_version(phone, counted, version, {"n": n})


def test_a_restore_from_postgresql(suite, phone, counted):
    wait_told(suite, counted, 4)
    suite.redis_client().delete(f"session:{{{counted['id']}}}:deltas")
    session = restore(phone, counted, {"version": 3, "epoch": 1}).json()
    assert session["version"] == 5 and session["data"] == {"n": 3}


def test_the_newest_version_restored_is_a_version_as_well(phone, counted):
    assert restore(phone, counted, {"version": 4}).json()["version"] == 5


def test_a_restore_on_another_base_is_refused(phone, counted):
    body = refused(restore(phone, counted, {"version": 1}, **{"If-Match": '"3"'}), 412, "version_conflict")
    assert body["currentVersion"] == 4 and [d["version"] for d in body["deltas"]] == [4]
    assert restore(phone, counted, {"version": 1}, **{"If-Match": '"4"'}).status_code == 200


@pytest.mark.parametrize("body, status, code, field", [
    ({}, 400, "invalid_request", "version"), ({"version": "2"}, 400, "invalid_request", "version"),
    ({"version": 0}, 422, "invalid_value", "version"), ({"version": 1.5}, 400, "invalid_request", "version"),
    ({"version": 1, "epoch": 0}, 422, "invalid_value", "epoch"),
    ({"version": 1, "data": 1}, 400, "invalid_request", "data"),
    ({"version": 5}, 410, "version_gone", "version"),
    ({"version": 1, "epoch": 2}, 410, "version_gone", "version")])
def test_a_bad_restore_is_refused(phone, counted, body, status, code, field):
    refused(restore(phone, counted, body), status, code, field=field)
    assert phone.read(counted["id"])["version"] == 4


def test_a_restore_needs_a_body_and_a_device(suite, phone, counted):
    refused(phone.post(f"{path_of(counted)}/restore"), 415, "unsupported_media_type")
    nobody = suite.device(phone.user, None)
    refused(restore(nobody, counted, {"version": 1}), 400, "invalid_request", field="X-Device-Id")


def test_an_ended_session_is_not_restored(phone, counted):
    assert phone.status(counted["id"], "completed").status_code == 200
    refused(restore(phone, counted, {"version": 1}), 409, "session_ended")
    refused(restore(phone, counted, {"version": 1}, **{"Idempotency-Key": "k"}), 409, "session_ended")
    expect_version(phone, counted, 1, {"n": 1})


def test_a_repeated_restore_takes_effect_once(suite, phone, counted):
    key = {"Idempotency-Key": "restore-1"}
    assert restore(phone, counted, {"version": 2}, **key).json()["version"] == 5
    write(phone, counted, add("/data/n", 6))
    again = restore(phone, counted, {"version": 2}, **key)
    assert again.status_code == 200 and again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["version"] == 6
    refused(restore(phone, counted, {"version": 3}, **key), 422, "idempotency_key_reused")
    # also when the version is gone by now
    wait_told(suite, counted, 6)
    suite.redis_client().delete(f"session:{{{counted['id']}}}:deltas")
    change(suite, "delete from session_events where session_id = %s and version = 2", counted)
    refused(phone.get(f"{path_of(counted)}/snapshots/2"), 410, "version_gone")
    again = restore(phone, counted, {"version": 2}, **key)
    assert again.status_code == 200 and again.headers["Idempotency-Replayed"] == "true"
    refused(restore(phone, counted, {"version": 2}, **{"Idempotency-Key": "restore-2"}), 410, "version_gone")
    assert phone.read(counted["id"])["version"] == 6


def test_data_at_its_bound_is_restored(phone):
    data = "x" * ((512 << 10) - 2)
    assert len(canonical(data)) == 512 << 10
    session = phone.create(data)
    write(phone, session, add("/data", 1))
    restored = restore(phone, session, {"version": 1})
    assert restored.status_code == 200 and restored.json()["data"] == data

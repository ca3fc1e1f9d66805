"""What is read of a session that is not in Redis, or not as it should be: from PostgreSQL while it is cold,
else after the engine was asked; never what is old or damaged."""

import concurrent.futures

import psycopg2
import pytest

from cold import age, cool, lose
from harness import Suite, checksum_of, metric, new_user, wait_until
from rest import MISSING_ID, path_of, refused

ADD = [{"op": "add", "path": "/data/n", "value": 3}]


@pytest.fixture
def session(suite, phone):
    """At version 3, with a participant, a device that is kept out, and a snapshot of version 2."""
    made = phone.create({"n": 1, "more": [0.5, "\u00e4"]}, name="Caf\u00e9", ttlSeconds=600)
    assert phone.patch(made["id"], ADD).status_code == 200
    assert phone.post(f"{path_of(made)}/snapshots", json={"label": "kept"}).status_code == 201
    assert phone.status(made["id"], "paused").status_code == 200
    wait_until(lambda: suite.query("select 1 from session_snapshots where session_id = %s and version = 2",
                                   made["id"]), what="the snapshot")
    return made


def is_in_redis(suite, session):
    return bool(suite.redis_client().keys(f"session:{{{session['id']}}}:meta"))


# ---- cold ----

def test_the_whole_resource_is_as_it_was(suite, phone, session):
    hot = phone.get(path_of(session))
    cool(suite, session["id"])
    cold = phone.get(path_of(session))
    assert cold.status_code == 200, cold.text
    assert cold.json() == hot.json()
    assert cold.headers["ETag"] == hot.headers["ETag"] == '"3"'
    assert cold.json()["checksum"] == checksum_of(cold.json()["data"])
    for headers in ({"If-None-Match": '"3"'}, {"If-None-Match": "*"}):
        answer = phone.get(path_of(session), headers=headers)
        assert answer.status_code == 304 and answer.headers["ETag"] == '"3"' and not answer.content
    assert phone.get(path_of(session), headers={"If-None-Match": '"2"'}).status_code == 200
    assert not is_in_redis(suite, session)  # nobody had to load it


def test_a_snapshot_of_its_position_is_enough(suite, phone, session):
    """What the engine leaves when it lets go, after older events were purged."""
    hot = phone.read(session["id"])
    assert phone.post(f"{path_of(session)}/snapshots").status_code == 201
    wait_until(lambda: suite.query("select 1 from session_snapshots where session_id = %s and version = 3",
                                   session["id"]), what="the snapshot")
    cool(suite, session["id"])
    suite.query("delete from session_events where session_id = %s returning 1", session["id"])
    assert phone.read(session["id"]) == hot


def test_its_deltas_are_not_kept(suite, phone, session):
    cool(suite, session["id"])
    for since, complete in ((0, False), (2, False), (3, True), (4, False)):
        answer = phone.get(f"{path_of(session)}/deltas?since={since}")
        assert answer.status_code == 200
        assert answer.json() == {"epoch": 1, "items": [], "complete": complete}, since
    assert phone.get(f"{path_of(session)}/deltas?since=3&epoch=2").json()["complete"] is False


def test_what_is_kept_of_it_is_listed(suite, phone, stranger, session):
    path = path_of(session)
    share = phone.request("PUT", f"{path}/participants/{stranger.user}", json={"role": "viewer"})
    assert share.status_code == 204, share.text
    paths = [f"{path}{tail}" for tail in ("/history", "/snapshots", "/participants", "/snapshots/2")]
    wait_until(lambda: suite.query("select 1 from session_events where session_id = %s and version = 4",
                                   session["id"]), what="the audit trail")
    hot = [phone.get(p).json() for p in paths]
    cool(suite, session["id"])
    assert [phone.get(p).json() for p in paths] == hot
    assert [stranger.get(p).json() for p in paths] == hot
    assert [d["deviceId"] for d in phone.get(f"{path}/devices").json()["items"]] == ["phone"]
    assert stranger.read(session["id"])["role"] == "viewer"


def test_who_may_not_is_told_the_same(suite, phone, stranger, session):
    laptop = suite.device(phone.user, "laptop")
    assert phone.delete(f"{path_of(session)}/devices/laptop").status_code == 204
    cool(suite, session["id"])
    for tail in ("", "/deltas?since=4", "/history", "/snapshots", "/snapshots/1", "/participants", "/devices"):
        refused(stranger.get(path_of(session) + tail), 404, "not_found")
        refused(laptop.get(path_of(session) + tail), 403, "device_removed")
    refused(stranger.post(f"{path_of(session)}/broadcast", json={"message": 1}), 404, "not_found")
    assert not is_in_redis(suite, session)


def test_a_broadcast_reaches_nobody(suite, phone, session):
    cool(suite, session["id"])
    assert phone.post(f"{path_of(session)}/broadcast", json={"message": {"a": 1}}).status_code == 202
    assert not is_in_redis(suite, session)


def test_many_are_read_at_once(own_suite):
    """32 of one user's, which leave room for others'; however many earlier versions are being made again."""
    suite = own_suite()
    phone, other = (suite.device(new_user(), "phone") for _ in range(2))
    sessions = [device.create({"n": 1}) for device in (phone, other)]
    for session in sessions:
        cool(suite, session["id"])
    paths = [path_of(session) for session in sessions]
    connection = psycopg2.connect(suite.servers.postgresql.url)
    connection.cursor().execute("lock table session_snapshots in access exclusive mode")
    with concurrent.futures.ThreadPoolExecutor(37) as pool:
        asked = [pool.submit(suite.device(phone.user, "phone").get, path)
                 for path in [paths[0]] * 32 + [f"{paths[0]}/snapshots/1"] * 4]
        wait_until(lambda: metric(suite.services["session_api"], "handoff_http_requests_in_flight") == 36,
                   what="as many as one user may")
        problem = refused(suite.device(phone.user, "phone").get(paths[0]), 503, "unavailable")
        assert problem["temporary"] and problem["detail"].startswith("too many")
        good = pool.submit(other.get, paths[1])
        connection.rollback()
        assert good.result().status_code == 200
        assert {answer.result().status_code for answer in asked} <= {200, 503}
    connection.close()
    assert phone.read(sessions[0]["id"]) == sessions[0]


def test_while_postgresql_is_away_it_is_unavailable(shaky_servers, tmp_path):
    suite = Suite(shaky_servers, tmp_path).start()
    try:
        check_without_postgresql(suite, suite.device(new_user(), "phone"))
    finally:
        suite.stop()


def check_without_postgresql(suite, phone):
    session, hot = phone.create({"n": 1}), phone.create({"n": 1})
    cool(suite, session["id"])
    suite.servers.postgresql.stop()
    try:
        refused(phone.get(path_of(session)), 503, "unavailable")
        assert phone.read(hot["id"]) == hot
    finally:
        suite.servers.postgresql.start()
    wait_until(lambda: phone.get(path_of(session)).status_code == 200, what="the session")


# ---- not cold ----

def test_an_id_that_never_was_is_not_found(phone):
    refused(phone.get(f"/sessions/{MISSING_ID}"), 404, "not_found")
    refused(phone.get(f"/sessions/{MISSING_ID}/history"), 404, "not_found")


def test_a_deleted_session_stays_so(suite, phone, session):
    assert phone.delete(path_of(session)).status_code == 204
    wait_until(lambda: suite.query("select 1 from sessions where id = %s and deleted_at is not null",
                                   session["id"]), what="the deletion")
    age(suite, session["id"])
    refused(phone.get(path_of(session)), 404, "not_found")
    lose(suite, session["id"])
    refused(phone.get(path_of(session)), 404, "not_found")

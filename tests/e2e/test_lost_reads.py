"""What readers and devices see of a session that Redis lost, has old, or has damaged: the session, after the
engine put it in order; one state_sync for who watched; nothing of before under the new epoch."""

import concurrent.futures
import shutil
import signal
import uuid
from socket import create_connection

import psycopg2
import pytest

import sse
from cold import age, cool, lose
from harness import Suite, checksum_of, metric, new_user, run_ids, together, wait_until
from rest import path_of, refused
from ws import ask, is_alive, set_to, subscribed


def key_of(session, name):
    return f"session:{{{session['id']}}}:{name}"


def position(session):
    return session["epoch"], session["version"]


def write(device, session, n):
    answer = device.json_patch(session["id"], set_to("n", n))
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_told(suite, session):
    """PostgreSQL knows what the device read last."""
    wait_until(lambda: suite.query("select 1 from sessions where id = %s and (epoch, version) = (%s, %s)",
                                   session["id"], *position(session)), what="the position in PostgreSQL")


@pytest.fixture
def session(suite, phone):
    """At version 3, told."""
    session = phone.create({"n": 1})
    write(phone, session, 2)
    write(phone, session, 3)
    session = phone.read(session["id"])
    wait_told(suite, session)
    return session


def expect_rebuilt(device, session):
    found = device.get(path_of(session))
    assert found.status_code == 200, found.text
    assert found.headers["ETag"] == f'"{session["version"]}.{session["epoch"] + 1}"'
    assert found.json() == {**session, "epoch": session["epoch"] + 1, "expiresAt": found.json()["expiresAt"]}
    return found.json()


# ---- REST ----

def test_after_a_rebuild_the_list_and_the_cold_session_are_what_is_read(suite, phone, session):
    """One ETag, one content: also where the last change was lost for good."""
    suite.query("delete from session_events where session_id = %s and version = 3 returning 1", session["id"])
    lose(suite, session["id"])
    found = phone.read(session["id"])
    assert (position(found), found["data"], found["checksum"]) == ((2, 3), {"n": 2}, checksum_of({"n": 2}))
    wait_told(suite, found)
    listed = next(s for s in phone.get("/sessions").json()["items"] if s["id"] == session["id"])
    assert listed == {name: found[name] for name in listed if name != "expiresAt"} | {"expiresAt": listed["expiresAt"]}
    cool(suite, session["id"])
    assert phone.read(session["id"]) == {**found, "expiresAt": listed["expiresAt"]}


def test_a_lost_session_is_read_and_everybody_reads_the_same(suite, phone, stranger, session):
    lose(suite, session["id"])
    refused(stranger.get(path_of(session)), 404, "not_found")
    answers = together(8, lambda i: suite.device(phone.user, f"d{i}").read(session["id"]))
    assert {position(a) for a in answers} == {(2, 3)}
    assert expect_rebuilt(phone, session) == answers[0]


@pytest.mark.parametrize("tail", ["/deltas?since=3&epoch=2", "/history", "/snapshots", "/participants", "/devices",
                                  "/snapshots/3?epoch=1"])
def test_every_route_brings_a_lost_session_back(suite, phone, session, tail):
    lose(suite, session["id"])
    answer = phone.get(path_of(session) + tail)
    assert answer.status_code == 200, answer.text
    expect_rebuilt(phone, session)


def test_a_broadcast_to_a_lost_session_is_sent(suite, phone, session):
    lose(suite, session["id"])
    assert phone.post(f"{path_of(session)}/broadcast", json={"message": 1}).status_code == 202
    expect_rebuilt(phone, session)


def test_the_new_epoch_has_no_deltas_of_before(suite, phone, session):
    lose(suite, session["id"])
    expect_rebuilt(phone, session)

    def deltas(query):
        answer = phone.get(f"{path_of(session)}/deltas?{query}")
        assert answer.status_code == 200, answer.text
        return [e["version"] for e in answer.json()["items"]], answer.json()["complete"]

    for query, complete in (("since=0&epoch=2", False), ("since=2&epoch=2", False), ("since=3&epoch=2", True),
                            ("since=2&epoch=2&limit=1", False), ("since=3&epoch=1", False)):
        assert deltas(query) == ([], complete), query
    write(phone, session, 4)
    assert deltas("since=3&epoch=2") == ([4], True)
    assert deltas("since=2&epoch=2") == ([4], False)
    assert deltas("since=3&epoch=1") == ([], False)


def test_what_was_before_is_a_past_that_can_be_read_and_no_base(suite, phone, session):
    lose(suite, session["id"])
    rebuilt, path = expect_rebuilt(phone, session), path_of(session)
    operations = set_to("other", 1)
    for base in ({"baseVersion": 3}, {"baseVersion": 2}, {"baseVersion": 2, "merge": "disjoint"},
                 {"baseVersion": 2, "epoch": 2, "merge": "disjoint"}):
        body = refused(phone.patch(session["id"], operations, **base), 409, "version_conflict")
        assert (body["epoch"], body["currentVersion"], body["session"]) == (2, 3, rebuilt), base
    body = refused(phone.json_patch(session["id"], operations, headers={"If-Match": '"3"'}), 412, "version_conflict")
    assert (body["epoch"], body["session"]) == (2, rebuilt)
    assert phone.get(path, headers={"If-None-Match": '"3"'}).status_code == 200
    assert phone.get(path, headers={"If-None-Match": '"3.2"'}).status_code == 304

    for version in (1, 2, 3):
        answer = phone.get(f"{path}/snapshots/{version}?epoch=1")
        assert answer.json()["data"] == {"n": version} and answer.headers["ETag"] == f'"{version}"'
    wait_told(suite, rebuilt)
    for query in ("2", "2?epoch=2", "4?epoch=1", "9?epoch=1", "3?epoch=3"):
        refused(phone.get(f"{path}/snapshots/{query}"), 410, "version_gone")
    refused(phone.post(f"{path}/restore", json={"version": 2}), 410, "version_gone")
    restored = phone.post(f"{path}/restore", json={"version": 1, "epoch": 1}).json()
    assert (position(restored), restored["data"]) == ((2, 4), {"n": 1})
    wait_told(suite, restored)
    items = phone.get(f"{path}/history").json()["items"]
    assert [position(e) for e in items if e["type"] in ("session_created", "state_delta", "session_rebuilt")] == [
        (2, 4), (2, 3), (1, 3), (1, 2), (1, 1)]
    with sse.streamed(phone, session["id"], Last_Event_ID="1:3") as stream:
        assert stream.sync["reason"] == "epoch" and position(stream.sync) == (2, 4)


def test_what_another_node_saved_is_read_once_it_is_judged(suite, phone, session):
    for tail in ("", "/deltas?since=2", "/history", "/snapshots/2", "/devices"):
        age(suite, session["id"])
        answer = phone.get(path_of(session) + tail)
        assert answer.status_code == 200, answer.text
    assert phone.read(session["id"]) == session  # nothing was lost: it is adopted
    client = suite.redis_client()
    assert client.hget(key_of(session, "meta"), "run_id") in run_ids(client)


def test_a_redis_that_went_back_in_time_is_not_believed(suite, phone):
    session = phone.create({"n": 1})
    redis = suite.redis_client()
    names = [key_of(session, name) for name in ("meta", "state", "deltas")]
    meta, state = redis.hgetall(names[0]), redis.get(names[1])
    write(phone, session, 2)
    session = phone.read(session["id"])
    wait_told(suite, session)
    redis.delete(*names)
    redis.hset(names[0], mapping={**meta, "run_id": "0" * 40})
    redis.set(names[1], state)
    expect_rebuilt(phone, session)


@pytest.mark.parametrize("damage", [
    lambda redis, s: redis.set(key_of(s, "state"), redis.get(key_of(s, "state")).replace('"n":3', '"n":4')),
    lambda redis, s: redis.hset(key_of(s, "meta"), "version", "many"),
    lambda redis, s: redis.delete(key_of(s, "state")),
], ids=["data without its checksum", "a version that is none", "no state"])
def test_what_is_damaged_is_not_handed_out(suite, phone, session, damage):
    damage(suite.redis_client(), session)
    expect_rebuilt(phone, session)


def test_cold_data_that_cannot_be_put_together_is_recovered(suite, phone, session):
    cool(suite, session["id"])
    suite.query("delete from session_events where session_id = %s and version = 3 returning 1", session["id"])
    found = phone.read(session["id"])
    assert (found["epoch"], found["data"], found["checksum"]) == (2, {"n": 2}, checksum_of({"n": 2}))
    cool(suite, session["id"])
    again = phone.read(session["id"])
    assert (position(again), again["data"], again["checksum"]) == (position(found), found["data"], found["checksum"])


def test_without_an_engine_it_is_unavailable(own_suite):
    suite = own_suite(HANDOFF_COMMAND_DEADLINE="1s")
    phone = suite.device(new_user(), "phone")
    session, hot = phone.create({"n": 1}), phone.create({"n": 1})
    wait_told(suite, session)
    age(suite, session["id"])
    engine = suite.services["state_engine"].process
    engine.send_signal(signal.SIGSTOP)
    try:
        for tail in ("", "/deltas", "/history"):
            answer = phone.get(path_of(session) + tail)
            assert refused(answer, 503, "unavailable")["temporary"] and int(answer.headers["Retry-After"]) >= 1
        assert phone.read(hot["id"]) == hot
        assert {s["id"] for s in phone.get("/sessions").json()["items"]} == {session["id"], hot["id"]}
    finally:
        engine.send_signal(signal.SIGCONT)
    wait_until(lambda: phone.get(path_of(session)).status_code == 200, what="the session")


# ---- devices ----

def expect_synced(socket, session, reason):
    """One, and nothing more."""
    frame = socket.expect("state_sync", sessionId=session["id"], reason=reason)
    assert {**frame["session"], "expiresAt": None} == {**session, "expiresAt": None}
    assert (frame["epoch"], frame["version"]) == position(session)
    return frame


@pytest.mark.parametrize("how", [cool, lose, age])
def test_a_session_that_is_not_there_is_subscribed_to(suite, phone, laptop, session, how):
    how(suite, session["id"])
    with subscribed(laptop, session["id"]) as socket:
        assert socket.sync["reason"] == "initial"
        assert socket.sync["session"]["data"] == {"n": 3}
        assert position(socket.sync) == ((2, 3) if how is lose else (1, 3))
        write(phone, session, 4)
        socket.expect("state_delta", version=4)


def test_who_watched_gets_one_state_sync(suite, phone, laptop, session):
    with subscribed(laptop, session["id"]) as one, subscribed(phone, session["id"]) as other:
        lose(suite, session["id"])
        rebuilt = expect_rebuilt(phone, session)
        for socket in (one, other):
            expect_synced(socket, rebuilt, "rebuilt")
        write(phone, session, 4)
        for socket in (one, other):
            socket.expect("state_delta", version=4, epoch=2)
            assert is_alive(socket) == []
    syncs = 'handoff_ws_state_syncs_total{reason="rebuilt"}'
    assert sum(metric(fanout, syncs) for fanout in suite.instances("ws_fanout")) >= 2


def test_who_watched_is_told_whatever_comes_first(suite, phone, laptop, session):
    """The change that has the session rebuilt is of the new epoch, too."""
    with subscribed(laptop, session["id"]) as socket:
        lose(suite, session["id"])
        write(phone, session, 4)
        frame = socket.expect("state_sync", reason="rebuilt", epoch=2)
        if frame["version"] == 3:
            socket.expect("state_delta", version=4, epoch=2)
        else:
            assert frame["session"]["data"] == {"n": 4}
        assert is_alive(socket) == []


@pytest.mark.parametrize("since,reason", [("3&epoch=1", "epoch"), ("1&epoch=1", "epoch"), ("0&epoch=2", "window"),
                                          ("2&epoch=2", "window"), ("4&epoch=2", "ahead")])
def test_who_comes_back_with_what_is_over_gets_the_state(suite, phone, laptop, session, since, reason):
    lose(suite, session["id"])
    rebuilt = expect_rebuilt(phone, session)
    with laptop.connect(f"{session['id']}&since={since}") as socket:
        socket.expect("hello")
        expect_synced(socket, rebuilt, reason)


def test_who_comes_back_within_the_new_epoch_goes_on(suite, phone, laptop, session):
    lose(suite, session["id"])
    expect_rebuilt(phone, session)
    write(phone, session, 4)
    with laptop.connect(f"{session['id']}&since=3&epoch=2") as socket:
        socket.expect("hello")
        socket.expect("subscribed", version=4, replayed=1)
        socket.expect("state_delta", version=4, epoch=2)


def test_a_stream_is_told_the_same(suite, phone, laptop, session):
    with sse.streamed(laptop, session["id"]) as stream:
        lose(suite, session["id"])
        expect_synced(stream, expect_rebuilt(phone, session), "rebuilt")
        assert stream.last_id == "2:3"
        write(phone, session, 4)
        stream.expect("state_delta", version=4, epoch=2)


@pytest.mark.parametrize("how", [cool, lose, age])
def test_a_broadcast_by_websocket_to_what_is_not_there_is_sent(suite, phone, laptop, session, how):
    with subscribed(laptop, session["id"]) as other, subscribed(phone, session["id"]) as socket:
        how(suite, session["id"])
        socket.send(type="broadcast", id="b", sessionId=session["id"], message={"a": 1})
        assert socket.recv_until("ack", id="b")["epoch"] == (2 if how is lose else 1)
        assert other.recv_until("broadcast")["message"] == {"a": 1}


def test_nobody_keeps_the_engines_busy_with_what_is_not_there(own_suite):
    """64 at a time are looked for on behalf of one user; others are served meanwhile."""
    suite = own_suite()
    api, engine = suite.services["session_api"], suite.services["state_engine"].process
    stranger, other = (suite.device(new_user(), "phone") for _ in range(2))

    def is_in_flight(n):
        wait_until(lambda: metric(api, "handoff_commands_in_flight") == n, what=f"{n} in flight")

    with concurrent.futures.ThreadPoolExecutor(65) as pool:
        engine.send_signal(signal.SIGSTOP)
        try:
            asked = [pool.submit(stranger.get, f"/sessions/{uuid.uuid4()}") for _ in range(64)]
            is_in_flight(64)
            problem = refused(stranger.get(f"/sessions/{uuid.uuid4()}"), 503, "unavailable")
            assert problem["temporary"] and "too many" in problem["detail"]
            asked.append(pool.submit(other.get, f"/sessions/{uuid.uuid4()}"))
            is_in_flight(65)
        finally:
            engine.send_signal(signal.SIGCONT)
        assert [answer.result().status_code for answer in asked] == [404] * 65
    refused(stranger.get(f"/sessions/{uuid.uuid4()}"), 404, "not_found")


def ask_and_go(suite, device, path):
    """A request whose answer nobody waits for."""
    with create_connection(("127.0.0.1", suite.api_port), 20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {device.token}\r\n\r\n".encode())


@pytest.mark.parametrize("ends", ["nobody", "session_api", "ws_fanout"])
def test_who_leaves_while_a_session_is_loaded(own_suite, ends):
    """Connections that end, subscriptions that end, and a service that ends, with the engine's answer on its way."""
    suite = own_suite(HANDOFF_COMMAND_DEADLINE="2s")
    phone, laptop = (suite.device(user, "phone") for user in [new_user()] * 2)
    lost, cold = phone.create({"n": 1}), phone.create({"n": 1})
    for session in (lost, cold):
        wait_told(suite, session)
    with subscribed(laptop, cold["id"]) as stays:
        other = phone.create({"n": 1})
        lose(suite, lost["id"])
        engine = suite.services["state_engine"].process
        engine.send_signal(signal.SIGSTOP)
        try:
            for tail in ("", "/deltas?since=1", "/history", "/snapshots/1", "/devices"):
                ask_and_go(suite, phone, path_of(lost) + tail)
            gone = [phone.connect(lost["id"]) for _ in range(3)]
            for s in gone:
                s.expect("hello")
            stays.send(type="subscribe", id="s", sessionId=lost["id"])
            stays.send(type="unsubscribe", id="u", sessionId=lost["id"])
            stays.recv_until("unsubscribed", id="u")
            stays.send(type="subscribe", id="t", sessionId=lost["id"])
            for s in gone:
                s.close()
            if ends != "nobody":
                suite.services[ends].process.terminate()
        finally:
            engine.send_signal(signal.SIGCONT)
        if ends == "nobody":
            stays.recv_until("state_sync", sessionId=lost["id"], id="t")
            assert is_alive(stays) == []
    if ends != "nobody":
        assert suite.terminate(ends) == 0
        suite.restart(ends)
    expect_rebuilt(phone, lost)
    assert phone.read(other["id"]) == other


def test_who_leaves_while_cold_data_is_put_together(own_suite):
    suite = own_suite()
    phone = suite.device(new_user(), "phone")
    session = phone.create({"n": 1})
    cool(suite, session["id"])
    connection = psycopg2.connect(suite.servers.postgresql.url)
    connection.cursor().execute("lock table session_snapshots in access exclusive mode")
    for tail in ("", "/snapshots/1", "/snapshots"):
        ask_and_go(suite, phone, path_of(session) + tail)
    wait_until(lambda: suite.query("select 1 from pg_locks where not granted"), what="one that waits")
    connection.close()
    assert phone.read(session["id"]) == session


def test_half_of_what_may_be_in_flight_is_for_writes(own_suite):
    suite = own_suite(HANDOFF_MAX_COMMANDS_IN_FLIGHT="16")
    api, engine = suite.services["session_api"], suite.services["state_engine"].process
    phone = suite.device(new_user(), "phone")
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        engine.send_signal(signal.SIGSTOP)
        try:
            reads = [pool.submit(phone.get, f"/sessions/{uuid.uuid4()}") for _ in range(8)]
            wait_until(lambda: metric(api, "handoff_commands_in_flight") == 8, what="half of them")
            refused(phone.get(f"/sessions/{uuid.uuid4()}"), 503, "unavailable")
            write = pool.submit(phone.create, {})
            wait_until(lambda: metric(api, "handoff_commands_in_flight") == 9, what="a write")
        finally:
            engine.send_signal(signal.SIGCONT)
        assert [answer.result().status_code for answer in reads] == [404] * 8
        assert write.result()["version"] == 1


def test_a_broadcast_by_websocket_to_what_cannot_be_loaded_is_refused(own_suite):
    suite = own_suite(HANDOFF_COMMAND_DEADLINE="1s")
    phone = suite.device(new_user(), "phone")
    session = phone.create({"n": 1})
    with subscribed(phone, session["id"]) as socket:
        age(suite, session["id"])
        engine = suite.services["state_engine"].process
        engine.send_signal(signal.SIGSTOP)
        try:
            frame = ask(socket, "broadcast", sessionId=session["id"], message=1)
            assert (frame["type"], frame["code"], frame["temporary"]) == ("error", "unavailable", True), frame
        finally:
            engine.send_signal(signal.SIGCONT)


# ---- a Redis that was started again ----

@pytest.fixture(scope="module")
def shaky(shaky_servers, tmp_path_factory):
    suite = Suite(shaky_servers, tmp_path_factory.mktemp("shaky"))
    try:
        yield suite.start()
    finally:
        suite.stop()


def restart_redis(suite, keeps_data):
    redis = suite.servers.redis
    redis.stop()
    for node in redis.nodes if not keeps_data else []:
        shutil.rmtree(node.data)
    redis.start()


def test_who_watches_is_put_right_after_redis_lost_everything(shaky):
    """Nobody has to ask for the session."""
    phone, laptop = (shaky.device(user, "phone") for user in [new_user()] * 2)
    sessions = [phone.create({"n": 1}) for _ in range(3)]
    for session in sessions:
        wait_told(shaky, session)
    with subscribed(laptop, sessions[0]["id"]) as socket:
        for session in sessions[1:]:
            ask(socket, "subscribe", sessionId=session["id"])
        restart_redis(shaky, keeps_data=False)
        told = [socket.expect("state_sync", reason="rebuilt", epoch=2, version=1) for _ in sessions]
        assert {frame["sessionId"] for frame in told} == {session["id"] for session in sessions}
        assert is_alive(socket) == []


def test_who_watches_sees_nothing_of_a_restart_that_lost_nothing(shaky):
    phone = shaky.device(new_user(), "phone")
    session = phone.create({"n": 1})
    wait_told(shaky, session)
    with subscribed(phone, session["id"]) as socket:
        restart_redis(shaky, keeps_data=True)
        client = shaky.redis_client()
        wait_until(lambda: client.hget(key_of(session, "meta"), "run_id") in run_ids(client),
                   what="somebody who cares")
        wait_until(lambda: phone.json_patch(session["id"], set_to("n", 2)).status_code == 200, what="a change")
        socket.expect("state_delta", epoch=1, version=2)
        assert is_alive(socket) == []

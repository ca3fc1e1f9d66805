"""Idle and expiry (contract section 2): what nobody uses pauses, expires and goes cold by itself, once,
whichever engine lives. Time passes by moving what the engine counts from back in Redis."""

import contextlib
import time

import psycopg2
import pytest

from harness import metric, new_user, wait_until
from rest import accepted, refused
from ws import subscribed

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


class Unused:
    """A session in Redis, for which time can pass."""

    def __init__(self, suite, session_id):
        self.suite, self.client, self.id = suite, suite.redis_client(), session_id
        self.meta = f"session:{{{session_id}}}:meta"

    def keys(self):
        """What of the session is in Redis, without what counts redeliveries."""
        prefix = f"session:{{{self.id}}}:"
        names = [key.removeprefix(prefix) for key in self.client.scan_iter(f"session:{{{self.id}}}:*")]
        return sorted(name for name in names if not name.startswith("tries:"))

    def get(self, field):
        return self.client.hget(self.meta, field)

    def entry(self):
        """When it is looked at, None: never."""
        pipeline = self.client.pipeline(transaction=False)
        for slot in range(64):
            pipeline.zscore(f"attention:{{{slot}}}", self.id)
        scores = pipeline.execute()
        return next((int(score) for score in scores if score is not None), None)

    def look(self):
        """The session is looked at in the next tick."""
        pipeline = self.client.pipeline(transaction=False)
        for slot in range(64):
            pipeline.zadd(f"attention:{{{slot}}}", {self.id: 1}, xx=True)
        pipeline.execute()

    def waits(self):
        """It is in Redis, no engine has it in hand, and none looks at it soon. In this order: what an engine takes
        is marked before its entry moves on."""
        entry = self.entry()
        version, cooling = self.client.hmget(self.meta, "version", "cooling")
        return version and not cooling and entry and entry > (time.time() + 15) * 1000

    def settle(self):
        """Everything told, and nobody in it: no look is coming for another reason."""
        wait_until(lambda: self.get("published") == self.get("version"), what="all published")

    def pass_time(self, ms):
        """So long nothing was written, and no heartbeat came."""
        self.settle()
        for field in ("touchedAt", "updatedAt"):
            self.client.hincrby(self.meta, field, -ms)
        self.look()


def path_of(session_id):
    return f"/sessions/{session_id}"


def row(suite, session_id, columns):
    found = suite.query(f"select {columns} from sessions where id = %s", session_id)
    return found[0] if found else None


def rows_of_idle(suite, session_id):
    return suite.query("select version, payload from session_events where session_id = %s and "
                       "type = 'status_changed' order by version", session_id)


@pytest.fixture
def new_session(suite, phone):
    def create(**members):
        session = phone.create({"progress": 75}, **members)
        return session["id"], Unused(suite, session["id"])
    return create


# ---- idle ----

def test_an_active_session_pauses_when_nobody_uses_it(suite, phone, laptop, new_session):
    session_id, unused = new_session(ttlSeconds=60)
    before = phone.read(session_id)
    with subscribed(laptop, session_id) as watcher:
        unused.pass_time(MINUTE)
        event = watcher.recv_until("status_changed")
        assert (event["from"], event["to"], event["reason"]) == ("active", "paused", "idle")
        assert (event["version"], event["deviceId"], event["activeDeviceId"]) == (2, None, None)
        assert event["userId"] == phone.user
    session = phone.read(session_id)
    assert (session["status"], session["version"], session["activeDeviceId"]) == ("paused", 2, None)
    assert (session["data"], session["completedAt"]) == (before["data"], None)
    wait_until(lambda: row(suite, session_id, "status, version") == ("paused", 2), what="the row paused")
    wait_until(lambda: len(rows_of_idle(suite, session_id)) == 1, what="the event in the audit trail")
    wait_until(lambda: suite.query("select 1 from session_snapshots where session_id = %s and version = 2",
                                   session_id), what="a snapshot of the pause")
    # The laptop goes on where the phone was.
    assert accepted(laptop.status(session_id, "active"), 3)["data"] == before["data"]


def test_an_active_session_expires_when_it_shall(suite, phone, new_session):
    session_id, unused = new_session(ttlSeconds=60, onIdle="expire")
    with subscribed(phone, session_id) as watcher:
        unused.pass_time(MINUTE)
        event = watcher.recv_until("status_changed")
        assert (event["from"], event["to"], event["reason"]) == ("active", "expired", "idle")
    session = phone.read(session_id)
    assert (session["status"], session["expiresAt"]) == ("expired", None)
    assert session["completedAt"] == session["updatedAt"]
    refused(phone.patch(session_id, []), 409, "session_ended")
    refused(phone.status(session_id, "active"), 409, "session_ended")
    refused(phone.post(path_of(session_id) + "/heartbeat"), 409, "session_ended")


@pytest.mark.parametrize("status", ["pending", "paused"])
@pytest.mark.parametrize("on_idle", ["pause", "expire"])
def test_a_session_that_is_not_active_expires_after_30_days(suite, phone, new_session, status, on_idle):
    members = {"status": "pending"} if status == "pending" else {}
    session_id, unused = new_session(onIdle=on_idle, **members)
    if status == "paused":
        accepted(phone.status(session_id, "paused"))
    version = phone.read(session_id)["version"]
    with subscribed(phone, session_id) as watcher:
        unused.pass_time(30 * DAY - MINUTE)  # not yet
        wait_until(lambda: unused.entry() != 1, what="looked at")
        assert phone.read(session_id)["version"] == version
        unused.pass_time(MINUTE)
        event = watcher.recv_until("status_changed")
        assert (event["from"], event["to"], event["version"]) == (status, "expired", version + 1)


def test_a_write_and_a_heartbeat_put_it_off(suite, phone, new_session):
    for use in (lambda s: phone.post(path_of(s) + "/heartbeat"),
                lambda s: phone.patch(s, [{"op": "add", "path": "/data/a", "value": 1}])):
        session_id, unused = new_session(ttlSeconds=60)
        unused.settle()
        unused.client.hincrby(unused.meta, "touchedAt", 1000 - MINUTE)
        assert use(session_id).status_code == 200
        unused.look()
        wait_until(lambda: unused.entry() != 1, what="looked at")
        session = phone.read(session_id)
        assert session["status"] == "active"
        # The entry stands where the session says, when all is quiet.
        expires_at = int(unused.get("touchedAt")) + MINUTE
        unused.settle()
        unused.client.hincrby(unused.meta, "updatedAt", -MINUTE)
        wait_until(lambda: unused.entry() == expires_at, what="the entry at expiresAt")


def test_expires_at_moves_with_use_in_every_answer(phone, new_session):
    session_id, unused = new_session(ttlSeconds=60)
    created = phone.read(session_id)["expiresAt"]
    beat = phone.post(path_of(session_id) + "/heartbeat").json()
    assert beat["expiresAt"] > created
    assert phone.read(session_id)["expiresAt"] == beat["expiresAt"]
    accepted(phone.status(session_id, "paused"))
    paused = phone.read(session_id)
    assert paused["expiresAt"] > beat["expiresAt"]
    assert paused["status"] == "paused"


def test_neither_connections_nor_viewers_put_it_off(suite, phone, stranger, new_session):
    session_id, unused = new_session(ttlSeconds=60)
    answer = phone.request("PUT", f"{path_of(session_id)}/participants/{stranger.user}",
                           json={"role": "viewer"})
    assert answer.status_code == 204, answer.text
    unused.settle()
    touched_at = unused.get("touchedAt")
    with subscribed(phone, session_id), subscribed(stranger, session_id) as watcher:
        assert stranger.post(path_of(session_id) + "/heartbeat").status_code == 200
        assert unused.get("touchedAt") == touched_at
        unused.pass_time(MINUTE)
        assert watcher.recv_until("status_changed")["to"] == "paused"


def test_a_final_session_stays_as_it_is(phone, new_session):
    session_id, unused = new_session(ttlSeconds=60)
    accepted(phone.status(session_id, "completed"))
    before = phone.read(session_id)
    unused.settle()
    unused.client.hincrby(unused.meta, "touchedAt", -40 * DAY)
    unused.look()
    wait_until(lambda: unused.entry() != 1, what="looked at")
    assert phone.read(session_id) == before


def test_two_engines_pause_once(own_suite):
    suite = own_suite(instances=2)
    phone = suite.device(new_user(), "phone")
    sessions = [phone.create({}, ttlSeconds=60)["id"] for _ in range(20)]
    for session_id in sessions:
        Unused(suite, session_id).pass_time(MINUTE)
    for session_id in sessions:
        wait_until(lambda s=session_id: phone.read(s)["status"] == "paused", what="paused")
    for session_id in sessions:  # again, and nothing comes of it
        Unused(suite, session_id).look()
        wait_until(lambda s=session_id: Unused(suite, s).entry() != 1, what="looked at")
        assert phone.read(session_id)["version"] == 2
        wait_until(lambda s=session_id: len(rows_of_idle(suite, s)) == 1, what="one event")


def test_what_fell_due_while_no_engine_ran_is_found(own_suite):
    suite = own_suite()
    phone = suite.device(new_user(), "phone")
    kept, forgotten = (Unused(suite, phone.create({}, ttlSeconds=60)["id"]) for _ in range(2))
    for unused in (kept, forgotten):
        unused.settle()
    wait_until(lambda: row(suite, forgotten.id, "due_at"), what="the rows")
    suite.kill("state_engine")
    for unused in (kept, forgotten):
        unused.pass_time(MINUTE)
    # Of one the entry is lost: PostgreSQL knows.
    for slot in range(64):
        forgotten.client.zrem(f"attention:{{{slot}}}", forgotten.id)
    suite.query("update sessions set due_at = now() - interval '1 second' where id = %s returning 1",
                forgotten.id)
    suite.restart("state_engine")
    for unused in (kept, forgotten):
        wait_until(lambda u=unused: phone.read(u.id)["status"] == "paused", what="paused")


def test_more_than_an_engine_takes_at_once(own_suite):
    """Of commands of its own, of a round of cooling, of rows in a tick."""
    suite = own_suite()
    phone = suite.device(new_user(), "phone")
    sessions = [Unused(suite, phone.create({}, ttlSeconds=60)["id"]) for _ in range(300)]
    ids = [unused.id for unused in sessions]

    def count(condition):
        return suite.query(f"select count(*) from sessions where id = any(%s::uuid[]) and {condition}", ids)[0][0]
    wait_until(lambda: count("version = 1") == len(ids), what="the rows")
    client = suite.redis_client()
    for unused in sessions:
        unused.client = client
        unused.settle()
    suite.kill("state_engine")
    for unused in sessions:
        unused.pass_time(MINUTE)
    client.delete(*(f"attention:{{{slot}}}" for slot in range(64)))
    suite.query("update sessions set due_at = now() - interval '1 second' where id = any(%s::uuid[]) returning 1", ids)
    suite.restart("state_engine")
    wait_until(lambda: count("status = 'paused' and version = 2") == len(ids), timeout=40, what="all paused")
    for unused in sessions:
        unused.pass_time(HOUR)

    def hot():
        """Those in Redis still: what did not fit into a round, or was in one that failed, is looked at much later."""
        pipeline = client.pipeline(transaction=False)
        for unused in sessions:
            pipeline.exists(unused.meta)
        return [unused for unused, is_there in zip(sessions, pipeline.execute()) if is_there]

    looked_at = time.monotonic()

    def are_all_gone():
        nonlocal looked_at
        left = hot()
        if time.monotonic() > looked_at + 5:
            looked_at = time.monotonic()
            for unused in left:
                if unused.waits():
                    unused.look()
        return not left
    wait_until(are_all_gone, timeout=180, what="all out of Redis")
    assert count("(cold_epoch, cold_version) = (1, 2)") == len(ids)


# ---- going cold ----

def cold_mark(suite, session_id):
    return row(suite, session_id, "cold_epoch, cold_version")


def go_cold(unused, ms=HOUR):
    unused.pass_time(ms)
    wait_until(lambda: "meta" not in unused.keys(), timeout=40, what="the session out of Redis")


def test_an_unused_session_goes_cold(suite, phone, new_session):
    session_id, unused = new_session()
    key = {"Idempotency-Key": "once"}
    accepted(phone.patch(session_id, [{"op": "add", "path": "/data/progress", "value": 80}], headers=key), 2)
    accepted(phone.status(session_id, "paused"), 3)
    expires_at = int(unused.get("touchedAt")) + 30 * DAY - HOUR
    go_cold(unused)
    assert unused.keys() == ["idem", "idem_order"]
    for name in unused.keys():
        assert DAY - MINUTE < unused.client.pttl(f"session:{{{session_id}}}:{name}") <= DAY
    assert cold_mark(suite, session_id) == (1, 3)
    assert suite.query("select data ->> 'progress' from session_snapshots where session_id = %s and "
                       "(epoch, version) = (1, 3)", session_id) == [("80",)]
    wait_until(lambda: unused.entry() == expires_at, what="the entry at its expiry")
    due_at, = row(suite, session_id, "(extract(epoch from due_at) * 1000)::bigint")
    assert due_at == expires_at


def test_a_session_stays_as_long_as_its_clock_runs(phone, new_session):
    clock = {"mode": "global", "totalTimeMs": DAY, "participants": [{"participantId": "all"}]}
    session_id, unused = new_session(clock=clock, ttlSeconds=60)
    unused.pass_time(2 * HOUR)
    wait_until(lambda: unused.entry() == int(unused.get("clockAt")), what="the entry at the clock's end")
    assert phone.read(session_id)["version"] == 1 and unused.get("status") == "active"
    accepted(phone.status(session_id, "paused"), 2)
    go_cold(unused)


def test_an_active_session_with_a_long_ttl_goes_cold_active(suite, phone, new_session):
    session_id, unused = new_session(ttlSeconds=7200)
    expires_at = int(unused.get("touchedAt")) + HOUR
    go_cold(unused)
    assert unused.keys() == []
    assert row(suite, session_id, "status, version, cold_version") == ("active", 1, 1)
    wait_until(lambda: unused.entry() == expires_at, what="the entry at its expiry")


def test_a_final_session_goes_cold_for_good(suite, phone, new_session):
    session_id, unused = new_session()
    accepted(phone.status(session_id, "completed"), 2)
    go_cold(unused)
    assert unused.keys() == []
    assert cold_mark(suite, session_id) == (1, 2)
    wait_until(lambda: unused.entry() is None, what="no entry")


def test_who_is_connected_keeps_it_hot(suite, phone, new_session):
    session_id, unused = new_session()
    accepted(phone.status(session_id, "paused"), 2)
    with subscribed(phone, session_id):
        wait_until(lambda: unused.client.hget(f"session:{{{session_id}}}:devices", "#joined") == "1",
                   what="the phone in it")
        unused.pass_time(HOUR)
        expires_at = int(unused.get("touchedAt")) + 30 * DAY
        wait_until(lambda: unused.entry() == expires_at, what="looked at")
        assert unused.get("cooling") is None
        assert cold_mark(suite, session_id) == (None, None)
    # Its last connection was the last use: nothing is waited for but its leaving.
    wait_until(lambda: "meta" not in unused.keys(), timeout=40, what="the session out of Redis")


@pytest.mark.parametrize("use", ["heartbeat", "write"])
def test_a_use_meanwhile_keeps_it_hot(suite, phone, new_session, use):
    session_id, unused = new_session(ttlSeconds=7200)
    wait_until(lambda: row(suite, session_id, "id"), what="the row")
    undone = sum(metric(engine, "handoff_cooling_undone_total") for engine in suite.instances("state_engine"))
    connection = psycopg2.connect(suite.servers.postgresql.url)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("select 1 from sessions where id = %s for update", (session_id,))
        unused.pass_time(HOUR)
        wait_until(lambda: unused.get("cooling"), what="its going begun")
        blocked = "select 1 from pg_locks where not granted and locktype = 'transactionid'"
        wait_until(lambda: suite.query(blocked), what="the engine waiting for the row")
        if use == "heartbeat":
            assert phone.heartbeat(session_id).status_code == 200
        else:
            accepted(phone.patch(session_id, [{"op": "add", "path": "/data/a", "value": 1}]), 2)
        assert unused.get("cooling") is None
    # The mark that came too late is taken back, or is of another version.
    def is_hot():
        mark = cold_mark(suite, session_id)
        return mark == (None, None) if use == "heartbeat" else row(suite, session_id, "version") == (2,)
    wait_until(is_hot, what="no mark that counts")
    assert "state" in unused.keys()
    wait_until(lambda: sum(metric(engine, "handoff_cooling_undone_total") for engine in suite.instances("state_engine")) > undone,
               what="it to be counted")
    assert phone.read(session_id)["version"] == (1 if use == "heartbeat" else 2)


def test_what_postgresql_cannot_note_stays_hot(own_suite):
    suite = own_suite()
    phone = suite.device(new_user(), "phone")
    unused = Unused(suite, phone.create({}, ttlSeconds=7200)["id"])
    wait_until(lambda: row(suite, unused.id, "id"), what="the row")
    suite.terminate("audit_writer")
    unused.pass_time(HOUR)
    wait_until(lambda: any(r["event"] == "cooling_failed" for r in suite.log_records("state_engine")),
               what="the failure in the log")
    assert "state" in unused.keys()
    assert phone.read(unused.id)["version"] == 1
    suite.restart("audit_writer")


def test_a_tombstone_goes_when_postgresql_has_the_deletion(suite, phone, new_session):
    session_id, unused = new_session()
    assert phone.delete(path_of(session_id)).status_code == 204
    wait_until(lambda: row(suite, session_id, "deleted_at") not in (None, (None,)), what="the deletion noted")
    unused.pass_time(DAY - MINUTE)  # not yet
    wait_until(lambda: unused.entry() > 1, what="looked at")
    assert unused.get("deleted") == "1"
    suite.query("update sessions set deleted_at = null where id = %s returning 1", session_id)
    looks = unused.entry()
    unused.pass_time(MINUTE)
    wait_until(lambda: unused.entry() not in (1, looks), what="looked at")
    # A later session's going shows that this one's was tried.
    other, unused_other = new_session(ttlSeconds=7200)
    go_cold(unused_other)
    assert unused.get("deleted") == "1"
    suite.query("update sessions set deleted_at = now() where id = %s returning 1", session_id)
    unused.look()
    wait_until(lambda: unused.keys() == [] and unused.entry() is None, timeout=40, what="no trace")
    refused(phone.get(path_of(session_id)), 404, "not_found")


# ---- and comes back ----

def test_the_next_morning_another_device_goes_on(suite, phone, laptop, new_session):
    session_id, unused = new_session()
    key = {"Idempotency-Key": "evening"}
    change = [{"op": "replace", "path": "/data/progress", "value": 80}]
    accepted(phone.patch(session_id, change, headers=key), 2)
    accepted(phone.status(session_id, "paused"), 3)
    go_cold(unused)
    session = accepted(laptop.status(session_id, "active"), 4)
    assert (session["epoch"], session["status"], session["activeDeviceId"]) == (1, "active", "laptop")
    assert session["data"] == {"progress": 80}
    assert cold_mark(suite, session_id) != (1, 4)
    # Its keys count on, as long as ever.
    answer = phone.patch(session_id, change, headers=key)
    assert (answer.status_code, answer.headers["Idempotency-Replayed"]) == (200, "true")
    assert answer.json()["version"] == 2
    for name in ("idem", "idem_order"):
        assert unused.client.pttl(f"session:{{{session_id}}}:{name}") == -1
    accepted(laptop.patch(session_id, change), 5)


def test_who_subscribes_finds_it_as_it_was(suite, phone, laptop, new_session):
    session_id, unused = new_session()
    accepted(phone.status(session_id, "paused"), 2)
    before = phone.read(session_id)
    go_cold(unused)
    with laptop.connect(session_id) as socket:
        sync = socket.recv_until("state_sync")
        assert (sync["epoch"], sync["version"]) == (1, 2)
        # It is loaded with what its row says, and at least a minute of life.
        assert {**sync["session"], "expiresAt": None} == {**before, "expiresAt": None}
    go_cold(unused)  # again, once the laptop has left
    assert cold_mark(suite, session_id) == (1, 2)


def test_a_cold_session_expires_at_its_time(suite, phone, new_session):
    session_id, unused = new_session()
    accepted(phone.status(session_id, "paused"), 2)
    go_cold(unused)
    wait_until(lambda: unused.entry(), what="the entry at its expiry")
    suite.query("update sessions set updated_at = updated_at - interval '30 days', "
                "due_at = now() - interval '1 second' where id = %s returning 1", session_id)
    unused.look()
    wait_until(lambda: "meta" in unused.keys(), what="the session loaded")
    unused.pass_time(MINUTE)  # a load leaves it a minute
    wait_until(lambda: row(suite, session_id, "status, version, epoch") == ("expired", 3, 1), what="expired")
    unused.pass_time(HOUR)
    wait_until(lambda: "meta" not in unused.keys() and unused.entry() is None, timeout=40, what="cold for good")


def test_an_entry_of_nothing_goes(suite):
    client, session_id = suite.redis_client(), "0197a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"
    client.zadd("attention:{22}", {session_id: 1})
    wait_until(lambda: Unused(suite, session_id).entry() is None, timeout=40, what="the entry gone")

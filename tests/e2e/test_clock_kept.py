"""A clock is part of its session wherever the session is kept: in reads and pushes, in PostgreSQL, when the
session comes back from there, and when its moment passes meanwhile."""

import datetime

import pytest

from cold import cool, lose
from harness import new_user, wait_until
from rest import path_of, refused
from ws import subscribed


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def clock(total=600000, mode="per_participant", **more):
    return {"mode": mode, "totalTimeMs": total, "participants": [{"participantId": p} for p in ("white", "black")],
            **more}


def recorded(suite, session):
    wait_until(lambda: suite.query("select 1 from sessions where id = %s and (epoch, version) = (%s, %s)",
                                   session["id"], session["epoch"], session["version"]),
               what="the audit trail to catch up")


def active(clock):
    [one] = [p for p in clock["participants"] if p["isActive"]]
    return one


@pytest.fixture
def game(phone):
    """Active, at version 3: white's turn was the first, now it is black's."""
    session = phone.create({"n": 1}, clock=clock(warningsMs=[1000]), status="pending", ttlSeconds=60)
    assert phone.status(session["id"], "active").status_code == 200
    switched = phone.post(f"{path_of(session)}/switch", json={"currentParticipantId": "white"})
    assert switched.status_code == 200, switched.text
    return switched.json()


def row(suite, session, columns):
    [found] = suite.query(f"select {columns} from sessions where id = %s", session["id"])
    return found


# ---- where it is seen ----

def test_reads_and_pushes_show_it_and_lists_do_not(suite, phone, game):
    assert phone.read(game["id"]) == game
    assert game["expiresAt"] is None and active(game["clock"])["participantId"] == "black"
    with subscribed(phone, game["id"]) as socket:
        assert socket.sync["session"] == game
    recorded(suite, game)
    [listed] = [s for s in phone.get("/sessions").json()["items"] if s["id"] == game["id"]]
    assert "clock" not in listed and listed["expiresAt"] is None


def test_a_patch_may_test_it_and_never_write_it(phone, game):
    test = [{"op": "test", "path": "/clock/activeParticipantId", "value": "black"}]
    assert phone.json_patch(game["id"], test).status_code == 200
    refused(phone.json_patch(game["id"], [{**test[0], "value": "white"}]), 422, "patch_failed")
    for op in ({"op": "replace", "path": "/clock/participants/0/timeRemainingMs", "value": 1},
               {"op": "remove", "path": "/clock"}, {"op": "move", "from": "/clock", "path": "/data/c"},
               {"op": "add", "path": "/clock", "value": {}}):
        refused(phone.json_patch(game["id"], [op]), 422, "path_not_writable")
    assert phone.read(game["id"]) == game


def test_every_turn_is_a_row_of_history_and_no_change_of_data(suite, phone, game):
    after = phone.patch(game["id"], [{"op": "add", "path": "/data/n", "value": 2}]).json()
    recorded(suite, after)
    events = phone.get(f"{path_of(game)}/history").json()["items"]
    turns = [e for e in events if e["type"] == "clock_switched"]
    assert [(e["from"], e["to"], e["version"]) for e in turns] == [("white", "black", 3)]
    assert turns[0]["clock"] == game["clock"]
    assert phone.get(f"{path_of(game)}/history?type=clock_switched").json()["items"] == turns
    for version, n in ((1, 1), (2, 1), (3, 1), (4, 2)):
        answer = phone.get(f"{path_of(game)}/snapshots/{version}")
        assert answer.status_code == 200 and answer.json()["data"] == {"n": n}


# ---- PostgreSQL ----

def test_the_row_has_it_and_is_due_at_its_end(suite, phone, game):
    recorded(suite, game)
    kept, runs, due_at = row(suite, game, "clock, clock_runs, due_at")
    assert kept == game["clock"] and runs
    left = datetime.timedelta(milliseconds=active(game["clock"])["timeRemainingMs"])
    assert due_at == moment(game["clock"]["cycleStartedAt"]) + left
    paused = phone.status(game["id"], "paused").json()
    recorded(suite, paused)
    kept, runs, due_at = row(suite, game, "clock, clock_runs, due_at")
    assert kept == paused["clock"] and not runs and due_at == moment(paused["expiresAt"])


def test_a_cold_session_shows_it_and_comes_back_with_it(suite, phone, game):
    paused = phone.status(game["id"], "paused").json()
    assert paused["clock"]["cycleStartedAt"] is None
    cool(suite, game["id"])
    assert phone.read(game["id"]) == paused
    assert not suite.redis_client().exists(f"session:{{{game['id']}}}:meta")
    resumed = phone.status(game["id"], "active").json()
    assert resumed["epoch"] == 1 and resumed["version"] == paused["version"] + 1
    assert active(resumed["clock"]) == active(paused["clock"])
    assert resumed["clock"]["cycleStartedAt"] == resumed["updatedAt"]


# ---- after a loss ----

def test_a_running_clock_goes_on_after_a_rebuild(suite, phone, game):
    recorded(suite, game)
    lose(suite, game["id"])
    after = phone.read(game["id"])
    assert after["epoch"] == 2 and after["version"] == game["version"]
    assert after["clock"] == game["clock"] and after["expiresAt"] is None
    warns_at = moment(game["clock"]["cycleStartedAt"]) + datetime.timedelta(milliseconds=599000)
    assert int(suite.redis_client().hget(f"session:{{{game['id']}}}:meta", "clockAt")) == warns_at.timestamp() * 1000
    switched = phone.post(f"{path_of(game)}/switch", json={"currentParticipantId": "black"})
    assert switched.status_code == 200, switched.text
    [black] = [p for p in switched.json()["clock"]["participants"] if p["participantId"] == "black"]
    ran = moment(switched.json()["updatedAt"]) - moment(game["clock"]["cycleStartedAt"])
    assert black["timeUsedMs"] == ran / datetime.timedelta(milliseconds=1)


def expect_expired(suite, session, began):
    """As of the deadline, however late: the time given was used, and no more."""
    wait_until(lambda: row(suite, session, "status") == ("expired",), what="the end")
    kept, = row(suite, session, "clock")
    [white] = [p for p in kept["participants"] if p["participantId"] == "white"]
    assert (white["timeUsedMs"], white["timeRemainingMs"], white["hasExpired"]) == (1000, 0, True)
    assert kept["cycleStartedAt"] is None
    told = suite.query("select type, (payload ->> 'timestamp')::timestamptz from session_events "
                       "where session_id = %s and type in ('clock_expired', 'status_changed') order by version",
                       session["id"])
    assert [t for t, _ in told] == ["clock_expired", "status_changed"]
    assert all(at >= began + datetime.timedelta(seconds=1) for _, at in told)


def test_a_deadline_passes_while_redis_has_lost_the_session(suite, phone):
    """Nobody asks for it: its entry in the attention set does."""
    session = phone.create(clock=clock(1000), status="active")
    recorded(suite, session)
    lose(suite, session["id"])
    expect_expired(suite, session, moment(session["clock"]["cycleStartedAt"]))
    assert phone.read(session["id"])["status"] == "expired"


def test_a_deadline_passes_while_there_is_neither_engine_nor_redis(own_suite):
    """The row is due: the backstop finds it."""
    suite = own_suite()
    phone = suite.device(new_user(), "phone")
    session = phone.create(clock=clock(1000), status="active")
    began = moment(session["clock"]["cycleStartedAt"])
    recorded(suite, session)
    assert suite.terminate("state_engine") == 0
    suite.redis_client().flushdb()
    wait_until(lambda: moment(phone.get("/time").json()["serverTime"]) > began + datetime.timedelta(seconds=2),
               what="the deadline")
    suite.restart("state_engine")
    expect_expired(suite, session, began)


def test_a_row_that_is_due_too_soon_gets_the_clocks_moment(own_suite):
    """And the entry, which was lost, too."""
    suite = own_suite()
    phone = suite.device(new_user(), "phone")
    session = phone.create(clock=clock(warningsMs=[1000]), status="active")
    warns_at = moment(session["clock"]["cycleStartedAt"]) + datetime.timedelta(milliseconds=599000)
    recorded(suite, session)
    assert suite.terminate("state_engine") == 0
    suite.redis_client().delete(*(f"attention:{{{slot}}}" for slot in range(64)))
    suite.query("update sessions set due_at = now() - interval '1 second' where id = %s returning 1", session["id"])
    suite.restart("state_engine")
    wait_until(lambda: row(suite, session, "due_at") == (warns_at,), what="the row's moment")
    entries = [suite.redis_client().zscore(f"attention:{{{slot}}}", session["id"]) for slot in range(64)]
    assert [e / 1000 for e in entries if e] == [warns_at.timestamp()]
    assert phone.read(session["id"]) == session

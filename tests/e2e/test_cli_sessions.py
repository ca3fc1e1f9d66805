"""handoff sessions: lists, shows, tells the events of sessions, from PostgreSQL and Redis."""

import pytest

from cli import MISSING, both, handoff, objects
from cold import cool, lose
from harness import wait_until


@pytest.fixture
def run(suite):
    return lambda *words, **more: handoff(suite, "sessions", *words, **more)


def wait_trail(suite, session, n):
    """PostgreSQL is a little behind."""
    wait_until(lambda: len(suite.events_in_postgresql(session)) >= n, what=f"{n} events")


def test_lists_are_filtered_and_go_on_where_they_ended(suite, run, laptop, user):
    ids = [laptop.create(name=f"number {n}\n\x1b[31m")["id"] for n in range(4)]
    laptop.status(ids[1], "paused")
    for n, session in enumerate(ids):
        wait_trail(suite, session, 2 if n == 1 else 1)
    owner = objects(run("show", ids[0], "--json"))[0]["userId"]

    head, *lines = run("list", "--user", owner).splitlines()
    assert [line.split()[0] for line in lines] == ids[::-1] and "\x1b" not in "".join(lines)
    assert [head.index(name) for name in ("ID", "STATUS", "OWNER")] == [lines[0].index(text) for text in (ids[3], "active", owner)]
    listed = objects(run("list", "--user", owner, "--json"))
    assert [s["id"] for s in listed] == ids[::-1]
    assert listed[2] == {**listed[2], "status": "paused", "version": 2, "epoch": 1, "activeDeviceId": None,
                         "name": "number 1\n\x1b[31m", "userId": owner}
    assert [s["id"] for s in objects(run("list", "--user", owner, "--status", "paused", "--json"))] == [ids[1]]
    assert [s["id"] for s in objects(run("list", "--limit=2", "--user", owner, "--before", ids[3], "--json"))] == ids[2:0:-1]
    since = listed[0]["updatedAt"]
    assert ids[0] not in [s["id"] for s in objects(run("list", "--changed-since", since, "--limit", 1000, "--json"))]
    assert objects(run("list", "--user", owner, "--changed-since", since, "--json"))[0]["id"] == ids[3]


def test_lists_of_more_than_a_page_and_than_a_part(suite, run):
    """Rows of nobody else, as many as no test makes, and before all of them."""
    owner = "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0aa"
    rows = "insert into sessions (id, user_id, name, type, status, created_at, updated_at) select " \
           "('0197a1b2-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, %s, 'many', 'x', " \
           "case when n in (1, 5000, 9999, 10000, 10001, 12000) then 'paused' else 'completed' end, now(), now() " \
           "from generate_series(1, 12000) n returning id"

    def id_of(n):
        return f"0197a1b2-0000-7000-8000-{n:012}"

    def paused(*words):
        """The numbers, and what is told of the end."""
        found, told = both(suite, "sessions", "list", "--status", "paused", "--before", id_of(12001), "--json", *words)
        return [int(s["id"][-12:]) for s in objects(found) if s["userId"] == owner], told

    try:
        suite.query(rows, owner)
        assert len(objects(run("list", "--user", owner, "--limit", 1200, "--json"))) == 1200
        assert len(objects(run("list", "--before", id_of(11001), "--limit", 11000, "--json"))) == 11000
        assert paused() == ([12000, 10001, 10000, 9999, 5000, 1], "")
        assert paused("--limit", 3) == ([12000, 10001, 10000], f"handoff: there are more: --before {id_of(10000)}\n")
        found, told = paused("--scan", 2001)
        assert found == [12000, 10001, 10000] and "2001 sessions were looked through" in told and f"--before {id_of(10000)}" in told
        found, told = paused("--scan", 11999, "--progress")
        assert found == [12000, 10001, 10000, 9999, 5000]
        assert "handoff: 10000 looked through, 5 found\n" in told and f"--before {id_of(2)}" in told
    finally:
        suite.query("delete from sessions where user_id = %s returning id", owner)


def test_shows_where_a_session_lives_and_who_is_on_it(suite, run, laptop, phone, user):
    session = laptop.create({"progress": 0})["id"]
    for n in range(1, 4):
        laptop.patch(session, [{"op": "replace", "path": "/data/progress", "value": n}])
    wait_trail(suite, session, 4)
    with phone.connect(session) as socket:
        socket.recv_until("state_sync")

        def show():
            return objects(run("show", session, "--json"))[0]

        wait_until(lambda: any(d["connected"] for d in show()["redis"]["devices"]))
        wait_until(lambda: show()["redis"]["published"] == 4, what="the published mark")
        shown = show()
        text = run("show", session)
    assert shown["live"] == "hot" and shown["status"] == "active" and shown["activeDeviceId"] == "laptop"
    live = shown["redis"]
    assert (live["version"], live["epoch"], live["published"]) == (4, 1, 4)
    assert live["window"] == {"first": 1, "last": 4, "count": 4}
    assert {d["deviceId"]: d["connected"] for d in live["devices"]}["phone"]
    assert shown["trail"]["version"] == 4 and shown["trail"]["events"] >= 4 and shown["trail"]["isWhole"]
    assert session in text and "hot" in text and "1 to 4 (4)" in text and "phone" in text
    assert "progress" not in text, "what is in a session is nobody's business here"


def test_shows_cold_and_deleted_ones(suite, run, laptop):
    session = laptop.create()["id"]
    wait_trail(suite, session, 1)
    laptop.delete(f"/sessions/{session}")
    wait_until(lambda: objects(run("show", session, "--json"))[0]["status"] == "deleted")
    lost = laptop.create()["id"]
    wait_trail(suite, lost, 1)
    lose(suite, lost)
    assert objects(run("show", lost, "--json"))[0]["live"] == "absent"
    cold = laptop.create()["id"]
    cool(suite, cold)
    assert objects(run("show", cold, "--json"))[0]["live"] == "cold" and "PostgreSQL has all of it" in run("show", cold)


def test_events_are_told_in_order_from_a_version_on(suite, run, laptop):
    session = laptop.create({"n": 0})["id"]
    n_changes = 120  # more than two pages
    for n in range(n_changes):
        laptop.patch(session, [{"op": "replace", "path": "/data/n", "value": n}])
    laptop.status(session, "paused")
    wait_trail(suite, session, n_changes + 2)
    lines = [line.split("\t") for line in run("events", session).splitlines()]
    versions = [int(v) for _, type, v, *_ in lines if type in ("session_created", "state_delta", "status_changed")]
    assert versions == list(range(1, n_changes + 3))
    assert lines[0][1] == "session_created" and [w[4] for w in lines if w[1] == "state_delta"][-1] == "replace /data/n 119"
    later = objects(run("events", session, "--since", str(n_changes), "--json"))
    assert [e["version"] for e in later if e["type"] != "snapshot"][:2] == [n_changes + 1, n_changes + 2]
    assert later[0]["operations"] == [{"op": "replace", "path": "/data/n", "value": 119}]


@pytest.mark.parametrize("verb", ["show", "events"])
def test_a_session_that_is_not_there(run, verb):
    assert f"there is no session {MISSING}" in run(verb, MISSING, code=1)


@pytest.mark.parametrize("words, text", [
    ([], "knows list"), (["burn"], "knows list"), (["show"], "Which one"), (["show", "x"], "UUID"),
    (["show", MISSING, MISSING], "One session"), (["list", MISSING], "takes no id"), (["list", "--user", "x"], "--user takes"),
    (["list", "--status", "asleep"], "--status takes"), (["list", "--limit", "0"], "--limit takes a number from 1"),
    (["list", "--limit"], "takes a value"), (["list", "--statsu", "x"], "Is --status meant"), (["lsit"], "Is list meant"),
    (["--json", "list"], "comes first"), (["list", "--user", "--json"], "--json comes instead"), (["list", "--fast"], "no option"), (["list", "--json=1"], "no value"),
    (["list", "--before", "x"], "--before takes"), (["list", "--changed-since", "today"], "--changed-since takes"),
    (["events", MISSING, "--since", "x"], "--since takes")])
def test_mistakes_are_named(run, words, text):
    assert text in run(*words, code=2)


def test_help_and_a_server_that_is_away(run, suite, laptop):
    for words in (["--help"], ["list", "--help"], ["show", "--help"]):
        assert "sessions replay ID" in run(*words) and "HANDOFF_REDIS_URL" in run(*words)
    assert "HANDOFF_DATABASE_URL right" in run("list", code=1, HANDOFF_DATABASE_URL="postgres://a:b@127.0.0.1:1/x")
    assert "HANDOFF_DATABASE_URL" in run("list", code=2, HANDOFF_DATABASE_URL="x")
    session = laptop.create()["id"]
    wait_trail(suite, session, 1)
    assert "HANDOFF_REDIS_URL right" in run("show", session, code=1, HANDOFF_REDIS_URL="redis://127.0.0.1:1/0")
    assert "handoff sessions replay ID" in handoff(suite, "--help")

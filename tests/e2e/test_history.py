"""GET /sessions/{id}/history: the audit trail as it was published, filtered, page by page."""

import concurrent.futures
import datetime
import json

import psycopg2
import pytest

from cold import cool
from harness import new_user, wait_until
from rest import MISSING_ID, path_of, refused


def add(path, value):
    return [{"op": "add", "path": path, "value": value}]


def history(device, session, query=""):
    answer = device.get(f"{path_of(session)}/history{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def versions(items):
    return [e["version"] for e in items]


def wait_history(device, session, version):
    """Until that version is told of; all items of one page."""
    def look():
        items = history(device, session, "?limit=100")["items"]
        return items if items and items[0]["version"] >= version else None
    return wait_until(look, what=f"version {version} in the history")


@pytest.fixture
def story(phone, laptop):
    """created, two deltas, paused, active on the laptop: with the snapshots of status changes."""
    session = phone.create({"n": 0})
    for n in (1, 2):
        assert phone.patch(session["id"], add("/data/n", n)).status_code == 200
    assert phone.status(session["id"], "paused").status_code == 200
    assert laptop.status(session["id"], "active").status_code == 200
    wait_history(phone, session, 5)
    return phone.read(session["id"])


def everything(device, session, query="?limit=100"):
    """All pages."""
    items, page = [], history(device, session, query)
    while page["nextCursor"]:
        items += page["items"]
        page = history(device, session, f"{query}&cursor={page['nextCursor']}")
    return items + page["items"]


def test_events_come_newest_first_as_they_were_published(suite, phone, story):
    items = history(phone, story, "?limit=100")["items"]
    versioned = [e for e in items if e["type"] in ("session_created", "state_delta", "status_changed")]
    assert versions(versioned) == [5, 4, 3, 2, 1]
    assert versioned[:4][::-1] == phone.deltas(story["id"], since=1)
    assert versioned[-1]["session"]["data"] == {"n": 0}
    positions = [(e["epoch"], e["version"], e["timestamp"]) for e in items]
    assert [p[:2] for p in positions] == sorted((p[:2] for p in positions), reverse=True)
    snapshots = [e for e in items if e["type"] == "snapshot"]
    assert snapshots and all("data" not in e and e["checksum"] for e in snapshots)


def test_the_text_is_the_one_that_was_stored(suite, phone, story):
    texts = suite.query("select payload::text from session_events where session_id = %s", story["id"])
    body = phone.get(f"{path_of(story)}/history?limit=100").text
    assert texts and all(text in body for text, in texts)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_join_without_a_gap_or_a_double(phone, story, limit):
    whole = history(phone, story, "?limit=100")["items"]
    page, items = phone.get(f"{path_of(story)}/history?limit={limit}"), []
    while True:
        body = page.json()
        assert len(body["items"]) <= limit
        items += body["items"]
        if not body["nextCursor"]:
            assert "next" not in page.links
            break
        assert page.links["next"]["url"] == (
            f"{path_of(story)}/history?cursor={body['nextCursor']}&limit={limit}")
        page = phone.get(page.links["next"]["url"])
        assert page.status_code == 200, page.text
    assert items == whole


def test_a_type_and_a_device_are_picked(phone, story):
    deltas = everything(phone, story, "?type=state_delta&limit=1")
    assert versions(deltas) == [3, 2]
    taken = everything(phone, story, "?deviceId=laptop&limit=1")
    assert versions(e for e in taken if e["type"] == "status_changed") == [5]
    assert {e["deviceId"] for e in taken} == {"laptop"}
    assert everything(phone, story, "?deviceId=laptop&type=state_delta") == []
    link = phone.get(f"{path_of(story)}/history?type=state_delta&deviceId=phone&limit=1").links["next"]
    assert link["url"].endswith("&limit=1&type=state_delta&deviceId=phone")
    assert versions(phone.get(link["url"]).json()["items"]) == [2]


def moment_of(items, version):
    return next(e["timestamp"] for e in items if e["version"] == version)


def test_from_is_within_and_to_is_not(phone, story):
    items = everything(phone, story)
    third, fourth = moment_of(items, 3), moment_of(items, 4)
    expected = [e for e in items if e["timestamp"] >= third]
    assert everything(phone, story, f"?from={third}") == expected
    expected = [e for e in items if e["timestamp"] < fourth]
    assert everything(phone, story, f"?to={fourth}") == expected
    assert everything(phone, story, f"?from={fourth}&to={third}") == []


def test_moments_may_have_an_offset_and_any_fraction(phone, story):
    items = everything(phone, story)
    moment = datetime.datetime.fromisoformat(moment_of(items, 4).replace("Z", "+00:00"))
    shifted = moment.astimezone(datetime.timezone(datetime.timedelta(hours=-5))).isoformat()
    expected = [e for e in items if e["timestamp"] >= moment_of(items, 4)]
    assert everything(phone, story, f"?from={shifted}") == expected
    later = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    expected = [e for e in items if e["timestamp"] < later.replace("Z", ".000Z")]
    assert everything(phone, story, f"?to={later}") == expected


@pytest.mark.parametrize("query, status, code, field", [
    ("type=x", 422, "invalid_value", "type"), ("type=", 422, "invalid_value", "type"),
    ("type=broadcast", 422, "invalid_value", "type"),
    ("type=state_delta&type=snapshot", 400, "invalid_request", "type"),
    ("deviceId=a%20b", 422, "invalid_value", "deviceId"),
    ("deviceId=" + 129 * "x", 422, "invalid_value", "deviceId"),
    ("from=yesterday", 422, "invalid_value", "from"), ("to=2026-02-30T00:00:00Z", 422, "invalid_value", "to"),
    ("from=2026-02-12", 422, "invalid_value", "from"),
    ("limit=0", 422, "invalid_value", "limit"), ("limit=101", 422, "invalid_value", "limit"),
    ("limit=x", 400, "invalid_request", "limit"), ("cursor=x", 400, "invalid_request", "cursor"),
    ("cursor=" + 300 * "M", 400, "invalid_request", "cursor")])
def test_a_bad_question_is_refused_by_name(phone, story, query, status, code, field):
    refused(phone.get(f"{path_of(story)}/history?{query}"), status, code, field=field)


def test_a_cursor_of_another_list_is_refused(phone, story):
    phone.create()
    wait_until(lambda: len(phone.get("/sessions").json()["items"]) == 2, what="the list")
    for path in ("/sessions", f"{path_of(story)}/snapshots"):
        cursor = phone.get(f"{path}?limit=1").json()["nextCursor"]
        if cursor:
            refused(phone.get(f"{path_of(story)}/history?cursor={cursor}"), 400, "invalid_request")
    cursor = history(phone, story, "?limit=1")["nextCursor"]
    refused(phone.get(f"/sessions?cursor={cursor}"), 400, "invalid_request")
    refused(phone.get(f"{path_of(story)}/snapshots?cursor={cursor}"), 400, "invalid_request")


def test_a_history_is_its_readers_alone(suite, phone, stranger, story):
    refused(stranger.get(f"{path_of(story)}/history"), 404, "not_found")
    refused(phone.get(f"/sessions/{MISSING_ID}/history"), 404, "not_found")
    admin = suite.device(new_user(), "console", scope="sessions:admin")
    assert history(admin, story, "?limit=1")["items"]
    writer = suite.device(phone.user, "phone", scope="sessions:write")
    refused(writer.get(f"{path_of(story)}/history"), 403, "forbidden")


def test_a_deleted_sessions_history_is_gone(phone, story):
    assert phone.delete(path_of(story)).status_code == 204
    refused(phone.get(f"{path_of(story)}/history"), 404, "not_found")


def test_a_session_that_redis_has_not_is_read_all_the_same(suite, phone, stranger, story):
    cool(suite, story["id"])
    assert versions(everything(phone, story, "?type=state_delta")) == [3, 2]
    refused(stranger.get(f"{path_of(story)}/history"), 404, "not_found")


def test_a_page_ends_early_when_it_would_be_too_much(suite, phone):
    session = phone.create({})
    for n in range(12):  # 400 KiB each: more than 4 MiB in all
        assert phone.patch(session["id"], add("/data", str(n % 10) * (400 << 10))).status_code == 200
    wait_until(lambda: suite.query("select 1 from session_events where session_id = %s and version = 13",
                                   session["id"]), what="the audit trail")
    first = history(phone, session, "?limit=100&type=state_delta")
    assert 1 <= len(first["items"]) < 12 and first["nextCursor"]
    assert sum(len(json.dumps(e)) for e in first["items"]) <= 4 << 20
    assert versions(everything(phone, session, "?limit=100&type=state_delta")) == list(range(13, 1, -1))


def test_the_question_is_a_walk_along_its_index(suite, phone, story):
    """At the end of a long session as well: no sort, no scan of the table."""
    connection = psycopg2.connect(suite.servers.postgresql.url)
    cursor = connection.cursor()
    cursor.execute("""insert into session_events (session_id, message_id, epoch, version, type, kind, payload,
                      occurred_at) select %s, n::text, 1, n, 'state_delta', 'update', '{}', now()
                      from generate_series(100, 5000) as n""", (story["id"],))
    cursor.execute("analyze session_events")
    cursor.execute("""explain (format json) select payload from session_events where session_id = %s
                      and (epoch, version, occurred_at, message_id) < (2, 1, 'infinity', '')
                      order by epoch desc, version desc, occurred_at desc, message_id desc limit 21""",
                   (story["id"],))
    plan = json.dumps(cursor.fetchone()[0])
    connection.rollback()
    connection.close()
    assert "Index Scan" in plan and "Backward" in plan and "Sort" not in plan and "Seq Scan" not in plan


def test_who_reads_the_past_holds_up_nobody_else(own_suite):
    """One connection answers in order: what is slow in the audit trail must not stand before a list."""
    suite = own_suite()
    phone = suite.device(new_user(), "phone")
    session = phone.create({})
    wait_until(lambda: phone.get("/sessions").json()["items"], what="the list")
    connection = psycopg2.connect(suite.servers.postgresql.url)
    connection.cursor().execute("lock table session_snapshots in access exclusive mode")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(phone.get, f"{path_of(session)}/snapshots") for _ in range(4)]
        wait_until(lambda: suite.query("select 1 from pg_locks where not granted"), what="one that waits")
        assert suite.device(phone.user, "tablet").get("/sessions").json()["items"]
        assert not all(w.done() for w in waiting)  # in order, the list would come after them
        connection.rollback()
        assert {w.result().status_code for w in waiting} <= {200, 503}
    connection.close()

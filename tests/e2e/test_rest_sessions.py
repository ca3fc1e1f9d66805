"""Creating, reading, listing and deleting sessions, and what HTTP asks for around it."""

import re
import uuid

import pytest

from harness import SECRET, canonical, checksum_of, new_user, token, wait_until
from rest import JSON, JSON_PATCH, MERGE_PATCH, MISSING_ID, MOMENT, path_of, refused

MEMBERS = {"id", "userId", "name", "type", "status", "role", "version", "epoch", "createdAt",
           "updatedAt", "completedAt", "ttlSeconds", "onIdle", "expiresAt", "activeDeviceId",
           "lastModified", "modifiedBy", "data", "checksum"}
ORIGIN = {"Origin": "https://app.example"}


def listed(device, query=""):
    answer = device.get("/sessions" + query)
    assert answer.status_code == 200, answer.text
    return [s["id"] for s in answer.json()["items"]]


def wait_listed(device, *sessions):
    wait_until(lambda: {s["id"] for s in sessions} <= set(listed(device, "?limit=100")),
               what="the sessions listed")


# ---- create ----

def test_a_new_session_has_every_member_and_its_defaults(phone, user):
    answer = phone.post("/sessions", json={"name": "Evening", "type": "meditation"})
    assert answer.status_code == 201
    session = answer.json()
    assert session.keys() == MEMBERS
    assert uuid.UUID(session["id"]).version == 7
    assert answer.headers["Location"] == path_of(session)
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["Content-Type"].partition(";")[0] == "application/json"
    for member in ("createdAt", "updatedAt", "lastModified", "expiresAt"):
        assert MOMENT.match(session[member]), session
    assert session["createdAt"] == session["updatedAt"] == session["lastModified"]
    assert {k: session[k] for k in MEMBERS - {"id", "createdAt", "updatedAt", "lastModified",
                                              "expiresAt", "checksum"}} == {
        "userId": user, "name": "Evening", "type": "meditation", "status": "active", "role": "owner",
        "version": 1, "epoch": 1, "completedAt": None, "ttlSeconds": 3600, "onIdle": "pause",
        "activeDeviceId": "phone", "modifiedBy": "phone", "data": {}}
    assert session["checksum"] == checksum_of({})


def test_a_new_session_keeps_what_it_is_given(phone):
    given = {"name": "Über\U0001f600", "type": "work-out_2", "status": "pending", "ttlSeconds": 60,
             "onIdle": "expire", "data": {"b": [1, 2.5, None], "a": {"é": "\U0001f600", "": False}}}
    session = phone.create(**given)
    assert {k: session[k] for k in given} == given
    assert session["activeDeviceId"] is None
    assert session["checksum"] == checksum_of(given["data"])
    assert phone.read(session["id"]) == session


@pytest.mark.parametrize("data", [None, True, 0, -1.5, "text", "", [], [[]], {}], ids=repr)
def test_data_may_be_any_json_value(phone, data):
    session = phone.post("/sessions", json={"name": "n", "type": "t", "data": data}).json()
    assert session["data"] == data and type(session["data"]) is type(data)
    assert session["checksum"] == checksum_of(data)


@pytest.mark.parametrize("literal, kept", [
    ("9007199254740992", "9007199254740992"), ("-9007199254740991", "-9007199254740991"),
    ("100000000000000000000", "100000000000000000000"), ("-0", "0"), ("-0.0", "0"), ("1.0", "1"),
    ("1E2", "100"), ("1e21", "1e+21"), ("0.000001", "0.000001"), ("1e-7", "1e-7"), ("5e-324", "5e-324"),
    ("1.7976931348623157e308", "1.7976931348623157e+308"), ("0.1", "0.1"), ("1e-400", "0")])
def test_numbers_are_ieee_doubles_as_rfc_8785_prints_them(phone, literal, kept):
    import hashlib
    answer = phone.post("/sessions", data=f'{{"name":"n","type":"t","data":{literal}}}',
                        headers={"Content-Type": JSON})
    assert answer.status_code == 201, answer.text
    assert answer.json()["checksum"] == hashlib.sha256(kept.encode()).hexdigest()


def test_names_are_counted_in_characters_not_bytes(phone):
    assert phone.create(name="\U0001f600" * 255)["name"] == "\U0001f600" * 255


def test_canonical_order_is_that_of_utf_16(phone):
    data = {"\ufb33": 1, "\U0001f600": 2, "\r": 3, "1": 4, "\u0080": 5, "ö": 6, "€": 7}
    assert phone.create(data)["checksum"] == checksum_of(data)
    assert list(eval(canonical(data))) == ["\r", "1", "\u0080", "ö", "€", "\U0001f600", "\ufb33"]


# ---- read ----

def test_both_devices_read_the_same(phone, laptop):
    session = phone.create({"progress": 75})
    for device in (phone, laptop):
        answer = device.get(path_of(session))
        assert (answer.status_code, answer.json()) == (200, session)
        assert answer.headers["ETag"] == '"1"'


@pytest.mark.parametrize("condition, status", [
    ('"1"', 304), ('W/"1"', 304), ('"7", "1"', 304), ("*", 304),
    ('"2"', 200), ('"1.2"', 200), ('W/"11"', 200), ('"7", "8"', 200)])
def test_if_none_match_spares_what_the_client_has(phone, condition, status):
    session = phone.create({"a": 1})
    answer = phone.get(path_of(session), headers={"If-None-Match": condition})
    assert answer.status_code == status
    assert answer.headers["ETag"] == '"1"'
    assert bool(answer.content) == (status == 200)
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert vary(answer) == {"authorization", "origin"}


def test_a_tag_covers_every_change(phone):
    session = phone.create({"a": 1})
    assert phone.status(session["id"], "paused").headers["ETag"] == '"2"'
    answer = phone.get(path_of(session), headers={"If-None-Match": '"1"'})
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"')


@pytest.mark.parametrize("path", ["/sessions/{id}", "/sessions", "/time", "/health",
                                  "/sessions/{id}/deltas?since=0", f"/sessions/{MISSING_ID}"])
def test_head_is_get_without_the_body(phone, path):
    path = path.replace("{id}", phone.create({"a": 1})["id"])
    get, head = phone.get(path), phone.request("HEAD", path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    for name in ("ETag", "Content-Type", "Cache-Control", "Vary"):
        assert head.headers.get(name) == get.headers.get(name)
    if "Content-Length" in head.headers and path != "/sessions":  # a list may have grown meanwhile
        assert head.headers["Content-Length"] == get.headers["Content-Length"]


# ---- deltas ----

def test_deltas_are_the_versioned_events_oldest_first(phone):
    session = phone.create({"n": 0})
    for n in (1, 2):
        phone.patch(session["id"], [{"op": "replace", "path": "/data/n", "value": n}])
    phone.status(session["id"], "paused")
    answer = phone.get(path_of(session) + "/deltas?since=1").json()
    assert (answer["epoch"], answer["complete"]) == (1, True)
    assert [(e["version"], e["type"]) for e in answer["items"]] == [
        (2, "state_delta"), (3, "state_delta"), (4, "status_changed")]
    assert answer["items"][0] == {
        "type": "state_delta", "sessionId": session["id"], "epoch": 1, "version": 2,
        "timestamp": answer["items"][0]["timestamp"], "userId": session["userId"],
        "deviceId": "phone", "baseVersion": 1,
        "operations": [{"op": "replace", "path": "/data/n", "value": 1}],
        "checksum": checksum_of({"n": 1})}
    first = phone.get(path_of(session) + "/deltas?since=0").json()
    assert first["items"][0]["type"] == "session_created" and first["complete"]


@pytest.mark.parametrize("query, versions, complete", [
    ("since=1&limit=2", [2, 3], True), ("since=3", [4], True), ("since=4", [], True),
    ("since=1&epoch=1", [2, 3, 4], True), ("since=1&epoch=2", None, False), ("since=9", None, False)])
def test_deltas_from_a_position(phone, query, versions, complete):
    session = phone.create({"n": 0})
    for n in (1, 2, 3):
        phone.patch(session["id"], [{"op": "replace", "path": "/data/n", "value": n}])
    answer = phone.get(path_of(session) + f"/deltas?{query}").json()
    assert answer["complete"] is complete
    if versions is not None:
        assert [e["version"] for e in answer["items"]] == versions


# ---- list ----

def test_the_list_has_the_users_sessions_newest_first_without_data(phone, laptop, stranger):
    foreign = stranger.create()
    sessions = [phone.create({"secret": i}, name=f"s{i}") for i in range(3)]
    wait_listed(laptop, *sessions)
    items = laptop.get("/sessions").json()["items"]
    assert [s["id"] for s in items] == [s["id"] for s in reversed(sessions)]
    for item, session in zip(items, reversed(sessions)):
        assert item == {k: v for k, v in session.items() if k != "data"}
    wait_listed(stranger, foreign)
    assert listed(stranger) == [foreign["id"]]


def test_the_list_follows_changes_within_a_second(phone):
    session = phone.create(name="before")
    phone.json_patch(session["id"], [{"op": "replace", "path": "/name", "value": "after"}])
    phone.status(session["id"], "paused")
    wait_until(lambda: [(s["name"], s["status"], s["version"], s["activeDeviceId"])
                        for s in phone.get("/sessions").json()["items"]]
               == [("after", "paused", 3, None)], what="the changes listed")


def test_the_list_is_filtered(phone):
    run, walk = phone.create(type="run"), phone.create(type="walk")
    waiting = phone.create(type="run", status="pending")
    wait_listed(phone, run, walk, waiting)
    assert listed(phone, "?type=run") == [waiting["id"], run["id"]]
    assert listed(phone, "?status=active") == [walk["id"], run["id"]]
    assert listed(phone, "?status=active&type=run") == [run["id"]]
    assert listed(phone, "?status=completed") == []
    assert listed(phone, "?type=swim") == []


def test_a_cursor_walks_the_whole_list_once(phone):
    sessions = [phone.create() for _ in range(25)]
    wait_listed(phone, *sessions)
    seen, pages, path = [], [], "/sessions?limit=10"
    while path:
        answer = phone.get(path)
        body = answer.json()
        seen += [s["id"] for s in body["items"]]
        pages.append(len(body["items"]))
        if len(pages) == 1:
            phone.create()  # what is new meanwhile does not move the pages
        link = answer.headers.get("Link", "")
        assert bool(link) == (body["nextCursor"] is not None)
        path = link and re.fullmatch(r'<(/sessions\?[^>]+)>; rel="?next"?', link)[1]
        assert not path or body["nextCursor"] in path
    assert pages == [10, 10, 5]
    assert seen == [s["id"] for s in reversed(sessions)]


def test_a_page_has_20_sessions_unless_asked_otherwise(phone):
    sessions = [phone.create() for _ in range(21)]
    wait_listed(phone, *sessions)
    assert len(listed(phone)) == 20
    assert len(listed(phone, "?limit=1")) == 1
    assert len(listed(phone, "?limit=100")) == 21


def test_a_cursor_is_for_its_user_only(phone, stranger):
    for _ in range(3):
        last = phone.create()
    wait_listed(phone, last)
    cursor = phone.get("/sessions?limit=1").json()["nextCursor"]
    answer = stranger.get(f"/sessions?limit=1&cursor={cursor}")
    assert answer.status_code == 400 or answer.json()["items"] == []


# ---- delete ----

def every_route(device, session_id):
    path = f"/sessions/{session_id}"
    patch = [{"op": "add", "path": "/data/x", "value": 1}]
    return {
        "read": device.get(path), "head": device.request("HEAD", path),
        "json": device.patch(session_id, patch), "json patch": device.json_patch(session_id, patch),
        "merge patch": device.merge_patch(session_id, {"data": {"x": 1}}),
        "status": device.status(session_id, "paused"), "heartbeat": device.heartbeat(session_id),
        "deltas": device.get(path + "/deltas?since=0"), "delete": device.delete(path),
    }


def test_after_its_deletion_every_route_of_a_session_is_404(phone, laptop, suite):
    session = phone.create({"a": 1})
    wait_listed(phone, session)
    answer = phone.delete(path_of(session))
    assert (answer.status_code, answer.content) == (204, b"")
    for device in (phone, laptop):
        for name, answer in every_route(device, session["id"]).items():
            assert answer.status_code == 404, name
            assert name == "head" or answer.json()["code"] == "not_found"
    wait_until(lambda: listed(phone) == [], what="the session gone from the list")
    wait_until(lambda: len(suite.events_in_postgresql(session["id"])) == 2, what="two rows")
    version, type, payload = suite.events_in_postgresql(session["id"])[1]
    assert (version, type, payload["deviceId"]) == (2, "session_deleted", "phone")


def test_what_is_not_there_is_404_on_every_route(phone):
    for name, answer in every_route(phone, MISSING_ID).items():
        assert answer.status_code == 404, name


def test_an_ended_session_can_be_deleted(phone):
    session = phone.create()
    phone.status(session["id"], "completed")
    assert phone.delete(path_of(session)).status_code == 204
    assert phone.get(path_of(session)).status_code == 404


def test_a_conditional_delete(phone):
    session = phone.create()
    refused(phone.delete(path_of(session), headers={"If-Match": '"2"'}), 412, "version_conflict",
            currentVersion=1)
    assert phone.delete(path_of(session), headers={"If-Match": '"1"'}).status_code == 204


# ---- paths and methods ----

@pytest.mark.parametrize("bad", [
    "1", "abc", "0197a3b4-0000-7000-8000-00000000000", "0197a3b4-0000-7000-8000-0000000000000",
    "0197a3b4000070008000000000000000", "{0197a3b4-0000-7000-8000-000000000000}",
    "0197A3B4-0000-7000-8000-000000000000", "0197a3b4-0000-7000-8000-00000000000g", "%00",
    "0197a3b4-0000-7000-8000-000000000000%00", "..%2f..%2fetc%2fpasswd", "%2e%2e", "*"])
def test_ids_that_are_not_lower_case_uuids_are_404(phone, bad):
    for name, answer in every_route(phone, bad).items():
        assert answer.status_code == 404, name


def test_the_id_of_a_session_in_upper_case_is_404(phone):
    session = phone.create()
    refused(phone.get(f"/sessions/{session['id'].upper()}"), 404, "not_found")


@pytest.mark.parametrize("path", ["/", "/session", "/Sessions", "/sessions/", "//sessions", "/time/",
                                  "/sessions/{id}/", "/sessions/{id}/nothing", "/metrics", "/v1/sessions",
                                  "/sessions/{id}/deltas/1", "/sessions/{id}/heartbeat/x"])
def test_other_paths_are_404(phone, path):
    path = path.replace("{id}", phone.create()["id"])
    refused(phone.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH", "DELETE"])
def test_a_route_of_ws_fanout_is_404(phone, method):
    if not hasattr(phone, "some_session"):
        phone.some_session = phone.create()["id"]
    refused(phone.request(method, f"/sessions/{phone.some_session}/events", json={}), 404, "not_found")


@pytest.mark.parametrize("path, allowed", [
    ("/sessions", {"GET", "HEAD", "POST"}),
    ("/sessions/{id}", {"GET", "HEAD", "PATCH", "POST", "DELETE"}),
    ("/sessions/{id}/heartbeat", {"POST"}), ("/sessions/{id}/broadcast", {"POST"}),
    ("/sessions/{id}/deltas", {"GET", "HEAD"}), ("/sessions/{id}/history", {"GET", "HEAD"}),
    ("/sessions/{id}/snapshots", {"GET", "HEAD", "POST"}), ("/sessions/{id}/snapshots/1", {"GET", "HEAD"}),
    ("/sessions/{id}/restore", {"POST"}), ("/sessions/{id}/devices", {"GET", "HEAD"}),
    ("/sessions/{id}/devices/phone", {"PUT", "DELETE"}), ("/sessions/{id}/participants", {"GET", "HEAD"}),
    (f"/sessions/{{id}}/participants/{MISSING_ID}", {"PUT", "DELETE"}),
    ("/sessions/{id}/switch", {"POST"}), ("/sessions/{id}/clock", {"PUT"}), ("/sessions/{id}/clock/white", {"POST"}),
    ("/time", {"GET", "HEAD"}), ("/health", {"GET", "HEAD"}), ("/ready", {"GET", "HEAD"})])
def test_other_methods_are_405_with_allow(phone, path, allowed):
    session = phone.create()
    path = path.replace("{id}", session["id"])
    for method in sorted({"GET", "POST", "PUT", "PATCH", "DELETE", "BREW"} - allowed):
        answer = phone.request(method, path)
        refused(answer, 405, "method_not_allowed")
        assert {m.strip() for m in answer.headers["Allow"].split(",")} - {"OPTIONS"} == allowed
    assert phone.read(session["id"]) == session


# ---- what every answer has ----

def vary(answer):
    return {name.strip().lower() for name in answer.headers["Vary"].split(",")}


def test_answers_are_private_and_always_revalidated(phone):
    session = phone.create()
    for answer in (phone.get(path_of(session)), phone.get("/sessions"),
                   phone.json_patch(session["id"], [{"op": "add", "path": "/data/x", "value": 1}]),
                   phone.status(session["id"], "paused"), phone.get(f"/sessions/{MISSING_ID}")):
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert vary(answer) == {"authorization", "origin"}


@pytest.mark.parametrize("given, kept", [
    ("req-7f3a", True), ("two words", True), ("x" * 64, True), ("a~!/b", True), ("x" * 65, False), ("", False),
    ("caf\u00e9", False)])
def test_a_request_keeps_its_id(phone, given, kept):
    for path in ("/time", f"/sessions/{MISSING_ID}"):
        answer = phone.get(path, headers={"X-Request-Id": given.encode("latin-1")})
        got = answer.headers["X-Request-Id"]
        assert (got == given) is kept
        assert 1 <= len(got) <= 64


def test_requests_without_an_id_get_one_each(phone):
    assert len({phone.get("/time").headers["X-Request-Id"] for _ in range(10)}) == 10


@pytest.mark.parametrize("accept, status", [
    ("application/json", 200), ("*/*", 200), ("application/*", 200), ("APPLICATION/JSON", 200),
    ("text/html, application/json;q=0.5", 200), ("text/html, */*;q=0.1", 200),
    ("text/html", 406), ("application/json;q=0", 406), ("application/xml, text/*", 406)])
def test_only_json_is_spoken(phone, accept, status):
    answer = phone.get(path_of(phone.create()), headers={"Accept": accept})
    if status == 200:
        assert answer.status_code == 200
    else:
        refused(answer, 406, "not_acceptable")


def test_what_is_not_acceptable_changes_nothing(phone):
    session = phone.create({"a": 1})
    html = {"Accept": "text/html"}
    patch = [{"op": "replace", "path": "/data/a", "value": 2}]
    refused(phone.json_patch(session["id"], patch, headers=html), 406, "not_acceptable")
    refused(phone.status(session["id"], "paused", headers=html), 406, "not_acceptable")
    refused(phone.post("/sessions", json={"name": "n", "type": "t"}, headers=html), 406, "not_acceptable")
    assert phone.read(session["id"]) == session


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "application/jsonpatch",
                                        "application/json-seq", "multipart/form-data", "junk", ""])
def test_other_media_types_are_415(phone, media_type):
    session = phone.create({"a": 1})
    body, headers = b'{"data":{"a":2}}', {"Content-Type": media_type}
    answer = phone.request("PATCH", path_of(session), data=body, headers=headers)
    refused(answer, 415, "unsupported_media_type")
    assert {t.strip() for t in answer.headers["Accept-Patch"].split(",")} == {
        JSON, JSON_PATCH, MERGE_PATCH}
    refused(phone.post("/sessions", data=b'{"name":"n","type":"t"}', headers=headers), 415,
            "unsupported_media_type")
    assert phone.read(session["id"]) == session


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON",
                                        'application/json;charset="UTF-8"'])
def test_media_types_may_have_parameters_and_any_case(phone, media_type):
    answer = phone.post("/sessions", data=b'{"name":"n","type":"t"}', headers={"Content-Type": media_type})
    assert answer.status_code == 201


def test_time_and_health_need_no_token(suite, phone):
    phone.http.headers.pop("Authorization")
    time = phone.get("/time")
    assert time.status_code == 200 and MOMENT.match(time.json()["serverTime"])
    assert phone.get("/health").json() == {"status": "ok"}
    ready = phone.get("/ready").json()
    assert ready["status"] == "ready"
    assert ready["dependencies"] and all(d["up"] for d in ready["dependencies"].values())


# ---- browsers ----

def test_pages_of_a_configured_origin_may_call_and_see_the_headers(phone):
    for answer in (phone.get("/sessions", headers=ORIGIN),
                   phone.get(f"/sessions/{MISSING_ID}", headers=ORIGIN)):
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        exposed = {h.strip().lower() for h in answer.headers["Access-Control-Expose-Headers"].split(",")}
        assert {"etag", "location", "link", "x-request-id", "x-api-version", "retry-after",
                "idempotency-replayed"} <= exposed


def test_a_401_can_be_read_by_the_page_too(suite, phone):
    phone.http.headers.pop("Authorization")
    answer = phone.get("/sessions", headers=ORIGIN)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN["Origin"])


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example", "null",
                                    "https://app.example.evil.example", "https://app.example:8443"])
def test_other_origins_get_no_permission(phone, origin):
    ask = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
    assert "Access-Control-Allow-Origin" not in phone.get("/sessions", headers={"Origin": origin}).headers
    assert "Access-Control-Allow-Origin" not in phone.request("OPTIONS", "/sessions", headers=ask).headers


@pytest.mark.parametrize("path, method", [("/sessions", "POST"), (f"/sessions/{MISSING_ID}", "PATCH"),
                                          (f"/sessions/{MISSING_ID}", "DELETE")])
def test_a_preflight_is_answered_without_a_token(phone, path, method):
    phone.http.headers.pop("Authorization")
    answer = phone.request("OPTIONS", path, headers={
        **ORIGIN, "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, content-type, if-match, idempotency-key"})
    assert answer.status_code in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert method in answer.headers["Access-Control-Allow-Methods"]
    allowed = {h.strip().lower() for h in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type", "if-match", "if-none-match", "idempotency-key", "prefer",
            "x-device-id", "x-request-id"} <= allowed


# ---- whose session it is ----

def test_a_subject_that_is_no_uuid_becomes_a_uuid_of_its_own(suite):
    name = f"auth0|{new_user()}"
    device = suite.device(name, "phone")
    expected = str(uuid.uuid5(uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8"), "\n" + name))
    assert device.create()["userId"] == expected


def test_a_uuid_is_the_same_user_in_upper_case(suite, phone, user):
    session = phone.create()
    assert session["userId"] == user
    assert suite.device(user.upper(), "tablet").read(session["id"])["id"] == session["id"]


def test_the_device_may_come_in_a_header(suite, phone, user):
    phone.http.headers["Authorization"] = f"Bearer {token(user, secret=SECRET)}"
    answer = phone.post("/sessions", json={"name": "n", "type": "t"}, headers={"X-Device-Id": "tv:1.a_b-C"})
    assert answer.json()["activeDeviceId"] == "tv:1.a_b-C"

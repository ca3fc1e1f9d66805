"""The running services held against proto/openapi.yaml and proto/asyncapi.yaml: every answer of every
route, frames of WebSockets, messages on the broker, what is stored."""

import http.client
import json
import signal
import uuid

import pika
import pytest
import requests
import websocket

from cold import cool, lose
from documents import METHODS, AsyncApi, OpenApi
from harness import MAX_WAIT, Closed, Socket, checksum_of, new_user, session_token, together, token, wait_until
from rest import JSON, JSON_PATCH, MERGE_PATCH, MISSING_ID
from ws import pass_joined, wait_joined

API = OpenApi()
OPERATIONS = [(path, method) for path, item in API.rest.items()
              for method in METHODS if method in item]
SECURED = [o for o in OPERATIONS if API.root["paths"][o[0]][o[1]].get("security") != []]
OF_SESSIONS = [o for o in SECURED if "{id}" in o[0]]
DATA = {"n": 0}
CODE = "A" * 22  # one that is none
PARTS = {"{version}": "1", "{code}": CODE, "{deviceId}": "tablet", "{userId}": MISSING_ID, "{participantId}": "white"}
# Black's time is up a second after the turn began; white's is not.
CLOCK = {"mode": "per_participant", "totalTimeMs": 3600000, "warningsMs": [500],
         "onTimeout": {"action": "notify"},
         "participants": [{"participantId": "white"}, {"participantId": "black", "totalTimeMs": 1000}]}
ORIGIN = "https://app.example"  # the harness allows it


def documented(path, method, status):
    return str(status) in API.root["paths"][path][method]["responses"]


def checked(device):
    """The device, each of whose answers is held against the document."""
    device.http.hooks["response"] = [API.check_answer]
    return device


@pytest.fixture
def ada(suite):
    return checked(suite.device(new_user(), "phone"))


BODIES = {("/sessions", "post"): {"name": "n", "type": "t"},
          ("/sessions/{id}/snapshots", "post"): {"label": "l"},
          ("/sessions/{id}/restore", "post"): {"version": 1},
          ("/sessions/{id}/broadcast", "post"): {"message": {"cue": "bell"}},
          ("/sessions/{id}/switch", "post"): {"currentParticipantId": "white"},
          ("/sessions/{id}/clock", "put"): CLOCK,
          ("/sessions/{id}/clock/{participantId}", "post"): {"adjustMs": 1000, "reason": "r"},
          ("/sessions/{id}/participants/{userId}", "put"): {"role": "viewer"},
          ("/sessions/{id}/handoff-codes", "post"): {"role": "viewer"}, ("/handoff", "post"): {"code": CODE}}


def url_of(path, session_id=MISSING_ID):
    for part, value in PARTS.items():
        path = path.replace(part, value)
    return path.replace("{id}", session_id)


def good_request(path, method):
    """What a request needs beside its path to be acceptable."""
    if method == "patch":
        return {"json": {"operations": []}}
    if (path, method) in BODIES:
        return {"json": BODIES[path, method]}
    return {"params": {"status": "active"}} if method == "post" else {}


def session_for(device, path):
    """A session that a request of that path finds in order; its id."""
    if path.endswith("/clock"):
        return device.create(DATA, status="pending")["id"]
    of_clock = "/clock/" in path or path.endswith("/switch")
    return device.create(DATA, **({"clock": CLOCK} if of_clock else {}))["id"]


def request_of(device, path, method, session_id=MISSING_ID, code=CODE, **more):
    good = json.loads(json.dumps(good_request(path, method)).replace(CODE, code))
    return device.request(method.upper(), url_of(path, session_id).replace(CODE, code), **{**good, **more})


def code_for(device, path, session_id):
    """What a request of that path needs beside the session."""
    if "{code}" not in path and path != "/handoff":
        return CODE
    return device.post(f"/sessions/{session_id}/handoff-codes", json={"role": "viewer"}).json()["code"]


def confined(device, session_id):
    """The device with a session token."""
    made = session_token(device.user, session_id, device.name)
    return checked(device.suite.bearer(made, device.user, device.name))


def expect(answer, status, code=None):
    assert answer.status_code == status, answer.text[:500]
    if code and answer.request.method != "HEAD":
        assert answer.json()["code"] == code, answer.text
    return answer


# ---- REST: what holds for every operation ----

@pytest.mark.parametrize("path,method", OPERATIONS)
def test_a_good_request(ada, path, method):
    session = session_for(ada, path)
    asks = confined(ada, session) if path.endswith("/token") else ada
    answer = request_of(asks, path, method, session, code_for(ada, path, session), headers={"Origin": ORIGIN})
    assert answer.status_code in (200, 201, 202, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("path,method", SECURED)
def test_without_a_token(suite, ada, path, method):
    nobody = requests.Session()
    nobody.hooks["response"] = [API.check_answer]
    for headers, code in (({}, "unauthenticated"), ({"Authorization": "Basic YTpi"}, "unauthenticated"),
                          ({"Authorization": f"Bearer {token(ada.user, seconds=-100)}"}, "token_expired")):
        url = suite.api_url + url_of(path)
        if path != "/handoff" or headers:  # there one may come without any
            expect(nobody.request(method.upper(), url, headers=headers), 401, code)


@pytest.mark.parametrize("path,method", SECURED)
def test_with_a_token_of_another_scope(suite, path, method):
    device = checked(suite.device(new_user(), "phone", scope="something:else"))
    expect(request_of(device, path, method), 403, "forbidden")


@pytest.mark.parametrize("path,method", OF_SESSIONS)
def test_for_a_session_that_is_not_there(ada, path, method):
    expect(request_of(ada, path, method), 404, "not_found")
    expect(request_of(ada, path, method, "abc"), 404, "not_found")


@pytest.mark.parametrize("path,method", [o for o in OPERATIONS if o[1] != "options"])
def test_when_no_json_is_accepted(ada, path, method):
    expect(request_of(ada, path, method, headers={"Accept": "text/html"}), 406, "not_acceptable")


@pytest.mark.parametrize("path,method", OPERATIONS)
def test_a_body_over_the_limit(ada, path, method):
    body = {"json": None, "data": b"x" * ((1 << 20) + 1), "headers": {"Content-Type": JSON}}
    expect(request_of(ada, path, method, **body), 413, "body_too_large")


@pytest.mark.parametrize("path,method", OPERATIONS)
def test_headers_over_the_limit(suite, path, method):
    ada = checked(suite.direct.device(new_user(), "phone"))
    expect(request_of(ada, path, method, headers={"X-Big": "x" * (40 << 10)}), 431)


@pytest.mark.parametrize("path,method", OPERATIONS)
def test_an_ambiguous_framing(suite, ada, path, method):
    connection = http.client.HTTPConnection("127.0.0.1", suite.direct.api_port, timeout=30)
    url = url_of(path)
    connection.putrequest(method.upper(), url)
    connection.putheader("Content-Length", "0")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 400
    API.check(method, url, answer.status, answer.headers, answer.read())
    connection.close()


@pytest.mark.parametrize("path", API.rest)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST", "TRACE", "BREW"])
def test_other_methods(ada, path, method):
    if method.lower() not in API.root["paths"][path]:
        expect(ada.request(method, url_of(path)), 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/", "/nothing", "/sessions/", f"/sessions/{MISSING_ID}/clocks"])
def test_other_paths(ada, path):
    expect(ada.get(path), 404, "not_found")


# ---- REST: what is each operation's own ----

def test_a_token_that_cannot_be_renewed(ada):
    session = ada.create(DATA)["id"]
    path = f"/sessions/{session}/token"
    expect(ada.post(path), 403, "forbidden")
    ada.status(session, "completed")
    expect(confined(ada, session).post(path), 409, "session_ended")


def test_keys_where_there_are_none(own_api):
    nobody = checked(own_api(HANDOFF_SESSION_TOKEN_KEY="").device(new_user(), "phone"))
    expect(nobody.get("/.well-known/jwks.json"), 404, "not_found")
    expect(nobody.request("HEAD", "/.well-known/jwks.json"), 404)


@pytest.mark.parametrize("method", ["get", "head"])
def test_reading(ada, method):
    session = ada.create(DATA)
    path = f"/sessions/{session['id']}"
    expect(ada.request(method, path), 200)
    expect(ada.request(method, path, headers={"If-None-Match": '"1"'}), 304)
    ada.status(session["id"], "paused"), ada.status(session["id"], "completed")
    expect(ada.request(method, path), 200)


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("path", ["/sessions", "/sessions/{id}/deltas", "/sessions/{id}/history",
                                  "/sessions/{id}/snapshots"])
def test_bad_parameters(ada, path, method):
    path = path.replace("{id}", ada.create(DATA)["id"])
    expect(ada.request(method, path, params={"limit": "x"}), 400, "invalid_request")
    expect(ada.request(method, path, params={"limit": 101}), 422, "invalid_value")


def test_pages_of_the_list(ada):
    for _ in range(3):
        ada.create(DATA)
    wait_until(lambda: len(ada.get("/sessions?status=active&type=meditation").json()["items"]) == 3,
               what="three sessions in the list")
    page = expect(ada.get("/sessions?limit=2"), 200)
    assert page.headers["Link"] and page.json()["nextCursor"]
    rest = expect(ada.get(f"/sessions?limit=2&cursor={page.json()['nextCursor']}"), 200)
    assert len(rest.json()["items"]) == 1 and "Link" not in rest.headers


def test_creating(ada):
    again = {"json": {"name": "n", "type": "t", "data": [1]}, "headers": {"Idempotency-Key": "k"}}
    first, second = ada.post("/sessions", **again), ada.post("/sessions", **again)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    for body, status, code in ((b"{", 400, "invalid_json"), (b"[]", 400, "invalid_request"),
                               (b'{"name":"n"}', 400, "invalid_request"),
                               (b'{"name":"","type":"t"}', 422, "invalid_value"),
                               (b'{"name":"n","type":"t","data":"' + b"x" * (600 << 10) + b'"}',
                                413, "state_too_large")):
        expect(ada.post("/sessions", data=body, headers={"Content-Type": JSON}), status, code)
    expect(ada.post("/sessions", data=b"{}", headers={"Content-Type": "text/plain"}), 415,
           "unsupported_media_type")
    other = {**again, "json": {"name": "m", "type": "t"}}
    expect(ada.post("/sessions", **other), 422, "idempotency_key_reused")
    ada.delete(first.headers["Location"])
    expect(ada.post("/sessions", **again), 404, "not_found")


def test_too_many_sessions(own_api):
    device = checked(own_api(HANDOFF_MAX_SESSIONS_PER_USER="1").device(new_user(), "phone"))
    device.create(DATA)
    expect(device.post("/sessions", json={"name": "n", "type": "t"}), 429, "too_many_sessions")


def test_patching(ada):
    session = ada.create(DATA)["id"]
    replace = [{"op": "replace", "path": "/data/n", "value": 1}]
    expect(ada.patch(session, replace, baseVersion=1, headers={"Idempotency-Key": "p"}), 200)
    expect(ada.patch(session, replace, baseVersion=1, headers={"Idempotency-Key": "p"}), 200)
    expect(ada.json_patch(session, replace, {"Prefer": "return=representation"}), 200)
    expect(ada.merge_patch(session, {"name": "other"}), 200)
    expect(ada.patch(session, [{"op": "add", "path": "/data/m", "value": 2}], baseVersion=1,
                     merge="disjoint"), 200)
    expect(ada.patch(session, []), 200)


PATCH_REFUSALS = [
    (JSON_PATCH, b"[", {}, 400, "invalid_json"), (JSON, b"{}", {}, 400, "invalid_request"),
    (JSON, b'{"operations":[],"baseVersion":7}', {}, 409, "version_conflict"),
    (JSON, b'{"operations":[],"checksum":"' + b"0" * 64 + b'"}', {}, 409, "checksum_mismatch"),
    (JSON_PATCH, b"[]", {"If-Match": '"7"'}, 412, "version_conflict"),
    (JSON_PATCH, b"[]", {"If-Match": 'W/"1"'}, 400, "invalid_request"),
    (MERGE_PATCH, b'{"data":"' + b"x" * (600 << 10) + b'"}', {}, 413, "state_too_large"),
    ("text/plain", b"[]", {}, 415, "unsupported_media_type"),
    (MERGE_PATCH, b'{"name":""}', {}, 422, "invalid_value"),
    (JSON_PATCH, b'[{"op":"remove","path":"/data/x"}]', {}, 422, "patch_failed"),
    (JSON_PATCH, b'[{"op":"add","path":"/version","value":1}]', {}, 422, "path_not_writable"),
]


@pytest.mark.parametrize("media_type,body,headers,status,code", PATCH_REFUSALS,
                         ids=[f"{r[3]}-{r[4]}" for r in PATCH_REFUSALS])
def test_patches_refused(ada, media_type, body, headers, status, code):
    path = f"/sessions/{ada.create(DATA)['id']}"
    expect(ada.request("PATCH", path, data=body, headers={"Content-Type": media_type, **headers}),
           status, code)


def test_a_patch_that_missed_some(ada):
    session = ada.create(DATA)["id"]
    ada.merge_patch(session, {"data": {"n": 1}})
    answer = expect(ada.patch(session, [], baseVersion=1), 409, "version_conflict").json()
    assert [d["version"] for d in answer["deltas"]] == [2]


def test_transitions(suite, ada):
    laptop = checked(suite.device(ada.user, "laptop"))
    session = ada.create(DATA, status="pending")["id"]
    expect(ada.status(session, "paused"), 409, "invalid_transition")
    expect(ada.status(session, "active"), 200)
    expect(ada.status(session, "active"), 200)
    expect(laptop.status(session, "active"), 200)
    expect(ada.status(session, "paused", headers={"If-Match": '"1"'}), 412, "version_conflict")
    expect(ada.status(session, "asleep"), 422, "invalid_value")
    for _ in range(2):
        expect(ada.status(session, "paused", headers={"Idempotency-Key": "s"}), 200)
    expect(ada.status(session, "active", headers={"Idempotency-Key": "s"}), 422,
           "idempotency_key_reused")
    expect(ada.post(f"/sessions/{session}"), 400, "invalid_request")
    expect(ada.status(session, "completed"), 200)
    expect(ada.status(session, "active"), 409, "session_ended")
    expect(ada.heartbeat(session), 409, "session_ended")
    expect(ada.patch(session, []), 409, "session_ended")


def test_broadcasting(ada):
    session = ada.create(DATA)["id"]
    path = f"/sessions/{session}/broadcast"
    expect(ada.post(path, json={"message": None, "echo": True}), 202)
    for body, status, code in ((b"{", 400, "invalid_json"), (b"{}", 400, "invalid_request"),
                               (b'{"message":"' + b"x" * (60 << 10) + b'"}', 413, "body_too_large"),
                               (b'{"message":' + b"[" * 65 + b"]" * 65 + b"}", 422, "invalid_value")):
        expect(ada.post(path, data=body, headers={"Content-Type": JSON}), status, code)
    expect(ada.post(path, data=b"{}", headers={"Content-Type": "text/plain"}), 415,
           "unsupported_media_type")
    ada.status(session, "completed")
    expect(ada.post(path, json={"message": 1}), 409, "session_ended")


def test_a_conditional_heartbeat(ada):
    session = ada.create(DATA)["id"]
    expect(ada.heartbeat(session, headers={"If-Match": '"7"'}), 412, "version_conflict")


def test_a_conditional_delete(ada):
    session = ada.create(DATA)["id"]
    expect(ada.delete(f"/sessions/{session}", headers={"If-Match": '"7"'}), 412, "version_conflict")


def test_what_an_admin_sees(suite, ada):
    admin = checked(suite.device(new_user(), "desk", scope="sessions:admin"))
    session = ada.create(DATA)["id"]
    assert expect(admin.get(f"/sessions/{session}"), 200).json()["role"] == "viewer"
    expect(admin.status(session, "cancelled"), 200)
    expect(admin.delete(f"/sessions/{session}"), 204)


# ---- REST: earlier versions, sharing, devices ----

@pytest.mark.parametrize("method", ["get", "head"])
def test_reading_a_version(ada, method):
    path = f"/sessions/{ada.create(DATA)['id']}/snapshots/1"
    expect(ada.request(method, path), 200)
    expect(ada.request(method, path, headers={"If-None-Match": '"1"'}), 304)
    expect(ada.request(method, path, params={"epoch": "x"}), 400, "invalid_request")
    expect(ada.request(method, path, params={"epoch": 0}), 422, "invalid_value")
    expect(ada.request(method, path, params={"epoch": 2}), 410, "version_gone")


def test_pages_of_the_history_and_of_the_snapshots(ada):
    session = ada.create(DATA)["id"]
    ada.status(session, "paused"), ada.status(session, "active")
    for route in ("history", "snapshots"):
        path = f"/sessions/{session}/{route}?limit=1"
        first = wait_until(lambda p=path: (lambda a: a if a.json()["nextCursor"] else None)(ada.get(p)),
                           what="two items")
        assert first.headers["Link"]
        expect(ada.get(f"{path}&cursor={first.json()['nextCursor']}"), 200)


CHANGES = [(path, method) for path, method in OF_SESSIONS
           if path.removeprefix("/sessions/{id}/").partition("/")[0] in (
               "snapshots", "restore", "participants", "devices", "switch", "clock") and documented(path, method, 412)]


@pytest.mark.parametrize("path,method", CHANGES)
def test_a_conditional_change(ada, path, method):
    session = session_for(ada, path)
    expect(request_of(ada, path, method, session, headers={"If-Match": '"7"'}), 412, "version_conflict")
    expect(request_of(ada, path, method, session, headers={"If-Match": 'W/"1"'}), 400, "invalid_request")


@pytest.mark.parametrize("path,method", CHANGES)
def test_a_change_of_an_ended_session(ada, path, method):
    session = ada.create(DATA)["id"]
    ada.status(session, "completed")
    expect(request_of(ada, path, method, session), 409, "session_ended")


OUT_OF_RANGE = {"snapshots": {"label": ""}, "restore": {"version": 0}, "{userId}": {"role": "x"},
                "switch": {"currentParticipantId": ""}, "clock": {**CLOCK, "totalTimeMs": 1},
                "{participantId}": {"adjustMs": 86400001, "reason": "r"}}


@pytest.mark.parametrize("path,method", [c for c in CHANGES if c in BODIES])
def test_bodies_of_changes(ada, path, method):
    session = session_for(ada, path)
    for body, status, code in ((b"{", 400, "invalid_json"), (b'{"x":1}', 400, "invalid_request"),
                               (b'{"label":"","version":0,"role":"x"}', 400, "invalid_request")):
        expect(request_of(ada, path, method, session, json=None, data=body,
                          headers={"Content-Type": JSON}), status, code)
    expect(request_of(ada, path, method, session, json=None, data=b"{}",
                      headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")
    bad = OUT_OF_RANGE[path.rpartition("/")[2]]
    expect(request_of(ada, path, method, session, json=bad), 422, "invalid_value")


@pytest.mark.parametrize("path,method,other", [
    ("/sessions/{id}/snapshots", "post", {"label": "m"}), ("/sessions/{id}/restore", "post", {"version": 2}),
    ("/sessions/{id}/switch", "post", {"currentParticipantId": "black"}),
    ("/sessions/{id}/clock", "put", {**CLOCK, "totalTimeMs": 5000}),
    ("/sessions/{id}/clock/{participantId}", "post", {"adjustMs": 1, "reason": "r"})])
def test_changes_under_a_key(ada, path, method, other):
    session = session_for(ada, path)
    key = {"headers": {"Idempotency-Key": "k"}}
    first = request_of(ada, path, method, session, **key)
    again = expect(request_of(ada, path, method, session, **key), first.status_code)
    assert again.headers["Idempotency-Replayed"] == "true"
    ada.patch(session, [{"op": "add", "path": "/data/n", "value": 1}])
    expect(request_of(ada, path, method, session, json=other, **key), 422, "idempotency_key_reused")


def test_clocks_that_cannot_be_changed_so(ada):
    path = f"/sessions/{ada.create(DATA, clock=CLOCK)['id']}"
    expect(ada.request("PUT", f"{path}/clock", json=CLOCK), 409, "invalid_transition")
    expect(ada.post(f"{path}/switch"), 428, "precondition_required")
    expect(ada.post(f"{path}/switch", json={"currentParticipantId": "black"}), 409, "not_active_participant")
    expect(ada.post(f"{path}/clock/grey", json={"adjustMs": 1, "reason": "r"}), 404, "not_found")
    expect(ada.post(f"{path}/switch", headers={"If-Match": '"1"'}), 200)
    none = ada.create(DATA)["id"]
    expect(ada.post(f"/sessions/{none}/switch", json={"currentParticipantId": "white"}), 409, "invalid_transition")
    expect(ada.post("/sessions", json={"name": "n", "type": "t", "clock": {**CLOCK, "mode": "x"}}), 422, "invalid_value")


def test_handoff_codes(suite, ada):
    path = f"/sessions/{ada.create(DATA)['id']}/handoff-codes"
    for url, bad in ((path, {"ttlSeconds": 9}), ("/handoff", {"code": "", "device": {"id": ".."}})):
        for body, status, code in ((b"{", 400, "invalid_json"), (b'{"x":1}', 400, "invalid_request")):
            expect(ada.post(url, data=body, headers={"Content-Type": JSON}), status, code)
        expect(ada.post(url, data=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")
        expect(ada.post(url, json=bad), 422, "invalid_value")
    codes = [expect(ada.post(path, json={"role": "viewer"}), 201).json()["code"] for _ in range(10)]
    expect(ada.post(path), 429, "rate_limited")
    for media_type in ("image/svg+xml", "image/png", "text/plain"):
        expect(ada.get(f"{path}/{codes[0]}", headers={"Accept": media_type}), 200)
    grace = checked(suite.device(new_user(), "tablet"))
    expect(grace.post("/handoff", json={"code": codes[0]}), 200)
    nobody = requests.Session()
    nobody.hooks["response"] = [API.check_answer]
    guest = expect(nobody.post(f"{suite.api_url}/handoff", json={"code": codes[2]}), 200).json()
    assert {"token", "tokenExpiresAt", "deviceId"} <= guest.keys()
    ada.status(path.split("/")[2], "completed")
    expect(ada.post(path), 409, "session_ended")
    expect(grace.post("/handoff", json={"code": codes[0]}), 200)
    expect(checked(suite.device(new_user(), "tv")).post("/handoff", json={"code": codes[1]}), 409, "session_ended")


def test_wrong_handoff_codes(suite, ada):
    """What counts for this machine's address counts for all tests: it is taken back."""
    redis = suite.redis_client()
    for status in 10 * [404] + [429]:
        expect(ada.post("/handoff", json={"code": CODE}), status)
    redis.delete(*redis.keys("handoff:{*}:tries"))


def test_a_version_that_cannot_be_restored(ada):
    session = ada.create(DATA)["id"]
    expect(ada.post(f"/sessions/{session}/restore", json={"version": 7}), 410, "version_gone")


def test_roles_and_devices_past_what_is_allowed(ada):
    path = f"/sessions/{ada.create(DATA)['id']}"
    expect(ada.delete(f"{path}/participants/{ada.user}"), 422, "invalid_value")
    for n in range(100):
        expect(ada.delete(f"{path}/devices/d{n}"), 204)
    expect(ada.delete(f"{path}/devices/d100"), 422, "invalid_value")


def test_a_device_that_is_kept_out(suite, ada):
    session = ada.create(DATA)["id"]
    tablet = checked(suite.device(ada.user, "tablet"))
    expect(ada.delete(f"/sessions/{session}/devices/tablet"), 204)
    for path, method in OF_SESSIONS:
        if documented(path, method, 403):
            expect(request_of(tablet, path, method, session), 403, "device_removed")


@pytest.mark.parametrize("path,method", [(path, method) for path, method in OF_SESSIONS if method in ("get", "head")])
def test_a_cold_session_is_read(suite, ada, path, method):
    session = ada.create(DATA)["id"]
    code = code_for(ada, path, session)
    cool(suite, session)
    expect(request_of(ada, path, method, session, code), 200)


def test_a_lost_session_while_the_audit_trail_stands_still(own_suite):
    suite = own_suite()
    user = new_user()
    session = suite.device(user, "phone").create(DATA)["id"]
    wait_until(lambda: suite.query("select 1 from sessions where id = %s", session), what="its row")
    lose(suite, session)
    writer = suite.services["audit_writer"].process
    writer.send_signal(signal.SIGSTOP)
    try:
        answers = together(len(OF_SESSIONS), lambda i: request_of(
            checked(suite.device(user, f"d{i}")), *OF_SESSIONS[i], session))
    finally:
        writer.send_signal(signal.SIGCONT)
    for answer in answers:
        expect(answer, 503, "unavailable")


def test_while_no_engine_answers(own_suite):
    suite = own_suite(HANDOFF_COMMAND_DEADLINE="1s")
    ada = checked(suite.device(new_user(), "phone"))
    session = ada.create(DATA)["id"]
    code = code_for(ada, "/handoff", session)
    guest = checked(suite.device(new_user(), "tablet"))
    engine = suite.services["state_engine"].process
    engine.send_signal(signal.SIGSTOP)
    try:
        for path, method in SECURED:
            if documented(path, method, 504):
                expect(request_of(guest if path == "/handoff" else ada, path, method, session, code), 504, "timeout")
    finally:
        engine.send_signal(signal.SIGCONT)
    wait_until(lambda: ada.heartbeat(session).status_code != 504, what="the engine at work again")


# What takes a bug, a lost server, a drain, or 256 MiB of bodies: other tests' matter.
ELSEWHERE = {500: OPERATIONS, 503: [o for o in OPERATIONS if o not in OF_SESSIONS]}


def test_every_answer_of_the_document_was_seen(request):
    here = {i.originalname for i in request.session.items if i.path == request.path}
    if not {name for name in globals() if name.startswith("test_")} <= here:
        return  # only some of this file's tests were asked for
    missing = [(path, method, status) for path, method in OPERATIONS
               for status in map(int, API.root["paths"][path][method]["responses"])
               if (path, method, status) not in API.seen
               and (path, method) not in ELSEWHERE.get(status, [])]
    assert not missing


# ---- WebSocket ----

MESSAGES = AsyncApi()


def ask_engine(suite, device, session, *commands):
    """Sends (kind, members) as a trusted backend; each is held against the document, and succeeds."""
    connection = suite.amqp()
    channel = connection.channel()
    got = []
    channel.basic_consume("amq.rabbitmq.reply-to", lambda *m: got.append(m[2:]), auto_ack=True)
    for kind, members in commands:
        command = {"id": str(uuid.uuid4()), "kind": kind, "sessionId": session, "userId": device.user,
                   "deviceId": "backend", "scope": ["read", "write"],
                   "deadline": suite.redis_client().time()[0] * 1000 + 5000, **members}
        message = {"commands": [command]}
        MESSAGES.check_payload("session_commands", "commands", message)
        channel.basic_publish("session_commands", "state_engine.commands", json.dumps(message).encode(),
                              pika.BasicProperties(content_type="application/json", delivery_mode=1,
                                                   reply_to="amq.rabbitmq.reply-to", expiration="5000"))
        while not got:
            connection.process_data_events(time_limit=20)
        properties, body = got.pop()
        MESSAGES.check_amqp("replies", "replies", properties, json.loads(body))
        assert "error" not in json.loads(body)["replies"][0], body
    connection.close()


def sharing():
    """Commands that share a session and keep a device out of it."""
    friend = new_user()
    return (("participant", {"participant": friend, "role": "editor"}),
            ("participant", {"participant": friend, "role": None}),
            ("device", {"device": "lost", "removed": True}))


class CheckedSocket(Socket):
    """Every frame, either way, is held against the document."""

    def send(self, **message):
        # The event of that name is another message of the channel.
        name = "send_broadcast" if message["type"] == "broadcast" else message["type"]
        MESSAGES.check_payload("socket", name, message)
        super().send(**message)

    def recv_any(self):
        frame = super().recv_any()
        MESSAGES.check_frame(frame)
        return frame


def socket_of(device, query="", **more):
    return CheckedSocket(device.suite.ws_url + query,
                         header=[f"Authorization: Bearer {device.token}"], **more)


def test_frames_of_a_sessions_life(suite, ada):
    laptop = suite.device(ada.user, "laptop")
    session = ada.create(DATA)["id"]
    with CheckedSocket(suite.ws_url) as phone, socket_of(laptop, f"?session={session}") as watcher:
        watcher.expect("hello"), watcher.expect("state_sync", reason="initial")
        phone.send(type="auth", id="1", token=ada.token)
        phone.expect("hello", id="1")
        phone.send(type="subscribe", id="2", sessionId=session)
        phone.expect("state_sync", id="2")
        watcher.recv_until("device_joined", deviceId=ada.name)
        phone.send(type="patch", id="3", sessionId=session, baseVersion=1, key="k",
                   operations=[{"op": "replace", "path": "/data/n", "value": 1}])
        phone.recv_until("ack", id="3", version=2)
        watcher.expect("state_delta", version=2)
        phone.send(type="patch", id="4", sessionId=session, baseVersion=1, epoch=1, operations=[])
        phone.recv_until("error", id="4", code="version_conflict")
        phone.send(type="status", id="5", sessionId=session, status="paused")
        phone.recv_until("ack", id="5", version=3)
        watcher.expect("status_changed", version=3)
        watcher.send(type="status", id="6", sessionId=session, status="active")
        watcher.recv_until("ack", id="6")
        ask_engine(suite, ada, session, *sharing())
        watcher.recv_until("participant_changed", role="editor")
        watcher.expect("participant_changed", role=None)
        watcher.expect("device_changed", device="lost", removed=True)
        phone.send(type="ping", id="8")
        phone.recv_until("pong", id="8")
        watcher.send(type="unsubscribe", id="9", sessionId=session)
        watcher.recv_until("unsubscribed", id="9")
        ada.delete(f"/sessions/{session}")
        phone.recv_until("session_deleted")
        phone.expect("unsubscribed", code="not_found")
        phone.send(type="subscribe", id="10", sessionId=session)
        phone.expect("error", id="10", code="not_found")


def test_frames_of_a_clock(ada):
    session = ada.create(DATA, status="pending")["id"]
    with socket_of(ada, f"?session={session}") as socket:
        socket.expect("hello"), socket.expect("state_sync")
        ada.request("PUT", f"/sessions/{session}/clock", json=CLOCK)
        socket.recv_until("clock_set", version=2)
        ada.status(session, "active")
        socket.recv_until("status_changed", version=3)
        ada.post(f"/sessions/{session}/clock/white", json={"adjustMs": -1000, "reason": "r"})
        socket.recv_until("clock_adjusted", version=4)
        socket.send(type="switch", id="1", sessionId=session)
        socket.expect("error", id="1", code="precondition_required")
        socket.send(type="switch", id="2", sessionId=session, baseVersion=4, nextParticipantId="black", key="k")
        frames = [socket.recv(), socket.recv()]  # in either order
        assert {f["type"] for f in frames} == {"ack", "clock_switched"}
        socket.recv_until("clock_warning", participantId="black", remainingMs=500)
        socket.expect("clock_expired", participantId="black", action="notify", version=6)


def test_the_ack_of_a_heartbeat(ada):
    session = ada.create(DATA)["id"]
    with socket_of(ada) as socket:
        socket.expect("hello")
        socket.send(type="heartbeat", id="7", sessionId=session)
        socket.expect("ack", id="7", version=1)


def test_the_ack_of_a_broadcast(ada):
    session = ada.create(DATA)["id"]
    with socket_of(ada, f"?session={session}") as socket:
        socket.expect("hello"), socket.expect("state_sync")
        socket.send(type="broadcast", id="7", sessionId=session, message={"cue": "bell"}, echo=True)
        frames = {socket.recv()["type"], socket.recv()["type"]}  # in either order
        assert frames == {"ack", "broadcast"}


def test_frames_from_a_position(ada):
    session = ada.create(DATA)["id"]
    with socket_of(ada, f"?session={session}&since=1&epoch=1") as socket:
        socket.expect("hello"), socket.expect("subscribed", replayed=0)
        socket.send(type="subscribe", id="1", sessionId=session, since=0)
        socket.expect("subscribed", id="1", replayed=1), socket.expect("session_created", version=1)
        socket.send(type="subscribe", id="2", sessionId=session, since=1, epoch=2)
        socket.expect("state_sync", id="2", reason="epoch")


def test_frames_about_devices(suite, ada):
    """One that left, and one of a session with many: told as the engine tells it."""
    session = ada.create(DATA)["id"]
    connection = suite.amqp()
    channel = connection.channel()

    def tell(type, n_devices):
        body = {"type": type, "sessionId": session, "epoch": 1, "version": 1, "userId": ada.user,
                "timestamp": "2026-02-12T12:00:00.000Z", "deviceId": "tv", "activeDeviceId": None, "name": None,
                "platform": None, "deviceCount": n_devices}
        channel.basic_publish("session_updates", f"session.{session}.{type}", json.dumps(body).encode(),
                              pika.BasicProperties(type=type, message_id=str(uuid.uuid4())))

    with socket_of(ada, f"?session={session}") as socket:
        socket.expect("hello"), socket.expect("state_sync")
        pass_joined(ada, session, [ada.name], socket)  # not to be gathered with what follows
        tell("device_left", 1)
        socket.recv_until("device_left", deviceId="tv")
        tell("device_joined", 51)
        socket.recv_until("presence", joined=["tv"], left=[])
    connection.close()


def test_a_token_that_is_about_to_expire(suite):
    with socket_of(suite.device(new_user(), "phone", seconds=60)) as socket:
        socket.expect("hello"), socket.expect("token_expiring")


def test_every_message_of_the_socket_was_seen(request):
    here = {i.originalname for i in request.session.items if i.path == request.path}
    if {"test_frames_of_a_sessions_life", "test_frames_of_a_clock", "test_the_ack_of_a_heartbeat", "test_the_ack_of_a_broadcast",
            "test_frames_from_a_position", "test_frames_about_devices",
            "test_a_token_that_is_about_to_expire"} <= here:
        expected = MESSAGES.root["channels"]["socket"]["messages"].keys()
        assert {name for channel, name in MESSAGES.seen if channel == "socket"} == expected


TEXT, BINARY = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY


@pytest.mark.parametrize("code,frames", [
    (1003, [(b"{}", BINARY)]), (1007, [(b'{"type":"\xff"}', TEXT)]), (1009, [(b"x" * 70000, TEXT)]),
    (4001, [(b'{"type":"auth","token":"no"}', TEXT)]), (4029, [(b"no", TEXT)] * 10)])
def test_close_codes(ada, code, frames):
    with socket_of(ada) as socket:
        for data, opcode in frames:
            socket.ws.send(data, opcode=opcode)
        with pytest.raises(Closed) as closed:
            while True:
                socket.recv()
        assert closed.value.code == code
    assert code in {c["code"] for c in MESSAGES.root["channels"]["socket"]["x-close-codes"]}


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
           "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "handoff.v1"}


@pytest.mark.parametrize("status,path,headers", [
    (400, "/ws", {"Sec-WebSocket-Protocol": "other"}), (400, "/ws?device_id=.", {}),
    (400, f"/ws?session={MISSING_ID}&since=x", {}), (422, f"/ws?session={MISSING_ID}&since=1&epoch=0", {}),
    (401, "/ws", {"Authorization": "Bearer no"}), (403, "/ws", {"Origin": "https://elsewhere.example"}),
    (404, "/other", {}), (400, "/ws", {"Sec-WebSocket-Version": "12"})])
def test_refused_upgrades(suite, status, path, headers):
    answer = requests.get(f"http://127.0.0.1:{suite.direct.ws_port}{path}",
                          headers={**UPGRADE, **headers}, timeout=30)
    refusals = MESSAGES.root["channels"]["socket"]["x-refusals"]
    codes = {r["status"]: r["codes"] for r in refusals["statuses"]}
    assert answer.status_code == status and answer.json()["code"] in codes[status]
    assert not MESSAGES.errors(refusals["payload"], answer.json())
    assert not MESSAGES.errors(refusals["headers"], dict(answer.headers))
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


# ---- the broker and what is stored ----

LATE = {"device_left"}  # 10 s after the last connection: test_presence.py waits for it, and checks it


def own_queue(channel, exchange, key):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, key)
    return queue


def consume(channel, queue, is_last):
    """Messages of a queue up to the last one."""
    for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=MAX_WAIT):
        assert method is not None, "no more came"
        yield method, properties, body
        if is_last(body):
            break
    channel.cancel()


def life_of_a_clock(device):
    """Of a new session, which is active afterwards; its id."""
    session = device.create(DATA, status="pending")["id"]
    path = f"/sessions/{session}"
    device.request("PUT", f"{path}/clock", json=CLOCK)
    device.status(session, "active")
    device.post(f"{path}/clock/white", json={"adjustMs": -1000, "reason": "r"})
    device.post(f"{path}/switch", json={"currentParticipantId": "white"})
    wait_until(lambda: device.read(session)["clock"]["participants"][1]["hasExpired"], what="black's time up")
    return session


def whole_life(suite, device):
    """Every kind of command and event; the session's id."""
    laptop = suite.device(device.user, "laptop")
    session = life_of_a_clock(device)
    device.patch(session, [{"op": "add", "path": "/data/m", "value": [1]}], baseVersion=6)
    device.merge_patch(session, {"name": "other", "data": {"n": None}}, {"Idempotency-Key": "k"})
    laptop.patch(session, [{"op": "add", "path": "/data/l", "value": 1}], baseVersion=1,
                 merge="disjoint")
    device.status(session, "paused", headers={"If-Match": '"9"'})
    laptop.status(session, "active")
    device.heartbeat(session)
    with suite.device(device.user, "tv").connect(session) as tv:
        wait_joined(suite, session, "tv")
        device.post(f"/sessions/{session}/broadcast", json={"message": "bell"})
        tv.recv_until("broadcast")
    ask_engine(suite, device, session, *sharing(), ("snapshot", {"label": "kept"}),
               ("restore", {"restored": {"version": 1, "epoch": 1}, "data": DATA,
                            "checksum": checksum_of(DATA)}))
    return session


def whole_life_with_a_loss(suite, device):
    session = whole_life(suite, device)
    lose(suite, session)
    assert device.read(session)["epoch"] == 2
    return session


def test_events_on_the_broker(suite, ada):
    connection = suite.amqp()
    channel = connection.channel()
    queue = own_queue(channel, "session_updates", "session.#")
    session = whole_life_with_a_loss(suite, ada)
    ada.delete(f"/sessions/{session}")
    seen, ids = set(), set()
    for method, properties, body in consume(
            channel, queue, lambda b: json.loads(b)["type"] == "session_deleted"
            and json.loads(b)["sessionId"] == session):
        event = json.loads(body)
        if event["sessionId"] != session:
            continue
        MESSAGES.check_amqp("session_updates", event["type"], properties, event)
        described = MESSAGES.message("session_updates", event["type"])
        assert method.routing_key == f"session.{session}.{described['x-kind']}"
        assert properties.headers["version"] == event["version"]
        assert properties.headers["epoch"] == event["epoch"]
        assert properties.headers.get("deviceId") == event["deviceId"]
        if described["x-versioned"]:
            assert properties.message_id == f"{session}:{event['epoch']}:{event['version']}"
        seen.add(event["type"])
        ids.add(properties.message_id)
    assert seen == set(MESSAGES.root["channels"]["session_updates"]["messages"]) - LATE
    connection.close()


def test_commands_on_the_broker(suite, ada):
    connection = suite.amqp()
    channel = connection.channel()
    queue = own_queue(channel, "session_commands", "state_engine.commands")
    session = whole_life(suite, ada)
    with suite.device(ada.user, "phone").connect(MISSING_ID) as socket:
        socket.recv_until("error", code="not_found")  # ws_fanout asked the engine to load it
    ada.delete(f"/sessions/{session}")
    kinds = set()
    for _, properties, body in consume(
            channel, queue, lambda b: any(c["kind"] == "delete" and c["sessionId"] == session
                                          for c in json.loads(b)["commands"])):
        message = json.loads(body)
        MESSAGES.check_amqp("session_commands", "commands", properties, message)
        assert properties.expiration == "5000"
        kinds |= {c["kind"] for c in message["commands"]}
    assert kinds == set(MESSAGES.target("schemas/command.json")["properties"]["kind"]["enum"])
    connection.close()


def test_replies_to_another_backend(suite, ada):
    """A trusted backend sends commands by itself, as the document says."""
    session = ada.create(DATA)["id"]
    connection = suite.amqp()
    channel = connection.channel()
    deadline = suite.redis_client().time()[0] * 1000 + 5000
    common = {"sessionId": session, "userId": ada.user, "deviceId": "backend", "deadline": deadline,
              "scope": ["read", "write"]}
    commands = [{"id": str(uuid.uuid4()), "kind": kind, **common, **more} for kind, more in (
        ("patch", {"operations": [{"op": "replace", "path": "/data/n", "value": 5}]}),
        ("patch", {"operations": [{"op": "remove", "path": "/data/none"}]}),
        ("patch", {"baseVersion": 1, "operations": [{"op": "remove", "path": "/data/n"}]}),
        ("status", {"status": "paused"}), ("heartbeat", {}), ("load", {}))]
    message = {"commands": commands}
    MESSAGES.check_payload("session_commands", "commands", message)
    consumer_tag = channel.basic_consume("amq.rabbitmq.reply-to", lambda *m: got.append(m[2:]),
                                         auto_ack=True)
    got, answers = [], {}
    channel.basic_publish("session_commands", "state_engine.commands", json.dumps(message).encode(),
                          pika.BasicProperties(content_type="application/json", correlation_id="c1",
                                               reply_to="amq.rabbitmq.reply-to", expiration="5000"))
    while len(answers) < len(commands):
        connection.process_data_events(time_limit=20)
        assert got, "no reply came"
        for properties, body in got:
            MESSAGES.check_amqp("replies", "replies", properties, json.loads(body))
            assert properties.correlation_id == "c1"
            answers.update({r["id"]: r for r in json.loads(body)["replies"]})
        got.clear()
    channel.basic_cancel(consumer_tag)
    codes = [answers[c["id"]].get("error", {}).get("code") for c in commands]
    assert codes == [None, "patch_failed", "version_conflict", None, None, None]
    connection.close()


@pytest.mark.parametrize("channel_name,message,exchange,key,queue", [
    ("dead_commands", "dead_command", "session_commands", "state_engine.commands", "state_engine.dead"),
    ("dead_events", "dead_event", "session_updates", f"session.{MISSING_ID}.update",
     "audit_writer.dead")])
def test_dead_letters(suite, channel_name, message, exchange, key, queue):
    connection = suite.amqp()
    channel = connection.channel()
    marker = uuid.uuid4().hex.encode()
    channel.basic_publish(exchange, key, marker)

    def find():
        """What other tests left there goes."""
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        return properties if method and body == marker else None

    properties = wait_until(find, what="the dead letter")
    MESSAGES.check_amqp(channel_name, message, properties, None)
    connection.close()


def test_stored_events(suite, ada):
    session = whole_life_with_a_loss(suite, ada)
    ada.delete(f"/sessions/{session}")
    expected = set(MESSAGES.root["channels"]["audit"]["messages"]) - LATE

    def all_rows():
        rows = suite.query(
            "select type, kind, message_id, epoch, version, device_id, user_id::text, payload"
            " from session_events where session_id = %s order by epoch, version", session)
        return rows if {r[0] for r in rows} >= expected else None

    rows = wait_until(all_rows, what="all rows")
    snapshots = {version: data for version, data in suite.query(
        "select version, data from session_snapshots where session_id = %s", session)}
    for type, kind, message_id, epoch, version, device, user, payload in rows:
        if type == "snapshot":  # its data is in the other table, once
            assert "data" not in payload
            payload = {**payload, "data": snapshots.pop(version)}
        MESSAGES.check_payload("audit", type, payload)
        described = MESSAGES.message("audit", type)
        assert kind == described["x-kind"]
        assert (payload["type"], payload["epoch"], payload["version"]) == (type, epoch, version)
        assert (payload["deviceId"], payload["userId"]) == (device, user)
        if described["x-versioned"]:
            assert message_id == f"{session}:{epoch}:{version}"
    assert {r[0] for r in rows} == expected and rows[-1][0] == "session_deleted"
    assert not snapshots


def test_stored_state(suite, ada):
    session = whole_life(suite, ada)
    state = json.loads(suite.redis_client().get(f"session:{{{session}}}:state"))
    schema = MESSAGES.root["components"]["schemas"]["sessionState"]
    assert not MESSAGES.errors(schema, state)

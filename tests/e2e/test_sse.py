"""Server-Sent Events: GET /sessions/{id}/events on the port of the WebSocket. Contract section 4, and
WHATWG HTML."""

import json
import re

import pytest
import requests

from harness import MAX_WAIT, metric, token, wait_until
from sse import Stream, check_problem, exchange, refused, streamed, target_of
from ws import MISSING_ID, pass_joined, set_to, subscribed

ORIGIN = "https://app.example"  # the harness allows it


# ---- the stream ----

def test_hello_state_and_events_with_their_ids(phone, laptop):
    session = phone.create({"n": 0})
    with streamed(laptop, session["id"]) as stream:
        assert stream.last_id == "1:1"
        assert stream.sync["session"] == session and stream.sync["reason"] == "initial"
        for n in range(2, 12):
            phone.json_patch(session["id"], set_to("n", n))
            assert stream.expect("state_delta", version=n)["operations"] == set_to("n", n)
            assert stream.last_id == f"1:{n}"
        phone.status(session["id"], "paused")
        stream.expect("status_changed", version=12, to="paused")
        assert stream.last_id == "1:12"


def test_the_answers_head(phone):
    session = phone.create({})
    with streamed(phone, session["id"], X_Request_Id="mine") as stream:
        headers = dict(stream.headers)
        assert headers.pop("content-type") == "text/event-stream; charset=utf-8"
        assert headers == {"cache-control": "no-store", "x-accel-buffering": "no", "x-api-version": "1",
                           "connection": "close", "x-request-id": "mine",
                           "vary": "Authorization, Origin"}


def test_hello_says_what_the_websockets_does(phone):
    session = phone.create({})
    with Stream(phone, session["id"]) as stream, phone.connect() as socket:
        assert stream.expect("hello").keys() == socket.expect("hello").keys()
        assert stream.last_id == ""


def test_a_request_id_that_cannot_be_is_replaced(phone):
    session = phone.create({})
    with streamed(phone, session["id"], X_Request_Id="x" * 65) as stream:
        assert re.fullmatch(r"[0-9a-f-]{36}", stream.headers["x-request-id"])


def test_events_without_a_version_have_no_id(phone, laptop):
    session = phone.create({}, status="pending")
    with streamed(phone, session["id"]) as stream:
        phone.status(session["id"], "active")
        laptop.status(session["id"], "active")
        stream.recv_until("device_joined", deviceId="laptop")
        before = stream.last_id
        phone.json_patch(session["id"], set_to("n", 1))
        stream.recv_until("state_delta")
        assert stream.last_id != before


def test_the_http_library_of_others_reads_it(suite, phone):
    session = phone.create({"text": "gr\u00fc\u00dfe \U0001f600\n\r\n"})
    answer = requests.get(f"http://127.0.0.1:{suite.direct.ws_port}{target_of(session['id'])}", stream=True,
                          headers={"Authorization": f"Bearer {phone.token}"}, timeout=MAX_WAIT)
    assert answer.status_code == 200 and answer.encoding == "utf-8"
    lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
    events = []
    while len(events) < 2:
        line = next(lines)
        if line.startswith("data: "):
            events.append(json.loads(line[6:]))
    assert [e["type"] for e in events] == ["hello", "state_sync"]
    assert events[1]["session"]["data"] == session["data"]
    answer.close()


def test_http_1_0_works_too(phone):
    session = phone.create({})
    with streamed(phone, session["id"], http="HTTP/1.0", Host=None) as stream:
        phone.json_patch(session["id"], set_to("n", 1))
        stream.expect("state_delta", version=2)


def test_head_has_the_head_only(phone):
    session = phone.create({})
    status, headers, body = exchange(phone.suite.direct.ws_port, target_of(session["id"]), method="HEAD",
                                     Authorization=f"Bearer {phone.token}")
    assert (status, body) == (200, b"")
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    status, headers, body = exchange(phone.suite.direct.ws_port, target_of(MISSING_ID), method="HEAD",
                                     Authorization=f"Bearer {phone.token}")
    assert (status, body) == (404, b"")


def test_the_end_of_a_session_ends_the_stream(phone):
    session = phone.create({})
    with streamed(phone, session["id"]) as stream:
        phone.delete(f"/sessions/{session['id']}")
        stream.expect("session_deleted", version=2)
        stream.expect("unsubscribed", sessionId=session["id"], code="not_found")
        assert stream.rest() == []


def test_a_comment_every_fifteen_seconds_of_silence(phone):
    session = phone.create({})
    with streamed(phone, session["id"]) as quiet, streamed(phone, session["id"]) as gone:
        gone.close()
        pass_joined(phone, session["id"], ["phone"], quiet)
        assert 5 < quiet.wait_comment()
        assert quiet.waiting == []
        phone.json_patch(session["id"], set_to("n", 1))
        quiet.expect("state_delta", version=2)


# ---- who may ----

def test_a_stream_needs_no_device(suite, user):
    nobody = suite.device(user, None)
    session = suite.device(user, "phone").create({})
    with streamed(nobody, session["id"]) as stream:
        assert stream.sync["session"]["id"] == session["id"]


@pytest.mark.parametrize("claim, header, query, fault", [
    ("phone", "phone", "phone", None), (None, "tv", None, None), (None, None, "tv", None),
    ("phone", "tv", None, (403, "forbidden", "X-Device-Id")),
    ("phone", None, "tv", (403, "forbidden", "device_id")),
    (None, "tv", "phone", (403, "forbidden", "device_id")),
    (None, "..", None, (400, "invalid_request", "X-Device-Id")),
    (None, "a" * 129, None, (400, "invalid_request", "X-Device-Id")),
    (None, None, "a/b", (400, "invalid_request", "device_id")),
    (None, None, "", (400, "invalid_request", "device_id")),
])
def test_devices_named_in_several_places_agree(suite, user, claim, header, query, fault):
    session = suite.device(user, "phone").create({})
    device = suite.device(user, claim)
    query = "" if query is None else f"?device_id={query}"
    if fault:
        refusal = refused(device, session["id"], *fault[:2], query, X_Device_Id=header)
        assert refusal.problem["field"] == fault[2]
    else:
        streamed(device, session["id"], query, X_Device_Id=header).close()


def test_without_a_good_token_401(suite, user, phone):
    session = phone.create({})
    bad = {"none": None, "basic": "Basic YTpi", "empty": "Bearer ", "garbage": "Bearer abc",
           "another secret": f"Bearer {token(user, 'phone', secret='x' * 40)}"}
    for header in bad.values():
        refusal = refused(phone, session["id"], 401, "unauthenticated", Authorization=header)
        assert refusal.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert refusal.problem["detail"] == refusal.problem["title"]
    refused(phone, session["id"], 401, "token_expired",
            Authorization=f"Bearer {token(user, 'phone', seconds=-100)}")


def test_a_token_in_the_url_is_none(phone):
    session = phone.create({})
    for name in ("token", "access_token", "authorization"):
        refused(phone, session["id"], 401, "unauthenticated", f"?{name}={phone.token[:200]}",
                Authorization=None)


def test_another_scope_403_a_stranger_404(suite, user, phone, stranger):
    session = phone.create({})
    refused(suite.device(user, "phone", scope="sessions:write"), session["id"], 403, "forbidden")
    streamed(suite.device(user, "phone", scope="sessions:read"), session["id"]).close()
    strangers, nobodys = (refused(stranger, i, 404, "not_found").problem for i in (session["id"], MISSING_ID))
    for problem in (strangers, nobodys):
        problem.pop("requestId"), problem.pop("detail")
    assert strangers == nobodys


def test_a_deleted_session_404(phone):
    session = phone.create({})
    phone.delete(f"/sessions/{session['id']}")
    refused(phone, session["id"], 404, "not_found")


# ---- pages ----

def test_pages_of_allowed_origins_may_read_others_may_not(phone):
    session = phone.create({})
    with streamed(phone, session["id"], Origin=ORIGIN) as stream:
        assert stream.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in stream.headers
        assert "X-Request-Id" in stream.headers["access-control-expose-headers"]
    refusal = refused(phone, session["id"], 403, "forbidden", Origin="https://elsewhere.example")
    assert "access-control-allow-origin" not in refusal.headers
    refusal = refused(phone, MISSING_ID, 404, "not_found", Origin=ORIGIN)
    assert refusal.headers["access-control-allow-origin"] == ORIGIN


def test_a_pages_first_question(suite):
    asks = {"Access_Control_Request_Method": "GET",
            "Access_Control_Request_Headers": "authorization,last-event-id,x-device-id,cache-control"}
    status, headers, body = exchange(suite.direct.ws_port, target_of(MISSING_ID), method="OPTIONS",
                                     Origin=ORIGIN, **asks)
    assert (status, body) == (204, b"") and "content-length" not in headers
    assert headers["allow"] == headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert headers["access-control-allow-origin"] == ORIGIN
    allowed = {h.strip().lower() for h in headers["access-control-allow-headers"].split(",")}
    assert allowed >= set(asks["Access_Control_Request_Headers"].split(","))
    assert int(headers["access-control-max-age"]) > 0
    status, headers, _ = exchange(suite.direct.ws_port, target_of(MISSING_ID), method="OPTIONS",
                                  Origin="https://elsewhere.example", **asks)
    assert status == 204 and not [h for h in headers if h.startswith("access-control")]


# ---- requests that are none ----

@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_other_methods_405(phone, method):
    status, headers, body = exchange(phone.suite.direct.ws_port, target_of(MISSING_ID), method=method,
                                     Authorization=f"Bearer {phone.token}")
    check_problem(status, headers, json.loads(body))
    assert status == 405 and headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", [
    "/", "/events", "/sessions", "/sessions/", f"/sessions/{MISSING_ID}", f"/sessions/{MISSING_ID}/",
    f"/sessions/{MISSING_ID}/events/", f"/sessions/{MISSING_ID}/eventsx", f"/sessions/{MISSING_ID}/deltas",
    f"/sessions/{MISSING_ID.upper()}/events", "/sessions/abc/events", "/sessions//events",
    f"/sessions/{MISSING_ID[:-1]}/events", f"/sessions/{MISSING_ID}0/events", "/ws/events"])
def test_other_paths_404(phone, path):
    status, headers, body = exchange(phone.suite.direct.ws_port, path, Authorization=f"Bearer {phone.token}")
    check_problem(status, headers, json.loads(body))
    assert status == 404


POSITIONS = ["1", ":", "1:", ":1", "0:1", "1:-1", "-1:1", "01:1", "1:01", "1:1:1", "a:b", "1:1 x", "1 :1", "+1:1",
             "1:9007199254740992", "99999999999999999999:1", "1:" + "1" * 8000, "\u00e9:1", "1.0:1", "0x1:1"]


@pytest.mark.parametrize("position", POSITIONS, ids=lambda p: repr(p[:24]))
def test_a_malformed_last_event_id_400(phone, position):
    session = phone.create({})
    refusal = refused(phone, session["id"], 400, "invalid_request",
                      Last_Event_ID=position.encode().decode("latin-1"))
    assert refusal.problem["field"] == "Last-Event-ID"


@pytest.mark.parametrize("query, field", [
    ("?since=", "since"), ("?since=-1", "since"), ("?since=x", "since"), ("?since=1&since=1", "since"),
    ("?since=1&epoch=x", "epoch"), ("?epoch=1", "epoch"),
    ("?since=1.5", "since"), ("?device_id=a&device_id=a", "device_id"), ("?since=" + "1" * 300, None),
    ("?a=1&b=2&c=3&d=4&e=5", None)])
def test_a_malformed_query_400(suite, user, phone, query, field):
    session = phone.create({})
    refusal = refused(suite.device(user, None), session["id"], 400, "invalid_request", query)
    assert refusal.problem.get("field") == field


@pytest.mark.parametrize("query, field", [("?since=1&epoch=0", "epoch"), ("?since=9007199254740992", "since")])
def test_a_position_out_of_range_422(phone, query, field):
    session = phone.create({})
    refusal = refused(phone, session["id"], 422, "invalid_value", query)
    assert refusal.problem["field"] == field


@pytest.mark.parametrize("headers, field", [
    ({"Content_Length": "5"}, None), ({"Transfer_Encoding": "chunked"}, None), ({"Upgrade": "h2c"}, "Upgrade"),
    ({"Content_Length": "0", "Transfer_Encoding": "chunked"}, None), ({"Host": None}, "Host"),
    ({"http": "HTTP/2.0"}, "Host"), ({"http": "HTTP/1.2"}, "Host")], ids=str)
def test_a_request_of_another_shape_400(suite, user, headers, field):
    phone = suite.direct.device(user, "phone")  # a proxy would mend or refuse it itself
    session = phone.create({})
    refusal = refused(phone, session["id"], 400, "invalid_request", **headers)
    assert refusal.problem.get("field") == field


def test_a_body_of_no_bytes_is_no_body(phone):
    session = phone.create({})
    streamed(phone, session["id"], Content_Length="0").close()


# ---- the token's end ----

def test_a_token_that_expires_ends_the_stream(suite, user, phone):
    session = phone.create({})
    with streamed(suite.device(user, "phone", seconds=4), session["id"]) as stream:
        told = stream.expect("token_expiring")
        assert told.keys() == {"type", "expiresAt"}
        assert stream.rest() == []


def test_metrics_tell_streams_from_websockets(shared_fanout, user):
    fanout = shared_fanout(HANDOFF_PING_AFTER="20s")
    phone = fanout.device(user, "phone")
    session = phone.create({})

    def n(kind):
        return metric(fanout.services["ws_fanout"], f'handoff_ws_connections{{kind="{kind}"}}')

    streams, websockets = n("stream"), n("websocket")
    with streamed(phone, session["id"]), streamed(phone, session["id"]), subscribed(phone, session["id"]):
        assert (n("stream"), n("websocket")) == (streams + 2, websockets + 1)
    wait_until(lambda: (n("stream"), n("websocket")) == (streams, websockets), what="all of them gone")

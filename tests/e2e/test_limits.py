"""Limits of rate: what a WebSocket connection may send, how many a user may have, and requests of a user
or an address over all instances of session_api. At the bound, past it, and after the time that was told."""

import contextlib
import json
import subprocess
import time

import pytest
import requests

from documents import OpenApi
from harness import BUILD, MAX_WAIT, Closed, Suite, metric, new_user, token, wait_until
from rest import MISSING_ID, exchange, refused, statuses
from ws import Gone, Raw, ask, bystander_of, ending, is_alive
from ws import refused as refused_frame


def retried(work, answer, timeout=MAX_WAIT):
    """Waits the time that a refusal told, then does it again, until it is no refusal."""
    deadline = time.monotonic() + timeout
    while True:
        wait_ms = answer.get("retryAfterMs")
        if not wait_ms:
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(wait_ms / 1000)
        answer = work()


# ---- messages and bytes of a connection ----

@pytest.fixture
def slow_fanout(shared_fanout):
    return shared_fanout(HANDOFF_WS_MESSAGES_PER_SECOND="5", HANDOFF_WS_BYTES_PER_SECOND="16KiB")


@pytest.fixture
def bystander(slow_fanout, user):
    with bystander_of(slow_fanout.device(user, "bystander")) as socket:
        yield socket


def ping(n):
    return json.dumps({"type": "ping", "id": f"p{n}"})


def test_twice_the_rate_may_come_at_once_and_the_rest_later(slow_fanout, user, bystander):
    with slow_fanout.device(user, "phone").connect() as socket:
        socket.expect("hello")
        for n in range(10):
            socket.ws.send(ping(n))
        assert [socket.recv()["id"] for _ in range(10)] == [f"p{n}" for n in range(10)]
        answers = []
        while not answers or answers[-1]["type"] == "pong":  # the pace decides how many come through
            answers.append(ask(socket, "ping"))
        refusal = refused_frame(answers[-1], "rate_limited", temporary=True)
        assert refusal["id"] and 0 < refusal["retryAfterMs"] <= 200
        assert retried(lambda: ask(socket, "ping"), refusal)["type"] == "pong"


@pytest.fixture
def slowest_fanout(shared_fanout):
    """Two messages at once, then one a second: time for a busy machine to send those that are too many."""
    return shared_fanout(HANDOFF_WS_MESSAGES_PER_SECOND="1")


def test_a_refused_message_is_not_acted_on(slowest_fanout, user):
    phone = slowest_fanout.device(user, "phone")
    session = phone.create({"list": []})
    with phone.connect() as socket:
        socket.expect("hello")
        operations = [{"op": "add", "path": "/data/list/-", "value": 1}]
        for n in range(10):
            socket.send(type="patch", id=f"c{n}", sessionId=session["id"], operations=operations)
        answers = [socket.recv() for _ in range(10)]
    n_acked = sum(a["type"] == "ack" for a in answers)
    assert 2 <= n_acked < 10
    assert all(a["code"] == "rate_limited" and a["sessionId"] == session["id"]
               for a in answers if a["type"] == "error")
    assert phone.read(session["id"])["data"]["list"] == [1] * n_acked
    assert metric(slowest_fanout.services["ws_fanout"], "handoff_ws_rate_limited_total") >= 10 - n_acked


def test_bytes_are_limited_too(slow_fanout, user, bystander):
    big = json.dumps({"type": "ping", "id": "big", "pad": "x" * 20_000})
    with slow_fanout.device(user, "phone").connect() as socket:
        socket.expect("hello")
        for _ in range(2):
            socket.ws.send(big)
        socket.expect("pong", id="big")
        refusal = refused_frame(socket.recv(), "rate_limited", temporary=True)
        assert "id" not in refusal and 0 < refusal["retryAfterMs"] <= 2000
        socket.ws.send(ping("small"))
        socket.expect("pong", id="psmall")

        def again():
            socket.ws.send(big)
            return socket.recv()
        answer = retried(again, refusal)
        assert (answer["type"], answer["id"]) == ("pong", "big")


@pytest.mark.parametrize("text", [ping(1), "x", json.dumps({"type": "ping", "pad": "y" * 8000})],
                         ids=["pings", "garbage", "large"])
def test_a_flood_is_closed_with_4029_and_nobody_else_notices(slow_fanout, user, bystander, text):
    with Raw.of(slow_fanout.device(user, "phone")) as raw:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(2000):
                raw.send_text(text)
        n_refused, closed = 0, None
        with contextlib.suppress(Gone):
            try:
                while True:
                    n_refused += raw.recv().get("code") in ("rate_limited", "invalid_json")
            except Closed as caught:
                closed = caught
        assert n_refused <= 30
        if closed:  # else it was cut while it went on sending, so that the close frame was lost
            assert closed.code == 4029
            if text != "x":
                assert json.loads(closed.reason)["retryAfterMs"] >= 1000
    with slow_fanout.device(user, "phone").connect() as socket:
        socket.expect("hello")


def test_the_close_says_when_to_come_back(slowest_fanout, user):
    with bystander_of(slowest_fanout.device(user, "bystander")), \
            slowest_fanout.device(user, "phone").connect() as socket:
        socket.expect("hello")
        for n in range(12):  # 2 are taken, 10 refused
            socket.ws.send(ping(n))
        code, reason = ending(socket)
        assert code == 4029 and json.loads(reason) == {"retryAfterMs": 1000}


def test_one_that_is_refused_now_and_then_stays(slow_fanout, user, bystander):
    with slow_fanout.device(user, "phone").connect() as socket:
        socket.expect("hello")
        for _ in range(12):
            refusal = ask(socket, "ping")
            while refusal["type"] == "pong":
                refusal = ask(socket, "ping")
            time.sleep(1.01)  # the pause that is told of in docs/PROTOCOL.md
        assert ask(socket, "ping")["type"] == "pong"


# ---- connections of a user ----

def test_as_many_connections_of_a_user_as_allowed_and_one_more(shared_fanout, user):
    fanout = shared_fanout(HANDOFF_WS_CONNECTIONS_PER_USER="3")
    devices = [fanout.device(user, f"d{n}") for n in range(4)]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(d.connect()) for d in devices[:3]]
        for socket in sockets:
            socket.expect("hello")
        answer = requests.get(f"http://127.0.0.1:{fanout.ws_port}/ws", headers={
            "Authorization": f"Bearer {devices[3].token}", "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": "handoff.v1"})
        assert answer.status_code == 429 and answer.headers["Retry-After"] == "5"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "rate_limited" and answer.json()["retryAfterMs"] == 5000
        with Raw(fanout.ws_port) as raw:
            raw.send(type="auth", id="a", token=devices[3].token)
            refusal = raw.recv()
            refused_frame(refusal, "rate_limited", temporary=True, id="a", retryAfterMs=5000)
            with pytest.raises(Closed) as closed:
                raw.recv()
            assert closed.value.code == 4029 and json.loads(closed.value.reason) == {"retryAfterMs": 5000}
        with fanout.device(new_user(), "other").connect() as socket:
            socket.expect("hello")
        for socket in sockets:
            assert is_alive(socket) == []
            socket.send(type="auth", id="again", token=devices[sockets.index(socket)].token)
            socket.expect("hello", id="again")
        sockets[0].close()

        def connects():
            with contextlib.suppress(Exception):
                return devices[3].connect()
        last = stack.enter_context(wait_until(connects, what="room for one more"))
        last.expect("hello")


# ---- requests of a user, over all instances ----

def next_api(suite, first, folder):
    """One more session_api with the configuration of the first."""
    folder.mkdir()
    env = {k: v for k, v in first.env.items() if k.startswith(("HANDOFF_API_", "HANDOFF_TRUSTED"))
           and not k.endswith("LISTEN")}
    return Suite(suite.servers, folder, names=["session_api"], **env).start()


@pytest.fixture
def two_apis(suite, own_api, tmp_path):
    """two_apis(HANDOFF_…="…") -> two session_apis that share these limits."""
    others = []

    def start(**env):
        first = own_api(**env)
        others.append(next_api(suite, first, tmp_path / "other"))
        return first, others[-1]

    yield start
    for other in others:
        other.stop()


def limit_of(answer, name):
    """(q, w, r, t) that the headers tell of this limit."""
    def members(header):
        items = dict(item.partition(";")[::2] for item in answer.headers[header].split(", "))
        return dict(member.split("=") for member in items[f'"{name}"'].split(";"))
    policy, state = members("RateLimit-Policy"), members("RateLimit")
    assert policy.keys() == {"q", "w"} and state.keys() == {"r", "t"}
    return tuple(int(n) for n in (policy["q"], policy["w"], state["r"], state["t"]))


def until_refused(work, at_most=60):
    """Answers up to and with the first 429."""
    answers = []
    while not answers or answers[-1].status_code != 429:
        assert len(answers) < at_most, [a.status_code for a in answers]
        answers.append(work(len(answers)))
    return answers


def honoured(work, refusal, timeout=MAX_WAIT):
    """The answer after the time that the refusal told, and those after it, have passed."""
    deadline = time.monotonic() + timeout
    while refusal.status_code == 429:
        assert time.monotonic() < deadline
        time.sleep(refusal.json()["retryAfterMs"] / 1000)
        refusal = work()
    return refusal


def test_two_instances_share_a_users_limit(two_apis, user):
    apis = two_apis(HANDOFF_API_USER_REQUESTS_PER_SECOND="1", HANDOFF_API_USER_REQUESTS_BURST="10")
    devices = [api.device(user, "phone") for api in apis]
    for device in devices:
        device.http.hooks["response"].append(OpenApi().check_answer)
    answers = until_refused(lambda n: devices[n % 2].get("/sessions"))
    other_requests = until_refused(lambda n: devices[0].post("/sessions", json={"name": "n", "type": "t"}))
    refused(other_requests[-1], 429, "rate_limited")
    assert 11 <= len(answers) <= 20, "10 at once, and what the time brought"
    for answer in answers[:-1]:
        assert answer.status_code == 200
        q, w, r, t = limit_of(answer, "user")
        assert (q, w) == (10, 10) and 0 <= r <= 9 and 1 <= t <= 10
    assert limit_of(answers[0], "user")[2] == 9
    refusal = refused(answers[-1], 429, "rate_limited", temporary=True)
    assert 0 < refusal["retryAfterMs"] <= 1000 and answers[-1].headers["Retry-After"] == "1"
    assert limit_of(answers[-1], "user")[2] == 0
    other = apis[1].device(new_user(), "phone")
    assert limit_of(other.get("/sessions"), "user")[2] == 9
    assert honoured(lambda: devices[1].get("/sessions"), answers[-1]).status_code == 200


def test_every_request_of_a_user_counts(own_api, user):
    api = own_api(HANDOFF_API_USER_REQUESTS_PER_SECOND="1", HANDOFF_API_USER_REQUESTS_BURST="30")
    phone = api.device(user, "phone")
    requests_ = [lambda: phone.get(f"/sessions/{MISSING_ID}"), lambda: phone.post("/sessions", data=b"{"),
                 lambda: phone.request("HEAD", "/sessions"),
                 lambda: phone.get("/sessions", headers={"X-Device-Id": "another"})]
    started = time.monotonic()
    left = [limit_of(work(), "user")[2] for work in requests_]
    brought = int(time.monotonic() - started) + 1
    assert 26 <= left[-1] <= 26 + brought
    assert "RateLimit" not in phone.get("/time").headers, "no token, no user"
    assert "RateLimit" not in phone.get("/nothing").headers


def test_refused_requests_do_nothing(own_api, suite, user):
    api = own_api(HANDOFF_API_USER_REQUESTS_PER_SECOND="1", HANDOFF_API_USER_REQUESTS_BURST="3")
    phone, unlimited = api.device(user, "phone"), suite.device(user, "phone")
    session = unlimited.create({"list": []})
    operations = [{"op": "add", "path": "/data/list/-", "value": 1}]
    answers = until_refused(lambda n: phone.patch(session["id"], operations))
    assert unlimited.read(session["id"])["data"]["list"] == [1] * (len(answers) - 1)
    answer = honoured(lambda: phone.patch(session["id"], operations), answers[-1])
    assert answer.status_code == 200


# ---- requests of an address ----

ADDRESS = {"HANDOFF_API_ADDRESS_REQUESTS_PER_SECOND": "1", "HANDOFF_API_ADDRESS_REQUESTS_BURST": "8",
           "HANDOFF_TRUSTED_PROXIES": "127.0.0.0/8"}
_addresses = iter(f"198.51.100.{n}" for n in range(1, 255))


@pytest.fixture
def address():
    """One that no other test has used."""
    return next(_addresses)


def get(api, path, forwarded, **headers):
    return requests.get(api.api_url + path, headers={"X-Forwarded-For": forwarded, **headers}, timeout=30)


def test_what_has_no_valid_token_counts_for_the_address(two_apis, address):
    apis = two_apis(**ADDRESS)
    kinds = [lambda api: get(api, "/sessions", address), lambda api: get(api, "/nothing", address),
             lambda api: get(api, "/sessions", address, Authorization="Bearer a.b.c"),
             lambda api: get(api, "/time", address)]
    answers = until_refused(lambda n: kinds[n % 4](apis[n // 2 % 2]))
    assert 9 <= len(answers) <= 18
    assert {a.status_code for a in answers[:4]} == {401, 404, 200}
    for answer in answers:
        assert limit_of(answer, "address")[:2] == (8, 8)
    refused(answers[-1], 429, "rate_limited")
    assert get(apis[0], "/time", next(_addresses)).status_code == 200
    assert honoured(lambda: get(apis[1], "/time", address), answers[-1]).status_code == 200


def test_a_client_cannot_choose_its_address(own_api, address):
    api = own_api(**ADDRESS)
    answers = until_refused(lambda n: get(api, "/time", f"203.0.113.{n}, {address}, 127.0.0.9"))
    assert len(answers) >= 9
    assert get(api, "/time", next(_addresses)).status_code == 200


def test_without_trusted_proxies_the_peer_counts(own_api, suite):
    api = own_api(**{**ADDRESS, "HANDOFF_TRUSTED_PROXIES": "10.0.0.0/8"})
    suite.redis_client().delete("rate:{address:127.0.0.1}")
    answers = until_refused(lambda n: get(api, "/time", f"198.18.0.{n}"))
    assert len(answers) >= 9
    assert suite.redis_client().exists("rate:{address:127.0.0.1}")


def test_neighbours_in_an_ipv6_network_count_as_one(own_api):
    api = own_api(**ADDRESS)
    answers = until_refused(lambda n: get(api, "/time", f"2001:db8:0:7::{n:x}"))
    assert len(answers) >= 9
    assert get(api, "/time", "2001:db8:0:8::1").status_code == 200


@pytest.mark.parametrize("head, status", [
    (f"Content-Length: {9 << 20}", 413), (f"Content-Length: {2 << 20}\r\nExpect: 100-continue", 413),
    ("Content-Length: 5\r\nContent-Length: 6", 400)])
def test_what_is_refused_before_its_body_is_counted_and_answered(own_api, address, head, status):
    """The limit is asked for while the body still comes."""
    api = own_api(**ADDRESS)
    begun = (f"POST /sessions HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n"
             f"Content-Type: application/json\r\n{head}\r\n\r\n").encode() + b" " * 200_000
    received = exchange(api, begun)
    assert statuses(received) == [status], received[:500]
    assert b"RateLimit: " in received
    assert get(api, "/time", address).status_code == 200


def test_probes_are_not_counted(own_api, address):
    api = own_api(**ADDRESS)
    until_refused(lambda n: get(api, "/time", address))
    for path in ("/health", "/ready"):
        answer = get(api, path, address)
        assert answer.status_code == 200 and "RateLimit" not in answer.headers


def test_both_limits_are_told_together(own_api, user, address):
    api = own_api(**ADDRESS, HANDOFF_API_USER_REQUESTS_PER_SECOND="2")
    answer = get(api, "/sessions", address, Authorization=f"Bearer {token(user, 'phone')}",
                 Origin="https://app.example")
    assert answer.headers["RateLimit-Policy"] == '"address";q=8;w=8, "user";q=4;w=2'
    assert limit_of(answer, "address")[2:] == (7, 1) and limit_of(answer, "user")[2:] == (3, 1)
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(exposed)


def test_without_limits_nothing_is_told(phone):
    headers = phone.get("/sessions").headers
    assert "RateLimit" not in headers and "RateLimit-Policy" not in headers


def test_what_was_refused_is_counted(own_api, user, address):
    api = own_api(**ADDRESS, HANDOFF_API_USER_REQUESTS_PER_SECOND="1", HANDOFF_API_USER_REQUESTS_BURST="2")
    until_refused(lambda n: api.device(user, "phone").get("/sessions",
                                                          headers={"X-Forwarded-For": next(_addresses)}))
    until_refused(lambda n: get(api, "/time", address))
    service = api.services["session_api"]
    assert metric(service, 'handoff_http_rate_limited_total{by="user"}') == 1
    assert metric(service, 'handoff_http_rate_limited_total{by="address"}') == 1
    assert metric(service, "handoff_http_limits_skipped_total") == 0


def test_a_bucket_that_cannot_be_used_limits_nobody(own_api, suite, user):
    """As while Redis is away: to serve is worth more than to limit."""
    api = own_api(HANDOFF_API_USER_REQUESTS_PER_SECOND="1", HANDOFF_API_USER_REQUESTS_BURST="1")
    phone = api.device(user, "phone")
    suite.redis_client().lpush(f"rate:{{user:{user}}}", "not a bucket")
    for _ in range(5):
        answer = phone.get("/sessions")
        assert answer.status_code == 200 and "RateLimit" not in answer.headers
    assert metric(api.services["session_api"], "handoff_http_limits_skipped_total") == 5
    suite.redis_client().delete(f"rate:{{user:{user}}}")
    assert until_refused(lambda n: phone.get("/sessions"))[0].headers["RateLimit"]


@pytest.mark.parametrize("name, value", [
    ("HANDOFF_TRUSTED_PROXIES", "10.0.0.1/8"), ("HANDOFF_TRUSTED_PROXIES", "proxy.example"),
    ("HANDOFF_TRUSTED_PROXIES", "10.0.0.0/8,"), ("HANDOFF_API_USER_REQUESTS_PER_SECOND", "-1"),
    ("HANDOFF_API_ADDRESS_REQUESTS_BURST", "1.5"), ("HANDOFF_WS_MESSAGES_PER_SECOND", "many")])
def test_a_bad_value_stops_the_start(suite, name, value):
    service = "ws_fanout" if "_WS_" in name else "session_api"
    done = subprocess.run([BUILD / "bin" / service, "--check-config"], env={**suite.env, name: value},
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and name in done.stderr, done.stderr

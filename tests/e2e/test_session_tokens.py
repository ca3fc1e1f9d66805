"""Session tokens: what they are good for (one session, on every route, socket and stream), what they are
not, how they are renewed, rotated and end. PyJWT and cryptography judge them beside Handoff."""

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import sse
from cold import cool
from documents import METHODS, OpenApi
from harness import (BUILD, MAX_WAIT, SECRET, SESSION_KEY, Closed, Socket, free_ports, make_service, new_user,
                     session_token, thumbprint, token, wait_until, write_keys)
from rest import MISSING_ID, refused
from ws import answer_to, ask, ending, is_alive, set_to, subscribed
from ws import refused as refused_frame

DAY = 86400
OPERATIONS = [(path, method) for path, item in OpenApi().rest.items() for method in METHODS if method in item]
OF_SESSIONS = [(path, method) for path, method in OPERATIONS if "{id}" in path and method != "options"]
CLOCK = {"mode": "per_participant", "totalTimeMs": 3600000, "onTimeout": {"action": "notify"},
         "participants": [{"participantId": "white"}, {"participantId": "black"}]}
BODIES = {"/sessions/{id}/snapshots": {}, "/sessions/{id}/restore": {"version": 1},
          "/sessions/{id}/broadcast": {"message": 1}, "/sessions/{id}/switch": {"currentParticipantId": "white"},
          "/sessions/{id}/clock": CLOCK, "/sessions/{id}/clock/{participantId}": {"adjustMs": 1, "reason": "r"},
          "/sessions/{id}/participants/{userId}": {"role": "viewer"}}


def tv_for(device, session_id, name="tv", **claims):
    """Another device of that device's user, with a session token."""
    made = session_token(device.user, session_id, name, **claims)
    return device.suite.bearer(made, device.user, name)


def call(device, path, method, session_id):
    """That operation on that session."""
    url = path.replace("{id}", session_id).replace("{version}", "1").replace("{deviceId}", "d")
    url = url.replace("{userId}", MISSING_ID).replace("{participantId}", "white").replace("{code}", "A" * 22)
    if method == "patch":
        return device.patch(session_id, set_to("x", 1))
    if path == "/sessions/{id}" and method == "post":
        return device.status(session_id, "paused")
    body = {"json": BODIES[path]} if path in BODIES and method in ("post", "put") else {}
    return device.request(method.upper(), url, **body)


def told(answer):
    """What an answer says, without what is the request's own or this session's."""
    body = answer.json() if answer.content else {}
    return answer.status_code, body.get("code"), {k for k in answer.headers if k != "Date"}


@pytest.fixture(scope="module")
def world(suite):
    """A user's phone with two sessions: the token's, and another, on which every route finds something."""
    phone = suite.device(new_user(), "phone")
    return phone, phone.create({"a": 1})["id"], phone.create({"a": 1}, clock=CLOCK)["id"]


# ---- one session, on every route ----

@pytest.mark.parametrize("path,method", OF_SESSIONS)
def test_a_route_of_the_tokens_session_and_of_another(world, path, method):
    phone, _, other = world
    timed = "/clock" in path or path.endswith("/switch")
    pending = {"status": "pending"} if path.endswith("/clock") else {"clock": CLOCK} if timed else {}
    own = phone.create({"a": 1}, **pending)["id"]
    tv = tv_for(phone, own)
    may = (403,) if "/handoff-codes" in path else (200, 201, 202, 204)
    assert call(tv, path, method, own).status_code in may, "its own"
    own = phone.create({"a": 1}, **pending)["id"]
    tv, before = tv_for(phone, own), phone.read(other)
    refusal = call(tv, path, method, other)
    assert refusal.status_code == 404, "its user's other session"
    assert told(refusal) == told(call(phone, path, method, MISSING_ID)), "as one that is not there"
    assert told(refusal) == told(call(tv, path, method, MISSING_ID))
    assert phone.read(other) == before


def test_what_is_of_no_session_is_refused(world):
    phone, own, _ = world
    tv = tv_for(phone, own)
    for answer in (tv.get("/sessions"), tv.request("HEAD", "/sessions"),
                   tv.post("/handoff", json={"code": "A" * 22}), tv.post("/sessions", json={"name": "n", "type": "t"})):
        assert answer.status_code == 403
        assert answer.request.method == "HEAD" or answer.json()["code"] == "forbidden"
    for path in ("/time", "/health", "/ready", "/.well-known/jwks.json"):  # which need no token at all
        assert tv.get(path).status_code == 200


def test_a_providers_token_is_confined_by_the_same_claim(suite, world):
    phone, own, other = world
    made = token(phone.user, "tv", session_id=own)
    tv = suite.bearer(made, phone.user, "tv")
    assert tv.read(own)["role"] == "owner"
    refused(tv.get(f"/sessions/{other}"), 404, "not_found")
    refused(tv.get("/sessions"), 403, "forbidden")
    refused(tv.post(f"/sessions/{own}/token"), 403, "forbidden")  # its issuer says when it ends
    with tv.connect() as socket:
        socket.expect("hello")
        refused_frame(ask(socket, "subscribe", sessionId=other), "not_found")
    admin = suite.bearer(token(new_user(), "desk", scope="sessions:admin", session_id=own))
    assert admin.read(own)["role"] == "viewer"
    refused(admin.get(f"/sessions/{other}"), 404, "not_found")


def test_a_claim_that_is_no_session_is_no_token(suite, user):
    for claim in ("", "x", 7, None, [], {}, MISSING_ID + "0"):
        made = jwt.encode({"sub": user, "exp": int(time.time()) + 60, "session_id": claim}, SECRET, algorithm="HS256")
        refused(suite.bearer(made, user).get("/sessions"), 401, "unauthenticated")


# ---- forged ones ----

def hostile(user, session_id):
    """Tokens that are none, each by one thing."""
    def own(**more):
        return session_token(user, session_id, **more)
    stranger = ec.generate_private_key(ec.SECP256R1())
    kid = thumbprint(SESSION_KEY.public_key())
    claims = jwt.decode(own(), options={"verify_signature": False})
    yield "a stranger's key under our kid", own(key=stranger, kid=kid)
    yield "a stranger's key under its own kid", own(key=stranger)
    yield "our key under no kid of ours", own(kid="handoff")
    yield "a provider's claims", own(session_id=None, device_id=None, iss=None)
    yield "another issuer", own(iss="https://id.example")
    yield "no issuer", own(iss=None)
    yield "no session", own(session_id=None)
    yield "no session's id", own(session_id="*")
    yield "no device", own(device_id=None)
    yield "no device's id", own(device_id="a b")
    yield "a name for a user", own(sub="alice")
    yield "a scope", own(scope="sessions:admin")
    yield "no end", own(exp=None)
    yield "the provider's secret under our kid", jwt.encode(claims, SECRET, algorithm="HS256", headers={"kid": kid})
    yield "no algorithm under our kid", jwt.encode(claims, None, algorithm="none", headers={"kid": kid})
    yield "another curve", jwt.encode(claims, ec.generate_private_key(ec.SECP384R1()), algorithm="ES384",
                                      headers={"kid": kid})
    head, body, signature = own().split(".")
    yield "another's payload", ".".join((head, own(session_id=MISSING_ID).split(".")[1], signature))
    yield "no signature", f"{head}.{body}."
    yield "half a signature", f"{head}.{body}.{signature[:43]}"


def test_forged_tokens_are_none_anywhere(world):
    phone, own, _ = world
    suite = phone.suite
    for why, made in hostile(phone.user, own):
        forger = suite.bearer(made, phone.user)
        answer = forger.get(f"/sessions/{own}")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), why
        sse.refused(forger, own, 401, "unauthenticated")
    refused(tv_for(phone, own, seconds=-60).get(f"/sessions/{own}"), 401, "token_expired")


def test_its_device_is_the_claims(world):
    phone, own, _ = world
    refused(tv_for(phone, own).get(f"/sessions/{own}", headers={"X-Device-Id": "phone"}), 403, "forbidden")
    assert tv_for(phone, own).patch(own, set_to("by", 1)).status_code == 200
    assert phone.read(own)["modifiedBy"] == "tv"


# ---- WebSocket ----

COMMANDS = [("patch", {"operations": set_to("y", 1)}), ("status", {"status": "paused"}),
            ("switch", {"currentParticipantId": "white"}), ("heartbeat", {}), ("broadcast", {"message": 1})]


def test_a_socket_has_the_tokens_session_and_no_other(phone):
    own, other = phone.create({"n": 0})["id"], phone.create({"n": 0}, clock=CLOCK)["id"]
    tv = tv_for(phone, own)
    with subscribed(phone, other) as watcher, subscribed(tv, own) as socket:
        for id in (other, MISSING_ID):
            refused_frame(ask(socket, "subscribe", sessionId=id), "not_found", sessionId=id)
            refused_frame(ask(socket, "subscribe", sessionId=id, since=0), "not_found")
            for type, members in COMMANDS:
                refused_frame(ask(socket, type, sessionId=id, **members), "not_found", sessionId=id)
        assert ask(socket, "patch", sessionId=own, operations=set_to("n", 1))["type"] == "ack"
        phone.patch(own, set_to("n", 2))
        socket.recv_until("state_delta", version=3, sessionId=own)
        phone.patch(other, set_to("n", 1))
        watcher.expect("state_delta", version=2)
        assert is_alive(socket) == [], "nothing of the other came"
        assert is_alive(watcher) == []
    with tv.connect(other) as socket:
        socket.expect("hello")
        refused_frame(socket.recv(), "not_found", sessionId=other)
        assert is_alive(socket) == []


def refreshed(socket, made):
    """What comes of a token in a message: "hello", or the close code."""
    try:
        return answer_to(socket, {"type": "auth", "id": "r", "token": made})["type"]
    except Closed as closed:
        return closed.code


def test_a_socket_is_refreshed_by_a_token_for_the_same_session(world):
    phone, own, other = world
    tv = tv_for(phone, own)
    with tv.connect(own) as socket:
        socket.expect("hello")
        socket.expect("state_sync")
        renewed = tv.post(f"/sessions/{own}/token").json()["token"]
        assert refreshed(socket, renewed) == "hello"
        assert is_alive(socket) == []
    for made in (session_token(phone.user, other), token(phone.user, "tv"), session_token(phone.user, own, "radio"),
                 session_token(new_user(), own)):
        with tv.connect(own) as socket:
            socket.expect("hello")
            socket.expect("state_sync")
            assert refreshed(socket, made) == "error"
            assert ending(socket)[0] == 4001
    with phone.connect() as socket:  # and a whole token's connection is not narrowed, but ended
        socket.expect("hello")
        assert refreshed(socket, session_token(phone.user, own, "phone")) == "error"
        assert ending(socket)[0] == 4001


def test_a_token_in_the_first_message(suite, world):
    phone, own, other = world
    for session, type in ((own, "state_sync"), (other, "error")):
        with Socket(f"{suite.ws_url}?session={session}") as socket:
            socket.send(type="auth", token=session_token(phone.user, own))
            socket.expect("hello")
            socket.expect(type, sessionId=session)


# ---- Server-Sent Events ----

def test_a_stream_of_the_tokens_session_and_of_no_other(phone):
    own, other = phone.create({"n": 0})["id"], phone.create({"n": 0})["id"]
    tv = tv_for(phone, own)
    with sse.streamed(tv, own) as stream:
        phone.patch(own, set_to("n", 1))
        stream.expect("state_delta", version=2)
    there = sse.refused(tv, other, 404, "not_found")
    not_there = sse.refused(phone, MISSING_ID, 404, "not_found")
    assert {**there.problem, "requestId": 0} == {**not_there.problem, "requestId": 0}


# ---- who has no business there any more ----

def test_who_lost_the_session_lost_it_with_the_token_too(suite, phone):
    own = phone.create({"n": 0})["id"]
    tv = tv_for(phone, own)
    guest_user = new_user()
    guest = suite.bearer(session_token(guest_user, own, "guest"), guest_user, "guest")
    for path in (f"/sessions/{own}", f"/sessions/{own}/participants"):
        refused(guest.get(path), 404, "not_found")
    refused(guest.post(f"/sessions/{own}/token"), 404, "not_found")
    assert phone.request("PUT", f"/sessions/{own}/participants/{guest_user}", json={"role": "viewer"}).status_code == 204
    assert guest.read(own)["role"] == "viewer"
    refused(guest.patch(own, set_to("n", 1)), 403, "forbidden")
    assert guest.post(f"/sessions/{own}/token").status_code == 200, "to renew is not to write"
    phone.delete(f"/sessions/{own}/participants/{guest_user}")
    refused(guest.get(f"/sessions/{own}"), 404, "not_found")
    refused(guest.post(f"/sessions/{own}/token"), 404, "not_found")
    sse.refused(guest, own, 404, "not_found")
    phone.delete(f"/sessions/{own}/devices/tv")
    refused(tv.get(f"/sessions/{own}"), 403, "device_removed")
    refused(tv.post(f"/sessions/{own}/token"), 403, "device_removed")
    radio = tv_for(phone, own, "radio")
    assert radio.read(own)
    phone.delete(f"/sessions/{own}")
    for answer in (radio.get(f"/sessions/{own}"), radio.post(f"/sessions/{own}/token")):
        refused(answer, 404, "not_found")


# ---- renewal ----

def test_a_renewed_token_is_the_same_for_a_day_more(suite, phone):
    own = phone.create({"n": 0})["id"]
    old = session_token(phone.user, own, seconds=60)
    before = int(time.time())
    answer = suite.bearer(old).post(f"/sessions/{own}/token")
    assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"
    made = answer.json()["token"]
    claims = jwt.decode(made, SESSION_KEY.public_key(), algorithms=["ES256"], issuer="handoff")
    was = jwt.decode(old, SESSION_KEY.public_key(), algorithms=["ES256"])
    assert claims.keys() == was.keys()
    for name in ("iss", "sub", "session_id", "device_id"):
        assert claims[name] == was[name], name
    assert claims["jti"] != was["jti"]
    assert before <= claims["iat"] <= time.time() and claims["exp"] == claims["iat"] + DAY
    assert answer.json()["expiresAt"] == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(claims["exp"]))
    assert jwt.get_unverified_header(made) == {"alg": "ES256", "typ": "JWT", "kid": thumbprint(SESSION_KEY.public_key())}
    for one in (old, made):  # the old one is good until its end
        assert suite.bearer(one).read(own)["id"] == own
    again = suite.bearer(made).post(f"/sessions/{own}/token").json()["token"]
    assert again not in (made, old)


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_of_an_ended_session_none_is_renewed_but_it_is_read(phone, status):
    own = phone.create({"n": 0})["id"]
    phone.status(own, status)
    tv = tv_for(phone, own)
    assert tv.read(own)["status"] == status
    refused(tv.post(f"/sessions/{own}/token"), 409, "session_ended")


def test_a_cold_sessions_token_is_renewed(suite, phone):
    own = phone.create({"n": 0})["id"]
    cool(suite, own)
    assert tv_for(phone, own).post(f"/sessions/{own}/token").status_code == 200


def test_only_a_session_token_is_renewed(phone, stranger):
    own = phone.create({"n": 0})["id"]
    refused(phone.post(f"/sessions/{own}/token"), 403, "forbidden")
    refused(stranger.post(f"/sessions/{own}/token"), 404, "not_found")


# ---- keys ----

def test_the_keys_verify_by_an_independent_client(suite, phone):
    own = phone.create({"n": 0})["id"]
    made = tv_for(phone, own).post(f"/sessions/{own}/token").json()["token"]
    url = suite.api_url + "/.well-known/jwks.json"
    client = jwt.PyJWKClient(url)
    claims = jwt.decode(made, client.get_signing_key_from_jwt(made).key, algorithms=["ES256"], issuer="handoff")
    assert (claims["sub"], claims["session_id"], claims["device_id"]) == (phone.user, own, "tv")
    answer = phone.get("/.well-known/jwks.json", headers={"Authorization": ""})
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    key, = answer.json()["keys"]
    assert (key["alg"], key["use"], key["kid"]) == ("ES256", "sig", thumbprint(SESSION_KEY.public_key()))
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}, "nothing private"
    public = jwt.algorithms.ECAlgorithm.from_jwk(json.dumps(key)).public_numbers()
    assert public == SESSION_KEY.public_key().public_numbers()


def test_without_a_key_there_are_none(own_api, phone):
    api = own_api(HANDOFF_SESSION_TOKEN_KEY="")
    own = phone.create({"n": 0})["id"]
    nobody = api.bearer(session_token(phone.user, own))
    refused(nobody.get(f"/sessions/{own}"), 401, "unauthenticated")
    refused(nobody.get("/.well-known/jwks.json"), 404, "not_found")
    refused(api.device(phone.user, "phone").post(f"/sessions/{own}/token"), 403, "forbidden")


def test_keys_are_rotated_without_a_refusal(own_api, phone, tmp_path):
    own = phone.create({"n": 0})["id"]
    new = ec.generate_private_key(ec.SECP256R1())
    both = write_keys(tmp_path / "both.pem", SESSION_KEY.public_key(), new.public_key())
    one = write_keys(tmp_path / "one.pem", new.public_key())
    private = write_keys(tmp_path / "new.pem", new)
    old_token, new_token = session_token(phone.user, own), session_token(phone.user, own, key=new)
    between = own_api(HANDOFF_SESSION_TOKEN_KEY=private, HANDOFF_SESSION_TOKEN_PUBLIC_KEYS=both)
    for made in (old_token, new_token):
        renewed = between.bearer(made).post(f"/sessions/{own}/token").json()["token"]
        assert jwt.get_unverified_header(renewed)["kid"] == thumbprint(new.public_key())
        assert jwt.decode(renewed, new.public_key(), algorithms=["ES256"])["device_id"] == "tv"
    kids = [key["kid"] for key in between.bearer(new_token).get("/.well-known/jwks.json").json()["keys"]]
    assert kids == [thumbprint(SESSION_KEY.public_key()), thumbprint(new.public_key())]
    after = own_api(HANDOFF_SESSION_TOKEN_KEY=private, HANDOFF_SESSION_TOKEN_PUBLIC_KEYS=one)
    refused(after.bearer(old_token).get(f"/sessions/{own}"), 401, "unauthenticated")
    assert after.bearer(new_token).read(own)["id"] == own
    # Who wants no more of them lets those that are there run out.
    ended = own_api(HANDOFF_SESSION_TOKEN_KEY="", HANDOFF_SESSION_TOKEN_PUBLIC_KEYS=one)
    assert ended.bearer(new_token).read(own)["id"] == own
    refused(ended.bearer(new_token).post(f"/sessions/{own}/token"), 403, "forbidden")


def test_a_fanout_with_public_keys_only(own_fanout, phone, tmp_path):
    public = write_keys(tmp_path / "public.pem", SESSION_KEY.public_key())
    fanout = own_fanout(HANDOFF_SESSION_TOKEN_KEY="", HANDOFF_SESSION_TOKEN_PUBLIC_KEYS=public)
    own = phone.create({"n": 0})["id"]
    with subscribed(fanout.bearer(session_token(phone.user, own), phone.user, "tv"), own) as socket:
        assert socket.sync["session"]["id"] == own
    sse.refused(fanout.bearer(session_token(phone.user, own, key=ec.generate_private_key(ec.SECP256R1()))),
                own, 401, "unauthenticated")


def test_a_private_key_that_is_not_private_is_told_of(own_api, tmp_path):
    path = tmp_path / "open.pem"
    write_keys(path, SESSION_KEY)
    path.chmod(0o644)
    api = own_api(HANDOFF_SESSION_TOKEN_KEY=str(path))
    record, = [r for r in api.log_records("session_api") if r["event"] == "session_token_key_exposed"]
    assert record["level"] == "warn" and "HANDOFF_SESSION_TOKEN_KEY" in record["hint"]


@pytest.mark.parametrize("name", ["session_api", "ws_fanout"])
def test_a_key_that_is_none_ends_the_start(suite, tmp_path, name):
    path = write_keys(tmp_path / "bad.pem", ec.generate_private_key(ec.SECP384R1()))
    env = {**suite.env, "HANDOFF_SESSION_TOKEN_KEY": path}
    admin, port = free_ports(2)
    service = make_service(name, BUILD / "bin", env, admin_port=admin, api_port=port, ws_port=port,
                           log=tmp_path / "log").start()
    assert service.process.wait(MAX_WAIT) not in (0, 99)
    assert "only EC on P-256 is" in (tmp_path / "log").read_text()


def test_no_token_stands_in_a_log(suite, world):
    phone, own, other = world
    tv = tv_for(phone, own)
    renewed = tv.post(f"/sessions/{own}/token").json()["token"]
    refused(tv.get(f"/sessions/{other}"), 404, "not_found")
    forged = renewed[:-4] + "AAAA"
    refused(suite.bearer(forged).get(f"/sessions/{own}"), 401, "unauthenticated")
    wait_until(lambda: "unauthenticated" in json.dumps(suite.log_records("session_api")), what="the refusal's record")
    for name in ("session_api", "ws_fanout", "state_engine"):
        for service in suite.instances(name):
            text = service.log.read_text(errors="replace")
            for made in (tv.token, renewed, forged):
                assert made not in text and made.rpartition(".")[2] not in text

"""Tokens of an identity provider, whose keys come from HANDOFF_JWKS_URL: fetched once for whoever asks, kept
while it is away, gone when it withdraws them; and a provider that answers wrongly."""

import json
import subprocess
import threading

import pytest
import requests
import websocket

from harness import BUILD, MAX_WAIT, SECRET, Closed, Socket, metric, new_user, token, wait_until
from provider import Authority, Provider, http, jwk_of, new_key, sign
from rest import refused

FAILED, FETCHED = 'handoff_jwks_fetches_total{result="failed"}', 'handoff_jwks_fetches_total{result="ok"}'
EC, RSA, STRANGER = new_key(), new_key("RSA"), new_key()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "ca")


@pytest.fixture
def new_provider(authority):
    providers = []

    def make(**keys):
        providers.append(Provider(authority, keys or {"ec": EC, "rsa": RSA}))
        return providers[-1]

    yield make
    for provider in providers:
        provider.end()


@pytest.fixture
def provider(new_provider):
    return new_provider()


@pytest.fixture
def api(provider, own_api):
    return own_api(**provider.settings)


@pytest.fixture
def fanout(provider, own_fanout):
    return own_fanout(**provider.settings)


def service_of(suite):
    return next(iter(suite.services.values()))


def count(suite, name):
    return metric(service_of(suite), name)


def ask(api, bearer):
    """GET /sessions with that token."""
    device = api.device(new_user(), "phone")
    return device.get("/sessions", headers={"Authorization": f"Bearer {bearer}"})


def status(api, bearer):
    return ask(api, bearer).status_code


def wait_for(api, bearer, expected):
    """The token's status once the keys are no longer awaited."""
    wait_until(lambda: status(api, bearer) != 503, what="an answer about the key")
    assert status(api, bearer) == expected


def ready(suite):
    answer = requests.get(f"http://127.0.0.1:{service_of(suite).admin_port}/ready", timeout=MAX_WAIT)
    return answer.status_code, answer.json()


def why_away(suite):
    return ready(suite)[1]["dependencies"]["identity_provider"].get("detail", "")


def connect(fanout, bearer):
    return Socket(fanout.ws_url + "?device_id=phone", header=[f"Authorization: Bearer {bearer}"])


def handshake_status(fanout, bearer):
    try:
        connect(fanout, bearer).close()
    except websocket.WebSocketBadStatusException as refusal:
        if refusal.status_code == 503:
            assert int(refusal.resp_headers["retry-after"]) >= 1
        return refusal.status_code
    return 101


def stream_status(fanout, bearer, session_id):
    with requests.get(f"http://127.0.0.1:{fanout.ws_port}/sessions/{session_id}/events", stream=True,
                      headers={"Authorization": f"Bearer {bearer}"}, timeout=MAX_WAIT) as answer:
        return answer.status_code


# ---- good tokens ----

def test_a_session_with_tokens_of_the_provider(api, fanout, provider):
    user = new_user()
    phone, laptop = api.device(user, "phone"), sign("rsa", RSA, user, "laptop")
    phone.http.headers["Authorization"] = f"Bearer {sign('ec', EC, user)}"
    session = phone.create({"progress": 0})
    with Socket(f"{fanout.ws_url}?session={session['id']}", header=[f"Authorization: Bearer {laptop}"]) as s:
        assert s.recv_until("state_sync")["session"]["id"] == session["id"]
        assert phone.merge_patch(session["id"], {"data": {"progress": 75}}).status_code == 200
        s.recv_until("state_delta", version=2)
    assert stream_status(fanout, laptop, session["id"]) == 200
    assert provider.n_requests == 2, "one fetch each"
    for suite in (api, fanout):
        assert ready(suite)[1]["dependencies"]["identity_provider"] == {"up": True}
        assert (count(suite, "handoff_jwks_keys"), count(suite, FETCHED)) == (2, 1)
        assert count(suite, "handoff_jwks_fetched_timestamp_seconds") > 1.6e9


def test_what_the_provider_signed_for_others_is_refused(api):
    user = new_user()
    assert status(api, sign("ec", EC, user)) == 200
    for bad in (sign("ec", EC, user, iss="https://another.example/"), sign("ec", EC, user, aud="another"),
                sign("ec", EC, user, aud=None), sign("ec", STRANGER, user), sign("rsa", EC, user),
                sign("ec", EC, user, exp=1), token(user, "phone", secret=SECRET + "x")):
        assert status(api, bad) == 401
    assert refused(ask(api, sign(None, EC, user)), 401, "unauthenticated"), "two keys: which one?"


# ---- a kid that is not there ----

def test_an_unknown_kid_is_503_while_it_is_asked_for_and_then_401(api, fanout, provider):
    user = new_user()
    new, unknown = sign("new", STRANGER, user), sign("unknown", STRANGER, user)
    provider.keys["new"] = STRANGER
    release = provider.hold()
    answer = ask(api, new)
    refused(answer, 503, "unavailable", temporary=True)
    assert answer.headers["Retry-After"] == "1"
    assert handshake_status(fanout, new) == 503
    with Socket(f"{fanout.ws_url}?device_id=phone") as s:
        s.send(type="auth", id="1", token=new)
        s.expect("error", id="1", code="unavailable", temporary=True)
        with pytest.raises(Closed) as closed:
            s.recv()
        assert closed.value.code == 1001 and json.loads(closed.value.reason)["retryAfterMs"] >= 1000
    assert (status(api, unknown), status(api, sign("ec", EC, user))) == (503, 200), "who is known goes on"
    release.set()
    wait_for(api, new, 200)
    assert status(api, unknown) == 401
    wait_until(lambda: handshake_status(fanout, new) != 503)
    assert (handshake_status(fanout, new), handshake_status(fanout, unknown)) == (101, 401)
    assert provider.n_requests == 4, "at the start, and for the kid; each service"


def test_a_flood_of_unknown_kids_makes_one_fetch(api, fanout, provider):
    user = new_user()
    release = provider.hold()
    for i in range(20):
        assert status(api, sign(f"made-up-{i}", STRANGER, user)) == 503
        assert handshake_status(fanout, sign(f"made-up-{i}", STRANGER, user)) == 503
    wait_until(lambda: provider.n_requests == 4)
    release.set()
    wait_for(api, sign("made-up", STRANGER, user), 401)
    wait_until(lambda: handshake_status(fanout, sign("made-up", STRANGER, user)) == 401)
    for i in range(20):
        assert status(api, sign(f"more-{i}", STRANGER, user)) == 401
        assert handshake_status(fanout, sign(f"more-{i}", STRANGER, user)) == 401
    assert provider.n_requests == 4, "two at the start, two for the first unknown kid"
    assert (count(api, FETCHED), count(fanout, FETCHED)) == (2, 2)


def test_a_withdrawn_key_is_no_longer_taken_cached_or_not(api, fanout, provider):
    user = new_user()
    old, stays, new = sign("ec", EC, user), sign("rsa", RSA, user), sign("new", STRANGER, user)
    assert (status(api, old), handshake_status(fanout, old), status(api, stays)) == (200, 101, 200)
    provider.keys = {"rsa": RSA, "new": STRANGER}
    wait_for(api, new, 200)
    wait_until(lambda: handshake_status(fanout, new) == 101)
    assert (status(api, old), handshake_status(fanout, old), status(api, stays)) == (401, 401, 200)
    changes = [r for r in api.log_records("session_api") if r["event"] == "jwks_changed"]
    assert [c["keys"] for c in changes] == [2, 2]


# ---- a provider that is away ----

def test_keys_stay_while_the_provider_is_away(api, provider):
    user = new_user()
    known, unknown = sign("ec", EC, user), sign("new", STRANGER, user)
    provider.stop()
    assert status(api, unknown) == 503
    wait_until(lambda: count(api, FAILED) >= 1, what="a failed fetch")
    assert status(api, known) == 200
    assert status(api, unknown) == 503, "nobody could say whether there is such a key"
    code, body = ready(api)
    assert (code, body["status"]) == (200, "degraded")
    assert count(api, "handoff_jwks_keys") == 2
    provider.keys["new"] = STRANGER
    provider.start()
    wait_until(lambda: status(api, unknown) == 200, what="the provider's new key")
    assert ready(api)[1]["status"] == "ready"
    events = [r["event"] for r in api.log_records("session_api")
              if r.get("dependency") == "identity_provider"]
    assert events == ["dependency_up", "dependency_lost", "dependency_up"]


def test_a_service_is_not_ready_before_it_has_keys(provider, own_api):
    provider.send(http({}, "503 Service Unavailable"))
    first_asked = threading.Event()

    def recover():
        wait_until(lambda: provider.n_requests >= 2)
        provider.answer = provider.send_keys
        first_asked.set()

    threading.Thread(target=recover, daemon=True).start()
    api = own_api(**provider.settings)  # waits until it is ready
    assert first_asked.is_set() and provider.n_requests == 3
    assert status(api, sign("ec", EC, new_user())) == 200
    lost = [r for r in api.log_records("session_api") if r["event"] == "dependency_lost"
            and r["dependency"] == "identity_provider"]
    assert "503" in lost[0]["err"] and "HANDOFF_JWKS_URL" in lost[0]["hint"]


# ---- a provider that answers wrongly ----

KEY = jwk_of("ec", EC)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD = {
    "is not JSON": lambda p, _: p.send(http(b"<html>")),
    'has no array "keys"': lambda p, _: p.send(http({"jwks": [KEY]})),
    "has over 64 keys": lambda p, _: p.send(http({"keys": [dict(KEY, kid=str(i)) for i in range(65)]})),
    "status 302, and redirects are not followed": lambda p, _: p.send(
        http({}, "302 Found", f"Location: http://127.0.0.1:{p.port}/keys")),
    "status 500": lambda p, _: p.send(http({"keys": []}, "500 Internal Server Error")),
    "headers have over 64 KiB": lambda p, _: p.send_for_ever(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 99),
    "answer has over 256 KiB": lambda p, _: p.send_for_ever(CHUNKED, b"3e8\r\n" + b" " * 1000 + b"\r\n"),
    "timed out": lambda p, _: p.send_nothing(),
    "certificate": lambda p, other: p.use(other.certify("localhost")),
    "subject name": lambda p, _: p.use(p.authority.certify("another.example")),
}


def test_wrong_answers_change_nothing(new_provider, own_api, tmp_path):
    """All at once: one of them takes the ten seconds that an answer may take."""
    other, user = Authority(tmp_path, "other"), new_user()
    cases = {}
    for name, spoil in BAD.items():
        provider = new_provider(ec=EC)
        cases[name] = own_api(**provider.settings), provider
        spoil(provider, other)
        assert status(cases[name][0], sign("new", STRANGER, user)) == 503
    for name, (api, provider) in cases.items():
        wait_until(lambda: count(api, FAILED) >= 1, what=f"{name} failing")
        assert name in why_away(api), f"{name}: {why_away(api)}"
        assert status(api, sign("ec", EC, user)) == 200
        assert status(api, sign("new", STRANGER, user)) == 503
        assert (count(api, FETCHED), count(api, "handoff_jwks_keys")) == (1, 1)


def test_keys_that_are_not_for_us_are_ignored_and_told(new_provider, own_api):
    provider = new_provider()
    provider.send(http({"keys": [KEY, {"kid": "enc", "kty": "RSA", "use": "enc"}, 7,
                                 {"kid": "ed", "kty": "OKP", "crv": "Ed25519", "x": "AA"},
                                 dict(jwk_of("private", STRANGER), d="AAAA")]}))
    api = own_api(**provider.settings)
    assert status(api, sign("ec", EC, new_user())) == 200
    assert status(api, sign("private", STRANGER, new_user())) == 200, "its private part is not looked at"
    ignored = {r["kid"] for r in api.log_records("session_api") if r["event"] == "jwks_key_ignored"}
    assert ignored == {"enc", "", "ed"}


# ---- settings ----

@pytest.mark.parametrize("settings, said", [
    ({"HANDOFF_JWKS_URL": "http://provider.example/keys"}, "is not https"),
    ({"HANDOFF_JWKS_URL": "http://127.0.0.1.example/keys"}, "is not https"),
    ({"HANDOFF_JWKS_URL": "ftp://127.0.0.1/keys"}, "HANDOFF_JWKS_URL"),
    ({"HANDOFF_JWKS_URL": "https://user:secret@provider.example/keys"}, "user"),
    ({"HANDOFF_JWKS_URL": "https://provider.example:99999/keys"}, "HANDOFF_JWKS_URL"),
    ({"HANDOFF_JWKS_URL": "https://provider.example/keys", "HANDOFF_JWT_ALGORITHMS": "HS256"}, "HANDOFF_JWT_ALGORITHMS"),
    ({"HANDOFF_JWKS_URL": "https://provider.example/keys", "HANDOFF_JWKS_CA_FILE": "/nowhere"}, "HANDOFF_JWKS_CA_FILE"),
    ({"HANDOFF_JWKS_URL": "https://provider.example/keys", "HANDOFF_JWKS_REFRESH_S": "59"}, "HANDOFF_JWKS_REFRESH_S"),
    ({"HANDOFF_JWKS_URL": "http://127.0.0.1:1/keys"}, None),
    ({"HANDOFF_JWKS_URL": "http://localhost/keys"}, None),
    ({"HANDOFF_JWKS_URL": "http://[::1]:8080/keys"}, None),
    ({"HANDOFF_JWKS_URL": "https://provider.example/keys?a=b", "HANDOFF_JWKS_REFRESH_S": "60"}, None)])
def test_settings_that_cannot_be_are_refused(settings, said):
    env = {"HANDOFF_JWT_ALGORITHMS": "RS256", **settings}
    for name in ("session_api", "ws_fanout"):
        done = subprocess.run([BUILD / "bin" / name, "--check-config"], env=env, capture_output=True, text=True,
                              timeout=MAX_WAIT)
        assert done.returncode == (2 if said else 0), done.stderr
        assert not said or said in done.stderr, done.stderr
        assert "secret" not in done.stderr


def test_without_issuer_and_audience_it_is_told(provider, own_api):
    settings = {**provider.settings, "HANDOFF_JWT_AUDIENCE": ""}
    api = own_api(**settings)
    told = [r for r in api.log_records("session_api") if r["event"] == "jwks_unbound"]
    assert len(told) == 1 and "HANDOFF_JWT_AUDIENCE" in told[0]["hint"]

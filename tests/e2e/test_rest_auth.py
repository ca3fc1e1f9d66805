"""Who may call: tokens of every forged kind, scopes, devices, and strangers."""

import base64
import hashlib
import hmac
import json
import time
import uuid

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from harness import SECRET, new_user, token, wait_until
from rest import MISSING_ID, path_of, refused

OTHER_SECRET = "another secret, which nobody configured: 0123456789"
PATCH = [{"op": "add", "path": "/data/x", "value": 1}]


def b64(data):
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header, payload, secret=SECRET, hash=hashlib.sha256):
    """A token with any header and payload, and an HMAC over them."""
    signed = b64(header) + "." + b64(payload)
    return signed + "." + b64(hmac.new(secret.encode(), signed.encode(), hash).digest())


def claims(**more):
    payload = {"sub": "3f0e8a3c-0000-4000-8000-000000000001", "exp": int(time.time()) + 3600,
               "device_id": "phone", **more}
    return {k: v for k, v in payload.items() if v is not None}


HS256 = {"alg": "HS256", "typ": "JWT"}
GOOD = forge(HS256, claims())
HEAD, BODY, SIGNATURE = GOOD.split(".")
NOW = int(time.time())

FORGED = {
    "empty": "", "a word": "token", "two dots": "..", "no signature": f"{HEAD}.{BODY}.",
    "two parts": f"{HEAD}.{BODY}", "four parts": f"{GOOD}.x", "five parts": f"{GOOD}.x.y",
    "alg none": f'{b64({"alg": "none"})}.{BODY}.', "alg NONE": f'{b64({"alg": "NONE"})}.{BODY}.',
    "alg none with a signature": f'{b64({"alg": "none"})}.{BODY}.{SIGNATURE}',
    "alg none without a typ": f'{b64({"alg": "none", "typ": "JWT"})}.{BODY}.{SIGNATURE}',
    "alg HS384": forge({"alg": "HS384"}, claims(), hash=hashlib.sha384),
    "alg HS512": forge({"alg": "HS512"}, claims(), hash=hashlib.sha512),
    "alg RS256": forge({"alg": "RS256"}, claims()), "alg ES256": forge({"alg": "ES256"}, claims()),
    "alg hs256": forge({"alg": "hs256"}, claims()), "alg missing": forge({"typ": "JWT"}, claims()),
    "alg null": forge({"alg": None}, claims()), "alg a number": forge({"alg": 256}, claims()),
    "a critical extension": forge({"alg": "HS256", "crit": ["b64"], "b64": False}, claims()),
    "another secret": forge(HS256, claims(), OTHER_SECRET), "an empty secret": forge(HS256, claims(), ""),
    "half the secret": forge(HS256, claims(), SECRET[:25]),
    "signature cut": GOOD[:-4], "signature longer": GOOD + "AAAA",
    "signature of another": f"{HEAD}.{b64(claims(sub=new_user()))}.{SIGNATURE}",
    "signature flipped": GOOD[:-20] + ("A" if GOOD[-20] != "A" else "B") + GOOD[-19:],
    "signature not base64": f"{HEAD}.{BODY}.!!!!{SIGNATURE[4:]}",
    "header not JSON": f"{b64(b'{alg:HS256}')}.{BODY}.{SIGNATURE}",
    "payload not JSON": forge(HS256, b"{sub"), "payload an array": forge(HS256, [1]),
    "payload a string": forge(HS256, "sub"), "payload empty": forge(HS256, b""),
    "payload not UTF-8": forge(HS256, b'{"sub":"\xff","exp":9999999999}'),
    "no exp": forge(HS256, claims(exp=None)), "exp a string": forge(HS256, claims(exp="9999999999")),
    "exp an object": forge(HS256, claims(exp={})), "exp a boolean": forge(HS256, claims(exp=True)),
    "no sub": forge(HS256, claims(sub=None)), "sub empty": forge(HS256, claims(sub="")),
    "sub a number": forge(HS256, claims(sub=5)), "sub too long": forge(HS256, claims(sub="x" * 256)),
    "nbf in the future": forge(HS256, claims(nbf=NOW + 3600)),
    "nbf a string": forge(HS256, claims(nbf="0")),
    "too long": forge(HS256, claims(padding="x" * 9000)),
}


def get(suite, authorization, path="/sessions"):
    device = suite.device(new_user(), "phone")
    device.http.headers.pop("Authorization")
    return device.get(path, headers={} if authorization is None else {"Authorization": authorization})


def problem(answer):
    """The body without what is the request's own."""
    return {k: v for k, v in answer.json().items() if k != "requestId"}


@pytest.mark.parametrize("forged", FORGED, ids=FORGED.keys())
def test_forged_tokens_are_401_and_told_nothing(suite, forged):
    answer = get(suite, f"Bearer {FORGED[forged]}")
    refused(answer, 401, "unauthenticated", temporary=False)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer error=")
    assert problem(answer) == problem(get(suite, "Bearer nonsense")), "which check failed is not told"


def test_the_good_one_is_good(suite):
    assert get(suite, f"Bearer {GOOD}").status_code == 200
    assert get(suite, f"bearer {GOOD}").status_code == 200, "the scheme is case-insensitive"


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", GOOD, f"Basic {GOOD}",
                                           f"Token {GOOD}", f"Bearer{GOOD}", "Basic dTpw",
                                           f"Bearer {GOOD} {GOOD}", f"Bearer {GOOD}, Bearer {GOOD}"])
def test_without_a_bearer_token_it_is_401(suite, authorization):
    answer = get(suite, authorization)
    refused(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer error=")


def test_a_token_is_not_taken_from_the_url(suite):
    for name in ("token", "access_token", "authorization"):
        assert get(suite, None, f"/sessions?{name}={GOOD}").status_code in (400, 401)


@pytest.mark.parametrize("path", [f"/sessions/{MISSING_ID}", f"/sessions/{MISSING_ID}/deltas?since=0"])
def test_every_route_of_sessions_needs_a_token(suite, path):
    refused(get(suite, None, path), 401, "unauthenticated")


def test_writes_need_a_token_and_change_nothing_without(suite, phone):
    session = phone.create({"a": 1})
    thief = suite.device(session["userId"], "phone", secret=OTHER_SECRET)
    for answer in (thief.patch(session["id"], PATCH), thief.status(session["id"], "paused"),
                   thief.heartbeat(session["id"]), thief.delete(path_of(session)),
                   thief.post("/sessions", json={"name": "n", "type": "t"})):
        refused(answer, 401, "unauthenticated")
    assert phone.read(session["id"]) == session


@pytest.mark.parametrize("change, expected", [
    (lambda now: {"exp": now - 10}, 200), (lambda now: {"exp": now - 60}, "token_expired"),
    (lambda now: {"exp": 1}, "token_expired"), (lambda now: {"exp": -1}, None),
    (lambda now: {"nbf": now + 10}, 200), (lambda now: {"nbf": now + 60}, "unauthenticated"),
    (lambda now: {"exp": now + 3600.5}, 200), (lambda now: {"exp": 1e300}, None)])
def test_times_have_a_leeway_of_30_seconds(suite, change, expected):
    answer = get(suite, f"Bearer {forge(HS256, claims(**change(int(time.time()))))}")
    if expected == 200:
        assert answer.status_code == 200, answer.text
    elif expected:
        refused(answer, 401, expected)
    else:
        assert answer.status_code in (200, 401)


def test_a_cached_token_expires_all_the_same(suite):
    """Used while it is valid, and again when it is not."""
    almost = f"Bearer {forge(HS256, claims(exp=int(time.time()) - 28))}"
    assert get(suite, almost).status_code == 200
    wait_until(lambda: get(suite, almost).status_code == 401, what="the token expired")
    refused(get(suite, almost), 401, "token_expired")


def test_which_check_failed_is_in_the_log(suite):
    answer = get(suite, f"Bearer {FORGED['another secret']}")
    request_id = answer.headers["X-Request-Id"]
    record = wait_until(lambda: [r for r in suite.log_records("session_api")
                                 if r.get("requestId") == request_id], what="a log record")
    assert "signature" in json.dumps(record[0]).lower()


# ---- issuers, audiences, rotation, public keys ----

def test_issuer_and_audience_where_configured(own_api):
    api = own_api(HANDOFF_JWT_ISSUER="https://id.example", HANDOFF_JWT_AUDIENCE="handoff")
    right = {"iss": "https://id.example", "aud": "handoff"}

    def answer(**more):
        return get(api, f"Bearer {forge(HS256, claims(**{**right, **more}))}").status_code

    assert answer() == 200
    assert answer(aud=["other", "handoff"]) == 200
    for wrong in ({"iss": None}, {"iss": "https://id.example/"}, {"iss": "evil"}, {"iss": ["https://id.example"]},
                  {"iss": 5}, {"aud": None}, {"aud": "other"}, {"aud": ["other"]}, {"aud": []}, {"aud": 5},
                  {"aud": "handoff2"}, {"aud": [["handoff"]]}):
        assert answer(**wrong) == 401, wrong


def test_a_name_of_an_issuer_is_a_user_of_its_own(own_api):
    api = own_api(HANDOFF_JWT_ISSUER="https://id.example")
    device = api.device("alice", "phone", iss="https://id.example")
    expected = uuid.uuid5(uuid.NAMESPACE_URL, "https://id.example\nalice")
    assert device.create()["userId"] == str(expected)


def test_two_secrets_while_rotating(own_api):
    api = own_api(HANDOFF_JWT_SECRET=OTHER_SECRET, HANDOFF_JWT_SECRET_PREVIOUS=SECRET)
    for secret, status in ((OTHER_SECRET, 200), (SECRET, 200), ("x" * 40, 401)):
        assert get(api, f"Bearer {token(new_user(), 'phone', secret=secret)}").status_code == status


class Keys:
    """A folder of public keys <kid>.pem, and the private ones."""

    def __init__(self, folder):
        self.private = {
            "rsa1": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "rsa2": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ec1": ec.generate_private_key(ec.SECP256R1()),
        }
        self.stranger_rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.stranger_ec = ec.generate_private_key(ec.SECP256R1())
        self.public = {}
        for kid, key in self.private.items():
            self.public[kid] = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            (folder / f"{kid}.pem").write_bytes(self.public[kid])


def test_public_keys_are_chosen_by_kid(own_api, tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    keys = Keys(folder)
    api = own_api(HANDOFF_JWT_ALGORITHMS="RS256,ES256", HANDOFF_JWT_KEYS=str(folder),
                  HANDOFF_JWT_SECRET="")

    def status(key, algorithm, kid):
        headers = {} if kid is None else {"kid": kid}
        made = jwt.encode(claims(), key, algorithm=algorithm, headers=headers)
        return get(api, f"Bearer {made}").status_code

    assert status(keys.private["rsa1"], "RS256", "rsa1") == 200
    assert status(keys.private["rsa2"], "RS256", "rsa2") == 200
    assert status(keys.private["ec1"], "ES256", "ec1") == 200
    refused_kinds = [
        (keys.private["rsa1"], "RS256", "rsa2"), (keys.private["rsa1"], "RS256", None),
        (keys.private["rsa1"], "RS256", "rsa3"), (keys.private["rsa1"], "RS256", ""),
        (keys.private["rsa1"], "RS256", "../keys/rsa1"), (keys.private["rsa1"], "RS256", "rsa1.pem"),
        (keys.private["rsa1"], "RS256", "ec1"), (keys.private["ec1"], "ES256", "rsa1"),
        (keys.stranger_rsa, "RS256", "rsa1"), (keys.stranger_ec, "ES256", "ec1"),
        (keys.private["rsa1"], "RS512", "rsa1"), (keys.private["rsa1"], "PS256", "rsa1"),
        (SECRET, "HS256", "rsa1"), (SECRET, "HS256", None),
    ]
    for kind in refused_kinds:
        assert status(*kind) == 401, kind[1:]
    # The public key, which everybody knows, is no secret of an HMAC.
    for kid in ("rsa1", "ec1"):
        for pem in (keys.public[kid], keys.public[kid].strip()):
            made = forge({"alg": "HS256", "kid": kid}, claims(), pem.decode())
            assert get(api, f"Bearer {made}").status_code == 401
    # And a key that comes with the token is not believed.
    made = jwt.encode(claims(), keys.stranger_rsa, algorithm="RS256",
                      headers={"jwk": {"kty": "RSA"}, "x5u": "https://evil.example", "kid": "rsa1"})
    assert get(api, f"Bearer {made}").status_code == 401


def test_hs256_and_public_keys_side_by_side_are_not_confused(own_api, tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    keys = Keys(folder)
    api = own_api(HANDOFF_JWT_ALGORITHMS="HS256,RS256", HANDOFF_JWT_KEYS=str(folder))
    assert get(api, f"Bearer {GOOD}").status_code == 200
    made = jwt.encode(claims(), keys.private["rsa1"], algorithm="RS256", headers={"kid": "rsa1"})
    assert get(api, f"Bearer {made}").status_code == 200
    forged = forge({"alg": "HS256", "kid": "rsa1"}, claims(), keys.public["rsa1"].decode())
    assert get(api, f"Bearer {forged}").status_code == 401
    made = jwt.encode(claims(), keys.private["ec1"], algorithm="ES256", headers={"kid": "ec1"})
    assert get(api, f"Bearer {made}").status_code == 401, "ES256 is not on the list"


# ---- scopes ----

@pytest.mark.parametrize("scope, reads, writes", [
    ("sessions:read", True, False), ("sessions:read sessions:write", True, True),
    ("openid sessions:write sessions:read profile", True, True),
    ("", False, False), ("openid profile", False, False), ("sessions:READ", False, False),
    ("sessions:reads", False, False), ("sessions:read,sessions:write", False, False)])
def test_a_scope_narrows_a_token(suite, phone, user, scope, reads, writes):
    session = phone.create({"a": 1})
    device = suite.device(user, "phone", scope=scope)
    for answer in (device.get(path_of(session)), device.get("/sessions"),
                   device.get(path_of(session) + "/deltas?since=0")):
        if reads:
            assert answer.status_code == 200
        else:
            refused(answer, 403, "forbidden")
    answers = (device.patch(session["id"], PATCH), device.heartbeat(session["id"]),
               device.status(session["id"], "paused"), device.post("/sessions", json={"name": "n", "type": "t"}))
    if writes:
        assert [a.status_code for a in answers] == [200, 200, 200, 201]
    else:
        for answer in answers:
            refused(answer, 403, "forbidden")
        refused(device.delete(path_of(session)), 403, "forbidden")
        assert phone.read(session["id"]) == session


def test_to_write_is_not_to_read(suite, phone, user):
    session = phone.create({"a": 1})
    device = suite.device(user, "phone", scope="sessions:write")
    refused(device.get(path_of(session)), 403, "forbidden")
    refused(device.get("/sessions"), 403, "forbidden")


@pytest.mark.parametrize("scope", [5, None, ["sessions:read"], {}], ids=repr)
def test_a_scope_of_another_type_gives_nothing(suite, scope):
    made = forge(HS256, {**claims(), "scope": scope})
    assert get(suite, f"Bearer {made}").status_code in (401, 403)


@pytest.fixture
def admin(suite):
    return suite.device(new_user(), "console", scope="sessions:read sessions:write sessions:admin")


def test_an_admin_reads_cancels_and_deletes_any_session(phone, admin):
    session = phone.create({"a": 1})
    assert admin.read(session["id"])["data"] == {"a": 1}
    cancelled = admin.status(session["id"], "cancelled")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert admin.delete(path_of(session)).status_code == 204
    refused(phone.get(path_of(session)), 404, "not_found")


def test_an_admin_writes_nothing_else(phone, admin):
    session = phone.create({"a": 1})
    for answer in (admin.patch(session["id"], PATCH), admin.merge_patch(session["id"], {"name": "x"}),
                   admin.status(session["id"], "paused"), admin.status(session["id"], "completed"),
                   admin.status(session["id"], "active")):
        refused(answer, 403, "forbidden")
    assert phone.read(session["id"]) == session


def test_admin_is_a_scope_and_nothing_in_a_message(suite, phone):
    session = phone.create({"a": 1})
    nobody = suite.device(new_user(), "phone", admin=True, role="admin", rights=7, roles=["admin"])
    refused(nobody.get(path_of(session)), 404, "not_found")
    refused(nobody.get(path_of(session), headers={"X-User-Id": session["userId"]}), 404, "not_found")


# ---- strangers ----

def test_strangers_cannot_tell_a_session_from_none(phone, stranger):
    session = phone.create({"a": 1})

    def routes(session_id):
        path = f"/sessions/{session_id}"
        return [stranger.get(path), stranger.patch(session_id, PATCH), stranger.patch(session_id, PATCH, baseVersion=9),
                stranger.json_patch(session_id, PATCH, headers={"If-Match": '"9"'}),
                stranger.merge_patch(session_id, {"name": "mine"}), stranger.status(session_id, "paused"),
                stranger.heartbeat(session_id), stranger.get(path + "/deltas?since=0"),
                stranger.get(path, headers={"If-None-Match": '"1"'}), stranger.delete(path)]

    for there, not_there in zip(routes(session["id"]), routes(MISSING_ID)):
        refused(there, 404, "not_found")
        assert json.dumps(problem(there)).replace(session["id"], "ID") == json.dumps(
            problem(not_there)).replace(MISSING_ID, "ID")
        names = set(there.headers) - {"Date"}
        assert names == set(not_there.headers) - {"Date"}
    assert phone.read(session["id"]) == session


# ---- devices ----

@pytest.mark.parametrize("claim, header, status", [
    ("phone", None, 201), ("phone", "phone", 201), (None, "phone", 201), ("phone", "tablet", 403),
    ("phone", "Phone", 403), (None, None, 400), (None, "", 400), (None, ".", 400), (None, "..", 400),
    (None, "a b", 400), (None, "a/b", 400), (None, "x" * 129, 400), (None, "caf\u00e9", 400), (None, "a,b", 400),
    (None, "...", 201), (None, "x" * 128, 201), (None, "A.b_c:d-1", 201)])
def test_the_device_of_a_write(suite, claim, header, status):
    device = suite.device(new_user(), claim)
    headers = {} if header is None else {"X-Device-Id": header.encode("latin-1")}
    answer = device.post("/sessions", json={"name": "n", "type": "t"}, headers=headers)
    assert answer.status_code == status, answer.text
    if status == 201:
        assert answer.json()["activeDeviceId"] == (claim or header)
    elif status == 403:
        assert answer.json()["code"] == "forbidden"
    else:
        assert answer.json()["field"].lower() == "x-device-id"


@pytest.mark.parametrize("claim", ["..", "a b", "x" * 129, 5, {}, ""], ids=repr)
def test_a_device_claim_out_of_range_is_no_device(suite, claim):
    made = forge(HS256, {**claims(), "device_id": claim})
    device = suite.device(new_user(), "phone")
    answer = device.post("/sessions", json={"name": "n", "type": "t"},
                         headers={"Authorization": f"Bearer {made}"})
    assert answer.status_code in (400, 401, 403), answer.text


def test_every_write_needs_a_device_and_no_read_does(suite, phone, user):
    session = phone.create({"a": 1})
    nameless = suite.device(user, None)
    assert nameless.read(session["id"]) == session
    assert nameless.get("/sessions").status_code == 200
    for answer in (nameless.patch(session["id"], PATCH), nameless.status(session["id"], "paused"),
                   nameless.heartbeat(session["id"]), nameless.delete(path_of(session))):
        refused(answer, 400, "invalid_request")
    assert phone.read(session["id"]) == session

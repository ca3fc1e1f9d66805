"""handoff token and config."""

import base64
import json
import os
import re
import subprocess
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cli import clean, ended
from harness import BUILD, SECRET, SESSION_KEY, new_user, session_token, token, write_keys

USER, SESSION = "3f0e8a3c-5d2b-4c1a-9e7f-6a8b9c0d1e2f", "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"


def handoff(*arguments, code=0, text=None, **env):
    done = ended(*arguments, code=code, stdin=text or "", env=clean(**env))
    assert SECRET not in done.stdout + done.stderr
    return done


def new(*arguments, **env):
    return handoff("token", "new", "--sub", USER, *arguments, **{"HANDOFF_JWT_SECRET": SECRET, **env})


def check(made, code=0, **env):
    done = handoff("token", "check", "--json", "-", text=made, code=code, **{"HANDOFF_JWT_SECRET": SECRET, **env})
    return json.loads(done.stdout)


def test_a_token_is_what_was_asked_for_and_the_services_take_it(suite):
    made = new("--device", "phone", "--expires", "15m", "--scope", "sessions:read").stdout.strip()
    claims = jwt.decode(made, SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["device_id"], claims["scope"]) == (USER, "phone", "sessions:read")
    assert claims["exp"] - claims["iat"] == 900 and "iss" not in claims and "aud" not in claims
    assert suite.bearer(made).get("/sessions").status_code == 200
    assert suite.bearer(made).post("/sessions", json={"name": "a", "type": "b"}).status_code == 403
    told = check(made)
    assert told == {"valid": True, "userId": USER, "scope": ["sessions:read"], "deviceId": "phone", "sessionId": None,
                    "isSessionToken": False, "expiresAt": told["expiresAt"]}


def test_as_it_is_configured(tmp_path):
    env = {"HANDOFF_JWT_ISSUER": "https://id.example", "HANDOFF_JWT_AUDIENCE": "handoff", "HANDOFF_JWT_SESSION_CLAIM": "sid"}
    done = json.loads(new("--json", "--session", SESSION, **env).stdout)
    claims = jwt.decode(done["token"], SECRET, algorithms=["HS256"], audience="handoff", issuer="https://id.example")
    assert claims["sid"] == SESSION and re.fullmatch(r"\d{4}-.*T.*\.000Z", done["expiresAt"])
    assert check(done["token"], **env)["sessionId"] == SESSION
    done = new("--issuer", "https://other.example", **env)
    assert "would refuse it: claim iss" in done.stderr
    path = tmp_path / "secret"
    path.write_text(SECRET[::-1] + "\n")
    done = handoff("token", "new", "--sub", "alice", "--secret-file", path)
    assert jwt.decode(done.stdout.strip(), SECRET[::-1], algorithms=["HS256"])["sub"] == "alice"


@pytest.mark.parametrize("make, algorithm", [(lambda: rsa.generate_private_key(65537, 2048), "RS256"),
                                             (lambda: ec.generate_private_key(ec.SECP256R1()), "ES256")])
def test_a_private_key_signs_too(tmp_path, make, algorithm):
    key, path, keys = make(), tmp_path / "private.pem", tmp_path / "keys"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    keys.mkdir()
    (keys / "k1.pem").write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    env = {"HANDOFF_JWT_ALGORITHMS": algorithm, "HANDOFF_JWT_KEYS": str(keys)}
    for _ in range(8):  # a signature's numbers may be short
        made = new("--key", path, "--kid", "k1", **env).stdout.strip()
        assert jwt.get_unverified_header(made) == {"alg": algorithm, "typ": "JWT", "kid": "k1"}
        jwt.decode(made, key.public_key(), algorithms=[algorithm])
        assert check(made, **env)["userId"] == USER
    assert "HANDOFF_JWT_SECRET" not in handoff("token", "new", "--sub", "a", "--key", path).stderr
    secret = path.read_text().splitlines()[1]
    for wrong in ("private.pe", "keys/k1.pem"):
        assert secret not in handoff("token", "new", "--sub", "a", "--key", tmp_path / wrong, code=2).stderr


def other_payload(made, **claims):
    head, body, signature = made.split(".")
    payload = {**json.loads(base64.urlsafe_b64decode(body + "==")), **claims}
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode(), signature])


@pytest.mark.parametrize("make, code, reason", [
    (lambda: token(USER, seconds=-31), "token_expired", "claim exp has passed"),
    (lambda: token(USER, nbf=int(time.time()) + 3600), "unauthenticated", "claim nbf or iat is in the future"),
    (lambda: token(USER, secret=SECRET[::-1]), "unauthenticated", "the signature is wrong"),
    (lambda: other_payload(token(USER), sub="x"), "unauthenticated", "the signature is wrong"),
    (lambda: token(USER, algorithm="HS512"), "unauthenticated", "the header's alg is not allowed"),
    (lambda: token(USER, device_id="a b"), "unauthenticated", "claim device_id is no device id"),
    (lambda: token(USER, sub=5), "unauthenticated", "claim sub is not a string"),
    (lambda: "a.b", "unauthenticated", "the token has not three parts"),
    (lambda: " \n", "unauthenticated", "there is no token in it"),
    (lambda: "a" * 20000, "unauthenticated", "the token has over 8192 bytes")])
def test_why_a_token_is_refused(make, code, reason):
    assert check(make(), code=1) == {"valid": False, "code": code, "reason": reason}


def test_a_session_token_and_a_token_of_a_header(tmp_path):
    path = write_keys(tmp_path / "key.pem", SESSION_KEY)
    told = check("Bearer " + session_token(new_user(), SESSION) + "\n", HANDOFF_SESSION_TOKEN_KEY=path)
    assert told["isSessionToken"] and told["sessionId"] == SESSION and told["scope"] == ["sessions:read", "sessions:write"]


def test_what_check_tells_a_person(tmp_path):
    """As docs/operations/command.md shows it."""
    path = tmp_path / "token"
    path.write_text(token(USER, "phone", seconds=3600))
    lines = handoff("token", "check", path, HANDOFF_JWT_SECRET=SECRET).stdout.splitlines()
    assert lines[:5] == ["valid", f"user     {USER}", "scope    sessions:read sessions:write", "device   phone",
                         "session  any"]
    assert re.fullmatch(r"until    \S+Z \((3600|3599|3598) s from now\)", lines[5])
    path.write_text(token(USER, seconds=-60))
    assert handoff("token", "check", path, code=1, HANDOFF_JWT_SECRET=SECRET).stdout == (
        "refused: token_expired\nwhy      claim exp has passed\n")
    assert "No such file" in handoff("token", "check", tmp_path / "none", code=1, HANDOFF_JWT_SECRET=SECRET).stderr


@pytest.mark.parametrize("arguments, says", [
    ((), "new and check"), (("burn",), "new and check"), (("new",), "--sub"), (("new", "--sub"), "takes a value"),
    (("new", "--sub", "a", "b"), "no words"), (("new", "--sub", ""), "not empty"), (("new", "--sub", "a" * 256), "1 to 255"),
    (("new", "--sub", "a", "--sub", "b"), "given twice"), (("new", "--sub", "a", "--device", "a b"), "--device takes"),
    (("new", "--sub", "a", "--session", "x"), "--session takes"), (("new", "--sub", "a", "--kid", "k"), "--kid goes"),
    (("new", "--sub", "a", "--key", "k", "--secret-file", "s"), "not both"), (("new", "--sub", "a", "--fast"), "no option --fast. It takes --sub, "),
    *((("new", "--sub", "a", "--expires", t), "--expires takes") for t in ("", "1", "h", "0s", "-1h", "367d", "1w", "1hh")),
    (("check",), "FILE"), (("check", "a", "b"), "FILE"), (("check", "a", "--sub", "b"), "no option --sub")])
def test_mistakes_are_told(arguments, says):
    assert says in handoff("token", *arguments, code=2, HANDOFF_JWT_SECRET=SECRET).stderr


def test_a_scope_that_allows_nothing_is_told():
    for scope, is_told in (("session:read", True), ("openid profile", True), ("openid sessions:read", False)):
        done = handoff("token", "new", "--sub", "a", "--scope", scope, HANDOFF_JWT_SECRET=SECRET)
        assert jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"])["scope"] == scope
        assert ("may do nothing" in done.stderr) == is_told, scope


def test_without_anything_to_sign_with():
    assert "nothing to sign with" in handoff("token", "new", "--sub", "a", code=2).stderr
    assert "HANDOFF_JWT_SECRET is needed" in handoff("token", "check", "-", text="x", code=2).stderr


# ---- config ----

def test_config_is_told_with_its_sources_and_without_its_secrets(tmp_path):
    path = tmp_path / "url"
    path.write_text("amqp://me:hush@broker/x")
    env = {"HANDOFF_JWT_SECRET": SECRET, "HANDOFF_AMQP_URL_FILE": str(path), "HANDOFF_MAX_BATCH": "7"}
    text = handoff("config", **env).stdout
    assert [line for line in text.splitlines() if line.startswith("# ")] == [
        "# session_api", "# state_engine", "# ws_fanout", "# audit_writer"]
    assert "hush" not in text and "HANDOFF_JWT_SECRET=***  (environment)" in text
    line, = handoff("config", "--service", "state_engine", "--json", **env).stdout.splitlines()
    told = json.loads(line)
    values = {v["name"]: (v["value"], v["source"]) for v in told["values"]}
    assert told["service"] == "state_engine" and told["mistakes"] == []
    assert values["HANDOFF_AMQP_URL"] == ("amqp://me:***@broker/x", "file")
    assert values["HANDOFF_MAX_BATCH"] == ("7", "environment") and values["HANDOFF_LOG_LEVEL"] == ("info", "default")
    own = subprocess.run([BUILD / "bin" / "state_engine", "--check-config"], env={**os.environ, **env}, capture_output=True,
                         text=True)
    assert set(values) == {line.partition("=")[0] for line in own.stdout.splitlines()} or own.returncode


@pytest.mark.parametrize("name, value, services", [
    ("HANDOFF_MAX_BATCH", "0", ["state_engine", "audit_writer"]), ("HANDOFF_UNKNOWN", "1", None),
    ("HANDOFF_AMQP_URL", "amqps://x", None), ("HANDOFF_AMQP_URL", "amqp://a:b@:5/x", None),
    ("HANDOFF_REDIS_URL", "redis://x", None), ("HANDOFF_JWT_SECRET", "", ["session_api", "ws_fanout"]),
    ("HANDOFF_JWKS_URL", "http://id.example/", ["session_api", "ws_fanout"])])
def test_config_tells_what_is_wrong(name, value, services):
    lines = handoff("config", "--json", code=1, **{"HANDOFF_JWT_SECRET": SECRET, name: value}).stdout.splitlines()
    wrong = {told["service"]: told["mistakes"] for told in map(json.loads, lines) if told["mistakes"]}
    assert set(wrong) == set(services or ["session_api", "state_engine", "ws_fanout", "audit_writer"])
    assert all(name in " ".join(mistakes) for mistakes in wrong.values()), wrong

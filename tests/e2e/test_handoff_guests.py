"""Handoff codes redeemed without a login: the session comes with a token for it alone."""

import time

import jwt
import pytest
import requests

from codes import WRONG, addresses, code_of, deny, device_of, got_in, offer, wrong
from harness import MAX_WAIT, SESSION_KEY, check_answer, new_user, session_token, together, token, wait_until
from rest import path_of, refused
from test_sharing_rest import participants
from ws import subscribed


@pytest.fixture
def api(code_api):
    return code_api


@pytest.fixture
def phone(code_api, user):
    return device_of(code_api, user, "phone")


@pytest.fixture
def session(phone):
    return phone.create({"n": 1})


def redeem(api, code, device=None, key=None, address=None, **headers):
    headers["X-Forwarded-For"] = address or next(addresses)
    if key:
        headers["Idempotency-Key"] = key
    answer = requests.post(f"{api.api_url}/handoff", json={"code": code, **({"device": device} if device else {})},
                           headers=headers, timeout=MAX_WAIT)
    check_answer(answer)
    return answer


def guest_of(api, answer, session, role="owner"):
    """The device that goes on with the token, which is checked as anybody could."""
    body = got_in(answer, session, role)
    assert answer.headers["Cache-Control"] == "no-store"
    claims = jwt.decode(body["token"], SESSION_KEY.public_key(), algorithms=["ES256"], issuer="handoff")
    assert claims["session_id"] == session["id"] and claims["device_id"] == body["deviceId"]
    assert claims["exp"] - claims["iat"] == 86400 and abs(claims["iat"] - time.time()) < 60
    expires_at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(claims["exp"]))
    assert body["tokenExpiresAt"] == expires_at
    device = api.bearer(body["token"], claims["sub"], body["deviceId"])
    device.http.headers["X-Forwarded-For"] = next(addresses)
    return device


def test_a_device_of_the_owner_without_a_login(api, phone, session):
    with subscribed(phone, session["id"]) as told:
        tv = guest_of(api, redeem(api, code_of(phone, session), {"id": "tv", "name": "TV", "platform": "web"}), session)
        assert (tv.user, tv.name) == (phone.user, "tv")
        with subscribed(tv, session["id"]):
            told.recv_until("device_joined", deviceId="tv", userId=phone.user)
        assert tv.json_patch(session["id"], [{"op": "add", "path": "/data/n", "value": 2}]).status_code == 200
        told.recv_until("state_delta", deviceId="tv")
    assert participants(phone, session) == [(phone.user, "owner")]


def test_and_of_nothing_else(api, phone, session):
    tv = guest_of(api, redeem(api, code_of(phone, session)), session)
    other = phone.create({})
    refused(tv.get(path_of(other)), 404, "not_found")
    refused(tv.get("/sessions"), 403, "forbidden")
    refused(tv.post("/sessions", json={"name": "n", "type": "t"}), 403, "forbidden")
    refused(offer(tv, session), 403, "forbidden")
    refused(tv.get(f"{path_of(session)}/handoff-codes/{code_of(phone, session)}"), 403, "forbidden")
    for of in (session, other):
        refused(tv.post("/handoff", json={"code": code_of(phone, of)}), 403, "forbidden")


@pytest.mark.parametrize("role", ["editor", "viewer"])
def test_a_guest_with_a_role(api, phone, session, role):
    with subscribed(phone, session["id"]) as told:
        tablet = guest_of(api, redeem(api, code_of(phone, session, role=role)), session, role)
        assert tablet.user != phone.user
        told.expect("participant_changed", participant=tablet.user, role=role, userId=phone.user)
        with subscribed(tablet, session["id"]):
            told.recv_until("device_joined", userId=tablet.user, deviceId=tablet.name)
    assert participants(tablet, session) == [(phone.user, "owner"), (tablet.user, role)]
    changed = tablet.json_patch(session["id"], [{"op": "add", "path": "/data/n", "value": 2}])
    assert changed.status_code == (200 if role == "editor" else 403)
    assert phone.delete(f"{path_of(session)}/participants/{tablet.user}").status_code == 204
    refused(tablet.get(path_of(session)), 404, "not_found")


def test_which_device_it_is(api, phone, session):
    chosen = guest_of(api, redeem(api, code_of(phone, session)), session).name
    assert len(chosen) == 36
    named = redeem(api, code_of(phone, session), **{"X-Device-Id": "tv"})
    assert guest_of(api, named, session).name == "tv"
    refused(redeem(api, code_of(phone, session), {"id": "other"}, **{"X-Device-Id": "tv"}), 403, "forbidden")
    refused(redeem(api, code_of(phone, session), **{"X-Device-Id": ".."}), 400, "invalid_request")
    deny(phone, session, "tv")
    refused(redeem(api, code_of(phone, session), {"id": "tv"}), 403, "device_removed")


def test_the_same_key_gets_the_same_again(api, phone, session):
    code, key = code_of(phone, session, role="editor"), new_user()
    first = guest_of(api, redeem(api, code, key=key), session, "editor")
    again = guest_of(api, redeem(api, code, key=key), session, "editor")
    assert (again.user, again.name) == (first.user, first.name) and again.token != first.token
    assert participants(phone, session) == [(phone.user, "owner"), (first.user, "editor")]
    unknown = wrong(redeem(api, WRONG))
    for more in ({}, {"key": new_user()}, {"key": key, "device": {"id": "other"}}):
        assert wrong(redeem(api, code, **more)) == unknown
    refused(redeem(api, code, key="k" * 129), 400, "invalid_request")
    tablet = device_of(api, new_user(), "tablet")
    assert wrong(tablet.post("/handoff", json={"code": code}, headers={"Idempotency-Key": key})) == unknown


def test_without_a_key_once(api, phone, session):
    code = code_of(phone, session)
    guest_of(api, redeem(api, code), session)
    assert wrong(redeem(api, code)) == wrong(redeem(api, WRONG))


def test_one_of_twenty_guests_gets_in(api, phone, session):
    code = code_of(phone, session, role="editor")
    answers = together(20, lambda i: redeem(api, code, key=f"key-{i}"))
    assert sorted(a.status_code for a in answers) == [200] + 19 * [404]
    assert len(participants(phone, session)) == 2


def test_ten_wrong_ones_a_minute(api, phone, session):
    address = next(addresses)
    for _ in range(10):
        wrong(redeem(api, WRONG, address=address))
    refused(redeem(api, code_of(phone, session), address=address), 429, "rate_limited")


def test_a_bad_token_is_none(api, phone, session):
    """Who has one that is not good any more is told so, and not let in as somebody else."""
    code = code_of(phone, session)
    refused(redeem(api, code, Authorization=f"Bearer {token(phone.user, 'tv', seconds=-100)}"), 401, "token_expired")
    refused(redeem(api, code, Authorization="Bearer no"), 401, "unauthenticated")
    guest_of(api, redeem(api, code), session)


def test_a_token_for_one_session_makes_no_codes(api, phone, session):
    """Of an identity provider, too."""
    confined = api.bearer(token(phone.user, "phone", session_id=session["id"]), phone.user, "phone")
    refused(offer(confined, session), 403, "forbidden")
    tv = api.bearer(session_token(phone.user, session["id"], "tv"), phone.user, "tv")
    refused(offer(tv, session), 403, "forbidden")


def test_no_log_has_a_token(api, suite, phone, session):
    answer = redeem(api, code_of(phone, session))
    made = answer.json()["token"]
    guest_of(api, answer, session)
    wait_until(lambda: [r for r in api.log_records("session_api") if r["event"] == "code_redeemed"
                        and r["sessionId"] == session["id"]], what="the log")
    for path in (p for folder in (api.log_folder, suite.log_folder) for p in folder.rglob("*.log")):
        assert made.rpartition(".")[2] not in path.read_text(errors="replace"), path


def test_a_guest_has_no_large_body(api, phone, session):
    code = code_of(phone, session)
    answer = requests.post(f"{api.api_url}/handoff", json={"code": code, "x": "x" * 20_000}, timeout=MAX_WAIT,
                           headers={"X-Forwarded-For": next(addresses)})
    refused(answer, 413, "body_too_large")
    guest_of(api, redeem(api, code), session)

"""Handoff codes: who may make one, how it is shown, who gets in by it, and that only one does."""

import base64
import itertools
import json
import re
import subprocess

import pytest
import requests

from codes import WRONG, addresses, api_beside, code_of, deny, device_of, got_in, key_of, offer, redeem, wrong
from cold import cool
from harness import BUILD, MAX_WAIT, check_answer, metric, new_user, together, token, wait_until
from qr import modules_of_svg, modules_of_text, paint, quiet, scan
from rest import MISSING_ID, MOMENT, path_of, refused
from test_sharing_rest import participants, share
from ws import subscribed, wait_joined

CODE = re.compile(r"^[A-Za-z0-9_-]{22}$")


@pytest.fixture
def api(code_api):
    return code_api


@pytest.fixture
def phone(code_api, user):
    return device_of(code_api, user, "phone")


@pytest.fixture
def laptop(code_api, user):
    return device_of(code_api, user, "laptop")


@pytest.fixture
def stranger(code_api):
    return device_of(code_api, new_user(), "tablet")


@pytest.fixture
def session(phone):
    return phone.create({"n": 1})


# ---- making one ----

def test_a_code_is_made(api, phone, session):
    answer = offer(phone, session)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made.keys() == {"code", "url", "expiresAt"}
    assert CODE.match(made["code"]) and len(base64.urlsafe_b64decode(made["code"] + "==")) == 16
    assert made["url"] == f"http://localhost:8080/#code={made['code']}"
    assert MOMENT.match(made["expiresAt"])
    assert answer.headers["Location"] == f"{path_of(session)}/handoff-codes/{made['code']}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert 100_000 < api.redis_client().pttl(key_of(made["code"])) <= 120_000
    assert code_of(phone, session) != made["code"]


def test_without_a_body_it_is_for_ones_own_account(phone, laptop, session):
    answer = phone.post(f"{path_of(session)}/handoff-codes")
    assert answer.status_code == 201, answer.text
    got_in(redeem(laptop, answer.json()["code"]), session)


@pytest.mark.parametrize("seconds, status", [(9, 422), (10, 201), (300, 201), (301, 422)])
def test_how_long_one_lives(api, phone, session, seconds, status):
    answer = offer(phone, session, ttlSeconds=seconds)
    assert answer.status_code == status, answer.text
    if status == 422:
        assert answer.json()["field"] == "ttlSeconds"
    else:
        left = api.redis_client().pttl(key_of(answer.json()["code"]))
        assert (seconds - 5) * 1000 < left <= seconds * 1000


@pytest.mark.parametrize("body, status, code, field", [
    ({"role": "admin"}, 422, "invalid_value", "role"), ({"role": 1}, 400, "invalid_request", "role"),
    ({"ttlSeconds": 10.5}, 400, "invalid_request", "ttlSeconds"), ({"ttl": 10}, 400, "invalid_request", "ttl"),
    ([], 400, "invalid_request", None)])
def test_a_bad_offer(phone, session, body, status, code, field):
    answer = phone.post(f"{path_of(session)}/handoff-codes", json=body)
    refused(answer, status, code, **({"field": field} if field else {}))


def test_only_the_owner_makes_one(api, phone, stranger, session):
    for role in ("viewer", "editor"):
        refused(offer(stranger, session), 404 if role == "viewer" else 403,
                "not_found" if role == "viewer" else "forbidden")
        share(phone, session, stranger.user, role)
    refused(offer(stranger, session), 403, "forbidden")
    reader = device_of(api, phone.user, "phone", scope="sessions:read")
    refused(offer(reader, session), 403, "forbidden")
    refused(offer(device_of(api, phone.user, None), session), 400, "invalid_request", field="X-Device-Id")
    refused(phone.post(f"/sessions/{MISSING_ID}/handoff-codes"), 404, "not_found")


def test_an_ended_session_has_none(phone, session):
    phone.status(session["id"], "cancelled")
    refused(offer(phone, session), 409, "session_ended")


def test_ten_live_at_once(api, phone, laptop, session):
    codes = [code_of(phone, session, ttlSeconds=300 - i) for i in range(10)]
    answer = offer(phone, session)
    refused(answer, 429, "rate_limited", temporary=True)
    assert 280 <= int(answer.headers["Retry-After"]) <= 291  # the last one's
    code_of(phone, phone.create({}))  # of another session
    got_in(redeem(laptop, codes[3]), session)
    codes[3] = wait_until(lambda: offer(phone, session).json().get("code"), what="the place of the used one")
    refused(offer(phone, session), 429, "rate_limited")
    assert {redeem(laptop, code).status_code for code in codes} == {200}


def test_a_place_is_free_again_when_its_code_ends(api, phone, session):
    for _ in range(10):
        code_of(phone, session)
    places = f"handoff:{{{session['id']}}}:codes"
    store = api.redis_client()
    held = store.get(places).split(" ")
    assert len(held) == 20 and 0 < store.pttl(places) <= 120_000
    held[1] = str(int(held[1]) - 120_000)
    store.set(places, " ".join(held), px=60_000)
    code_of(phone, session)
    refused(offer(phone, session), 429, "rate_limited")


def test_redis_has_its_hash_alone(api, phone, laptop, session):
    code = code_of(phone, session, role="editor")
    store = api.redis_client()
    assert code not in "\n".join(store.keys()) + str(store.get(key_of(code)))
    words = store.get(key_of(code)).split(" ")
    assert words == [session["id"], phone.user, "editor", "phone", "-", "-", "-"]
    redeem(laptop, code)
    words = store.get(key_of(code)).split(" ")
    assert words[:4] == [session["id"], phone.user, "editor", "phone"] and words[5:] == [laptop.user, "laptop"]
    assert 0 < store.pttl(key_of(code)) <= 120_000


# ---- showing it ----

@pytest.mark.parametrize("accept, media_type", [
    (None, "image/svg+xml"), ("*/*", "image/svg+xml"), ("image/*", "image/svg+xml"),
    ("image/png", "image/png"), ("image/svg+xml;q=0.5, image/png", "image/png"),
    ("text/plain", "text/plain"), ("text/*, image/*;q=0.9", "text/plain"),
    ("application/json, */*;q=0.1", "image/svg+xml"), ("image/svg+xml;q=0, */*", "image/png")])
def test_a_code_is_shown(phone, session, accept, media_type):
    made = offer(phone, session).json()
    path = f"{path_of(session)}/handoff-codes/{made['code']}"
    answer = phone.get(path, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].partition(";")[0] == media_type
    assert answer.headers["Vary"] == "Authorization, Origin, Accept"
    assert answer.headers["Cache-Control"] == "no-store"
    if media_type == "image/png":
        assert scan(answer.content) == made["url"]
    else:
        answer.encoding = "utf-8"
        rows = (modules_of_svg if media_type == "image/svg+xml" else modules_of_text)(answer.text)
        assert quiet(rows) and scan(paint(rows)) == made["url"]
    head = phone.request("HEAD", path, headers={"Accept": accept})
    assert head.status_code == 200 and head.headers["Content-Type"] == answer.headers["Content-Type"]
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


@pytest.mark.parametrize("accept", ["application/json", "image/gif", "*/*;q=0"])
def test_what_no_code_can_be_shown_as(phone, session, accept):
    path = f"{path_of(session)}/handoff-codes/{code_of(phone, session)}"
    refused(phone.get(path, headers={"Accept": accept}), 406, "not_acceptable", field="Accept")


def test_the_url_is_the_operators(suite, own_api, user):
    url = "https://app.example/go?code={code}&from=" + "x" * 200
    api = own_api(HANDOFF_CODE_URL=url)
    phone = api.device(user, "phone")
    session = phone.create({})
    made = offer(phone, session).json()
    assert made["url"] == url.replace("{code}", made["code"])
    answer = phone.get(f"{path_of(session)}/handoff-codes/{made['code']}", headers={"Accept": "image/png"})
    assert scan(answer.content) == made["url"]


def test_who_may_see_one(api, phone, laptop, stranger, session):
    code = code_of(phone, session)
    path = f"{path_of(session)}/handoff-codes/{code}"
    assert laptop.get(path).status_code == 200
    refused(stranger.get(path), 404, "not_found")
    share(phone, session, stranger.user, "editor")
    refused(stranger.get(path), 403, "forbidden")
    for missing in (WRONG, code[:-1], code + "A", code[:-1] + "!"):
        refused(phone.get(f"{path_of(session)}/handoff-codes/{missing}"), 404, "not_found")
    refused(phone.get(f"{path_of(phone.create({}))}/handoff-codes/{code}"), 404, "not_found")
    redeem(laptop, code)
    refused(phone.get(path), 404, "not_found")
    expired = code_of(phone, session)
    api.redis_client().delete(key_of(expired))
    refused(phone.get(f"{path_of(session)}/handoff-codes/{expired}"), 404, "not_found")


# ---- redeeming ----

def test_the_next_device_gets_the_session(api, phone, laptop, session):
    phone.json_patch(session["id"], [{"op": "add", "path": "/data/n", "value": 2}])
    code = code_of(phone, session)
    with subscribed(phone, session["id"]) as told:
        answer = redeem(laptop, code, body={"device": {"id": "laptop", "name": "Ada's laptop", "platform": "web"}})
        body = got_in(answer, {**session, "data": {"n": 2}})
        assert answer.headers["Cache-Control"] == "no-store"
        assert body == laptop.read(session["id"]) and "token" not in body
        with subscribed(laptop, session["id"]):
            assert told.expect("device_joined")["deviceId"] in ("phone", "laptop")
            wait_joined(api, session["id"], "laptop")


def test_a_used_code_is_used(api, phone, laptop, session):
    code = code_of(phone, session)
    got_in(redeem(laptop, code), session)
    tablet = device_of(api, phone.user, "tablet")
    assert wrong(redeem(tablet, code)) == wrong(redeem(tablet, WRONG)) == wrong(redeem(phone, code))
    got_in(redeem(laptop, code), session)  # its answer may have been lost


def test_an_expired_code_is_a_wrong_one(api, phone, laptop, session):
    code = code_of(phone, session)
    store = api.redis_client()
    store.pexpire(key_of(code), 1)
    wait_until(lambda: not store.exists(key_of(code)), what="its end")
    assert wrong(redeem(laptop, code)) == wrong(redeem(laptop, WRONG))


def test_a_code_for_ones_own_account_is_for_nobody_else(phone, laptop, stranger, session):
    for body in ({}, {"role": "owner"}):
        code = code_of(phone, session, **body)
        assert wrong(redeem(stranger, code)) == wrong(redeem(stranger, WRONG))
        got_in(redeem(laptop, code), session)
    assert participants(phone, session) == [(phone.user, "owner")]


@pytest.mark.parametrize("role", ["editor", "viewer"])
def test_another_user_takes_part(api, phone, stranger, session, role):
    with subscribed(phone, session["id"]) as told:
        body = got_in(redeem(stranger, code_of(phone, session, role=role)), session, role)
        assert body["version"] == session["version"] + 1
        told.expect("participant_changed", version=2, participant=stranger.user, role=role,
                    userId=phone.user, deviceId="phone")
        with subscribed(stranger, session["id"]):
            told.recv_until("device_joined", deviceId="tablet", userId=stranger.user)
    assert participants(phone, session) == [(phone.user, "owner"), (stranger.user, role)]
    wait_until(lambda: api.query("select 1 from session_events where session_id = %s and type = "
                                 "'participant_changed'", session["id"]), what="the history")


def test_a_role_is_never_taken_away_by_one_that_is_less(phone, laptop, stranger, session):
    share(phone, session, stranger.user, "editor")
    body = got_in(redeem(stranger, code_of(phone, session, role="viewer")), session, "editor")
    assert body["version"] == session["version"] + 1  # of the sharing
    got_in(redeem(laptop, code_of(phone, session, role="viewer")), session)  # the owner stays it
    assert participants(phone, session) == [(phone.user, "owner"), (stranger.user, "editor")]


def test_a_role_grows_by_one_that_is_more(phone, stranger, session):
    share(phone, session, stranger.user, "viewer")
    got_in(redeem(stranger, code_of(phone, session, role="editor")), session, "editor")


def test_one_of_twenty_gets_in(api, phone, session):
    code = code_of(phone, session, role="editor")
    devices = [device_of(api, new_user(), f"tablet-{i}") for i in range(20)]
    answers = together(20, lambda i: redeem(devices[i], code))
    assert sorted(a.status_code for a in answers) == [200] + 19 * [404]
    winner = devices[[a.status_code for a in answers].index(200)]
    assert participants(phone, session) == [(phone.user, "owner"), (winner.user, "editor")]
    got_in(redeem(winner, code), session, "editor")


def test_the_same_device_twenty_times_at_once(api, phone, laptop, session):
    code = code_of(phone, session)
    devices = [device_of(api, phone.user, "laptop") for i in range(20)]
    answers = together(20, lambda i: redeem(devices[i], code))
    assert [a.status_code for a in answers] == 20 * [200]


def test_what_the_inviting_device_may_no_more_its_codes_do_not(phone, laptop, stranger, session):
    own, shared = code_of(laptop, session), code_of(laptop, session, role="editor")
    deny(phone, session, "laptop")
    assert wrong(redeem(phone, own)) == wrong(redeem(stranger, shared)) == wrong(redeem(stranger, WRONG))
    assert participants(phone, session) == [(phone.user, "owner")]


def test_a_device_that_is_kept_out_stays_out(phone, laptop, session):
    deny(phone, session, "laptop")
    refused(redeem(laptop, code_of(phone, session)), 403, "device_removed")


def test_codes_of_a_session_that_is_gone(phone, laptop, session):
    code = code_of(phone, session)
    assert phone.delete(path_of(session)).status_code == 204
    assert wrong(redeem(laptop, code)) == wrong(redeem(laptop, WRONG))


def test_codes_of_a_session_that_ended_meanwhile(phone, laptop, stranger, session):
    own, shared = code_of(phone, session), code_of(phone, session, role="editor")
    phone.status(session["id"], "cancelled")
    assert got_in(redeem(laptop, own), session)["status"] == "cancelled"
    refused(redeem(stranger, shared), 409, "session_ended")


def test_a_session_that_went_cold(suite, api, phone, laptop, stranger):
    session = phone.create({"n": 1}, ttlSeconds=86400)
    own, shared = code_of(phone, session), code_of(phone, session, role="viewer")
    cool(suite, session["id"])
    got_in(redeem(laptop, own), session)
    got_in(redeem(stranger, shared), session, "viewer")


def test_a_session_has_room_for_so_many(phone, stranger, session):
    for _ in range(100):
        share(phone, session, new_user(), "viewer")
    code = code_of(phone, session, role="viewer")
    refused(redeem(stranger, code), 422, "invalid_value")
    user = participants(phone, session)[1][0]
    assert phone.delete(f"{path_of(session)}/participants/{user}").status_code == 204
    got_in(redeem(stranger, code), session, "viewer")  # it lost nothing


def test_an_answer_that_did_not_come_loses_nothing(own_suite, stranger):
    own = own_suite(HANDOFF_COMMAND_DEADLINE="200ms")
    phone, tablet = own.device(new_user(), "phone"), own.device(stranger.user, "tablet")
    session = phone.create({"n": 1})
    code = code_of(phone, session, role="editor")
    own.kill("state_engine")
    assert redeem(tablet, code).status_code in (503, 504)
    own.restart("state_engine")
    answer = wait_until(lambda: (a := redeem(tablet, code)).status_code < 500 and a, what="the engine")
    got_in(answer, session, "editor")
    assert participants(phone, session) == [(phone.user, "owner"), (stranger.user, "editor")]


# ---- who asks ----

def test_a_device_may_name_itself_in_the_body(api, phone, session):
    nameless = device_of(api, phone.user, None)
    refused(redeem(nameless, code_of(phone, session)), 400, "invalid_request", field="X-Device-Id")
    got_in(redeem(nameless, code_of(phone, session), body={"device": {"id": "laptop"}}), session)
    got_in(redeem(nameless, code_of(phone, session), headers={"X-Device-Id": "laptop"}), session)
    refused(redeem(phone, code_of(phone, session), body={"device": {"id": "laptop"}}), 403, "forbidden")
    reader = device_of(api, phone.user, "laptop", scope="sessions:read")
    refused(redeem(reader, code_of(phone, session)), 403, "forbidden")


@pytest.mark.parametrize("body, status, code, field", [
    ({}, 400, "invalid_request", "code"), ({"code": 1}, 400, "invalid_request", "code"),
    ({"code": WRONG, "Code": 1}, 400, "invalid_request", "Code"),
    ({"code": WRONG, "device": "laptop"}, 400, "invalid_request", "device"),
    ({"code": WRONG, "device": {"id": ".."}}, 422, "invalid_value", "id"),
    ({"code": WRONG, "device": {"id": "x" * 129}}, 422, "invalid_value", "id"),
    ({"code": WRONG, "device": {"name": "x" * 256}}, 422, "invalid_value", "name"),
    ({"code": WRONG, "device": {"name": "a\nb"}}, 422, "invalid_value", "name"),
    ({"code": WRONG, "device": {"platform": "x" * 65}}, 422, "invalid_value", "platform"),
    ({"code": WRONG, "device": {"os": "x"}}, 400, "invalid_request", "os")])
def test_a_bad_request(phone, body, status, code, field):
    refused(phone.post("/handoff", json=body), status, code, field=field)


@pytest.mark.parametrize("code", ["", "short", WRONG, "x" * 10_000, "ä" * 22, WRONG[:-1] + "B"])
def test_whatever_is_wrong_with_a_code_it_is_not_there(phone, code):
    wrong(redeem(phone, code))


def test_without_a_token_and_a_key_to_sign_one(own_api, user):
    api = own_api(HANDOFF_SESSION_TOKEN_KEY="")
    phone = api.device(user, "phone")
    code = code_of(phone, phone.create({}))
    answer = requests.post(f"{api.api_url}/handoff", json={"code": code}, timeout=MAX_WAIT)
    check_answer(answer)
    refused(answer, 401, "unauthenticated")
    expired = requests.post(f"{api.api_url}/handoff", json={"code": code}, timeout=MAX_WAIT,
                            headers={"Authorization": f"Bearer {token(phone.user, 'x', seconds=-100)}"})
    refused(expired, 401, "token_expired")


# ---- wrong ones ----

def guess(api, address, code=WRONG):
    return redeem(device_of(api, new_user(), "tablet", address), code)


def test_ten_wrong_ones_a_minute(api, suite, tmp_path, phone, stranger, session):
    other = api_beside(suite, tmp_path)
    address, neighbour = next(addresses), next(addresses)
    try:
        for i in range(10):
            wrong(guess((api, other)[i % 2], address))
        for instance in (api, other):
            answer = guess(instance, address)
            refused(answer, 429, "rate_limited", temporary=True)
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
        laptop = device_of(other, phone.user, "laptop", address)
        code = code_of(phone, session)
        refused(redeem(laptop, code), 429, "rate_limited")  # a right one neither: nobody learns by guessing
        got_in(redeem(device_of(other, phone.user, "laptop", neighbour), code), session)
        assert metric(other.services["session_api"], 'handoff_codes_total{outcome="limited"}') == 2
        assert metric(other.services["session_api"], 'handoff_codes_total{outcome="wrong"}') == 5
        assert metric(other.services["session_api"], 'handoff_codes_total{outcome="redeemed"}') == 1
    finally:
        other.stop()


def test_a_minute_later(api):
    address = next(addresses)
    for _ in range(10):
        wrong(guess(api, address))
    refused(guess(api, address), 429, "rate_limited")
    store, key = api.redis_client(), f"handoff:{{{address}}}:tries"
    moments = store.get(key).split(" ")
    assert len(moments) == 10 and 0 < store.pttl(key) <= 60_000
    store.set(key, " ".join([str(int(moments[0]) - 60_000_000), *moments[1:]]), px=60_000)
    wrong(guess(api, address))
    refused(guess(api, address), 429, "rate_limited")


def test_all_at_once_are_no_more(api):
    address = next(addresses)
    answers = together(20, lambda i: guess(api, address))
    assert sorted(a.status_code for a in answers) == 10 * [404] + 10 * [429]


def test_right_ones_do_not_count(api, phone, user, session):
    laptop = device_of(api, user, "laptop")
    for _ in range(12):
        got_in(redeem(laptop, code_of(phone, session)), session)
    refused(redeem(laptop, "x", body={"device": {"id": "other"}}), 403, "forbidden")
    address = laptop.http.headers["X-Forwarded-For"]
    key = f"handoff:{{{address}}}:tries"
    wait_until(lambda: not api.redis_client().get(key), what="the last one taken back")


# ---- secrets ----

def test_no_log_has_a_code(api, suite, phone, laptop, stranger, session):
    """At the most talkative level, whatever becomes of it."""
    codes = [code_of(phone, session), code_of(phone, session, role="editor"), code_of(phone, session)]
    path = f"{path_of(session)}/handoff-codes/{codes[0]}"
    phone.get(path), stranger.get(path), phone.get(path, headers={"Accept": "audio/ogg"}), phone.delete(path)
    stranger.get(path, headers={"Authorization": "Bearer no"})
    redeem(laptop, codes[0]), redeem(stranger, codes[0]), redeem(stranger, codes[1])
    stranger.post("/handoff", data=json.dumps({"code": codes[2]})[:-1], headers={"Content-Type": "application/json"})
    stranger.post(f"/handoff?code={codes[2]}", json={"code": codes[2], "device": 1})
    records = wait_until(lambda: [r for r in api.log_records("session_api") if r["event"] == "code_redeemed"
                                  and r.get("sessionId") == session["id"]], what="the log")
    assert {(r["userId"], r["deviceId"], r["role"]) for r in records} == {
        (phone.user, "laptop", "owner"), (stranger.user, "tablet", "editor")}
    logs = [*api.log_folder.rglob("*"), *suite.log_folder.rglob("*")]
    texts = {p: p.read_text(errors="replace") for p in logs if p.is_file()}
    assert any("request_refused" in text for text in texts.values())
    for code, (name, text) in itertools.product(codes, texts.items()):
        assert code not in text, name


@pytest.mark.parametrize("url", ["https://app.example/", "{code}", "https://{code}/{code}", "//x/{code}",
                                 "https://app.example/{code} ", "https://app.example/{code}" + "x" * 240])
def test_a_bad_url_stops_the_start(suite, url):
    done = subprocess.run([BUILD / "bin" / "session_api", "--check-config"],
                          env={**suite.env, "HANDOFF_CODE_URL": url}, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "HANDOFF_CODE_URL" in done.stderr, done.stderr

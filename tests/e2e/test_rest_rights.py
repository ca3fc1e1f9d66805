"""Who may call what: every operation of a session for everybody who may ask. A new operation needs a row."""

import pytest

from cold import cool
from documents import METHODS
from everybody import (ALL, API, FORBIDDEN, NO_DEVICE, NOT_FOUND, OK, REMOVED, WITHOUT, Everybody, check)
from harness import wait_until
from rest import MISSING_ID

PATCH = {"operations": [{"op": "add", "path": "/data/n", "value": 1}]}

# What each may.
OTHERS = {"owner": OK, "editor": OK, "viewer": OK, "stranger": NOT_FOUND, "removed": REMOVED, **WITHOUT}
READ = {**OTHERS, **dict.fromkeys(["admin", "only_admin", "reader", "deviceless"], OK), "writer": FORBIDDEN}
EDIT = {**OTHERS, **dict.fromkeys(["viewer", "admin", "only_admin", "reader"], FORBIDDEN), "writer": OK, "deviceless": NO_DEVICE}
BEAT = {**EDIT, "viewer": OK}
OWN = {**EDIT, "editor": FORBIDDEN}
END = {**OWN, "admin": OK, "only_admin": OK}
CANCEL = {**EDIT, "admin": OK, "only_admin": OK}
SHOW = {**dict.fromkeys(ALL, FORBIDDEN), **OTHERS, "editor": FORBIDDEN, "viewer": FORBIDDEN, "reader": OK, "deviceless": OK}
RENEW = {**dict.fromkeys(ALL, FORBIDDEN), **WITHOUT, "stranger": NOT_FOUND, "removed": REMOVED,
         "deviceless": NO_DEVICE}  # a session token alone may
SECRET = {"cache": "no-store"}

CLOCK = {"mode": "per_cycle", "timePerCycleMs": 3600000, "participants": [{"participantId": "a"}, {"participantId": "b"}]}

# (method, path, what it needs: of the session, "made" with it, and of the request; how long the answer keeps: "cache"; who may)
TABLE = [
    *[(method, path, {}, READ) for method in ("GET", "HEAD") for path in (
        "", "/deltas", "/history", "/snapshots", "/snapshots/{version}", "/devices", "/participants")],
    ("PATCH", "", {"json": PATCH}, EDIT),
    ("POST", "", {"params": {"status": "paused"}}, EDIT),
    ("POST", "", {"params": {"status": "cancelled"}}, CANCEL),
    ("DELETE", "", {}, END),
    ("POST", "/heartbeat", {}, BEAT),
    ("POST", "/broadcast", {"json": {"message": 1}}, EDIT),
    ("POST", "/snapshots", {"json": {"label": "l"}}, EDIT),
    ("POST", "/restore", {"json": {"version": 1}}, EDIT),
    ("PUT", "/devices/{deviceId}", {}, OWN),
    ("DELETE", "/devices/{deviceId}", {}, OWN),
    ("PUT", "/participants/{userId}", {"json": {"role": "editor"}}, OWN),
    ("DELETE", "/participants/{userId}", {}, OWN),
    ("PUT", "/clock", {"made": {"status": "pending"}, "json": CLOCK}, OWN),
    ("POST", "/switch", {"made": {"clock": CLOCK}, "json": {"currentParticipantId": "a"}}, EDIT),
    ("POST", "/clock/{participantId}", {"made": {"clock": CLOCK}, "json": {"adjustMs": 1, "reason": "r"}}, OWN),
    ("POST", "/handoff-codes", {"json": {}, **SECRET}, OWN),
    *[(method, "/handoff-codes/{code}", SECRET, SHOW) for method in ("GET", "HEAD")],
    ("POST", "/token", SECRET, RENEW),
]


def request_of(needs):
    return {name: value for name, value in needs.items() if name not in ("made", "cache")}


def test_every_operation_has_a_row():
    described = {(method.upper(), path.removeprefix("/sessions/{id}"))
                 for path, item in API.rest.items() if path.startswith("/sessions/{id}")
                 for method in METHODS if method in item and method != "options"}
    assert {row[:2] for row in TABLE} == described


@pytest.fixture(scope="module")
def everybody(suite):
    return Everybody(suite)


@pytest.mark.parametrize("method, path, needs, may", TABLE,
                         ids=[f"{m} {p or '/'}{n.get('params', {}).get('status', '')}" for m, p, n, _ in TABLE])
def test_who_may(everybody, method, path, needs, may):
    """Who may gets a session of its own; all who may not meet the same one, to which nothing happens."""
    assert may.keys() == set(ALL)
    untouched = everybody.session(**needs.get("made", {}))
    for who in ALL:
        session = everybody.session(**needs.get("made", {})) if may[who] == OK and method not in ("GET", "HEAD") else untouched
        check(everybody.ask(who, method, path, session, **request_of(needs)), may[who], who, needs.get("cache", "private, no-cache"))
    assert everybody.owner.read(untouched["id"])["version"] == 4


@pytest.mark.parametrize("path", ["", "/deltas?since=4", "/history", "/snapshots", "/snapshots/{version}", "/devices",
                                  "/participants"])
def test_who_may_read_what_redis_has_not(everybody, path):
    """The same answers from PostgreSQL."""
    session = everybody.session()
    cool(everybody.suite, session["id"])
    for who in ALL:
        check(everybody.ask(who, "GET", path, session), READ[who], who)


@pytest.mark.parametrize("path", sorted({row[1] for row in TABLE}))
def test_what_a_path_takes(everybody, path):
    """HEAD is GET without its body; OPTIONS and 405 tell the same methods; none needs an existing session."""
    session = everybody.session()
    methods = {row[0] for row in TABLE if row[1] == path} | {"OPTIONS"}
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW"} - methods:
        answer = everybody.ask("nobody", method, path, session)
        assert answer.status_code == 405, (method, answer.text)
        assert set(answer.headers["Allow"].split(", ")) == methods
    answer = everybody.ask("nobody", "OPTIONS", path, {"id": MISSING_ID})
    assert answer.status_code == 204 and set(answer.headers["Allow"].split(", ")) == methods
    if "GET" not in methods:
        return
    def kept(answer):
        return {k.lower(): v for k, v in answer.headers.items() if k.lower() not in ("x-request-id", "date")}

    def ask_both():
        got, head = (everybody.ask("owner", method, path, session) for method in ("GET", "HEAD"))
        assert not head.content and head.status_code == got.status_code == 200
        return kept(got) == kept(head)  # what PostgreSQL hears of in between may differ
    wait_until(ask_both, what="the same headers")


WRITES = [row for row in TABLE if row[3] is not READ and row[1] not in ("/heartbeat", "/broadcast", "/token")
          and "handoff-codes" not in row[1]]


@pytest.mark.parametrize("method, path, needs, may", WRITES, ids=[f"{w[0]} {w[1] or '/'}" for w in WRITES])
def test_every_write_of_a_session_heeds_if_match(everybody, method, path, needs, may):
    session = everybody.session(**needs.get("made", {}))
    for tag, status in (('"3"', 412), ('"4.2"', 412), ('W/"4"', 400), ("4", 400)):
        answer = everybody.ask("owner", method, path, session, headers={"If-Match": tag}, **request_of(needs))
        assert answer.status_code == status, (tag, answer.text)
        assert everybody.owner.read(session["id"])["version"] == 4
    answer = everybody.ask("owner", method, path, session, headers={"If-Match": '"3", "4"'},
                           **request_of(needs))
    assert answer.ok, answer.text


@pytest.mark.parametrize("path, needs", [("/snapshots", {"json": {"label": "l"}}),
                                         ("/restore", {"json": {"version": 1}})])
def test_a_key_makes_once(everybody, path, needs):
    session = everybody.session()
    everybody.owner.patch(session["id"], **PATCH)
    key = {"headers": {"Idempotency-Key": "k"}}
    first, again = (everybody.ask("owner", "POST", path, session, **needs, **key) for _ in range(2))
    assert first.status_code == again.status_code and first.json()["version"] == again.json()["version"]
    assert "Idempotency-Replayed" not in first.headers and again.headers["Idempotency-Replayed"] == "true"
    other = everybody.ask("owner", "POST", path, session, json={**needs["json"], "version": 2} if "version" in
                          needs["json"] else {"label": "other"}, **key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    stranger = everybody.ask("stranger", "POST", path, session, **needs, **key)
    assert stranger.status_code == 404

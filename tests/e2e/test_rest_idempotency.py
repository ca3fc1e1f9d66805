"""Idempotency-Key: the same key by the same user on the same session takes effect once."""

import pytest

from harness import new_user, together, wait_until
from rest import accepted, path_of, refused, unchanged

NEW = {"name": "n", "type": "t", "data": {"a": 1}}


def key(text):
    return {"Idempotency-Key": text}


def put(value):
    return [{"op": "replace", "path": "/data/a", "value": value}]


def is_replay(answer):
    assert answer.headers.get("Idempotency-Replayed") in (None, "true")
    return "Idempotency-Replayed" in answer.headers


def test_a_create_repeated_is_the_same_session(phone, suite):
    first = phone.post("/sessions", json=NEW, headers=key("k1"))
    second = phone.post("/sessions", json=NEW, headers=key("k1"))
    assert (first.status_code, is_replay(first)) == (201, False)
    assert second.status_code in (200, 201) and is_replay(second)
    assert first.json() == second.json()
    assert first.headers["ETag"] == second.headers["ETag"] == '"1"'
    assert first.headers["Location"] == second.headers["Location"]
    assert [e["type"] for e in phone.deltas(first.json()["id"])] == ["session_created"]
    wait_until(lambda: len(phone.get("/sessions").json()["items"]) == 1, what="one session listed")
    assert suite.query("select count(*) from sessions where user_id = %s",
                       first.json()["userId"])[0][0] == 1


def test_a_create_repeated_after_changes(phone):
    first = phone.post("/sessions", json=NEW, headers=key("k1")).json()
    phone.patch(first["id"], put(2))
    again = phone.post("/sessions", json=NEW, headers=key("k1"))
    assert is_replay(again) and again.json()["id"] == first["id"]
    assert again.headers["ETag"] == '"%d"' % again.json()["version"] == '"2"'
    assert phone.read(first["id"])["version"] == 2


@pytest.mark.parametrize("change", [
    lambda d, s, h: d.patch(s, put(2), headers=h),
    lambda d, s, h: d.patch(s, put(2), baseVersion=1, headers=h),
    lambda d, s, h: d.patch(s, put(2), headers={**h, "If-Match": '"1"'}),
    lambda d, s, h: d.json_patch(s, put(2), headers=h),
    lambda d, s, h: d.merge_patch(s, {"data": {"a": 2}}, headers=h),
], ids=["json", "with a base", "with If-Match", "json patch", "merge patch"])
def test_a_patch_repeated_takes_effect_once_and_answers_the_remembered_position(
        phone, laptop, change):
    session = phone.create({"a": 1})
    first = change(phone, session["id"], key("k"))
    result = accepted(first, version=2)
    accepted(laptop.patch(session["id"], put(7)), version=3)  # and the base is another by now
    with unchanged(phone, session["id"]) as current:
        for _ in range(3):
            again = change(phone, session["id"], key("k"))
            assert is_replay(again) and not is_replay(first)
            assert accepted(again, version=2)["checksum"] == result["checksum"]
        assert current["data"] == {"a": 7}


def test_a_transition_repeated_takes_effect_once(phone, laptop):
    session = phone.create()
    first = phone.status(session["id"], "paused", headers=key("k"))
    again = phone.status(session["id"], "paused", headers=key("k"))
    assert accepted(first, version=2) == accepted(again, version=2)
    assert (is_replay(first), is_replay(again)) == (False, True)
    laptop.status(session["id"], "active")
    with unchanged(phone, session["id"]):  # a late repeat does not pause it again
        assert is_replay(phone.status(session["id"], "paused", headers=key("k")))


def test_a_key_is_remembered_on_an_ended_session_too(phone):
    session = phone.create()
    accepted(phone.status(session["id"], "completed", headers=key("k")), version=2)
    again = phone.status(session["id"], "completed", headers=key("k"))
    assert again.status_code == 200 and is_replay(again)
    refused(phone.status(session["id"], "completed", headers=key("other")), 409, "session_ended")


@pytest.mark.parametrize("other", [
    lambda d, s, h: d.patch(s, put(3), headers=h),
    lambda d, s, h: d.patch(s, put(2), baseVersion=1, headers=h),
    lambda d, s, h: d.patch(s, put(2), headers={**h, "If-Match": "*"}),
    lambda d, s, h: d.patch(s, put(2) + put(2), headers=h),
    lambda d, s, h: d.merge_patch(s, {"data": {"a": 3}}, headers=h),
    lambda d, s, h: d.status(s, "paused", headers=h),
], ids=["other value", "other base", "other If-Match", "more operations", "other kind", "a transition"])
def test_another_request_under_the_key_is_refused(phone, other):
    session = phone.create({"a": 1})
    accepted(phone.patch(session["id"], put(2), headers=key("k")), version=2)
    with unchanged(phone, session["id"]):
        refused(other(phone, session["id"], key("k")), 422, "idempotency_key_reused", temporary=False)


def test_another_create_under_the_key_is_refused(phone):
    assert phone.post("/sessions", json=NEW, headers=key("k")).status_code == 201
    refused(phone.post("/sessions", json={**NEW, "name": "m"}, headers=key("k")), 422,
            "idempotency_key_reused")


def test_the_same_request_in_other_words_is_the_same(phone):
    session = phone.create({"a": {"x": 0}})
    headers = {**key("k"), "Content-Type": "application/json-patch+json"}
    ways = ['[{"op":"replace","path":"/data/a","value":{"x":1,"y":2}}]',
            ' [ {"value" : {"y":2.0,"x":1}, "path":"/data/\\u0061", "op":"replace"} ]']
    answers = [phone.request("PATCH", path_of(session), data=w, headers=headers) for w in ways]
    assert [is_replay(a) for a in answers] == [False, True]
    assert [accepted(a)["version"] for a in answers] == [2, 2]


def test_quoted_or_bare_it_is_the_same_key(phone):
    session = phone.create({"a": 1})
    assert not is_replay(phone.patch(session["id"], put(2), headers=key('"abc"')))
    assert is_replay(phone.patch(session["id"], put(2), headers=key("abc")))
    assert is_replay(phone.patch(session["id"], put(2), headers=key('"abc"')))
    assert phone.read(session["id"])["version"] == 2


def test_a_refused_request_may_be_sent_again_with_its_key(phone, laptop):
    session = phone.create({"a": 1})
    accepted(laptop.patch(session["id"], put(2)), version=2)
    refused(phone.patch(session["id"], put(3), baseVersion=1, headers=key("k")), 409, "version_conflict")
    refused(phone.json_patch(session["id"], [{"op": "remove", "path": "/data/b"}], headers=key("k")), 422,
            "patch_failed")
    rebased = phone.patch(session["id"], put(3), baseVersion=2, headers=key("k"))
    assert not is_replay(rebased)
    accepted(rebased, version=3)


def test_a_refused_create_may_be_sent_again_with_its_key(phone):
    assert phone.post("/sessions", json={**NEW, "ttlSeconds": 5}, headers=key("k")).status_code == 422
    answer = phone.post("/sessions", json=NEW, headers=key("k"))
    assert (answer.status_code, is_replay(answer)) == (201, False)


def test_keys_of_other_sessions_and_users_are_others(phone, laptop, stranger):
    one, two = phone.create({"a": 1}), phone.create({"a": 1})
    assert not is_replay(phone.patch(one["id"], put(2), headers=key("k")))
    assert not is_replay(phone.patch(two["id"], put(2), headers=key("k")))
    # The same user on another device is the same user.
    assert is_replay(laptop.patch(one["id"], put(2), headers=key("k")))
    created = [d.post("/sessions", json=NEW, headers=key("k")) for d in (phone, stranger, laptop)]
    assert [is_replay(a) for a in created] == [False, False, True]
    assert len({a.json()["id"] for a in created}) == 2


@pytest.mark.parametrize("bad", ["", '""', "x" * 129, "caf\u00e9", "a\tb"])
def test_keys_out_of_range_are_refused(phone, bad):
    session = phone.create({"a": 1})
    with unchanged(phone, session["id"]):
        headers = key(bad.encode("latin-1"))
        for answer in (phone.patch(session["id"], put(2), headers=headers),
                       phone.status(session["id"], "paused", headers=headers),
                       phone.post("/sessions", json=NEW, headers=headers)):
            assert refused(answer, 400, "invalid_request")["field"].lower() == "idempotency-key"


def test_a_key_of_128_characters(phone):
    session = phone.create({"a": 1})
    for replay in (False, True):
        assert is_replay(phone.patch(session["id"], put(2), headers=key("x" * 128))) is replay


def test_1000_keys_of_a_session_are_remembered(phone):
    session = phone.create({"a": 1})
    for n in range(150):
        accepted(phone.patch(session["id"], put(n), headers=key(f"k{n}")), version=n + 2)
    for n in (0, 75, 149):
        assert is_replay(phone.patch(session["id"], put(n), headers=key(f"k{n}")))


@pytest.mark.parametrize("work", ["patch", "status", "create"])
def test_16_at_once_under_one_key_are_one_effect(suite, user, phone, work):
    session = phone.create({"a": 1})
    devices = [suite.device(user, "phone") for _ in range(16)]

    def request(i):
        if work == "patch":
            return devices[i].patch(session["id"], put(2), headers=key("k"))
        if work == "status":
            return devices[i].status(session["id"], "paused", headers=key("k"))
        return devices[i].post("/sessions", json=NEW, headers=key("k"))

    answers = together(16, request)
    assert {a.status_code for a in answers} <= {200, 201}, [a.text for a in answers]
    assert sum(not is_replay(a) for a in answers) == 1
    assert len({(a.json()["id"], a.json()["version"]) for a in answers}) == 1
    made = answers[0].json()["id"]
    assert len(phone.deltas(made)) == (1 if work == "create" else 2)
    wait_until(lambda: len(suite.events_in_postgresql(made)) >= len(phone.deltas(made)), what="rows")
    assert len(suite.events_in_postgresql(made)) == len(phone.deltas(made))
    if work == "create":
        assert suite.query("select count(*) from sessions where user_id = %s", user)[0][0] == 2


def test_a_users_key_does_not_reach_strangers_sessions(suite, phone):
    session = phone.create({"a": 1})
    phone.patch(session["id"], put(2), headers=key("k"))
    thief = suite.device(new_user(), "phone")
    refused(thief.patch(session["id"], put(2), headers=key("k")), 404, "not_found")

"""PATCH: three media types, bases and conflicts, and the six operations of RFC 6902."""

import hashlib
import json

import jsonpatch
import pytest

from harness import checksum_of
from rest import (JSON, JSON_PATCH, MERGE_PATCH, MOMENT, accepted, follow, invalid, path_of, refused,
                  send_patch, unchanged)

KIB = 1024


def put(path, value):
    return {"op": "replace", "path": path, "value": value}


def add(path, value):
    return {"op": "add", "path": path, "value": value}


def remove(path):
    return {"op": "remove", "path": path}


def test(path, value):  # an operation, not a test
    return {"op": "test", "path": path, "value": value}


test.__test__ = False


def move(source, path):
    return {"op": "move", "from": source, "path": path}


def copy(source, path):
    return {"op": "copy", "from": source, "path": path}


# ---- three media types, one delta ----

@pytest.mark.parametrize("media_type, body", [
    (JSON_PATCH, [put("/data/a", 2), remove("/data/b"), add("/data/c", {"d": [1]})]),
    (MERGE_PATCH, {"data": {"a": 2, "b": None, "c": {"d": [1]}}}),
    (JSON, {"operations": [put("/data/a", 2), remove("/data/b"), add("/data/c", {"d": [1]})]}),
    (JSON, {"baseVersion": 1, "epoch": 1, "merge": "reject",
            "operations": [put("/data", {"a": 2, "c": {"d": [1]}})]}),
])
def test_a_patch_is_one_delta_whatever_it_came_as(phone, media_type, body):
    before = phone.create({"a": 1, "b": 1})
    answer = send_patch(phone, before["id"], body, media_type)
    result = accepted(answer, version=2)
    data = {"a": 2, "c": {"d": [1]}}
    assert MOMENT.match(result["lastModified"])
    assert result == {"id": before["id"], "version": 2, "baseVersion": 1, "epoch": 1,
                      "checksum": checksum_of(data), "lastModified": result["lastModified"],
                      "rebased": False}
    [event] = phone.deltas(before["id"], since=1)
    assert (event["type"], event["baseVersion"], event["checksum"]) == (
        "state_delta", 1, checksum_of(data))
    after = phone.read(before["id"])
    assert after["data"] == data == follow(before, [event])["data"]
    changed = {"version", "updatedAt", "lastModified", "expiresAt", "data", "checksum"}
    assert {k: v for k, v in after.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed}
    assert after["updatedAt"] == after["lastModified"] == result["lastModified"]


@pytest.mark.parametrize("before, patch, after", [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}), ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}), ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}), (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]), ({"e": None}, {"a": 1}, {"e": None, "a": 1}), ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}), ({"a": {"~": 1, "/": 2}}, {"a": {"/": None}}, {"a": {"~": 1}}),
])
def test_merge_patches_do_what_rfc_7396_says(phone, before, patch, after):
    session = phone.create(before)
    result = accepted(phone.merge_patch(session["id"], {"data": patch}), version=2)
    assert result["checksum"] == checksum_of(after)
    [event] = phone.deltas(session["id"], since=1)
    assert follow(session, [event])["data"] == phone.read(session["id"])["data"] == after


def test_a_merge_patch_of_the_name_leaves_data(phone):
    session = phone.create({"a": 1})
    accepted(phone.merge_patch(session["id"], {"name": "new"}), version=2)
    after = phone.read(session["id"])
    assert (after["name"], after["data"], after["checksum"]) == ("new", {"a": 1}, session["checksum"])


@pytest.mark.parametrize("patch, status, code", [
    ({"name": None}, 422, "invalid_value"), ({"data": None}, 422, "invalid_value"),
    ({"name": ""}, 422, "invalid_value"),
    ({"status": "paused"}, 422, "path_not_writable"), ({"version": 9}, 422, "path_not_writable"),
    ({"data": {"a": 2}, "id": "x"}, 422, "path_not_writable"),
    ({"clock": {}}, 422, "path_not_writable")])
def test_refused_merge_patches(phone, patch, status, code):
    session = phone.create({"a": 1})
    with unchanged(phone, session["id"]):
        refused(phone.merge_patch(session["id"], patch), status, code)


@pytest.mark.parametrize("patch", [[], "x", 5, None, True, {"name": 5}, {"name": ["n"]}], ids=repr)
def test_merge_patches_of_a_wrong_shape_are_refused(phone, patch):
    session = phone.create({"a": 1})
    with unchanged(phone, session["id"]):
        invalid(phone.merge_patch(session["id"], patch))


# ---- six operations ----

@pytest.mark.parametrize("before, operations, after", [
    # add
    ({}, [add("/data/a", 1)], {"a": 1}), ({"a": 1}, [add("/data/a", 2)], {"a": 2}),
    ([1, 3], [add("/data/1", 2)], [1, 2, 3]), ([1], [add("/data/1", 2)], [1, 2]),
    ([1], [add("/data/-", 2), add("/data/-", 3)], [1, 2, 3]), ([], [add("/data/0", 1)], [1]),
    ({"a": 1}, [add("/data", [])], []), ({}, [add("/data/", 1)], {"": 1}),
    ({}, [add("/data/~0~1", 1)], {"~/": 1}), ({}, [add("/data/~01", 1)], {"~1": 1}),
    ({}, [add("/data/é\U0001f600", 1)], {"é\U0001f600": 1}), ({}, [add("/data/01", 1)], {"01": 1}),
    ({}, [add("/data/-", 1)], {"-": 1}), ({"a": {}}, [add("/data/a/b", None)], {"a": {"b": None}}),
    # remove, replace
    ({"a": 1, "b": 2}, [remove("/data/a")], {"b": 2}), ([1, 2, 3], [remove("/data/1")], [1, 3]),
    ([1, 2, 3], [remove("/data/0"), remove("/data/0")], [3]),
    ({"a": 1}, [put("/data/a", {"b": 2})], {"a": {"b": 2}}), ([1, 2], [put("/data/1", 3)], [1, 3]),
    ({"a": 1}, [put("/data", None)], None), ({"a": None}, [put("/data/a", 1)], {"a": 1}),
    ({"a": 1}, [remove("/data"), add("/data", 5)], 5),
    # move, copy
    ({"a": 1}, [move("/data/a", "/data/b")], {"b": 1}), ({"a": 1}, [move("/data/a", "/data/a")], {"a": 1}),
    ([1, 2, 3], [move("/data/0", "/data/2")], [2, 3, 1]), ([1, 2, 3], [move("/data/2", "/data/0")], [3, 1, 2]),
    ([1, 2], [move("/data/0", "/data/-")], [2, 1]), ({"a": {"b": 1}}, [move("/data/a/b", "/data")], 1),
    ({"a": [1], "b": {}}, [copy("/data/a", "/data/b/c")], {"a": [1], "b": {"c": [1]}}),
    ({"a": [1]}, [copy("/data/a", "/data/a/-")], {"a": [1, [1]]}),
    ({"a": [1]}, [copy("/data/a", "/data/b"), add("/data/b/-", 2)], {"a": [1], "b": [1, 2]}),
    ({"a": {"b": 1}}, [copy("/data", "/data/a/c")], {"a": {"b": 1, "c": {"a": {"b": 1}}}}),
    # test
    ({"a": 1}, [test("/data/a", 1.0), put("/data/a", 2)], {"a": 2}),
    ({"a": 100}, [test("/data/a", 1e2), remove("/data/a")], {}),
    ({"a": {"b": 1, "c": [None]}}, [test("/data/a", {"c": [None], "b": 1}), remove("/data/a")], {}),
    ({"a": ""}, [test("/data/a", ""), remove("/data/a")], {}), (None, [test("/data", None), put("/data", 1)], 1),
    ({"a": 1}, [add("/data/b", 2), test("/data/b", 2), remove("/data/a")], {"b": 2}),
    ({}, [test("/status", "active"), test("/version", 1), test("/epoch", 1), test("/type", "meditation"),
          test("/role", "owner"), test("/name", "Evening meditation"), test("/ttlSeconds", 3600),
          test("/activeDeviceId", "phone"), test("/completedAt", None), add("/data/a", 1)], {"a": 1}),
    # members that RFC 6902 does not know are ignored
    ({}, [{**add("/data/a", 1), "from": 5, "comment": {}}], {"a": 1}),
])
def test_operations_lead_from_one_version_to_the_next(phone, before, operations, after):
    session = phone.create(before) if before is not None else phone.post(
        "/sessions", json={"name": "n", "type": "t", "data": None}).json()
    result = accepted(phone.json_patch(session["id"], operations), version=2)
    assert phone.read(session["id"])["data"] == after
    assert result["checksum"] == checksum_of(after)
    [event] = phone.deltas(session["id"], since=1)
    kept = [{k: o[k] for k in ("op", "path", "from", "value") if k in o and (k != "from" or o["op"] in ("move", "copy"))}
            for o in operations if o["op"] != "test"]
    told = [{k: v for k, v in o.items() if k != "comment" and (k != "from" or o["op"] in ("move", "copy"))}
            for o in event["operations"]]
    assert told == kept, "the event has the operations without the tests"


def test_a_name_copied_into_data_is_told_by_its_value(phone):
    """Who has the data and the deltas alone, as of a snapshot, can follow."""
    session = phone.create({})
    accepted(phone.json_patch(session["id"], [copy("/name", "/data/n")]), version=2)
    assert phone.read(session["id"])["data"] == {"n": "Evening meditation"}
    [event] = phone.deltas(session["id"], since=1)
    assert event["operations"] == [add("/data/n", "Evening meditation")]


FAILED = "patch_failed"


@pytest.mark.parametrize("before, operations, index", [
    ({}, [remove("/data/a")], 0), ({}, [put("/data/a", 1)], 0), ({}, [add("/data/a/b", 1)], 0),
    ([1], [add("/data/2", 1)], 0), ([1], [put("/data/1", 1)], 0), ([1], [remove("/data/1")], 0),
    ([1], [remove("/data/-")], 0), ([1], [put("/data/-", 1)], 0), ([1], [test("/data/-", 1)], 0),
    ([1, 2], [add("/data/01", 1)], 0), ([1, 2], [remove("/data/00")], 0), ([1, 2], [put("/data/1e0", 1)], 0),
    ([1, 2], [add("/data/-1", 1)], 0), ([1, 2], [add("/data/+1", 1)], 0), ([1, 2], [add("/data/1.0", 1)], 0),
    ([1], [remove("/data/18446744073709551616")], 0), ([1], [add("/data/99999999999999999999999", 1)], 0),
    ([1], [add("/data/", 1)], 0), ([1], [add("/data/ 0", 1)], 0),
    ({"a": 1}, [add("/data/a/b", 1)], 0), ({"a": "x"}, [add("/data/a/0", 1)], 0),
    ({"a": {"b": 1}}, [move("/data/a", "/data/a/b")], 0), ({"a": {"b": 1}}, [move("/data/a", "/data/a/c")], 0),
    ({"a": [1]}, [move("/data/a", "/data/a/-")], 0),
    ({}, [copy("/data/a", "/data/b")], 0), ({}, [move("/data/a", "/data/b")], 0),
    ({"a": 1}, [test("/data/a", 2)], 0), ({"a": 1}, [test("/data/a", "1")], 0), ({"a": 1}, [test("/data/a", True)], 0),
    ({"a": 0}, [test("/data/a", False)], 0), ({"a": 0}, [test("/data/a", None)], 0), ({}, [test("/data/a", None)], 0),
    ({"a": [1, 2]}, [test("/data/a", [2, 1])], 0), ({"a": {"b": 1}}, [test("/data/a", {"b": 1, "c": 1})], 0),
    ({"a": "é"}, [test("/data/a", "e\u0301")], 0), ({}, [test("/version", 2)], 0), ({}, [test("/nothing", 1)], 0),
    ({"a": 1}, [put("/data/a", 2), test("/data/a", 1)], 1),
    ({"a": 1}, [put("/data/a", 2), add("/data/b", 1), remove("/data/c"), put("/data/a", 3)], 2),
    ({"~1": 1}, [remove("/data/~1")], 0), ({"a/b": 1}, [remove("/data/a/b")], 0),
])
def test_a_failing_operation_fails_the_whole_patch(phone, before, operations, index):
    session = phone.create(before)
    with unchanged(phone, session["id"]):
        body = refused(phone.json_patch(session["id"], operations), 422, FAILED, index=index)
        bad = operations[index]
        assert body["pointer"] in (bad["path"], bad.get("from"))


@pytest.mark.parametrize("path", ["", "/", "/id", "/version", "/epoch", "/status", "/type", "/userId",
                                  "/ttlSeconds", "/onIdle", "/expiresAt", "/checksum", "/clock", "/role",
                                  "/activeDeviceId", "/nothing", "/dat", "/data2", "/Data", "/~0", "/names"])
@pytest.mark.parametrize("operation", [
    lambda path: put(path, "x"), lambda path: add(path, "x"), remove,
    lambda path: move("/data/a", path), lambda path: copy("/data/a", path),
    lambda path: move(path, "/data/b"), lambda path: copy(path, "/data/b"),
], ids=["replace", "add", "remove", "move to", "copy to", "move from", "copy from"])
def test_only_data_and_the_name_can_be_written_or_be_a_source(phone, operation, path):
    if not hasattr(phone, "some_session"):
        phone.some_session = phone.create({"a": "x"})
    session = phone.some_session
    body = refused(phone.json_patch(session["id"], [put("/data/a", "y"), operation(path)]), 422,
                   "path_not_writable")
    assert body.get("pointer", "") == path
    assert phone.read(session["id"]) == session


@pytest.mark.parametrize("operations", [
    [put("/name", "")], [put("/name", "x" * 256)], [put("/name", 5)], [put("/name", None)],
    [add("/name", ["x"])], [remove("/name")], [move("/name", "/data/n")], [remove("/data")],
    [move("/data", "/name")], [copy("/data", "/name")], [move("/data/a", "/data/b"), remove("/data")],
])
def test_afterwards_there_must_be_data_and_a_valid_name(phone, operations):
    session = phone.create({"a": "x"})
    with unchanged(phone, session["id"]):
        refused(phone.json_patch(session["id"], operations), 422, "invalid_value")


@pytest.mark.parametrize("operations, name", [
    ([put("/name", "x" * 255)], "x" * 255), ([put("/name", "\U0001f600" * 255)], "\U0001f600" * 255),
    ([remove("/name"), add("/name", "back")], "back"), ([copy("/data/a", "/name")], "a"),
    ([put("/name", "x" * 300), put("/name", "short")], "short")])
def test_names_change_as_data_does(phone, laptop, operations, name):
    session = phone.create({"a": "a"})
    accepted(phone.json_patch(session["id"], operations), version=2)
    assert laptop.read(session["id"])["name"] == name
    assert follow(session, laptop.deltas(session["id"], since=1))["name"] == name


@pytest.mark.parametrize("operation", [
    {}, {"op": "add"}, {"op": "add", "path": "/data/a"}, {"op": "replace", "path": "/data/a"},
    {"op": "test", "path": "/data/a"}, {"path": "/data/a", "value": 1}, {"op": "move", "path": "/data/b"},
    {"op": "copy", "path": "/data/b"}, {"op": "copy", "from": 5, "path": "/data/b"},
    {"op": "Add", "path": "/data/a", "value": 1}, {"op": "set", "path": "/data/a", "value": 1},
    {"op": 5, "path": "/data/a", "value": 1}, {"op": None, "path": "/data/a"},
    {"op": "remove", "path": 5}, {"op": "remove", "path": None}, {"op": "remove", "path": ["data"]},
    {"op": "remove", "path": "data/a"}, {"op": "remove", "path": "/data/~"},
    {"op": "remove", "path": "/data/~2"}, {"op": "remove", "path": "/data/a~"}, {"op": "remove", "path": "#/data/a"},
    "remove", 5, None, [], [add("/data/b", 1)],
], ids=lambda o: json.dumps(o))
def test_operations_of_a_wrong_shape_are_refused(phone, operation):
    session = phone.create({"a": 1})
    with unchanged(phone, session["id"]):
        for answer in (phone.json_patch(session["id"], [add("/data/b", 1), operation]),
                       phone.patch(session["id"], [add("/data/b", 1), operation])):
            refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("body", [{}, "x", 5, None, {"op": "remove", "path": "/data"}], ids=repr)
def test_a_json_patch_is_an_array(phone, body):
    session = phone.create({"a": 1})
    with unchanged(phone, session["id"]):
        refused(phone.json_patch(session["id"], body), 400, "invalid_request")


# ---- no change, no version ----

@pytest.mark.parametrize("media_type, body", [
    (JSON_PATCH, []), (JSON_PATCH, [test("/data/a", 1)]), (JSON_PATCH, [test("/status", "active")] * 3),
    (MERGE_PATCH, {}), (JSON, {"operations": []}), (JSON, {"operations": [test("/data", {"a": 1})]}),
    (JSON, {"baseVersion": 1, "operations": []})])
def test_without_operations_nothing_happens(phone, media_type, body):
    session = phone.create({"a": 1})
    with unchanged(phone, session["id"]):
        result = accepted(send_patch(phone, session["id"], body, media_type), version=1)
        assert (result["checksum"], result["rebased"]) == (session["checksum"], False)


def test_tests_alone_may_fail(phone):
    session = phone.create({"a": 1})
    with unchanged(phone, session["id"]):
        refused(phone.json_patch(session["id"], [test("/data/a", 1), test("/data/a", 2)]), 422, FAILED,
                index=1, pointer="/data/a")


# ---- the base ----

def test_without_a_base_the_last_write_wins(phone, laptop):
    session = phone.create({"a": 0})
    accepted(phone.patch(session["id"], [put("/data/a", 1)]), version=2)
    accepted(laptop.patch(session["id"], [put("/data/a", 2)]), version=3)
    after = phone.read(session["id"])
    assert (after["data"], after["modifiedBy"], after["activeDeviceId"]) == ({"a": 2}, "laptop", "phone")


@pytest.mark.parametrize("base", [{"baseVersion": 1}, {"baseVersion": 3}, {"baseVersion": 99},
                                  {"baseVersion": 2, "epoch": 2}, {"baseVersion": 1, "epoch": 7}])
def test_another_base_is_a_conflict(phone, laptop, base):
    session = phone.create({"a": 0})
    accepted(laptop.patch(session["id"], [put("/data/a", 1)]), version=2)
    with unchanged(phone, session["id"]) as current:
        body = refused(phone.patch(session["id"], [put("/data/a", 2)], **base), 409, "version_conflict",
                       currentVersion=2, epoch=1, temporary=False)
        if base == {"baseVersion": 1}:
            assert follow(session, body["deltas"])["data"] == current["data"]
            assert "session" not in body
        else:
            assert body["session"] == current
            assert "deltas" not in body


@pytest.mark.parametrize("if_match", ['"2"', '"1", "2"', '"2","7"', "*", ' "9" , "2" '])
def test_if_match_lets_the_right_version_pass(phone, if_match):
    session = phone.create({"a": 0})
    accepted(phone.patch(session["id"], [put("/data/a", 1)]), version=2)
    headers = {"If-Match": if_match.strip()}
    accepted(phone.json_patch(session["id"], [put("/data/a", 2)], headers=headers), version=3)


@pytest.mark.parametrize("if_match", ['"1"', '"3"', '"1", "3"', '"2.2"', '"22"', '"x"', '""', '"02"'])
def test_if_match_holds_back_the_others(phone, if_match):
    session = phone.create({"a": 0})
    accepted(phone.patch(session["id"], [put("/data/a", 1)]), version=2)
    with unchanged(phone, session["id"]) as current:
        for answer in (phone.json_patch(session["id"], [put("/data/a", 2)], headers={"If-Match": if_match}),
                       phone.merge_patch(session["id"], {"data": {"a": 2}}, headers={"If-Match": if_match}),
                       phone.status(session["id"], "paused", headers={"If-Match": if_match})):
            body = refused(answer, 412, "version_conflict", currentVersion=2, epoch=1)
            if if_match == '"1"':
                assert follow(session, body["deltas"])["data"] == current["data"]
            else:
                assert body.get("session") == current or body["deltas"]


@pytest.mark.parametrize("if_match", ['W/"1"', '"9", W/"1"', "1", '"1', "'1'", '"1" "2"', ",", '*, "1"'])
def test_weak_or_malformed_if_match_is_400(phone, if_match):
    session = phone.create({"a": 0})
    with unchanged(phone, session["id"]):
        headers = {"If-Match": if_match}
        for answer in (phone.json_patch(session["id"], [put("/data/a", 2)], headers=headers),
                       phone.status(session["id"], "paused", headers=headers),
                       phone.delete(path_of(session), headers=headers)):
            assert refused(answer, 400, "invalid_request")["field"].lower() == "if-match"


@pytest.mark.parametrize("if_match, base, status", [
    ('"1"', 1, 412), ('"1"', 2, 412), ('"2"', 1, 409), ("*", 1, 409), ('"2"', 2, 200)])
def test_if_match_is_judged_before_the_base(phone, if_match, base, status):
    session = phone.create({"a": 0})
    accepted(phone.patch(session["id"], [put("/data/a", 1)]), version=2)
    answer = phone.patch(session["id"], [put("/data/a", 2)], baseVersion=base, headers={"If-Match": if_match})
    assert answer.status_code == status


@pytest.mark.parametrize("n_missed, has_deltas", [(1, True), (100, True), (101, False)])
def test_a_conflict_brings_what_was_missed(phone, laptop, n_missed, has_deltas):
    session = phone.create({"n": 0, "mine": 0})
    for n in range(n_missed):
        laptop.patch(session["id"], [put("/data/n", n)])
    body = refused(phone.patch(session["id"], [put("/data/mine", 1)], baseVersion=1), 409,
                   "version_conflict", currentVersion=1 + n_missed)
    assert ("deltas" in body, "session" in body) == (has_deltas, not has_deltas)
    current = follow(session, body["deltas"]) if has_deltas else body["session"]
    assert (current["version"], current["data"]) == (1 + n_missed, {"n": n_missed - 1, "mine": 0})
    assert current["checksum"] == checksum_of(current["data"])
    accepted(phone.patch(session["id"], [put("/data/mine", 1)], baseVersion=body["currentVersion"],
                         epoch=body["epoch"]), version=2 + n_missed)


@pytest.mark.parametrize("n_bytes, has_deltas", [(50 * KIB, True), (70 * KIB, False)])
def test_a_conflict_brings_the_session_rather_than_large_deltas(phone, laptop, n_bytes, has_deltas):
    session = phone.create({"a": ""})
    laptop.patch(session["id"], [put("/data/a", "x" * n_bytes)])
    laptop.patch(session["id"], [put("/data/a", "small")])
    body = refused(phone.patch(session["id"], [add("/data/b", 1)], baseVersion=1), 409, "version_conflict")
    assert ("deltas" in body, "session" in body) == (has_deltas, not has_deltas)
    if not has_deltas:
        assert body["session"] == phone.read(session["id"])


def test_a_conflict_tells_of_a_status_change_too(phone, laptop):
    session = phone.create({"a": 0})
    laptop.status(session["id"], "paused")
    body = refused(phone.patch(session["id"], [put("/data/a", 1)], baseVersion=1), 409, "version_conflict")
    assert follow(session, body["deltas"])["status"] == "paused"


# ---- disjoint ----

DOCUMENT = {"a": {"x": 1, "y": {"z": 1}}, "ab": 1, "b": 1, "list": [1, 2, 3], "digits": {"7": 1, "k": 1}}


@pytest.mark.parametrize("theirs, mine, is_disjoint", [
    ([put("/data/b", 2)], [put("/data/ab", 2)], True),
    ([put("/data/a", 2)], [put("/data/ab", 2)], True),                # a prefix of the text, not above
    ([put("/data/b", 2)], [put("/data/b", 3)], False),                # equal
    ([put("/data/a/y", 2)], [put("/data/a", 3)], False),              # above
    ([put("/data/a", 2)], [add("/data/a/x", 3)], False),              # below
    ([put("/data/a/x", 2)], [put("/data/a/y/z", 3)], True),
    ([put("/data", DOCUMENT)], [put("/data/b", 3)], False),
    ([put("/data/b", 2)], [put("/data", {})], False),
    ([put("/data/b", 2)], [put("/name", "new")], True),
    ([put("/name", "new")], [put("/data/b", 2)], True),
    ([put("/name", "new")], [put("/name", "newer")], False),
    ([put("/data/b", 2)], [test("/data/b", 1), put("/data/ab", 2)], False),   # what a test reads
    ([put("/data/b", 2)], [test("/data/ab", 1), put("/data/ab", 2)], True),
    ([put("/data/b", 2)], [copy("/data/b", "/data/c")], False),       # what a copy reads
    ([put("/data/ab", 2)], [copy("/data/b", "/data/c")], True),
    ([put("/data/b", 2)], [move("/data/b", "/data/c")], False),
    ([move("/data/b", "/data/c")], [put("/data/ab", 2)], True),
    ([move("/data/b", "/data/c")], [add("/data/b", 2)], False),       # a move writes its source
    ([move("/data/b", "/data/c")], [add("/data/c", 2)], False),
    ([copy("/data/b", "/data/c")], [put("/data/b", 2)], True),        # a copy only reads its
    ([remove("/data/b")], [add("/data/b", 2)], False),
    ([test("/data/b", 1), put("/data/ab", 2)], [put("/data/b", 2)], True),
    # arrays: add, remove, move and copy shift what is behind
    ([add("/data/list/0", 0)], [put("/data/list/2", 9)], False),
    ([add("/data/list/-", 4)], [put("/data/list/0", 9)], False),
    ([remove("/data/list/0")], [add("/data/list/-", 9)], False),
    ([put("/data/list/0", 9)], [put("/data/list/1", 9)], True),       # a replace does not
    ([put("/data/list/0", 9)], [add("/data/list/-", 9)], False),
    ([put("/data/list/0", 9)], [remove("/data/list/2")], False),
    ([put("/data/list/0", 9)], [move("/data/list/2", "/data/moved")], False),
    ([put("/data/list/0", 9)], [copy("/data/list/2", "/data/copied")], True),
    ([put("/data/list/0", 9)], [copy("/data/b", "/data/list/-")], False),
    ([add("/data/list/-", 9)], [add("/data/list/-", 8)], False),
    ([add("/data/list/-", 9)], [put("/data/b", 8)], True),
    ([add("/data/digits/8", 9)], [put("/data/digits/k", 8)], False),  # digits count, also in an object
    ([put("/data/digits/7", 9)], [put("/data/digits/k", 8)], True),
    ([add("/data/digits/k2", 9)], [put("/data/digits/k", 8)], True),
])
def test_disjoint_changes_are_merged(phone, laptop, theirs, mine, is_disjoint):
    session = phone.create(DOCUMENT)
    accepted(laptop.json_patch(session["id"], theirs), version=2)
    between = laptop.read(session["id"])
    answer = phone.patch(session["id"], mine, baseVersion=1, merge="disjoint")
    if is_disjoint:
        assert accepted(answer, version=3)["rebased"] is True
        after = phone.read(session["id"])
        expected = jsonpatch.apply_patch(between, mine)
        assert (after["data"], after["name"]) == (expected["data"], expected["name"])
        event = phone.deltas(session["id"], since=2)[0]
        assert (event["rebased"], event["baseVersion"]) == (True, 2)
    else:
        body = refused(answer, 409, "version_conflict", currentVersion=2)
        assert follow(session, body["deltas"])["data"] == between["data"]
        assert phone.read(session["id"]) == between


def test_disjoint_from_a_merge_patch(phone, laptop):
    session = phone.create(DOCUMENT)
    accepted(laptop.merge_patch(session["id"], {"data": {"a": {"x": 2}}}), version=2)
    refused(phone.patch(session["id"], [put("/data/a/x", 3)], baseVersion=1, merge="disjoint"), 409,
            "version_conflict")
    accepted(phone.patch(session["id"], [put("/data/a/y", 3)], baseVersion=1, merge="disjoint"), version=3)


def test_disjoint_over_many_versions_and_a_change_of_status(phone, laptop):
    session = phone.create({"n": 0, "mine": 0})
    for n in range(120):
        laptop.patch(session["id"], [put("/data/n", n)])
    laptop.status(session["id"], "paused")
    answer = phone.patch(session["id"], [put("/data/mine", 1)], baseVersion=1, merge="disjoint")
    assert accepted(answer, version=123)["rebased"] is True
    assert phone.read(session["id"])["data"] == {"n": 119, "mine": 1}


def test_disjoint_at_the_base_is_nothing_special(phone):
    session = phone.create({"a": 0})
    answer = phone.patch(session["id"], [put("/data/a", 1)], baseVersion=1, merge="disjoint")
    assert accepted(answer, version=2)["rebased"] is False
    assert "rebased" not in phone.deltas(session["id"], since=1)[0]


@pytest.mark.parametrize("base", [{"baseVersion": 9}, {"baseVersion": 1, "epoch": 2}])
def test_disjoint_needs_a_base_that_was(phone, base):
    session = phone.create({"a": 0})
    with unchanged(phone, session["id"]):
        refused(phone.patch(session["id"], [put("/data/a", 1)], merge="disjoint", **base), 409,
                "version_conflict")


def test_disjoint_that_fails_when_applied_is_refused(phone, laptop):
    session = phone.create({"a": 0})
    accepted(laptop.patch(session["id"], [put("/data/a", 1)]), version=2)
    with unchanged(phone, session["id"]):
        refused(phone.patch(session["id"], [remove("/data/b")], baseVersion=1, merge="disjoint"), 422, FAILED)


def test_disjoint_and_checksum_exclude_each_other(phone):
    session = phone.create({"a": 0})
    with unchanged(phone, session["id"]):
        invalid(phone.patch(session["id"], [put("/data/a", 1)], baseVersion=1, merge="disjoint",
                            checksum=checksum_of({"a": 1})))


# ---- checksum, Prefer ----

def test_the_checksum_is_what_the_result_must_have(phone):
    session = phone.create({"a": 0})
    with unchanged(phone, session["id"]):
        refused(phone.patch(session["id"], [put("/data/a", 1)], checksum=checksum_of({"a": 2})), 409,
                "checksum_mismatch")
        refused(phone.patch(session["id"], [], checksum=checksum_of({"a": 1})), 409, "checksum_mismatch")
    accepted(phone.patch(session["id"], [put("/data/a", 1)], checksum=checksum_of({"a": 1})), version=2)


@pytest.mark.parametrize("prefer", ["return=representation", "respond-async, return=representation",
                                    'return="representation"'])
def test_prefer_brings_the_whole_session(phone, prefer):
    session = phone.create({"a": 0})
    answer = phone.merge_patch(session["id"], {"data": {"a": 1}}, headers={"Prefer": prefer})
    assert accepted(answer, version=2) == phone.read(session["id"])


@pytest.mark.parametrize("prefer", ["return=minimal", "junk", "wait=5", ""])
def test_other_preferences_are_ignored(phone, prefer):
    session = phone.create({"a": 0})
    answer = phone.merge_patch(session["id"], {"data": {"a": 1}}, headers={"Prefer": prefer})
    assert "data" not in accepted(answer, version=2)


# ---- limits ----

def too_much(answer):
    """Refused for its size; the contract names the code only for what state and body may weigh."""
    assert (answer.status_code, answer.json()["code"]) in (
        (413, "state_too_large"), (422, "invalid_value"), (422, "patch_failed"),
        (400, "invalid_request")), answer.text[:300]


def test_1000_operations_and_no_more(phone):
    session = phone.create({"a": 0})
    accepted(phone.json_patch(session["id"], [put("/data/a", n) for n in range(1000)]), version=2)
    with unchanged(phone, session["id"]):
        for n in (1001, 10000):
            too_much(phone.json_patch(session["id"], [put("/data/a", n) for n in range(n)]))
            too_much(phone.patch(session["id"], [put("/data/a", n) for n in range(n)]))
            too_much(phone.json_patch(session["id"], [test("/data/a", 999)] * n))


def text_of(n_bytes):
    """A document of exactly n bytes in canonical form."""
    return {"t": "x" * (n_bytes - len('{"t":""}'))}


def test_512_kib_and_not_a_byte_more(phone):
    session = phone.create(text_of(512 * KIB))
    assert session["checksum"] == hashlib.sha256(
        json.dumps(text_of(512 * KIB), separators=(",", ":")).encode()).hexdigest()
    body = {"name": "n", "type": "t", "data": text_of(512 * KIB + 1)}
    refused(phone.post("/sessions", json=body), 413, "state_too_large")
    with unchanged(phone, session["id"]):
        for operations in ([put("/data", text_of(512 * KIB + 1))], [add("/data/u", 1)],
                           [add("/data/u", 1), remove("/data/u")], [copy("/data/t", "/data/u")]):
            refused(phone.json_patch(session["id"], operations), 413, "state_too_large")
        refused(phone.merge_patch(session["id"], {"data": {"u": 1}}), 413, "state_too_large")
    accepted(phone.json_patch(session["id"], [put("/data", text_of(512 * KIB))]), version=2)


def test_size_is_that_of_the_canonical_form(phone):
    # 600 KiB as sent, 100 KiB in canonical form.
    body = '{"name":"n","type":"t","data":"' + "\\u0061" * 100 * KIB + '"}'
    answer = phone.post("/sessions", data=body, headers={"Content-Type": JSON})
    assert answer.status_code == 201 and answer.json()["data"] == "a" * 100 * KIB
    # And the other way round.
    body = '{"name":"n","type":"t","data":[' + ",".join(["1e20"] * 40000) + "]}"
    answer = phone.post("/sessions", data=body, headers={"Content-Type": JSON})
    refused(answer, 413, "state_too_large")


def nested(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_64_levels_and_no_more(phone):
    session = phone.create(nested(64))
    assert phone.read(session["id"])["data"] == nested(64)
    too_much(phone.post("/sessions", json={"name": "n", "type": "t", "data": nested(65)}))
    session = phone.create({"a": nested(63), "b": {}})
    with unchanged(phone, session["id"]):
        for operations in ([put("/data/a", nested(64))], [copy("/data/a", "/data/b/c")],
                           [move("/data/a", "/data/b/c")], [put("/data", nested(65))]):
            too_much(phone.json_patch(session["id"], operations))
        too_much(phone.merge_patch(session["id"], {"data": {"b": nested(64)}}))
    accepted(phone.json_patch(session["id"], [put("/data", nested(64))]), version=2)


def test_copies_that_double_the_document_are_refused(phone):
    session = phone.create({"a": "x" * 1000})
    with unchanged(phone, session["id"]):
        bomb = [copy("/data", "/data/a")] + [copy("/data", f"/data/k{n}") for n in range(900)]
        too_much(phone.json_patch(session["id"], bomb))
        too_much(phone.json_patch(session["id"], [copy("/data", "/data/a")] * 1000))


def test_a_patch_copies_and_compares_4_mib_in_all(phone):
    session = phone.create({"a": "x" * 200 * KIB})
    again = [copy("/data/a", "/data/b"), remove("/data/b")]
    accepted(phone.json_patch(session["id"], again * 15), version=2)
    with unchanged(phone, session["id"]):
        too_much(phone.json_patch(session["id"], again * 25))

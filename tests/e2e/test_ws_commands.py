"""What a device may ask over its WebSocket, and every answer to it: contract sections 2, 3 and 4."""

import json
import re

import pytest

from harness import checksum_of, together
from ws import MISSING_ID, acked, ask, is_alive, refused, set_to, subscribed

MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


@pytest.fixture
def session(phone):
    return phone.create({"n": 0, "list": [1, 2, 3], "text": "t"})


@pytest.fixture
def socket(phone, session):
    with subscribed(phone, session["id"]) as socket:
        yield socket


def patch(socket, session, operations, **more):
    return ask(socket, "patch", sessionId=session["id"], operations=operations, **more)


def nothing_happened(device, session, socket):
    assert device.read(session["id"]) == session
    assert is_alive(socket) == []


# ---- what takes effect ----

def test_a_patch_is_acked_with_where_it_led(phone, session, socket):
    ack = acked(patch(socket, session, set_to("n", 1)), 2, sessionId=session["id"])
    now = phone.read(session["id"])
    assert (now["version"], now["modifiedBy"], now["checksum"]) == (2, "phone", ack["checksum"])
    assert ack["checksum"] == checksum_of({**session["data"], "n": 1})


def test_a_patch_may_name_its_base(phone, session, socket):
    acked(patch(socket, session, set_to("n", 1), baseVersion=1), 2)
    acked(patch(socket, session, set_to("n", 2), baseVersion=2, epoch=1), 3)


def test_the_name_can_be_patched(phone, session, socket):
    acked(patch(socket, session, [{"op": "replace", "path": "/name", "value": "New"}]), 2,
          checksum=session["checksum"])
    assert phone.read(session["id"])["name"] == "New"


def test_all_six_operations(phone, session, socket):
    acked(patch(socket, session, [
        {"op": "test", "path": "/data/list", "value": [1, 2, 3.0]},
        {"op": "add", "path": "/data/list/-", "value": {"four": 4}},
        {"op": "remove", "path": "/data/list/0"},
        {"op": "replace", "path": "/data/text", "value": None},
        {"op": "move", "from": "/data/n", "path": "/data/m"},
        {"op": "copy", "from": "/data/list", "path": "/data/copy"}]), 2)
    assert phone.read(session["id"])["data"] == {
        "list": [2, 3, {"four": 4}], "text": None, "m": 0, "copy": [2, 3, {"four": 4}]}


@pytest.mark.parametrize("operations", [[], [{"op": "test", "path": "/data/n", "value": 0}]])
def test_without_an_operation_that_writes_nothing_happens(phone, session, socket, operations):
    acked(patch(socket, session, operations), 1, checksum=session["checksum"])
    nothing_happened(phone, session, socket)


def test_statuses(phone, session, socket):
    for version, status in enumerate(["paused", "active", "completed"], 2):
        acked(ask(socket, "status", sessionId=session["id"], status=status), version,
              checksum=session["checksum"])
    now = phone.read(session["id"])
    assert (now["status"], now["version"]) == ("completed", 4) and now["completedAt"]


def test_the_same_status_by_the_active_device_is_nothing(phone, session, socket):
    acked(ask(socket, "status", sessionId=session["id"], status="active"), 1)
    nothing_happened(phone, session, socket)


def test_active_by_another_device_is_a_takeover(phone, laptop, session, socket):
    with subscribed(laptop, session["id"]) as other:
        acked(ask(other, "status", sessionId=session["id"], status="active"), 2)
        socket.expect("status_changed", reason="takeover", activeDeviceId="laptop", version=2,
                      **{"from": "active", "to": "active"})


def test_a_heartbeat_is_acked_and_changes_no_version(phone, session, socket):
    acked(ask(socket, "heartbeat", sessionId=session["id"]), 1, checksum=session["checksum"])
    assert is_alive(socket) == []
    now = phone.read(session["id"])
    assert now["version"] == 1 and now["expiresAt"] >= session["expiresAt"]


def test_a_ping_tells_the_time(socket):
    socket.send(type="ping", id="p")
    pong = socket.expect("pong", id="p")
    assert pong.keys() == {"type", "id", "serverTime"} and MOMENT.match(pong["serverTime"])
    socket.send(type="ping")
    assert socket.expect("pong").keys() == {"type", "serverTime"}


def test_own_changes_come_back_too(phone, session, socket):
    socket.send(type="patch", id="p", sessionId=session["id"], operations=set_to("n", 1))
    frames = [socket.recv(), socket.recv()]
    assert {f["type"] for f in frames} == {"ack", "state_delta"}
    assert frames[0]["version"] == frames[1]["version"] == 2
    assert frames[0]["checksum"] == frames[1]["checksum"]


def test_members_that_are_not_known_are_passed_over(phone, session, socket):
    acked(patch(socket, session, set_to("n", 1), comment="x", later={"a": [1]}), 2)


# ---- ids ----

@pytest.mark.parametrize("id", ["a", "x" * 64, "\u00e9" * 64, "\U0001f600" * 64, '"\\/\u2028\t', " "])
def test_an_id_comes_back_as_it_was(session, socket, id):
    for type, more in (("ping", {}), ("heartbeat", {"sessionId": session["id"]}),
                       ("heartbeat", {"sessionId": MISSING_ID}), ("patch", {}), ("nothing", {}),
                       ("unsubscribe", {"sessionId": session["id"]})):
        socket.send(type=type, id=id, **more)
        assert socket.recv()["id"] == id


@pytest.mark.parametrize("id", ["x" * 65, "\u00e9" * 65, "x" * 1000, 7, None, True, ["a"], {"a": 1}, 1.5])
def test_an_id_that_is_none_is_refused(phone, session, socket, id):
    socket.send(type="patch", id=id, sessionId=session["id"], operations=set_to("n", 1))
    assert refused(socket.recv(), "invalid_request").get("id") is None
    nothing_happened(phone, session, socket)


def test_commands_need_no_id(phone, session, socket):
    socket.send(type="patch", sessionId=session["id"], operations=set_to("n", 1))
    assert "id" not in socket.recv_until("ack", version=2)
    socket.send(type="patch", sessionId=MISSING_ID, operations=set_to("n", 1))
    assert "id" not in socket.recv_until("error", code="not_found")


def test_the_same_id_may_be_used_again(session, socket):
    for version in (2, 3):
        socket.send(type="patch", id="same", sessionId=session["id"], operations=set_to("n", version))
        assert socket.recv_until("ack", id="same")["version"] == version


# ---- conflicts ----

def test_a_conflict_has_what_was_missed(phone, laptop, session, socket):
    for n in (1, 2):
        laptop.json_patch(session["id"], set_to(f"l{n}", n))
        socket.expect("state_delta", version=n + 1)
    frame = refused(patch(socket, session, set_to("n", 9), baseVersion=1), "version_conflict",
                    sessionId=session["id"], currentVersion=3, epoch=1)
    rest = phone.patch(session["id"], set_to("n", 9), baseVersion=1).json()
    assert frame["deltas"] == rest["deltas"] == phone.deltas(session["id"], since=1)
    # A device goes on from there without asking again.
    assert [d["version"] for d in frame["deltas"]] == [2, 3]
    acked(patch(socket, session, set_to("n", 9), baseVersion=frame["currentVersion"]), 4)


def test_a_conflict_over_much_has_the_session(phone, laptop, session, socket):
    for n in range(3):
        laptop.json_patch(session["id"], set_to("big", f"{n}" * 40_000))
        socket.expect("state_delta")
    frame = refused(patch(socket, session, set_to("n", 9), baseVersion=1), "version_conflict",
                    currentVersion=4)
    assert "deltas" not in frame and frame["session"] == phone.read(session["id"])


@pytest.mark.parametrize("base", [{"baseVersion": 2}, {"baseVersion": 1, "epoch": 2},
                                  {"baseVersion": 9007199254740991}])
def test_a_base_ahead_or_of_another_epoch_conflicts(phone, session, socket, base):
    refused(patch(socket, session, set_to("n", 1), **base), "version_conflict", currentVersion=1, epoch=1)
    nothing_happened(phone, session, socket)


def test_two_devices_at_once_one_wins_and_the_other_rebases(phone, laptop, session):
    with subscribed(phone, session["id"]) as one, subscribed(laptop, session["id"]) as other:
        def write(i):
            return patch((one, other)[i], session, set_to(f"d{i}", i), baseVersion=1)
        frames = together(2, write)
        assert sorted(f["type"] for f in frames) == ["ack", "error"]
        loser = [f["type"] for f in frames].index("error")
        assert [d["version"] for d in frames[loser]["deltas"]] == [2]
        acked(patch((one, other)[loser], session, set_to(f"d{loser}", loser), baseVersion=2), 3)
    assert phone.read(session["id"])["data"] == {**session["data"], "d0": 0, "d1": 1}


def test_disjoint_changes_are_rebased(phone, laptop, session, socket):
    laptop.json_patch(session["id"], set_to("theirs", 1))
    socket.expect("state_delta")
    acked(patch(socket, session, set_to("mine", 1), baseVersion=1, merge="disjoint"), 3, rebased=True)
    assert [f for f in is_alive(socket) if f["type"] == "state_delta" and not f.get("rebased")] == []
    refused(patch(socket, session, set_to("theirs", 2), baseVersion=1, merge="disjoint"),
            "version_conflict", currentVersion=3)
    refused(patch(socket, session, set_to("n", 2), baseVersion=1, merge="reject"), "version_conflict")
    acked(patch(socket, session, set_to("n", 5), baseVersion=3, merge="disjoint"), 4)


def test_a_checksum_of_the_result(phone, session, socket):
    good = checksum_of({**session["data"], "n": 1})
    frame = patch(socket, session, set_to("n", 2), checksum=good)
    refused(frame, "checksum_mismatch")
    nothing_happened(phone, session, socket)
    acked(patch(socket, session, set_to("n", 1), checksum=good), 2, checksum=good)


# ---- keys ----

def test_a_key_takes_effect_once(phone, session, socket):
    first = acked(patch(socket, session, [{"op": "add", "path": "/data/list/-", "value": 4}], key="k"), 2)
    phone.json_patch(session["id"], set_to("n", 1))
    again = patch(socket, session, [{"op": "add", "path": "/data/list/-", "value": 4}], key="k")
    acked(again, 2, replayed=True, checksum=first["checksum"])
    now = phone.read(session["id"])
    assert (now["version"], now["data"]["list"]) == (3, [1, 2, 3, 4])


def test_a_key_works_across_sockets_devices_and_rest(phone, laptop, session, socket):
    body = {"operations": set_to("n", 1), "baseVersion": 1}
    acked(ask(socket, "patch", sessionId=session["id"], key="k", **body), 2)
    with subscribed(laptop, session["id"]) as other:
        acked(ask(other, "patch", sessionId=session["id"], key="k", **body), 2, replayed=True)
    answer = phone.patch(session["id"], **body, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["Idempotency-Replayed"]) == (200, "true")
    assert answer.json()["version"] == 2


def test_a_key_is_looked_up_before_the_base_is_judged(phone, session, socket):
    acked(patch(socket, session, set_to("n", 1), baseVersion=1, key="k"), 2)
    acked(patch(socket, session, set_to("n", 1), baseVersion=1, key="k"), 2, replayed=True)


@pytest.mark.parametrize("other", [{"operations": set_to("n", 2)},
                                   {"operations": set_to("n", 1), "baseVersion": 1},
                                   {"operations": set_to("n", 1), "merge": "disjoint", "baseVersion": 2}])
def test_a_key_for_another_request_is_refused(phone, session, socket, other):
    acked(patch(socket, session, set_to("n", 1), key="k"), 2)
    refused(ask(socket, "patch", sessionId=session["id"], key="k", **other), "idempotency_key_reused")
    refused(ask(socket, "status", sessionId=session["id"], status="paused", key="k"),
            "idempotency_key_reused")
    assert phone.read(session["id"])["version"] == 2


def test_a_key_of_a_refused_command_can_be_used_again(phone, session, socket):
    refused(patch(socket, session, set_to("n", 1), baseVersion=7, key="k"), "version_conflict")
    acked(patch(socket, session, set_to("n", 1), baseVersion=1, key="k"), 2)


def test_a_status_with_a_key_is_replayed(phone, session, socket):
    acked(ask(socket, "status", sessionId=session["id"], status="paused", key="k"), 2)
    acked(ask(socket, "status", sessionId=session["id"], status="active"), 3)
    acked(ask(socket, "status", sessionId=session["id"], status="paused", key="k"), 2, replayed=True)
    assert phone.read(session["id"])["status"] == "active"


def test_a_replay_has_no_second_event(phone, laptop, session, socket):
    with subscribed(laptop, session["id"]) as watching:
        for _ in range(5):
            patch(socket, session, set_to("n", 1), key="k")
        watching.expect("state_delta", version=2)
        assert is_alive(watching) == []


@pytest.mark.parametrize("key", ["k", "x" * 128, "a b~!", '"k"'])
def test_keys_that_are_good(session, socket, key):
    acked(patch(socket, session, set_to("n", 1), key=key), 2)
    acked(patch(socket, session, set_to("n", 1), key=key), 2, replayed=True)


@pytest.mark.parametrize("key", ["", "x" * 129, "a\nb", "\u00e9", 7, None, True, [], {}])
def test_keys_that_are_none(phone, session, socket, key):
    frame = patch(socket, session, set_to("n", 1), key=key)
    assert frame["type"] == "error" and frame["code"] in ("invalid_request", "invalid_value")
    nothing_happened(phone, session, socket)


# ---- refusals ----

def grown(n):
    return {"op": "add", "path": "/data/big", "value": "x" * n}


REFUSED = {
    "no operations": ("patch", {}, "invalid_request"),
    "a document": ("patch", {"operations": {"n": 1}}, "invalid_request"),
    "operations null": ("patch", {"operations": None}, "invalid_request"),
    "an operation that is none": ("patch", {"operations": [1]}, "invalid_request"),
    "no op": ("patch", {"operations": [{"path": "/data"}]}, "invalid_request"),
    "an unknown op": ("patch", {"operations": [{"op": "fly", "path": "/data"}]}, "invalid_request"),
    "no path": ("patch", {"operations": [{"op": "remove"}]}, "invalid_request"),
    "no value": ("patch", {"operations": [{"op": "add", "path": "/data/x"}]}, "invalid_request"),
    "no from": ("patch", {"operations": [{"op": "copy", "path": "/data/x"}]}, "invalid_request"),
    "a pointer that is none": ("patch", {"operations": [{"op": "remove", "path": "data"}]},
                               "invalid_request"),
    "a bad escape": ("patch", {"operations": [{"op": "remove", "path": "/data/~2"}]}, "invalid_request"),
    "base 0": ("patch", {"operations": [], "baseVersion": 0}, None),
    "base a string": ("patch", {"operations": [], "baseVersion": "1"}, "invalid_request"),
    "base 1.5": ("patch", {"operations": [], "baseVersion": 1.5}, None),
    "base null": ("patch", {"operations": [], "baseVersion": None}, None),
    "epoch 0": ("patch", {"operations": [], "baseVersion": 1, "epoch": 0}, None),
    "merge ours": ("patch", {"operations": [], "merge": "ours"}, None),
    "merge 1": ("patch", {"operations": [], "merge": 1}, "invalid_request"),
    "a short checksum": ("patch", {"operations": [], "checksum": "ab"}, None),
    "disjoint and checksum": ("patch", {"operations": [], "baseVersion": 1, "merge": "disjoint",
                                        "checksum": "0" * 64}, None),
    "1001 operations": ("patch", {"operations": [{"op": "test", "path": "/data/n", "value": 0}] * 1001},
                        None),
    "no such member": ("patch", {"operations": [{"op": "remove", "path": "/data/x"}]}, "patch_failed"),
    "a failed test": ("patch", {"operations": [{"op": "test", "path": "/data/n", "value": 1}]},
                      "patch_failed"),
    "an index with a zero": ("patch", {"operations": [{"op": "remove", "path": "/data/list/00"}]},
                             "patch_failed"),
    "into its own child": ("patch", {"operations": [
        {"op": "move", "from": "/data", "path": "/data/list"}]}, "patch_failed"),
    "version": ("patch", {"operations": [{"op": "replace", "path": "/version", "value": 9}]},
                "path_not_writable"),
    "status by patch": ("patch", {"operations": [{"op": "replace", "path": "/status", "value": "paused"}]},
                        "path_not_writable"),
    "everything": ("patch", {"operations": [{"op": "replace", "path": "", "value": {}}]},
                   "path_not_writable"),
    "from the user": ("patch", {"operations": [{"op": "copy", "from": "/userId", "path": "/data/u"}]},
                      "path_not_writable"),
    "no data": ("patch", {"operations": [{"op": "remove", "path": "/data"}]}, "invalid_value"),
    "an empty name": ("patch", {"operations": [{"op": "replace", "path": "/name", "value": ""}]},
                      "invalid_value"),
    "a name of 256": ("patch", {"operations": [{"op": "replace", "path": "/name", "value": "x" * 256}]},
                      "invalid_value"),
    "no status": ("status", {}, "invalid_request"),
    "status 1": ("status", {"status": 1}, "invalid_request"),
    "an unknown status": ("status", {"status": "gone"}, None),
    "pending": ("status", {"status": "pending"}, None),
    "expired": ("status", {"status": "expired"}, None),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_says_why_and_changes_nothing(phone, session, socket, kind):
    type, members, code = REFUSED[kind]
    frame = ask(socket, type, sessionId=session["id"], **members)
    assert frame["type"] == "error", frame
    if code:
        refused(frame, code, sessionId=session["id"])
    else:  # the contract leaves open whether the shape or the value is at fault
        assert frame["code"] in ("invalid_request", "invalid_value", "invalid_transition"), frame
    if frame["code"] == "patch_failed":
        assert isinstance(frame["pointer"], str)
    nothing_happened(phone, session, socket)


def test_a_failed_operation_is_named(phone, session, socket):
    frame = patch(socket, session, [*set_to("n", 1), {"op": "remove", "path": "/data/none"}])
    refused(frame, "patch_failed", pointer="/data/none")
    assert frame["index"] == 1
    nothing_happened(phone, session, socket)


def test_an_ended_session_is_not_written(phone, session, socket):
    phone.status(session["id"], "completed")
    socket.expect("status_changed", version=2)
    refused(patch(socket, session, set_to("n", 1)), "session_ended", sessionId=session["id"])
    for status in ("active", "paused", "cancelled"):
        refused(ask(socket, "status", sessionId=session["id"], status=status), "session_ended")
    refused(ask(socket, "heartbeat", sessionId=session["id"]), "session_ended")
    assert phone.read(session["id"])["version"] == 2


def test_a_transition_that_is_none(phone, socket):
    pending = phone.create({}, status="pending")
    for status in ("paused", "completed"):
        refused(ask(socket, "status", sessionId=pending["id"], status=status), "invalid_transition",
                sessionId=pending["id"])
    acked(ask(socket, "status", sessionId=pending["id"], status="active"), 2)


def test_data_that_would_be_too_large(phone, socket):
    session = phone.create({"big": "x" * 500_000})
    refused(ask(socket, "patch", sessionId=session["id"], operations=set_to("more", "y" * 30_000)),
            "state_too_large")
    refused(ask(socket, "patch", sessionId=session["id"],
                operations=[{"op": "copy", "from": "/data", "path": "/data/twice"}]), "state_too_large")
    assert phone.read(session["id"]) == session


def test_data_that_would_be_too_deep(phone, session, socket):
    value = json.loads("[" * 63 + "]" * 63)
    acked(patch(socket, session, [{"op": "replace", "path": "/data/n", "value": value}]), 2)
    frame = patch(socket, session, [{"op": "replace", "path": "/data/n", "value": [value]}])
    assert frame["type"] == "error" and frame["code"] in ("state_too_large", "invalid_json", "invalid_value")
    assert phone.read(session["id"])["version"] == 2


def test_another_users_session_is_not_found(stranger, session, socket):
    foreign = stranger.create({})
    for session_id in (foreign["id"], MISSING_ID, "x"):
        for type, members in (("patch", {"operations": set_to("a", 1)}), ("status", {"status": "paused"}),
                              ("heartbeat", {})):
            refused(ask(socket, type, sessionId=session_id, **members), "not_found")
    assert stranger.read(foreign["id"]) == foreign


# ---- many at once ----

@pytest.mark.parametrize("n", [64, 180])
def test_pipelined_commands_get_exactly_one_answer_each(phone, session, socket, n):
    for i in range(n):
        socket.send(type="patch", id=f"c{i}", sessionId=session["id"], key=f"k{i}",
                    operations=[{"op": "add", "path": "/data/list/-", "value": 100 + i}])
    answers = {}
    while len(answers) < n:
        frame = socket.recv()
        if frame["type"] == "state_delta":
            continue
        assert frame["type"] in ("ack", "error") and frame["id"] not in answers, frame
        answers[frame["id"]] = frame
    assert [f for f in is_alive(socket) if f["type"] != "state_delta"] == []
    done = [i for i in range(n) if answers[f"c{i}"]["type"] == "ack"]
    for i in set(range(n)) - set(done):
        assert answers[f"c{i}"]["code"] in ("rate_limited", "unavailable"), answers[f"c{i}"]
        assert answers[f"c{i}"]["temporary"] is True
        assert answers[f"c{i}"].get("retryAfterMs", 0) > 0 or answers[f"c{i}"]["code"] == "unavailable"
    assert len(done) >= 64
    now = phone.read(session["id"])
    assert now["version"] == 1 + len(done)
    assert sorted(now["data"]["list"][3:]) == [100 + i for i in done]
    assert sorted(answers[f"c{i}"]["version"] for i in done) == list(range(2, 2 + len(done)))


def test_different_commands_pipelined(phone, session, socket):
    messages = []
    for i in range(15):
        messages += [{"type": "patch", "sessionId": session["id"], "operations": set_to("n", i)},
                     {"type": "heartbeat", "sessionId": session["id"]}, {"type": "ping"},
                     {"type": "patch", "sessionId": MISSING_ID, "operations": []}]
    for i, message in enumerate(messages):
        socket.send(id=f"m{i}", **message)
    answers = []
    while len(answers) < len(messages):
        frame = socket.recv()
        if "id" in frame:
            answers.append((frame["id"], frame["type"]))
    expected = ["ack", "ack", "pong", "error"] * 15
    assert sorted(answers) == sorted((f"m{i}", t) for i, t in enumerate(expected))


def test_many_sockets_command_at_once(phone, session):
    def write(i):
        with phone.connect() as socket:
            socket.expect("hello")
            for k in range(10):
                assert patch(socket, session, set_to(f"w{i}_{k}", k))["type"] == "ack"
    together(16, write)
    now = phone.read(session["id"])
    assert now["version"] == 161 and len(now["data"]) == 3 + 160

"""A state_engine alone: participants, devices that are kept out, restores, and snapshots that a user asks
for, as a trusted backend asks for them (contract sections 1, 3 and 5)."""

import json

import pytest

from engine import add
from harness import checksum_of, new_user, wait_until


def code(reply):
    return reply["error"]["code"] if "error" in reply else None


def bodies(subscriber, kind):
    return [json.loads(body) for _, type, body in subscriber.got if type == kind]


def keys(world, session_id):
    return {key.rsplit("}:", 1)[1] for key in world.redis.keys(f"session:{{{session_id}}}:*")}


@pytest.fixture
def backend(world):
    world.engine()
    return world.connect()


# ---- sharing ----

def test_a_participant_may_what_its_role_says_until_it_leaves(world, backend):
    subscriber = world.subscribe()
    session_id, friend = backend.create(), new_user()

    def as_friend(kind, **members):
        return code(backend.ask(kind, session_id, **{"userId": friend, "deviceId": "tablet", **members}))

    patch = {"operations": add("/data/a", 1)}
    assert as_friend("load") == as_friend("patch", **patch) == "not_found"
    assert code(backend.ask("participant", session_id, participant=friend, role="viewer")) is None
    assert as_friend("load") is as_friend("heartbeat") is None
    assert as_friend("patch", **patch) == as_friend("snapshot") == as_friend("delete") == "forbidden"
    assert as_friend("participant", participant=friend, role="editor") == "forbidden"
    assert code(backend.ask("participant", session_id, participant=friend, role="editor")) is None
    assert as_friend("patch", **patch) is as_friend("status", status="paused") is None
    assert as_friend("device", device="phone", removed=True) == as_friend("delete") == "forbidden"
    assert as_friend("participant", participant=friend, role=None) is None
    assert as_friend("load") == as_friend("participant", participant=friend, role=None) == "not_found"

    subscriber.wait_for(session_id, 6)
    changes = bodies(subscriber, "participant_changed")
    assert [(c["version"], c["participant"], c["role"], c["userId"] == friend) for c in changes] == [
        (2, friend, "viewer", False), (3, friend, "editor", False), (6, friend, None, True)]


def test_a_role_shows_itself_and_lasts(world, backend):
    session_id, friend = backend.create(), new_user()
    backend.ask("participant", session_id, participant=friend, role="viewer")
    reply = backend.ask("load", session_id, userId=friend, wantsSession=True)
    assert reply["session"]["role"] == "viewer"
    again = backend.ask("participant", session_id, participant=friend, role="viewer")
    assert again["version"] == 2, "what is so already is no version"
    world.engines[0].stop()
    world.engine()
    assert code(backend.ask("load", session_id, userId=friend)) is None
    left = backend.ask("participant", session_id, userId=friend, participant=friend, role=None,
                       wantsSession=True)
    assert left["version"] == 3 and "session" not in left


def test_the_owner_is_no_participant_and_a_session_has_a_hundred(backend):
    session_id = backend.create()
    assert code(backend.ask("participant", session_id, participant=backend.user,
                            role="viewer")) == "invalid_value"
    given = [backend.command("participant", session_id, participant=new_user(), role="viewer")
             for _ in range(101)]
    replies = backend.take(backend.send(*given[:60]) + backend.send(*given[60:]))
    assert [code(r) for r in replies] == [None] * 100 + ["invalid_value"]
    assert replies[-1]["error"]["field"] == "participant"


def test_a_removed_device_is_refused_until_it_is_let_in(world, backend):
    subscriber = world.subscribe()
    session_id = backend.create()
    assert code(backend.ask("device", session_id, device="phone", removed=True, deviceId="laptop")) is None
    for kind, members in (("patch", {"operations": add("/data/a", 1)}), ("heartbeat", {}), ("snapshot", {}),
                          ("status", {"status": "paused"}), ("delete", {}),
                          ("device", {"device": "phone", "removed": False})):
        assert code(backend.ask(kind, session_id, **members)) == "device_removed", kind
    assert code(backend.ask("load", session_id)) is None
    assert code(backend.ask("device", session_id, device="phone", removed=False, deviceId="laptop")) is None
    assert code(backend.ask("heartbeat", session_id)) is None
    subscriber.wait_for(session_id, 3)
    assert [(c["device"], c["removed"]) for c in bodies(subscriber, "device_changed")] == [
        ("phone", True), ("phone", False)]


# ---- restore ----

def test_a_restore_is_one_delta_and_takes_effect_once(world, backend):
    subscriber = world.subscribe()
    data = {"b": [1, 2.5], "a": None}
    session_id = backend.create(data)
    backend.take(backend.send(backend.patch(session_id)))
    restore = {"restored": {"version": 1, "epoch": 1}, "data": data, "checksum": checksum_of(data),
               "key": "r"}
    reply = backend.ask("restore", session_id, wantsSession=True, **restore)
    assert (reply["version"], reply["baseVersion"], reply["session"]["data"]) == (3, 2, data)
    again = backend.ask("restore", session_id, **restore)
    assert again["version"] == 3 and again["replayed"] is True
    other = {**restore, "restored": {"version": 2, "epoch": 1}}
    assert code(backend.ask("restore", session_id, **other)) == "idempotency_key_reused"
    subscriber.wait_for(session_id, 3)
    delta = bodies(subscriber, "state_delta")[-1]
    assert delta["operations"] == [{"op": "replace", "path": "/data", "value": data}]
    assert delta["checksum"] == checksum_of(data) == reply["checksum"]


def test_a_restore_is_refused_for_another_base_or_other_data(world, backend):
    session_id = backend.create({"n": 1})
    backend.take(backend.send(backend.patch(session_id)))
    restore = {"restored": {"version": 1, "epoch": 1}, "data": {"n": 1}, "checksum": checksum_of({"n": 1})}
    stale = backend.ask("restore", session_id, ifMatch=[{"version": 1, "epoch": 1}], **restore)
    assert stale["error"]["status"] == 412
    assert [d["version"] for d in stale["error"]["conflict"]["deltas"]] == [2]
    assert backend.ask("restore", session_id, baseVersion=1, **restore)["error"]["status"] == 409
    wrong = backend.ask("restore", session_id, **{**restore, "data": {"n": 2}})
    assert (code(wrong), wrong["error"]["field"]) == ("invalid_value", "checksum")
    deep = json.loads("[" * 65 + "]" * 65)
    assert code(backend.ask("restore", session_id, **{**restore, "data": deep})) == "state_too_large"
    assert world.version(session_id) == 2
    backend.ask("status", session_id, status="completed")
    assert code(backend.ask("restore", session_id, **restore)) == "session_ended"


# ---- snapshots ----

def test_a_snapshot_is_kept_and_told_without_a_version(world, backend):
    subscriber = world.subscribe()
    data = {"n": 1}
    session_id = backend.create(data)
    reply = backend.ask("snapshot", session_id, key="s", label="Before")
    assert (reply["version"], reply["baseVersion"], reply["checksum"]) == (1, 1, checksum_of(data))
    assert "snapshot:1" in keys(world, session_id)
    assert world.meta(session_id).get("snapshots") == "1"
    again = backend.ask("snapshot", session_id, key="s", label="Before")
    assert again.pop("replayed") is True
    assert {**again, "id": reply["id"], "expiresAt": reply["expiresAt"]} == reply
    assert code(backend.ask("snapshot", session_id, key="s", label="After")) == "idempotency_key_reused"
    subscriber.wait(lambda: len(bodies(subscriber, "snapshot")) == 2, "the event, and again for the repeat")
    assert len({(i, b) for i, t, b in subscriber.got if t == "snapshot"}) == 1, "the same to the byte"
    event = bodies(subscriber, "snapshot")[0]
    assert (event["version"], event["data"], event["label"]) == (1, data, "Before")
    assert (event["timestamp"], event["deviceId"]) == (reply["lastModified"], "phone")
    assert world.meta(session_id).get("snapshots") == "1"


def test_ten_snapshots_are_kept_and_deletion_takes_them(world, backend):
    session_id = backend.create()
    for _ in range(12):
        sent = backend.send(backend.command("snapshot", session_id), backend.patch(session_id))
        assert [code(r) for r in backend.take(sent)] == [None, None]
    kept = world.meta(session_id)["snapshots"].split(",")
    assert kept == [str(v) for v in range(3, 13)]
    assert {k for k in keys(world, session_id) if "snapshot" in k} == {f"snapshot:{v}" for v in kept}
    backend.ask("delete", session_id)
    wait_until(lambda: keys(world, session_id) == {"meta", "deltas"}, what="the other keys gone")


def test_two_engines_lose_no_snapshot_of_each_other(world, backend):
    """Every snapshot that is there is listed, and every one that is listed is there."""
    world.engine()
    world.engine(HANDOFF_SNAPSHOT_EVERY="1")
    session_id = backend.create()
    sent = []
    for _ in range(60):
        sent += backend.send(backend.command("snapshot", session_id))
        sent += backend.send(backend.patch(session_id))
    assert {code(r) for r in backend.take(sent)} == {None}
    kept = world.meta(session_id)["snapshots"].split(",")
    assert len(kept) == len(set(kept)) == 10
    assert {k for k in keys(world, session_id) if "snapshot" in k} == {f"snapshot:{v}" for v in kept}


@pytest.mark.parametrize("members", [{}, {"key": "s"}, {"deadline": 1}], ids=["bare", "keyed", "late"])
def test_a_snapshot_that_comes_again_is_the_one_that_was_taken(world, members):
    """Its engine died before the broker confirmed; the session has moved on since."""
    engine = world.engine()
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"n": 1})
    key = {name: members[name] for name in ("key",) if name in members}
    command = backend.command("snapshot", session_id, label="x", **key)
    first = backend.take(backend.send(command))[0]
    backend.take(backend.send(backend.patch(session_id)))
    world.wait_marked(session_id)
    engine.stop()
    backend.replies.clear()
    backend.leave_redelivered(json.dumps({"commands": [{**command, **members}]}).encode())
    world.engine()
    again = backend.take([command["id"]])[0]
    assert {**again, "expiresAt": None, "replayed": None} == {**first, "expiresAt": None, "replayed": None}
    assert again.get("replayed") == (True if "key" in members else None)
    subscriber.wait(lambda: len(bodies(subscriber, "snapshot")) == 2, "the event again")
    assert len({(i, b) for i, t, b in subscriber.got if t == "snapshot"}) == 1, "the same to the byte"
    assert world.meta(session_id).get("snapshots") == "1"


def test_what_a_killed_engine_kept_is_published_by_another(world):
    relay = world.relay()
    engine = world.engine(relay=relay)
    backend, subscriber = world.connect(), world.subscribe()
    session_id = backend.create({"n": 1})
    world.wait_marked(session_id)
    relay.hold("publish")
    command = backend.command("snapshot", session_id, label="x")
    backend.send(command)
    wait_until(lambda: world.meta(session_id).get("snapshots") == "1", what="the snapshot kept")
    assert not bodies(subscriber, "snapshot")
    world.kill(engine)
    relay.cut()
    world.engine()
    assert backend.take([command["id"]])[0]["version"] == 1
    subscriber.wait(lambda: bodies(subscriber, "snapshot"), "the event")
    assert bodies(subscriber, "snapshot")[0]["label"] == "x"


def test_a_final_session_takes_nothing_more(world, backend):
    session_id = backend.create()
    backend.ask("status", session_id, status="completed")
    for kind, members in (("snapshot", {}), ("participant", {"participant": new_user(), "role": "viewer"}),
                          ("device", {"device": "tv", "removed": True})):
        assert code(backend.ask(kind, session_id, **members)) == "session_ended", kind

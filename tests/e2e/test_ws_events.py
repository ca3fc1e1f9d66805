"""Every device sees every version once, in order, without a gap, whatever happens between: contract
sections 4 and 5."""

import itertools
import os
import random
import signal
import threading
import time

import pytest

from harness import MAX_WAIT, Suite, new_user, together, wait_until
from ws import Mirror, answer_to, ask, finish, is_alive, set_to, subscribed, watch

COMMON = {"type", "sessionId", "epoch", "version", "timestamp", "userId", "deviceId"}


# ---- what events say ----

def test_events_have_the_members_that_the_contract_names(phone, laptop):
    session = phone.create({"n": 0, "list": [1]})
    with subscribed(phone, session["id"]) as socket:
        operations = [{"op": "test", "path": "/data/n", "value": 0},
                      {"op": "add", "path": "/data/list/-", "value": 2},
                      {"op": "replace", "path": "/name", "value": "N"}]
        answer = laptop.json_patch(session["id"], operations).json()
        delta = socket.expect("state_delta", sessionId=session["id"], epoch=1, version=2, baseVersion=1,
                              userId=phone.user, deviceId="laptop", checksum=answer["checksum"])
        assert COMMON | {"baseVersion", "operations", "checksum"} <= delta.keys()
        assert delta.keys() <= COMMON | {"baseVersion", "operations", "checksum", "rebased"}
        assert delta["operations"] == operations[1:], "tests are not part of a delta"
        assert delta["timestamp"] == answer["lastModified"]

        # A merge patch comes as RFC 6902 too.
        laptop.merge_patch(session["id"], {"data": {"n": None, "m": {"a": 1}}})
        delta = socket.expect("state_delta", version=3)
        mirror = Mirror()
        mirror.session = phone.read(session["id"])
        assert {o["op"] for o in delta["operations"]} <= {"add", "replace", "remove"}

        laptop.patch(session["id"], set_to("r", 1), baseVersion=2, merge="disjoint")
        assert socket.expect("state_delta", version=4, baseVersion=3)["rebased"] is True

        phone.status(session["id"], "paused")
        change = socket.expect("status_changed", version=5, to="paused", activeDeviceId=None,
                               reason="request", deviceId="phone")
        assert change["from"] == "active"
        assert change.keys() == COMMON | {"from", "to", "activeDeviceId", "reason"}

        laptop.status(session["id"], "active")
        socket.expect("status_changed", version=6, to="active", activeDeviceId="laptop", reason="request")
        joined = socket.recv_until("device_joined", deviceId="laptop", activeDeviceId="laptop", version=6)
        assert joined.keys() == COMMON | {"activeDeviceId", "name", "platform", "deviceCount"}

        phone.status(session["id"], "active")
        taken = socket.expect("status_changed", version=7, activeDeviceId="phone", reason="takeover",
                              to="active")
        assert taken["from"] == "active"
        assert is_alive(socket) == []


def test_a_device_that_goes_on_itself_joins_no_second_time(phone):
    session = phone.create({})
    with subscribed(phone, session["id"]) as socket:
        phone.status(session["id"], "paused")
        socket.expect("status_changed", version=2)
        phone.status(session["id"], "active")
        socket.expect("status_changed", version=3)
        assert [f["type"] for f in is_alive(socket) if f["deviceId"] != "phone"] == []


def test_snapshots_are_not_for_devices(phone, suite):
    session = phone.create({"n": 0})
    with subscribed(phone, session["id"]) as socket:
        for n in range(1, 111):  # past two of the regular ones
            phone.json_patch(session["id"], set_to("n", n))
        phone.status(session["id"], "paused")
        seen = [socket.recv() for _ in range(111)] + is_alive(socket)
        assert [e["version"] for e in seen] == list(range(2, 113))
        assert {e["type"] for e in seen} == {"state_delta", "status_changed"}
    published = suite.query("select count(*) from session_snapshots where session_id = %s", session["id"])
    wait_until(lambda: published[0][0] or suite.query(
        "select count(*) from session_snapshots where session_id = %s", session["id"])[0][0],
        what="snapshots, that exist all the same")


def test_events_of_rest_and_of_websockets_are_alike(phone, laptop):
    session = phone.create({})
    with subscribed(phone, session["id"]) as socket:
        ask(socket, "patch", sessionId=session["id"], operations=set_to("a", 1))
        laptop.json_patch(session["id"], set_to("a", 1.5))
        events = [e for e in phone.deltas(session["id"]) if e["version"] > 1]
        with subscribed(laptop, session["id"]) as other:
            ask(other, "status", sessionId=session["id"], status="paused")
        socket.recv_until("status_changed")
        assert [sorted(e) for e in events] == [sorted(events[0])] * 2


# ---- order ----

def changes(chance, n):
    """n changes of every kind: calls with a device and a session."""
    kinds = [lambda d, s, i: d.json_patch(s, set_to(f"k{i % 7}", i)),
             lambda d, s, i: d.json_patch(s, [{"op": "add", "path": "/data/list/0", "value": {"i": i}}]),
             lambda d, s, i: d.json_patch(s, [{"op": "remove", "path": "/data/list/0"}]),
             lambda d, s, i: d.json_patch(s, [
                 {"op": "copy", "from": "/data/list", "path": "/data/old"},
                 {"op": "add", "path": "/data/list/-", "value": [i, i / 2, None, "\u20ac\U0001f600"]}]),
             lambda d, s, i: d.json_patch(s, [{"op": "replace", "path": "/name", "value": f"name {i}"}]),
             lambda d, s, i: d.merge_patch(s, {"data": {"merged": {"i": i, "k0": None}, "k1": None}}),
             lambda d, s, i: d.patch(s, set_to(f"d{i % 3}", i), merge="disjoint", baseVersion=1),
             lambda d, s, i: d.status(s, ["paused", "active"][i % 2])]
    return (chance.choice(kinds) for _ in range(n))


def test_whoever_joins_when_sees_each_version_once_in_order(phone, laptop):
    session = phone.create({"list": []})
    chance = random.Random(5)
    watchers = [watch(laptop if i % 2 else phone, session["id"], delay=chance.random() * 0.8)
                for i in range(6)]
    for i, change in enumerate(changes(chance, 300)):
        assert change(phone, session["id"], i).status_code in (200, 409, 422)
    now = phone.read(session["id"])
    assert now["version"] > 200
    for mirror in finish(watchers, now["version"]):
        (reason, joined_at), = mirror.syncs
        assert reason == "initial"
        assert mirror.versions == list(range(joined_at + 1, now["version"] + 1))
        assert mirror.agrees_with(now)


@pytest.fixture(scope="module")
def two_engines(new_realm, tmp_path_factory):
    """Two engines, so that events may come out of order, and two ws_fanouts, one of each binding."""
    folder = tmp_path_factory.mktemp("two-engines")
    realm = new_realm()
    suite = Suite(realm, folder)
    try:
        suite.start()
        suite.add_engine("state_engine_2")
        other = Suite(realm, tmp_path_factory.mktemp("by-session"), names=["ws_fanout"],
                      HANDOFF_FANOUT_BINDING="session")
        other.api_port = suite.api_port
        suite.by_session = other.start()
        yield suite
        other.stop()
    finally:
        suite.stop()


def keep_writing(device, session_id, name, n):
    """n changes that all take effect, whatever it takes; each leaves its number."""
    for i in range(n):
        key = f"{name}-{i}"
        for _ in range(200):
            answer = device.json_patch(session_id, [{"op": "add", "path": "/data/all/-", "value": key}],
                                       headers={"Idempotency-Key": key})
            if answer.status_code == 200:
                break
            assert answer.status_code in (503, 504), answer.text
            time.sleep(0.05)
        else:
            raise AssertionError("not accepted in 200 tries")


def test_eight_writers_on_two_engines_in_order_for_all(two_engines):
    user = new_user()
    writers = [two_engines.device(user, f"writer-{i}") for i in range(8)]
    session = writers[0].create({"all": []})
    readers = [two_engines.device(user, "a"), two_engines.by_session.device(user, "b")]
    watchers = [watch(reader, session["id"], delay=delay)
                for reader, delay in itertools.product(readers, (0, 0.1, 0.4))]
    together(8, lambda i: keep_writing(writers[i], session["id"], f"w{i}", 40))
    now = writers[0].read(session["id"])
    assert now["version"] == 1 + 8 * 40
    assert sorted(now["data"]["all"]) == sorted(f"w{i}-{k}" for i in range(8) for k in range(40))
    for mirror in finish(watchers, now["version"]):
        assert [reason for reason, _ in mirror.syncs] == ["initial"]
        assert mirror.versions == list(range(mirror.syncs[0][1] + 1, now["version"] + 1))
        assert mirror.agrees_with(now)


def test_many_sessions_at_once_by_both_bindings(two_engines):
    user = new_user()
    devices = [two_engines.device(user, f"d{i}") for i in range(4)]
    sessions = [devices[0].create({"all": []}) for _ in range(5)]
    watchers = [watch(reader, s["id"]) for s in sessions
                for reader in (two_engines.device(user, "a"), two_engines.by_session.device(user, "b"))]
    together(4, lambda i: [keep_writing(devices[i], s["id"], f"w{i}", 6) for s in sessions])
    for mirror in finish(watchers, 25):
        assert mirror.versions == list(range(mirror.syncs[0][1] + 1, 26))


# ---- what is lost on the way is found ----

def cut_fanouts_off(servers, vhost):
    """The broker ends the connections that have an exclusive queue in that virtual host: ws_fanout's."""
    code = ('length([rabbit_networking:close_connection(amqqueue:get_exclusive_owner(Q), "test") || '
            f'Q <- rabbit_amqqueue:list(<<"{vhost}">>), amqqueue:get_exclusive_owner(Q) =/= none]).')
    return int(servers.eval_in_broker(code))


def test_a_fanout_that_lost_the_broker_catches_up_for_all(servers, two_engines):
    user = new_user()
    writer = two_engines.device(user, "writer")
    session = writer.create({"all": []})
    watchers = [watch(two_engines.device(user, "a"), session["id"]),
                watch(two_engines.by_session.device(user, "b"), session["id"])]
    for watcher in watchers:
        assert watcher.joined.wait(MAX_WAIT)
    stop = threading.Event()

    def write():
        for i in itertools.count():
            if stop.is_set():
                return i
            keep_writing(writer, session["id"], f"w{i}", 1)

    def cut():
        vhost = two_engines.servers.rabbitmq.url.rpartition("/")[2]
        try:
            return [cut_fanouts_off(servers, vhost) for _ in range(2)]
        finally:
            stop.set()

    n_changes, n_cut = together(2, lambda i: (write, cut)[i]())
    assert sum(n_cut) >= 3, f"cut off {n_cut}"
    for mirror in finish(watchers, 1 + n_changes):
        # A gap wider than the window would need a state_sync; this one has to be filled.
        assert [reason for reason, _ in mirror.syncs] == ["initial"]
        assert mirror.versions == list(range(2, n_changes + 2))


def test_a_fanout_that_stood_still_and_lost_its_queue_is_right_again(servers, two_engines):
    """3 MB of changes while it could not see them: filled, or made good by a state_sync."""
    user = new_user()
    writer = two_engines.device(user, "writer")
    session = writer.create({"text": ""})
    fanout = two_engines.services["ws_fanout"].process
    with subscribed(two_engines.device(user, "a"), session["id"]) as socket:
        fanout.send_signal(signal.SIGSTOP)
        try:
            cut_fanouts_off(servers, two_engines.servers.rabbitmq.url.rpartition("/")[2])
            for i in range(30):
                text = chr(ord("a") + i % 26) * 100_000
                assert writer.json_patch(session["id"], set_to("text", text)).status_code == 200
        finally:
            fanout.send_signal(signal.SIGCONT)
        mirror = Mirror()
        mirror.take(socket.sync)
        while mirror.version < 31:
            mirror.take(socket.recv())
        writer.json_patch(session["id"], set_to("text", "end"))
        mirror.take(socket.recv())
        assert mirror.agrees_with(writer.read(session["id"]))
        assert {reason for reason, _ in mirror.syncs[1:]} <= {"window", "slow"}


# ---- the broker dies and comes back ----

def test_sockets_stay_and_catch_up_when_rabbitmq_is_restarted(shaky_servers, tmp_path):
    suite = Suite(shaky_servers, tmp_path, HANDOFF_COMMAND_DEADLINE="1s")
    suite.redis_client().flushall()  # nothing is due of what other tests left
    try:
        go_through_a_restart(suite.start(), shaky_servers.rabbitmq)
    finally:
        suite.stop()


def go_through_a_restart(suite, rabbitmq):
    user = new_user()
    phone, laptop = suite.device(user, "phone"), suite.device(user, "laptop")
    session = phone.create({"all": []})
    with subscribed(phone, session["id"]) as socket:
        watcher = watch(laptop, session["id"], timeout=40)
        assert watcher.joined.wait(MAX_WAIT)
        keep_writing(phone, session["id"], "before", 5)
        os.killpg(rabbitmq.process.pid, signal.SIGKILL)  # a script and the broker itself
        rabbitmq.process.wait()

        # Commands are refused or unknown, pings answered, and the sockets stay.
        codes = []
        for i in range(6):
            frame = answer_to(socket, {"type": "patch", "id": f"down{i}", "key": f"down{i}",
                                         "sessionId": session["id"],
                                         "operations": [{"op": "add", "path": "/data/all/-", "value": f"d{i}"}]})
            assert frame["type"] == "error" and frame["temporary"] is True, frame
            codes.append(frame["code"])
        assert set(codes) <= {"unavailable", "timeout"} and codes[-1] == "unavailable", codes
        assert phone.read(session["id"])["version"] == 6  # reads go on
        newcomer = watch(laptop, session["id"], timeout=40)

        rabbitmq.start()
        keep_writing(laptop, session["id"], "after", 5)
        # With the same keys each has one effect.
        for i in range(6):
            def again():
                frame = answer_to(socket, {"type": "patch", "id": f"again{i}", "key": f"down{i}",
                                             "sessionId": session["id"], "operations": [
                                                 {"op": "add", "path": "/data/all/-", "value": f"d{i}"}]})
                assert frame["type"] == "ack" or frame["temporary"], frame
                return frame["type"] == "ack"
            wait_until(again, what="a command done after the restart")
        now = phone.read(session["id"])
        assert now["version"] == 1 + 5 + 5 + 6
        assert sorted(now["data"]["all"]) == sorted(
            [f"before-{i}" for i in range(5)] + [f"after-{i}" for i in range(5)] + [f"d{i}" for i in range(6)])
        mirror = watcher.finish(now["version"])
        assert mirror.versions == list(range(mirror.syncs[0][1] + 1, now["version"] + 1))
        assert mirror.agrees_with(now)
        assert newcomer.finish(now["version"]).agrees_with(now)

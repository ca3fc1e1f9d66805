"""The main path on a Redis Cluster of three masters with a replica each, and a master that is killed while
it is written to: the sessions of the others go on, and nothing that was answered is lost."""

import contextlib
import signal
import threading

import pytest
import requests

from harness import MAX_WAIT, Servers, Suite, wait_until
from rest import accepted
from ws import subscribed

N_MASTERS = 3


@pytest.fixture(scope="module")
def servers():
    servers = Servers(is_cluster=True)
    try:
        yield servers.start()
    finally:
        servers.stop()


@pytest.fixture(scope="module")
def suite(servers, tmp_path_factory):
    suite = Suite(servers, tmp_path_factory.mktemp("suite"))
    try:
        yield suite.start()
    finally:
        suite.stop()


def on_each_master(cluster, device):
    """A session on each master: {its port: the session}."""
    sessions = {}
    while len(sessions) < N_MASTERS:
        session = device.create({})
        sessions.setdefault(cluster.master_of(session["id"]).port, session)
    return sessions


def add(key, value):
    return [{"op": "add", "path": f"/data/{key}", "value": value}]


def test_sessions_of_every_node_are_made_changed_and_watched(suite, phone, laptop):
    for session in on_each_master(suite.servers.redis, phone).values():
        session_id = session["id"]
        with subscribed(laptop, session_id) as watcher:
            joined = watcher.recv_until("device_joined")
            assert joined["deviceId"] == "laptop"
            for n in range(3):
                accepted(phone.patch(session_id, add(f"n{n}", n)), version=2 + n)
                assert watcher.recv_until("state_delta")["version"] == 2 + n
            assert phone.status(session_id, "paused").status_code == 200
            assert watcher.recv_until("status_changed")["to"] == "paused"
            devices = phone.get(f"/sessions/{session_id}/devices").json()["items"]
            assert "laptop" in [d["deviceId"] for d in devices]
        assert phone.read(session_id)["data"] == {"n0": 0, "n1": 1, "n2": 2}
        assert [d["version"] for d in phone.deltas(session_id)] == [1, 2, 3, 4, 5]
        assert phone.get(f"/sessions/{session_id}/snapshots/3").json()["data"] == {"n0": 0, "n1": 1}
        wait_until(lambda: len(suite.events_in_postgresql(session_id)) == 5, what="the audit")
        assert phone.delete(f"/sessions/{session_id}").status_code == 204
        assert phone.get(f"/sessions/{session_id}").status_code == 404


def test_a_key_makes_one_session(suite, phone):
    for n in range(10):
        body = {"name": "n", "type": "meditation", "data": {}}
        answers = [phone.post("/sessions", json=body, headers={"Idempotency-Key": f"k{n}"})
                   for _ in range(2)]
        assert [a.status_code for a in answers] == [201, 201]
        assert answers[0].json()["id"] == answers[1].json()["id"]


def test_a_change_that_too_few_replicas_have_is_of_unknown_outcome(suite, phone, tmp_path):
    """But is published all the same, and found by its key."""
    suite.terminate("state_engine")
    engine = Suite(suite.servers, tmp_path, names=["state_engine"],
                   HANDOFF_REDIS_WAIT_REPLICAS="2")  # each master has one
    try:
        engine.start()
        body = {"name": "n", "type": "meditation", "data": {}}
        answers = [phone.post("/sessions", json=body, headers={"Idempotency-Key": "made"})
                   for _ in range(2)]
        assert [a.status_code for a in answers] == [504, 201], [a.text for a in answers]
        session_id = answers[1].json()["id"]
        with subscribed(phone, session_id) as watcher:
            assert phone.patch(session_id, add("n", 1)).status_code == 504
            assert watcher.recv_until("state_delta")["version"] == 2
        wait_until(lambda: len(suite.events_in_postgresql(session_id)) == 2, what="the audit")
    finally:
        engine.stop()
        suite.restart("state_engine")


class Writer:
    """Patches one session, one after another, each sent with its key until it is accepted."""

    def __init__(self, suite, user, session):
        self.device, self.session = suite.device(user, "phone"), session
        self.n_accepted, self.stopped, self.error = 0, False, None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.stopped:
                if self._send(self.n_accepted):
                    self.n_accepted += 1
        except BaseException as error:
            self.error = error

    def _send(self, n):
        with contextlib.suppress(requests.ConnectionError):
            answer = self.device.patch(self.session["id"], add(f"n{n}", n), timeout=MAX_WAIT,
                                       headers={"Idempotency-Key": f"n{n}"})
            assert answer.status_code in (200, 503, 504), answer.text
            return answer.status_code == 200
        return False

    def stop(self):
        self.stopped = True
        self.thread.join()
        assert self.error is None, self.error

    def moves_on(self, n_more):
        at = self.n_accepted + n_more
        wait_until(lambda: self.error or self.n_accepted >= at, timeout=40, what="accepted writes")


def test_a_master_killed_under_load_loses_nothing(suite, user):
    cluster = suite.servers.redis
    sessions = on_each_master(cluster, suite.device(user, "phone"))
    writers = {port: Writer(suite, user, session) for port, session in sessions.items()}
    try:
        for writer in writers.values():
            writer.moves_on(10)
        dead = cluster.nodes[0]
        lost, others = writers[dead.port], [w for p, w in writers.items() if p != dead.port]
        dead.process.kill()
        dead.process.wait()
        for writer in others:
            writer.moves_on(20)
        wait_until(lambda: cluster.master_of_slot(0), timeout=30, what="a new master")
        dead.start()  # as the new master's replica
        wait_until(lambda: "master_link_status:up" in cluster.ask(dead, "info", "replication"),
                   timeout=30, what="its replica")
        for writer in [lost, *others]:
            writer.moves_on(10)
    finally:
        for writer in writers.values():
            writer.stop()
    for writer in writers.values():
        session_id, n = writer.session["id"], writer.n_accepted
        read = writer.device.read(session_id)
        kept = read["data"]
        assert all(kept.get(f"n{i}") == i for i in range(n))
        assert read["epoch"] == 1 and read["version"] == 1 + len(kept), "each took effect once"
        wait_until(lambda: len(suite.events_in_postgresql(session_id)) == read["version"],
                   what="the audit")
        versions = [row[0] for row in suite.events_in_postgresql(session_id)]
        assert versions == list(range(1, read["version"] + 1))


def test_a_master_that_stands_still_holds_up_nobody_else(suite, user):
    """Longer than its replica waits to take over; what it had comes back with the replica."""
    cluster = suite.servers.redis
    wait_until(cluster.is_served, timeout=30, what="masters with replicas")
    frozen = cluster.master_of_slot(0)
    sessions = on_each_master(cluster, suite.device(user, "phone"))
    writers = {port: Writer(suite, user, session) for port, session in sessions.items()}
    try:
        for writer in writers.values():
            writer.moves_on(5)
        frozen.process.send_signal(signal.SIGSTOP)
        for port, writer in writers.items():
            if port != frozen.port:
                writer.moves_on(50)
        wait_until(lambda: cluster.master_of_slot(0, frozen), timeout=30, what="a new master")
        frozen.process.send_signal(signal.SIGCONT)
        for writer in writers.values():
            writer.moves_on(10)
    finally:
        frozen.process.send_signal(signal.SIGCONT)
        for writer in writers.values():
            writer.stop()
    for writer in writers.values():
        kept = writer.device.read(writer.session["id"])["data"]
        assert all(kept.get(f"n{i}") == i for i in range(writer.n_accepted))


def test_what_is_degraded_names_the_node(suite, user):
    """And ends, when all are there again."""
    def of(name):
        ready = requests.get(f"http://127.0.0.1:{suite.services[name].admin_port}/ready").json()
        return ready["dependencies"]["redis"]

    for name in ("session_api", "state_engine", "ws_fanout"):
        wait_until(lambda name=name: of(name)["up"], what=f"{name} to see all nodes")
    cluster = suite.servers.redis
    dead = cluster.master_of_slot(0)
    dead.process.kill()
    dead.process.wait()
    for name in ("session_api", "state_engine", "ws_fanout"):
        wait_until(lambda name=name: f":{dead.port}: " in str(of(name)), what=f"{name} to name it")
    wait_until(lambda: cluster.master_of_slot(0), timeout=30, what="a new master")
    for name in ("session_api", "state_engine", "ws_fanout"):
        wait_until(lambda name=name: of(name)["up"], what=f"{name} to see all nodes")
    dead.start()

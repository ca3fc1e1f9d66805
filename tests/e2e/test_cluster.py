"""The main path on a Redis Cluster of three masters with a replica each, and a master that is killed while
it is written to: the sessions of the others go on, and nothing that was answered is lost, though the
replica that takes over may lack it."""

import contextlib
import signal
import threading

import pytest
import requests

from cli import both, objects
from harness import MAX_WAIT, SECRET, Servers, Suite, metric, new_user, wait_until
from rest import accepted
from ws import subscribed

N_MASTERS = 3
DAY_MS = 24 * 3600 * 1000


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


def doctors(suite, dead=None):
    """What handoff doctor says of the cluster, and of that node, whatever it says of each node's settings."""
    lines = objects(both(suite, "doctor", "--service", "session_api", "--json", code=None, HANDOFF_JWT_SECRET=SECRET)[0])
    found = {line["check"]: line["state"] for line in lines if line["check"] in ("redis.cluster", "redis.rights", "redis.mode")}
    assert found.pop("redis.mode") == "ok"
    if dead:
        assert f"127.0.0.1:{dead.port}: " in str([line for line in lines if line["check"] == "redis.cluster"]) or found["redis.cluster"] == "ok"
        [found["redis.reached"]] = {line["state"] for line in lines
                                    if line["check"] == "redis.reached" and f":{dead.port}: " in line["found"]}
    return found


def test_what_is_degraded_names_the_node(suite, user):
    """And ends, when all are there again."""
    def of(name):
        ready = requests.get(f"http://127.0.0.1:{suite.services[name].admin_port}/ready").json()
        return ready["dependencies"]["redis"]

    for name in ("session_api", "state_engine", "ws_fanout"):
        wait_until(lambda name=name: of(name)["up"], what=f"{name} to see all nodes")
    cluster = suite.servers.redis
    wait_until(cluster.is_served, timeout=30, what="masters with replicas")
    assert doctors(suite) == {"redis.cluster": "ok", "redis.rights": "ok"}
    dead = cluster.master_of_slot(0)
    replica = replica_of(cluster, dead)
    cluster.ask(replica, "config", "set", "cluster-replica-no-failover", "yes")
    dead.process.kill()
    dead.process.wait()
    for name in ("session_api", "state_engine", "ws_fanout"):
        wait_until(lambda name=name: f":{dead.port}: " in str(of(name)), what=f"{name} to name it")
    assert doctors(suite, dead) == {"redis.cluster": "failed", "redis.reached": "failed", "redis.rights": "ok"}
    cluster.ask(replica, "config", "set", "cluster-replica-no-failover", "no")
    wait_until(lambda: cluster.master_of_slot(0, dead), timeout=30, what="a new master")
    assert doctors(suite, dead) == {"redis.cluster": "ok", "redis.reached": "warning", "redis.rights": "ok"}
    for name in ("session_api", "state_engine", "ws_fanout"):
        wait_until(lambda name=name: of(name)["up"], what=f"{name} to see all nodes")
    dead.start()


# ---- a replica that takes over without the last writes ----

def replica_of(cluster, master):
    return next(n for n in cluster.nodes
                if f"master_port:{master.port}" in cluster.ask(n, "info", "replication").split())


@contextlib.contextmanager
def losing(cluster, master):
    """What is written to the master from here on has nobody else; in the end it is killed, and its replica
    has taken over and has a replica itself."""
    replica = replica_of(cluster, master)
    cluster.ask(replica, "config", "set", "masterauth", "another")
    cluster.ask(master, "client", "kill", "type", "replica")
    wait_until(lambda: "master_link_status:down" in cluster.ask(replica, "info", "replication"),
               what="a replica without its master")
    try:
        yield
        master.process.kill()
        master.process.wait()
        wait_until(lambda: "role:master" in cluster.ask(replica, "info", "replication"),
                   what="a new master")
        master.start()
    finally:
        cluster.ask(replica, "config", "set", "masterauth", cluster.password)
    wait_until(cluster.is_served, what="masters with replicas")


def user_of(cluster, is_wanted):
    """Whose creates' keys are on a master that is wanted."""
    while True:
        user = new_user()
        if is_wanted(cluster.master_of(f"user:{{{user}}}")):
            return user


def create(device, key):
    """The answer that is one: of a master without a replica the first is not."""
    def ask():
        answer = device.post("/sessions", json={"name": "n", "type": "t", "data": {}},
                             headers={"Idempotency-Key": key})
        assert answer.status_code in (201, 503, 504), answer.text
        return answer.status_code == 201 and answer.json()
    return wait_until(ask, what="the session of a key")


def grow_old(client):
    """All nodes have remembered for a day."""
    for key in client.keys("store:*:memory"):
        since, run = client.get(key).split()
        client.set(key, f"{int(since) - DAY_MS} {run}")


def test_a_key_that_went_with_a_master_makes_no_other_session(suite):
    cluster = suite.servers.redis
    wait_until(cluster.is_served, timeout=30, what="masters with replicas")
    lost = cluster.master_of_slot(0)
    phone = suite.device(user_of(cluster, lambda node: node is lost), "phone")
    tv = suite.device(user_of(cluster, lambda node: node is not lost), "tv")
    for device in (phone, tv):
        create(device, "before")
    grow_old(suite.redis_client())
    with losing(cluster, lost):
        made = create(phone, "lost")
    assert create(phone, "lost")["id"] == made["id"]
    assert suite.query("select count(*) from sessions where user_id = %s", phone.user) == [(2,)]
    writer = suite.services["audit_writer"]
    writer.process.send_signal(signal.SIGSTOP)
    try:  # of the others each remembers: it is not asked for
        create(tv, "after")
    finally:
        writer.process.send_signal(signal.SIGCONT)


def one_content_each(suite, sessions):
    assert metric(suite.services["audit_writer"], "handoff_audit_two_contents_total") == 0
    for session in sessions:
        rows = suite.query("select epoch, version from session_events where session_id = %s and type in "
                           "('session_created', 'state_delta')", session["id"])
        assert len(rows) == len(set(rows))


def test_what_a_master_took_with_it_is_rebuilt(suite, user):
    """And what was not written to meanwhile goes on as it was."""
    cluster = suite.servers.redis
    wait_until(cluster.is_served, timeout=30, what="masters with replicas")
    device = suite.device(user, "phone")
    sessions = on_each_master(cluster, device)
    lost = cluster.master_of_slot(0)
    session = sessions[lost.port]
    quiet = device.create({"quiet": True})
    while cluster.master_of(quiet["id"]) is not lost:
        quiet = device.create({"quiet": True})
    wait_until(lambda: len(suite.events_in_postgresql(quiet["id"])) == 1, what="the audit")
    with subscribed(device, session["id"]) as watcher:
        with losing(cluster, lost):
            writer = Writer(suite, user, session)
            writer.moves_on(5)
            writer.stop()
            read = device.read(session["id"])
            assert read["epoch"] == 1 and all(read["data"][f"n{i}"] == i for i in range(writer.n_accepted))
            wait_until(lambda: len(suite.events_in_postgresql(session["id"])) == read["version"],
                       what="the audit")
        sync = watcher.recv_until("state_sync", epoch=2)
        assert (sync["version"], sync["session"]["data"]) == (read["version"], read["data"])
        after = device.patch(session["id"], add("after", 1)).json()
        assert (after["epoch"], after["version"]) == (2, read["version"] + 1)
        assert watcher.recv_until("state_delta")["epoch"] == 2
    assert [device.read(s["id"])["epoch"] for s in (quiet, session)] == [1, 2]
    for other in sessions.values():
        assert device.patch(other["id"], add("later", 1)).status_code == 200
    one_content_each(suite, [quiet, *sessions.values()])


def test_a_master_killed_without_a_replica_under_load_loses_nothing(suite, user, tmp_path):
    """Whoever does not wait for replicas is answered by what PostgreSQL has."""
    cluster = suite.servers.redis
    wait_until(cluster.is_served, timeout=30, what="masters with replicas")
    suite.terminate("state_engine")
    engines = Suite(suite.servers, tmp_path, names=["state_engine"], HANDOFF_REDIS_WAIT_REPLICAS="0")
    engines.start()
    engines.add_engine("state_engine-2")
    sessions = on_each_master(cluster, suite.device(user, "phone"))
    lost = cluster.master_of_slot(0)
    writers = {port: Writer(suite, user, session) for port, session in sessions.items()}
    try:
        with losing(cluster, lost):
            for writer in writers.values():
                writer.moves_on(10)
        for writer in writers.values():
            writer.moves_on(10)
    finally:
        for writer in writers.values():
            writer.stop()
        engines.stop()
        suite.restart("state_engine")
    for port, writer in writers.items():
        read = writer.device.read(writer.session["id"])
        assert all(read["data"].get(f"n{i}") == i for i in range(writer.n_accepted))
        assert read["version"] == 1 + len(read["data"]), "each took effect once"
        assert (read["epoch"] > 1) == (port == lost.port)
    one_content_each(suite, sessions.values())

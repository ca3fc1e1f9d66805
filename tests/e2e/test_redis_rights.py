"""Each service with the rights in Redis that docs/OPERATIONS.md gives it: they are enough for what it does."""

import re
import secrets

import pytest

from harness import NAMES, ROOT, RedisCluster, Suite, new_user, redis_client, wait_until
from rest import accepted
from ws import subscribed

TEXT = (ROOT / "docs" / "OPERATIONS.md").read_text()


def rules(name, is_cluster):
    alone, cluster, engine = re.search(
        r"^R is `([^`]+)`; on a cluster also `([^`]+)`, and for the\nstate_engine `([^`]+)`", TEXT, re.M).groups()
    row = re.search(rf"^\| {name} \|( T.*)", TEXT, re.M)[1].split(" | ")[3]
    granted = re.findall("`([^`]+)`", row.partition(";")[0])
    rules = alone.split() + [g if g.startswith("+") else f"~{g}" for g in granted]
    return rules + (cluster.split() + [engine] * (name == "state_engine") if is_cluster else [])


def nodes_of(redis):
    if not isinstance(redis, RedisCluster):
        return [redis_client(redis.url)]
    return [redis_client(node.url) for node in redis.nodes]


@pytest.fixture
def restricted(servers, tmp_path):
    """A suite on the shared servers, each of whose services is a user of its own in Redis."""
    password = secrets.token_hex(8)
    suite = Suite(servers, tmp_path)
    nodes = nodes_of(servers.redis)
    for name in NAMES:
        for node in nodes:
            node.execute_command("ACL", "SETUSER", name, "on", f">{password}",
                                 *rules(name, isinstance(servers.redis, RedisCluster)))
        scheme, _, rest = servers.redis.url.partition("://")
        suite.services[name].env["HANDOFF_REDIS_URL"] = f"{scheme}://{name}:{password}@{rest.rpartition('@')[2]}"
    for node in nodes:
        node.execute_command("ACL", "LOG", "RESET")
    suite.nodes = nodes
    try:
        yield suite.start()
    finally:
        suite.stop()
        for node in nodes:
            node.execute_command("ACL", "DELUSER", *NAMES)


def refusals(suite):
    """Of which command of whom Redis thought that it is nobody's right."""
    return [entry for node in suite.nodes for entry in node.execute_command("ACL", "LOG")]


def test_each_service_has_the_rights_that_it_needs(restricted):
    user = new_user()
    phone, laptop = restricted.device(user, "phone"), restricted.device(user, "laptop")
    body = {"name": "n", "type": "t", "data": {}}
    answer = phone.post("/sessions", json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 201, answer.text
    session_id = answer.json()["id"]
    with subscribed(laptop, session_id) as watcher:
        assert watcher.recv_until("device_joined")["deviceId"] == "laptop"
        accepted(phone.patch(session_id, [{"op": "add", "path": "/data/a", "value": 1}],
                             headers={"Idempotency-Key": "p"}), version=2)
        assert watcher.recv_until("state_delta")["version"] == 2
        assert phone.status(session_id, "paused").status_code == 200
        assert phone.heartbeat(session_id).status_code == 200
        assert phone.get(f"/sessions/{session_id}/devices").json()["items"]
        assert phone.get(f"/sessions/{session_id}/snapshots/2").json()["data"] == {"a": 1}
        assert len(phone.deltas(session_id)) == 3
    restricted.kill("ws_fanout")  # its sessions are looked after by the engine
    restricted.restart("ws_fanout")
    wait_until(lambda: restricted.query("select 1 from session_events where session_id = %s and "
                                        "type = 'device_left'", session_id), what="the departure")
    key = f"session:{{{session_id}}}:state"  # damaged: recovered by the engine
    restricted.redis_client().delete(key)
    assert phone.read(session_id)["epoch"] == 2
    assert phone.delete(f"/sessions/{session_id}").status_code == 204
    assert not refusals(restricted), refusals(restricted)

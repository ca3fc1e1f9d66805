"""A cluster of three RabbitMQ nodes with quorum queues, of which one dies under load: every accepted
write is in the state, in PostgreSQL once, and seen by who watches, in order."""

import types

import pytest

import ws
from harness import Suite, wait_until
from rabbitmq_cluster import RabbitMQCluster
from test_crash import N_WRITES, Load

COMMANDS, AUDIT = "state_engine.commands", "audit_writer.events"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = RabbitMQCluster(tmp_path_factory.mktemp("cluster") / "rabbitmq")
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def suite(cluster, new_realm, tmp_path_factory):
    realm = new_realm()
    servers = types.SimpleNamespace(redis=realm.redis, postgresql=realm.postgresql, rabbitmq=cluster)
    suite = Suite(servers, tmp_path_factory.mktemp("suite"), HANDOFF_QUEUE_TYPE="quorum")
    try:
        yield suite.start()
    finally:
        suite.stop()


def watch(load):
    """A socket that saw the session from its beginning."""
    return ws.subscribed(load.devices[0], load.session["id"])


def check_watched(socket):
    """Every version, in order, once."""
    versions = [socket.recv_until("state_delta")["version"] for _ in range(N_WRITES)]
    assert versions == list(range(2, N_WRITES + 2))


def die_under_load(suite, cluster, *chosen):
    """Kills the node that each of them chooses, one after another, and starts it again."""
    load = Load(suite)
    with watch(load) as socket:
        with load:
            for choose in chosen:
                load.wait(30)
                dead = choose()
                cluster.kill(dead)
                load.wait(30)
                cluster.restart(dead)
        load.check()
        check_watched(socket)


def test_the_shared_queues_are_replicated(suite, cluster):
    for queue in (COMMANDS, "state_engine.dead", AUDIT, "audit_writer.dead"):
        assert cluster.n_members(queue) == 3, queue


def test_another_type_of_queue_is_told_with_what_to_do(suite, tmp_path):
    wrong = Suite(suite.servers, tmp_path, names=["audit_writer"], HANDOFF_QUEUE_TYPE="classic")
    service = wrong.services["audit_writer"].start()
    try:
        def lost():
            return [r for r in wrong.log_records("audit_writer") if r["event"] == "dependency_lost"
                    and r["dependency"] == "rabbitmq"]
        record = wait_until(lost, what="the record")[0]
        assert "406 PRECONDITION_FAILED" in record["err"] and "HANDOFF_QUEUE_TYPE" in record["hint"]
        assert not service.is_ready()
    finally:
        wrong.stop()
    assert len(lost()) == 1, "told once, however often it is tried"


def test_the_engines_node_and_the_leader_of_the_commands_die(suite, cluster):
    die_under_load(suite, cluster, lambda: cluster.node_of("state_engine consume"), lambda: cluster.leader_of(COMMANDS))


def test_a_fanout_makes_its_own_queue_again_on_another_node(suite, cluster):
    name = suite.services["ws_fanout"].known_as
    instance = next(r["instance"] for r in suite.log_records(name))
    die_under_load(suite, cluster, lambda: cluster.node_of(instance))

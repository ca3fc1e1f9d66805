"""The schedule is repeatable and leaves nothing out."""

import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1])]

import faults  # noqa: E402
from clusters import ClusterWorld  # noqa: E402
from world import World  # noqa: E402


class Planned:
    can, linked, instances = {"mount", "faketime", "one"}, World.linked, World.instances


class OnClusters(Planned):
    can, linked = {"mount", "faketime", "clusters"}, ClusterWorld.linked


def plan(seed, seconds=300, names=None, world=Planned):
    return [(p.offset, p.name, [(k.name, t) for k, t in p.faults], p.seconds)
            for p in faults.schedule(world(), seed, seconds, names)]


def test_the_same_seed_makes_the_same_faults_at_the_same_offsets():
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)


def test_every_kind_comes_before_any_comes_again():
    names = [name for _, name, _, _ in plan(3, 3600)]
    n = len(faults.possible(Planned()))
    assert len(set(names[:n])) == n == len(set(names))


def test_what_the_machine_does_not_allow_is_left_out():
    class Poor(Planned):
        can = {"one"}
    assert {k.needs for k in faults.possible(Poor())} == {"", "one"}


def test_on_clusters_nodes_die_and_no_server_does():
    names = {kind for _, _, parts, _ in plan(9, 3600, world=OnClusters) for kind, _ in parts}
    assert {"redis-master-kill", "redis-master-stop", "redis-replica-kill", "rabbitmq-node-kill", "rabbitmq-node-stop",
            "engine-kill", "fanout-kill", "api-kill", "audit-kill", "postgresql-kill", "engine-link-cut"} <= names
    assert not names & {"redis-kill", "redis-flushall", "rabbitmq-kill", "redis-cut", "fanout-link-cut"}
    targets = {target for _, _, parts, _ in plan(9, 3600, world=OnClusters) for _, target in parts}
    assert not any(target.endswith((">redis", ">rabbitmq")) for target in targets)


def test_every_row_and_column_of_the_table_is_there():
    names = set(faults.BY_NAME)
    for service in faults.SERVICES:
        assert {f"{service}-{what}" for what in ("kill", "stop", "term", "link-cut", "link-hole", "link-delay",
                                                 "link-throttle", "clock-ahead", "clock-behind")} <= names
    for server in faults.SERVERS:
        assert {f"{server}-{what}" for what in ("kill", "stop", "restart", "cut", "hole", "delay",
                                                "throttle")} <= names
    assert {"rabbitmq-alarm", "redis-full", "redis-disk", "postgresql-disk"} <= names


@pytest.mark.parametrize("rows", [{"engine", "rabbitmq"}, {"engine", "redis"}, {"rabbitmq", "postgresql"},
                                  {"redis", "postgresql"}, {"engine"}, {"fanout", "rabbitmq"}])
def test_the_pairs_of_the_table_are_there(rows):
    assert any({part.split("-")[0] for part in parts} == rows for parts in faults.PAIRS.values())


def test_two_of_one_service_have_two_targets():
    for _, name, parts, _ in plan(5, 3000):
        if name == "two-engines":
            assert parts[0][1] != parts[1][1]

"""The faults: a table of kinds, and a schedule made from a seed. faults.md's rows are the targets, its columns what is
done to them; a row of the table here is one field of it, a pair is two that are there together."""

import os
import random
import signal
import time
from dataclasses import dataclass, field

from world import DEPENDENCIES

SERVICES = {"api": "session_api", "engine": "state_engine", "fanout": "ws_fanout", "audit": "audit_writer"}
SERVERS = ("rabbitmq", "redis", "postgresql")


@dataclass
class Kind:
    """targets(world): names of which one is drawn. seconds: it lasts, from and to. rest: until the next one may begin,
    as a rule. goal: seconds from its end until everything is whole. needs: what the machine must allow, "clusters"
    that the servers are some, or "one" that they are not. hangs: a request through it may take longer than 10 s.
    loses: Redis may have forgotten something. wipes: the broker has, which PostgreSQL may not have got yet."""
    name: str
    targets: object
    begin: object
    end: object
    seconds: tuple = (0.3, 2.0)
    rest: float = 1.0
    goal: float = 5.0
    needs: str = ""
    hangs: bool = False
    loses: bool = False
    wipes: bool = False
    parts: tuple = field(default=())  # of a pair: names of kinds


# ---- what is done ----

def kill(world, name):
    world.suite.kill(name)


def terminate(world, name):
    code = world.suite.terminate(name)
    assert code == 0, f"{name} ended with {code} after SIGTERM"


def start(world, name):
    world.suite.exit_codes.pop(name, None)
    world.service(name).start()


def freeze(world, name):
    world.service(name).process.send_signal(signal.SIGSTOP)


def thaw(world, name):
    world.service(name).process.send_signal(signal.SIGCONT)


def set_links(mode, way="both"):
    def begin(world, name):
        for link in world.links.ports:
            if link == name or (name.startswith("*") and link.endswith(name[1:])):
                world.links.set(link, mode, way)
    return begin


pass_links = set_links("pass")


def make_zombie(world, name):
    """Redis is slow for it, so that commands wait in it; then the broker drops it and it does not learn that."""
    world.links.set(f"{name}>redis", "delay")
    time.sleep(0.5)
    world.links.set(f"{name}>rabbitmq", "half")


def end_zombie(world, name):
    world.links.set(f"{name}>rabbitmq", "pass")
    world.links.set(f"{name}>redis", "pass")


def kill_server(world, name):
    world.kill_server(name)


def stop_server(world, name):
    world.server(name).stop()


def start_server(world, name):
    world.server(name).start()


def freeze_server(world, name):
    world.signal_server(name, signal.SIGSTOP)


def thaw_server(world, name):
    world.signal_server(name, signal.SIGCONT)


def fill_disk(world, name):
    world.disks[name].fill()


def clear_disk(world, name):
    world.disks[name].clear()
    if name == "redis":
        world.rewrite_aof()


def raise_alarm(world, _):
    world.in_broker("vm_memory_monitor:set_vm_memory_high_watermark(0.0000001).")


def clear_alarm(world, _):
    world.in_broker("vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1073741824}).")


def redis_full(world, _):
    world.redis().config_set("maxmemory", 1)


def redis_has_room(world, _):
    world.redis().config_set("maxmemory", 0)


def forget_scripts(world, _):
    world.redis().script_flush()


def kill_connections(world, _):
    world.redis().client_kill_filter(_type="normal", skipme=True)


def flush_redis(world, _):
    world.redis().flushall()


def cut_aof(world, _):
    """The node dies, and the last 64 KiB of what it wrote never reached the disk."""
    world.kill_server("redis")
    newest = max((world.servers.redis.folder / "appendonlydir").glob("*.incr.aof"), key=os.path.getmtime)
    os.truncate(newest, max(0, newest.stat().st_size - 65536))


def keep_redis(world, _):
    """What a replica has that is cut off now."""
    world.keep_redis()


def promote_kept_redis(world, _):
    world.kill_server("redis")
    world.bring_kept_redis()


def wipe_broker(world, _):
    world.forget()
    world.wipe_broker()


def freeze_writers(world, _):
    for name in world.instances("audit_writer"):
        freeze(world, name)


def purge_and_thaw_writers(world, _):
    with world.suite.amqp() as connection:
        connection.channel().queue_purge("audit_writer.events")
    for name in world.instances("audit_writer"):
        thaw(world, name)


def refuse_rows(world, _):
    world.in_database("alter system set default_transaction_read_only = on", "select pg_reload_conf()",
                      "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'handoff'")


def take_rows(world, _):
    world.in_database("set default_transaction_read_only = off",
                      "alter system reset default_transaction_read_only", "select pg_reload_conf()",
                      "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'handoff'")


def lock_rows(world, _):
    world.lock_table("session_events")


def unlock_rows(world, _):
    world.unlock_table()


def end_sessions(world, _):
    world.in_database("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'handoff'")


def kill_master(world, _):
    world.kill_redis_node(is_master=True)


def kill_replica(world, _):
    world.kill_redis_node(is_master=False)


def freeze_master(world, _):
    """For longer than its replica waits."""
    world.freeze_redis_master()


def mend_redis(world, _):
    """A fault more before each master has a replica again would be a loss of both."""
    world.mend_redis()


def kill_broker_node(world, _):
    world.kill_broker_node()


def freeze_broker_node(world, _):
    world.freeze_broker_node()


def mend_broker(world, _):
    world.mend_broker()


def turn_clock(offset):
    return lambda world, name: world.clock(name, offset)


def nothing(world, name):
    del world, name


# ---- the table ----

def instances_of(service):
    return lambda world: world.instances(service)


def links_of(service):
    return lambda world: [f"{i}>{d}" for i in world.instances(service) for d in DEPENDENCIES[service]
                          if d in world.linked]


def just(*names):
    return lambda world: list(names)


MODES = {"cut": (0.1, 1.5), "hole": (0.5, 3.0), "half": (0.5, 2.0), "hold": (0.5, 3.0), "delay": (1.0, 3.0),
         "throttle": (1.0, 3.0)}


def link_kinds(name, targets, **more):
    return [Kind(f"{name}-{mode}", targets, set_links(mode), pass_links, seconds, **more)
            for mode, seconds in MODES.items()]


def service_kinds():
    for short, service in SERVICES.items():
        targets = instances_of(service)
        may_hang = short in ("api", "fanout")
        yield Kind(f"{short}-kill", targets, kill, start, (0.0, 1.0))
        yield Kind(f"{short}-stop", targets, freeze, thaw, (1.0, 4.0), hangs=may_hang)
        yield Kind(f"{short}-term", targets, terminate, start, (0.0, 1.0), rest=1.5)
        yield from link_kinds(f"{short}-link", links_of(service))
        yield Kind(f"{short}-clock-ahead", targets, turn_clock("+3600"), turn_clock("+0"), (2.0, 4.0), needs="faketime")
        yield Kind(f"{short}-clock-behind", targets, turn_clock("-3600"), turn_clock("+0"), (2.0, 4.0),
                   needs="faketime")


def server_kinds():
    rests = {"rabbitmq": 6.0, "redis": 1.5, "postgresql": 2.0}
    for name in SERVERS:
        rest, needs = rests[name], "" if name == "postgresql" else "one"
        yield Kind(f"{name}-kill", just(name), kill_server, start_server, (0.0, 2.0), rest, needs=needs)
        yield Kind(f"{name}-restart", just(name), stop_server, start_server, (0.0, 1.0), rest, needs=needs)
        yield Kind(f"{name}-stop", just(name), freeze_server, thaw_server, (1.0, 4.0), rest, needs=needs)
        yield from link_kinds(name, just(f"*>{name}"), needs=needs)


def node_kinds():
    yield Kind("redis-master-kill", just("redis"), kill_master, mend_redis, (0.5, 4.0), 1.5, needs="clusters")
    yield Kind("redis-master-stop", just("redis"), freeze_master, mend_redis, (3.0, 6.0), 1.5, needs="clusters")
    yield Kind("redis-replica-kill", just("redis"), kill_replica, mend_redis, (0.5, 4.0), 1.5, needs="clusters")
    yield Kind("rabbitmq-node-kill", just("rabbitmq"), kill_broker_node, mend_broker, (0.5, 4.0), 2.0, needs="clusters")
    yield Kind("rabbitmq-node-stop", just("rabbitmq"), freeze_broker_node, mend_broker, (1.0, 8.0), 2.0,
               needs="clusters")


KINDS = [
    *service_kinds(), *server_kinds(), *node_kinds(),
    *link_kinds("devices", just("devices>api", "devices>ws"), hangs=True),
    Kind("rabbitmq-alarm", just("rabbitmq"), raise_alarm, clear_alarm, (1.0, 4.0), 3.0, needs="one"),
    Kind("redis-full", just("redis"), redis_full, redis_has_room, (0.5, 3.0), needs="one"),
    Kind("redis-disk", just("redis"), fill_disk, clear_disk, (1.0, 4.0), 1.5, needs="one mount"),
    Kind("redis-scripts", just("redis"), forget_scripts, nothing, (0.0, 0.1), 0.5, needs="one"),
    Kind("redis-connections", just("redis"), kill_connections, nothing, (0.0, 0.1), 0.5, needs="one"),
    Kind("postgresql-disk", just("postgresql"), fill_disk, clear_disk, (1.0, 4.0), 2.0, 35.0, needs="mount"),
    Kind("postgresql-refuses", just("postgresql"), refuse_rows, take_rows, (0.5, 4.0), 2.0, 35.0),
    Kind("postgresql-locked", just("postgresql"), lock_rows, unlock_rows, (0.5, 4.0)),
    Kind("postgresql-connections", just("postgresql"), end_sessions, nothing, (0.0, 0.1)),
    Kind("rabbitmq-wiped", just("rabbitmq"), wipe_broker, start_server, (0.0, 1.0), 6.0, 15.0, needs="one",
         wipes=True),
    Kind("engine-zombie", instances_of("state_engine"), make_zombie, end_zombie, (0.5, 2.0), needs="one"),
    Kind("audit-purge", just("audit_writer.events"), freeze_writers, purge_and_thaw_writers, (0.5, 2.0), 2.0, needs="one",
         wipes=True),
    Kind("redis-flushall", just("redis"), flush_redis, nothing, (0.0, 0.1), 3.0, loses=True, needs="one"),
    Kind("redis-aof-tail", just("redis"), cut_aof, start_server, (0.0, 1.0), 3.0, loses=True, needs="one"),
    Kind("redis-stale", just("redis"), keep_redis, promote_kept_redis, (1.0, 4.0), 3.0, loses=True, needs="one"),
]

PAIRS = {
    "engine+broker": ("engine-kill", "rabbitmq-kill"),
    "engine+redis": ("engine-kill", "redis-kill"),
    "broker+postgresql": ("rabbitmq-kill", "postgresql-kill"),
    "redis+postgresql": ("redis-stop", "postgresql-stop"),
    "two-engines": ("engine-kill", "engine-stop"),
    "fanout+broker": ("fanout-kill", "rabbitmq-cut"),
    "engine+broker-cut": ("engine-kill", "rabbitmq-cut"),
    "redis+postgresql-cut": ("redis-cut", "postgresql-cut"),
    "stopped-engine+lost-redis": ("engine-stop", "redis-flushall"),
    "killed-engine+lost-redis": ("engine-kill", "redis-flushall"),
    "broker+lost-redis": ("rabbitmq-kill", "redis-flushall"),
    "postgresql+lost-redis": ("postgresql-stop", "redis-flushall"),
    "stopped-engine+redis": ("engine-stop", "redis-restart"),
    "master+node": ("redis-master-kill", "rabbitmq-node-kill"),
    "engine+master": ("engine-kill", "redis-master-kill"),
    "stopped-engine+master": ("engine-stop", "redis-master-kill"),
    "engine+node": ("engine-kill", "rabbitmq-node-kill"),
    "master+postgresql": ("redis-master-kill", "postgresql-kill"),
    "fanout+node": ("fanout-kill", "rabbitmq-node-stop"),
}

BY_NAME = {kind.name: kind for kind in KINDS}


def pairs():
    for name, parts in PAIRS.items():
        kinds = [BY_NAME[p] for p in parts]
        yield Kind(name, None, None, None, rest=max(k.rest for k in kinds), goal=max(k.goal for k in kinds),
                   seconds=max(k.seconds for k in kinds), hangs=any(k.hangs for k in kinds), parts=parts,
                   loses=any(k.loses for k in kinds), needs=" ".join(dict.fromkeys(k.needs for k in kinds if k.needs)))


BY_NAME.update((pair.name, pair) for pair in pairs())


# ---- the schedule ----

@dataclass
class Planned:
    offset: float   # s, from the first fault on
    name: str
    faults: list    # [(kind, target)]: one, or a pair's two
    seconds: float


def possible(world, names=None):
    """Kinds that this machine, and these servers, allow."""
    kinds = [BY_NAME[name] for name in names] if names else list(BY_NAME.values())
    return [k for k in kinds if set(k.needs.split()) <= world.can and (k.parts or k.targets(world))]


def draw_pair(rng, world, kind):
    """Of two of the same service each has another instance."""
    faults, used = [], set()
    for name in kind.parts:
        part = BY_NAME[name]
        target = rng.choice([t for t in part.targets(world) if t not in used])
        used.add(target)
        faults.append((part, target))
    return faults


def schedule(world, seed, seconds, names=None, long=False, scale=1.0, least=0):
    """Every kind once, in a drawn order, then every kind again, until the time is over and there are `least` faults.
    The same seed makes the same faults at the same offsets. long: as long as faults.md has them, now and then. scale:
    of how long each lasts."""
    rng, planned, offset, deck = random.Random(seed), [], 0.0, []
    while offset < seconds or sum(len(p.faults) for p in planned) < least:
        if not deck:
            deck = possible(world, names)
            rng.shuffle(deck)
        kind = deck.pop()
        low, high = kind.seconds
        lasts = scale * rng.uniform(low, high if not long else high * rng.choice((1, 1, 1, 5)))
        faults = draw_pair(rng, world, kind) if kind.parts else [(kind, rng.choice(kind.targets(world)))]
        planned.append(Planned(round(offset, 3), kind.name, faults, round(lasts, 3)))
        offset += lasts + kind.rest
    return planned

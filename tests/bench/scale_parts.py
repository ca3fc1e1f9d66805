"""The parts of scale.py: each takes a World and returns its points, {name: what was measured there}."""

import json
import statistics
import time

import run
from machine import wakes

N_SESSIONS = [1_000, 10_000, 100_000]
N_OWNERS = 200  # of these: 500 sessions each, where 10 000 are allowed
FEW = 1_000  # sessions that changes go to, beside all the others
N_WINDOWS, N_KEPT = 500, 40  # sessions, and deltas of each: below HANDOFF_SNAPSHOT_EVERY
SIZES = {"300 B": 300, "3 KB": 3_000, "30 KB": 30_000, "100 KB": 100_000, "512 KiB": 512 * 1024 - 32}  # the limit, and a counter that grows
N_DOCUMENTS = 64
N_WATCHERS = {1: 200, 10: 200, 100: 100, 1_000: 20, 5_000: 4, 15_000: 2}  # and changes a second
N_INSTANCES = [1, 2, 4]
N_PAIRS = 200  # sessions with a writer and a watcher
RATES = [100, 400, 1000]  # events a second
N_IDLE_SOCKETS = 1_000
IDLE_SECONDS = 20


def per_request(result, *names):
    return sum(result["cpuPerRequest"][name] for name in names)


def all_services(result):
    return per_request(result, *run.SERVICES)


def shown(result):
    return (f"{result['throughput']:7.0f}/s, services {all_services(result):6.0f} µs, Redis "
            f"{per_request(result, 'Redis'):5.0f} µs, p50 {result['latency']['p50'] / 1000:.2f} ms")


def how_long(world):
    return {"seconds": world.options.seconds, "warmUp": world.options.warm_up}


# ---- sessions ----

def growth(world, load, n, n_before):
    """What is there when there are n sessions, and nobody has touched them but their creation."""
    data = json.dumps(run.data_of(0))
    before = world.redis_bytes()

    def create():
        made = load.order({"do": "create", "n": n, "data": data})
        return {**made, "requests": n - n_before}
    created = world.metered(create)
    began = world.services_ns()["state_engine"]
    quiet_after = world.quiet()
    return {
        "sessions": n, "created": created, "createdPerSecond": (n - n_before) / created["seconds"],
        "quietAfter": quiet_after,
        "looksPerSession": (world.services_ns()["state_engine"] - began) / 1000 / (n - n_before),
        "redisBytes": (world.redis_bytes() - before) / (n - n_before),
        "idle": world.idle(5), "resident": world.resident(),
    }


def load_of(world, load, kind, **more):
    return world.metered(lambda: load.order({"do": "load", "kind": kind, "connections": 64, **how_long(world), **more}))


def sessions(world, say):
    found, n_accepted = {}, 0
    with world.stack():
        load = world.load("sessions_load", tokens=world.tokens(N_OWNERS))
        for n, n_before in zip(N_SESSIONS, [0, *N_SESSIONS]):
            point = found[f"{n:,}"] = growth(world, load, n, n_before)
            say(f"{n:7,} sessions: {point['redisBytes']:.0f} bytes each, {point['createdPerSecond']:.0f} created "
                f"a second, quiet after {point['quietAfter']:.0f} s")
            for kind in ("patch", "get"):
                for name, more in ((kind, {}), (kind + "Few", {"n": FEW})):
                    point[name] = load_of(world, load, kind, **more)
                    n_accepted += point[name]["accepted"]
                    say(f"        {kind:5} of {more.get('n', n):7,}: " + shown(point[name]))
            point["residentAfter"] = world.resident()
        world.account(n_accepted)
    return found


def windows(world, say):
    """What a delta that is kept needs."""
    with world.stack():
        load = world.load("sessions_load", tokens=world.tokens(N_OWNERS))
        load.order({"do": "create", "n": N_WINDOWS, "data": json.dumps(run.data_of(0))})
        world.quiet()
        sizes, ids = [world.redis_bytes()], load.order({"do": "ids", "n": 20})["ids"]
        created = key_bytes(world, ids)
        for times in (1, N_KEPT):
            load.order({"do": "patch", "n": N_WINDOWS, "times": times})
            world.quiet()
            sizes.append(world.redis_bytes())
        first, rest = ((b - a) / N_WINDOWS for a, b in zip(sizes, sizes[1:]))
        point = {"firstDelta": first, "bytesPerDelta": rest / N_KEPT,
                 "keysCreated": created, "keys": key_bytes(world, ids)}
        say(f"{point['bytesPerDelta']:.0f} bytes a delta, {first:.0f} the first")
        world.account(N_WINDOWS * (1 + N_KEPT))
    return {"window": point}


def key_bytes(world, ids):
    """{kind of key: median bytes}"""
    redis, found = world.redis(), {}
    for session in ids:
        for key in redis.scan_iter(f"session:{{{session}}}:*", 10_000):
            kind = key.split("}:", 1)[1]
            found.setdefault(kind, []).append(redis.memory_usage(key, samples=0))
    return {kind: statistics.median(sizes) for kind, sizes in found.items()}


# ---- documents ----

def document(size):
    """Data of that many bytes in canonical form: notes of about 100 bytes each."""
    data = {**run.data_of(0), "notes": []}

    def left():
        return size - len(json.dumps(data, separators=(",", ":")))
    while left() > 240:
        n = len(data["notes"])
        data["notes"].append({"at": n * 30, "text": "what came to mind there, in a line", "stars": n % 5,
                              "tags": ["calm", "breath"]})
    data["note"] += "." * max(0, left())
    return data


def documents(world, say):
    found = {}
    for name, size in SIZES.items():
        with world.stack():
            load = world.load("sessions_load", tokens=world.tokens(N_DOCUMENTS))
            load.order({"do": "create", "n": N_DOCUMENTS, "data": json.dumps(document(size)), "connections": 4})
            run.settle(world.suite)
            point = found[name] = {"bytes": size}
            for kind in ("patch", "get"):
                point[kind] = load_of(world, load, kind, connections=16)
                say(f"{name:8} {kind:5}: " + shown(point[kind]))
            point["resident"] = world.resident()
            world.account(point["patch"]["accepted"])
    return found


# ---- watchers ----

def watchers(world, say):
    found, n_changes = {}, 0
    with world.stack():
        load = world.load("crowd_load", tokens=world.tokens(max(N_WATCHERS)))
        load.order({"do": "create", "n": 1, "data": json.dumps(run.data_of(0))})
        for n, rate in N_WATCHERS.items():
            joined = load.order({"do": "join", "n": n})
            result = found[f"{n:,}"] = world.metered(
                lambda rate=rate: load.order({"do": "spread", "rate": rate, "seconds": 2 * world.options.seconds,
                                              "warmUp": world.options.warm_up}), "deliveries")
            result.update(watchers=n, rate=rate, joined=joined, resident=world.resident())
            load.order({"do": "leave"})
            n_changes += result["changes"]
            say(f"{n:6,} watchers, {rate:3}/s: {result['cpuPerRequest']['ws_fanout']:.2f} µs a delivery, to the last "
                f"p50 {result['latency']['p50'] / 1000:.2f} ms, p99 {result['latency']['p99'] / 1000:.2f} ms")
        world.account(n_changes)
    return found


# ---- instances ----

def pairs(world):
    """A session for each of N_PAIRS users: [(id, writer's token, watcher's token)]."""
    return run.create_sessions(world.suite, world.harness.token, N_PAIRS, world.harness.new_user)


def watched_load(world, sessions):
    """load, whose watchers are shared out among the instances of ws_fanout."""
    ports = [s.port for s in world.suite.instances("ws_fanout")]
    return world.load("load", sessions=[{**s, "wsPort": ports[n % len(ports)]} for n, s in enumerate(sessions)])


def one_phase(world, load, **how):
    ports = [s.port for s in world.suite.instances("session_api")]
    return world.metered(lambda: load.order({"kind": "patch", "connections": 64, "ports": ports, **how_long(world),
                                             **how}))


def at_size(world, sessions, name, n_instances):
    """64 connections, with so many instances of that service ("all": of each) beside the others."""
    added = [world.add_instance(service, n) for service in run.SERVICES if name in (service, "all")
             for n in range(2, n_instances + 1)]
    load = watched_load(world, sessions)
    point = {"instances": n_instances, "of": name, "patch": one_phase(world, load),
             "get": one_phase(world, load, kind="get"), "resident": world.resident()}
    world.end(load)
    for service in added:
        world.remove_instance(service)
    return point


def instances(world, say):
    found = {}
    with world.stack(HANDOFF_FANOUT_BINDING="all"):
        sessions_ = pairs(world)
        for n in N_INSTANCES:
            for name in [*run.SERVICES, "all"] if n > 1 else ["all"]:
                label = f"{n} of {'each' if name == 'all' else name}"
                point = found[label] = at_size(world, sessions_, name, n)
                say(f"{label:17} PATCH {shown(point['patch'])}; GET {point['get']['throughput']:.0f}/s")
        world.account(sum(point["patch"]["accepted"] for point in found.values()))
    return found


# ---- bindings ----

def binding(world, mode, n_fanouts):
    """Events at several rates, each session watched at one of the instances; and what it costs to begin."""
    points, n_accepted = {}, 0
    with world.stack(HANDOFF_FANOUT_BINDING=mode):
        for n in range(2, n_fanouts + 1):
            world.add_instance("ws_fanout", n)
        sessions_ = pairs(world)
        run.settle(world.suite)
        made = []
        joined = world.metered(lambda: made.append(watched_load(world, sessions_)) or {"requests": N_PAIRS})
        for rate in RATES:
            result = points[f"{mode}, {n_fanouts} ws_fanout, {rate}/s"] = one_phase(world, made[0], rate=rate)
            result.update(mode=mode, instances=n_fanouts, rate=rate, joined=joined,
                          cpuPerEvent=per_request(result, "ws_fanout", "RabbitMQ"))
            n_accepted += result["accepted"]
        world.account(n_accepted)
    return points


def bindings(world, say):
    found = {}
    for n in N_INSTANCES:
        for mode in ("all", "session"):
            points = binding(world, mode, n)
            found.update(points)
            for name, point in points.items():
                say(f"{name:28} ws_fanout {per_request(point, 'ws_fanout'):4.0f} + RabbitMQ "
                    f"{per_request(point, 'RabbitMQ'):4.0f} µs an event; a subscription "
                    f"{per_request(point['joined'], 'ws_fanout', 'RabbitMQ'):.0f} µs")
    return found


# ---- idle ----

def rest(world, say, name):
    quiet_after = world.quiet()
    before, began = {s: sum(map(wakes, world.pids(s))) for s in run.SERVICES}, time.monotonic()
    share = world.idle(IDLE_SECONDS)
    took = time.monotonic() - began
    point = {"share": share, "quietAfter": quiet_after, "resident": world.resident(),
             "wakes": {s: (sum(map(wakes, world.pids(s))) - before[s]) / took for s in run.SERVICES}}
    say(f"{name}: {sum(share.values()):.3%} of a CPU (" + ", ".join(
        f"{s} {share[s]:.3%}, {point['wakes'][s]:.1f} wakes/s" for s in run.SERVICES) + ")")
    return point


def idle(world, say):
    found = {}
    with world.stack():
        found["nothing"] = rest(world, say, "nothing")
        load = world.load("crowd_load", tokens=world.tokens(N_IDLE_SOCKETS))
        load.order({"do": "create", "n": N_IDLE_SOCKETS, "data": json.dumps(run.data_of(0))})
        load.order({"do": "join", "n": N_IDLE_SOCKETS, "own": True})
        name = f"{N_IDLE_SOCKETS:,} WebSockets"
        # The load generator answers pings only while it carries out an order or waits for one: it does.
        found[name] = rest(world, say, name)
        load.order({"do": "leave"})
        world.account(0)
    return found


PARTS = {"sessions": sessions, "deltas kept": windows, "document size": documents, "watchers": watchers,
         "instances": instances, "bindings": bindings, "idle": idle}

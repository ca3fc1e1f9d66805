"""make bench SCALE=1: what it costs as the work grows. The method is in README.md, the parts are in
scale_parts.py; each has services, a broker's virtual host, a database and a Redis database of its own, on
servers that all share. Prints tables, writes build/bench/scale.json and, with --markdown, the figures and
plots of docs/PERFORMANCE.md."""

import contextlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

import report_scale
import run
from machine import Meter, cpu_ns, describe
from scale_parts import PARTS

MAX_CONNECTIONS = 16_000
QUIET_SHARE = 0.01  # of a CPU, all services together: nothing goes on that was begun before
QUIET_WITHIN = 90  # s


class World:
    """The servers, and the services of the part that runs."""

    def __init__(self, options, harness, servers, folder):
        self.options, self.harness, self.servers, self.folder = options, harness, servers, folder
        self.suite, self.meter, self.loads, self.n_realms = None, None, [], 0
        self.accounts = []

    @contextlib.contextmanager
    def stack(self, **more):
        """Fresh services for the time of the block; more: of their environment."""
        self.n_realms += 1
        realm = self.servers.realm(self.n_realms)
        folder = pathlib.Path(self.folder) / str(self.n_realms)
        folder.mkdir()
        self.suite = self.harness.Suite(realm, folder, HANDOFF_MAX_CONNECTIONS=str(MAX_CONNECTIONS), **more)
        try:
            self.suite.start()
            yield self.suite
        finally:
            for load in self.loads:
                load.process.stdin.close()
                load.process.wait()
            self.loads.clear()
            self.suite.stop()
            self.redis(self.n_realms).flushdb()  # else an append-only file grows that is then rewritten

    # ---- load ----

    def tokens(self, n):
        """A token for each of n users, who may see all sessions."""
        return [self.harness.token(self.harness.new_user(), "phone",
                                   scope="sessions:read sessions:write sessions:admin") for _ in range(n)]

    def load(self, program, **setup):
        """A load generator, which ends with the stack; setup: besides the ports."""
        load = run.Load(self.options.programs / program, {
            "apiPort": self.suite.api_port, "wsPort": self.suite.ws_port, **setup})
        self.loads.append(load)
        return load

    def end(self, load):
        self.loads.remove(load)
        load.stop()

    # ---- instances ----

    def pids(self, name):
        return [s.process.pid for s in self.suite.instances(name)]

    def add_instance(self, name, n, **env):
        """The n-th of a service; ready."""
        from services import instance_name
        admin, port = self.harness.free_ports(2)
        service = self.suite._add(name, instance_name(name, n), admin, port)
        service.env.update(env)
        service.start().wait_ready()
        return service

    def remove_instance(self, service):
        service.stop(timeout=self.harness.MAX_WAIT)
        del self.suite.services[service.known_as]

    # ---- what it costs ----

    def metered(self, work, unit="requests"):
        """What work() returns, with the CPU time that each of its requests (or what unit names) cost."""
        meter = Meter({
            **{name: self.pids(name) for name in run.SERVICES},
            "RabbitMQ": self.servers.rabbitmq.process.pid, "Redis": self.servers.redis.process.pid,
            "PostgreSQL": self.servers.postgresql.process.pid,
            "load generator": [load.process.pid for load in self.loads], "all of it": os.getpid()})
        before, began = meter.read(), time.monotonic()
        exact = {name: self.service_ns(name) for name in run.SERVICES}
        result = work()
        run.settle(self.suite)
        run.Bench.add_cost(result, before, meter.read(), began, max(1, result[unit]))
        for name in run.SERVICES:
            result["cpuPerRequest"][name] = (self.service_ns(name) - exact[name]) / 1000 / max(1, result[unit])
        return result

    def service_ns(self, name):
        return sum(map(cpu_ns, self.pids(name)))

    def services_ns(self):
        return {name: self.service_ns(name) for name in run.SERVICES}

    def idle(self, seconds):
        """{service: share of a CPU} while nothing is asked of them."""
        before, began = self.services_ns(), time.monotonic()
        time.sleep(seconds)
        after, took = self.services_ns(), time.monotonic() - began
        return {name: (after[name] - before[name]) / 1e9 / took for name in after}

    def quiet(self):
        """Waits until the services have nothing left to do of what was begun; seconds that this took."""
        run.settle(self.suite)
        began, n_quiet = time.monotonic(), 0
        while n_quiet < 3 and time.monotonic() < began + QUIET_WITHIN:
            n_quiet = n_quiet + 1 if sum(self.idle(1).values()) < QUIET_SHARE else 0
        return time.monotonic() - began

    def resident(self):
        """{service: MiB}"""
        return Meter({name: self.pids(name) for name in run.SERVICES}).resident_mib()

    # ---- Redis ----

    def redis(self, n=0):
        import redis
        of = self.servers.redis
        return redis.Redis(port=of.port, password=of.password, db=n or self.n_realms, decode_responses=True)

    def redis_bytes(self):
        """What its data needs, with the tables and the allocator's rounding, without clients' buffers."""
        memory = self.redis().info("memory")
        return memory["used_memory"] - memory["mem_clients_normal"] - memory["mem_aof_buffer"]

    # ---- nothing may be missing ----

    def account(self, n_accepted):
        run.settle(self.suite)
        self.accounts.append(run.account(self.suite, n_accepted))


def measure(options, world):
    rounds = []
    for n in range(1, options.rounds + 1):
        one = {}
        for name, part in PARTS.items():
            if not run.is_wanted(options, name):
                continue
            run.say(f"  round {n}/{options.rounds}  {name}")
            began = time.monotonic()
            one[name] = part(world, lambda text: run.say("    " + text))
            run.say(f"    {time.monotonic() - began:.0f} s")
        rounds.append(one)
    return rounds


def with_world(options):
    os.environ["HANDOFF_BUILD"] = str(options.binaries.parent)
    sys.path.insert(0, str(run.ROOT / "tests"))
    import harness
    folder = tempfile.mkdtemp(prefix="handoff-bench-", dir="/tmp")
    servers = harness.Servers()
    try:
        servers.start()
        world = World(options, harness, servers, folder)
        return {"rounds": measure(options, world), "accounts": world.accounts}
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main(options):
    began = time.monotonic()
    machine = describe(run.ROOT, " ".join(["tests/bench/run.py", *sys.argv[1:]]))
    run.say("starting private servers …")
    result = {**with_world(options), "machine": machine}
    result["seconds"] = time.monotonic() - began
    output = run.ROOT / "build" / "bench" / "scale.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    run.say("\n" + report_scale.text(result))
    if options.markdown:
        report_scale.rewrite(run.ROOT / "docs" / "PERFORMANCE.md", result)
    run.say(f"{result['seconds']:.0f} s in all; everything measured is in {output.relative_to(run.ROOT)}")
    return 1 if report_scale.failures(result) else 0

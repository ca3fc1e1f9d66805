"""make bench: measures the four services on private servers; the method is in README.md.

Prints a table, writes build/bench/results.json and, with --markdown, the figures of docs/PERFORMANCE.md.
"""

import argparse
import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import audit_rows as audit
import clocks
import crowd
import peers
import report
import report_peers
import slow
from machine import Meter, describe

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SERVICES = ["session_api", "state_engine", "ws_fanout", "audit_writer"]

# What is measured in every round, in this order.
PHASES = {
    "PATCH, 1 connection": {"kind": "patch", "connections": 1},
    "PATCH, 16 connections": {"kind": "patch", "connections": 16},
    "PATCH, 64 connections": {"kind": "patch", "connections": 64},
    "GET, 64 connections": {"kind": "get", "connections": 64},
    "device to device, one at a time": {"kind": "patch", "connections": 1, "awaitFrame": True},
    "device to device, 500/s": {"kind": "patch", "connections": 64, "rate": 500},
}


def say(text):
    print(text, flush=True)


def is_wanted(options, name):
    return not options.only or any(text in name for text in options.only)


class Load:
    """The load generator's process: orders in, results out, a line of JSON each."""

    def __init__(self, program, setup):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.order(setup)

    def order(self, what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("error: the load generator ended; what it said is above")
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def data_of(n):
    """About 300 bytes, as an app's state may look."""
    return {
        "progress": 0,
        "position": {"track": f"evening-{n % 7}", "seconds": 754.5, "chapter": 3},
        "preferences": {"theme": "dark", "volume": 0.6, "captions": True, "language": "de"},
        "queue": ["breathing", "body-scan", "gratitude", "rest"],
        "note": "a line that the person wrote and that travels along with the session",
        "step": "exercise",
    }


def create_sessions(suite, token, n_sessions, new_user, **more):
    """A session for each of n users, with a token for the device that writes and one that watches."""
    sessions = []
    for n in range(n_sessions):
        user = new_user()
        phone = suite.device(user, "phone")
        created = phone.create(data_of(n), **more)
        phone.http.close()
        sessions.append({"id": created["id"], "writer": phone.token,
                         "watcher": token(user, "tablet")})
    return sessions


# ---- the audit trail ----

def audit_rows(suite):
    """Rows written, as audit_writer counts them (a count in PostgreSQL would cost what is measured)."""
    port = suite.services["audit_writer"].admin_port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("handoff_audit_rows_total"):
                return int(float(line.split()[-1]))
    raise SystemExit("error: audit_writer has no handoff_audit_rows_total")


def settle(suite):
    """Waits until the audit trail stands still; seconds that this took."""
    began, last, since = time.monotonic(), audit_rows(suite), time.monotonic()
    while time.monotonic() - since < 0.3:
        time.sleep(0.1)
        now = audit_rows(suite)
        if now != last:
            last, since = now, time.monotonic()
    return max(0.0, since - began)


def account(suite, n_accepted):
    """At the end: was anything lost?"""
    rows = suite.query("select count(*) from session_events where type in "
                       "('state_delta', 'clock_switched', 'clock_expired', 'status_changed')")[0][0]
    versions = suite.query("select sum(version - 1) from sessions")[0][0]
    return {"accepted": n_accepted, "auditRows": rows, "versions": int(versions or 0),
            "missing": n_accepted - rows}


class Bench:
    def __init__(self, options, suite, servers, sessions):
        self.options, self.suite, self.servers = options, suite, servers
        self.load = Load(options.programs / "load", {
            "apiPort": suite.api_port, "wsPort": suite.ws_port, "sessions": sessions})
        self.meter = Meter({
            **{name: suite.services[name].process.pid for name in SERVICES},
            "RabbitMQ": servers.rabbitmq.process.pid,
            "Redis": servers.redis.process.pid,
            "PostgreSQL": servers.postgresql.process.pid,
            "load generator": self.load.process.pid,
            "all of it": os.getpid(),
        })
        self.n_accepted = 0

    # ---- one phase ----

    def run_phase(self, phase):
        before = self.meter.read()
        began = time.monotonic()
        result = self.load.order({**phase, "seconds": self.options.seconds,
                                  "warmUp": self.options.warm_up})
        result["auditBehindSeconds"] = settle(self.suite) if phase["kind"] in ("patch", "switch") else 0.0
        after = self.meter.read()
        self.add_cost(result, before, after, began, result["requests"])
        self.n_accepted += result["accepted"]
        return result

    @staticmethod
    def add_cost(result, before, after, began, n):
        """What n requests cost from `before` to `after`, and how much of the CPUs others had."""
        used = {name: after[name] - before[name] for name in after}
        total_us = (time.monotonic() - began) * 1e6 * os.cpu_count()
        result["othersShare"] = max(0.0, (used.pop("everything") - used.pop("all of it")) / total_us)
        result["cpuPerRequest"] = {name: us / n for name, us in used.items()}

    # ---- points of reference, in the same minutes on the same machine ----

    def reference(self):
        health = {"kind": "path", "path": "/health", "warmUp": 0.2,
                  "seconds": self.options.reference_seconds}
        return {
            "Redis SET, 1 connection": self.metered(lambda: self.redis_set(1)),
            "Redis SET, 64 connections": self.metered(lambda: self.redis_set(64)),
            "AMQP direct reply-to, one at a time": self.metered(self.amqp_rpc),
            "GET /health, 1 connection":
                self.metered(lambda: self.load.order({**health, "connections": 1})),
            "GET /health, 64 connections":
                self.metered(lambda: self.load.order({**health, "connections": 64})),
        }

    def metered(self, measure):
        before, began = self.meter.read(), time.monotonic()
        result = measure()
        n = result.get("requests", result["latency"]["n"])
        self.add_cost(result, before, self.meter.read(), began, max(1, n))
        return result

    def redis_set(self, connections):
        redis = self.servers.redis
        n = int((20_000 if connections == 1 else 60_000) * self.options.reference_seconds)
        done = subprocess.run(
            ["redis-benchmark", "-p", str(redis.port), "-a", redis.password, "-t", "set", "-d", "300",
             "-n", str(n), "-c", str(connections), "--csv"], capture_output=True, text=True, check=True)
        row = list(csv.DictReader(done.stdout.splitlines()))[0]
        return {"throughput": float(row["rps"]), "latency": {
            "n": n, **{p: float(row[f"{p}_latency_ms"]) * 1000 for p in ("p50", "p95", "p99")}}}

    def amqp_rpc(self, *how):
        """how: how many are in flight, or "events"."""
        rabbitmq = self.servers.rabbitmq
        seconds = max(1, round(self.options.reference_seconds))
        done = subprocess.run(
            [self.options.programs / "amqp_rpc", str(rabbitmq.port), "handoff", rabbitmq.password,
             "handoff", str(seconds), *how], stdout=subprocess.PIPE, text=True, check=True)
        latency = json.loads(done.stdout)
        return {"throughput": latency["n"] / seconds, "latency": latency}


def progress(n_round, n_rounds, name, result):
    latency = result["latency"]
    line = f"  round {n_round}/{n_rounds}  {name:49}"
    line += f" {result['throughput']:9.0f}/s" if "throughput" in result else " " * 12
    if latency["n"]:
        line += f"   p50 {latency['p50'] / 1000:7.3f} ms   p99 {latency['p99'] / 1000:7.3f} ms"
    say(line)


def measure(bench, options):
    rounds = []
    for n in range(1, options.rounds + 1):
        one = {"reference": bench.reference(), "phases": {}}
        for name, result in one["reference"].items():
            progress(n, options.rounds, name, result)
        for name, phase in PHASES.items():
            if not is_wanted(options, name):
                continue
            one["phases"][name] = bench.run_phase(phase)
            progress(n, options.rounds, name, one["phases"][name])
        rounds.append(one)
    return rounds


def with_servers(options, work):
    os.environ["HANDOFF_BUILD"] = str(options.binaries.parent)
    sys.path.insert(0, str(ROOT / "tests"))
    from harness import Servers, Suite, new_user, token
    folder = tempfile.mkdtemp(prefix="handoff-bench-", dir="/tmp")
    servers, suite = Servers(), None
    try:
        servers.start()
        suite = Suite(servers, folder, HANDOFF_MAX_CONNECTIONS=str(crowd.N_USERS + 100)).start()
        return work(suite, servers,
                    lambda n, **more: create_sessions(suite, token, n, new_user, **more),
                    lambda: token(new_user(), "tablet",
                                  scope="sessions:read sessions:write sessions:admin"))
    finally:
        if suite:
            suite.stop()
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


def classic_part(options, suite, servers, sessions):
    """The phases of one request after the other: {rounds, resident}, and how many changes were accepted."""
    say(f"  {options.sessions} sessions, one watcher each; {options.rounds} rounds of "
        f"{options.seconds:g} s a phase")
    bench = Bench(options, suite, servers, sessions)
    try:
        rounds = measure(bench, options)
        return {"rounds": rounds, "resident": bench.meter.resident_mib()}, bench.n_accepted
    finally:
        bench.load.stop()


def crowd_part(options, suite, tokens):
    say(f"  up to {len(tokens):,} WebSockets; {options.rounds} rounds")
    many = crowd.Crowd(options, suite, Load, tokens, data_of(0))
    rounds = []
    for n in range(1, options.rounds + 1):
        say(f"  round {n}/{options.rounds}")
        rounds.append(many.round(lambda name: is_wanted(options, name), say))
    return {"crowd": rounds}, many.stop()


def clocks_part(options, suite, servers, sessions, tokens):
    say(f"  {len(sessions)} sessions with a clock, up to {clocks.N_RUNNING + clocks.N_EXPIRING:,} clocks that run; "
        f"{options.rounds} rounds")
    bench = Bench(options, suite, servers, sessions)
    deadlines = Load(options.programs / "deadline_load", {
        "apiPort": suite.api_port, "wsPort": suite.ws_port, "tokens": tokens})
    all_of_it, rounds = clocks.Clocks(bench, deadlines, data_of(0)), []
    for n in range(1, options.rounds + 1):
        def tell(name, phase, n=n):
            progress(n, options.rounds, name, phase)
            if "patch" in phase:
                progress(n, options.rounds, "  PATCH of the same", phase["patch"])
        rounds.append(all_of_it.round(lambda name: is_wanted(options, name), tell))
    return {"clocks": rounds}, all_of_it.stop()


def slow_part(options, suite, servers, sessions, tokens):
    bench = Bench(options, suite, servers, sessions)
    try:
        return slow.part(options, bench, Load, tokens, lambda name: is_wanted(options, name), say)
    finally:
        bench.load.stop()


def peers_part(options, suite, servers, create, tokens):
    """Handoff and what else one might use, in turn."""
    from harness import SECRET, Servers, free_ports, new_user, token
    say(f"  beside Handoff: {', '.join(peers.NAMES)}; {options.rounds} rounds")
    beside = peers.PeerServers(Servers, SECRET, free_ports)
    try:
        bench = Bench(options, suite, servers, create(options.sessions))
        comparison = peers.Comparison(bench, Load, beside.start(), tokens, data_of, token, new_user,
                                      lambda: settle(suite))
        rounds = []
        for n in range(1, options.rounds + 1):
            say(f"  round {n}/{options.rounds}")
            rounds.append(comparison.round(lambda name: is_wanted(options, name), say))
        return {"peers": rounds, "peersAccount": comparison.account()}, comparison.stop()
    finally:
        beside.stop()


def bench_with(options):
    def wants(names):
        return not options.peers and any(is_wanted(options, name) for name in names)

    def work(suite, servers, create, new_token):
        result, n_accepted = {"rounds": [], "crowd": [], "clocks": [], "peers": [], "audit": []}, 0
        if options.peers:
            part, n = peers_part(options, suite, servers, create, [new_token() for _ in range(peers.N_WATCHERS)])
            result.update(part)
            n_accepted += n
        if wants(PHASES):
            part, n = classic_part(options, suite, servers, create(options.sessions))
            result.update(part)
            n_accepted += n
        if wants(clocks.names()):
            part, n = clocks_part(options, suite, servers, create(clocks.N_SESSIONS, clock=clocks.CHESS),
                                  [new_token() for _ in range(clocks.N_USERS)])
            result.update(part)
            n_accepted += n
        if wants(crowd.names()):
            part, n = crowd_part(options, suite, [new_token() for _ in range(crowd.N_USERS)])
            result.update(part)
            n_accepted += n
        if wants(slow.names()):
            part, n = slow_part(options, suite, servers, create(options.sessions),
                                [new_token() for _ in range(slow.N_TOKENS)])
            result.update(part)
            n_accepted += n
        if any(is_wanted(options, name) for name in audit.names()):
            part, n = audit.part(options, suite, servers, audit_rows, is_wanted, say)
            result.update(part)
            n_accepted += n
        settle(suite)
        result["account"] = account(suite, n_accepted)
        return result
    return work


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "build/gcc/bin")
    parser.add_argument("--scale", action="store_true", help="the cost as the work grows, instead of all else")
    parser.add_argument("--rounds", type=int, help="default: 3; with --scale: 1")
    parser.add_argument("--seconds", type=float,
                        help="of each phase, after the warm-up; default: 5; with --peers: 4; with --scale: 2")
    parser.add_argument("--warm-up", type=float, default=0.5)
    parser.add_argument("--reference-seconds", type=float, default=1)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--only", action="append", help="phases whose name has this in it; may be repeated")
    parser.add_argument("--markdown", action="store_true", help="rewrite docs/PERFORMANCE.md's figures")
    parser.add_argument("--peers", action="store_true",
                        help="only Handoff beside what else one might use (README.md, Peers)")
    options = parser.parse_args()
    options.peers = options.peers or any("peer" in text for text in options.only or [])
    options.rounds = options.rounds or (1 if options.scale else 3)
    options.seconds = options.seconds or (2 if options.scale else 4 if options.peers else 5)
    options.binaries = options.binaries.resolve()
    if options.peers:
        options.only = options.only or ["peers: "]
        try:
            peers.check_installed()
        except peers.StartError as error:
            raise SystemExit(f"error: {error}") from None
    options.programs = options.binaries.parent / "bench"
    if not (options.programs / "load").exists():
        parser.error(f"{options.programs / 'load'} is not built; run make bench-programs")
    return options


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which stops what was started
    if options.scale:
        import scale  # which itself imports this file
        return scale.main(options)
    began = time.monotonic()
    machine = describe(ROOT, " ".join(["tests/bench/run.py", *sys.argv[1:]]))
    say("starting private servers and the services …")
    result = with_servers(options, bench_with(options))
    result["machine"] = machine
    result["seconds"] = time.monotonic() - began
    output = ROOT / "build" / "bench" / "results.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    say("\n" + report.text(result))
    report_peers.draw(result, ROOT / ("docs/performance" if options.markdown else "build/bench"))
    if options.markdown:
        report.rewrite(ROOT / "docs" / "PERFORMANCE.md", result)
    say(f"{result['seconds']:.0f} s in all; everything measured is in {output.relative_to(ROOT)}")
    return 1 if report.failures(result) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Handoff beside what else one might use: the same load, in turn, in the same minutes; see README.md, "Peers".

Whoever is not measured stays up and idles; what that costs is measured, too."""

import subprocess
import time
import types

import requests

import crowd
from machine import Meter
from peer_servers import PeerServers, StartError, check_installed

__all__ = ["NAMES", "N_WATCHERS", "Comparison", "PeerServers", "StartError", "check_installed", "names"]

OURS, WITH_AUDIT, WITHOUT, NCHAN, WEBDIS = NAMES = [
    "Handoff", "Node.js with audit", "Node.js without audit", "nchan", "webdis"]
BARE = "bare"
N_WATCHERS = 1000
REST = {
    "peers: PATCH, 64 connections": {"kind": "patch", "connections": 64},
    "peers: PATCH, 1 connection": {"kind": "patch", "connections": 1},
    "peers: device to device, 500/s": {"kind": "patch", "connections": 64, "rate": 500},
    "peers: GET, 64 connections": {"kind": "get", "connections": 64},
}
PATCHES, PATCH, DEVICES, GETS = REST
WARM_UP = [PATCHES, GETS]  # before anything is measured: Node.js compiles what runs often
WATCHERS = {
    f"peers: {N_WATCHERS} watchers, saturated": {"window": 8},
    f"peers: {N_WATCHERS} watchers, 50 writes/s": {"rate": 50},
}
SATURATED, PACED = WATCHERS
FLOORS = "peers: floors"
AMQP_64, AMQP_EVENT, HTTP_GET, HTTP_POST = (
    "AMQP direct reply-to, 64 in flight", "AMQP direct reply-to, one at a time, its event confirmed",
    "bare libmicrohttpd, GET, 64 connections", "bare libmicrohttpd, POST, 64 connections")
PATIENCE = 60  # s: for an audit trail that is behind


def names():
    return [*REST, *WATCHERS, FLOORS]


class NodeBench:
    """The same phases as run.py's Bench, on a Node.js peer."""

    def __init__(self, bench, load_class, peer, sessions, redis):
        self.bench, self.options, self.peer, self.redis = bench, bench.options, peer, redis
        self.load = load_class(self.options.programs / "load", {
            "apiPort": peer.port, "wsPort": peer.port, "sessions": sessions})
        self.meter = Meter({
            **{name: process.pid for name, process in peer.processes.items()},
            "Redis": peer.redis.process.pid, "PostgreSQL": bench.beside.postgresql.process.pid,
            "load generator": self.load.process.pid, "all of it": bench.meter.roots["all of it"]})
        self.n_accepted = 0

    def run_phase(self, phase):
        before, began = self.meter.read(), time.monotonic()
        result = self.load.order({**phase, "seconds": self.options.seconds, "warmUp": self.options.warm_up})
        self.settle()
        self.bench.add_cost(result, before, self.meter.read(), began, result["requests"])
        self.n_accepted += result["accepted"]
        return result

    def settle(self):
        """Until no job waits."""
        deadline = time.monotonic() + PATIENCE
        while self.peer.n_pending(self.redis):
            if time.monotonic() > deadline:
                raise SystemExit(f"error: the peer's audit trail is over {PATIENCE} s behind")
            time.sleep(0.05)


class PeerCrowd(crowd.Crowd):
    """Watchers of another server, whose process pid sends to them."""

    def __init__(self, options, load_class, port, pid, tokens, data):
        super().__init__(options, types.SimpleNamespace(api_port=port, ws_port=port), load_class, tokens, data)
        self.pid = pid

    @property
    def fanout(self):
        return self.pid


def create_on(port, n_sessions, token, new_user, data_of):
    """As create_sessions of run.py, on a peer."""
    sessions = []
    with requests.Session() as http:
        for n in range(n_sessions):
            user = new_user()
            writer = token(user, "phone")
            made = http.post(f"http://127.0.0.1:{port}/sessions", headers={"Authorization": f"Bearer {writer}"},
                             json={"name": "Evening meditation", "type": "meditation", "data": data_of(n)})
            made.raise_for_status()
            sessions.append({"id": made.json()["id"], "writer": writer, "watcher": token(user, "tablet")})
    return sessions


class Comparison:
    def __init__(self, bench, load_class, beside, tokens, data_of, token, new_user, settle):
        from harness import query, redis_client
        self.bench, self.options, self.beside, self.settle = bench, bench.options, beside, settle
        bench.beside = beside
        self.query = lambda sql: query(beside, sql)
        self.redis = redis_client(beside.redis.url)
        self.redis.set("bench", "x" * 300)
        self.contenders = {OURS: bench}
        for name, peer in ((WITH_AUDIT, beside.with_audit), (WITHOUT, beside.without_audit)):
            sessions = create_on(peer.port, self.options.sessions, token, new_user, data_of)
            self.contenders[name] = NodeBench(bench, load_class, peer, sessions, self.redis)
        self.load_class, self.tokens, self.data = load_class, tokens, data_of(0)
        self.crowds = {}
        self.others = Meter({WEBDIS: beside.webdis.process.pid, "Redis": beside.redis.process.pid,
                             "all of it": bench.meter.roots["all of it"]})
        for contender in self.contenders.values():
            for name in WARM_UP:
                contender.run_phase(REST[name])

    # ---- one after the other over REST ----

    def idle_cost(self, name, before, seconds):
        """Of a CPU, what the contenders that wait used; those that share servers with `name` without them."""
        shared = () if name == OURS else ("Redis", "PostgreSQL")
        costs = [0.0]
        for other, contender in self.contenders.items():
            if other != name:
                now = contender.meter.read()
                costs.append(sum(now[part] - before[other][part] for part in now
                                 if part not in ("everything", "all of it", *shared)) / seconds / 1e6)
        return max(costs)

    def rest(self, name, say):
        found = {}
        for who, contender in self.contenders.items():
            before = {other: c.meter.read() for other, c in self.contenders.items()}
            began = time.monotonic()
            result = found[who] = contender.run_phase(REST[name])
            result["idleShare"] = self.idle_cost(who, before, time.monotonic() - began)
            result["resident"] = contender.meter.resident_mib()
            tell(say, name, who, result)
        if name == GETS:
            found[WEBDIS] = self.from_path(self.others, self.beside.webdis.port, "/GET/bench.txt")
            tell(say, name, WEBDIS, found[WEBDIS])
        return found

    def from_path(self, meter, port, path, **more):
        """64 connections ask a server that has no sessions."""
        before, began = meter.read(), time.monotonic()
        result = self.bench.load.order({"kind": "path", "path": path, "port": port, "connections": 64,
                                        "seconds": self.options.reference_seconds + 1, "warmUp": 0.3, **more})
        self.bench.add_cost(result, before, meter.read(), began, max(1, result["requests"]))
        result["resident"] = meter.resident_mib()
        return result

    # ---- a thousand watchers of one session ----

    def crowd_of(self, who):
        """Made when it is needed first; nchan's comes last, since its events are to be as long as ours."""
        if who in self.crowds:
            return self.crowds[who]
        options, tokens = self.options, self.tokens
        if who == OURS:
            made = crowd.Crowd(options, self.bench.suite, self.load_class, tokens, self.data)
        elif who == NCHAN:
            length = self.crowds[OURS].text_bytes
            made = PeerCrowd(options, lambda program, setup: self.load_class(program, {**setup, "textBytes": length}),
                             self.beside.nchan.port, self.beside.nchan.process.pid, tokens, self.data)
            made.n_created = 1
        else:
            peer = self.contenders[who].peer
            made = PeerCrowd(options, self.load_class, peer.port, peer.processes["server"].pid, tokens, self.data)
        self.crowds[who] = made
        return made

    def watchers(self, wanted, say):
        found = {name: {} for name in WATCHERS if wanted(name)}
        if not found:
            return found
        for who in (OURS, WITH_AUDIT, WITHOUT, NCHAN):
            many = self.crowd_of(who)
            many.need_sessions(1)
            many.order("join", n=N_WATCHERS)
            for name in found:
                found[name][who] = result = many.spread(**WATCHERS[name])
                if who == OURS:
                    self.settle()
                elif who in self.contenders:
                    self.contenders[who].settle()
                result["resident"] = {who: resident_mib(many.fanout)}
                tell(say, name, who, result)
            many.order("leave")
        bare = self.crowds[OURS].bare(N_WATCHERS)
        for name, key in ((SATURATED, crowd.BARE.format(N_WATCHERS)), (PACED, crowd.BARE_PACED.format(N_WATCHERS, 50))):
            if name in found:
                found[name][BARE] = bare[key]
                tell(say, name, BARE, bare[key])
        return found

    # ---- what the parts can do ----

    def floors(self, say):
        bench = self.bench
        found = {
            "Redis SET, 1 connection": bench.metered(lambda: bench.redis_set(1)),
            "Redis SET, 64 connections": bench.metered(lambda: bench.redis_set(64)),
            "AMQP direct reply-to, one at a time": bench.metered(bench.amqp_rpc),
            AMQP_64: bench.metered(lambda: bench.amqp_rpc("64")),
            AMQP_EVENT: bench.metered(lambda: bench.amqp_rpc("events")),
            **self.bare_http(),
        }
        for name, result in found.items():
            tell(say, name, "", result)
        return found

    def bare_http(self):
        with subprocess.Popen([self.options.programs / "bare_http"], stdout=subprocess.PIPE, text=True) as process:
            port = int(process.stdout.readline())
            meter = Meter({BARE: process.pid, "all of it": self.bench.meter.roots["all of it"]})
            found = {HTTP_GET: self.from_path(meter, port, "/"),
                     HTTP_POST: self.from_path(meter, port, "/", post='{"operations":[]}')}
            process.terminate()
        return found

    # ---- all of it ----

    def round(self, wanted, say):
        """{name: {who: result}}"""
        found = {name: self.rest(name, say) for name in REST if wanted(name)}
        found.update(self.watchers(wanted, say))
        if wanted(FLOORS):
            found[FLOORS] = self.floors(say)
        return found

    def account(self):
        """Whether the peer lost anything; ours is accounted for with all other phases."""
        self.contenders[WITH_AUDIT].settle()
        n = {who: self.contenders[who].n_accepted + (self.crowds[who].order("leave")["changes"]
                                                     if who in self.crowds else 0)
             for who in (WITH_AUDIT, WITHOUT)}
        keys = list(self.redis.scan_iter("session:*", count=10_000))
        return {"accepted": n,
                "auditRows": self.query("select count(*) from session_events where type = 'state_delta'")[0][0],
                "versions": sum(int(self.redis.hget(key, "version")) - 1 for key in keys)}

    def stop(self):
        """How many changes Handoff accepted."""
        n_accepted = self.bench.n_accepted
        for who, many in self.crowds.items():
            changes = many.stop()
            n_accepted += changes if who == OURS else 0
        for contender in self.contenders.values():
            contender.load.stop()
        return n_accepted


def resident_mib(pid):
    return round(crowd.memory_bytes(pid)["Rss"] / (1 << 20), 1)


def tell(say, name, who, result):
    line = f"    {name.removeprefix('peers: '):56} {who:22}"
    if "throughput" in result:
        line += f" {result['throughput']:9.0f}/s"
    if result["latency"]["n"]:
        line += f"  p50 {result['latency']['p50'] / 1000:7.3f} ms  p99 {result['latency']['p99'] / 1000:7.3f} ms"
    if "cpuPerDelivery" in result:
        line += f"  {result['cpuPerDelivery']:.2f} µs a delivery"
    say(line)

"""Thousands of clients that are slow on purpose, beside people who are not: what these notice of them, and how long
the services hold on to them. slow_load.c are the slow ones."""

import os
import socket
import subprocess
import sys
import threading
import time
import uuid

N_EACH = 5000  # of HTTP, and of WebSockets
N_TOKENS = 100  # of users; one may have a hundred connections
SECONDS = 60  # that they have to be gone in
DOCUMENT_BYTES = 400_000  # what some ask for and do not take
LOAD = {"kind": "patch", "connections": 64, "rate": 500, "inTurn": True}
PER_SECOND = {  # name -> how many come in a second; 0: as many as there can
    f"slow: {N_EACH:,} HTTP and {N_EACH:,} WebSocket clients, 1000 a second": 1000,
    "slow: the same, all at once": 0,
}
# What they cost by themselves, on the same CPUs: sockets, and nobody who reads.
FLOOR = "slow: the same, all at once, to a server that only accepts"
SERVICES = ["session_api", "ws_fanout"]


def names():
    return [*PER_SECOND, FLOOR]


class Watch(threading.Thread):
    """Descriptors and RSS of the services, four times a second: the most, and when they were back."""

    def __init__(self, suite):
        super().__init__(daemon=True)
        self.pids = {name: suite.services[name].process.pid for name in SERVICES}
        self.before = self.look()
        self.most, self.since = dict(self.before), None
        self.back, self.ended = {}, threading.Event()

    def look(self):
        def resident(pid):
            with open(f"/proc/{pid}/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
        return {name: (len(os.listdir(f"/proc/{pid}/fd")), resident(pid)) for name, pid in self.pids.items()}

    def run(self):
        while not self.ended.wait(0.25):
            now = self.look()
            for name in SERVICES:
                self.most[name] = tuple(map(max, self.most[name], now[name]))
                is_back = self.since and now[name][0] <= self.before[name][0] + LOAD["connections"] + 8
                if not is_back:
                    self.back.pop(name, None)
                elif name not in self.back:
                    self.back[name] = time.monotonic() - self.since

    def stop(self):
        self.ended.set()
        self.join()
        return {name: {"before": self.before[name], "most": self.most[name], "after": after,
                       "backSeconds": self.back.get(name)} for name, after in self.look().items()}


class Sink:
    """A server that accepts, and that is all."""

    CODE = "import socket, sys; s, kept = socket.socket(fileno=int(sys.argv[1])), []\nwhile True: kept.append(s.accept())"

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
            self.port = server.getsockname()[1]
            self.process = subprocess.Popen([sys.executable, "-c", self.CODE, str(server.fileno())], pass_fds=[server.fileno()])

    def stop(self):
        self.process.kill()
        self.process.wait()


class Slow:
    def __init__(self, options, bench, Load, tokens):
        self.options, self.bench, self.Load, self.tokens = options, bench, Load, tokens
        owner = bench.suite.device(str(uuid.uuid4()), "desk")
        self.document, self.owner = owner.create({"text": "x" * DOCUMENT_BYTES})["id"], owner.token
        owner.http.close()

    def clients(self, api_port, ws_port):
        return self.Load(self.options.programs / "slow_load", {
            "apiPort": api_port, "wsPort": ws_port, "document": self.document, "owner": self.owner, "tokens": self.tokens})

    def phase(self, seconds):
        """Of people who are not slow; their changes count as any."""
        before, began = self.bench.meter.read(), time.monotonic()
        result = self.bench.load.order({**LOAD, "seconds": seconds, "warmUp": self.options.warm_up})
        self.bench.add_cost(result, before, self.bench.meter.read(), began, result["requests"])
        self.bench.n_accepted += result["accepted"]
        return result

    def beside(self, clients, per_second):
        """The load with slow ones, from their first connection on."""
        watch, answers = Watch(self.bench.suite), []

        def be_slow():
            answers.append(clients.order({"open": N_EACH, "perSecond": per_second}))
            watch.since = time.monotonic()
            answers.append(clients.order({"wait": SECONDS - answers[0]["seconds"]}))

        slow_ones = threading.Thread(target=be_slow)
        watch.start()
        slow_ones.start()
        people = self.phase(SECONDS)
        slow_ones.join()
        return {"people": people, "opened": answers[0], "kinds": answers[1], "services": watch.stop()}

    def beside_floor(self):
        sink = Sink()
        clients = self.clients(sink.port, sink.port)
        try:
            return {"people": self.beside(clients, 0)["people"]}
        finally:
            clients.stop()
            sink.stop()

    def beside_services(self, per_second):
        clients = self.clients(self.bench.suite.api_port, self.bench.suite.ws_port)
        try:
            return self.beside(clients, per_second)
        finally:
            clients.stop()


def part(options, bench, Load, tokens, is_wanted, say):
    """{"slow": what was measured}, and how many changes were accepted."""
    slow, beside = Slow(options, bench, Load, tokens), {}
    without = slow.phase(SECONDS / 2)
    for name in filter(is_wanted, names()):
        say(f"  {name}, beside {LOAD['rate']} PATCHes a second; about {SECONDS} s")
        beside[name] = slow.beside_floor() if name == FLOOR else slow.beside_services(PER_SECOND[name])
    return {"slow": {"without": without, "beside": beside, "after": slow.phase(SECONDS / 6)}}, bench.n_accepted

"""Thousands of clients that are slow on purpose, beside people who are not: what these notice of them, and how long
the services hold on to them. slow_load.c are the slow ones."""

import os
import threading
import time
import uuid

N_EACH = 5000  # of HTTP, and of WebSockets
N_TOKENS = 100  # of users; one may have a hundred connections
SECONDS = 60  # that they have to be gone in
DOCUMENT_BYTES = 400_000  # what some ask for and do not take
LOAD = {"kind": "patch", "connections": 64, "rate": 500, "inTurn": True}
PER_SECOND = {  # name -> how many come in a second; 0: as many as there can
    f"slow: {N_EACH:,} HTTP and {N_EACH:,} WebSocket clients": 1000,
    "slow: the same, all at once": 0,
}
SERVICES = ["session_api", "ws_fanout"]


def names():
    return list(PER_SECOND)


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


def phase(bench, seconds):
    """Of people who are not slow; their changes count as any."""
    result = bench.load.order({**LOAD, "seconds": seconds, "warmUp": bench.options.warm_up})
    bench.n_accepted += result["accepted"]
    return result


def measure(bench, slow, per_second):
    """The same load without the slow ones, with them from their first connection on, and after them."""
    without = phase(bench, SECONDS / 2)
    watch, answers = Watch(bench.suite), []

    def be_slow():
        answers.append(slow.order({"open": N_EACH, "perSecond": per_second}))
        watch.since = time.monotonic()
        answers.append(slow.order({"wait": SECONDS}))

    slow_ones = threading.Thread(target=be_slow)
    watch.start()
    slow_ones.start()
    beside = phase(bench, SECONDS)
    slow_ones.join()
    return {"without": without, "beside": beside, "opened": answers[0], "kinds": answers[1], "services": watch.stop(),
            "after": phase(bench, SECONDS / 6)}


def part(options, bench, Load, tokens, is_wanted, say):
    """{"slow": {name: what was measured}}, and how many changes were accepted."""
    owner = bench.suite.device(str(uuid.uuid4()), "desk")
    document = owner.create({"text": "x" * DOCUMENT_BYTES})
    owner.http.close()
    slow = Load(options.programs / "slow_load", {
        "apiPort": bench.suite.api_port, "wsPort": bench.suite.ws_port, "document": document["id"], "owner": owner.token,
        "tokens": tokens})
    try:
        measured = {}
        for name in filter(is_wanted, names()):
            say(f"  {name}, beside {LOAD['rate']} PATCHes a second; about {SECONDS * 2} s")
            measured[name] = measure(bench, slow, PER_SECOND[name])
        return {"slow": measured}, bench.n_accepted
    finally:
        slow.stop()

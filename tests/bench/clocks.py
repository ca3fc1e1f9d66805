"""The phases with clocks: turns that are switched, and deadlines. They follow the phases of run.py on the same
servers, with sessions of their own."""

import json
import urllib.request

N_SESSIONS = 64
DAY_MS = 86_400_000
CHESS = {"mode": "per_participant", "totalTimeMs": DAY_MS, "incrementMs": 2000,
         "participants": [{"participantId": "white"}, {"participantId": "black"}]}

SWITCHES = {"switch, 1 connection": 1, "switch, 16 connections": 16, "switch, 64 connections": 64}
CONTESTED = "switch, 64 connections, one turn at a time"
DEADLINES = "deadlines, 1,000 of 10,000 clocks within a second"
N_RUNNING, N_EXPIRING = 9000, 1000
N_USERS = 100
LEAD_MS = 20_000  # after a write a session is looked at every 2 s, for 10 s: by then that is over
LATENESS = "handoff_deadline_lateness_seconds"


def names():
    """Of all phases."""
    return [*SWITCHES, CONTESTED, DEADLINES]


def lateness_buckets(suite):
    """state_engine's histogram so far: {upper bound in s, as it prints it: how many}."""
    found = {}
    port = suite.services["state_engine"].admin_port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(LATENESS + "_bucket"):
                found[line.partition('le="')[2].partition('"')[0]] = int(line.split()[-1])
    return found


def bound_of(buckets, percent):
    """The bucket that the percentile lies in: its upper bound, s."""
    rank = -(-buckets["+Inf"] * percent // 100)
    return next(float(bound) for bound, n in buckets.items() if n >= rank)


class Clocks:
    """bench: run.py's, over N_SESSIONS sessions with CHESS; deadlines: the other load generator."""

    def __init__(self, bench, deadlines, data):
        self.bench, self.deadlines, self.data = bench, deadlines, json.dumps(data)
        self.is_running, self.n_deadline_versions = False, 0

    def switch(self, n):
        """Turns, and for comparison changes of the same sessions over as many connections."""
        how = {"connections": n, "own": True}
        patch = self.bench.run_phase({"kind": "patch", **how})
        return {**self.bench.run_phase({"kind": "switch", **how}), "patch": patch}

    def contested(self):
        return self.bench.run_phase({"kind": "switch", "connections": 64, "contested": True})

    def expire(self):
        if not self.is_running:
            self.deadlines.order({"do": "start", "n": N_RUNNING, "data": self.data, "clock": json.dumps(CHESS)})
            self.is_running = True
        self.deadlines.order({"do": "prepare", "n": N_EXPIRING, "data": self.data, "leadMs": LEAD_MS,
                              "withinMs": 1000})
        before = lateness_buckets(self.bench.suite)
        result = self.bench.metered(lambda: self.deadlines.order({"do": "expire"}))
        after = lateness_buckets(self.bench.suite)
        result["histogram"] = {bound: after[bound] - before[bound] for bound in after}
        result["histogramBounds"] = {f"p{p}": bound_of(result["histogram"], p) * 1e6 for p in (50, 99, 100)}
        self.n_deadline_versions += result["expired"] + result["ended"]
        return result

    def round(self, wanted, tell):
        """One round of everything whose name is wanted: {name: result}."""
        work = {name: lambda n=n: self.switch(n) for name, n in SWITCHES.items()}
        work.update({CONTESTED: self.contested, DEADLINES: self.expire})
        found = {}
        for name in filter(wanted, work):
            found[name] = work[name]()
            tell(name, found[name])
        return found

    def stop(self):
        """How many changes were accepted in all."""
        self.bench.load.stop()
        self.deadlines.stop()
        return self.bench.n_accepted + self.n_deadline_versions

"""The phases with thousands of WebSockets: one session with many watchers, idle connections, a storm of
connections, resumes. They follow the phases of run.py on the same servers, with a ws_fanout of their own."""

import json
import pathlib
import subprocess
import time

N_USERS = 15_000
N_WATCHERS = [1000, 5000]
N_RESUMES = 1000
MISSED = 20  # versions that each resume has to get
PING_CYCLE = 25  # s: HANDOFF_PING_AFTER's default, so that each idle connection is pinged once

SPREAD = "{} watchers, saturated"
PACED = "{} watchers, {} writes/s"
BARE = "bare send() to {}, saturated"
BARE_PACED = "bare send() to {}, {}/s"
RATES = {1000: 50, 5000: 10}  # a quarter of what saturates: the latency is not that of a queue


def cpu_us(pid):
    """User and system time so far, of all its threads."""
    ticks = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) * 10_000


def memory_bytes(pid):
    """{Rss, Pss, Anonymous} of a process."""
    found = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        if name in ("Rss", "Pss", "Anonymous"):
            found[name] = int(rest.split()[0]) * 1024
    return found


class Crowd:
    def __init__(self, options, suite, load_class, tokens, data):
        self.options, self.suite = options, suite
        self.load = load_class(options.programs / "crowd_load", {
            "apiPort": suite.api_port, "wsPort": suite.ws_port, "tokens": tokens})
        self.data = json.dumps(data)
        self.text_bytes = 400
        self.n_created = 0

    @property
    def fanout(self):
        return self.suite.services["ws_fanout"].process.pid

    def order(self, do, **more):
        return self.load.order({"do": do, **more})

    def metered(self, do, pid=None, **more):
        """The order's result, with the CPU that it cost ws_fanout (or pid)."""
        pid = pid or self.fanout
        before, began = cpu_us(pid), time.monotonic()
        result = self.order(do, **more)
        result["elapsed"] = time.monotonic() - began
        result["cpuUs"] = cpu_us(pid) - before
        return result

    def need_sessions(self, n):
        if self.n_created < n:
            self.order("create", n=n, data=self.data)
            self.n_created = n

    def fresh_fanout(self):
        """A new process: memory that an earlier crowd left to the allocator would hide what this one needs."""
        self.suite.terminate("ws_fanout")
        self.suite.restart("ws_fanout")

    # ---- the phases ----

    def spread(self, **how):
        result = self.metered("spread", seconds=self.options.seconds, warmUp=self.options.warm_up, **how)
        result["cpuPerDelivery"] = result["cpuUs"] / max(1, result["deliveries"])
        self.text_bytes = round(result["textBytes"]) or self.text_bytes
        return result

    def one_session(self, n, wanted):
        ways = {SPREAD.format(n): {"window": 8}, PACED.format(n, RATES[n]): {"rate": RATES[n]}}
        found = {}
        if not any(map(wanted, ways)):
            return found
        self.need_sessions(1)
        self.order("join", n=n)
        for name, how in ways.items():
            if wanted(name):
                found[name] = self.spread(**how)
        self.order("leave")
        found.update(self.bare(n))
        return found

    def bare(self, n):
        """A bare send() loop to as many sockets, of texts as long as the events were."""
        found = {}
        with subprocess.Popen([self.options.programs / "bare_send", str(n), str(self.text_bytes)],
                              stdout=subprocess.PIPE, text=True) as process:
            port = int(process.stdout.readline())
            self.order("bare", n=n, port=port)
            for name, how in ((BARE.format(n), {"window": 8}),
                              (BARE_PACED.format(n, RATES[n]), {"rate": RATES[n]})):
                result = self.metered("spread", pid=process.pid, port=port, warmUp=self.options.warm_up,
                                      seconds=self.options.reference_seconds + 1, **how)
                result["cpuPerDelivery"] = result["cpuUs"] / max(1, result["deliveries"])
                found[name] = result
            self.order("leave")
            process.kill()
        return found

    def idle(self, own):
        self.need_sessions(N_USERS if own else 1)
        self.fresh_fanout()
        before = memory_bytes(self.fanout)
        joined = self.order("join", n=N_USERS, own=own)
        self.order("idle", seconds=1)
        result = self.metered("idle", seconds=PING_CYCLE)
        after = memory_bytes(self.fanout)
        result.update(
            joined=joined, synced=joined["synced"], wanted=joined["wanted"],
            bytesPerConnection={name: (after[name] - before[name]) / N_USERS for name in after},
            cpuShare=result["cpuUs"] / 1e6 / result["elapsed"])
        self.order("leave")
        return result

    def storm(self, by_message):
        self.need_sessions(N_WATCHERS[1])
        result = self.metered("join", n=N_WATCHERS[1], own=True, byMessage=by_message)
        result["cpuPerConnection"] = result["cpuUs"] / result["wanted"]
        self.order("leave")
        return result

    def resume(self, own):
        """since: MISSED versions ago; the one session is written to meanwhile."""
        self.need_sessions(N_RESUMES if own else 1)
        self.order("patch", n=N_RESUMES if own else 1, times=MISSED)
        result = self.metered("join", n=N_RESUMES, own=own, atOnce=N_RESUMES, behind=MISSED,
                              rate=0 if own else 50)
        result["due"] = N_RESUMES * MISSED
        self.order("leave")
        return result

    def round(self, wanted, say):
        """One round of everything whose name is wanted: {name: result}."""
        found = {}
        for n in N_WATCHERS:
            found.update(self.one_session(n, wanted))
            self.tell(found, say)
        for name, work in OTHERS.items():
            if wanted(name):
                found[name] = work(self)
                self.tell(found, say)
        return found

    def tell(self, found, say):
        for name, result in found.items():
            if result.get("told"):
                continue
            result["told"] = True
            words = [f"{result['throughput']:9.0f}/s"] if "throughput" in result else []
            for member, text in (("cpuPerDelivery", "{:.2f} µs a delivery"), ("cpuShare", "{:.2%} of a CPU"),
                                 ("cpuPerConnection", "{:.0f} µs a connection"), ("refusal", "{}")):
                if result.get(member):
                    words.append(text.format(result[member]))
            if "bytesPerConnection" in result:
                words.append(f"{result['bytesPerConnection']['Pss']:.0f} bytes a connection")
            if result.get("latency", {}).get("n"):
                words.append(f"p50 {result['latency']['p50'] / 1000:.2f} ms, "
                             f"p99 {result['latency']['p99'] / 1000:.2f} ms")
            say(f"    {name:36} " + ", ".join(words))

    def stop(self):
        changes = self.order("leave")["changes"]
        self.load.stop()
        return changes


OTHERS = {
    "storm, token in the header": lambda c: c.storm(False),
    "storm, token in a message": lambda c: c.storm(True),
    "resumes, one session": lambda c: c.resume(False),
    "resumes, a session each": lambda c: c.resume(True),
    "idle, one session": lambda c: c.idle(False),
    "idle, a session each": lambda c: c.idle(True),
}


def names():
    """Of all phases."""
    return [text.format(n, RATES[n]) for n in N_WATCHERS for text in (SPREAD, PACED)] + list(OTHERS)

"""Restarts every service, instance by instance, under thousands of WebSockets and a steady stream of writes, and says
what the devices saw of it. The load is rolling_load.c; make rolling-restart runs this, the end-to-end suite a small one.

Two of each service behind two haproxys (one has not the descriptors for ten thousand WebSockets where 20 000 are allowed)."""

import argparse
import itertools
import json
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "compose" / "local")]

PATIENCE = 120  # s, for all to be there again
FAILS = ("closedOther", "cut", "refused", "stateSyncs", "missing", "writes5xx")  # what a planned end must not show


class Load:
    def __init__(self, program, setup):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.say(setup)

    def say(self, what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the load generator ended; what it said is above"
        return json.loads(line)

    def order(self, do, **more):
        return self.say({"do": do, **more})

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def wait_until(condition, what, timeout=PATIENCE):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(0.05)


class Rolling:
    """proxies: that all members and writers go through, in turn."""

    def __init__(self, program, suite, proxies, tokens):
        self.suite, self.proxies, self.n_members = suite, proxies, len(tokens)
        self.load = Load(program, {"tokens": tokens, "apiPorts": [p.ports["rest"] for p in proxies],
                                   "wsPorts": [p.ports["streams"] for p in proxies]})

    def all_there(self):
        wait_until(lambda: self.load.order("there")["there"] == self.n_members, "all members there")

    def begin(self, sessions, rate):
        self.load.order("create", sessions=sessions)
        self.load.order("join", members=self.n_members)
        self.all_there()
        joined = self.load.order("mark")
        self.load.order("write", rate=rate)
        return joined

    def wait_proxies(self, known_as, word):
        def is_said(proxy):
            said = re.findall(rf"Server \w+/{known_as} is (UP|DOWN)", proxy.log.read_text())
            return said and said[-1] == word
        if self.suite.services[known_as].port:
            wait_until(lambda: all(map(is_said, self.proxies)), f"{known_as} {word}")

    def restart(self, known_as):
        """What was seen of one restart, until everything was as before."""
        self.load.order("mark")
        began = time.monotonic()
        assert self.suite.terminate(known_as) == 0, f"{known_as} ended with another code than 0"
        ended = time.monotonic() - began
        self.wait_proxies(known_as, "DOWN")
        self.suite.restart(known_as)
        self.wait_proxies(known_as, "UP")
        back = time.monotonic() - began
        self.all_there()
        return {"known_as": known_as, "ended": ended, "back": back, **self.load.order("mark")}

    def finish(self):
        """Writes end, and each member must have all of its session."""
        self.load.order("write", rate=0)
        wait_until(lambda: self.load.order("check")["behind"] == 0, "everybody to have everything", timeout=30)
        result = self.load.order("check")
        self.load.stop()
        return result


def spread_of(returns):
    """Within how many seconds they came back: (all of them, the middle 90 %)."""
    if not sum(returns):
        return 0, 0
    total, seen, first, last = sum(returns), 0, None, None
    for second, n in enumerate(returns):
        seen += n
        if first is None and seen > total * 0.05:
            first = second
        if last is None and seen >= total * 0.95:
            last = second
    return len(returns), last - first + 1


def table_row(r):
    _, middle = spread_of(r["returns"])
    return (f"{r['known_as']:16} {r['ended']:6.1f} {r['closed1001']:7} {middle:5} {max(r['returns'], default=0):6} "
            f"{r['wholeAfter']:6.1f} {r['writes']:6} {r['writes5xx']:4} {r['cut'] + r['closedOther'] + r['refused']:5} "
            f"{r['missing'] + r['stateSyncs']:5}")


HEAD = (f"{'restarted':16} {'ended':>6} {'closed':>7} {'90 %':>5} {'most/s':>6} {'whole':>6} {'writes':>6} {'5xx':>4} "
        f"{'other':>5} {'lost':>5}")


def main():
    from harness import Servers, Suite, free_ports, new_user, token
    from proxy import Proxy
    options = argparse.ArgumentParser()
    options.add_argument("--program", type=pathlib.Path, default=ROOT / "build/gcc/bench/rolling_load")
    options.add_argument("--members", type=int, default=10_000)
    options.add_argument("--sessions", type=int, default=200)
    options.add_argument("--rate", type=float, default=50)
    options = options.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    servers, folder = Servers(), pathlib.Path(tempfile.mkdtemp(prefix="handoff-rolling-"))
    try:
        servers.start()
        suite = Suite(servers, folder, instances=2, HANDOFF_MAX_CONNECTIONS=str(options.members + 2000),
                      HANDOFF_FANOUT_BINDING="session").start()
        second = Proxy(folder / "second", list(suite.services.values()), *free_ports(3)).start()
        tokens = [token(new_user(), f"d{i}", scope="sessions:read sessions:write sessions:admin")
                  for i in range(options.members)]
        rolling = Rolling(options.program, suite, [suite.proxy, second], tokens)
        rolling.begin(options.sessions, options.rate)
        print(f"{options.members} WebSockets of {options.sessions} sessions, {options.rate:g} writes/s, two of each service "
              f"behind two haproxys, {hard} descriptors a process\n{HEAD}", flush=True)
        seen = []
        for name, n in itertools.product(("session_api", "state_engine", "ws_fanout", "audit_writer"), ("", "-2")):
            time.sleep(1)
            seen.append(rolling.restart(name + n))
            print(table_row(seen[-1]), flush=True)
        for r in seen:
            if r["closed1001"]:
                print(f"came back after {r['known_as']}, by second: {' '.join(map(str, r['returns']))}")
        checked = rolling.finish()
        print(f"{checked['accepted']} changes accepted, {checked['versions']} there, "
              f"{checked['behind']} devices without all of theirs")
        rows = suite.query("select count(*) from session_events where type = 'state_delta'")[0][0]
        told = dict(suite.query("select type, count(*) from session_events where type in ('device_joined', 'device_left') "
                                "group by type"))
        print(f"{rows} rows in PostgreSQL; {told.get('device_joined', 0)} times a device joined, "
              f"{told.get('device_left', 0)} times one left")
        second.stop()
        suite.stop()
    finally:
        servers.stop()
    bad = [f"{r['known_as']}: {name} {r[name]}" for r in seen for name in FAILS if r[name]]
    narrow = [r["known_as"] for r in seen if r["closed1001"] >= 4000 and len(r["returns"]) < 10]
    flapped = told != {"device_joined": options.members}
    if bad or narrow or flapped or checked["accepted"] != checked["versions"] or rows != checked["versions"]:
        raise SystemExit(f"error: {bad} {narrow} {checked} {rows} {told}")


if __name__ == "__main__":
    main()

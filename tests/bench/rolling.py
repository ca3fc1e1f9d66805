"""Restarts every service, instance by instance, under thousands of WebSockets and a steady stream of writes, and says
what the devices saw of it. The load is rolling_load.c; make rolling-restart runs this, the end-to-end suite a small one.

Two of each service behind two proxies of one kind, on the files of compose/proxy (one has not the descriptors for ten thousand
WebSockets where 20 000 are allowed). After the services the proxies are reloaded, and the devices moved to their new processes
by handoff rebalance, where the old ones keep them for so long."""

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
import uuid

import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "compose" / "local")]

PATIENCE = 60  # s, for all to be there again
OLD_PROCESSES = 90  # s, more than a proxy's file gives them
A_SECOND = 400  # devices that a rebalance moves
LOST = ("stateSyncs", "missing", "writes5xx")  # what nothing may show
FAILS = ("closedOther", "cut", "refused", *LOST)  # what a service's planned end must not show


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


def children_of(process):
    return {int(pid) for pid in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()}


class Rolling:
    """origins: those of proxies.py that all members and writers go through, in turn."""

    def __init__(self, program, suite, origins, tokens):
        self.suite, self.origins, self.n_members = suite, origins, len(tokens)
        ports = [origin.port for origin in origins]
        self.load = Load(program, {"tokens": tokens, "apiPorts": ports, "wsPorts": ports})

    def all_there(self):
        wait_until(lambda: self.load.order("there")["there"] == self.n_members, "all members there")

    def begin(self, sessions, rate):
        self.load.order("create", sessions=sessions)
        self.load.order("join", members=self.n_members)
        self.all_there()
        joined = self.load.order("mark")
        self.load.order("write", rate=rate)
        return joined

    def wait_unused(self, known_as):
        """Until a proxy that asks the instances has noticed that one has gone; another finds out by the next connection."""
        def is_said(origin):
            said = re.findall(rf"Server \w+/{known_as} is (UP|DOWN)", origin.log.read_text())
            return said and said[-1] == "DOWN"
        if self.suite.services[known_as].port and self.origins[0].SAYS_WHAT_IT_FINDS:
            wait_until(lambda: all(map(is_said, self.origins)), f"{known_as} DOWN")

    def wait_used(self, known_as):
        """Until each proxy has handed a request to it again."""
        path, counter = {"session_api": ("/time", 'handoff_http_requests_total{route="/time"'),
                         "ws_fanout": (f"/sessions/{uuid.uuid4()}/events", "handoff_ws_refused_total ")}.get(known_as.partition("-")[0], (None, None))
        service = self.suite.services[known_as]

        def n_seen():
            text = requests.get(f"http://127.0.0.1:{service.admin_port}/metrics").text
            return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(counter))

        def is_used(origin, before):
            requests.get(f"http://127.0.0.1:{origin.port}{path}", headers={"Connection": "close"})
            return n_seen() > before
        for origin in self.origins if path else ():
            before = n_seen()
            wait_until(lambda: is_used(origin, before), f"{known_as} used")

    def restart(self, known_as):
        """What was seen of one restart, until everything was as before."""
        self.load.order("mark")
        began = time.monotonic()
        assert self.suite.terminate(known_as) == 0, f"{known_as} ended with another code than 0"
        ended = time.monotonic() - began
        self.wait_unused(known_as)
        self.suite.restart(known_as)
        self.wait_used(known_as)
        back = time.monotonic() - began
        self.all_there()
        return {"known_as": known_as, "ended": ended, "back": back, **self.load.order("mark")}

    def rebalance(self, seconds):
        from harness import BUILD
        for service in self.suite.instances("ws_fanout"):
            url = f"http://127.0.0.1:{service.admin_port}"
            subprocess.run([BUILD / "bin" / "handoff", "rebalance", url, "--seconds", str(seconds)], check=True, stdout=subprocess.DEVNULL)

    def reload(self):
        """What was seen of the proxies' reload, until the old processes are gone and everything is as before."""
        moves = self.origins[0].KEEPS_AT_RELOAD
        self.load.order("mark")
        began = time.monotonic()
        old = set().union(*(children_of(origin.process) for origin in self.origins))
        for origin in self.origins:
            origin.reload()
        if moves:
            self.rebalance(max(2, self.n_members // A_SECOND))
        ended = time.monotonic() - began
        wait_until(lambda: not old & set().union(*(children_of(origin.process) for origin in self.origins)), "the old processes to end",
                   timeout=OLD_PROCESSES)
        self.all_there()
        return {"known_as": "reload, moved" if moves else "proxies reloaded", "ended": ended, "back": time.monotonic() - began, **self.load.order("mark")}

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


def bad_of(seen):
    """What was seen and may not be. Where a reload ends WebSockets, as the proxy does it, their devices come back, and miss nothing."""
    bad = [f"{r['known_as']}: {name} {r[name]}" for r in seen for name in (LOST if r["known_as"].startswith("proxies") else FAILS) if r[name]]
    return bad + [f"{r['known_as']}: all came back within {len(r['returns'])} s" for r in seen
                  if not r["known_as"].startswith("proxies") and r["closed1001"] >= 4000 and len(r["returns"]) < 10]


def restart_all(rolling):
    print(HEAD, flush=True)
    seen = []
    for name, n in itertools.product(("session_api", "state_engine", "ws_fanout", "audit_writer"), ("", "-2")):
        time.sleep(1)
        seen.append(rolling.restart(name + n))
        print(table_row(seen[-1]), flush=True)
    seen.append(rolling.reload())
    print(table_row(seen[-1]), flush=True)
    for r in seen:
        if sum(r["returns"]):
            print(f"came back after {r['known_as']}, by second: {' '.join(map(str, r['returns']))}")
    print(f"connections of writers that a proxy ended: {sum(r['writersCut'] for r in seen)}")
    return seen


def main():
    import proxies
    from harness import Servers, Suite, new_user, token
    options = argparse.ArgumentParser()
    options.add_argument("--program", type=pathlib.Path, default=ROOT / "build/gcc/bench/rolling_load")
    options.add_argument("--proxy", choices=sorted(proxies.ALL), default="haproxy")
    options.add_argument("--members", type=int, default=10_000)
    options.add_argument("--sessions", type=int, default=200)
    options.add_argument("--rate", type=float, default=50)
    options = options.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    servers, folder = Servers(), pathlib.Path(tempfile.mkdtemp(prefix="handoff-rolling-"))
    origins = []
    try:
        servers.start()
        suite = Suite(servers, folder, instances=2, HANDOFF_MAX_CONNECTIONS=str(options.members + 2000),
                      HANDOFF_FANOUT_BINDING="session", HANDOFF_ADMIN_DRAIN="on", **proxies.ALL[options.proxy].SETTINGS).start()
        origins += [proxies.ALL[options.proxy](folder / f"origin{i}", suite).start() for i in range(2)]
        tokens = [token(new_user(), f"d{i}", scope="sessions:read sessions:write sessions:admin")
                  for i in range(options.members)]
        rolling = Rolling(options.program, suite, origins, tokens)
        rolling.begin(options.sessions, options.rate)
        print(f"{options.members} WebSockets of {options.sessions} sessions, {options.rate:g} writes/s, two of each service "
              f"behind two of {options.proxy}, {hard} descriptors a process")
        seen = restart_all(rolling)
        checked = rolling.finish()
        print(f"{checked['accepted']} changes accepted, {checked['versions']} there, "
              f"{checked['behind']} devices without all of theirs")
        rows = suite.query("select count(*) from session_events where type = 'state_delta'")[0][0]
        told = dict(suite.query("select type, count(*) from session_events where type in ('device_joined', 'device_left') "
                                "group by type"))
        print(f"{rows} rows in PostgreSQL; {told.get('device_joined', 0)} times a device joined, "
              f"{told.get('device_left', 0)} times one left")
        suite.stop()
    finally:
        for origin in origins:
            origin.stop()
        servers.stop()
    bad = bad_of(seen)
    if bad or checked["accepted"] != checked["versions"] or rows != checked["versions"]:
        raise SystemExit(f"error: {bad} {checked} {rows}")


if __name__ == "__main__":
    main()

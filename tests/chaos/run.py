"""Breaks Handoff in every way of faults.md, under load, and judges everything that anybody saw.

The same seed makes the same faults at the same offsets. A fault begins at its offset, or when everything is whole
again after the one before. Ends with 1 when anything is wrong; --list shows the kinds and the schedule."""

import argparse
import collections
import json
import os
import pathlib
import statistics
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1])]

import faults  # noqa: E402
from clusters import ClusterWorld  # noqa: E402
from devices import Rest  # noqa: E402
from harness import ROOT  # noqa: E402
from look import Probe, Rows, Subscriber  # noqa: E402
from model import Model  # noqa: E402
from process import StartError  # noqa: E402
from workload import Load  # noqa: E402
from world import World  # noqa: E402

CHECK_EVERY = 90  # s
SETTLE = 60       # s
TRAIL = 20        # s: until the audit trail has from Redis what the broker forgot
QUIET = 3         # s: after them who has no event that tells of a gap is given one
MAX_LATE = 5.0    # s: a deadline with nothing broken, on a machine that does other things, too
FORGOT = 15.0     # s: the same when Redis forgot: PostgreSQL is asked, and one session after the other rebuilt


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))] if values else 0


class Run:
    def __init__(self, options):
        self.options, self.began = options, time.monotonic()
        self.model = Model(options.seed, self.explains, self.say, self.may_be_late)
        self.done, self.active, self.spans = [], None, []  # spans: (name, kinds, begin, end or None)
        self.world = self.load = self.probe = self.subscriber = None
        self.n_checks = 0

    def say(self, text):
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    # ---- what the model asks ----

    def _during(self, since, until):
        return [kinds for _, kinds, begin, end in self.spans if begin <= until and (end is None or end >= since)]

    def explains(self, since, until):
        """A loss needs a Redis that forgot, and something else at the same time."""
        for kinds in self._during(since - 5, until):
            if any(k.loses for k in kinds) and len(kinds) > 1:
                return " + ".join(k.name for k in kinds)
        return None

    def excuses(self, since, until):
        return any(k.hangs for group in self._during(since, until) for k in group)

    def may_be_late(self, deadline, acted):
        """Only the time counts in which nothing was broken. In the server's time, ms."""
        ahead = time.time() - time.monotonic()
        since, until = deadline / 1000 - ahead, acted / 1000 - ahead
        spans = [(max(s[2], since), until if s[3] is None else min(s[3], until), s[1]) for s in self.spans
                 if s[2] <= until and (s[3] is None or s[3] >= since - 1)]
        quiet, whole = 0, since
        for begin, end, _ in spans:
            quiet, whole = quiet + max(0, begin - whole), max(whole, end)
        forgot = any(k.loses for _, _, kinds in spans for k in kinds)
        return quiet + until - whole <= MAX_LATE + (FORGOT if forgot else 0)

    def is_cold(self, session_id):
        """One of its own for each question: many threads ask, seldom."""
        rows = Rows(self.world.servers.postgresql.url)
        try:
            return rows.is_cold(session_id)
        finally:
            rows.close()

    # ---- faults ----

    def act(self, step, kind, target):
        try:
            step(self.world, target)
        except (AssertionError, StartError) as error:
            self.model.violation("a fault could not be made, or was not borne", f"{kind.name} {target}: {error}")

    def break_it(self, n, planned):
        kinds = [kind for kind, _ in planned.faults]
        span = [planned.name, kinds, time.monotonic(), None]
        self.spans.append(span)
        acked, late = self.model.counts["acked"], time.monotonic() - self.first - planned.offset
        for kind, target in planned.faults:
            self.act(kind.begin, kind, target)
        time.sleep(planned.seconds)
        for kind, target in reversed(planned.faults):
            self.act(kind.end, kind, target)
        self.subscriber.bound.wait(20)
        ended = time.monotonic()
        whole = self.probe.whole(ended)
        span[3] = time.monotonic()
        if any(kind.wipes for kind in kinds):
            self.wait_for_trail()
        self.report_fault(n, planned, span, whole, acked, late)

    def wait_for_trail(self):
        """Until PostgreSQL has of each session what anybody was told of it: Redis alone had it, whose loss now were a
        second fault."""
        rows, since = Rows(self.world.servers.postgresql.url), time.monotonic()
        left = [(session, self.model.floor(session)) for session in list(self.model.sessions.values())]
        asked = set()
        while left and time.monotonic() < since + TRAIL:
            left = [(session, floor) for session, floor in left if not self.has_rows(rows, session, floor)]
            for session, _ in left if time.monotonic() > since + QUIET else ():
                if session.id not in asked:
                    asked.add(session.id)
                    self.tell_of_gap(session)
            time.sleep(0.1)
        rows.close()
        self.say(f"the trail was whole {time.monotonic() - since:.1f} s later, {len(asked)} sessions asked"
                 + (f", but for {len(left)}" if left else ""))

    def has_rows(self, rows, session, floor):
        after = rows.after(session.id, session.folded)
        return after is not None and self.model.has_rows(session, floor, {(epoch, version) for epoch, version, _ in after})

    def tell_of_gap(self, session):
        """A snapshot's event says which version must be there."""
        rest = Rest(self.world.api_port, session.user, "phone")
        rest.request("POST", f"/sessions/{session.id}/snapshots", {})
        rest.close()

    def report_fault(self, n, planned, span, whole, acked, late):
        targets = ", ".join(target for _, target in planned.faults)
        slowest = None if None in whole.values() else max(whole.values())
        seconds = span[3] - span[2]
        self.done.append({"n": n, "name": planned.name, "targets": targets, "offset": planned.offset,
                          "seconds": planned.seconds, "late": round(late, 2), "whole": whole, "slowest": slowest,
                          "kinds": [kind.name for kind, _ in planned.faults]})
        if slowest is None:
            missing = [path for path, value in whole.items() if value is None]
            self.model.violation("not whole again", f"{planned.name} {targets}: {missing}; "
                                 f"ended: {self.world.all_services_run()}")
            return
        path = max(whole, key=whole.get)
        rate = (self.model.counts["acked"] - acked) / seconds
        mark = "" if slowest <= faults.BY_NAME[planned.name].goal else "  OVER THE GOAL"
        self.say(f"#{n:<3} {planned.name} ({targets}) {planned.seconds:.1f} s: whole {slowest:.1f} s after it "
                 f"({path}), {rate:.0f} writes/s{mark}")

    # ---- checks ----

    def read(self, rest, session):
        if session.is_deleted:
            status, _ = rest.request("GET", f"/sessions/{session.id}")
            return status == 404, None
        status, answer = rest.request("GET", f"/sessions/{session.id}")
        return status == 200, answer

    def is_settled(self, session, rest, rows):
        ok, resource = self.read(rest, session)
        if not ok:
            return None
        end = (resource["epoch"], resource["version"]) if resource else self.model.end_of(session)
        after = rows.after(session.id, session.folded)
        if after is None:
            return None
        has = {(epoch, version) for epoch, version, _ in after}
        return (resource, after) if self.model.is_whole(session, end, has) else None

    def check(self):
        """Stops the writers, waits until nothing moves, and judges every session."""
        if not self.load.gate.close(SETTLE):
            self.model.violation("writes without an outcome", f"{self.load.gate.n_busy} after {SETTLE} s")
        self.stop_clocks()
        rows, until = Rows(self.world.servers.postgresql.url), time.monotonic() + SETTLE
        for session in list(self.model.sessions.values()):
            self.check_one(session, rows, until)
        self.model.check_strangers()
        for session in self.load.creator.sessions:
            self.model.finish(session)
        self.load.creator.sessions.clear()
        self.model.forgets = False
        rows.close()
        self.n_checks += 1
        self.say(f"check {self.n_checks}: {self.model.counts['acked']} acknowledged writes, "
                 f"{len(self.model.violations)} violations")

    def stop_clocks(self):
        """None that runs is past its deadline; then all stand."""
        for table in self.load.tables:
            found = table.overdue()
            if found and found[0] < found[1] and not self.may_be_late(*found):
                self.model.violation("a clock that runs past its deadline", f"{found[1] - found[0]} ms", table.session)
            table.stop()

    def check_one(self, session, rows, until):
        rest = Rest(self.world.api_port, session.user, "phone")
        settled = None
        while not settled and time.monotonic() < until:
            settled = self.is_settled(session, rest, rows)
            if not settled:
                time.sleep(0.05)
        ok, resource = (True, settled[0]) if settled else self.read(rest, session)
        after = settled[1] if settled else rows.after(session.id, session.folded)
        rest.close()
        if not ok or after is None:
            self.model.violation("a session cannot be read, though nothing is broken", session.id, session)
            return
        self.model.check(session, resource, after)

    # ---- all of it ----

    def start(self):
        folder, clocks = ROOT / "build" / "chaos" / f"{os.getpid()}", not self.options.no_clocks
        self.world = (ClusterWorld(folder, clocks, self.options.seed) if self.options.clusters
                      else World(folder, clocks))
        self.world.start()
        self.subscriber = Subscriber(self.model, self.world.connect_to_broker, self.world.queue_arguments)
        self.subscriber.start()
        assert self.subscriber.bound.wait(20), "the subscriber did not get its queue"
        self.world.forget = self.subscriber.lose
        self.load = Load(self.model, self.world.api_port, self.world.ws_port, self.options.sessions,
                         self.options.rate, self.options.seed, self.excuses, self.is_cold).start()
        self.probe = Probe(self.world, self.model)

    def go(self):
        plan = faults.schedule(self.world, self.options.seed, self.options.minutes * 60, self.options.faults,
                               self.options.long, self.options.scale, self.options.least)
        self.say(f"{len(plan)} faults planned, seed {self.options.seed}, {self.options.sessions} sessions")
        self.first = checked = time.monotonic()
        for n, planned in enumerate(plan, 1):
            now = time.monotonic() - self.first
            made = sum(len(d["kinds"]) for d in self.done)
            if now > self.options.minutes * 60 * self.options.patience and made >= self.options.least:
                self.say(f"{len(plan) - n + 1} faults left out: it took too long")
                break
            time.sleep(max(0, planned.offset - now))
            self.break_it(n, planned)
            if time.monotonic() - checked > CHECK_EVERY:
                self.check()
                checked = time.monotonic()
                self.load.gate.opened.set()
        self.check()

    def stop(self):
        if self.load:
            self.load.stop()
        if self.subscriber:
            self.subscriber.is_stopped = True
            self.subscriber.join(5)
        for text in self.world.stop() if self.world else []:
            self.model.violation("the end of the services", text)

    def lateness(self):
        """ms, of the deadlines near which nothing was broken."""
        ahead = time.time() - time.monotonic()
        quiet = [acted - due for due, acted in self.model.lateness
                 if not self._during(due / 1000 - ahead - 1, due / 1000 - ahead)]
        return {"n": len(self.model.lateness), "n_quiet": len(quiet), "p50": percentile(quiet, 0.5),
                "p99": percentile(quiet, 0.99), "max": max((a - d for d, a in self.model.lateness), default=0)}

    def summary(self):
        counts, slowest = self.model.counts, [d["slowest"] for d in self.done if d["slowest"] is not None]
        by_name = collections.defaultdict(list)
        for d in self.done:
            by_name[d["name"]].append(d["slowest"])
        over = [d for d in self.done if d["slowest"] is None or d["slowest"] > faults.BY_NAME[d["name"]].goal]
        return {"seed": self.options.seed, "seconds": round(time.monotonic() - self.began),
                "faults": sum(len(d["kinds"]) for d in self.done), "pairs": sum(len(d["kinds"]) > 1 for d in self.done),
                "kinds": len({k for d in self.done for k in d["kinds"]}), "counts": dict(counts),
                "watcher_events": sum(w.n_events for s in self.model.sessions.values() for w in s.watchers),
                "lost_explained": dict(collections.Counter(fault for _, fault in self.model.lost)),
                "lateness": self.lateness(),
                "whole": {"p50": statistics.median(slowest) if slowest else 0, "p95": percentile(slowest, 0.95),
                          "max": max(slowest, default=0)},
                "over_goal": [{k: d[k] for k in ("n", "name", "targets", "slowest")} for d in over],
                "answers": {"p50": percentile(self.load.latencies, 0.5), "p99": percentile(self.load.latencies, 0.99),
                            "max": max(self.load.latencies, default=0)},
                "by_name": {name: max((v for v in values if v is not None), default=None)
                            for name, values in sorted(by_name.items())},
                "violations": self.model.violations, "done": self.done}

    def print_summary(self, s):
        c = s["counts"]
        print(f"\nseed {s['seed']}, {s['seconds']} s: {s['faults']} faults of {s['kinds']} kinds, {s['pairs']} pairs\n"
              f"  writes    {c.get('acked', 0)} acknowledged ({c.get('replayed', 0)} of them to a repeated key), "
              f"{c.get('refused', 0)} refused\n"
              f"  seen      {c.get('events', 0)} versions, {s['watcher_events']} events at watchers, "
              f"{c.get('reads', 0)} reads, {c.get('broadcasts heard', 0)} broadcasts\n"
              f"  resting   {c.get('came back cold', 0)} sessions came back cold, "
              f"{c.get('paused by itself', 0)} were paused by themselves, {c.get('rebuilds', 0)} rebuilt\n"
              f"  clocks    {s['lateness']['n']} deadlines, late by p50 {s['lateness']['p50']} ms, p99 "
              f"{s['lateness']['p99']} ms where nothing was broken ({s['lateness']['n_quiet']}), by "
              f"{s['lateness']['max']} ms at most; {c.get('clock warnings', 0)} warnings\n"
              f"  answers   p50 {s['answers']['p50'] * 1000:.0f} ms, p99 {s['answers']['p99']:.2f} s, "
              f"max {s['answers']['max']:.2f} s\n"
              f"  whole     p50 {s['whole']['p50']:.1f} s, p95 {s['whole']['p95']:.1f} s, "
              f"max {s['whole']['max']:.1f} s after a fault's end; {len(s['over_goal'])} over the goal")
        for d in s["over_goal"]:
            print(f"            #{d['n']} {d['name']} ({d['targets']}): "
                  f"{'never' if d['slowest'] is None else '%.1f s' % d['slowest']}")
        for fault, n in s["lost_explained"].items():
            print(f"  lost      {n} writes, explained by {fault}")
        for what, n in collections.Counter(v["what"] for v in s["violations"]).items():
            print(f"  VIOLATION {what}: {n}")
        print(f"chaos: {len(s['violations'])} violations, logs in {self.world.folder.relative_to(ROOT)}"
              if s["violations"] else "chaos: nothing lost, nothing twice, nothing unexplained", flush=True)


def options_of(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--rate", type=float, default=100, help="writes a second of all devices together")
    parser.add_argument("--faults", type=lambda text: text.split(","), help="names of kinds; else all")
    parser.add_argument("--long", action="store_true", help="faults last five times as long now and then")
    parser.add_argument("--scale", type=float, default=1.0, help="of how long each fault lasts")
    parser.add_argument("--patience", type=float, default=1.5, help="stop after so many times the minutes")
    parser.add_argument("--least", type=int, default=0, help="so many faults however long it takes")
    parser.add_argument("--clusters", action="store_true", help="of Redis and of RabbitMQ, whose nodes die")
    parser.add_argument("--no-clocks", action="store_true", help="without libfaketime in the services")
    parser.add_argument("--json", help="a file for everything that was measured")
    parser.add_argument("--list", action="store_true", help="only show the kinds and the schedule")
    return parser.parse_args(argv)


class Anything:
    """A world to plan for: everything is allowed."""
    instances = World.instances

    def __init__(self, is_cluster):
        self.can = {"mount", "faketime", "clusters" if is_cluster else "one"}
        self.linked = (ClusterWorld if is_cluster else World).linked


def show(options):
    for kind in faults.BY_NAME.values():
        print(f"{kind.name:26} {'pair of ' + ', '.join(kind.parts) if kind.parts else ''}"
              f"{'needs ' + kind.needs if kind.needs else ''}")
    print(f"\nseed {options.seed}:")
    for p in faults.schedule(Anything(options.clusters), options.seed, options.minutes * 60, options.faults, options.long,
                             options.scale, options.least):
        print(f"{p.offset:8.1f} s  {p.name} ({', '.join(t for _, t in p.faults)}) {p.seconds:.1f} s")


def main(argv):
    options = options_of(argv)
    if options.list:
        show(options)
        return 0
    run = Run(options)
    try:
        run.start()
        run.go()
    except KeyboardInterrupt:
        run.say("interrupted")
    finally:
        run.stop()
    summary = run.summary()
    run.print_summary(summary)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(summary, indent=1, default=str))
    return 1 if summary["violations"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

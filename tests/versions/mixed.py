"""Two versions of Handoff side by side, under load: every service is replaced, instance by instance, in the order of
docs/how-to/upgrade.md, and back, and then so that each mixture of services of both versions was there once.

The load and its judge are those of the chaos suite, without its faults: so nothing may be refused, cut off, lost, twice,
out of order or late. Ends with 1 when anything was. make mixed-versions FROM=<commit>."""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "chaos"), str(HERE.parent), str(HERE.parent / "e2e")]

from run import Run  # noqa: E402  the chaos suite's; before harness, which finds compose/local's first

import older  # noqa: E402
from devices import Laptop, Rest  # noqa: E402
from guests import Follower, Visitor  # noqa: E402
from harness import BUILD, ROOT  # noqa: E402
from look import Probe, Subscriber  # noqa: E402
from model import Model  # noqa: E402
from pair import Pair  # noqa: E402
from process import StartError  # noqa: E402
from workload import Load  # noqa: E402

UPGRADE = ("audit_writer", "state_engine", "ws_fanout", "session_api")  # docs/how-to/upgrade.md
MIXING = ("state_engine", "audit_writer", "session_api", "ws_fanout")   # what is quickest to replace oftenest
TEMPORARY = {"unavailable", "timeout", "internal", "0", "500", "502", "503", "504"}
PLANNED = {"closed with 1001", "stream ended"}
N_FOLLOWERS = 6


class StrictModel(Model):
    """Nothing is broken, so nothing is excused but what a ws_fanout says that goes: a message that it takes no more. stays:
    (session, device) of who never leaves for as long as 10 s."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.stays, self.replaced, self.by_socket = set(), None, set()

    def tried(self, op, text):
        super().tried(op, text)
        if text == "sent by WebSocket":
            self.by_socket.add(op.token)
        elif text == "unavailable" and self.replaced == "ws_fanout" and op.token in self.by_socket:
            self.counts["sent back"] += 1
        elif text in TEMPORARY:
            self.violation("a command that was not taken", f"{op.token} of {op.device}: {text}", op.session)

    def event(self, event, source):
        super().event(event, source)
        if event["type"] == "device_left" and (event["sessionId"], event["deviceId"]) in self.stays:
            self.violation("told to have left", f"{event['deviceId']} of {event['sessionId']}")


def gray(names):
    """One name at a time, so that every set of them comes up once, and in the end none."""
    flips = [(n & -n).bit_length() - 1 for n in range(1, 2 ** len(names))]
    return [names[i] for i in [*flips, len(names) - 1]]


class Mixed(Run):
    def __init__(self, options, versions):
        super().__init__(options)
        self.model = StrictModel(options.seed, self.explains, self.say, self.may_be_late)
        self.versions, self.guests, self.seen = versions, [], []
        self.is_newer = False  # the schema, than the older version

    def start(self):
        self.world = Pair(ROOT / "build" / "mixed" / f"{os.getpid()}", self.versions,
                          dict(setting.split("=", 1) for setting in self.options.set)).start("old")
        self.subscriber = Subscriber(self.model, self.world.connect_to_broker, None)
        self.subscriber.start()
        assert self.subscriber.bound.wait(20), "the subscriber did not get its queue"
        self.load = Load(self.model, self.world.api_port, self.world.ws_port, self.options.sessions, self.options.rate,
                         self.options.seed, self.excuses, self.is_cold).start()
        self.start_guests()
        self.probe = Probe(self.world, self.model)

    def start_guests(self):
        phones = [device for device in self.load.devices if device.name == "phone"][:N_FOLLOWERS]
        self.guests = [*(Follower(self.load, self.world.suite, phone.session) for phone in phones),
                       Visitor(self.load, self.world.suite)]
        watching = [*(d for d in self.load.devices if isinstance(d, Laptop)), *self.guests[:-1]]
        self.model.stays = {(device.session.id, device.name) for device in watching}
        threads = [threading.Thread(target=self.load.guard, args=(guest,), daemon=True) for guest in self.guests]
        for thread in threads:
            thread.start()
        self.load.threads += threads

    # ---- steps ----

    def migrate(self):
        """By the newer handoff, while every service is still the older one."""
        self.is_newer = self.handoff("new", (0, 1), "migrate", "status") == 1
        for arguments in (("up", "--dry-run"), ("up",), ("status",)):
            self.handoff("new", (0,), "migrate", *arguments)
        self.whole("after handoff migrate up")

    def handoff(self, version, codes, *arguments):
        done = subprocess.run([self.versions[version] / "handoff", *arguments], env=self.world.suite.env,
                              capture_output=True, text=True, timeout=60)
        self.say(f"handoff ({version}) {' '.join(arguments)}: {done.returncode} {done.stderr.strip()}\n"
                 + "".join(f"{'':11}{line}\n" for line in done.stdout.splitlines()[-3:]).rstrip("\n"))
        assert done.returncode in codes, done.stdout + done.stderr
        return done.returncode

    def whole(self, when):
        """A write through each instance, with its event and its row."""
        missing = [path for path, seconds in self.probe.whole(time.monotonic()).items() if seconds is None]
        if missing:
            self.model.violation("not whole", f"{when}: {missing}")

    def turn(self, name, version):
        """Both instances; the first is looked at while the other is still of the other version."""
        for known_as in self.world.instances(name):
            self.model.replaced = name
            self.world.replace(known_as, version)
            self.model.replaced = None
            self.seen.append(self.world.mixture())
            self.whole(f"with {self.seen[-1]}")
        self.check()
        self.compare()
        self.load.gate.opened.set()

    def go(self):
        self.whole("all of them old")
        self.check()
        self.load.gate.opened.set()
        self.migrate()
        for name in UPGRADE:
            self.turn(name, "new")
        stay = self.staying()
        for name in reversed(UPGRADE):
            if name not in stay:
                self.turn(name, "old")
        for name in gray([name for name in MIXING if name not in stay]) if self.options.all else ():
            self.turn(name, "old" if self.world.has[name] == "new" else "new")

    def staying(self):
        """Who does not go back. Before migrations said who may work with them, audit_writer refused what it did not know."""
        if (self.versions["old"] / "handoff").exists():
            self.handoff("old", (0,), "migrate", "status")
        elif self.is_newer:
            self.say("the older audit_writer refuses a newer schema: the newer one stays")
            return ("audit_writer",)
        return ()

    # ---- what is looked at while nothing is written ----

    def compare(self):
        """Each session_api says the same of each session, and Redis has that version, published."""
        for session in list(self.model.sessions.values()):
            if session.is_deleted:
                continue
            told = [self.told(service, session) for service in self.world.suite.instances("session_api")]
            common = set.intersection(*(set(resource) for resource, _ in told)) - {"expiresAt"}
            if len({json.dumps([{name: resource[name] for name in sorted(common)}, deltas], sort_keys=True)
                    for resource, deltas in told}) != 1:
                self.model.violation("two answers", f"of {self.world.mixture()}: {told}", session)
            self.world.wait_published(session.id, told[0][0]["version"])

    @staticmethod
    def told(service, session):
        rest, answers = Rest(service.port, session.user, "phone"), []
        for path in ("", f"/deltas?since={max(0, session.floor[1] - 20)}&epoch={session.floor[0]}&limit=100"):
            status, answer = rest.request("GET", f"/sessions/{session.id}{path}")
            assert status == 200, f"{service.known_as}: {status} {answer}"
            answers.append(answer)
        rest.close()
        return answers

    def judge(self):
        """After everything: what was answered, how connections ended, what was logged, what is dead."""
        bad = {str(status): n for status, n in Rest.answers.items() if str(status) in TEMPORARY}
        bad |= {how: n for how, n in self.model.ends.items() if how not in PLANNED}
        bad |= {queue: n for queue, n in self.world.dead_letters().items() if n}
        for what, n in bad.items():
            self.model.violation("of a planned replacement nobody may see", f"{what}: {n}")
        for session in self.model.sessions.values():
            for watcher in session.watchers:
                if watcher.n_syncs != 1:
                    self.model.violation("a watcher's view: a whole state where events were due",
                                         f"{watcher.name}: {watcher.n_syncs}", session)
        self.judge_logs()

    def judge_logs(self):
        told = collections.Counter()
        for path in sorted(self.world.folder.glob("*.log")):
            records = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
            for record in records:
                if record["level"] in ("warn", "error"):
                    told[path.name.split(".")[1], record["level"], record["service"], record["event"]] += 1
        for (version, level, service, event), n in sorted(told.items()):
            self.say(f"logged by {version} {service}: {level} {event}, {n} times")
            if level == "error":
                self.model.violation("an error was logged", f"{version} {service}: {event}, {n} times")

    def report(self):
        visits, counts = self.guests[-1].n if self.guests else 0, self.model.counts
        print(f"\n{len(self.seen)} instances replaced, {len(set(self.seen))} mixtures:")
        for mixture in dict.fromkeys(self.seen):
            print(f"  {mixture}")
        watchers = [w for session in self.model.sessions.values() for w in session.watchers]
        print(f"{counts['acked']} writes acknowledged, {counts['refused']} refused as conflicts, "
              f"{counts['sent back']} sent back by a ws_fanout that went; {counts['events']} versions, "
              f"{sum(w.n_events for w in watchers)} seen by {len(watchers)} watchers; "
              f"{counts['deadlines']} deadlines; {counts['came back cold']} from the cold; {visits} visits with codes; "
              f"connections: {dict(self.model.ends)}; answers: {dict(sorted(Rest.answers.items()))}")
        for what, n in collections.Counter(v["what"] for v in self.model.violations).items():
            print(f"  VIOLATION {what}: {n}")
        print(f"mixed versions: {len(self.model.violations)} violations, logs in {self.world.folder.relative_to(ROOT)}"
              if self.model.violations else "mixed versions: nothing lost, nothing twice", flush=True)


def options_of(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="before", help="a commit or a tag; else the newest release")
    parser.add_argument("--up-and-back", dest="all", action="store_false", help="without all the other mixtures")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the new one alone")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100000)
    parser.add_argument("--sessions", type=int, default=12)
    parser.add_argument("--rate", type=float, default=60, help="writes a second of all devices together")
    return parser.parse_args(argv)


def main(argv):
    options = options_of(argv)
    before = options.before or older.version_before()
    commit, binaries = older.build(before)
    run = Mixed(options, {"old": binaries, "new": BUILD / "bin"})
    run.say(f"old is {before} ({commit}), new is this tree; seed {options.seed}")
    try:
        run.start()
        run.go()
        run.judge()
    except (AssertionError, StartError) as error:
        run.model.violation("a step was not borne", str(error))
    finally:
        run.stop()
    run.report()
    return 1 if run.model.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Runs test suites and sums them up: the last line says how many passed and failed.

usage: run.py [--build build/gcc] [--instances 1] [--share most|rest] [--failed FILE] SUITE...
       run.py --again FILE...

suites: unit integration contract e2e features outages points fuzz chaos

unit         cmocka programs of the build's unit/ folder
integration  cmocka programs of its integration/ folder, on private servers
contract     pytest tests/contract: schemas, examples, patches against independent implementations;
             pytest tests/chaos: what judges the chaos suite, its proxy and its schedule
e2e          pytest tests/e2e: the four services on private servers; with --instances 2 two of each behind haproxy
outages      those of its files that kill, stop and fail over servers and services
points       the crash points, of a build that has them
features     all the others; --share most or rest: two thirds of the files, or the third that is left, another one with
             each commit; what runs on the plain build alone is always of the most
fuzz         every fuzz target once over its corpus
chaos        tests/chaos/run.py for some minutes: every kind of fault under load; CHAOS_SEED, else a new seed

--failed notes which tests failed. --again gives those of such notes a second run, alone, when they are at most three:
what passes then leaned on a quiet machine. It is named as unsteady, to be mended, and does not count as failed.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "compose" / "local"))

from parts import OUTAGES, PLAIN_ONLY, turn  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHAOS_MINUTES, MIN_FAULTS = 2.5, 60
MAX_AGAIN = 3
MAX_CLEANUP = 60  # s


class Tally:
    """again: what a second run is asked for, as (suite, program or pytest's node id), or None where there is none."""

    def __init__(self):
        self.passed, self.failed, self.failures, self.again = 0, 0, [], []

    def add(self, passed, failures, again=None):
        self.passed += passed
        self.failed += len(failures)
        self.failures += failures
        self.again += [None] * len(failures) if again is None else again


def run(argv, env, **more):
    """A child that does not outlive this process: it is interrupted with it, so that pytest and chaos stop the
    servers that they began."""
    def hear_interrupts():  # which a shell has its background ignore
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(argv, env=env, cwd=ROOT, preexec_fn=hear_interrupts, **more) as child:
        try:
            out, _ = child.communicate()
        except BaseException:
            child.send_signal(signal.SIGINT)
            child.wait(MAX_CLEANUP)
            raise
    return child.returncode, out


def second_run(suite, name, text):
    """None for what a sanitizer found: that is no matter of a busy machine."""
    return None if re.search(r"Sanitizer|runtime error|\b99\b", text) else (suite, name)


def run_program(argv, env, name, tally):
    """A cmocka program: one line a test."""
    code, out = run(argv, env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    passed = len(re.findall(r"^\[       OK \]", out, re.M))
    failures = sorted(set(re.findall(r"^\[  FAILED  \] (\w+)", out, re.M)))
    failures = [f"{name}: {f}" for f in failures if not f.isdigit()]
    if code != 0 and not failures:
        failures = [f"{name}: ended with {code}"]
    if passed == 0 and not failures:
        failures = [f"{name}: ran no test"]
    tally.add(passed, failures, [second_run(*name.split("/"), out)] * len(failures))
    print(f"  {'FAILED' if failures else 'ok':6} {name} ({passed} passed)", flush=True)
    if failures:
        print(out[-6000:], flush=True)


def programs(folder, names=()):
    return sorted(p for p in folder.iterdir()
                  if os.access(p, os.X_OK) and p.is_file() and (not names or p.name in names))


def run_unit(build, env, tally, names=()):
    for program in programs(build / "unit", names):
        run_program([program], env, f"unit/{program.name}", tally)


def run_integration(build, env, tally, names=()):
    """Servers of its own: these tests stop, flush and starve them, one after another."""
    from harness import RedisCluster, Servers, free_ports
    servers = Servers(redis_password=None, is_cluster=False)
    cluster = RedisCluster(servers.folder / "cluster", free_ports(12))
    try:
        servers.start()
        cluster.start()
        env = {**servers.rabbitmq.env(), **env,
               "HANDOFF_TEST_AMQP_URL": servers.rabbitmq.url,
               "HANDOFF_TEST_REDIS_URL": servers.redis.url,
               "HANDOFF_TEST_REDIS_CLUSTER_URL": cluster.url,
               "HANDOFF_TEST_DATABASE_URL": servers.postgresql.url}
        for program in programs(build / "integration", names):
            run_program([program], env, f"integration/{program.name}", tally)
    finally:
        cluster.stop()
        servers.stop()


def run_pytest(folder, env, tally, files=()):
    report = ROOT / "build" / f"pytest-{os.getpid()}.xml"
    code, _ = run(["/usr/bin/python3", "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "--durations=15",
                   f"--junitxml={report}", *(files or [f"tests/{folder}"])], env)
    cases = list(xml.etree.ElementTree.parse(report).iter("testcase")) if report.exists() else []
    report.unlink(missing_ok=True)
    bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c for c in cases if c.find("skipped") is not None]
    failures = [f"{folder}: {c.get('classname')}.{c.get('name')}" for c in bad]
    again = [second_run(folder, f"{c.get('classname').replace('.', '/')}.py::{c.get('name')}",
                        xml.etree.ElementTree.tostring(c, "unicode")) for c in bad]
    failures += [f"{folder}: skipped: {c.get('name')}" for c in skipped]
    again += [None] * len(skipped)
    if code != 0 and not failures:
        failures, again = [f"{folder}: pytest ended with {code}"], None
    n_cases = len({(c.get("classname"), c.get("name")) for c in cases})
    tally.add(max(0, n_cases - len(failures)), failures, again)


def share_of(files, share):
    turns = sorted(f for f in files if f.name not in PLAIN_ONLY)
    rest = set(turns[turn(3)::3])
    return rest if share == "rest" else files - rest


def run_part_of_e2e(suite, env, tally, share):
    folder = ROOT / "tests" / "e2e"
    every = set(folder.glob("test_*.py"))
    parts = {"outages": {path for pattern in OUTAGES for path in folder.glob(pattern)},
             "points": {folder / "test_crash_points.py"}}
    parts["features"] = every - parts["outages"] - parts["points"]
    run_pytest("e2e", env, tally, sorted(share_of(parts[suite], share) if share and suite == "features" else parts[suite]))


def run_chaos(env, tally):
    """At least MIN_FAULTS, in about 4 minutes; what was found is printed with its seed."""
    report = ROOT / "build" / f"chaos-{os.getpid()}.json"
    argv = ["/usr/bin/python3", "tests/chaos/run.py", "--minutes", str(CHAOS_MINUTES), "--patience", "1.2",
            "--least", str(MIN_FAULTS), "--scale", "0.6", "--json", report]
    if seed := os.environ.get("CHAOS_SEED"):
        argv += ["--seed", seed]
    code, _ = run(argv, env)
    summary = json.loads(report.read_text()) if report.exists() else {"violations": [], "faults": 0, "seed": None}
    report.unlink(missing_ok=True)
    failures = sorted({f"chaos: {v['what']} (seed {summary['seed']})" for v in summary["violations"]})
    if summary["faults"] < MIN_FAULTS:
        failures.append(f"chaos: {summary['faults']} faults, less than {MIN_FAULTS} (seed {summary['seed']})")
    if code != 0 and not failures:
        failures = [f"chaos: ended with {code}"]
    tally.add(0 if failures else 1, failures)


def run_fuzz(build, env, tally):
    del build
    targets = programs(ROOT / "build" / "fuzz")
    for target in targets:
        corpus = ROOT / "tests" / "fuzz" / "corpus" / target.name.removeprefix("fuzz_")
        code, out = run([target, "-runs=0", corpus], env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                        errors="replace")
        name = f"fuzz/{target.name}"
        failures = [] if code == 0 else [name]
        tally.add(1 - len(failures), failures)
        print(f"  {'FAILED' if failures else 'ok':6} {name} (corpus)", flush=True)
        if failures:
            print(out[-4000:], flush=True)


def environment(build, instances):
    return {**os.environ, "HANDOFF_BUILD": build, "PYTHONDONTWRITEBYTECODE": "1",
            "HANDOFF_TEST_INSTANCES": str(instances),
            "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}


def sum_up(tally):
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


def note_failed(file, options, tally):
    pathlib.Path(file).write_text(json.dumps({"build": options.build, "instances": options.instances,
                                              "failures": tally.failures, "again": tally.again}))


def run_noted(note, tally):
    """The programs and cases of one note."""
    build, env = ROOT / note["build"], environment(note["build"], note["instances"])
    asked = {tuple(a) for a in note["again"]}
    for suite, name in sorted(asked):
        print(f"== again, alone: {name} ({note['build']})", flush=True)
        n_known = tally.passed + tally.failed
        if suite == "unit":
            run_unit(build, env, tally, [name])
        elif suite == "integration":
            run_integration(build, env, tally, [name])
        else:
            run_pytest(suite, env, tally, [name])
        if tally.passed + tally.failed == n_known:
            tally.add(0, [f"{suite}/{name}: ran no test"])


def run_again(files):
    notes = [json.loads(pathlib.Path(f).read_text()) for f in files]
    failures = [failure for note in notes for failure in note["failures"]]
    tally = Tally()
    if len(failures) > MAX_AGAIN or any(a is None for note in notes for a in note["again"]):
        tally.add(0, failures)
        return sum_up(tally)
    for note in notes:
        run_noted(note, tally)
    if not tally.failed:
        for failure in failures:
            print(f"UNSTEADY {failure}: failed beside other suites, passed alone; to be mended")
    return sum_up(tally)


def main():
    arguments = argparse.ArgumentParser(description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--build", default="build/gcc")
    arguments.add_argument("--instances", type=int, default=1)
    arguments.add_argument("--share", choices=("most", "rest"))
    arguments.add_argument("--failed", metavar="FILE")
    arguments.add_argument("--again", metavar="FILE", nargs="+")
    arguments.add_argument("suites", nargs="*")
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.again:
        return run_again(options.again)
    build, env = ROOT / options.build, environment(options.build, options.instances)
    tally = Tally()
    for suite in options.suites:
        print(f"== {suite} ({options.build})", flush=True)
        started = time.monotonic()
        if suite == "unit":
            run_unit(build, env, tally)
        elif suite == "integration":
            run_integration(build, env, tally)
        elif suite == "fuzz":
            run_fuzz(build, env, tally)
        elif suite == "chaos":
            run_chaos(env, tally)
        elif suite in ("features", "outages", "points"):
            run_part_of_e2e(suite, env, tally, options.share)
        elif suite in ("contract", "e2e"):
            run_pytest(suite, env, tally)
            if suite == "contract":
                run_pytest("chaos", env, tally)
        else:
            arguments.error(f"no suite {suite}")
        print(f"   {suite}: {time.monotonic() - started:.0f} s", flush=True)
    if options.failed:
        note_failed(options.failed, options, tally)
    return sum_up(tally)


if __name__ == "__main__":
    sys.exit(main())

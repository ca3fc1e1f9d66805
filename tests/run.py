"""Runs test suites and sums them up: the last line says how many passed and failed.

usage: run.py [--build build/gcc] [--instances 1] SUITE...     suites: unit integration contract e2e fuzz chaos

unit         cmocka programs of the build's unit/ folder
integration  cmocka programs of its integration/ folder, on private servers
contract     pytest tests/contract: schemas, examples, patches against independent implementations;
             pytest tests/chaos: what judges the chaos suite, its proxy and its schedule
e2e          pytest tests/e2e: the four services on private servers; with --instances 2 two of each behind haproxy
outages      those of its files that kill, stop and fail over servers and services
features     the others, and the crash points of a build that has them
fuzz         every fuzz target once over its corpus
chaos        tests/chaos/run.py for some minutes: every kind of fault under load; CHAOS_SEED, else a new seed
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "compose" / "local"))

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHAOS_MINUTES, MIN_FAULTS = 2.9, 60


OUTAGES = ["test_audit_*.py", "test_clock_outages.py", "test_cluster.py", "test_crash.py", "test_due.py",
           "test_engine_moments.py", "test_engine_recover.py", "test_postgresql_failover.py",
           "test_rabbitmq_cluster.py", "test_reconnect.py", "test_recover.py", "test_rolling_restart.py",
           "test_start_without.py", "test_ws_moments.py"]


class Tally:
    def __init__(self):
        self.passed, self.failed, self.failures = 0, 0, []

    def add(self, passed, failures):
        self.passed += passed
        self.failed += len(failures)
        self.failures += failures


def run_program(argv, env, name, tally):
    """A cmocka program: one line a test."""
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", cwd=ROOT)
    passed = len(re.findall(r"^\[       OK \]", done.stdout, re.M))
    failures = sorted(set(re.findall(r"^\[  FAILED  \] (\w+)", done.stdout, re.M)))
    failures = [f"{name}: {f}" for f in failures if not f.isdigit()]
    if done.returncode != 0 and not failures:
        failures = [f"{name}: ended with {done.returncode}"]
    if passed == 0 and not failures:
        failures = [f"{name}: ran no test"]
    tally.add(passed, failures)
    print(f"  {'FAILED' if failures else 'ok':6} {name} ({passed} passed)", flush=True)
    if failures:
        print(done.stdout[-6000:], flush=True)


def programs(folder):
    return sorted(p for p in folder.iterdir() if os.access(p, os.X_OK) and p.is_file())


def run_unit(build, env, tally):
    for program in programs(build / "unit"):
        run_program([program], env, f"unit/{program.name}", tally)


def run_integration(build, env, tally):
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
        for program in programs(build / "integration"):
            run_program([program], env, f"integration/{program.name}", tally)
    finally:
        cluster.stop()
        servers.stop()


def run_pytest(folder, env, tally, files=()):
    report = ROOT / "build" / f"pytest-{os.getpid()}.xml"
    done = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q",
                           "--tb=short", "-p", "no:cacheprovider", "--durations=15",
                           f"--junitxml={report}", *(files or [f"tests/{folder}"])], env=env, cwd=ROOT)
    cases = list(xml.etree.ElementTree.parse(report).iter("testcase")) if report.exists() else []
    report.unlink(missing_ok=True)
    bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c for c in cases if c.find("skipped") is not None]
    failures = [f"{folder}: {c.get('classname')}.{c.get('name')}" for c in bad]
    failures += [f"{folder}: skipped: {c.get('name')}" for c in skipped]
    if done.returncode != 0 and not failures:
        failures = [f"{folder}: pytest ended with {done.returncode}"]
    tally.add(len({(c.get("classname"), c.get("name")) for c in cases}) - len(failures), failures)


def run_part_of_e2e(suite, env, tally):
    every = set((ROOT / "tests" / "e2e").glob("test_*.py"))
    outages = {path for pattern in OUTAGES for path in (ROOT / "tests" / "e2e").glob(pattern)}
    run_pytest("e2e", env, tally, sorted(outages if suite == "outages" else every - outages))


def run_chaos(env, tally):
    """At least MIN_FAULTS, in about 4 minutes; what was found is printed with its seed."""
    report = ROOT / "build" / f"chaos-{os.getpid()}.json"
    argv = ["/usr/bin/python3", "tests/chaos/run.py", "--minutes", str(CHAOS_MINUTES), "--patience", "1.2",
            "--least", str(MIN_FAULTS), "--scale", "0.6", "--json", report]
    if seed := os.environ.get("CHAOS_SEED"):
        argv += ["--seed", seed]
    done = subprocess.run(argv, env=env, cwd=ROOT)
    summary = json.loads(report.read_text()) if report.exists() else {"violations": [], "faults": 0, "seed": None}
    report.unlink(missing_ok=True)
    failures = sorted({f"chaos: {v['what']} (seed {summary['seed']})" for v in summary["violations"]})
    if summary["faults"] < MIN_FAULTS:
        failures.append(f"chaos: {summary['faults']} faults, less than {MIN_FAULTS} (seed {summary['seed']})")
    if done.returncode != 0 and not failures:
        failures = [f"chaos: ended with {done.returncode}"]
    tally.add(0 if failures else 1, failures)


def run_fuzz(build, env, tally):
    del build
    targets = programs(ROOT / "build" / "fuzz")
    for target in targets:
        corpus = ROOT / "tests" / "fuzz" / "corpus" / target.name.removeprefix("fuzz_")
        done = subprocess.run([target, "-runs=0", corpus], env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT)
        name = f"fuzz/{target.name}"
        failures = [] if done.returncode == 0 else [name]
        tally.add(1 - len(failures), failures)
        print(f"  {'FAILED' if failures else 'ok':6} {name} (corpus)", flush=True)
        if failures:
            print(done.stdout[-4000:], flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--build", default="build/gcc")
    arguments.add_argument("--instances", type=int, default=1)
    arguments.add_argument("suites", nargs="+")
    options = arguments.parse_args()
    build = ROOT / options.build
    env = {**os.environ, "HANDOFF_BUILD": options.build, "PYTHONDONTWRITEBYTECODE": "1",
           "HANDOFF_TEST_INSTANCES": str(options.instances),
           "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
           "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}
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
        elif suite in ("features", "outages"):
            run_part_of_e2e(suite, env, tally)
        elif suite in ("contract", "e2e"):
            run_pytest(suite, env, tally)
            if suite == "contract":
                run_pytest("chaos", env, tally)
        else:
            arguments.error(f"no suite {suite}")
        print(f"   {suite}: {time.monotonic() - started:.0f} s", flush=True)
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())

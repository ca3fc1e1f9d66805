"""Seeds one known bug after the other into a copy of the tree, and shows that the tests it names find it.

usage: run.py [--jobs 2] [--patience 10] [--only NAME]... [--baseline] [--check] [--build build/gcc]

Each NN-name.patch here breaks a rule of the protocol. Its first lines say which, and who is to notice:

    # breaks: a message is acknowledged before the broker confirmed its events
    # caught by: e2e test_engine_unsure.py::test_...     or: unit test_..., integration test_...

--baseline  first runs the named tests on the tree as it is: a test that fails anyway finds nothing
--check     only looks whether each patch applies, and whether the tests it names are there
--only      patches whose name has this in it
--patience  s: how long a test waits at most for what a mutant never does; more for a busy machine

A copy has the build's objects beside the sources, so that make compiles what the patch touches and no more. The last
line: N mutants: N caught, N survived, N broken; ends with 0 when all are caught."""

import argparse
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

TEST_TIMEOUT = 150  # s: a test that hangs has found something, too
BUILD_TIMEOUT = 300
PORTS = os.environ.get("HANDOFF_TEST_PORTS", "10000-31999")
HEADER = re.compile(r"^# (breaks|caught by): (.+)$", re.M)
KINDS = {"e2e": "tests/e2e/{}", "unit": "tests/unit/{}.c", "integration": "tests/integration/{}.c"}


class Broken(Exception):
    """Nothing was shown: the mutant does not apply or build, or its test did not get to run."""


class Mutant:
    def __init__(self, path):
        self.path, self.name = path, path.stem
        found = HEADER.findall(path.read_text())
        self.breaks = [text for what, text in found if what == "breaks"]
        self.tests = [text for what, text in found if what == "caught by"]

    def check(self):
        """What is wrong with the patch itself, or None."""
        if len(self.breaks) != 1 or not self.tests:
            return "needs one line '# breaks: …' and '# caught by: …'"
        for test in self.tests:
            kind, _, name = test.partition(" ")
            path, _, function = name.partition("::")
            if kind not in KINDS or not (ROOT / KINDS[kind].format(path)).exists():
                return f"there is no test '{test}'"
            function = function.partition("[")[0]
            if function and not re.search(rf"\b{function}\b", (ROOT / KINDS[kind].format(path)).read_text()):
                return f"there is no test '{test}'"
        done = subprocess.run(["git", "apply", "--check", self.path], cwd=ROOT, capture_output=True, text=True)
        return f"does not apply: {done.stderr.strip()}" if done.returncode else None


def run(argv, timeout, **more):
    """(code, output); of what hangs everything it started is ended, and the code is None."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               start_new_session=True, **more)
    try:
        output = process.communicate(timeout=timeout)[0]
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        return None, process.communicate()[0]


# ---- tests ----

class Tester:
    """Runs tests of a tree; the servers of the integration tests stay for the next one."""

    def __init__(self, ports, patience):
        self.env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HANDOFF_TEST_PORTS": ports,
                    "HANDOFF_TEST_PATIENCE": str(patience)}
        self.servers = None

    def run(self, tree, build, tests):
        """Of tests of one kind; what failed, as text. Empty: nothing did."""
        kind = tests[0].partition(" ")[0]
        names = [test.partition(" ")[2] for test in tests]
        if kind == "e2e":
            return self._run_pytest(tree, build, names)
        env = self._integration_env() if kind == "integration" else self.env
        return "; ".join(filter(None, [self._run_program(tree, f"{build}/{kind}", name, env) for name in names]))

    def _run_program(self, tree, folder, name, env):
        program, _, function = name.partition("::")
        code, output = run([tree / folder / program], TEST_TIMEOUT, env=env, cwd=tree)
        if code is None:
            self.stop()
            return f"{program} does not end"
        failed = sorted({f for f in re.findall(r"^\[  FAILED  \] (\w+)", output, re.M) if not f.isdigit()})
        if function and failed:
            failed = [f for f in failed if f == function]
        elif code != 0:
            failed = failed or [f"ended with {code}"]
        return f"{program}: {', '.join(failed)}" if failed else ""

    def _run_pytest(self, tree, build, names):
        report = tree / "build" / f"mutant-{os.getpid()}-{threading.get_ident()}.xml"
        argv = ["/usr/bin/python3", "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider",
                f"--junitxml={report}", *(f"tests/e2e/{name}" for name in names)]
        code, output = run(argv, TEST_TIMEOUT * len(names), env={**self.env, "HANDOFF_BUILD": build}, cwd=tree)
        if code is None:
            return f"{names[0]} does not end"
        cases = list(xml.etree.ElementTree.parse(report).iter("testcase")) if report.exists() else []
        report.unlink(missing_ok=True)
        failed = [f"{c.get('name')}: {reason_of(c)}" for c in cases if c.find("failure") is not None]
        if not failed and code != 0:
            raise Broken(f"the test did not run: {output[-2000:]}")
        return "; ".join(failed)

    def _integration_env(self):
        if not self.servers:
            from harness import Servers
            self.servers = Servers(redis_password=None, is_cluster=False)
            self.servers.start()
        return {**self.servers.rabbitmq.env(), **self.env,
                "HANDOFF_TEST_AMQP_URL": self.servers.rabbitmq.url,
                "HANDOFF_TEST_REDIS_URL": self.servers.redis.url,
                "HANDOFF_TEST_DATABASE_URL": self.servers.postgresql.url}

    def stop(self):
        if self.servers:
            self.servers.stop()
        self.servers = None


def reason_of(case):
    """The beginning of what a failed test says."""
    return case.find("failure").get("message", "").partition("\n")[0][:100]


# ---- a mutant ----

def copy_tree(build, target):
    """Sources and objects with their times, without what was linked for tests."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True, check=True,
                            capture_output=True).stdout
    files = [name for name in listed.splitlines() if (ROOT / name).exists()]
    subprocess.run(["cp", "-p", "--parents", "-t", target, *files], cwd=ROOT, check=True)
    subprocess.run(["cp", "-a", "--parents", "-t", target, "clients/js/dist"], cwd=ROOT, check=True)  # session_api has it in it
    parts = [p for p in (ROOT / build).iterdir() if p.name not in ("unit", "integration", "contract", "bench")]
    (target / build).mkdir(parents=True)
    subprocess.run(["cp", "-a", "-t", target / build, *parts], check=True)


def targets_of(tests, build):
    """What make is to build for them."""
    programs = {f"{build}/{kind}/{name.partition('::')[0]}"
                for kind, _, name in (test.partition(" ") for test in tests) if kind != "e2e"}
    return sorted(programs) + (["all"] if any(test.startswith("e2e ") for test in tests) else [])


def find(mutant, build, tester):
    """The test that found it and what failed there, or None."""
    if wrong := mutant.check():
        raise Broken(wrong)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="handoff-mutant-", dir="/var/tmp"))
    try:
        copy_tree(build, folder)
        code, output = run(["git", "apply", mutant.path], BUILD_TIMEOUT, cwd=folder)
        if code != 0:
            raise Broken(f"does not apply: {output}")
        code, output = run(["make", "--no-print-directory", *targets_of(mutant.tests, build)], BUILD_TIMEOUT, cwd=folder)
        if code != 0:
            raise Broken(f"does not build: {output[-2000:]}")
        for test in mutant.tests:
            failed = tester.run(folder, build, [test])
            if failed:
                return test, failed
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Work:
    """The mutants, taken one by one by the workers."""

    def __init__(self, mutants, build, patience):
        self.todo, self.lock = queue.Queue(), threading.Lock()
        self.build, self.patience = build, patience
        self.outcomes, self.n = {}, len(mutants)
        for mutant in mutants:
            self.todo.put(mutant)

    def judge(self, mutant, tester):
        started = time.monotonic()
        try:
            found = find(mutant, self.build, tester)
        except Broken as error:
            outcome, text, reason = "broken", f"BROKEN {error}", ""
        else:
            outcome = "caught" if found else "survived"
            text = f"caught by {found[0]}" if found else f"SURVIVED {', '.join(mutant.tests)}"
            reason = f" ({found[1]})" if found else ""
        with self.lock:
            self.outcomes[mutant.name] = outcome
            print(f"  {len(self.outcomes):2}/{self.n} {mutant.name:34} {text} in {time.monotonic() - started:.0f} s{reason}",
                  flush=True)

    def run(self, ports):
        tester = Tester(ports, self.patience)
        try:
            while True:
                self.judge(self.todo.get_nowait(), tester)
        except queue.Empty:
            pass
        finally:
            tester.stop()

    def run_all(self, jobs):
        low, high = map(int, PORTS.split("-"))
        step = (high - low + 1) // jobs
        threads = [threading.Thread(target=self.run, args=(f"{low + i * step}-{low + (i + 1) * step - 1}",))
                   for i in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def count(self, outcome):
        return sum(o == outcome for o in self.outcomes.values())


# ---- the tree as it is ----

def run_baseline(mutants, build, patience):
    """Whether every named test passes; those of a kind together."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    started, tester, is_well = time.monotonic(), Tester(PORTS, patience), True
    try:
        for kind in KINDS:
            of_kind = [test for test in tests if test.startswith(kind + " ")]
            try:
                failed = tester.run(ROOT, build, of_kind) if of_kind else ""
            except Broken as error:
                failed = str(error)
            is_well = is_well and not failed
            print(f"  {'FAILED' if failed else 'ok':6} {len(of_kind)} {kind} tests on the tree as it is {failed}", flush=True)
    finally:
        tester.stop()
    print(f"  baseline: {time.monotonic() - started:.0f} s", flush=True)
    return is_well


def check_patches(mutants):
    wrong = {m.name: what for m in mutants if (what := m.check())}
    for name, what in wrong.items():
        print(f"tests/mutants/{name}.patch: {what}")
    return not wrong


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--patience", type=int, default=10)
    arguments.add_argument("--only", action="append")
    arguments.add_argument("--baseline", action="store_true")
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--build", default="build/gcc")
    options = arguments.parse_args()
    mutants = [Mutant(path) for path in sorted(HERE.glob("[0-9]*.patch"))]
    mutants = [m for m in mutants if not options.only or any(name in m.name for name in options.only)]
    if options.check:
        return 0 if check_patches(mutants) else 1
    if options.baseline and not run_baseline(mutants, options.build, options.patience):
        return 1
    started, work = time.monotonic(), Work(mutants, options.build, options.patience)
    work.run_all(options.jobs)
    print(f"  {time.monotonic() - started:.0f} s with {options.jobs} at a time")
    print(f"{len(mutants)} mutants: {work.count('caught')} caught, {work.count('survived')} survived, "
          f"{work.count('broken')} broken")
    return 0 if mutants and work.count("caught") == len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main())

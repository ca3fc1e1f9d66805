"""compose/compose.yaml, brought up as it is by docker-compose on podman's socket; looked at from outside, and taken down."""

import os
import pathlib
import shutil
import subprocess
import threading
import time

import yaml

import stand_ins
from engine import DROPPED, FOLDER, ROOT, SERVICES, SOCKET, api, run, say

PROJECT = FOLDER / "project"
LOGS = FOLDER / "logs"
MAX_WAIT = 300  # s: RabbitMQ and all the others at once, on two busy cores
INTERVAL = 10  # s between two health checks of a container that is well


class HealthChecks(threading.Thread):
    """Runs each container's health check by itself, as its interval says, and more seldom while it is well: that is systemd's
    part beside podman, and there may be none here."""

    def __init__(self):
        super().__init__(daemon=True)
        self.due, self.ended = {}, threading.Event()

    def run(self):
        while not self.ended.wait(0.5):
            for one in containers():
                if one["State"] == "running":
                    self.ask(one)

    def ask(self, container):
        now, name = time.monotonic(), container["Id"]
        if name not in self.due:
            status, seen = api("GET", f"/containers/{name}/json")
            if status != 200:
                return  # it was removed meanwhile
            check = seen["Config"].get("Healthcheck") or {}
            self.due[name] = now + check["Interval"] / 1e9 if check else float("inf")
        elif now > self.due[name]:
            _, seen = api("GET", f"/containers/{name}/healthcheck")
            is_well = (seen or {}).get("Status") == "healthy"
            self.due[name] = now + (INTERVAL if is_well else 3)

    def stop(self):
        self.ended.set()
        self.join()


def containers():
    return api("GET", "/containers/json?all=true")[1] or []


def service_of(container):
    return container["Labels"].get("com.docker.compose.service")


def inspect(container):
    return api("GET", f"/containers/{container['Id']}/json")[1]


def health_of(container):
    """"none": it has no health check."""
    seen = inspect(container)
    if not seen["Config"].get("Healthcheck"):
        return "none"
    state = seen["State"]
    return (state.get("Health") or state.get("Healthcheck") or {}).get("Status", "unknown")


# podman tells of its driver as an option, which Docker does not: docker-compose 1.29 would want to make the network anew.
PODMAN = "networks: {front: {ipam: {options: {driver: host-local}, config: [{subnet: 172.31.250.0/24}]}}}\n"


class Project:
    def __init__(self):
        shutil.rmtree(PROJECT, ignore_errors=True)
        shutil.copytree(ROOT / "compose", PROJECT, ignore=shutil.ignore_patterns("secrets", ".env"))
        run(PROJECT / "make-secrets")
        (PROJECT / "podman.yaml").write_text(PODMAN)
        self.env = {**os.environ, "DOCKER_HOST": f"unix://{SOCKET}", "COMPOSE_HTTP_TIMEOUT": str(MAX_WAIT), "COMPOSE_FILE": "compose.yaml:podman.yaml"}
        self.without = stand_ins.missing()
        self.services = [name for name, its in stand_ins.services().items()
                         if name not in self.without and "profiles" not in its]
        pathlib.Path(SOCKET).parent.mkdir(exist_ok=True)
        self.engine = subprocess.Popen(["podman", "system", "service", "--time=0", f"unix://{SOCKET}"],
                                       stdout=open(FOLDER / "engine.log", "wb"), stderr=subprocess.STDOUT)
        wait_until(pathlib.Path(SOCKET).exists, "podman's socket")
        self.checks = HealthChecks()
        self.config = yaml.safe_load(self.compose("config"))

    def compose(self, *argv, log=None, **variables):
        return run("docker-compose", "--ansi", "never", *argv, cwd=PROJECT, env={**self.env, **variables}, log=log, timeout=2 * MAX_WAIT)

    def up(self, **scale):
        counts = [word for name, count in scale.items() for word in ("--scale", f"{name}={count}")]
        self.compose("up", "-d", "--no-build", *counts, *self.services, log=FOLDER / "compose.log")

    def migrate(self, version, *words):
        url = "secrets/audit_writer_database_url"
        return self.compose("run", "--rm", "-T", "-v", f"{PROJECT}/{url}:/run/url:ro", "-e", "HANDOFF_DATABASE_URL_FILE=/run/url", "handoff",
                            "migrate", *words, HANDOFF_VERSION=version)

    def roll(self, version, *services):
        """As somebody upgrades them."""
        env = {**self.env, "HANDOFF_VERSION": version, "HANDOFF_ENGINE": "podman", "HANDOFF_COMPOSE": "docker-compose --ansi never"}
        run(PROJECT / "roll", *services, env=env, log=FOLDER / "compose.log", timeout=2 * MAX_WAIT)

    def save_logs(self):
        shutil.rmtree(LOGS, ignore_errors=True)
        LOGS.mkdir()
        for one in containers():
            with open(LOGS / f"{one['Names'][0]}.log", "wb") as file:
                subprocess.run(["podman", "logs", one["Id"]], stdout=file, stderr=subprocess.STDOUT)

    def down(self, *options):
        self.compose("down", *options, log=FOLDER / "compose.log")

    def stop(self):
        self.checks.stop()
        self.compose("stop", log=FOLDER / "compose.log")

    def close(self):
        self.engine.terminate()
        self.engine.wait()


def wait_until(is_so, what, timeout=MAX_WAIT):
    """TimeoutError: it did not become so."""
    end = time.monotonic() + timeout
    while not (seen := is_so()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(0.5)
    return seen


def all_well():
    """Every container has come up, and those that do one thing have done it."""
    for one in containers():
        seen = health_of(one)
        if seen == "none" and one["State"] == "running" or seen not in ("none", "healthy"):
            return False
    return True


def look_at_containers(checks, project, counts):
    try:
        wait_until(all_well, "all healthy")
    except TimeoutError:
        pass
    for name in project.services:
        found = [one for one in containers() if service_of(one) == name]
        seen = [health_of(one) for one in found]
        if "healthcheck" in stand_ins.services()[name]:
            checks.check(f"{name}: {counts.get(name, 1)} healthy", seen == ["healthy"] * counts.get(name, 1), seen)
        else:
            codes = [inspect(one)["State"]["ExitCode"] for one in found if one["State"] == "exited"]
            checks.check(f"{name}: done", codes == [0], codes)


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def look_at_rights(checks, project):
    """As the kernel has them, of each container's first process."""
    for name in project.services:
        for one in (c for c in containers() if service_of(c) == name and c["State"] == "running"):
            status, mounts = status_of(one["Pid"]), pathlib.Path(f"/proc/{one['Pid']}/mounts").read_text()
            rights = {"user": int(status["Uid"][1]), "may": int(status["CapEff"][0], 16), "new": status["NoNewPrivs"] == ["1"]}
            root = next(line.split()[3].split(",") for line in mounts.splitlines() if line.split()[1] == "/")
            is_right = rights["user"] > 0 and rights["may"] == 0 and rights["new"]
            if name in SERVICES:
                is_right &= rights["user"] == 65532 and int(status["CapBnd"][0], 16) == 0
            checks.check(f"{one['Names'][0]}: not root, no capability, no new privileges", is_right, rights)
            wants = stand_ins.services()[name].get("read_only", False)
            checks.check(f"{one['Names'][0]}: its root is {'read only' if wants else 'writable'}", ("ro" in root) == wants, root)


def look_at_end(checks):
    """Stopped, each ended by itself, within its time: Handoff's as told, what does not know SIGTERM by it."""
    for one in containers():
        code = inspect(one)["State"]["ExitCode"]
        well = (0,) if service_of(one) in SERVICES else (0, 2, 143)
        checks.check(f"{one['Names'][0]} ended by itself", code in well, code)


class Machine:
    """What runs and is mounted in this stage's namespaces."""

    def __init__(self):
        self.processes = {pid for pid in os.listdir("/proc") if pid.isdigit() and is_alive(pid)}
        mounts = {line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}
        self.mounts = mounts - {"/run/netns"}  # where names of network namespaces are


def is_alive(pid):
    try:
        return status_of(pid)["State"][0] != "Z"
    except OSError:
        return False


def command_of(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()


def links():
    """sysfs shows those of the namespace that it was mounted from."""
    return {line.split(":")[1].strip().partition("@")[0] for line in run("ip", "-o", "link").splitlines()}


def look_at_what_is_left(checks, before):
    after = Machine()
    checks.check("no container is left", not containers(), [one["Names"] for one in containers()])
    networks = {one["name"] for one in api("GET", "/networks/json")[1]} - {"podman"}
    checks.check("no network is left", not networks, networks)
    volumes = [one["Name"] for one in api("GET", "/volumes/json")[1]]
    checks.check("no volume is left", not volumes, volumes)
    processes = {pid: command_of(pid) for pid in after.processes - before.processes if is_alive(pid)}
    checks.check("no process is left", not processes, processes)
    checks.check("nothing is left mounted", after.mounts <= before.mounts, after.mounts - before.mounts)
    checks.check("no network device is left", links() == {"lo"}, links())


def say_what_differs(project):
    say(f"  left out, for want of their image: {', '.join(project.without) or 'none'}")
    if DROPPED.exists():
        say(f"  limits that the kernel refuses here, dropped: {', '.join(sorted(set(DROPPED.read_text().splitlines())))}")

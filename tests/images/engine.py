"""podman and buildah, shut in: a stage runs as the first process of namespaces of its own, with a /run of its own, so that
what it mounts, starts and connects ends with it, however it ends. What is kept between runs is build/images/storage."""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "images"
VERSION = re.search(r'HANDOFF_VERSION "(.+)"', (ROOT / "common" / "version.h").read_text())[1]
SERVICES = sorted(p.parent.name for p in (ROOT / "services").glob("*/main.c"))
# What the runtime took out of containers' limits, a line each.
DROPPED = pathlib.Path("/run/handoff-dropped-limits")
SOCKET = "/run/podman/podman.sock"
MAX_STAGE = 3600  # s

CONTAINERS_CONF = f"""[network]
network_backend = "netavark"
network_config_dir = "/run/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
runc = ["{ROOT}/tests/images/runtime"]
"""
STORAGE_CONF = """[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"""


class CommandError(Exception):
    pass


class Checks:
    """What was looked at, said as it is seen."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def check(self, what, is_so, detail=""):
        self.passed += bool(is_so)
        self.failed += not is_so
        print(f"  {'ok    ' if is_so else 'FAILED'} {what}" + (f": {detail}" if detail and not is_so else ""), flush=True)
        return bool(is_so)


def say(text):
    print(text, flush=True)


def run(*argv, log=None, **more):
    """Its output; CommandError: it failed, with the end of what it said. log: a file that gets all of it."""
    if log:
        with open(log, "ab") as file:
            done = subprocess.run(argv, stdout=file, stderr=subprocess.STDOUT, **more)
        said = log.read_text(errors="replace")
    else:
        done = subprocess.run(argv, capture_output=True, text=True, **more)
        said = done.stderr
    if done.returncode:
        end = "\n    ".join(said.splitlines()[-25:])
        raise CommandError(f"{' '.join(map(str, argv[:6]))} … ended with {done.returncode}:\n    {end}")
    return "" if log else done.stdout


def podman(*argv, **more):
    return run("podman", *argv, **more)


def inspect(image):
    return json.loads(podman("image", "inspect", image))[0]


def has_image(image):
    return subprocess.run(["podman", "image", "exists", image]).returncode == 0


class _Connection(http.client.HTTPConnection):
    def __init__(self, timeout):
        super().__init__("podman", timeout=timeout)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def api(method, path, timeout=60):
    """podman's own API: (status, what it answered)."""
    connection = _Connection(timeout)
    try:
        connection.request(method, "/v4.0.0/libpod" + path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else None
    finally:
        connection.close()


def forget_containers():
    """Those of a run that was broken off: their processes ended with it."""
    podman("rm", "-fa")
    podman("network", "prune", "-f")
    podman("volume", "prune", "-f")


# Namespaces

def in_namespaces(program, stage, *options):
    """Runs the program again, for that stage, as the first process of namespaces of its own, and for an hour at most."""
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *options, "--",
            sys.executable, program, "--stage", stage]
    try:
        subprocess.run(argv, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, timeout=MAX_STAGE)
    except subprocess.TimeoutExpired:
        say(f"error: {stage}: not done within {MAX_STAGE} s; broken off")


def be_init():
    """The first process of a PID namespace: takes leave of whoever ends, until the one that goes on here does."""
    child = os.fork()
    if not child:
        return
    while True:
        try:
            pid, status = os.wait()
        except KeyboardInterrupt:
            continue  # the other one has it, too
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xff)


def _mount_tmpfs(path):
    pathlib.Path(path).mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path)


def shut_in():
    """What podman keeps outside of a container is this stage's own; images are build/images/storage."""
    resolv = pathlib.Path("/etc/resolv.conf")
    place, text = resolv.resolve(), resolv.read_text()
    # Volumes may be mounted so that they see what is mounted later: among the stage's own alone.
    run("mount", "--make-rshared", "/")
    _mount_tmpfs("/run")
    if not place.exists():
        place.parent.mkdir(parents=True)
        place.write_text(text)
    _mount_tmpfs("/dev/shm")
    storage = FOLDER / "storage"
    storage.mkdir(parents=True, exist_ok=True)
    pathlib.Path("/var/lib/containers/storage").mkdir(parents=True, exist_ok=True)
    run("mount", "--bind", str(storage), "/var/lib/containers/storage")
    # Health checks would be timers of systemd's; there may be none here.
    os.environ["DISABLE_HC_SYSTEMD"] = "true"
    for name, text in (("CONTAINERS_CONF", CONTAINERS_CONF), ("CONTAINERS_STORAGE_CONF", STORAGE_CONF),
                       ("CONTAINERS_REGISTRIES_CONF", "unqualified-search-registries = []\n")):
        file = pathlib.Path("/run") / name.lower()
        file.write_text(text)
        os.environ[name] = str(file)


def _cgroups():
    """podman's folders there, the innermost first."""
    found = [path for top in pathlib.Path("/sys/fs/cgroup").glob("**/libpod_parent") for path in (top, *top.rglob("*/"))]
    return sorted(found, key=lambda path: -len(path.parts))


def remove_cgroups():
    """Those that nobody is in, which is what podman leaves; whether all are gone. A process that was killed is in one for a
    moment more."""
    for _ in range(20):
        for path in _cgroups():
            try:
                path.rmdir()
            except OSError:
                pass
        if not _cgroups():
            return True
        time.sleep(0.25)
    return False

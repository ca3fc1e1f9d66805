"""A fresh Debian in a folder, made by debootstrap: its programs run in it alone, and it boots, with systemd as process 1."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
# As a bare installation has it: with its init, which debootstrap's smallest variant leaves out.
BARE = "systemd-sysv,dbus"
MAX_INSTALL, MAX_STEP, MAX_WAIT = 900, 120, 60  # s


class Failed(AssertionError):
    pass


def codename():
    """Of the Debian that this is: what was built here runs there."""
    lines = pathlib.Path("/etc/os-release").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["VERSION_CODENAME"]


def mirror(release):
    """From where apt has this release here."""
    said = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {release}",
                           "Component: main"], capture_output=True, text=True, check=True).stdout.split()
    return said[0]


def wait_until(condition, what):
    """What condition gives, once it is true; it is asked again until then."""
    end = time.monotonic() + MAX_WAIT
    while not (value := condition()):
        if time.monotonic() > end:
            raise Failed(f"not within {MAX_WAIT} s: {what}")
        time.sleep(0.05)
    return value


class Machine:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="handoff-deb-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.root = self.folder / "root"
        self.booted = None

    def make(self):
        release = codename()
        done = subprocess.run(["debootstrap", "--variant=minbase", f"--include={BARE}", release, self.root, mirror(release)],
                              env={**os.environ, **CLEAN}, capture_output=True, text=True, timeout=MAX_INSTALL)
        if done.returncode:
            raise Failed(done.stdout[-4000:] + done.stderr)
        # What is asked for by name, and its Depends, without questions; nothing starts where nothing is booted.
        options = 'APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\nDpkg::Use-Pty "0";\n'
        (self.root / "etc/apt/apt.conf.d/90test").write_text(options)
        policy = self.root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost handoff\n")
        (self.root / "etc/hostname").write_text("handoff\n")
        (self.root / "var/log/journal").mkdir(exist_ok=True)  # which is then kept

    def boot(self):
        (self.root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        boot = ["setpriv", "--pdeathsig", "TERM", HERE / "boot", self.root]  # it ends with who began it
        self.booted = subprocess.Popen(boot, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_until(lambda: self.init() and self.shell("systemctl is-system-running --wait", check=False) == "running\n",
                   "systemd: " + (self.shell("systemctl --failed --no-pager", check=False) if self.init() else "no process 1"))

    def init(self):
        """The process that is number 1 in there."""
        pid = self.booted.pid
        with contextlib.suppress(OSError, IndexError):
            while (pathlib.Path(f"/proc/{pid}/comm").read_text()) != "systemd\n":
                pid = int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
            return pid
        return None

    def power_off(self):
        """As its button would; what runs in it ends in its order."""
        os.kill(self.init(), signal.SIGRTMIN + 4)
        self.booted.wait(MAX_WAIT)
        self.booted = None

    def remove(self):
        if self.booted:
            self.booted.terminate()
            self.booted.wait(MAX_WAIT)
        shutil.rmtree(self.folder)

    def command(self, argv):
        if self.booted:
            spaces = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wd"]
            return ["nsenter", "--target", str(self.init()), *spaces, *argv]
        # With processes of its own, so that nothing stays.
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc",
                'mount -t proc proc "$0/proc"; exec chroot "$0" "$@"', str(self.root), *argv]

    def shell(self, script, check=True, folder="/root", limit=MAX_STEP, **variables):
        """What bash says in there, as root; an error of any of its commands is one."""
        inside = self.command(["bash", "-euc", f"cd {folder}\n{script}"])
        done = subprocess.run(inside, env={**CLEAN, **variables}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=None if check else subprocess.DEVNULL, text=True, timeout=limit)
        if check and done.returncode:
            raise Failed(f"{script}\nended with {done.returncode}: {done.stdout[-4000:]}")
        return done.stdout

    def start(self, script):
        """The same, in the background; its output is a pipe."""
        return subprocess.Popen(self.command(["bash", "-euc", f"cd /root\n{script}"]), env=CLEAN, cwd="/", stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, text=True)

    def properties(self, unit, *names):
        lines = self.shell(f"systemctl show {unit} " + " ".join(f"-p {name}" for name in names)).splitlines()
        found = dict(line.split("=", 1) for line in lines)
        return [found[name] for name in names]

    def http(self, method, url, token=None, body=None, media="application/json"):
        """(status, body as JSON), by the curl that is in there; status 0: no answer."""
        options = f"-H 'Authorization: Bearer {token}'" if token else ""
        if body is not None:
            options += f" -H 'Content-Type: {media}' -d '{json.dumps(body)}'"
        said = self.shell(f"curl -s -m 30 -X {method} -w '\\n%{{http_code}}' {options} '{url}' || true")
        text, _, status = said.rpartition("\n")
        return int(status), json.loads(text) if text else None

    def log(self, unit):
        """The records of a service, oldest first."""
        lines = self.shell(f"journalctl --no-pager -o cat -u {unit}").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

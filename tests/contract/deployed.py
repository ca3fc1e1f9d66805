"""What the files that deploy the services are held against: the services themselves and docs/CONFIG.md."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "compose"
BINARIES = ROOT / os.environ.get("HANDOFF_BUILD", "build/gcc") / "bin"
SERVICES = sorted(p.parent.name for p in (ROOT / "services").glob("*/main.c"))
VERSION = re.search(r'HANDOFF_VERSION "(.+)"', (ROOT / "common" / "version.h").read_text())[1]
CONFIG = (ROOT / "docs" / "CONFIG.md").read_text()


def check_config(service, environment):
    """What the service itself says of it."""
    done = subprocess.run([BINARIES / service, "--check-config"], env={"PATH": os.environ["PATH"], **environment}, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def settings_of(service):
    """Those that docs/CONFIG.md says it has; with _FILE, too, where that may be."""
    names = set()
    for name, star, users in re.findall(r"^## (HANDOFF_\w+)( \*)?\n.*?- Used by: ([^\n]+)", CONFIG, re.M | re.S):
        if users == "all" or service in users.split(", "):
            names |= {name, f"{name}_FILE"} if star else {name}
    return names


def drain_seconds():
    """How long a service may take to end."""
    return int(re.search(r"^## HANDOFF_DRAIN_TIMEOUT\n.*?- Default: `(\d+)s`", CONFIG, re.M | re.S)[1])

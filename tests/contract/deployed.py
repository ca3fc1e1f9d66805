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


def default_of(setting, service):
    """As docs/CONFIG.md has it; sizes in bytes."""
    said = re.search(rf"^## {setting}\b.*?- Default: ([^\n]+)", CONFIG, re.M | re.S)[1]
    number, unit = re.search(rf"`(\d+)(KiB|MiB)?`(?: {service}|(?! ))", said).groups()
    return int(number) * {"KiB": 1024, "MiB": 1 << 20, None: 1}[unit]


def most_bytes(service):
    """What its bounds let a service hold, beside the little that it has always: a limit below lets the kernel end it under load, and
    again with what it gets when it is back."""
    def of(setting):
        return default_of(setting, service)
    return {
        # Bodies, answers, and libmicrohttpd's 16 KiB a connection.
        "session_api": lambda: 2 * of("HANDOFF_MAX_BUFFER_BYTES") + of("HANDOFF_MAX_CONNECTIONS") * (16 << 10),
        # 64 KiB for each connection when all are slow, and what an idle one takes.
        "ws_fanout": lambda: of("HANDOFF_MAX_CONNECTIONS") * (68 << 10),
        # 128 messages of commands; 64 MiB of events, and of replies, on their way; eight rebuilds of 16 MiB; copies.
        "state_engine": lambda: (128 + 64 + 64 + 8 * 16 << 20) + of("HANDOFF_MAX_KEPT_BYTES"),
        # Twice a batch waits, each event as large as a request; 16 MiB that were kept from a connection that is lost; the batch under way,
        # 16 MiB and what goes to PostgreSQL for it.
        "audit_writer": lambda: 2 * of("HANDOFF_MAX_BATCH") * default_of("HANDOFF_MAX_BODY_BYTES", "session_api") + (16 + 16 + 16 << 20),
    }[service]()

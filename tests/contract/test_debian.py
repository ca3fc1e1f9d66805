"""compose/debian, of which `make deb` makes a package: it has what there is, and is made of what the build needs."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEBIAN = ROOT / "compose" / "debian"
BINARIES = ROOT / os.environ.get("HANDOFF_BUILD", "build/gcc") / "bin"
SERVICES = {p.parent.name for p in (ROOT / "services").glob("*/main.c")}
# What every Debian builds with: build-essential; and git, of which only the export has need.
ESSENTIAL = {"gcc", "make", "libc6-dev", "git"}


def test_its_version_is_the_services():
    version = re.search(r'HANDOFF_VERSION "(.+)"', (ROOT / "common" / "version.h").read_text())[1]
    assert (DEBIAN / "changelog").read_text().startswith(f"handoff ({version}) ")
    assert f'"Handoff {version}"' in (DEBIAN / "handoff.1").read_text()


def test_it_is_built_with_what_packages_txt_says():
    build = re.search(r"^# build\n(.*?)\n\n", (ROOT / "compose" / "local" / "packages.txt").read_text(), re.M | re.S)[1].split()
    field = re.search(r"^Build-Depends: (.*?)\n(?! )", (DEBIAN / "control").read_text(), re.M | re.S)[1]
    assert {name.split()[0] for name in field.split(",")} == {*build, "debhelper-compat"} - ESSENTIAL


def test_it_has_each_service_and_stops_it_when_it_goes():
    lines = (DEBIAN / "handoff.install").read_text().splitlines()
    assert {line for line in lines if "bin/" in line} == {f"build/gcc/bin/{name} usr/lib/handoff" for name in SERVICES} | {
        "build/gcc/bin/handoff usr/bin"}
    made = [line for line in lines if "completions" in line]
    assert made == ["build/gcc/handoff usr/share/bash-completion/completions"]
    assert "build/gcc/bin/handoff completion bash > build/gcc/handoff\n" in (DEBIAN / "rules").read_text()
    stopped = re.findall(r"handoff-[a-z-]+\.service", (DEBIAN / "handoff.prerm").read_text())
    assert set(stopped) == {unit.name for unit in (ROOT / "compose" / "systemd").glob("*.service")}


def test_it_starts_enables_and_restarts_nothing():
    """make deb-check sees it."""
    assert "dh_installsystemd --no-enable --no-start --no-stop-on-upgrade\n" in (DEBIAN / "rules").read_text()


def test_what_it_installs_is_there():
    for name in ("handoff.docs", "handoff.examples", "handoff.manpages"):
        for line in (DEBIAN / name).read_text().split():
            path = line.replace("debian/", "compose/debian/", 1) if line.startswith("debian/") else line
            assert (ROOT / path).exists(), path


def test_it_has_all_that_is_put_beside_the_services_and_what_to_do_when_an_alert_comes():
    examples = set((DEBIAN / "handoff.examples").read_text().split())
    elsewhere = {"debian", "kubernetes", "local", "systemd"}  # not on such a machine; or in their own places
    folders = {path.name for path in DEBIAN.parent.iterdir() if path.is_dir() and path.name not in elsewhere | {"secrets"}}
    assert examples == {f"compose/{name}" for name in folders}
    assert "docs/runbooks" in (DEBIAN / "handoff.docs").read_text().split()


def test_the_man_page_has_each_option_and_command():
    told = subprocess.run([BINARIES / "handoff", "--help"], capture_output=True, text=True, check=True).stdout
    page = (DEBIAN / "handoff.1").read_text().replace("\\", "")
    commands = set(re.findall(r"handoff ([a-z][a-z-]+(?: [a-z][a-z-]+)?)", told.partition("\n\n")[0]))
    assert commands and not [name for name in commands if name not in page]
    options = set(re.findall(r"--[a-z][a-z-]+", told))
    assert options and not [option for option in options if option not in page]

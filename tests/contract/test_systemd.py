"""compose/systemd: the units are sound, shut in, and give each service what docs/CONFIG.md says it uses."""

import pathlib
import re
import shutil
import subprocess

import pytest
from deployed import drain_seconds, most_bytes

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "compose" / "systemd").glob("*.service"))
MAX_EXPOSURE = 2.0
SECRETS = {"HANDOFF_AMQP_URL", "HANDOFF_REDIS_URL", "HANDOFF_DATABASE_URL", "HANDOFF_JWT_SECRET"}


def service_of(unit):
    return unit.stem.removeprefix("handoff-").replace("-", "_")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A system that has nothing but the units and what they start."""
    root = tmp_path_factory.mktemp("root")
    for unit in UNITS:
        for path in (root / "etc/systemd/system" / unit.name, root / "usr/lib/handoff" / service_of(unit)):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(unit, path)
            path.chmod(0o755 if "lib" in path.parts else 0o644)
    kill = root / "bin/kill"
    kill.parent.mkdir()
    shutil.copy(UNITS[0], kill)
    kill.chmod(0o755)
    return root


def test_there_is_one_for_each_service():
    assert {service_of(u) for u in UNITS} == {p.parent.name for p in (ROOT / "services").glob("*/main.c")}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong(root, unit):
    done = subprocess.run(["systemd-analyze", "verify", f"--root={root}", "--man=no", "--recursive-errors=no", unit.name],
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_reload_is_a_sighup(unit):
    assert re.findall(r"^ExecReload=(.*)$", unit.read_text(), re.M) == ["/bin/kill -HUP $MAINPID"]


def test_with_the_machine_they_end_before_what_they_need():
    """Whoever starts after another ends before it."""
    after = {service_of(unit): set(" ".join(re.findall(r"^After=(.*)$", unit.read_text(), re.M)).split()) for unit in UNITS}
    servers = {"rabbitmq-server.service", "redis-server.service", "postgresql.service"}
    assert all(servers <= units for units in after.values())
    for service, other in (("session_api", "state-engine"), ("ws_fanout", "state-engine"), ("state_engine", "audit-writer")):
        assert f"handoff-{other}.service" in after[service]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_has_time_to_end(unit):
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.M)[1]) >= drain_seconds() + 2


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_may_hold_what_its_bounds_let_it_hold_as_its_pod_may(unit):
    text, pod = unit.read_text(), (ROOT / "compose" / "kubernetes" / f"{unit.stem.removeprefix('handoff-')}.yaml").read_text()
    most = int(re.search(r"^MemoryMax=(\d+)M$", text, re.M)[1])
    assert most << 20 >= most_bytes(service_of(unit)) + (64 << 20)
    assert f"limits: {{memory: {most}Mi}}" in pod
    assert re.search(r"^TasksMax=64$", text, re.M)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_is_shut_in(unit):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)], capture_output=True, text=True)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure[1]) <= MAX_EXPOSURE, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_its_secrets_are_files_of_what_it_uses(unit):
    text, config = unit.read_text(), (ROOT / "docs" / "CONFIG.md").read_text()
    used = {name for name, users in re.findall(r"^## (HANDOFF_\w+).*?- Used by: ([^\n]+)", config, re.M | re.S)
            if users == "all" or service_of(unit) in users}
    files = re.findall(r"^Environment=(HANDOFF_\w+)_FILE=%d/(\w+)$", text, re.M)
    loaded = re.findall(rf"^LoadCredential=(\w+):/etc/handoff/{service_of(unit)}/\1$", text, re.M)
    assert {name for name, _ in files} == used & SECRETS
    assert [credential for _, credential in files] == loaded and len(loaded) == text.count("LoadCredential=")

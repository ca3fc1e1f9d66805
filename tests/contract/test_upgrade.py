"""docs/how-to/upgrade.md: what its commands name is there, for each way of running Handoff, and stands in the order of its table; compose/roll
leaves no moment without an instance. Run on containers by make images-check, on units by make deb-check."""

import os
import re
import subprocess

import pytest
import yaml
from deployed import COMPOSE, CONFIG, ROOT, SERVICES

HOW_TO = ROOT / "docs" / "how-to"
PAGE = (HOW_TO / "upgrade.md").read_text()
ORDER = re.findall(r"^\| [1-4] \| (\w+), ", PAGE, re.M)
UNITS = {path.name for path in (COMPOSE / "systemd").glob("*.service")}


def section(heading):
    return re.search(rf"^## {heading}\n(.*?)(?=^## )", PAGE, re.M | re.S)[1]


def in_order(named):
    """Each twice in a row counts once: there, and back."""
    assert len(ORDER) == len(SERVICES) and named == [*ORDER, *ORDER[::-1]]


def test_with_compose_each_service_has_its_turn():
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    text = section("With compose")
    in_order(" ".join(re.findall(r"^compose/roll (.+)$", text, re.M)).split())
    for line in re.findall(r"^ *docker compose -f compose/compose.yaml (.*)$", text.replace("\\\n", ""), re.M):
        words = [word for word in line.split() if word in services or word == "$service"]
        assert words, line
    variables = re.findall(r"^(HANDOFF_\w+)=", text, re.M) + re.findall(r"(HANDOFF_VERSION)=", text)
    assert len(set(variables)) == len(SERVICES) + 1
    assert all(f"${{{name}:-" in (COMPOSE / "compose.yaml").read_text() for name in variables)
    assert {f"HANDOFF_{name.upper()}_INSTANCES" for name in SERVICES} < set(variables)


def test_on_kubernetes_each_deployment_has_its_turn():
    text = section("On Kubernetes")
    set_to = re.findall(r"set image deployment/([\w-]+) ([\w-]+)=registry\.example/(handoff/(\w+)):(0\.\d\.0) &&$", text, re.M)
    in_order([service for *_, service, _ in set_to])
    assert [version for *_, version in set_to] == ["0.2.0"] * 4 + ["0.1.0"] * 4
    for deployment, container, image, service, _ in set_to:
        document = next(d for d in yaml.safe_load_all((COMPOSE / "kubernetes" / f"{deployment}.yaml").read_text()) if d["kind"] == "Deployment")
        [there] = document["spec"]["template"]["spec"]["containers"]
        assert (document["metadata"]["name"], there["name"], there["image"]) == (deployment, container, image)
        assert document["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0} and document["spec"]["minReadySeconds"] == 5
    assert re.findall(r"rollout status deployment/([\w-]+) ", text) == [deployment for deployment, *_ in set_to]


def test_with_systemd_each_unit_has_its_turn():
    replaced = re.findall(r"^replace (handoff-[a-z-]+?)(-2)? (\d+)(?: &&)?$", section("With systemd"), re.M)
    assert [(unit.removeprefix("handoff-").replace("-", "_"), second) for unit, second, _ in replaced] == [
        (service, second) for service in ORDER for second in ("", "-2")]
    assert {f"{unit}.service" for unit, *_ in replaced} == UNITS
    ports = dict(reversed(pair.split()) for pair in re.search(r"^## HANDOFF_ADMIN_LISTEN\n.*?- Default: ([^\n]+)", CONFIG, re.M | re.S)[1]
                 .replace("`127.0.0.1:", "").replace("`", "").split(", "))
    seconds = dict(re.findall(r"^second ([a-z-]+) HANDOFF_ADMIN_LISTEN=127\.0\.0\.1:(\d+)", (HOW_TO / "scale-out.md").read_text(), re.M))
    for unit, second, port in replaced:
        name = unit.removeprefix("handoff-")
        assert port == (seconds[name] if second else ports[name.replace("-", "_")]), unit


def test_each_version_says_what_cannot_go_back():
    versions = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1:]
    assert versions and [part.partition("\n")[0] for part in versions if "\n### Going back\n\n- " not in part] == []


# compose/roll

ENGINE = """#!/bin/sh
# Containers are lines of a file. Of new ones it makes $MOST, and those that $BROKEN matches are never ready.
set -eu
echo "$*" >> said
case "$1 ${2-}" in
"compose ps") cat there ;;
"compose up") for id in $(seq "$MOST"); do echo "new$id"; done >> there ;;
exec*) case $2 in $BROKEN) exit 1 ;; esac ;;
rm*) grep -vx "$2" there > left || true; mv left there ;;
esac
"""


@pytest.fixture
def roll(tmp_path):
    """Two old containers, and compose/roll beside an engine that says what it is told."""
    (tmp_path / "docker").write_text(ENGINE)
    (tmp_path / "sleep").write_text("#!/bin/sh\necho sleep >> said\n")
    for tool in ("docker", "sleep"):
        (tmp_path / tool).chmod(0o755)
    (tmp_path / "roll").write_text((COMPOSE / "roll").read_text())
    (tmp_path / "there").write_text("old1\nold2\n")

    def run(most=2, broken="none"):
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HANDOFF_ROLL_SECONDS": "2", "MOST": str(most), "BROKEN": broken}
        done = subprocess.run(["sh", tmp_path / "roll", "ws_fanout"], env=env, capture_output=True, text=True)
        return done.returncode, (tmp_path / "said").read_text().splitlines(), (tmp_path / "there").read_text().split(), done.stderr
    return run


def test_roll_begins_the_new_ones_before_it_ends_the_old_ones(roll):
    code, said, there, _ = roll()
    assert (code, there) == (0, ["new1", "new2"])
    assert said[1] == "compose up -d --no-deps --no-recreate --scale ws_fanout=4 ws_fanout"
    assert said[3:] == ["exec new1 /usr/lib/handoff/ws_fanout --is-ready", "exec new2 /usr/lib/handoff/ws_fanout --is-ready",
                        "sleep", "stop -t 15 old1", "rm old1", "stop -t 15 old2", "rm old2"]


@pytest.mark.parametrize("trouble", [{"broken": "new2"}, {"most": 1}, {"most": 0}], ids=str)
def test_roll_keeps_the_old_ones_when_a_new_one_is_missing(roll, trouble):
    code, said, there, error = roll(**trouble)
    assert (code, there) == (1, ["old1", "old2"]) and not [line for line in said if re.match("(stop|rm) .*old", line)]
    assert error.endswith("error: ws_fanout: not as many new ones are ready as there are old ones, which go on\nhint: above are their last records\n")


def test_roll_is_sound_and_says_how_it_is_used():
    subprocess.run(["shellcheck", COMPOSE / "roll"], check=True)
    done = subprocess.run(["compose/roll"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: compose/roll SERVICE …\n")

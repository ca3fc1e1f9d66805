"""The Debian package on a fresh system, which is booted: docs/how-to/deploy-systemd.md is followed to the letter, and then the services are
reloaded, killed, stopped, taken through a reboot, and purged. `make deb-check`; needs root, and gets Debian's packages.

The tests go on where the one before left off."""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess

import pytest
from machine import MAX_INSTALL, Machine, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "build" / "deb"
HOW_TO = ROOT / "docs" / "how-to"
# Admin ports, in the order of the how-to; each ends before those behind it.
SERVICES = {"session_api": 9100, "ws_fanout": 9102, "state_engine": 9101, "audit_writer": 9103}
API = "http://127.0.0.1:8080"
MAX_EXPOSURE = 2.0  # as tests/contract/test_systemd.py


def unit_of(service):
    return "handoff-" + service.replace("_", "-")


def blocks(page, info, heading=""):
    """Those of a page, or of what is below that heading alone."""
    text = (HOW_TO / page).read_text().partition(f"\n{heading}\n")[2] if heading else (HOW_TO / page).read_text()
    return re.findall(rf"^```{info}\n(.*?)^```$", text.partition("\n##")[0] if heading else text, re.M | re.S)


_, INSTALL, *STEPS = blocks("deploy-systemd.md", "sh")  # the first one is `make deb`
ONCE, ROTATE = blocks("rotate.md", "sh", "### By `systemctl reload`")
[SECOND] = blocks("scale-out.md", "sh", "### Two on one machine")
CHECK, UPGRADE, REPLACE, TURNS = blocks("upgrade.md", "sh", "## With systemd")


@pytest.fixture(scope="module")
def package():
    [found] = [path for path in PACKAGES.glob("handoff_*.deb")]
    return found


@pytest.fixture(scope="module")
def machine():
    machine = Machine()
    try:
        machine.make()
        yield machine
    finally:
        machine.remove()


@pytest.fixture(scope="module")
def installed(machine, package):
    """The package in a bare Debian, with what it depends on and no more."""
    shutil.copy(package, machine.root / "root")
    package_line, servers_line = INSTALL.splitlines()
    assert package.name in package_line
    machine.shell("apt-get update", limit=MAX_INSTALL)
    machine.shell(package_line, limit=MAX_INSTALL)
    return servers_line


@pytest.fixture(scope="module")
def deployed(machine, installed):
    machine.shell(installed, limit=MAX_INSTALL)
    # Booted it has no network. What watches starts when the page has said how: one has session_api's admin port before, one ends.
    [watching] = [line for step in STEPS for line in step.splitlines() if line.startswith("apt-get install prometheus")]
    machine.shell(f"{watching}; systemctl disable {watching.removeprefix('apt-get install ')}", limit=MAX_INSTALL)
    machine.boot()
    [settings] = blocks("deploy-systemd.md", "env")
    (machine.root / "etc/handoff/handoff.env").write_text(settings)
    return machine.shell("".join(STEPS))


@pytest.fixture(scope="module")
def phone(machine, deployed):
    return (machine.root / "root/token").read_text().strip()


@pytest.fixture(scope="module")
def session(machine, phone):
    status, made = machine.http("POST", f"{API}/sessions", phone, {"name": "Here", "type": "test", "data": {"n": 0}})
    assert status == 201
    return f"{API}/sessions/{made['id']}"


def patch(machine, session, token, n):
    return machine.http("PATCH", session, token, {"data": {"n": n}}, "application/merge-patch+json")


def is_ready(machine, service):
    return machine.http("GET", f"http://127.0.0.1:{SERVICES[service]}/ready")[0] == 200


def wait_ready(machine, *services):
    for service in services or SERVICES:
        wait_until(lambda: is_ready(machine, service), f"{service} is ready")


def test_lintian_has_nothing_to_say(package):
    done = subprocess.run(["lintian", "--fail-on", "error,warning", *PACKAGES.glob("*.changes")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_with_what_it_depends_on_alone(machine, installed):
    version = machine.shell("dpkg-query -W -f '${Version}' handoff")
    assert machine.shell("handoff --version") == f"handoff {version}\n"
    assert machine.shell("handoff --help").startswith("usage: handoff ")
    for service in SERVICES:
        assert machine.shell(f"/usr/lib/handoff/{service} --version") == f"{service} {version}\n"
        assert "HANDOFF_AMQP_URL" in machine.shell(f"/usr/lib/handoff/{service} --help")
        assert "HANDOFF_LOG_LEVEL=info" in machine.shell(f"/usr/lib/handoff/{service} --check-config", HANDOFF_JWT_SECRET=64 * "x")
    assert machine.shell("find /etc/systemd -name 'handoff-*'") == "", "none is enabled"


def test_its_manual_and_its_completion_are_there(machine, installed):
    machine.shell("apt-get install man-db bash-completion", limit=MAX_INSTALL)
    page = machine.shell("MANWIDTH=100 man -P cat handoff")
    assert "dead-letters replay" in page and page.count("\n") > 100
    said = machine.shell("""
set +u; . /usr/share/bash-completion/bash_completion; __load_completion handoff
COMP_WORDS=(handoff tok) COMP_CWORD=1 COMP_LINE='handoff tok' COMP_POINT=11
$(complete -p handoff | grep -o -- '-F [a-z_]*' | cut -c 4-) handoff tok handoff
echo "${COMPREPLY[@]}" """)
    assert said.split() == ["token"]


def test_the_how_to_ends_with_a_session(machine, deployed):
    assert deployed.count("active (running)") == len(SERVICES)
    assert deployed.count("rabbitmq.rights") == len(SERVICES) + 1 and not re.search(r"^failed", deployed, re.M)
    assert '"version":1' in deployed and '"name":"Hello"' in deployed
    wait_ready(machine)


@contextlib.contextmanager
def events_of(machine, session, token_file):
    """What ws_fanout tells of it."""
    id = session.rpartition("/")[2]
    watching = machine.start(f"exec handoff tail --url ws://127.0.0.1:8081 --token-file {token_file} --since 0 --json {id}")
    try:
        yield (json.loads(line) for line in watching.stdout)
    finally:
        watching.terminate()
        watching.wait()


def test_systemd_warns_of_nothing(machine, deployed):
    """Of units, that is, and of drop-ins as the how-to makes them."""
    said = machine.shell("journalctl --no-pager -o cat -p warning _PID=1")
    assert [line for line in said.splitlines() if "handoff-" in line] == []


def test_prometheus_reaches_all(machine, deployed):
    """Each service, each server, and the machine; a proxy there is none."""
    asked = ". /usr/share/doc/handoff/runbooks/systemd.sh; ask"
    wait_until(lambda: len(re.findall("=> 1 @", machine.shell(f"{asked} up", check=False))) == len(SERVICES) + 5, "all are up")
    assert machine.shell(f"{asked} 'up{{job!=\"proxy\"}} == 0'").strip() == ""
    assert "127.0.0.1:9093" in machine.shell("curl -sf http://localhost:9090/api/v1/alertmanagers")
    assert "page" in machine.shell("amtool --alertmanager.url=http://localhost:9093 config routes test severity=page")


def looks():
    """What runbooks have one look at, each line once; `ask` and `logs` are tests/e2e/test_monitoring.py's."""
    pages = [path.read_text() for path in sorted((HOW_TO.parent / "runbooks").glob("Handoff*.md"))]
    lines = {line for page in pages for block in re.findall(r"^```sh run\n(.*?)^```$", page, re.M | re.S) for line in block.splitlines()}
    return sorted(line for line in lines if not line.startswith(("ask ", "logs ")))


def test_who_runs_it_may_look_at_what_runbooks_look_at(machine, deployed):
    said = {line: machine.shell(f". /usr/share/doc/handoff/runbooks/systemd.sh\n{line} 2>&1\necho well", check=False) for line in looks()}
    assert len(said) > 10
    assert not {line: text for line, text in said.items() if not text.endswith("well\n") or "NOPERM" in text}


def test_a_change_arrives_everywhere(machine, session, phone):
    with events_of(machine, session, "token") as told:
        status, answer = patch(machine, session, phone, 1)
        assert (status, answer["version"]) == (200, 2)
        assert next(event for event in told if event.get("version") == 2)
    wait_until(lambda: trail(machine, session, phone) == [1, 2], "the trail")


def test_a_guest_comes_by_a_code(machine, session, phone):
    """Which takes the key of session tokens, at both ends."""
    status, made = machine.http("POST", f"{session}/handoff-codes", phone, {"role": "editor"})
    assert status == 201
    status, taken = machine.http("POST", f"{API}/handoff", body={"code": made["code"]})
    assert (status, taken["role"]) == (200, "editor")
    (machine.root / "root/guest").write_text(taken["token"])
    with events_of(machine, session, "guest") as told:
        assert next(told)["version"] == 1
    assert not [record for record in machine.log("handoff-session-api") if record["event"] == "session_token_key_exposed"]


def trail(machine, session, token):
    _, answer = machine.http("GET", f"{session}/history?limit=100", token)
    return sorted({item["version"] for item in answer["items"] if item.get("version")})


@pytest.mark.parametrize("service", SERVICES)
def test_it_is_shut_in(machine, deployed, service):
    said = machine.shell(f"systemd-analyze security --no-pager {unit_of(service)} || true")
    assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1]) <= MAX_EXPOSURE
    [pid] = machine.properties(unit_of(service), "MainPID")
    status = dict(line.split(":\t", 1) for line in machine.shell(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    assert "0" not in status["Uid"].split() and set(status["CapEff"] + status["CapBnd"] + status["CapAmb"]) == {"0"}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    names = re.findall(r"^LoadCredential=([\w.]+):", machine.shell(f"systemctl cat {unit_of(service)}"), re.M)
    found = machine.shell(f"nsenter --target {pid} --mount ls /run/credentials/{unit_of(service)}.service").split()
    assert names and found == sorted(names)
    for path in (f"/etc/handoff/{service}/amqp_url", "/root/token"):
        assert "denied" in machine.shell(f"setpriv --reuid {status['Uid'].split()[0]} --clear-groups cat {path} 2>&1 || true")


def test_a_reload_takes_a_new_secret_beside_the_old_one(machine, session, phone):
    machine.shell(ONCE)
    wait_ready(machine)
    assert patch(machine, session, phone, 2)[0] == 200
    pids = {name: machine.properties(unit_of(name), "MainPID") for name in ("session_api", "ws_fanout")}
    machine.shell(ROTATE)
    for name in pids:
        wait_until(lambda: machine.log(unit_of(name))[-1]["event"] == "reloaded", f"{name} has reloaded")
    fresh = machine.shell("handoff token new --sub alice --device laptop --secret-file /etc/handoff/rotated/jwt_secret").strip()
    assert patch(machine, session, phone, 3)[0] == patch(machine, session, fresh, 4)[0] == 200
    machine.shell(": > jwt_secret_previous; systemctl reload handoff-session-api handoff-ws-fanout", folder="/etc/handoff/rotated")
    wait_until(lambda: patch(machine, session, phone, 5)[0] == 401, "the old secret does not count any more")
    assert patch(machine, session, fresh, 5)[0] == 200
    assert pids == {name: machine.properties(unit_of(name), "MainPID") for name in pids}, "none was restarted"
    (machine.root / "root/token").write_text(fresh)


@pytest.fixture
def token(machine, deployed):
    return (machine.root / "root/token").read_text().strip()


@pytest.mark.parametrize("service", SERVICES)
def test_who_is_killed_comes_back(machine, session, token, service):
    [before, count] = machine.properties(unit_of(service), "MainPID", "NRestarts")
    machine.shell(f"kill -KILL {before}")
    wait_until(lambda: machine.properties(unit_of(service), "NRestarts", "ActiveState") == [str(int(count) + 1), "active"], "a restart")
    wait_ready(machine, service)
    assert machine.properties(unit_of(service), "MainPID") != [before]
    assert patch(machine, session, token, service)[0] == 200


@pytest.mark.parametrize("service", ["state_engine", "audit_writer"])
def test_a_restart_refuses_nobody(machine, session, token, service):
    """Changes wait for the next engine, events for the next audit_writer."""
    restart = machine.start(f"systemctl restart {unit_of(service)}")
    answers = []
    while len(answers) < 5 or restart.poll() is None and len(answers) < 30:
        answers.append(patch(machine, session, token, f"{service} {len(answers)}"))
    assert restart.wait() == 0 and {status for status, _ in answers} == {200}
    last = answers[-1][1]["version"]
    wait_ready(machine)
    wait_until(lambda: trail(machine, session, token)[-1] == last, "the trail has the last")
    _, deltas = machine.http("GET", f"{session}/deltas?since=0&limit=100", token)
    assert [item["version"] for item in deltas["items"]] == list(range(1, last + 1))


def test_a_stop_finishes_what_is_in_hand(machine, session, token):
    # Stopped by a signal: systemd would not start it before who is ordered after it has ended.
    machine.shell("systemctl kill -s STOP handoff-state-engine")
    asking = machine.start(f"curl -s -o /dev/null -w '%{{http_code}}' -X PATCH -H 'Content-Type: application/merge-patch+json' "
                           f"-H \"Authorization: Bearer {token}\" -d '{{\"data\":{{\"n\":\"held\"}}}}' {session}")
    wait_until(lambda: "handoff_commands_in_flight 1" in machine.shell("curl -s http://127.0.0.1:9100/metrics"), "it waits for the engine")
    machine.shell("systemctl stop --no-block handoff-session-api")
    wait_until(lambda: machine.properties("handoff-session-api", "ActiveState") == ["deactivating"], "it ends")
    machine.shell("systemctl kill -s CONT handoff-state-engine")
    assert asking.communicate()[0] == "200"
    wait_until(lambda: machine.properties("handoff-session-api", "ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"],
               "it has ended by itself")
    machine.shell("systemctl start handoff-session-api")
    wait_ready(machine)
    assert machine.http("GET", session, token)[1]["data"] == {"n": "held"}


def test_a_reboot_keeps_all_and_ends_in_order(machine, session, token):
    _, before = machine.http("GET", session, token)
    machine.power_off()
    ended = ended_in_order(machine.root)
    machine.boot()
    assert set(ended) == {*map(unit_of, SERVICES), "rabbitmq-server", "redis-server", "postgresql"}
    assert max(map(ended.index, ("handoff-session-api", "handoff-ws-fanout"))) < ended.index("handoff-state-engine") < ended.index(
        "handoff-audit-writer") < min(map(ended.index, ("rabbitmq-server", "redis-server", "postgresql")))
    wait_ready(machine)
    _, after = machine.http("GET", session, token)
    assert after["version"] == before["version"] and after["data"] == before["data"]
    assert patch(machine, session, token, "again")[0] == 200


def ended_in_order(root):
    """The units that ended with the machine: systemd's own records, of the last boot."""
    lines = subprocess.run(["journalctl", "-D", root / "var/log/journal", "-b", "-o", "json", "--no-pager", "_PID=1"], capture_output=True,
                           text=True, check=True).stdout.splitlines()
    records = [json.loads(line) for line in lines]
    stopped = [r["UNIT"].removesuffix(".service") for r in records if r.get("JOB_TYPE") == "stop" and r.get("JOB_RESULT") == "done"]
    begin = max(n for n, r in enumerate(stopped) if r == "multi-user.target") if "multi-user.target" in stopped else 0
    return [unit for unit in stopped[begin:] if unit.startswith("handoff-") or unit in ("rabbitmq-server", "redis-server", "postgresql")]


def test_two_of_each_are_upgraded_one_after_another(machine, token, session, package):
    """By the same package under the name of the next one. Without a proxy the other instance is asked at its own port."""
    shutil.copy(package, machine.root / "root/handoff_0.2.0_amd64.deb")
    assert machine.shell(CHECK).count("HANDOFF_LOG_FORMAT=json") == len(SERVICES)
    machine.shell(SECOND)
    second = session.replace(":8080/", ":8180/")
    assert patch(machine, second, token, "by the second")[0] == 200
    machine.shell(UPGRADE.replace("apt-get install ", "apt-get install --reinstall "), limit=MAX_INSTALL)
    units = [f"{unit_of(service)}{n}" for service in SERVICES for n in ("", "-2")]
    before = {unit: machine.properties(unit, "MainPID") for unit in units}
    said = machine.shell(REPLACE + TURNS)
    assert said.count("handoff_build_info{") == len(units)
    assert not [unit for unit in units if machine.properties(unit, "MainPID") == before[unit]]
    for address in (session, second):
        assert patch(machine, address, token, "after it")[0] == 200
    seconds = " ".join(unit for unit in units if unit.endswith("-2"))
    machine.shell(f"systemctl disable --now {seconds}; rm -r /etc/systemd/system/handoff-*-2.service* /root/new /root/handoff_0.2.0_amd64.deb")
    machine.shell("systemctl daemon-reload")


SYSTEMD = """. /usr/share/doc/handoff/runbooks/systemd.sh
stop() { systemctl stop "$(_unit "$1")"; }
"""


def test_queues_become_quorum_queues_and_classic_ones_again(machine, token, session):
    letters, *steps = blocks("queue-type.md", "sh")
    assert "MESSAGE ID" in machine.shell(SYSTEMD + letters)
    kept = machine.shell("cat /etc/handoff/handoff.env")
    types = "rabbitmqctl -q -p handoff list_queues name type | awk '/^(state_engine|audit_writer)/ {print $2}'"
    for kind in ("quorum", "classic"):
        stop, delete, start, _ = steps
        setting = f"echo HANDOFF_QUEUE_TYPE={kind} >> /etc/handoff/handoff.env\n"
        machine.shell(SYSTEMD + stop)
        machine.shell(SYSTEMD + delete, check=kind == "quorum")
        if kind == "classic":
            assert machine.shell(types).split() == ["quorum"] * 4, "as the page has it"
            machine.shell(SYSTEMD + delete.replace(" --if-empty", ""))
        machine.shell(SYSTEMD + setting + start)
        wait_ready(machine)
        assert machine.shell(types).split() == [kind] * 4
        assert patch(machine, session, token, kind)[0] == 200
    (machine.root / "etc/handoff/handoff.env").write_text(kept)


def test_installed_again_it_restarts_nobody(machine, deployed, package):
    """As an upgrade: that is the operator's, one after another."""
    before = [machine.properties(unit_of(name), "MainPID", "ActiveState") for name in SERVICES]
    settings = machine.shell("cat /etc/handoff/handoff.env")
    machine.shell(f"apt-get install --reinstall ./{package.name}", limit=MAX_INSTALL)
    assert [machine.properties(unit_of(name), "MainPID", "ActiveState") for name in SERVICES] == before
    assert machine.shell("cat /etc/handoff/handoff.env") == settings


def test_purged_it_leaves_nothing(machine, deployed):
    machine.shell("apt-get purge handoff", limit=MAX_INSTALL)
    assert machine.shell("systemctl list-units --all --no-legend 'handoff-*'; pgrep -f ^/usr/lib/handoff || true") == ""
    # What the how-to itself had made stays its own.
    machine.shell("rm -r /etc/systemd/system/handoff-*.service.d; rm /root/handoff_*.deb")
    left = machine.shell("find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp \\) -prune -o -name '*handoff*' -print "
                         "| grep -v -e ^/var/lib/rabbitmq -e ^/var/log || true")
    assert left == ""
    assert machine.shell("dpkg-query -W handoff 2>&1 || true").startswith("dpkg-query: no packages found")

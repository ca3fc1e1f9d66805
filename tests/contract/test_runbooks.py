"""docs/runbooks: each page has what somebody needs at three in the morning, in the same order; what it names exists, for each way of
running Handoff; and no page has anybody import what everybody knows. What its commands say: tests/e2e/test_monitoring.py."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = {path.stem: path.read_text() for path in sorted(RUNBOOKS.glob("Handoff*.md"))}
ALERTS = {rule["alert"]: rule for group in yaml.safe_load((ROOT / "compose" / "prometheus" / "alerts.yml").read_text())["groups"]
          for rule in group["rules"]}
SHELLS = ["compose.sh", "kubernetes.sh", "systemd.sh"]
HEADINGS = ["What it means", "How bad it is", "How to look", "What to do", "When it is over", "Whom it concerns"]
OPERATIONS = ROOT / "docs" / "operations"
SERVICES = {p.parent.name for p in (ROOT / "services").glob("*/main.c")}


def lines(page):
    """Its commands: those in blocks, and those in the text."""
    return [line for block in re.findall(r"^```sh(?: run)?\n(.*?)^```$", PAGES[page], re.M | re.S) for line in block.splitlines()] + re.findall(
        r"`((?:ask|logs|redis|sql|broker|handoff|state|start|restart)(?: [^`]*)?)`", PAGES[page])


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_all_there_is_to_say(page):
    assert PAGES[page].startswith(f"# {page}\n\nSeverity: {ALERTS[page]['labels']['severity']}.\n\n## What it means\n\n")
    assert re.findall("^## (.*)$", PAGES[page], re.M) == HEADINGS
    steps = re.findall(r"^(\d)\. ", PAGES[page].partition("## What to do\n")[2], re.M)
    assert steps == [str(n + 1) for n in range(len(steps))] and steps
    assert "\n```sh run\n" in PAGES[page]
    assert "(README.md#where-to-run-these)" in PAGES[page]


def test_the_index_has_each_with_its_severity():
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| .+ \|$", (RUNBOOKS / "README.md").read_text(), re.M)
    assert rows == [(alert, alert, rule["labels"]["severity"]) for alert, rule in ALERTS.items()]


def words_of(shell):
    """The commands that it makes, or says to be there."""
    text = (RUNBOOKS / shell).read_text()
    return set(re.findall(r"^([a-z]\w*)\(\)", text, re.M)) | set(re.findall("^# ([a-z]+): the command of that name", text, re.M))


def test_the_commands_are_there_for_each_way_of_running():
    subprocess.run(["shellcheck", *(RUNBOOKS / shell for shell in SHELLS)], check=True)
    index = (RUNBOOKS / "README.md").read_text()
    for shell in SHELLS:
        assert words_of(shell) == {"ask", "logs", "redis", "sql", "broker", "handoff", "state", "start", "restart"}
        assert f"runbooks/{shell}`" in index
    for page in PAGES:
        assert {line.split()[0] for line in lines(page)} <= words_of("systemd.sh"), page


def test_services_events_and_metrics_that_commands_name_exist():
    metrics = set(re.findall(r"`(handoff_\w+)`", (OPERATIONS / "metrics.md").read_text()))
    events = set(re.findall(r"`(\w+)`", (OPERATIONS / "log-events.md").read_text())) | {"ACCESS_REFUSED"}
    n = 0
    for page in PAGES:
        for line in lines(page):
            words = line.split()
            assert words[0] not in ("logs", "start", "restart") or words[1] in SERVICES, line
            assert words[0] != "logs" or set(words[2:]) <= events, line
            assert {re.sub("_bucket$", "", m) for m in re.findall(r"\bhandoff_\w+", line)} <= metrics, line
            n += 1
    assert n > 100


def test_compose_has_what_its_shell_names(tmp_path):
    text = (RUNBOOKS / "compose.sh").read_text()
    services = yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text())["services"]
    assert {"prometheus", "redis", "postgresql", "rabbitmq"} <= set(services)
    assert set(re.findall(r"_compose exec -T (?:-e .*?\)\" |--user \w+ )?(\w+) ", text)) == {"prometheus", "redis", "postgresql", "rabbitmq"}
    subprocess.run([ROOT / "compose" / "make-secrets", tmp_path / "secrets"], check=True, capture_output=True)
    made = {path.name for path in (tmp_path / "secrets").iterdir()}
    assert {"redis_admin"} <= set(re.findall(r"compose/secrets/(\w+)", text)) <= made
    assert set(re.findall(r"_compose run --rm -T (\w+) ", text)) == {"handoff"} <= set(services)


def run_with(tmp_path, shell, line, tool, **env):
    """What the line calls, with a tool in the place of the real one that says what it is called with."""
    (tmp_path / tool).write_text('#!/bin/sh\nprintf "%s|" "${0##*/}" "$@"\n')
    (tmp_path / tool).chmod(0o755)
    done = subprocess.run(["bash", "-euc", f". {RUNBOOKS / shell}; {line}"], cwd=tmp_path, capture_output=True, text=True, check=True,
                          env={"PATH": f"{tmp_path}:/usr/bin:/bin", **env})
    return done.stdout.strip().rstrip("|").split("|")


def test_compose_s_commands_reach_its_containers(tmp_path):
    (tmp_path / "compose" / "secrets").mkdir(parents=True)
    (tmp_path / "compose" / "secrets" / "redis_admin").write_text("word")
    compose = ["docker", "compose", "-f", "compose/compose.yaml"]
    for line, called in (("ask 'up == 0'", ["exec", "-T", "prometheus", "promtool", "query", "instant", "http://localhost:9090", "up == 0"]),
                         ("redis INFO memory", ["exec", "-T", "-e", "REDISCLI_AUTH=word", "redis", "redis-cli", "--user", "admin", "INFO", "memory"]),
                         ("sql 'select 1'", ["exec", "-T", "postgresql", "psql", "-X", "-U", "postgres", "-d", "handoff", "-c", "select 1"]),
                         ("broker rabbitmqctl -q status", ["exec", "-T", "--user", "rabbitmq", "rabbitmq", "rabbitmqctl", "-q", "status"]),
                         ("logs session_api", ["logs", "--no-log-prefix", "--since", "15m", "session_api"]),
                         ("handoff sessions list", ["run", "--rm", "-T", "handoff", "sessions", "list"]),
                         ("restart ws_fanout", ["restart", "ws_fanout"])):
        assert run_with(tmp_path, "compose.sh", line, "docker") == compose + called
    assert run_with(tmp_path, "compose.sh", "logs session_api nowhere", "docker") == [""]


def test_kubernetes_commands_reach_its_pods(tmp_path):
    urls = {"HANDOFF_AMQP_URL": "a", "HANDOFF_REDIS_URL": "r", "HANDOFF_DATABASE_URL": "d"}
    kubectl = ["kubectl", "-n", "handoff"]
    for line, called in (("logs state_engine", ["logs", "-l", "app.kubernetes.io/name=state-engine", "--tail=-1", "--since=15m"]),
                         ("broker rabbitmqctl -q status", ["exec", "rabbit-0", "--", "rabbitmqctl", "-q", "status"]),
                         ("restart ws_fanout", ["rollout", "restart", "deployment/ws-fanout"]),
                         ("start audit_writer", ["scale", "deployment/audit-writer", "--replicas=2"])):
        assert run_with(tmp_path, "kubernetes.sh", line, "kubectl", RABBITMQ_POD="rabbit-0", **urls) == kubectl + called


# What everybody knows

DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_no_page_has_anybody_import_passwords_that_everybody_knows():
    """A template by its place, and, by its name alone, where the page does not say that its passwords are to be replaced."""
    templates = [path for path in (ROOT / "compose").rglob("*") if path.is_file() and path.name != "make-secrets"
                 and re.search("change[ -]me", path.read_text(errors="replace"))]
    assert {path.name for path in templates} >= {"definitions.json", "roles.sql", "users.acl"}
    wrong = []
    for document in DOCUMENTS:
        text = document.read_text()
        for command in re.findall(r"(?:import_definitions|psql [^`\n|]*?-f|ACL LOAD|aclfile) +(\S*?(?:definitions\.json|roles\.sql|users\.acl))", text):
            if command.startswith(("compose/", "/usr/share/")) or not re.search(r"change( |\[- \])me", text):
                wrong.append((str(document.relative_to(ROOT)), command))
    assert not wrong


def test_rights_that_a_page_gives_back_are_those_of_the_template():
    users = json.loads((ROOT / "compose" / "rabbitmq" / "definitions.json").read_text())["permissions"]
    expected = {user["user"]: (user["configure"], user["write"], user["read"]) for user in users}
    given = [match for text in PAGES.values() for match in re.findall(r"set_permissions -p handoff (\w+) '(.*?)' '(.*?)' '(.*?)'", text)]
    assert len(given) >= 2 and all(expected[user] == tuple(rights) for user, *rights in given)

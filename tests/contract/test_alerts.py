"""compose/prometheus and compose/alertmanager: each alert has its cases, for each of its parts, and its page; each metric that the
documents say to alert on is in one; what asks the instances is there for each way of running them."""

import copy
import json
import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "compose" / "prometheus"
GROUPS = yaml.safe_load((RULES / "alerts.yml").read_text())
ALERTS = {rule["alert"]: rule for group in GROUPS["groups"] for rule in group["rules"]}
CASES = {case["name"]: case for path in sorted((RULES / "tests").glob("*.yml")) for case in yaml.safe_load(path.read_text())["tests"]}
CONFIGS = ["prometheus.yml", "prometheus.systemd.yml", "prometheus.kubernetes.yml"]
JOBS = {"session_api", "state_engine", "ws_fanout", "audit_writer", "rabbitmq", "rabbitmq_alarms", "redis", "postgresql", "node"}


def parts(expr):
    """What stands between its `or`s that are in no brackets."""
    found, depth = [""], 0
    for token in re.findall(r'"(?:\\.|[^"])*"|\bor\b|.', expr, re.S):
        depth += (token in "({[") - (token in ")}]")
        if token == "or" and depth == 0:
            found.append("")
        else:
            found[-1] += token
    return [part.strip() for part in found]


def metrics(expr):
    """The series that it asks for."""
    bare = re.sub(r'"(?:\\.|[^"])*"', '""', re.sub(r"\b(by|on|without|ignoring) *\([^)]*\)", "", expr))
    return set(re.findall(r"\b(?:handoff|rabbitmq|redis|pg|node|haproxy)_\w+|\bup\b", bare))


def name_of(alert, what, number):
    """As its case is called: "X fires", and where X has several parts "X fires (2)"."""
    return f"{alert} {what}" + (f" ({number})" if len(parts(ALERTS[alert]["expr"])) > 1 else "")


def all_parts():
    return [(alert, number, part) for alert, rule in ALERTS.items() for number, part in enumerate(parts(rule["expr"]), 1)]


def test_alerts_fire_when_they_should():
    subprocess.run(["promtool", "check", "rules", RULES / "alerts.yml"], check=True)
    subprocess.run(["promtool", "test", "rules", *sorted((RULES / "tests").glob("*.yml"))], check=True)


def test_each_part_of_an_alert_has_its_cases():
    """That which is silent has the series that the part asks for: it is silent since they are well."""
    assert set(CASES) == {name_of(alert, what, number) for alert, number, _ in all_parts() for what in ("fires", "is silent")}
    for alert, number, part in all_parts():
        series = {re.match(r"\w+", given["series"])[0] for given in CASES[name_of(alert, "is silent", number)]["input_series"]}
        assert metrics(part) <= series, (alert, number)


def test_each_part_fires_by_itself(tmp_path):
    """With the others taken away."""
    several = [found for found in all_parts() if len(parts(ALERTS[found[0]]["expr"])) > 1]
    for number in {found[1] for found in several}:
        of_this = {alert: part for alert, n, part in several if n == number}
        groups = copy.deepcopy(GROUPS)
        for group in groups["groups"]:
            group["rules"] = [{**rule, "expr": of_this[rule["alert"]]} for rule in group["rules"] if rule["alert"] in of_this]
        (tmp_path / "rules.yml").write_text(yaml.safe_dump(groups))
        cases = [CASES[name_of(alert, what, number)] for alert in of_this for what in ("fires", "is silent")]
        (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": cases}))
        subprocess.run(["promtool", "test", "rules", tmp_path / "tests.yml"], check=True)
    assert len(several) > 20


def rows(page):
    """Those of its tables."""
    return [row for row in (ROOT / "docs" / "operations" / page).read_text().splitlines() if row.startswith("| `")]


def test_what_the_documents_say_to_alert_on_has_an_alert():
    told = [row for row in rows("metrics.md") if re.search(r"\balert\b", row.split(" | ", 1)[1])] + rows("audit-trail.md")
    asked = set().union(*(metrics(rule["expr"]) for rule in ALERTS.values()))
    missing = [row for row in told if not set(re.findall(r"`(handoff_\w+)`", row.split(" | ")[0])) & asked]
    assert len(told) > 15 and not missing
    for outcome in re.findall(r"`(\w+)` \([^)]*alert on any\)", "\n".join(told)):
        assert any(f'"{outcome}"' in rule["expr"] for rule in ALERTS.values()), outcome


def test_metrics_that_alerts_ask_for_are_those_of_the_services():
    known = set(re.findall(r"`(handoff_\w+)`", "\n".join(rows("metrics.md"))))
    for alert, rule in ALERTS.items():
        wrong = {m for m in metrics(rule["expr"]) if m.startswith("handoff_") and re.sub("_bucket$", "", m) not in known}
        assert not wrong, alert


# Who asks

def known_to_debian(config, targets=()):
    """With addresses instead of what asks Kubernetes: Debian's Prometheus is built without that. Its form: test_pods_are_found."""
    for job in config["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None):
            job["static_configs"] = list(targets)
    return {**config, "rule_files": [str(RULES / name) for name in config["rule_files"]]}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_asks_all_that_alerts_go_by(name, tmp_path):
    config = yaml.safe_load((RULES / name).read_text())
    (tmp_path / name).write_text(yaml.safe_dump(known_to_debian(copy.deepcopy(config))))
    subprocess.run(["promtool", "check", "config", tmp_path / name], check=True)
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    for job in config["scrape_configs"]:
        jobs |= {rule["replacement"] for rule in job.get("relabel_configs", []) if rule.get("target_label") == "job"}
    assert JOBS <= jobs
    assert "proxy" in jobs or name == "prometheus.kubernetes.yml"  # whose Ingress is another's, with metrics of its own
    [broker] = [job for job in config["scrape_configs"] if job["job_name"] == "rabbitmq"]
    assert broker["metrics_path"] == "/metrics/per-object"


def pods():
    """What Kubernetes tells of each pod of the manifests, one port after another; and of one that has ended."""
    for path in sorted((ROOT / "compose" / "kubernetes").glob("*-*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] != "Deployment":
                continue
            template = document["spec"]["template"]
            label = template["metadata"]["labels"]["app.kubernetes.io/name"]
            for port in template["spec"]["containers"][0]["ports"]:
                for phase in ("Running", "Succeeded"):
                    yield {"targets": [f"10.0.0.1:{port['containerPort']}"], "labels": {
                        "__meta_kubernetes_pod_label_app_kubernetes_io_name": label, "__meta_kubernetes_pod_container_port_name": port["name"],
                        "__meta_kubernetes_pod_phase": phase, "__meta_kubernetes_pod_name": f"{label}-1"}}


def test_pods_are_found_and_known_by_their_services_names(tmp_path):
    config = yaml.safe_load((RULES / "prometheus.kubernetes.yml").read_text())
    [found] = config["scrape_configs"][0]["kubernetes_sd_configs"]
    assert found == {"role": "pod", "namespaces": {"names": ["handoff"]}}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(known_to_debian(config, pods())))
    done = subprocess.run(["promtool", "check", "service-discovery", "--timeout=1s", tmp_path / "prometheus.yml", "handoff"], check=True,
                          capture_output=True, text=True)
    asked = [target["labels"] for target in json.loads(done.stdout) if target["labels"]]
    assert {labels["job"]: (labels["instance"], labels["__address__"]) for labels in asked} == {
        name: (f"{name.replace('_', '-')}-1", "10.0.0.1:9100") for name in ("session_api", "state_engine", "ws_fanout", "audit_writer")}
    assert len(asked) == 4


@pytest.mark.parametrize("name", CONFIGS)
def test_where_runbooks_are_is_said_once_and_stays_out_of_the_alerts_labels(name):
    config = yaml.safe_load((RULES / name).read_text())
    assert re.fullmatch(r"https?://\S+[^/]", config["global"]["external_labels"]["runbooks"])
    assert {"action": "labeldrop", "regex": "runbooks"} in config["alerting"]["alert_relabel_configs"]


def test_each_alert_has_a_page_and_says_where():
    pages = {path.stem for path in (ROOT / "docs" / "runbooks").glob("Handoff*.md")}
    assert pages == set(ALERTS)
    for alert, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == "{{ $externalLabels.runbooks }}/" + alert
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_jobs_that_alerts_name_are_asked():
    named = {job for rule in ALERTS.values() for names in re.findall(r'job=~?"([^"]+)"', rule["expr"]) for job in names.split("|")}
    assert named <= {*JOBS, "proxy"} and {"rabbitmq", "redis", "postgresql", "node"} <= named


# Who is told

def told(labels):
    """The receiver of an alert with these labels."""
    done = subprocess.run(["amtool", "config", "routes", "test", f"--config.file={ROOT / 'compose' / 'alertmanager' / 'alertmanager.yml'}",
                           *(f"{name}={value}" for name, value in labels.items())], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_alerts_go_where_their_severity_says():
    subprocess.run(["amtool", "check-config", ROOT / "compose" / "alertmanager" / "alertmanager.yml"], check=True)
    assert [told({"alertname": "X", "severity": severity}) for severity in ("page", "ticket")] == ["page", "ticket"]


def test_receivers_as_the_how_to_shows_them_are_taken(tmp_path):
    [block] = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "how-to" / "alerts.md").read_text(), re.M | re.S)
    kept, _, own = (ROOT / "compose" / "alertmanager" / "alertmanager.yml").read_text().partition("receivers:\n")
    assert [receiver["name"] for receiver in yaml.safe_load(block)["receivers"]] == re.findall(r"- name: (\w+)", own)
    (tmp_path / "alertmanager.yml").write_text(kept + block)
    subprocess.run(["amtool", "check-config", tmp_path / "alertmanager.yml"], check=True)


def test_rules_of_silence_name_alerts_that_there_are():
    rules = yaml.safe_load((ROOT / "compose" / "alertmanager" / "alertmanager.yml").read_text())["inhibit_rules"]
    names = re.findall(r"Handoff\w+", str(rules))
    assert len(rules) >= 5 and set(names) <= set(ALERTS)

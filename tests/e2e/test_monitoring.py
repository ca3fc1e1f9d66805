"""Dashboards and alerts against a real Prometheus that asks the services, under load: no panel is empty, no alert fires."""

import contextlib
import itertools
import json
import pathlib
import secrets
import socket
import subprocess
import threading
import uuid

import pytest
import requests
import yaml

from clocks import clock_of
from harness import MAX_WAIT, free_ports, metric, new_user, samples, wait_until
from process import spawn, stop
from ws import set_to, subscribed

COMPOSE = pathlib.Path(__file__).resolve().parent.parent.parent / "compose"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((COMPOSE / "grafana" / "dashboards").glob("*.json"))}


@contextlib.contextmanager
def broker_metrics(suite):
    """Of the plugin rabbitmq_prometheus, turned on in the running broker; its port."""
    port = free_ports(1)[0]
    suite.servers.eval_in_broker(
        "application:load(rabbitmq_prometheus), "
        f'application:set_env(rabbitmq_prometheus, tcp_config, [{{port, {port}}}, {{ip, "127.0.0.1"}}]), '
        "{ok, _} = application:ensure_all_started(rabbitmq_prometheus).")
    yield port
    suite.servers.eval_in_broker("application:stop(rabbitmq_prometheus).")


class Prometheus:
    def __init__(self, folder, targets):
        self.port, self.folder = free_ports(1)[0], folder
        jobs = [{"job_name": job, "static_configs": [{"targets": addresses}],
                 "metrics_path": "/metrics/per-object" if job == "rabbitmq" else "/metrics"} for job, addresses in targets.items()]
        (folder / "prometheus.yml").write_text(yaml.safe_dump({
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(COMPOSE / "prometheus" / "alerts.yml")], "scrape_configs": jobs}))

    def __enter__(self):
        self.process = spawn(["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
                              f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"], log=self.folder / "prometheus.log")
        wait_until(self.is_ready, what="Prometheus to start")
        return self

    def __exit__(self, *_):
        stop(self.process)

    def is_ready(self):
        with contextlib.suppress(requests.exceptions.ConnectionError):
            return requests.get(f"http://127.0.0.1:{self.port}/-/ready", timeout=MAX_WAIT).status_code == 200

    def ask(self, expression):
        """The values that it has now."""
        answer = requests.get(f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": expression}, timeout=MAX_WAIT).json()
        assert answer["status"] == "success", (expression, answer)
        return [float(result["value"][1]) for result in answer["data"]["result"]]


class Load(threading.Thread):
    """Something of everything that users do, again and again; a viewer's and a stranger's refusals among it."""

    def __init__(self, suite):
        super().__init__()
        self.suite, self.error, self.ended = suite, None, threading.Event()

    def run(self):
        try:
            for n in itertools.count():
                if self.ended.is_set():
                    return
                self.turn(n)
        except BaseException as error:
            self.error = error

    def turn(self, n):
        phone = self.suite.device(new_user(), "phone")
        session = phone.create({"n": 0})
        with subscribed(phone, session["id"]) as watcher:
            for i in range(20):
                assert phone.json_patch(session["id"], set_to("n", i + 1)).status_code == 200
                watcher.recv_until("state_delta")
            watcher.send(type="patch", id="c", sessionId=session["id"], operations=set_to("n", -n))
            watcher.recv_until("ack")
            assert self.suite.device(new_user(), "other").get(f"/sessions/{session['id']}").status_code == 404
        table = phone.create({}, status="pending", clock=clock_of(ids=("white", "black"), totalTimeMs=1000))
        assert phone.status(table["id"], "active").status_code == 200
        phone.get("/sessions")
        phone.get(f"/sessions/{session['id']}/history")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()
        if self.error:
            raise self.error


@pytest.fixture
def watched(suite, tmp_path):
    targets = {}
    for service in suite.services.values():
        targets.setdefault(service.name, []).append(f"127.0.0.1:{service.admin_port}")
    with broker_metrics(suite) as port, Prometheus(tmp_path, {**targets, "rabbitmq": [f"127.0.0.1:{port}"]}) as prometheus:
        with Load(suite) as load:
            yield prometheus, load


def queries():
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield f"{dashboard['title']}: {panel['title']}", target["expr"].replace("$__rate_interval", "10s")


def test_no_panel_is_empty_under_load_and_no_alert_fires(watched):
    prometheus, load = watched
    empty = list(queries())
    assert len(empty) > 60

    def all_filled():
        assert load.error is None, load.error
        empty[:] = [(name, query) for name, query in empty if not any(value == value for value in prometheus.ask(query))]
        return not empty
    try:
        wait_until(all_filled, what="panels with values")
    except AssertionError:
        pytest.fail(f"empty: {empty}")
    assert prometheus.ask("ALERTS{alertstate='firing'}") == []
    assert len(prometheus.ask("up == 1")) == len(load.suite.services) + 1


def ask_oddly(suite):
    """As a stranger may: everything that a label could be made of is new each time."""
    word = secrets.token_hex(8)
    for method, path in ((word, "/sessions"), ("GET", f"/{word}"), ("PATCH", f"/sessions/{word}"), ("GET", f"/sessions?{word}=1"),
                         ("GET", f"/sessions/{uuid.uuid4()}"), ("DELETE", f"/sessions/{uuid.uuid4()}/devices/{word}")):
        for headers in ({}, {"Authorization": f"Bearer {word}", "X-Request-Id": word, "X-Device-Id": word, "Host": word,
                             "User-Agent": word, "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}):
            requests.request(method, suite.api_url + path, headers=headers, timeout=MAX_WAIT)
    url = suite.ws_url.replace("ws:", "http:").removesuffix("/ws")
    requests.get(f"{url}/{word}", headers={"X-Request-Id": word}, timeout=MAX_WAIT)
    device = suite.device(new_user(), word)
    session = device.create({}, type=f"t{word}", name=word)
    with device.connect(session["id"]) as watcher:
        watcher.recv_until("state_sync")
        watcher.send(type=word, id=word)
        watcher.recv_until("error")
        watcher.send(type="patch", id=word, sessionId=session["id"], operations=[{"op": word}])
        watcher.recv_until("error")


def test_metrics_are_named_well_and_nobody_can_make_them_more(suite):
    ask_oddly(suite)
    before = {name: samples(service).keys() for name, service in suite.services.items()}
    for _ in range(3):
        ask_oddly(suite)
    for name, service in suite.services.items():
        text = requests.get(f"http://127.0.0.1:{service.admin_port}/metrics", timeout=MAX_WAIT).text
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, ""), name
        assert samples(service).keys() == before[name], name


def test_open_connections_are_told_beside_how_many_there_may_be(own_api):
    api = own_api(HANDOFF_MAX_CONNECTIONS="77").services["session_api"]
    assert metric(api, "handoff_connections_max") == 77 and metric(api, "handoff_http_connections") == 0
    with socket.create_connection(("127.0.0.1", api.port)):
        wait_until(lambda: metric(api, "handoff_http_connections") == 1, what="the connection")
    wait_until(lambda: metric(api, "handoff_http_connections") == 0, what="its end")


def test_health_is_the_first_row_and_the_files_are_as_they_are_made():
    assert set(DASHBOARDS) == {"overview", "session_api", "state_engine", "ws_fanout", "audit_writer"}
    assert all(dashboard["panels"][0]["title"] == "Health" for dashboard in DASHBOARDS.values())
    subprocess.run([COMPOSE.parent / "tools" / "dashboards", "--check"], check=True)


def test_alerts_fire_when_they_should_and_each_has_its_page():
    rules = COMPOSE / "prometheus"
    subprocess.run(["promtool", "check", "rules", rules / "alerts.yml"], check=True)
    subprocess.run(["promtool", "test", "rules", rules / "alerts_test.yml"], check=True)
    subprocess.run(["promtool", "check", "config", "--syntax-only", rules / "prometheus.yml"], check=True)
    alerts = [rule for group in yaml.safe_load((rules / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    pages = {path.stem for path in (COMPOSE.parent / "docs" / "runbooks").glob("Handoff*.md")}
    assert pages == {alert["alert"] for alert in alerts}
    tests = {test["name"] for test in yaml.safe_load((rules / "alerts_test.yml").read_text())["tests"]}
    for alert in alerts:
        assert alert["annotations"]["runbook"] == f"docs/runbooks/{alert['alert']}.md"
        assert {f"{alert['alert']} fires", f"{alert['alert']} is silent"} <= tests

"""Dashboards and alerts against a real Prometheus that asks the services, under load: no panel is empty, no alert fires."""

import contextlib
import itertools
import json
import pathlib
import subprocess
import threading

import pytest
import requests
import yaml

from clocks import clock_of
from harness import MAX_WAIT, free_ports, new_user, wait_until
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
        with subscribed(phone, session["id"]) as socket:
            for i in range(20):
                assert phone.json_patch(session["id"], set_to("n", i + 1)).status_code == 200
                socket.recv_until("state_delta")
            socket.send(type="patch", id="c", sessionId=session["id"], operations=set_to("n", -n))
            socket.recv_until("ack")
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


def test_health_is_the_first_row_and_the_files_are_as_they_are_made():
    assert set(DASHBOARDS) == {"overview", "session_api", "state_engine", "ws_fanout", "audit_writer", "servers"}
    assert all(dashboard["panels"][0]["title"] == "Health" for dashboard in DASHBOARDS.values())
    subprocess.run([COMPOSE.parent / "tools" / "dashboards", "--check"], check=True)

"""Dashboards and alerts against a real Prometheus that asks the services, under load: no panel is empty, no alert fires."""

import concurrent.futures
import contextlib
import functools
import http.server
import itertools
import json
import os
import pathlib
import queue
import re
import secrets
import shlex
import socket
import subprocess
import threading
import uuid

import pytest
import requests
import yaml

from clocks import clock_of
from harness import BUILD, MAX_WAIT, free_ports, metric, new_user, samples, wait_until
from process import spawn, stop
from proxy import Proxy
from ws import set_to, subscribed

COMPOSE = pathlib.Path(__file__).resolve().parent.parent.parent / "compose"
RUNBOOKS = COMPOSE.parent / "docs" / "runbooks"
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


def exporters(suite):
    """As compose.yaml runs them, with the rights that they have there: job → its program's arguments and environment."""
    [rule] = re.findall(r"^user exporter on >\S+ (.*)$", (COMPOSE / "redis" / "users.acl").read_text(), re.M)
    for node in suite.servers.redis.nodes:
        assert node.ask("ACL", "SETUSER", "exporter", "reset", "on", ">exporters", *rule.split()) == "OK"
        assert node.ask("CONFIG", "SET", "maxmemory", "1gb") == "OK"
    roles = (COMPOSE / "postgresql" / "roles.sql").read_text()
    role = roles[roles.index("CREATE ROLE exporter"):].replace("change me: exporter", "exporters")
    suite.query(f"do $$ begin drop role if exists exporter; {role} end $$; select 1")
    disks = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]["node_exporter"]["command"][1:]
    postgresql = suite.servers.postgresql.url.rpartition("@")[2]
    return {"redis": (["prometheus-redis-exporter", "-config-command=-"],
                      {"REDIS_ADDR": f"redis://127.0.0.1:{suite.servers.redis.nodes[0].port}", "REDIS_USER": "exporter", "REDIS_PASSWORD": "exporters"}),
            "postgresql": (["prometheus-postgres-exporter"],
                           {"DATA_SOURCE_URI": f"{postgresql}?sslmode=disable", "DATA_SOURCE_USER": "exporter", "DATA_SOURCE_PASS": "exporters"}),
            "node": (["prometheus-node-exporter", *disks], {})}


@contextlib.contextmanager
def exported(suite, folder):
    """job → its exporter's port."""
    with contextlib.ExitStack() as started:
        ports = {}
        for job, (command, environment) in exporters(suite).items():
            ports[job] = free_ports(1)[0]
            process = spawn([*command, f"--web.listen-address=127.0.0.1:{ports[job]}"], log=folder / f"{job}.log", env={**os.environ, **environment})
            started.callback(stop, process)
        yield ports


@contextlib.contextmanager
def before(suite, folder):
    """The proxy of the documentation, which tells of itself; one request by it."""
    rest, streams, both, metrics = free_ports(4)
    proxy = Proxy(folder / "proxy", list(suite.services.values()), rest, streams, both, metrics_port=metrics).start()
    try:
        wait_until(lambda: requests.get(f"http://127.0.0.1:{rest}/sessions", timeout=MAX_WAIT).status_code == 401, what="the proxy's first answer")
        yield proxy
    finally:
        proxy.stop()


def at(targets):
    """compose's configuration, in a hurry, at these addresses: the job's, or else those of the job that its name begins with."""
    config = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": targets.get(job["job_name"]) or targets[job["job_name"].partition("_")[0]]}]
    hurry = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    return {"global": {**config["global"], **hurry}, "rule_files": [str(COMPOSE / "prometheus" / "alerts.yml")],
            "scrape_configs": config["scrape_configs"]}


class Program:
    """Runs while it is asked; ready once it says so."""

    def __init__(self, folder, *command):
        self.url, self.log, self.command = f"http://127.0.0.1:{free_ports(1)[0]}", folder / f"{command[0]}.log", command

    def __enter__(self):
        self.process = spawn([*self.command, f"--web.listen-address={self.url.removeprefix('http://')}"], log=self.log)
        wait_until(self.is_ready, what=f"{self.command[0]} to start")
        return self

    def __exit__(self, *_):
        stop(self.process)

    def is_ready(self):
        with contextlib.suppress(requests.exceptions.ConnectionError):
            return requests.get(f"{self.url}/-/ready", timeout=MAX_WAIT).status_code == 200


class Prometheus(Program):
    def __init__(self, folder, targets):
        super().__init__(folder, "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", "--log.level=warn")
        (folder / "prometheus.yml").write_text(yaml.safe_dump(at(targets)))

    def ask(self, expression):
        """The values that it has now."""
        return [float(result["value"][1]) for result in self.find(expression)]

    def find(self, expression):
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=MAX_WAIT).json()
        assert answer["status"] == "success", (expression, answer)
        return answer["data"]["result"]


# What this load does not move, or only for a moment: what is seldom is in test_counted.py, or where other tests make it happen.
RESTS = set("""
    handoff_audit_barriers_total handoff_audit_dead_letters_total handoff_audit_failures_total handoff_audit_gaps_total
    handoff_audit_gaps_unchecked_total handoff_audit_pending handoff_audit_purged_total handoff_audit_refilled_total handoff_audit_refused
    handoff_audit_two_contents_total handoff_barriers_total handoff_codes_total handoff_cooled_total handoff_cooling_undone_total
    handoff_damaged_sessions_total handoff_dead_instances_total handoff_dead_letters_total handoff_draining handoff_http_answer_bytes
    handoff_http_limits_skipped_total handoff_http_rate_limited_total handoff_jwks_fetched_timestamp_seconds handoff_jwks_fetches_total
    handoff_jwks_keys handoff_jwks_refresh_seconds handoff_log_records_dropped_total handoff_lost_races_total handoff_overdue_rows_total
    handoff_recoveries handoff_recoveries_total handoff_reloads_total handoff_replies_dropped_total handoff_republished_total
    handoff_session_cache_misses_total handoff_spans_total handoff_spans_waiting handoff_tombstones_removed_total handoff_unconfirmed
    handoff_ws_devices_departing handoff_ws_devices_refused_total handoff_ws_dropped_total handoff_ws_gap_fills_total handoff_ws_outbox_bytes
    handoff_ws_rate_limited_total handoff_ws_rebalance_left handoff_ws_rebalanced_total handoff_ws_refused_total handoff_ws_resumes_total""".split())


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


@pytest.fixture(scope="module")
def watched(suite, tmp_path_factory):
    targets, tmp_path = {}, tmp_path_factory.mktemp("watched")
    for service in suite.services.values():
        targets.setdefault(service.name, []).append(f"127.0.0.1:{service.admin_port}")
    with broker_metrics(suite) as broker, exported(suite, tmp_path) as ports, before(suite, tmp_path) as proxy:
        targets.update({job: [f"127.0.0.1:{port}"] for job, port in {**ports, "rabbitmq": broker, "proxy": proxy.ports["metrics"]}.items()})
        with Prometheus(tmp_path, targets) as prometheus, Load(suite) as load:
            yield prometheus, load


def queries():
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield f"{dashboard['title']}: {panel['title']}", target["expr"].replace("$__rate_interval", "10s")


def test_no_panel_is_empty_under_load_and_no_alert_fires(watched):
    prometheus, load = watched
    empty = list(queries())
    assert len(empty) > 110

    def all_filled():
        assert load.error is None, load.error
        empty[:] = [(name, query) for name, query in empty if not any(value == value for value in prometheus.ask(query))]
        return not empty
    try:
        wait_until(all_filled, what="panels with values")
    except AssertionError:
        pytest.fail(f"empty: {empty}")
    firing = [result["metric"] for result in prometheus.find("ALERTS{alertstate='firing'}")]
    # The same RabbitMQ has the queues of suites that have ended, in vhosts of theirs: nobody reads those.
    assert [alert for alert in firing if alert.get("vhost", "handoff") == "handoff"] == []
    assert len(prometheus.ask("up == 1")) == len(load.suite.services) + 6


def told_metrics():
    """Those of docs/operations/metrics.md."""
    text = (COMPOSE.parent / "docs" / "operations" / "metrics.md").read_text()
    rows = re.findall(r"^\| (`handoff_[^|]*) \| (?:counter|gauge|histogram)", text, re.M)
    return {name for names in rows for name in re.findall(r"`(handoff_\w+)`", names)}


def test_what_happens_under_load_is_counted(watched):
    """A panel that shows 0 for ever is not empty either."""
    _, load = watched
    resting = told_metrics() - RESTS

    def all_moved():
        assert load.error is None, load.error
        for service in load.suite.services.values():
            resting.difference_update(re.sub("_count$", "", series.partition("{")[0]) for series, value in samples(service).items() if value)
        return not resting
    try:
        wait_until(all_moved, what="all to be counted")
    except AssertionError:
        pytest.fail(f"0: {sorted(resting)}")


def commands():
    """What runbooks have one look at, each line once."""
    pages = [path.read_text() for path in sorted(RUNBOOKS.glob("Handoff*.md"))]
    blocks = [block for page in pages for block in re.findall(r"^```sh run\n(.*?)^```$", page, re.M | re.S)]
    return sorted({line for block in blocks for line in block.splitlines()})


def run_command(suite, prometheus, line):
    """As on a machine with systemd; but logs are files here."""
    broker, path = suite.servers.rabbitmq, f"{BUILD / 'bin'}:/usr/lib/rabbitmq/bin:{os.environ['PATH']}"
    ours = {name: value for name, value in broker.env().items() if not name.startswith("HANDOFF_")}  # of the tests, unknown to `handoff`
    urls = {"HANDOFF_AMQP_URL": broker.url, "HANDOFF_REDIS_URL": suite.servers.redis.nodes[0].url.replace("://:", "://default:"),
            "HANDOFF_DATABASE_URL": suite.servers.postgresql.url, "PROMETHEUS_URL": prometheus.url}
    script = f'. {RUNBOOKS}/systemd.sh\nlogs() {{ cat {suite.log_folder}/"$1"*.log | sed -n "/${{2:-.}}/p"; }}\n{line}'
    done = subprocess.run(["bash", "-euc", script], env={**ours, **urls, "PATH": path}, capture_output=True, text=True, timeout=MAX_WAIT)
    return f"{line}: {done.stdout}{done.stderr}" if done.returncode else None


def test_what_runbooks_have_one_look_at_can_be_looked_at(suite, watched):
    """Of `ask` and `logs`, which are many, one each by the shell; what the others ask is asked here."""
    prometheus, _ = watched
    asked = [shlex.split(line)[1] for line in commands() if line.startswith("ask ")]
    for expression in asked:
        prometheus.ask(expression)
    metrics = {name for expression in asked for name in re.findall(r"\b(?:handoff|rabbitmq|redis|pg|node|haproxy)_\w+(?=[{\[) +]|$)", expression)}
    with_a_setting_only = ("handoff_jwks_", "handoff_spans_")
    unknown = [name for name in metrics if not prometheus.ask(f"count({name})") and not name.startswith(with_a_setting_only)]
    assert len(metrics) > 30 and not unknown
    lines = [next(line for line in commands() if line.startswith(word)) for word in ("ask ", "logs ")]
    lines += [line for line in commands() if not line.startswith(("ask ", "logs "))]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        failed = [said for said in pool.map(functools.partial(run_command, suite, prometheus), lines) if said]
    assert len(lines) > 15 and not failed


def test_every_metric_is_on_a_dashboard():
    names, shown = told_metrics(), "\n".join(query for _, query in queries())
    assert len(names) > 60
    assert not [name for name in names if not re.search(rf"\b{name}(_bucket)?\b", shown)]


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
    assert set(DASHBOARDS) == {"overview", "session_api", "state_engine", "ws_fanout", "audit_writer", "servers"}
    assert all(dashboard["panels"][0]["title"] == "Health" for dashboard in DASHBOARDS.values())
    subprocess.run([COMPOSE.parent / "tools" / "dashboards", "--check"], check=True)


class Alertmanager(Program):
    """With compose's own configuration."""

    def __init__(self, folder, config=COMPOSE / "alertmanager" / "alertmanager.yml"):
        super().__init__(folder, "prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder}/alertmanager",
                         "--cluster.listen-address=")

    def tell(self, *alerts):
        assert requests.post(f"{self.url}/api/v2/alerts", json=[{"labels": labels} for labels in alerts], timeout=MAX_WAIT).status_code == 200

    def silenced(self):
        """The alerts that another one stands for, and the others."""
        alerts = requests.get(f"{self.url}/api/v2/alerts", timeout=MAX_WAIT).json()
        names = ([], [])
        for alert in alerts:
            names[not alert["status"]["inhibitedBy"]].append(alert["labels"]["alertname"])
        return sorted(names[0]), sorted(names[1])


CAUSES = [
    ([{"alertname": "HandoffServerDown", "job": "redis"}],
     [{"alertname": "HandoffDependencyDown", "job": "state_engine", "dependency": "redis"}, {"alertname": "HandoffErrorsHigh"},
      {"alertname": "HandoffLatencyHigh"}, {"alertname": "HandoffCommandsUnanswered", "job": "ws_fanout"}],
     [{"alertname": "HandoffDependencyDown", "job": "audit_writer", "dependency": "postgresql"}, {"alertname": "HandoffSessionRebuilt"},
      {"alertname": "HandoffStorageFull"}]),
    ([{"alertname": "HandoffNoInstance", "job": "state_engine"}],
     [{"alertname": "HandoffServiceDown", "job": "state_engine"}, {"alertname": "HandoffQueueUnread", "queue": "state_engine.commands"}],
     [{"alertname": "HandoffServiceDown", "job": "ws_fanout"}, {"alertname": "HandoffQueueUnread", "queue": "audit_writer.events"}]),
    ([{"alertname": "HandoffDependencyDown", "job": "session_api", "dependency": "identity_provider"}], [], [{"alertname": "HandoffErrorsHigh"}]),
    ([{"alertname": "HandoffBrokerAlarm"}], [{"alertname": "HandoffConfirmsSlow"}, {"alertname": "HandoffAuditLag"}],
     [{"alertname": "HandoffAuditBroken"}, {"alertname": "HandoffAuditRefused"}]),
]


@pytest.mark.parametrize("causes, follow, stay", CAUSES, ids=lambda value: value[0]["alertname"] if value else "nothing")
def test_a_cause_stands_for_what_follows_from_it(tmp_path, causes, follow, stay):
    def names(alerts):
        return sorted(alert["alertname"] for alert in alerts)
    with Alertmanager(tmp_path) as alertmanager:
        alertmanager.tell(*causes, *follow, *stay)
        wait_until(lambda: alertmanager.silenced() == (names(follow), names([*causes, *stay])),
                   what=f"{names(follow)} silenced; {alertmanager.silenced()}")


class Pager(http.server.BaseHTTPRequestHandler):
    """A receiver that keeps what it is told."""

    def do_POST(self):
        self.server.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def pager():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pager) as server:
        server.told = queue.Queue()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_lines_of_the_how_to_of_alerts(tmp_path, pager):
    """compose's own configuration, but that its receivers are somebody, and that nothing waits to be told together."""
    config = yaml.safe_load((COMPOSE / "alertmanager" / "alertmanager.yml").read_text())
    config["route"]["group_wait"] = "0s"
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:{pager.server_port}/{receiver['name']}"}]
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
    page = (COMPOSE.parent / "docs" / "how-to" / "alerts.md").read_text()
    lines = [block for block in re.findall(r"^```sh\n(.*?)^```$", page, re.M | re.S) if block.startswith("am ")]
    assert len(lines) == 4
    with Alertmanager(tmp_path, tmp_path / "alertmanager.yml") as alertmanager:
        [systemds] = re.findall(r"^am\(\) { amtool .*}$", page, re.M)
        script = systemds.replace("http://localhost:9093", alertmanager.url) + "\n" + "".join(lines) + "am silence query\n"
        done = subprocess.run(["bash", "-euc", script], env={**os.environ, "USER": "tester", "HOME": str(tmp_path)}, capture_output=True,
                              text=True, timeout=MAX_WAIT)
        assert done.returncode == 0, (done.stdout, done.stderr)
        told = pager.told.get(timeout=MAX_WAIT)
    assert "\npage\n" in done.stdout, "where it goes"
    assert done.stdout.count("HandoffTest") == 1 and done.stdout.count("new disk") == 1, done.stdout
    assert (told["receiver"], told["commonLabels"]["alertname"]) == ("page", "HandoffTest")
    assert told["commonAnnotations"]["summary"] == "a test: nothing is wrong"

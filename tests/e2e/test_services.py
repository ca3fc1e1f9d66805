"""What every service has: options, configuration, health, metrics and a log (contract section 8)."""

import json
import os
import pathlib
import re
import subprocess

import pytest
import requests

from harness import BUILD, MAX_WAIT, NAMES, ROOT, SECRET, Suite, new_user, wait_until
from process import accepts, free_ports
from rest import MISSING_ID, MOMENT, path_of

TELLS_SECRETS = ["session_api", "ws_fanout"]  # who needs a key
PASSWORD = "pass-word-of-the-test"


def run(name, *arguments, **env):
    """Runs a service with nothing but these HANDOFF_… and a key; it must end by itself."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HANDOFF_")}
    clean.update({"HANDOFF_JWT_SECRET": SECRET, **env})
    return subprocess.run([BUILD / "bin" / name, *arguments], env=clean, capture_output=True, text=True, timeout=20)


def configured(name, **env):
    """--check-config as {name: (value, source)}."""
    done = run(name, "--check-config", **env)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^(HANDOFF_\w+)=(.*?)\s+\((.+)\)$", done.stdout, re.M)
    return {key: (value, source) for key, value, source in lines}


def documented(name):
    """The names that docs/CONFIG.md says the service uses."""
    text = (ROOT / "docs" / "CONFIG.md").read_text()
    found = re.findall(r"^## (HANDOFF_\w+).*?- Used by: ([^\n]+)", text, re.M | re.S)
    return {key for key, users in found if users == "all" or name in users}


# ---- options and configuration ----

@pytest.mark.parametrize("name", NAMES)
def test_help_names_all_that_can_be_configured(name):
    done = run(name, "--help")
    assert done.returncode == 0 and not done.stderr
    named = set(re.findall(r"^\s+(HANDOFF_[A-Z_]+)", done.stdout, re.M))
    assert named == documented(name) and len(named) > 5


@pytest.mark.parametrize("name", NAMES)
def test_check_config_prints_what_is_in_force_and_where_it_is_from(name):
    values = configured(name, HANDOFF_DRAIN_TIMEOUT="3s", HANDOFF_LOG_LEVEL="debug")
    assert values.keys() == documented(name)
    assert values["HANDOFF_DRAIN_TIMEOUT"] == ("3s", "environment")
    assert values["HANDOFF_LOG_FORMAT"] == ("auto", "default")


@pytest.mark.parametrize("name", NAMES)
def test_secrets_are_never_printed(name):
    env = {"HANDOFF_AMQP_URL": f"amqp://me:{PASSWORD}@127.0.0.1:1/x", "HANDOFF_REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:1/0",
           "HANDOFF_DATABASE_URL": f"postgres://me:{PASSWORD}@127.0.0.1:1/x"}
    for done in (run(name, "--check-config", **env), run(name, "--help", **env),
                 run(name, "--check-config", HANDOFF_DRAIN_TIMEOUT="never", **env),
                 run(name, "--check-config", **{**env, "HANDOFF_AMQP_URL": f"amqps+junk://me:{PASSWORD}@x"}),
                 run(name, "--check-config", **{**env, "HANDOFF_JWT_SECRET": PASSWORD})):
        assert PASSWORD not in done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_whether_it_is_ready_is_asked_without_a_shell(suite, name):
    port = suite.services[name].admin_port
    for listen in (f"127.0.0.1:{port}", f"0.0.0.0:{port}", f"localhost:{port}"):
        done = run(name, "--is-ready", HANDOFF_ADMIN_LISTEN=listen)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    nobody = run(name, "--is-ready", HANDOFF_ADMIN_LISTEN=f"127.0.0.1:{free_ports(1)[0]}")
    assert nobody.returncode == 1 and "Connection refused" in nobody.stderr
    other = run(name, "--is-ready", HANDOFF_ADMIN_LISTEN=f"127.0.0.1:{suite.services['ws_fanout'].port}")
    assert other.returncode == 1 and "Protocol error" in other.stderr


BAD = [
    ("HANDOFF_DRAIN_TIMEOUT", "soon"), ("HANDOFF_DRAIN_TIMEOUT", "-1s"), ("HANDOFF_DRAIN_TIMEOUT", "99999999999999999h"),
    ("HANDOFF_DRAIN_TIMEOUT", "10"), ("HANDOFF_DRAIN_TIMEOUT", "1 s"), ("HANDOFF_LOG_LEVEL", "loud"),
    ("HANDOFF_LOG_FORMAT", "xml"), ("HANDOFF_ADMIN_LISTEN", "nowhere"), ("HANDOFF_ADMIN_LISTEN", "127.0.0.1:99999"),
    ("HANDOFF_AMQP_URL", "http://x"), ("HANDOFF_AMQP_URL", "x"), ("HANDOFF_AMQP_URL", "amqp://a:1,b:99999/v"), ("HANDOFF_QUEUE_TYPE", "stream"),
    ("HANDOFF_INSTANCE", "a b"), ("HANDOFF_INSTANCE", "x" * 65),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key, value", BAD)
def test_a_bad_value_ends_the_start(name, key, value):
    for arguments in ((), ("--check-config",)):
        done = run(name, *arguments, **{key: value})
        assert done.returncode == 2, done
        assert key in done.stderr and "allowed" in done.stderr, done.stderr


@pytest.mark.parametrize("name, key, value", [
    ("session_api", "HANDOFF_MAX_BODY_BYTES", "1"), ("session_api", "HANDOFF_MAX_BODY_BYTES", "9MiB"),
    ("session_api", "HANDOFF_MAX_BODY_BYTES", "lots"), ("session_api", "HANDOFF_MAX_CONNECTIONS", "0"),
    ("session_api", "HANDOFF_MAX_CONNECTIONS", "1e3"), ("session_api", "HANDOFF_JWT_ALGORITHMS", "none"),
    ("session_api", "HANDOFF_JWT_ALGORITHMS", "HS256,none"), ("session_api", "HANDOFF_JWT_ALGORITHMS", "HS384"),
    ("session_api", "HANDOFF_ALLOWED_ORIGINS", "https://x/path"), ("session_api", "HANDOFF_JWT_KEYS", "/nonexistent"),
    ("session_api", "HANDOFF_DATABASE_URL", "mysql://x"), ("state_engine", "HANDOFF_SNAPSHOT_EVERY", "0"),
    ("state_engine", "HANDOFF_REDIS_URL", "127.0.0.1"), ("ws_fanout", "HANDOFF_FANOUT_BINDING", "none"),
    ("audit_writer", "HANDOFF_AUDIT_WAIT", "1h")])
def test_a_bad_value_of_a_services_own(name, key, value):
    more = {"HANDOFF_JWT_ALGORITHMS": "RS256"} if key == "HANDOFF_JWT_KEYS" else {}
    done = run(name, **{**more, key: value})
    assert done.returncode == 2, done
    assert key in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_service_knows_ends_the_start(name):
    done = run(name, HANDOFF_DRAIN_TIMEOT="3s")
    assert done.returncode == 2
    assert "HANDOFF_DRAIN_TIMEOT" in done.stderr and "HANDOFF_DRAIN_TIMEOUT" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_another_service_knows_is_fine(name):
    assert configured(name, HANDOFF_SNAPSHOT_EVERY="10", HANDOFF_AUDIT_WAIT="10ms", HANDOFF_PING_AFTER="30s",
                      HANDOFF_MAX_BODY_BYTES="64KiB", HANDOFF_JWT_ISSUER="x")


@pytest.mark.parametrize("name", NAMES)
def test_what_kubernetes_injects_is_ignored(name):
    assert configured(name, HANDOFF_API_SERVICE_HOST="10.0.0.1", HANDOFF_API_SERVICE_PORT="8080",
                      HANDOFF_API_SERVICE_PORT_HTTP="8080", HANDOFF_API_PORT="tcp://10.0.0.1:8080",
                      HANDOFF_API_PORT_8080_TCP="tcp://10.0.0.1:8080", HANDOFF_API_PORT_8080_TCP_ADDR="10.0.0.1",
                      HANDOFF_API_PORT_8080_TCP_PORT="8080", HANDOFF_API_PORT_8080_TCP_PROTO="tcp")


@pytest.mark.parametrize("value, milliseconds", [("30s", 30000), ("1500ms", 1500), ("2m", 120000), ("1h", 3600000)])
def test_durations_have_units(value, milliseconds):
    shown = configured("session_api", HANDOFF_DRAIN_TIMEOUT=value)["HANDOFF_DRAIN_TIMEOUT"][0]
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", shown).groups()
    assert int(number) * {"ms": 1, "s": 1000, "m": 60000, "h": 3600000}[unit] == milliseconds


@pytest.mark.parametrize("value", ["65536", "64KiB", "64kiB"])
def test_sizes_have_units(value):
    done = run("session_api", "--check-config", HANDOFF_MAX_BODY_BYTES=value)
    assert done.returncode in (0, 2)
    assert done.returncode == 2 or "HANDOFF_MAX_BODY_BYTES=64KiB" in done.stdout


@pytest.mark.parametrize("name", TELLS_SECRETS)
@pytest.mark.parametrize("env", [
    {"HANDOFF_JWT_SECRET": ""}, {"HANDOFF_JWT_SECRET": "x" * 31}, {"HANDOFF_JWT_ALGORITHMS": "RS256"},
    {"HANDOFF_JWT_ALGORITHMS": "HS256,ES256"}, {"HANDOFF_JWT_SECRET": "", "HANDOFF_JWT_SECRET_PREVIOUS": "x" * 40},
    {"HANDOFF_JWT_SECRET_PREVIOUS": "short"}])
def test_without_a_key_for_each_algorithm_it_refuses_to_start(name, env):
    done = run(name, **env)
    assert done.returncode == 2
    assert "HANDOFF_JWT_" in done.stderr


def test_a_weak_public_key_is_refused(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    for key in (rsa.generate_private_key(public_exponent=65537, key_size=1024), ec.generate_private_key(ec.SECP384R1())):
        (tmp_path / "k.pem").write_bytes(key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        done = run("session_api", HANDOFF_JWT_ALGORITHMS="RS256,ES256", HANDOFF_JWT_KEYS=str(tmp_path))
        assert done.returncode == 2 and "k.pem" in done.stderr


def test_secrets_from_files(own_api, tmp_path, user):
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    api = own_api(HANDOFF_JWT_SECRET="", HANDOFF_JWT_SECRET_FILE=str(file))
    assert api.device(user, "phone").get("/sessions").status_code == 200


@pytest.mark.parametrize("env", [{"HANDOFF_JWT_SECRET_FILE": "/nonexistent", "HANDOFF_JWT_SECRET": ""},
                                 {"HANDOFF_JWT_SECRET_FILE": "/dev/null", "HANDOFF_JWT_SECRET": ""},
                                 {"HANDOFF_JWT_SECRET_FILE": "/etc/hostname"}, {"HANDOFF_LOG_LEVEL_FILE": "/etc/hostname"}])
def test_files_that_do_not_do(env):
    done = run("session_api", "--check-config", **env)
    assert done.returncode == 2 and next(iter(env)).removesuffix("_FILE") in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_are_refused(name):
    assert run(name, "--port=80").returncode == 2


# ---- health ----

def admin(suite, name, path):
    return requests.get(f"http://127.0.0.1:{suite.services[name].admin_port}{path}", timeout=MAX_WAIT)


@pytest.mark.parametrize("name", NAMES)
def test_health_and_readiness(suite, name):
    assert (admin(suite, name, "/health").status_code, admin(suite, name, "/health").json()) == (200, {"status": "ok"})
    ready = admin(suite, name, "/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    needed = {"session_api": {"rabbitmq", "redis", "postgresql"}, "state_engine": {"rabbitmq", "redis"},
              "ws_fanout": {"rabbitmq", "redis"}, "audit_writer": {"rabbitmq", "postgresql"}}[name]
    assert needed <= ready.json()["dependencies"].keys()
    assert admin(suite, name, "/nothing").status_code == 404


@pytest.mark.parametrize("name", NAMES)
def test_a_service_waits_for_what_it_needs(servers, tmp_path, name):
    """Nothing is there at its start: it lives, says what is missing, and stops when it is told to."""
    nowhere = Suite(servers, tmp_path, names=[name], HANDOFF_AMQP_URL="amqp://a:b@127.0.0.1:1/x",
                    HANDOFF_REDIS_URL="redis://127.0.0.1:1/0", HANDOFF_DATABASE_URL="postgres://a:b@127.0.0.1:1/x")
    service = nowhere.services[name].start()

    wait_until(lambda: accepts(service.admin_port), what="its admin port")
    ready = admin(nowhere, name, "/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "starting")
    assert not any(d["up"] for d in ready.json()["dependencies"].values())
    assert admin(nowhere, name, "/health").status_code == 200
    assert service.process.poll() is None
    assert nowhere.terminate(name) == 0
    assert any(r["level"] in ("warn", "error") and r.get("hint") for r in nowhere.log_records(name))


# ---- metrics ----

SAMPLE = re.compile(r'^(handoff_[a-z0-9_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)$')


def parse_metrics(text):
    """{family: (type, [(name, labels, value)])}, checked against the text format 0.0.4."""
    families, seen, family = {}, set(), None
    assert text.endswith("\n")
    for line in text.splitlines():
        if match := re.fullmatch(r"# HELP (handoff_[a-z0-9_]+) (.+)", line):
            assert match[1] not in families
            family, families[match[1]] = match[1], (None, [])
        elif match := re.fullmatch(r"# TYPE (handoff_[a-z0-9_]+) (counter|gauge|histogram)", line):
            assert match[1] == family, "TYPE follows HELP"
            families[family] = (match[2], [])
        else:
            match = SAMPLE.match(line)
            assert match, f"no sample: {line}"
            name, labels, value = match.groups()
            assert name.removeprefix(family) in ("", "_bucket", "_sum", "_count"), f"{name} in {family}"
            assert (name, labels) not in seen, f"twice: {line}"
            seen.add((name, labels))
            families[family][1].append((name, labels or "", float(value)))
    return families


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_prometheus_text(suite, phone, name):
    session = phone.create({"a": 1})
    phone.patch(session["id"], [{"op": "replace", "path": "/data/a", "value": 2}])
    phone.get("/no/such/path")
    answer = admin(suite, name, "/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain") and "0.0.4" in answer.headers["Content-Type"]
    families = parse_metrics(answer.text)
    kinds = {kind for kind, _ in families.values()}
    assert {"counter", "gauge"} <= kinds and None not in kinds
    for family, (kind, family_samples) in families.items():
        assert (kind == "counter") == family.endswith("_total"), family
        assert not re.search(r"_(ms|milliseconds|us|kib|mib|kb)(_|$)", family), "base units"
        if kind == "histogram":
            check_histogram(family, family_samples)


def check_histogram(family, family_samples):
    series = {}
    for name, labels, value in family_samples:
        bound = re.search(r'(?:^|,)le="([^"]+)"', labels)
        rest = re.sub(r',?le="[^"]+"', "", labels).strip(",")
        series.setdefault(rest, {}).setdefault(name.removeprefix(family), []).append(
            (float(bound[1]) if bound else None, value))
    for one in series.values():
        bounds, counts = zip(*one["_bucket"])
        assert list(bounds) == sorted(bounds) and bounds[-1] == float("inf")
        assert list(counts) == sorted(counts)
        assert counts[-1] == one["_count"][0][1] and "_sum" in one


@pytest.mark.parametrize("name", NAMES)
def test_no_label_takes_a_value_from_a_client(suite, name):
    device = suite.device(new_user(), "device-of-the-metrics-test")
    session = device.create({"a": 1}, type="metrics-test-type")
    device.get(f"/sessions/{MISSING_ID}")
    device.get("/metrics-test-path")
    device.request("METRICSTEST", "/sessions")
    device.get("/time", headers={"X-Request-Id": "metrics-test-id", "User-Agent": "metrics-test-agent"})
    text = admin(suite, name, "/metrics").text
    for theirs in (session["id"], device.user, device.name, "metrics-test", "METRICSTEST", MISSING_ID):
        assert theirs not in text


def test_metrics_count_what_happens(suite, phone):
    def n_requests():
        texts = [admin(suite, s.known_as, "/metrics").text for s in suite.instances("session_api")]
        return sum(v for text in texts for f, (k, s) in parse_metrics(text).items()
                   if k == "counter" and "request" in f for _, _, v in s)
    before = n_requests()
    for _ in range(5):
        phone.get("/time")
    assert n_requests() >= before + 5


# ---- log ----

MARKER = "data-that-must-not-be-logged"


@pytest.fixture(scope="module")
def talkative(new_realm, tmp_path_factory):
    """A suite that logs all it can, after requests of all kinds; and the phone's token."""
    suite = Suite(new_realm(), tmp_path_factory.mktemp("talkative"), HANDOFF_LOG_LEVEL="debug")
    try:
        suite.start()
        device = suite.device(new_user(), "phone")
        session = device.create({"a": MARKER}, name="name-" + MARKER)
        patch = [{"op": "add", "path": "/data/x", "value": MARKER}]
        device.patch(session["id"], patch)
        device.patch(session["id"], patch, baseVersion=1)
        device.json_patch(session["id"], [{"op": "test", "path": "/data/a", "value": MARKER}, {"op": "remove", "path": "/data/none"}])
        device.merge_patch(session["id"], {"data": MARKER, "nonsense": MARKER})
        device.request("PATCH", path_of(session), data=f'{{"operations":[{MARKER}', headers={"Content-Type": "application/json"})
        device.patch(session["id"], patch, headers={"X-Request-Id": "the-request-to-find", "If-Match": '"9"'})
        device.get("/sessions", headers={"X-Request-Id": 'quote"back\\slash'})
        device.get("/" + "long" * 2000)
        device.get(f"/sessions/{MISSING_ID}?x=%0d%0aFAKE")
        device.get("/sessions", headers={"Authorization": f"Bearer {device.token}x", "X-Request-Id": "forged"})
        with device.connect(session["id"]) as socket:
            socket.recv_until("state_sync")
            socket.send(type="patch", id="1", sessionId=session["id"], operations=[{"op": "add", "path": "/data/y", "value": MARKER}])
            socket.recv_until("ack")
            socket.send(type=MARKER, id="2", sessionId=session["id"], data=MARKER)
            socket.recv_until("error")
        wait_until(lambda: len(suite.events_in_postgresql(session["id"])) == 3, what="the rows")
        yield suite, device, session
    finally:
        suite.stop()


def log_lines(suite, name):
    return (suite.log_folder / f"{name}.log").read_text().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_the_log_is_json_lines(talkative, name):
    suite = talkative[0]
    lines = log_lines(suite, name)
    assert lines
    for line in lines:
        record = json.loads(line)
        assert {"ts", "level", "service", "instance", "event", "msg"} <= record.keys(), record
        assert MOMENT.match(record["ts"]) and record["service"] == name
        assert record["level"] in ("debug", "info", "warn", "error")
        assert len(line) < 16384, "a client's text is bounded"
    assert len({json.loads(line)["instance"] for line in lines}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_log_has_no_token_secret_or_data(talkative, name):
    suite, device, _ = talkative
    text = "\n".join(log_lines(suite, name))
    for secret in (MARKER, device.token, device.token.split(".")[2], SECRET, ":secret@"):
        assert secret not in text


def test_a_request_can_be_found_in_the_log(talkative):
    suite, _, session = talkative
    found = [r for r in suite.log_records("session_api") if r.get("requestId") == "the-request-to-find"]
    assert found and any(r.get("sessionId") == session["id"] for r in found)
    assert [r for r in suite.log_records("session_api") if r.get("requestId") == "forged"]
    assert not any("FAKE" in line and not line.startswith("{") for line in log_lines(suite, "session_api"))


def test_a_log_without_a_terminal_is_json_by_itself(tmp_path):
    log = pathlib.Path(tmp_path / "log")
    with log.open("wb") as f:
        env = {k: v for k, v in os.environ.items() if not k.startswith("HANDOFF_")}
        process = subprocess.Popen([BUILD / "bin" / "state_engine"], stderr=f, env={
            **env, "HANDOFF_ADMIN_LISTEN": "127.0.0.1:0", "HANDOFF_AMQP_URL": "amqp://a:b@127.0.0.1:1/x"})
        try:
            wait_until(lambda: log.stat().st_size > 0, what="a log record")
        finally:
            process.terminate()
            assert process.wait(15) == 0
    assert all(json.loads(line)["service"] == "state_engine" for line in log.read_text().splitlines())

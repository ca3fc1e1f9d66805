"""Handoff, used as it is in compose: through its one origin, with a token from its command's image; and what watches it."""

import pathlib
import subprocess
import sys
import threading
import types

import requests

from composed import PROJECT, containers, inspect, service_of, wait_until
from engine import ROOT, SERVICES, VERSION, CommandError, podman
from images import image_of

sys.path.insert(0, str(ROOT / "tests"))

from harness import Device  # noqa: E402

ORIGIN, WS = "http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws"
PROMETHEUS, ALERTMANAGER = "http://127.0.0.1:9090", "http://127.0.0.1:9093"
USER = "0197a3c5-5d2b-7c1a-9e7f-6a8b9c0d1e2f"
MAX_SEEN = 60  # s: Prometheus asks every ten


def make_token(device):
    """By the image of the command, which has the secret as a file and nothing else."""
    return podman("run", "--rm", "--read-only", "--cap-drop", "all", "--network", "none",
                  "-v", f"{PROJECT}/secrets/jwt_secret:/run/secrets/jwt_secret:ro", image_of("handoff"),
                  "token", "new", "--sub", USER, "--device", device, "--secret-file", "/run/secrets/jwt_secret").strip()


def device(name):
    one = Device(types.SimpleNamespace(api_url=ORIGIN, ws_url=WS), USER, name)
    one.token = make_token(name)
    one.http.headers["Authorization"] = f"Bearer {one.token}"
    return one


def make_session(checks):
    session = device("phone").create({"progress": 1})
    checks.check("a session is made through the origin", session["version"] == 1, session)
    return session


def look_at_session(checks, session):
    """As it was, after all containers were made anew."""
    seen = device("tv").read(session["id"])
    checks.check("the session of before is there", seen == session, seen)


def hand_over(checks):
    """A session by one device, watched by others, through whatever instances the proxy takes them to; its id."""
    phone, tv, session = device("phone"), device("tv"), make_session(checks)
    watching = [tv.connect(session["id"]), device("tablet").connect(session["id"])]
    try:
        for socket in watching:
            socket.recv_until("state_sync")
        answer = phone.patch(session["id"], [{"op": "replace", "path": "/data/progress", "value": 2}], baseVersion=1)
        checks.check("a PATCH is taken", answer.status_code == 200 and answer.json()["version"] == 2, answer.text)
        for n, socket in enumerate(watching, 1):
            frame = socket.recv_until("state_delta")
            seen = (frame["version"], [op["value"] for op in frame["operations"]])
            checks.check(f"WebSocket {n} of {len(watching)} sees it through the proxy", seen == (2, [2]), frame)
    finally:
        for socket in watching:
            socket.close()
    checks.check("the other device reads it", tv.read(session["id"])["data"] == {"progress": 2})
    return session["id"]


def told_of(session):
    items = device("tv").get(f"/sessions/{session}/history").json().get("items", [])
    return {item["type"] for item in items}


def look_at_audit(checks, session):
    """By the route, and in PostgreSQL itself."""
    try:
        wait_until(lambda: {"session_created", "state_delta"} <= told_of(session), "the audit trail", MAX_SEEN)
    except TimeoutError:
        pass
    seen = told_of(session)
    checks.check("the audit trail tells of it", {"session_created", "state_delta"} <= seen, seen)
    [postgresql] = [one for one in containers() if service_of(one) == "postgresql"]
    rows = podman("exec", postgresql["Id"], "psql", "-X", "-A", "-t", "-U", "postgres", "-d", "handoff", "-c",
                  f"SELECT version FROM session_events WHERE session_id = '{session}' AND type = 'state_delta'")
    checks.check("PostgreSQL has its row", rows.split() == ["2"], rows)


def look_at_pages(checks):
    for path in ("/docs/", "/docs/rest", "/docs/errors", "/docs/openapi.yaml", "/docs/schemas/session.json"):
        answer = requests.get(ORIGIN + path, timeout=10)
        checks.check(f"{path} is served", answer.status_code == 200 and answer.content, answer.status_code)
    answer = requests.get(ORIGIN + "/sessions", timeout=10)
    checks.check("without a token: 401", answer.status_code == 401, answer.status_code)


def targets():
    found = requests.get(PROMETHEUS + "/api/v1/targets", timeout=10).json()["data"]["activeTargets"]
    return [(target["labels"]["job"], target["health"], target["lastError"]) for target in found]


def look_at_prometheus(checks, counts):
    jobs = {**{name: counts.get(name, 1) for name in SERVICES}, "rabbitmq": 1, "redis": 1, "node": 1, "proxy": 1}

    def all_up():
        seen = targets()
        return len(seen) == sum(jobs.values()) and all(health == "up" for _, health, _ in seen)
    try:
        wait_until(all_up, "all targets", MAX_SEEN)
    except TimeoutError:
        pass
    seen = targets()
    for job, count in jobs.items():
        health = [(health, error) for name, health, error in seen if name == job]
        checks.check(f"Prometheus: {count} of {job} up", [up for up, _ in health] == ["up"] * count, health)
    for query in ("redis_memory_used_bytes", "node_filesystem_avail_bytes", "rabbitmq_queue_messages_ready",
                  "haproxy_backend_http_requests_total"):
        found = requests.get(PROMETHEUS + "/api/v1/query", {"query": query}, timeout=10).json()["data"]["result"]
        checks.check(f"Prometheus: there is {query}", found)
    groups = requests.get(PROMETHEUS + "/api/v1/rules", timeout=10).json()["data"]["groups"]
    broken = {rule["name"]: rule.get("lastError") for group in groups for rule in group["rules"] if rule["health"] != "ok"}
    checks.check("Prometheus: every rule for an alert works", groups and not broken, broken)
    found = requests.get(PROMETHEUS + "/api/v1/alertmanagers", timeout=10).json()["data"]["activeAlertmanagers"]
    checks.check("Prometheus has its Alertmanager", len(found) == 1, found)
    answer = requests.get(ALERTMANAGER + "/api/v2/status", timeout=10)
    checks.check("Alertmanager answers", answer.status_code == 200, answer.text)


def reaches(container, name, port):
    return subprocess.run(["podman", "exec", container, "timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{name}/{port}"],
                          capture_output=True).returncode == 0


def look_at_strangers(checks):
    """Who is not named may nothing."""
    by_service = {service_of(one): one["Id"] for one in containers()}
    users = podman("exec", by_service["rabbitmq"], "rabbitmqctl", "-q", "list_users")
    checks.check("RabbitMQ has no guest", "session_api" in users and "guest" not in users, users)
    said = podman("exec", by_service["redis"], "redis-cli", "dbsize")
    checks.check("Redis tells a stranger nothing", "NOAUTH" in said, said)
    reached = [f"{name}:{port}" for name, port in (("session_api", 8080), ("ws_fanout", 8081), ("redis", 6379), ("rabbitmq", 5672),
                                                  ("postgresql", 5432), ("prometheus", 9090)) if reaches(by_service["proxy"], name, port)]
    checks.check("the proxy reaches what it asks, and no server", reached == ["session_api:8080", "ws_fanout:8081"], reached)
    writer = next(one["Pid"] for one in containers() if service_of(one) == "audit_writer")
    given = sorted(path.name for path in pathlib.Path(f"/proc/{writer}/root/run/secrets").iterdir())
    own = [f"audit_writer_{what}_url" for what in ("amqp", "database", "redis")]
    checks.check("a service has its own secrets alone", given == own, given)


def look_with_command(checks, project, session):
    """The operator's command as compose runs it: its user reaches all three servers, and sees the session."""
    for words, expected in (("doctor", "--service", "handoff"), "ok"), (("sessions", "events", session), "state_delta"):
        try:
            said, error = project.compose("run", "--rm", "-T", "handoff", *words), ""
        except CommandError as failed:
            said, error = "", failed
        checks.check(f"docker-compose run handoff {words[0]}", expected in said, error or said)


def look_with_doctor(checks, project):
    """The command's own check of each service's environment: does it reach all with its secrets, and may it what it does?"""
    for name in SERVICES:
        service = project.config["services"][name]
        words = [word for key, value in service["environment"].items() for word in ("-e", f"{key}={value}")]
        for secret in service["secrets"]:
            source = secret if isinstance(secret, str) else secret["source"]
            words += ["-v", f"{PROJECT}/secrets/{source}:/run/secrets/{source}:ro"]
        networks = ",".join(f"handoff_{network}" for network in service["networks"])
        done = subprocess.run(["podman", "run", "--rm", "--read-only", "--cap-drop", "all", "--user", service["user"],
                               "--network", networks, *words, image_of("handoff"), "doctor", "--service", name],
                              capture_output=True, text=True)
        checks.check(f"handoff doctor: {name} is well", done.returncode == 0, done.stdout + done.stderr)


class Asking(threading.Thread):
    """Changes a session through the origin, one after another, until it is told to stop."""

    def __init__(self):
        super().__init__(daemon=True)
        self.device, self.answers, self.ended = device("phone"), [], threading.Event()
        self.session = self.device.create({"n": 0})["id"]

    def run(self):
        while not self.ended.wait(0.05):
            n = len(self.answers)
            self.answers.append(self.device.patch(self.session, [{"op": "replace", "path": "/data/n", "value": n}]).status_code)

    def stop(self):
        self.ended.set()
        self.join()
        return self.answers


# docs/how-to/upgrade.md: and back in the opposite order.
ORDER = ("audit_writer", "state_engine", "ws_fanout", "session_api")


def upgrade(checks, project, version):
    """To images of that name, which are the same ones, and back, while somebody asks."""
    for target in (*SERVICES, "handoff"):
        podman("tag", image_of(target), image_of(target).rpartition(":")[0] + f":{version}")
    for name, services in ((version, ORDER), (VERSION, ORDER[::-1])):
        before = {one["Id"] for one in containers()}
        asking = Asking()
        asking.start()
        try:
            project.migrate(name, "up")
            said = project.migrate(name, "status")
            checks.check(f"{name}: handoff migrate", "0001" in said, said)
            project.roll(name, *services)
        finally:
            answers = asking.stop()
        checks.check(f"{name}: no change is refused of {len(answers)}", len(answers) > 20 and set(answers) == {200}, answers)
        for service in services:
            found = [one for one in containers() if service_of(one) == service]
            images = [inspect(one)["ImageName"].rpartition(":")[2] for one in found]
            checks.check(f"{name}: two new containers of {service}", images == [name] * 2 and not before & {one["Id"] for one in found}, images)
    for target in (*SERVICES, "handoff"):
        podman("rmi", image_of(target).rpartition(":")[0] + f":{version}")

"""What the end-to-end tests stand on: real servers started for the run, the four services, and
independent clients (requests, websocket-client, pika, redis, psycopg2, PyJWT)."""

import base64
import copy
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import types
import uuid

import jwt
import pika
import psycopg2
import redis
import requests
import websocket
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "compose" / "local"))

from process import free_ports  # noqa: E402
from proxy import Proxy  # noqa: E402
from servers import DEFINITIONS, PostgreSQL, RabbitMQ, Redis, RedisCluster  # noqa: E402
from services import NAMES, environment, instance_name, make_service  # noqa: E402

# s: nothing that a test waits for takes longer, whatever breaks and however busy the machine is. A wait
# ends as soon as it can.
MAX_WAIT = float(os.environ.get("HANDOFF_TEST_PATIENCE", "30"))
MAX_DRAIN = 20  # s: of the ten that are promised twice as many, for a busy machine
BUILD = ROOT / os.environ.get("HANDOFF_BUILD", "build/gcc")
# Of two ws_fanouts the first binds all, the second each session, so that one run tests both.
BINDINGS = ["session", "all"]
SECRET = "a secret of the tests, and of nothing else: 0123456789"
SESSION_KEY = ec.generate_private_key(ec.SECP256R1())  # of session tokens, for all that run here
FINDING = re.compile(r"ERROR: \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer|DEADLYSIGNAL")


def services_in_redis():
    """What ACL SETUSER takes for each service, of the file that is for use. Not who comes without a name: that is the tests."""
    lines = (ROOT / "compose" / "redis" / "users.acl").read_text().splitlines()
    return [line.split()[1:] for line in lines if not line.startswith("user default ")]


def wait_until(condition, timeout=MAX_WAIT, what="condition"):
    """Polls until condition() is truthy and returns its value; fails clearly otherwise."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.01)


def new_user():
    return str(uuid.uuid4())


def token(user, device=None, seconds=3600, secret=SECRET, algorithm="HS256", **claims):
    payload = {"sub": user, "exp": int(time.time()) + seconds, **claims}
    if device:
        payload["device_id"] = device
    return jwt.encode(payload, secret, algorithm=algorithm)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def thumbprint(key):
    """RFC 7638, of a public key on P-256."""
    numbers = key.public_numbers()
    members = {"crv": "P-256", "kty": "EC", "x": b64(numbers.x.to_bytes(32, "big")),
               "y": b64(numbers.y.to_bytes(32, "big"))}
    return b64(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def session_token(user, session, device="tv", seconds=86400, key=SESSION_KEY, kid=None, **claims):
    """A session token as session_api signs it; a claim that is None is left out."""
    now = int(time.time())
    payload = {"iss": "handoff", "sub": user, "session_id": session, "device_id": device, "iat": now,
               "exp": now + seconds, "jti": str(uuid.uuid4()), **claims}
    return jwt.encode({k: v for k, v in payload.items() if v is not None}, key, algorithm="ES256",
                      headers={"kid": kid or thumbprint(key.public_key())})


def write_keys(path, *keys):
    """A PEM file of private keys, or of public ones."""
    def pem(key):
        if isinstance(key, ec.EllipticCurvePublicKey):
            return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                 serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(b"".join(map(pem, keys)))
    return str(path)


def canonical(value):
    """RFC 8785, independently of Handoff's; for numbers that Python prints as ECMAScript does."""
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda m: m[0].encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(canonical(k) + ":" + canonical(v) for k, v in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float):
        assert value == 0 or 1e-4 <= abs(value) < 1e16, "not for this small printer"
        return str(int(value)) if value.is_integer() else repr(value)
    return json.dumps(value, ensure_ascii=False)


def checksum_of(data):
    return hashlib.sha256(canonical(data).encode()).hexdigest()


def together(n, work):
    """Runs work(0) … work(n - 1) in n threads that begin at once; their results, in order."""
    barrier, results = threading.Barrier(n), [None] * n

    def run(i):
        barrier.wait()
        try:
            results[i] = work(i)
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def check_answer(answer, *_, **__):
    """What holds for every answer of session_api (contract section 3)."""
    headers = answer.headers
    assert headers["X-API-Version"] == "1"
    assert headers["X-Request-Id"]
    assert answer.status_code < 500 or answer.status_code in (503, 504), answer.text
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert headers["Content-Type"].partition(";")[0] == "application/problem+json"
        body = answer.json()
        assert body["status"] == answer.status_code
        assert body["requestId"] == headers["X-Request-Id"]
        assert {"type", "title", "code", "temporary"} <= body.keys(), body
    if answer.status_code == 503:
        assert int(headers["Retry-After"]) >= 1


def samples(service):
    """What a process tells of itself: {a sample's name with its labels: value}."""
    text = requests.get(f"http://127.0.0.1:{service.admin_port}/metrics", timeout=MAX_WAIT).text
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {key: float(value) for key, _, value in (line.rpartition(" ") for line in lines)}


def metric(service, name):
    """The sum of a family, 0 before its first sample; with its labels in the name, that one sample."""
    return sum(v for k, v in samples(service).items() if name in (k, k.partition("{")[0]))


class ClusterClient(redis.cluster.RedisCluster):
    """Whose keys are those of all nodes, and which configures all."""

    def keys(self, pattern="*"):
        return super().keys(pattern, target_nodes=self.PRIMARIES)

    def config_set(self, name, value):
        return super().config_set(name, value, target_nodes=self.ALL_NODES)


def redis_client(url):
    """A plain client of one Redis, or one that knows a cluster's slots."""
    if not url.startswith("redis+cluster://"):
        return redis.Redis.from_url(url, decode_responses=True)
    login, _, addresses = url.removeprefix("redis+cluster://").rpartition("@")
    nodes = [redis.cluster.ClusterNode(host, int(port))
             for host, _, port in (address.partition(":") for address in addresses.split(","))]
    return ClusterClient(startup_nodes=nodes, password=login.removeprefix(":") or None,
                         require_full_coverage=False, decode_responses=True)


def run_ids(client):
    """Of the Redis, or of each node of the cluster."""
    if isinstance(client, ClusterClient):
        return {of["run_id"] for of in client.info("server", target_nodes=client.ALL_NODES).values()}
    return {client.info("server")["run_id"]}


class Servers:
    """Private Redis, PostgreSQL and RabbitMQ. With HANDOFF_TEST_REDIS=cluster, or is_cluster, Redis is a
    cluster of three masters with a replica each."""

    def __init__(self, redis_password="secret", is_cluster=None):
        # /var/tmp: the postgres user has to get there.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="handoff-test-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        ports = free_ports(5)
        if is_cluster is None:
            is_cluster = os.environ.get("HANDOFF_TEST_REDIS") == "cluster"
        self.redis = (RedisCluster(self.folder / "redis", free_ports(12), password=redis_password)
                      if is_cluster else Redis(self.folder / "redis", ports[0], redis_password))
        self.postgresql = PostgreSQL(self.folder / "postgresql", ports[1], "secret")
        # Queues count for the plugin rabbitmq_prometheus, should a test start it.
        self.rabbitmq = RabbitMQ(self.folder / "rabbitmq", ports[2], "secret", ports[3], ports[4],
                                 config="collect_statistics = coarse\ncollect_statistics_interval = 1000\n")
        self.all = [self.redis, self.postgresql, self.rabbitmq]

    def start(self):
        for server in self.all:
            server.start()
        return self

    def stop(self):
        if self.rabbitmq.process:  # its data goes anyway, and with many realms it is slow to end
            self.rabbitmq.process.kill()
        for server in reversed(self.all):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def eval_in_broker(self, erlang):
        """What RabbitMQ answers to an expression. The rabbitmqctl of the PATH is a wrapper that changes
        to the system's rabbitmq user, and so to another cookie."""
        done = subprocess.run(
            ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", "-n", self.rabbitmq.env()["RABBITMQ_NODENAME"],
             "eval", erlang], env=self.rabbitmq.env(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def realm(self, n):
        """Another world on the same servers: an own virtual host, database and Redis database n; a cluster
        has but one, so that it is an own cluster."""
        name = f"handoff{n}"
        redis_url = self.redis.url.removesuffix("/0") + f"/{n}"
        if isinstance(self.redis, RedisCluster):
            self.all.append(RedisCluster(self.folder / name, free_ports(12), password=self.redis.password))
            redis_url = self.all[-1].start().url
        everything = dict.fromkeys(("configure", "write", "read"), ".*")
        permissions = [{"user": "handoff", **everything}, *json.loads(DEFINITIONS.read_text())["permissions"]]
        self.eval_in_broker(f'rabbit_vhost:add(<<"{name}">>, <<"test">>), '
                            + ", ".join(granting(name, one) for one in permissions) + ".")
        connection = psycopg2.connect(self.postgresql.url)
        connection.autocommit = True
        connection.cursor().execute(f"create database {name}")
        connection.close()
        return types.SimpleNamespace(
            redis=types.SimpleNamespace(url=redis_url),
            rabbitmq=types.SimpleNamespace(url=self.rabbitmq.url.removesuffix("handoff") + name,
                                           url_for=lambda user: self.rabbitmq.url_for(user).removesuffix("handoff") + name),
            postgresql=types.SimpleNamespace(url=self.postgresql.url.removesuffix("handoff") + name))


def granting(vhost, permission):
    """A call of RabbitMQ's that gives what a row of definitions.json gives, in another virtual host."""
    words = [permission["user"], vhost, permission["configure"], permission["write"], permission["read"], "test"]
    return f"rabbit_auth_backend_internal:set_permissions({', '.join(f'<<{json.dumps(word)}>>' for word in words)})"


def query(servers, sql, *parameters):
    """What PostgreSQL answers to one statement, which is committed."""
    connection = psycopg2.connect(servers.postgresql.url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()
    finally:
        connection.close()


class Suite:
    """The four services (or some of them) on the given servers; where there are several instances of
    each, haproxy stands before them, and api_port and ws_port are its own."""

    def __init__(self, servers, folder, names=NAMES, instances=1, **more_env):
        self.servers = servers
        self.log_folder = pathlib.Path(folder)
        self.env = environment(redis_url=servers.redis.url, amqp_url=servers.rabbitmq.url,
                               database_url=servers.postgresql.url, jwt_secret=SECRET)
        self.env["HANDOFF_SESSION_TOKEN_KEY"] = write_keys(self.log_folder / "session_token.pem", SESSION_KEY)
        self.env.update({"HANDOFF_LOG_FORMAT": "json", "HANDOFF_ALLOWED_ORIGINS": "https://app.example",
                         **({"HANDOFF_TRUSTED_PROXIES": "127.0.0.1"} if instances > 1 else {}), **more_env})
        self.services, self.exit_codes, self.proxy = {}, {}, None
        ports = iter(free_ports(3 + 2 * instances * len(names)))
        front = {"session_api": next(ports), "ws_fanout": next(ports)}
        for n, name in itertools.product(range(1, instances + 1), names):
            port = next(ports) if instances > 1 or name not in front else front[name]
            self._add(name, instance_name(name, n), next(ports), port, BINDINGS[n % 2])
        self.api_port, self.ws_port = front.values()
        if instances > 1:
            self.all_port = next(ports)
            self.proxy = Proxy(self.log_folder / "proxy", list(self.services.values()),
                               self.api_port, self.ws_port, self.all_port)

    def _add(self, name, known_as, admin_port, port, binding="all"):
        env = {"HANDOFF_FANOUT_BINDING": binding, **self.env}
        rabbitmq = self.servers.rabbitmq
        if hasattr(rabbitmq, "url_for") and env["HANDOFF_AMQP_URL"] == rabbitmq.url:
            env["HANDOFF_AMQP_URL"] = rabbitmq.url_for(name)  # with no more rights than it needs
        self.services[known_as] = make_service(
            name, BUILD / "bin", env, admin_port=admin_port, api_port=port, ws_port=port,
            log=self.log_folder / f"{known_as}.log", known_as=known_as)
        return self.services[known_as]

    @property
    def direct(self):
        """The same suite, where devices speak to the first instance of each service, without a proxy."""
        if not self.proxy:
            return self
        direct = copy.copy(self)
        direct.api_port = self.services["session_api"].port
        direct.ws_port = self.services["ws_fanout"].port
        return direct

    def instances(self, name):
        """All of that service."""
        return [s for s in self.services.values() if s.name == name]

    def add_engine(self, name):
        """One more state_engine, known as `name`; ready."""
        self._add("state_engine", name, free_ports(1)[0], None).start().wait_ready()

    @property
    def api_url(self):
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def ws_url(self):
        return f"ws://127.0.0.1:{self.ws_port}/ws"

    def start(self):
        for service in self.services.values():
            service.start()
        for service in self.services.values():
            service.wait_ready()
        if self.proxy:
            self.proxy.start()
        return self

    def stop(self):
        """Drains all; an exit code other than 0 or a sanitizer's finding fails the run."""
        if self.proxy:
            assert self.proxy.process is None or self.proxy.process.poll() is None, "haproxy ended"
            self.proxy.stop()
        for service in self.services.values():
            service.stop(timeout=MAX_WAIT)
        bad = {n: s.process.returncode for n, s in self.services.items()
               if s.process and s.process.returncode not in (0, None) and n not in self.exit_codes}
        assert not bad, f"ended with another code than 0: {bad}\n{self.findings()}"
        assert not self.findings(), self.findings()

    def kill(self, name):
        """kill -9, as a crash."""
        service = self.services[name]
        service.process.kill()
        service.process.wait()
        self.exit_codes[name] = service.process.returncode

    def terminate(self, name):
        """SIGTERM; the exit code."""
        self.services[name].stop(timeout=MAX_WAIT)
        return self.services[name].process.returncode

    def restart(self, name):
        self.exit_codes.pop(name, None)
        self.services[name].start().wait_ready()

    def findings(self):
        found = []
        for path in self.log_folder.glob("*.log"):
            text = path.read_text(errors="replace")
            match = FINDING.search(text)
            if match:
                found.append(f"{path.name}: {text[match.start():match.start() + 3000]}")
        return "\n".join(found)

    def log_records(self, name):
        """Of all instances of that service."""
        lines = [line for service in self.instances(name)
                 for line in service.log.read_text(errors="replace").splitlines()]
        return [json.loads(line) for line in lines if line.startswith("{")]

    # ---- independent looks at the servers ----

    def redis_client(self):
        return redis_client(self.servers.redis.url)

    def query(self, sql, *parameters):
        return query(self.servers, sql, *parameters)

    def amqp(self):
        return pika.BlockingConnection(pika.URLParameters(self.servers.rabbitmq.url))

    def events_in_postgresql(self, session_id):
        """[(version, type, payload)] of the versioned events, in order."""
        return self.query(
            "select version, type, payload from session_events where session_id = %s and "
            "type in ('session_created', 'state_delta', 'status_changed', 'session_deleted') "
            "order by epoch, version", session_id)

    def device(self, user, device, **claims):
        return Device(self, user, device, **claims)

    def bearer(self, made, user=None, device=None):
        """A device with that very token."""
        one = Device(self, user, device)
        one.token = made
        one.http.headers["Authorization"] = f"Bearer {made}"
        return one


class Device:
    """One device of a user: REST calls with its token, and WebSockets."""

    def __init__(self, suite, user, device, **claims):
        self.suite, self.user, self.name = suite, user, device
        self.token = token(user, device, **claims)
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {self.token}"
        self.http.hooks["response"] = [check_answer]

    def request(self, method, path, **more):
        more.setdefault("timeout", MAX_WAIT)
        return self.http.request(method, self.suite.api_url + path, **more)

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, **more):
        return self.request("POST", path, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)

    def read(self, session_id):
        """The session's resource."""
        answer = self.get(f"/sessions/{session_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def deltas(self, session_id, since=0):
        answer = self.get(f"/sessions/{session_id}/deltas?since={since}&limit=100")
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]

    def heartbeat(self, session_id, **more):
        return self.post(f"/sessions/{session_id}/heartbeat", **more)

    def create(self, data=None, name="Evening meditation", type="meditation", **more):
        """A new session; its resource."""
        body = {"name": name, "type": type, **more}
        if data is not None:
            body["data"] = data
        answer = self.post("/sessions", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def patch(self, session_id, operations=None, **more):
        """application/json with operations; more: baseVersion, merge, checksum; headers, timeout."""
        http = {name: more.pop(name) for name in ("headers", "timeout") if name in more}
        body = {"operations": operations, **more}
        return self.request("PATCH", f"/sessions/{session_id}", json=body, **http)

    def json_patch(self, session_id, operations, headers=None):
        return self.request("PATCH", f"/sessions/{session_id}", data=json.dumps(operations),
                            headers={"Content-Type": "application/json-patch+json",
                                     **(headers or {})})

    def merge_patch(self, session_id, patch, headers=None):
        return self.request("PATCH", f"/sessions/{session_id}", data=json.dumps(patch),
                            headers={"Content-Type": "application/merge-patch+json",
                                     **(headers or {})})

    def status(self, session_id, status, **more):
        return self.post(f"/sessions/{session_id}?status={status}", **more)

    def connect(self, session_id=None, **more):
        """An authenticated WebSocket; with a session it is subscribed at once."""
        query = f"?session={session_id}" if session_id else ""
        return Socket(self.suite.ws_url + query,
                      header=[f"Authorization: Bearer {self.token}"], **more)


PRESENCE = {"device_joined", "device_left", "presence"}


class Frames:
    """What a device is told, frame by frame as dicts, whatever carries them: a subclass has recv_any, which
    gives the next one, and close. Frames about who is in the session come when they come, beside everything
    else: they are left out unless hears_presence, or expected by their type."""

    hears_presence = False

    def recv(self, hears_presence=False):
        """The next frame."""
        while True:
            frame = self.recv_any()
            if frame["type"] not in PRESENCE or self.hears_presence or hears_presence:
                return frame

    def expect(self, type, **members):
        """The next frame, which must be of that type and have those members."""
        frame = self.recv(hears_presence=type in PRESENCE)
        assert frame["type"] == type, frame
        for name, value in members.items():
            assert frame.get(name) == value, frame
        return frame

    def recv_until(self, type, **members):
        """Skips frames until one of that type with those members; returns it."""
        while True:
            frame = self.recv(hears_presence=type in PRESENCE)
            if frame["type"] == type and all(frame.get(k) == v for k, v in members.items()):
                return frame

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Socket(Frames):
    """A WebSocket of handoff.v1; a close arrives as Closed."""

    def __init__(self, url, timeout=MAX_WAIT, **more):
        # An Origin is what a browser sends: only with origin="https://…" here.
        self.ws = websocket.create_connection(url, timeout=timeout, subprotocols=["handoff.v1"],
                                              suppress_origin="origin" not in more, **more)

    def send(self, **message):
        self.ws.send(json.dumps(message))

    def recv_any(self):
        opcode, data = self.ws.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(data[:2], "big") if len(data) >= 2 else 1005
            raise Closed(code, data[2:].decode(errors="replace"))
        return json.loads(data)

    def close(self):
        self.ws.close()


class Closed(Exception):
    def __init__(self, code, reason):
        super().__init__(f"closed with {code} {reason}")
        self.code, self.reason = code, reason

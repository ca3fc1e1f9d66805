"""Crashes and outages: no accepted change is lost or applied twice, and everything recovers by itself."""

import json
import shutil
import signal
import threading
import time
import uuid

import pika
import pytest
import requests

import ws
from cold import lose
from harness import MAX_WAIT, Suite, metric, new_user, samples, together, wait_until
from rest import accepted, path_of, refused

N_WRITERS, N_EACH = 20, 10
N_WRITES = N_WRITERS * N_EACH


def add(key, value):
    return [{"op": "add", "path": f"/data/{key}", "value": value}]


class Load:
    """200 patches by 20 devices, each sent with its key until it is accepted."""

    def __init__(self, suite):
        self.suite, self.user = suite, new_user()
        self.devices = [suite.device(self.user, f"device-{i}") for i in range(N_WRITERS)]
        self.session = self.devices[0].create({})
        self.answers, self.n_accepted = {}, threading.Semaphore(0)
        self.stopped, self.n_uncertain, self.error = False, 0, None
        self.thread = threading.Thread(target=self._run)

    def send(self, i, n):
        """One try. No request hangs: requests raises when one does."""
        name = f"d{i}n{n}"
        return self.devices[i].patch(self.session["id"], add(name, n), headers={"Idempotency-Key": name},
                                     timeout=MAX_WAIT)

    def _run(self):
        try:
            together(N_WRITERS, self._write)
        except BaseException as error:
            self.error = error

    def _write(self, i):
        for n in range(N_EACH):
            while not self.stopped:
                try:
                    answer = self.send(i, n)
                except requests.ConnectionError:
                    time.sleep(0.05)  # session_api is restarted: a client's backoff
                    continue
                if answer.status_code == 200:
                    self.answers[i, n] = answer.json()
                    self.n_accepted.release()
                    break
                assert answer.status_code in (503, 504), answer.text
                assert answer.json()["temporary"] is True
                self.n_uncertain += 1
                time.sleep(0.05)  # a client's backoff

    def start(self):
        self.thread.start()
        return self

    def wait(self, n):
        """Until n more were accepted."""
        for _ in range(n):
            assert self.n_accepted.acquire(timeout=MAX_WAIT), f"no more patches are accepted: {self.error}"

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.stopped = kind is not None
        self.thread.join(4 * MAX_WAIT)
        self.stopped = True
        self.thread.join()

    def check(self):
        """Each is in the state once, and in PostgreSQL once."""
        assert self.error is None, self.error
        assert len(self.answers) == N_WRITES
        assert sorted(a["version"] for a in self.answers.values()) == list(range(2, N_WRITES + 2))
        state = self.devices[0].read(self.session["id"])
        assert state["version"] == N_WRITES + 1
        assert state["data"] == {f"d{i}n{n}": n for i, n in self.answers}
        assert state["checksum"] == max(self.answers.values(), key=lambda a: a["version"])["checksum"]
        self.check_rows()

    def check_rows(self):
        session_id = self.session["id"]
        wait_until(lambda: len(self.suite.events_in_postgresql(session_id)) >= N_WRITES + 1,
                   what="every version in PostgreSQL")
        rows = self.suite.events_in_postgresql(session_id)
        assert [version for version, _, _ in rows] == list(range(1, N_WRITES + 2))
        checksums = {a["version"]: a["checksum"] for a in self.answers.values()}
        assert all(payload["checksum"] == checksums[version] for version, _, payload in rows[1:])

    def check_repeats(self):
        """The same keys again: the same answers, and nothing happens."""
        for (i, n), answer in self.answers.items():
            again = self.send(i, n)
            assert again.headers["Idempotency-Replayed"] == "true"
            assert (again.json()["version"], again.json()["checksum"]) == (
                answer["version"], answer["checksum"])
        assert self.devices[0].read(self.session["id"])["version"] == N_WRITES + 1


# ---- a service dies ----

def test_an_engine_killed_among_writes_loses_nothing(own_suite):
    suite = own_suite()
    with Load(suite) as load:
        for _ in range(3):
            load.wait(40)
            suite.kill("state_engine")
            suite.restart("state_engine")
    load.check()
    load.check_repeats()


def test_an_audit_writer_killed_among_writes_completes_the_rows(own_suite):
    suite = own_suite()
    with Load(suite) as load:
        load.wait(50)
        suite.kill("audit_writer")
        load.wait(50)
        suite.restart("audit_writer")
        load.wait(50)
        suite.kill("audit_writer")
    suite.restart("audit_writer")
    assert load.n_uncertain == 0, "the audit trail is not in a write's way"
    load.check()


def test_of_two_engines_one_may_die(own_suite):
    suite = own_suite()
    suite.add_engine("state_engine-2")
    with Load(suite) as load:
        load.wait(60)
        suite.kill("state_engine-2")
    load.check()
    load.check_repeats()


def test_two_engines_on_one_queue(own_suite, user):
    suite = own_suite()
    suite.add_engine("state_engine-2")
    devices = [suite.device(user, f"device-{i}") for i in range(64)]
    session = devices[0].create({})
    answers = together(64, lambda i: devices[i].patch(session["id"], add(f"k{i}", i)))
    assert sorted(accepted(a)["version"] for a in answers) == list(range(2, 66))
    assert devices[0].read(session["id"])["data"] == {f"k{i}": i for i in range(64)}
    wait_until(lambda: len(suite.events_in_postgresql(session["id"])) == 65, what="65 rows")
    assert [r[0] for r in suite.events_in_postgresql(session["id"])] == list(range(1, 66))
    # Both were at work.
    busy = [n for n in ("state_engine", "state_engine-2")
            if sum(v for k, v in samples(suite.services[n]).items() if k.startswith("handoff_") and "command" in k)]
    assert len(busy) == 2


@pytest.mark.parametrize("name", ["session_api", "state_engine", "audit_writer"])
def test_sigterm_drains_while_requests_are_in_flight(own_suite, name):
    suite = own_suite()
    with Load(suite) as load:
        load.wait(50)
        assert suite.terminate(name) == 0
        suite.restart(name)
    load.check()


# ---- a server goes away, and comes back ----

@pytest.fixture(scope="module")
def shaky_suite(shaky_servers, tmp_path_factory):
    suite = Suite(shaky_servers, tmp_path_factory.mktemp("shaky"))
    try:
        yield suite.start()
    finally:
        suite.stop()


@pytest.fixture
def device(shaky_suite, user):
    return shaky_suite.device(user, "phone")


def ready(suite, name="session_api"):
    """(status code, status, which dependencies are down)"""
    answer = requests.get(f"http://127.0.0.1:{suite.services[name].admin_port}/ready", timeout=MAX_WAIT)
    body = answer.json()
    return answer.status_code, body["status"], {n for n, d in body["dependencies"].items() if not d["up"]}


def wait_degraded(suite, word, name="session_api"):
    """Until /ready tells that the dependency with this word in its name is down, and says 200."""
    def told():
        code, status, down = ready(suite, name)
        return code == 200 and status == "degraded" and any(word in d.lower() for d in down)
    wait_until(told, what=f"{name} degraded")


def wait_all_ready(suite):
    for name in suite.services:
        wait_until(lambda: ready(suite, name) == (200, "ready", set()), what=f"{name} ready again")


def patch_until_accepted(device, session_id, key, value):
    """Repeats under the same key, as a client does; the refusals on the way."""
    refusals = []

    def attempt():
        answer = device.patch(session_id, add(key, value), headers={"Idempotency-Key": key}, timeout=MAX_WAIT)
        if answer.status_code != 200:
            refusals.append((answer.status_code, answer.json()["code"]))
        return answer.status_code == 200 and answer
    wait_until(attempt, timeout=40, what="the patch accepted")
    return refusals


def check_versions(suite, device, session_id, n_versions):
    assert device.read(session_id)["version"] == n_versions
    wait_until(lambda: len(suite.events_in_postgresql(session_id)) == n_versions, what="the rows")
    assert [r[0] for r in suite.events_in_postgresql(session_id)] == list(range(1, n_versions + 1))


def unsure(answer):
    """503: certainly not applied; 504: unknown."""
    assert answer.status_code in (503, 504), answer.text
    body = answer.json()
    assert body["code"] == {503: "unavailable", 504: "timeout"}[answer.status_code] and body["temporary"]
    return answer.status_code


def test_the_broker_restarts(shaky_suite, device):
    suite, servers = shaky_suite, shaky_suite.servers
    session = device.create({})
    accepted(device.patch(session["id"], add("before", 1)), version=2)
    servers.rabbitmq.stop()
    wait_degraded(suite, "rabbit")
    outcomes = [unsure(device.patch(session["id"], add("while", 1), headers={"Idempotency-Key": "while"},
                                    timeout=MAX_WAIT)) for _ in range(3)]
    unsure(device.post("/sessions", json={"name": "n", "type": "t"}, timeout=MAX_WAIT))
    assert device.read(session["id"])["version"] == 2, "reads need no broker"
    assert device.get("/sessions").status_code == 200
    servers.rabbitmq.start()
    patch_until_accepted(device, session["id"], "while", 1)
    patch_until_accepted(device, session["id"], "after", 1)
    wait_all_ready(suite)
    assert device.read(session["id"])["data"] == {"before": 1, "while": 1, "after": 1}
    check_versions(suite, device, session["id"], 4)
    assert outcomes


def broadcasts_refused(device, socket, session):
    """By REST and by WebSocket."""
    answer = device.post(path_of(session) + "/broadcast", json={"message": 1}, timeout=MAX_WAIT)
    frame = ws.ask(socket, "broadcast", sessionId=session["id"], message=1)
    return (answer.status_code == 503 and answer.json()["code"] == "unavailable"
            and (frame["type"], frame.get("code")) == ("error", "unavailable"))


def broadcasts_go(device, socket, session):
    answer = device.post(path_of(session) + "/broadcast", json={"message": 1}, timeout=MAX_WAIT)
    return answer.status_code == 202 and ws.ask(
        socket, "broadcast", sessionId=session["id"], message=1)["type"] == "ack"


@pytest.mark.parametrize("name", ["rabbitmq", "redis"])
def test_broadcasts_while_a_server_is_away(shaky_suite, device, name):
    session, server = device.create({}), getattr(shaky_suite.servers, name)
    with ws.subscribed(device, session["id"]) as socket:
        server.stop()
        wait_degraded(shaky_suite, name, "session_api")
        wait_degraded(shaky_suite, name, "ws_fanout")
        assert broadcasts_refused(device, socket, session)
        server.start()
        wait_all_ready(shaky_suite)
        assert broadcasts_go(device, socket, session)


def test_broadcasts_while_the_broker_is_blocked(shaky_suite, device):
    servers, session = shaky_suite.servers, device.create({})

    def watermark(bytes):
        servers.eval_in_broker(f"vm_memory_monitor:set_vm_memory_high_watermark({{absolute, {bytes}}}).")
    with ws.subscribed(device, session["id"]) as socket:
        watermark(1)
        try:
            wait_until(lambda: broadcasts_refused(device, socket, session), what="publishers blocked")
        finally:
            watermark(1000 ** 3)
        wait_until(lambda: broadcasts_go(device, socket, session), what="publishers free again")


def test_requests_are_not_limited_while_redis_is_away_or_silent(shaky_suite, user, tmp_path):
    servers = shaky_suite.servers
    api = Suite(servers, tmp_path, names=["session_api"], HANDOFF_API_USER_REQUESTS_PER_SECOND="1",
                HANDOFF_API_ADDRESS_REQUESTS_PER_SECOND="100").start()
    try:
        phone = api.device(user, "phone")
        assert phone.get("/sessions").headers["RateLimit"]
        servers.redis.stop()
        wait_degraded(api, "redis")
        for n in range(1, 5):
            answer = phone.get("/sessions", timeout=MAX_WAIT)
            assert answer.status_code == 200 and "RateLimit" not in answer.headers
            assert metric(api.services["session_api"], "handoff_http_limits_skipped_total") == 2 * n
        servers.redis.start()
        wait_all_ready(shaky_suite), wait_all_ready(api)
        assert phone.get("/sessions").headers["RateLimit"]
        servers.redis.signal(signal.SIGSTOP)
        try:
            answer = phone.get("/sessions", timeout=MAX_WAIT)
            assert answer.status_code == 200 and "RateLimit" not in answer.headers
        finally:
            servers.redis.signal(signal.SIGCONT)
        wait_all_ready(shaky_suite)
    finally:
        api.stop()


def test_redis_restarts(shaky_suite, device):
    suite, servers = shaky_suite, shaky_suite.servers
    session = device.create({"a": 1})
    servers.redis.stop()
    wait_degraded(suite, "redis")
    wait_degraded(suite, "redis", "state_engine")
    unsure(device.patch(session["id"], add("while", 1), headers={"Idempotency-Key": "while"}, timeout=MAX_WAIT))
    unsure(device.get(path_of(session), timeout=MAX_WAIT))
    servers.redis.start()
    patch_until_accepted(device, session["id"], "while", 1)
    wait_all_ready(suite)
    assert device.read(session["id"])["data"] == {"a": 1, "while": 1}
    check_versions(suite, device, session["id"], 2)


def presence_of(client, session_id, device):
    """(state, connections) of a device as Redis has it; None when it has not."""
    text = client.hget(f"session:{{{session_id}}}:devices", device)
    return text and tuple(text.split(" ")[1:3])


def test_a_redis_that_lost_its_last_second_learns_who_is_there(shaky_suite, device):
    suite, redis = shaky_suite, shaky_suite.servers.redis
    session_id = device.create({})["id"]
    for node in redis.nodes:
        shutil.copytree(node.data, node.folder / "before")
    with ws.subscribed(device, session_id):
        client = suite.redis_client()
        wait_until(lambda: presence_of(client, session_id, device.name) == ("j", "1"), what="the join")
        redis.stop()
        for node in redis.nodes:
            shutil.rmtree(node.data)
            shutil.move(node.folder / "before", node.data)
        redis.start()
        wait_until(lambda: presence_of(client, session_id, device.name) == ("j", "1"), what="the join again")
    wait_until(lambda: presence_of(client, session_id, device.name) in (None, ("j", "0")), what="the departure")
    wait_all_ready(suite)


def test_a_redis_without_memory_for_presence(shaky_suite, device, tmp_path):
    suite, client = shaky_suite, shaky_suite.redis_client()
    session_id = device.create({})["id"]
    path = f"session:{{{session_id}}}:devices"
    with ws.subscribed(device, session_id):
        before = client.hget(path, "#instances").strip(",")
        client.config_set("maxmemory", "1mb")
        late = Suite(suite.servers, tmp_path, names=["ws_fanout"])
        try:
            late.start()
            client.pexpire(f"instance:{{{before}}}", 6000)
            with late.device(device.user, device.name).connect() as socket:
                socket.expect("hello")
                ws.refused(ws.ask(socket, "subscribe", sessionId=session_id), "unavailable", temporary=True)
            wait_until(lambda: client.pttl(f"instance:{{{before}}}") > 8000, what="the first one's life renewed")
        finally:
            client.config_set("maxmemory", "0")
            late.stop()
        assert client.hget(path, "#instances").strip(",") == before


def test_redis_falls_silent(shaky_suite, device):
    suite, redis = shaky_suite, shaky_suite.servers.redis
    session = device.create({})
    redis.signal(signal.SIGSTOP)
    try:
        answers = together(4, lambda i: device.patch(session["id"], add("while", 1),
                                                     headers={"Idempotency-Key": "while"}, timeout=MAX_WAIT)
                           if i % 2 else device.get(path_of(session), timeout=MAX_WAIT))
        for answer in answers:
            unsure(answer)
        wait_degraded(suite, "redis")
    finally:
        redis.signal(signal.SIGCONT)
    patch_until_accepted(device, session["id"], "while", 1)
    wait_all_ready(suite)
    check_versions(suite, device, session["id"], 2)


def test_postgresql_restarts(shaky_suite, device):
    suite, servers = shaky_suite, shaky_suite.servers
    session = device.create({})
    servers.postgresql.stop()
    wait_degraded(suite, "postgres", "audit_writer")
    for n in range(5):
        accepted(device.patch(session["id"], add(f"k{n}", n), timeout=MAX_WAIT), version=n + 2)
    assert device.read(session["id"])["version"] == 6, "the hot path needs no PostgreSQL"
    assert unsure(device.get("/sessions", timeout=MAX_WAIT)) == 503
    servers.postgresql.start()
    wait_all_ready(suite)
    check_versions(suite, device, session["id"], 6)
    assert device.get("/sessions").status_code == 200


def test_all_of_it_at_once(shaky_suite, device):
    suite, servers = shaky_suite, shaky_suite.servers
    session = device.create({})
    for server in (servers.rabbitmq, servers.redis, servers.postgresql):
        server.stop()
    for request in (lambda: device.patch(session["id"], add("x", 1), timeout=MAX_WAIT),
                    lambda: device.get(path_of(session), timeout=MAX_WAIT),
                    lambda: device.get("/sessions", timeout=MAX_WAIT)):
        unsure(request())
    assert device.get("/health").status_code == 200
    for server in (servers.postgresql, servers.redis, servers.rabbitmq):
        server.start()
    patch_until_accepted(device, session["id"], "y", 1)
    wait_all_ready(suite)
    state = device.read(session["id"])
    assert state["data"]["y"] == 1 and state["version"] in (2, 3)
    check_versions(suite, device, session["id"], state["version"])


def test_a_session_that_redis_lost_is_unavailable_not_gone(shaky_suite, device):
    """Until PostgreSQL can be asked: 404 would be a lie, to whoever asks."""
    session, other = device.create({"a": 1}), device.create({"a": 1})
    wait_until(lambda: len(device.get("/sessions").json()["items"]) == 2, what="the rows")
    stranger = shaky_suite.device(new_user(), "phone")
    lose(shaky_suite, session["id"])
    shaky_suite.servers.postgresql.stop()
    try:
        for answer in (device.get(path_of(session)), device.patch(session["id"], add("x", 1)),
                       device.status(session["id"], "paused"), device.heartbeat(session["id"]),
                       stranger.get(path_of(session))):
            refused(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        assert device.read(other["id"]) == other
    finally:
        shaky_suite.servers.postgresql.start()
    wait_all_ready(shaky_suite)
    wait_until(lambda: device.get(path_of(session)).status_code == 200, what="the session put together again")
    assert device.read(session["id"])["data"] == {"a": 1}
    refused(stranger.get(path_of(session)), 404, "not_found")


# ---- other backends on the broker ----

@pytest.fixture
def channel(shaky_suite):
    wait_all_ready(shaky_suite)
    connection = shaky_suite.amqp()
    yield connection.channel()
    connection.close()


def take(channel, queue):
    """The next message of a queue."""
    def next_message():
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        return method and (properties, body)
    return wait_until(next_message, what=f"a message in {queue}")


def command(session, kind="load", **more):
    return {"id": str(uuid.uuid4()), "kind": kind, "sessionId": session["id"], "userId": session["userId"],
            "deviceId": "backend", "scope": ["read", "write"],
            "deadline": int(time.time() * 1000) + 5000, **more}


def ask(channel, *commands):
    """Sends commands as a trusted backend does; the replies."""
    replies = []
    channel.basic_consume("amq.rabbitmq.reply-to", lambda *a: replies.extend(json.loads(a[3])["replies"]),
                          auto_ack=True)
    channel.basic_publish("session_commands", "state_engine.commands",
                          json.dumps({"commands": commands}).encode(),
                          pika.BasicProperties(content_type="application/json", correlation_id="1",
                                               reply_to="amq.rabbitmq.reply-to"))
    deadline = time.monotonic() + MAX_WAIT
    while len(replies) < len(commands):
        channel.connection.process_data_events(0.1)
        assert time.monotonic() < deadline, "no reply"
    return replies


def test_a_trusted_backend_sends_commands(channel, device):
    session = device.create({"a": 1})
    wait_until(lambda: device.get(f"/sessions/{uuid.uuid4()}").status_code == 404, what="an audit trail that answers")
    operations = [{"op": "replace", "path": "/data/a", "value": 2}]
    commands = [command(session, "patch", operations=operations), command(session, "patch", operations=[{"op": "remove", "path": "/data/b"}]),
                command({**session, "id": str(uuid.uuid4())}, "patch", operations=operations)]
    replies = {r["id"]: r for r in ask(channel, *commands)}
    assert replies[commands[0]["id"]]["version"] == 2
    assert "patch_failed" in json.dumps(replies[commands[1]["id"]])
    assert "not_found" in json.dumps(replies[commands[2]["id"]])
    assert (device.read(session["id"])["data"], device.read(session["id"])["modifiedBy"]) == ({"a": 2}, "backend")


def test_a_backends_key_makes_a_command_take_effect_once(channel, device):
    session = device.create({"list": []})
    same = command(session, "patch", key="k", operations=[{"op": "add", "path": "/data/list/-", "value": 1}])
    first = ask(channel, same)[0]
    again = ask(channel.connection.channel(), {**same, "id": str(uuid.uuid4())})[0]
    assert first["version"] == again["version"] == 2 and again["replayed"] is True
    assert device.read(session["id"])["data"] == {"list": [1]}


def test_a_command_is_not_begun_after_its_deadline(channel, device):
    session = device.create({"a": 1})
    late = command(session, "patch", operations=[{"op": "remove", "path": "/data/a"}])
    late["deadline"] = int(time.time() * 1000) - 1
    replies = {r["id"]: r for r in ask(channel, late, command(session))}
    assert "version" not in replies[late["id"]], replies
    assert device.read(session["id"]) == session


def test_what_is_no_event_does_not_stop_the_audit_trail(channel, shaky_suite, device):
    session = device.create({"a": 1})
    for junk in (b"\xff", b"{}", b"[1]", b'{"type":"state_delta","sessionId":"x"}'):
        channel.basic_publish("session_updates", f"session.{session['id']}.update", junk)
        properties, body = take(channel, "audit_writer.dead")
        assert body == junk and properties.headers
    accepted(device.patch(session["id"], add("x", 1)), version=2)
    check_versions(shaky_suite, device, session["id"], 2)


def test_an_event_that_comes_again_is_one_row(channel, shaky_suite, device):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "session_updates", "session.#")
    session = device.create({"a": 1})
    accepted(device.patch(session["id"], add("x", 1)), version=2)
    messages = [take(channel, queue) for _ in range(2)]
    for properties, body in messages * 2:
        kind = {"session_created": "created", "state_delta": "update"}[properties.type]
        channel.basic_publish("session_updates", f"session.{session['id']}.{kind}", body, properties)
    accepted(device.patch(session["id"], add("y", 1)), version=3)
    check_versions(shaky_suite, device, session["id"], 3)
    assert shaky_suite.query("select version from sessions where id = %s", session["id"]) == [(3,)]

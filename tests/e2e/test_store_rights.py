"""Each service has a user of its own in Redis and a role in PostgreSQL, with the rights of compose/redis/users.acl
and compose/postgresql, and no others: enough for all that it does."""

import pathlib
import signal

import psycopg2
import pytest
import redis
from process import accepts

from cli import Running, handoff, objects
from cold import age, lose
from harness import Redis, Servers, Suite, free_ports, new_user, services_in_redis, wait_until
from rest import accepted, path_of, refused
from test_due import Unused, go_cold
from ws import subscribed

COMPOSE = pathlib.Path(__file__).resolve().parents[2] / "compose"
ROLES = ("session_api", "state_engine", "audit_writer", "operator")


def urls_of(servers, name):
    """As that user of Redis, and, where it has one, in that role of PostgreSQL."""
    redis_address, postgresql_address = (s.url.rpartition("@")[2] for s in (servers.redis, servers.postgresql))
    urls = {"HANDOFF_REDIS_URL": f"redis://{name}:change-me-{name}@{redis_address}"}
    if name in ROLES:
        urls["HANDOFF_DATABASE_URL"] = f"postgres://{name}:change%20me%3A%20{name}@{postgresql_address}"
    return urls


class Restricted(Suite):
    """Whose services come as themselves."""

    def _add(self, name, *more, **also):
        everybodys = self.env
        self.env = {**everybodys, **urls_of(self.servers, name)}
        try:
            return super()._add(name, *more, **also)
        finally:
            self.env = everybodys


def run_sql(url, sql):
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(sql)
    connection.close()


def script(name):
    return (COMPOSE / "postgresql" / name).read_text()


@pytest.fixture(scope="module")
def restricted(tmp_path_factory):
    servers = Servers(is_cluster=False)
    folders = [tmp_path_factory.mktemp(name) for name in ("audit", "rest")]
    started = []
    try:
        servers.start()
        client = redis.Redis.from_url(servers.redis.url)
        for rights in services_in_redis():
            client.execute_command("ACL", "SETUSER", *rights)
        run_sql(servers.postgresql.url, script("roles.sql"))
        started.append(Restricted(servers, folders[0], names=["audit_writer"]).start())
        run_sql(servers.postgresql.url, script("rights.sql"))
        started.append(Restricted(servers, folders[1], names=["state_engine", "session_api", "ws_fanout"],
                                  HANDOFF_API_USER_REQUESTS_PER_SECOND="1000").start())
        started[1].services["audit_writer"] = started[0].services["audit_writer"]
        yield started[1]
    finally:
        for suite in reversed(started):
            suite.services = {n: s for n, s in suite.services.items()
                              if suite is started[0] or n != "audit_writer"}
            suite.stop()
        servers.stop()


def test_all_that_the_services_do(restricted):
    suite, user = restricted, new_user()
    phone, laptop = (suite.device(user, name) for name in ("phone", "laptop"))
    session = phone.create({"n": 1}, ttlSeconds=86400)
    path = path_of(session)
    with subscribed(laptop, session["id"]) as socket:
        accepted(phone.json_patch(session["id"], [{"op": "add", "path": "/data/n", "value": 2}]))
        socket.expect("state_delta", version=2)
        assert phone.post(f"{path}/broadcast", json={"message": 1}).status_code == 202
        socket.recv_until("broadcast")
    assert phone.post(f"{path}/snapshots", json={}).status_code == 201
    assert phone.post(f"{path}/restore", json={"version": 1}).status_code == 200
    assert phone.request("PUT", f"{path}/participants/{new_user()}", json={"role": "viewer"}).status_code == 204
    wait_until(lambda: suite.query("select 1 from sessions where id = %s and version = 4", session["id"]),
               what="the position in PostgreSQL")
    for tail in ("", "/history", "/snapshots", "/snapshots/1", "/devices", "/participants", "/deltas?since=1"):
        answer = phone.get(path + tail)
        assert answer.status_code == 200, (tail, answer.text)
    code = phone.post(f"{path}/handoff-codes", json={"role": "viewer"}).json()["code"]
    assert phone.get(f"{path}/handoff-codes/{code}").status_code == 200
    guest = suite.device(new_user(), "tablet")
    assert guest.post("/handoff", json={"code": "no"}).status_code == 404
    assert guest.post("/handoff", json={"code": code}).json()["role"] == "viewer"
    assert [s["id"] for s in phone.get("/sessions").json()["items"]] == [session["id"]]
    age(suite, session["id"])
    assert phone.read(session["id"])["epoch"] == 1
    lose(suite, session["id"])
    assert phone.read(session["id"])["epoch"] == 2
    go_cold(Unused(suite, session["id"]))
    assert phone.read(session["id"])["epoch"] == 2
    assert phone.status(session["id"], "paused").status_code == 200
    assert phone.delete(path).status_code == 204
    refused(phone.get(path), 404, "not_found")


def as_operator(suite, *words, **more):
    return handoff(suite, *words, broker_user="operator", **urls_of(suite.servers, "operator"), **more)


def test_all_that_handoff_reads_an_operator_may(restricted):
    """Doctor says so of itself, and every command that reads works."""
    suite = restricted
    device = suite.device(new_user(), "phone")
    session = device.create({"n": 1})["id"]
    wait_until(lambda: suite.query("select 1 from sessions where id = %s", session), what="the row")
    checks = objects(as_operator(suite, "doctor", "--service", "handoff", "--json"))
    assert {c["state"] for c in checks if c["check"] != "redis.memory"} == {"ok"}, checks
    assert {"rabbitmq.rights", "redis.rights", "postgresql.rights", "postgresql.schema"} <= {c["check"] for c in checks}
    assert session in as_operator(suite, "sessions", "list", "--status", "active")
    assert objects(as_operator(suite, "sessions", "show", session, "--json"))[0]["live"] == "hot"
    assert "session_created" in as_operator(suite, "sessions", "events", session)
    assert "applied" in as_operator(suite, "migrate", "status")
    assert "ID" in as_operator(suite, "dead-letters", "list")
    run_sql(urls_of(suite.servers, "operator")["HANDOFF_DATABASE_URL"], "select * from session_gaps")
    assert as_operator(suite, "config", "--service", "handoff").startswith("# handoff\n")
    with suite.amqp() as connection:
        channel = connection.channel()
        channel.exchange_declare("consumer.rights", "fanout", auto_delete=True)
        channel.queue_bind(channel.queue_declare("", exclusive=True).method.queue, "consumer.rights")
        assert "1 published" in as_operator(suite, "sessions", "replay", session, "--exchange", "consumer.rights")
    tail = Running(suite, "tail", "session.#", broker_user="operator")
    tail.wait_told("listening")
    assert tail.end(signal.SIGTERM)[0] == 0


def test_what_an_operator_may_not_is_told_with_what_to_do(restricted):
    suite = restricted
    session = suite.device(new_user(), "phone").create({"n": 1})["id"]
    wait_until(lambda: suite.query("select 1 from sessions where id = %s", session), what="the row")
    suite.query("delete from schema_migrations where name = '0007_gaps.sql' returning 1")
    try:
        told = as_operator(suite, "migrate", "up", code=1)
        assert "permission denied" in told and "audit_writer's: give its role in HANDOFF_DATABASE_URL" in told
    finally:
        suite.query("insert into schema_migrations (name) values ('0007_gaps.sql') returning 1")
    told = as_operator(suite, "sessions", "replay", session, "--exchange", "session_updates", "--yes", code=1)
    assert "403" in told and "the user of HANDOFF_AMQP_URL may not" in told
    run_sql(suite.servers.postgresql.url, "revoke select on sessions from operator")
    try:
        told = as_operator(suite, "sessions", "list", code=1)
        assert "permission denied for table sessions" in told and "compose/postgresql/rights.sql" in told
    finally:
        run_sql(suite.servers.postgresql.url, "grant select on sessions to operator")
    client = redis.Redis.from_url(suite.servers.redis.url)
    client.execute_command("ACL", "SETUSER", "operator", "resetkeys")
    try:
        told = as_operator(suite, "sessions", "show", session, code=1)
        assert "compose/redis/users.acl" in told, told
    finally:
        client.execute_command("ACL", "SETUSER", "operator", "~session:*")
        client.execute_command("ACL", "LOG", "RESET")


def test_nobody_was_refused_anything(restricted):
    """After all that was done above."""
    client = redis.Redis.from_url(restricted.servers.redis.url, decode_responses=True)
    assert client.acl_log() == []
    for name in restricted.services:
        denied = [r for r in restricted.log_records(name) if "42501" in str(r) or "permission denied" in str(r)]
        assert denied == [], name


@pytest.mark.parametrize("user, command", [
    ("session_api", ("HSET", "session:{x}:meta", "a", "1")), ("session_api", ("GET", "user:{x}:idem:y")),
    ("ws_fanout", ("GET", "user:{x}:idem:y")), ("ws_fanout", ("GET", "rate:{user:x}")),
    *((user, ("GET", "handoff:{x}")) for user in ("ws_fanout", "state_engine", "audit_writer")),
    ("session_api", ("DEL", "handoff:{x}")), ("audit_writer", ("DEL", "session:{x}:meta")), ("audit_writer", ("GET", "attention:{0}")),
    ("operator", ("HSET", "session:{x}:meta", "a", "1")), ("operator", ("GET", "user:{x}:idem:y")), ("operator", ("GET", "handoff:{x}")),
    # The engine alone writes sessions.
    *((user, ("SET", "session:{x}:state", "x")) for user in ("session_api", "ws_fanout", "audit_writer", "operator")),
    ("ws_fanout", ("HSET", "session:{x}:meta", "a", "1")), ("ws_fanout", ("DEL", "session:{x}:deltas")),
    ("ws_fanout", ("EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "session:{x}:state")),
    *((user, command) for user in ("session_api", "ws_fanout", "state_engine", "audit_writer", "operator") for command in (
        ("CONFIG", "GET", "*"), ("FLUSHALL",), ("SWAPDB", "0", "1"), ("KEYS", "*"), ("CLIENT", "PAUSE", "1"), ("CLIENT", "LIST"))),
    ("state_engine", ("GET", "rate:{user:x}"))])
def test_nobody_may_more_in_redis(restricted, user, command):
    address = restricted.servers.redis.url.rpartition("@")[2]
    client = redis.Redis.from_url(f"redis://{user}:change-me-{user}@{address}")
    with pytest.raises(redis.exceptions.RedisError, match="(?i)no permissions|can't run this command|can't access"):
        client.execute_command(*command)


def test_the_file_lets_nobody_in_without_a_name(tmp_path):
    """As Redis itself reads it; whoever says `health` may ask whether it lives, and no more."""
    with (tmp_path / "users.acl").open("w") as file:
        file.write((COMPOSE / "redis" / "users.acl").read_text())
        file.write("user judge on >judge ~* &* +@all\n")
    server = Redis(tmp_path / "data", *free_ports(1))
    server.more = f"aclfile {tmp_path}/users.acl\n"

    def client(who=""):
        return redis.Redis.from_url(f"redis://{who}127.0.0.1:{server.port}")
    try:
        server.is_loaded = lambda: accepts(server.port) and server.ask("--user", "health", "--pass", "none", "ping").endswith("PONG")
        server.start()
        for command in (("PING",), ("FLUSHALL",), ("INFO",), ("GET", "session:{x}:meta"), ("KEYS", "*"), ("ACL", "LIST"), ("CONFIG", "GET", "*")):
            with pytest.raises(redis.exceptions.AuthenticationError):
                client().execute_command(*command)
            if command != ("PING",):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client("health:none@").execute_command(*command)
        for user in ("session_api", "ws_fanout", "state_engine", "audit_writer", "operator", "default"):
            with pytest.raises(redis.exceptions.ResponseError, match="WRONGPASS"):
                client(f"{user}:wrong@").ping()
        assert len(client("judge:judge@").acl_list()) == 9
    finally:
        server.stop()


@pytest.mark.parametrize("role, sql", [
    ("session_api", "update sessions set name = 'x'"), ("session_api", "delete from session_events"),
    ("state_engine", "update sessions set name = 'x'"), ("state_engine", "insert into session_snapshots default values"),
    ("state_engine", "delete from sessions"), ("operator", "update sessions set due_at = now()"),
    ("operator", "delete from session_events"), ("operator", "insert into schema_migrations (name) values ('x')"),
    ("operator", "create table x (n int)")])
def test_nobody_may_more_in_postgresql(restricted, role, sql):
    address = restricted.servers.postgresql.url.rpartition("@")[2]
    connection = psycopg2.connect(f"postgres://{role}:change%20me%3A%20{role}@{address}")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        connection.cursor().execute(sql)
    connection.close()

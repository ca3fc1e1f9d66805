"""handoff doctor: each check is ok where the suite runs, and fails, or warns, where that one thing is broken."""

import contextlib
import json
import re
import resource
import subprocess

import psycopg2
import pytest

from cli import HANDOFF, clean, ended, objects
from harness import ROOT, SECRET, SESSION_KEY, Redis, free_ports, services_in_redis, write_keys
from wire import Wire

COMMANDS, AUDIT = "state_engine.commands", "audit_writer.events"


def run(*arguments, code=None, **env):
    """(lines as dicts, exit code) of handoff doctor --json in an environment with nothing else of Handoff's."""
    return objects(ended("doctor", "--json", *arguments, code=code, env=clean(**env)).stdout)


@pytest.fixture
def env(suite):
    servers = suite.servers
    return {"HANDOFF_REDIS_URL": servers.redis.url, "HANDOFF_AMQP_URL": servers.rabbitmq.url,
            "HANDOFF_DATABASE_URL": servers.postgresql.url, "HANDOFF_JWT_SECRET": SECRET}


def found(lines, check, service=None):
    """The line of that check (of that service); there is one."""
    fitting = [line for line in lines if line["check"] == check and service in (None, line["service"])]
    assert fitting, (check, service, lines)
    return fitting[0]


def test_all_is_well_beside_a_suite_that_runs(suite, env):
    lines = run(code=0, **env)
    failed = [line for line in lines if line["state"] == "failed"]
    assert not failed and len(lines) > 25
    assert found(lines, "postgresql.schema")["state"] == found(lines, "rabbitmq.topology")["state"] == "ok"
    for service in ("session_api", "state_engine", "ws_fanout", "audit_writer"):
        assert found(lines, "rabbitmq.rights", service)["found"] == "all that it needs"
        assert found(lines, "redis.rights", service)["state"] == "ok"
    assert all((line["todo"] is None) == (line["state"] == "ok") for line in lines), lines


@pytest.mark.parametrize("service", ["session_api", "state_engine", "ws_fanout", "audit_writer"])
def test_each_services_own_user_on_the_broker_suffices_for_it_and_for_no_other(suite, env, service):
    own = {**env, "HANDOFF_AMQP_URL": suite.servers.rabbitmq.url_for(service)}
    assert found(run("--service", service, **own), "rabbitmq.rights")["state"] == "ok"
    other = "audit_writer" if service == "state_engine" else "state_engine"
    line = found(run("--service", other, code=1, **own), "rabbitmq.rights")
    assert line["state"] == "failed" and "403" in line["found"] and "definitions.json" in line["todo"]
    with suite.amqp() as connection:  # nothing was taken, put back, or published
        channel = connection.channel()
        for queue in ("state_engine.dead", "audit_writer.dead"):
            assert channel.queue_declare(queue, passive=True).method.message_count == 0


# ---- what is broken is found: one thing at a time ----

@contextlib.contextmanager
def in_database(env, before, after):
    def say(sql):
        connection = psycopg2.connect(env["HANDOFF_DATABASE_URL"], options="-c default_transaction_read_only=off")
        connection.autocommit = True
        cursor = connection.cursor()
        for statement in filter(str.strip, sql.split(";")):
            cursor.execute(statement)
        connection.close()

    say(before)
    try:
        yield
    finally:
        say(after)


def broken(check, service=None, state="failed", says="", *arguments, **env):
    """Exactly that check is told to be so; what it says."""
    lines = run(*arguments, code=1 if state == "failed" else 0, **env)
    line = found(lines, check, service)
    assert line["state"] == state and line["todo"] and says in line["found"], line
    return line


@pytest.fixture(scope="module")
def bare(servers):
    """A database and a virtual host with nothing in them, as an operator has them before the first start."""
    name = "doctor_bare"
    grant = ", ".join(['<<".*">>'] * 3)
    servers.eval_in_broker(f'rabbit_vhost:add(<<"{name}">>, <<"test">>), rabbit_auth_backend_internal:'
                           f'set_permissions(<<"handoff">>, <<"{name}">>, {grant}, <<"test">>).')
    connection = psycopg2.connect(servers.postgresql.url)
    connection.autocommit = True
    connection.cursor().execute(f"create database {name}")
    connection.close()
    return {"HANDOFF_AMQP_URL": servers.rabbitmq.url.removesuffix("handoff") + name,
            "HANDOFF_DATABASE_URL": servers.postgresql.url.removesuffix("handoff") + name}


@pytest.fixture(scope="module")
def migrated(bare, servers):
    """The same database, with the tables."""
    ended("migrate", "up", env=clean(**bare))
    return bare


@pytest.fixture(scope="module")
def redis_alone(tmp_path_factory):
    server = Redis(tmp_path_factory.mktemp("doctor") / "redis", free_ports(1)[0], "secret").start()
    yield server
    server.stop()


AUDIT_ONLY = ("--service", "audit_writer")


@pytest.mark.parametrize("check, name, value", [
    ("config", "HANDOFF_MAX_BATCH", "many"), ("rabbitmq.url", "HANDOFF_AMQP_URL", "amqp://a:b@:1/x"),
    ("rabbitmq.reached", "HANDOFF_AMQP_URL", "amqp://a:b@127.0.0.1:1/x"),
    ("redis.url", "HANDOFF_REDIS_URL", "redis://127.0.0.1"), ("redis.reached", "HANDOFF_REDIS_URL", "redis://127.0.0.1:1"),
    ("postgresql.reached", "HANDOFF_DATABASE_URL", "postgres://a@127.0.0.1:1/x")])
def test_what_cannot_be_used_or_reached(env, check, name, value):
    broken(check, None, "failed", "", *AUDIT_ONLY, **{**env, name: value})


def test_who_is_not_let_in(env):
    def other(name):
        return env[name].replace(":secret@", ":wrong@")

    assert "user" in broken("rabbitmq.reached", None, "failed", "", *AUDIT_ONLY,
                            **{**env, "HANDOFF_AMQP_URL": other("HANDOFF_AMQP_URL")})["todo"]
    assert "password" in broken("redis.reached", None, "failed", "WRONGPASS", *AUDIT_ONLY,
                                **{**env, "HANDOFF_REDIS_URL": other("HANDOFF_REDIS_URL")})["todo"]
    line = broken("postgresql.reached", None, "failed", "password authentication failed", *AUDIT_ONLY,
                  **{**env, "HANDOFF_DATABASE_URL": other("HANDOFF_DATABASE_URL")})
    assert "wrong" not in json.dumps(line)


def test_a_broker_without_the_topology_and_one_with_another(env, bare):
    line = broken("rabbitmq.topology", None, "warning", COMMANDS, *AUDIT_ONLY,
                  **{**env, "HANDOFF_AMQP_URL": bare["HANDOFF_AMQP_URL"]})
    assert "session_updates" in line["found"] and AUDIT in line["found"]
    line = broken("rabbitmq.topology", None, "failed", "406", *AUDIT_ONLY, **env, HANDOFF_QUEUE_TYPE="quorum")
    assert "HANDOFF_QUEUE_TYPE" in line["todo"]


@pytest.mark.parametrize("of, said, instead, check, state", [
    ("redis", r"redis_version:\d+\.\d+", "redis_version:6.2", "redis.version", "failed"),
    ("redis", r"\*2\r\n\$10\r\n1\d", "*2\r\n$10\r\n16", "redis.clock", "failed"),
    ("rabbitmq", r"product(?s:.{5})RabbitMQ", None, "rabbitmq.version", "warning"),
    ("rabbitmq", r"version(?s:.{5})(\d+\.\d+)", None, "rabbitmq.version", "warning")])
def test_a_server_that_says_something_else_of_itself(env, suite, of, said, instead, check, state):
    """The real one, with a word of its answer changed on the way."""
    name, there = {"redis": ("HANDOFF_REDIS_URL", suite.servers.redis), "rabbitmq": ("HANDOFF_AMQP_URL", suite.servers.rabbitmq)}[of]

    def other(match):
        text = match[0].decode("latin-1")
        return (instead or re.sub(r"\d+\.\d+$", "3.9", text.replace("RabbitMQ", "LapinMQ "))).ljust(len(text)).encode("latin-1")

    with Wire(there.port) as wire:
        wire.rewrite(re.compile(said.encode("latin-1")), other)
        line = found(run(*AUDIT_ONLY, **{**env, name: env[name].replace(f":{there.port}", f":{wire.port}")}), check)
    assert line["state"] == state and line["todo"], line
    assert found(run(*AUDIT_ONLY, **env), check)["state"] == "ok"


def test_redis_as_it_must_not_be(env, redis_alone):
    own = {**env, "HANDOFF_REDIS_URL": redis_alone.url}
    assert found(run(*AUDIT_ONLY, **own), "redis.memory")["state"] == "warning"  # no bound
    redis_alone.ask("config", "set", "maxmemory", "100mb")
    assert found(run(*AUDIT_ONLY, code=0, **own), "redis.memory")["state"] == "ok"
    redis_alone.ask("config", "set", "maxmemory-policy", "allkeys-lru", "appendonly", "no", "maxmemory", "1mb")
    lines = run(*AUDIT_ONLY, code=1, **own)
    assert {line["check"] for line in lines if line["state"] != "ok" and line["check"].startswith("redis")} == {
        "redis.maxmemory-policy", "redis.appendonly", "redis.memory"}
    redis_alone.ask("config", "set", "maxmemory-policy", "noeviction", "appendonly", "yes", "maxmemory", "100mb")
    cluster = redis_alone.url.replace("redis://", "redis+cluster://")
    lines = run(*AUDIT_ONLY, code=1, **{**env, "HANDOFF_REDIS_URL": cluster})
    assert found(lines, "redis.mode")["state"] == found(lines, "redis.cluster")["state"] == "failed"


@pytest.mark.parametrize("service", ["session_api", "state_engine", "ws_fanout", "audit_writer"])
def test_each_services_own_user_in_redis_suffices_for_it_and_for_no_other(env, redis_alone, service):
    for rights in services_in_redis():
        assert redis_alone.ask("acl", "setuser", *rights) == "OK"
    own = {**env, "HANDOFF_REDIS_URL": f"redis://{service}:change-me-{service}@127.0.0.1:{redis_alone.port}"}
    assert found(run("--service", service, **own), "redis.rights")["state"] == "ok"
    other = {"session_api": "ws_fanout", "ws_fanout": "session_api", "state_engine": "session_api",
             "audit_writer": "state_engine"}[service]
    broken("redis.rights", other, "failed", "NOPERM", "--service", other, **own)
    for without, check in (("-info", "redis.info"), ("-time", "redis.clock")):
        redis_alone.ask("acl", "setuser", service, without)
        broken(check, None, "failed", "", "--service", service, **own)
        redis_alone.ask("acl", "setuser", service, without.replace("-", "+"))


# What the server says of itself, said otherwise: the database looks in public first.
SHADOWS = {
    "postgresql.version": ("current_setting(text) returns text language sql as $$ select case $1 "
                           "when 'server_version_num' then '140011' else pg_catalog.current_setting($1) end $$", "failed"),
    "postgresql.connections": ("current_setting(text) returns text language sql as $$ select case $1 "
                               "when 'max_connections' then '4' else pg_catalog.current_setting($1) end $$", "warning"),
    "postgresql.clock": ("clock_timestamp() returns timestamptz language sql as "
                         "$$ select pg_catalog.clock_timestamp() - interval '31 s' $$", "failed"),
}


@pytest.mark.parametrize("check", SHADOWS)
def test_a_postgresql_as_it_must_not_be(env, migrated, check):
    body, state = SHADOWS[check]
    own = {**env, "HANDOFF_DATABASE_URL": migrated["HANDOFF_DATABASE_URL"]}
    with in_database(own, f"create function {body}; alter database doctor_bare set search_path = public, pg_catalog",
                     f"drop function {body.split(' ')[0]}; alter database doctor_bare reset search_path"):
        line = found(run(*AUDIT_ONLY, **own), check)
        assert line["state"] == state and line["todo"], line


@pytest.mark.parametrize("check, state, says, broken_by, mended_by", [
    ("postgresql.writable", "failed", "read-only", "alter database doctor_bare set default_transaction_read_only = on",
     "alter database doctor_bare reset default_transaction_read_only"),
    ("postgresql.schema", "failed", "9999_future.sql", "insert into schema_migrations (name) values ('9999_future.sql')",
     "delete from schema_migrations where name = '9999_future.sql'"),
    ("postgresql.schema", "failed", "1 migrations are missing", "delete from schema_migrations where name like '0006%'",
     "insert into schema_migrations (name) values ('0006_look_at.sql')"),
    ("postgresql.partitions", "warning", "session_events_", "select 1", "select 1")])
def test_a_database_as_it_must_not_be(env, migrated, check, state, says, broken_by, mended_by):
    own = {**env, "HANDOFF_DATABASE_URL": migrated["HANDOFF_DATABASE_URL"]}
    with in_database(own, broken_by, mended_by):
        line = found(run(*AUDIT_ONLY, **own), check)
        assert line["state"] == state and says in line["found"] and line["todo"], line


def test_partitions_that_are_there(env, migrated):
    own = {**env, "HANDOFF_DATABASE_URL": migrated["HANDOFF_DATABASE_URL"]}
    with in_database(own, "select session_events_make_partition(now() + n * interval '1 month') from generate_series(0, 1) n",
                     "select 1"):
        assert found(run(*AUDIT_ONLY, **own), "postgresql.partitions")["state"] == "ok"


def test_a_role_with_too_few_rights(env, migrated):
    """compose/postgresql/rights.sql is enough for its services; without any each is told what it lacks."""
    own = {**env, "HANDOFF_DATABASE_URL": migrated["HANDOFF_DATABASE_URL"]}
    url = own["HANDOFF_DATABASE_URL"].replace("handoff:secret@", "doctor_role:secret@")
    with in_database(own, "create role doctor_role login password 'secret'",
                     "drop owned by doctor_role; drop role doctor_role"):
        poor = {**own, "HANDOFF_DATABASE_URL": url}
        lines = run("--service", "session_api", code=1, **poor)
        assert found(lines, "postgresql.schema")["state"] == "warning"
        assert "SELECT ON sessions" in found(lines, "postgresql.rights")["found"]
        sql = "".join(line for line in (ROOT / "compose" / "postgresql" / "rights.sql").read_text().splitlines(True)
                      if not line.startswith("--"))
        sql = sql.partition("DO $$")[0]  # the operator's, who is not there
        with in_database(own, sql.replace("session_api, state_engine", "doctor_role").replace("state_engine", "doctor_role"),
                         "select 1"):
            for service in ("session_api", "state_engine"):
                lines = run("--service", service, code=0, **poor)
                assert found(lines, "postgresql.rights")["state"] == found(lines, "postgresql.schema")["state"] == "ok"
            line = broken("postgresql.rights", "audit_writer", "failed", "INSERT ON sessions", *AUDIT_ONLY, **poor)
            assert "to be owner of sessions" in line["found"]


def test_open_files_that_do_not_suffice(env):
    done = subprocess.run([HANDOFF, "doctor", "--service", "ws_fanout"], env=clean(**env), capture_output=True, text=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000)))
    assert done.returncode == 1
    assert any(line.startswith("failed") and "limits.open-files" in line and "1000 here, 10200 needed" in line
               for line in done.stdout.splitlines()), done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 failed")


def test_keys_that_are_none_or_not_private_or_not_to_be_had(env, tmp_path):
    api = ("--service", "session_api")
    without = {k: v for k, v in env.items() if k != "HANDOFF_JWT_SECRET"}
    broken("tokens.keys", "session_api", "failed", "HANDOFF_JWT_SECRET is needed", *api, **without)
    path = tmp_path / "key.pem"
    write_keys(path, SESSION_KEY)
    path.chmod(0o644)
    broken("tokens.keys", "session_api", "warning", "every user", *api, **env, HANDOFF_SESSION_TOKEN_KEY=str(path))
    line = broken("tokens.provider", "session_api", "failed", "", *api, **env, HANDOFF_JWT_ALGORITHMS="HS256,RS256",
                  HANDOFF_JWKS_URL=f"http://127.0.0.1:{free_ports(1)[0]}/jwks")
    assert "HANDOFF_JWKS_URL" in line["todo"]


@pytest.mark.parametrize("arguments", [("--service", "nobody"), ("all",), ("--fast",), ("--service",)])
def test_mistakes_are_told(arguments):
    assert ended("doctor", *arguments, code=2).stderr.startswith("handoff: ")


def test_each_check_is_documented():
    rows = [line for line in (ROOT / "docs" / "operations" / "command.md").read_text().splitlines() if line.startswith("| `")]
    for path in (ROOT / "tools" / "handoff").glob("doctor*.c"):
        for check in re.findall(r'"((?:rabbitmq|redis|postgresql|limits|tokens)\.[a-z-]+)"', path.read_text()):
            dependency, _, what = check.partition(".")
            assert any(f"`{check}`" in row or (row.startswith(f"| `{dependency}.") and f"`.{what}`" in row) for row in rows), check

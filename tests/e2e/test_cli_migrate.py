"""handoff migrate, and that no service works with a schema that is newer than itself."""

import json

import psycopg2
import pytest
import requests

from cli import clean, ended
from harness import BUILD, MAX_WAIT, Suite, query, wait_until

NAMES = sorted(p.name for p in (BUILD.parent.parent / "common" / "migrations").glob("*.sql"))


def migrate(url, *arguments, code=0):
    return ended("migrate", *arguments, code=code, env=clean(HANDOFF_DATABASE_URL=url))


def say(url, sql):
    connection = psycopg2.connect(url)
    connection.autocommit = True
    connection.cursor().execute(sql)
    connection.close()


def states(url, code):
    return {told["name"]: told["state"] for told in
            map(json.loads, migrate(url, "status", "--json", code=code).stdout.splitlines())}


@pytest.fixture(scope="module")
def realm(new_realm):
    return new_realm()


@pytest.fixture(scope="module")
def url(realm):
    return realm.postgresql.url


def test_from_nothing_to_all(realm, url):
    assert states(url, 1) == dict.fromkeys(NAMES, "missing")
    dry = migrate(url, "up", "--dry-run")
    assert dry.stdout.splitlines() == [f"{name}\tmissing\t-" for name in NAMES] and "nothing was changed" in dry.stderr
    assert query(realm, "select count(*) from pg_tables where schemaname = 'public'") == [(0,)]
    done = migrate(url, "up", "--progress")
    assert [line.split("\t")[:2] for line in done.stdout.splitlines()] == [[name, "applied"] for name in NAMES]
    assert f"{len(NAMES)} of {len(NAMES)}: {NAMES[-1]}" in done.stderr
    assert states(url, 0) == dict.fromkeys(NAMES, "applied")
    assert migrate(url, "up").stdout == ""
    assert "2" in migrate(url, "status").stdout.splitlines()[0].split("\t")[2]


def test_it_waits_for_who_is_at_it_and_gives_up(realm, url):
    connection = psycopg2.connect(url)
    connection.cursor().execute("select pg_advisory_lock(5208208757391843)")
    say(url, "delete from schema_migrations where name = '0004_purge.sql'")
    done = migrate(url, "up", code=1)
    assert "another program is at it" in done.stderr
    connection.close()
    say(url, "insert into schema_migrations (name) values ('0004_purge.sql')")


def test_a_migration_that_fails_leaves_nothing(realm, url):
    say(url, f"delete from schema_migrations where name = '{NAMES[-1]}'")
    done = migrate(url, "up", code=1)
    assert NAMES[-1] in done.stderr and "already exists" in done.stderr
    assert states(url, 1)[NAMES[-1]] == "missing"
    say(url, f"insert into schema_migrations (name) values ('{NAMES[-1]}')")


@pytest.mark.parametrize("arguments, says", [
    ((), "status and up"), (("down",), "status and up"), (("status", "up"), "takes no words"),
    (("status", "--dry-run"), "no option --dry-run"), (("up", "--dry_run"), "Is --dry-run meant")])
def test_mistakes_are_told(arguments, says):
    assert says in migrate("postgres://127.0.0.1:1/x", *arguments, code=2).stderr


def test_a_server_that_is_away_is_told():
    assert "refused" in migrate("postgres://127.0.0.1:1/x", "up", code=1).stderr


def postgresql_of(service):
    try:
        ready = requests.get(f"http://127.0.0.1:{service.admin_port}/ready", timeout=MAX_WAIT)
    except requests.ConnectionError:
        return ready_none
    return ready.status_code, ready.json()["dependencies"]["postgresql"]


ready_none = (0, {"up": False})


def test_a_newer_schema_is_refused_by_all_and_one_that_may_be_worked_with_is_not(realm, url, tmp_path):
    say(url, "insert into schema_migrations (name) values ('9999_future.sql')")
    assert states(url, 1)["9999_future.sql"] == "refused"
    assert "9999_future.sql" in migrate(url, "up", code=1).stderr
    suite = Suite(realm, tmp_path, names=["session_api", "state_engine", "audit_writer"])
    services = suite.services.values()
    for service in services:
        service.start()
    try:
        for service in services:
            status, told = wait_until(lambda: (lambda r: r if "9999_future.sql" in json.dumps(r[1]) else None)(
                postgresql_of(service)), what=f"{service.name}'s refusal")
            assert status == 503 and not told["up"] and "newer version" in json.dumps(told)
        say(url, f"update schema_migrations set works_from = '{NAMES[-1]}' where name = '9999_future.sql'")
        assert states(url, 0)["9999_future.sql"] == "newer"
        for service in services:
            service.wait_ready()
    finally:
        suite.stop()
        say(url, "delete from schema_migrations where name = '9999_future.sql'")

"""PostgreSQL fails over to its standby under load: no client is slowed, and every version is in the new
primary once; what it had committed stays."""

import os
import shutil
import tempfile
import types

import pytest

from harness import Suite, wait_until
from postgresql_pair import PostgreSQLPair
from test_crash import Load, wait_all_ready


@pytest.fixture
def pair():
    folder = tempfile.mkdtemp(prefix="handoff-test-", dir="/var/tmp")
    os.chmod(folder, 0o755)
    pair = PostgreSQLPair(folder)
    try:
        yield pair.start()
    finally:
        pair.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def suite(pair, new_realm, tmp_path):
    realm = new_realm()
    suite = Suite(types.SimpleNamespace(redis=realm.redis, rabbitmq=realm.rabbitmq, postgresql=pair), tmp_path)
    try:
        yield suite.start()
    finally:
        suite.stop()


def n_rows(pair, server, session_id):
    return pair.run(server, f"select count(*) from session_events where session_id = '{session_id}'")[0][0]


def test_the_audit_trail_goes_on_at_the_promoted_standby(suite, pair):
    load = Load(suite)
    session_id = load.session["id"]
    with load:
        load.wait(60)
        wait_until(lambda: n_rows(pair, pair.primary, session_id) >= 10, what="rows at the primary")
        committed = n_rows(pair, pair.primary, session_id)
        pair.fail_over()
        assert n_rows(pair, pair.standby, session_id) >= committed
        load.wait(60)
    assert load.n_uncertain == 0, "PostgreSQL is not in a write's way"
    load.check()
    wait_all_ready(suite)
    assert load.devices[0].get("/sessions").json()["items"][0]["id"] == session_id

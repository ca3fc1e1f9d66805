"""docs/how-to: the commands of its blocks `sh run`, as they stand, in a shell, each page's one after the other. Only addresses are others."""

import contextlib
import json
import os
import pathlib
import re
import subprocess

import psycopg2
import pytest

from harness import BUILD, MAX_WAIT, new_user, wait_until
from ws import set_to

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = {p.stem: re.findall(r"^```sh run\n(.*?)^```$", p.read_text(), re.M | re.S) for p in sorted((ROOT / "docs" / "how-to").glob("*.md"))}
RUN = sorted(name for name, blocks in PAGES.items() if blocks)
ADMIN_PORTS = {9100: "session_api", 9101: "state_engine", 9102: "ws_fanout", 9103: "audit_writer"}


@pytest.fixture
def world(suite, tmp_path):
    """A session, and what the pages call it and its surroundings."""
    phone = suite.device(new_user(), "phone")
    session = phone.create({"n": 0})
    for n in (1, 2):
        assert phone.json_patch(session["id"], set_to("n", n)).status_code == 200
    admin = suite.device(new_user(), "operator", scope="sessions:admin sessions:read")
    database = suite.servers.postgresql.url
    wait_until(lambda: len(suite.query("select 1 from session_events where session_id = %s", session["id"])) >= 3, what="the trail")
    restored = database.rpartition("/")[0] + "/handoff_restored"
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HANDOFF_")}  # of the tests, unknown to `handoff`
    env = {**ours, "PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}", "SESSION": session["id"], "TOKEN": phone.token,
           "ADMIN_TOKEN": admin.token, "DATABASE_URL": database, "RESTORED_URL": restored, "HANDOFF_DATABASE_URL": database,
           "HANDOFF_REDIS_URL": suite.servers.redis.url.replace("://:", "://default:"),  # redis-cli wants a name
           "HANDOFF_AMQP_URL": suite.servers.rabbitmq.url}
    yield session, env
    with contextlib.closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True
        connection.cursor().execute("drop database if exists handoff_restored")


def here(suite, text):
    """The same at this suite's addresses. One address for both: only a proxy has that."""
    ports = {8080: suite.api_port, 8081: suite.ws_port, **{port: suite.instances(name)[0].admin_port for port, name in ADMIN_PORTS.items()}}
    both = getattr(suite, "all_port", None)
    text = re.sub(r"localhost:8000(?=/sessions/\S+/events)", f"localhost:{both or suite.ws_port}", text)
    text = text.replace("localhost:8000", f"localhost:{both or suite.api_port}")
    return re.sub(r"\b(8080|8081|910[0-3])\b", lambda match: str(ports[int(match[0])]), text)


@pytest.mark.parametrize("page", RUN)
def test_what_a_page_shows_works(suite, world, tmp_path, page):
    session, env = world
    said = ""
    for block in PAGES[page]:
        done = subprocess.run(["bash", "-ec", here(suite, block)], cwd=tmp_path, env=env, capture_output=True, text=True,
                              timeout=MAX_WAIT)
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        said += done.stdout
    CHECKS.get(page, lambda *_: None)(said, session)


def check_stuck(said, session):
    """Each source tells of this session's last version."""
    told, at = json.JSONDecoder().raw_decode(said)
    assert told["id"] == session["id"] and told["version"] == 3
    deltas, at = json.JSONDecoder().raw_decode(said, at)
    assert [e["version"] for e in deltas["items"]] == [2, 3]
    assert len(re.findall(r'"status":"ready"', said)) == 4
    for part in ('"deviceId":"phone"', "\nrun_id\n", "\n3-0\n"):  # the devices; Redis' hash and window
        assert part in said, said
    assert re.search(r"^ active +\| +1 \| +3 \|", said, re.M) and re.search(r"^ session_created +\| +1 \| +1 \| phone", said, re.M)
    assert "MESSAGE ID" in said


CHECKS = {"stuck-session": check_stuck,
          "back-up": lambda said, session: re.search(r"^ +[1-9]\d* \| 20\d\d-", said, re.M) or pytest.fail(said),
          "load-test": lambda said, session: re.fullmatch(r"(\d\.\d+\n){3}", said) or pytest.fail(said)}


def test_these_pages_have_such_commands():
    assert set(RUN) >= {"back-up", "behind-a-proxy", "load-test", "stuck-session"} and set(CHECKS) <= set(RUN)

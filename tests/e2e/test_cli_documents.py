"""What docs/operations/command.md and docs/consume show of handoff does what they say."""

import pathlib
import re
import shlex
import subprocess

import pytest

from cli import HANDOFF, Running, environment
from harness import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = (ROOT / "docs" / "operations" / "command.md").read_text()
SESSION = "01a1fc3a-54db-775c-8a74-7ab62dc83e70"
LINES = [shlex.split(line, comments=True)[1:] for block in re.findall(r"^```\w*\n(.*?)^```$", COMMAND, re.M | re.S)
         for line in block.splitlines() if re.match(r"handoff (sessions|bench|tail ')", line)]


def on_path(suite, folder):
    """A shell finds handoff as the page calls it."""
    (folder / "handoff").symlink_to(HANDOFF)
    env = environment(suite, broker_user="consumer")
    return {**env, "PATH": f"{folder}:{env['PATH']}"}


@pytest.fixture
def session(suite, laptop):
    session = laptop.create({"n": 0})["id"]
    for n in range(50):
        laptop.patch(session, [{"op": "replace", "path": "/data/n", "value": n}])
    wait_until(lambda: suite.query("select 1 from session_events where session_id = %s and version = 51 limit 1", session))
    return session


@pytest.fixture
def replayed(suite):
    """A queue on the pages' exchange."""
    with suite.amqp() as connection:
        channel = connection.channel()
        channel.exchange_declare("consumer.replay", "topic", auto_delete=True)
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "consumer.replay", "session.#")
        yield lambda: channel.queue_declare(queue, passive=True).method.message_count


def test_the_lines_of_command(suite, laptop, session, replayed, tmp_path):
    (tmp_path / "token").write_text(laptop.token)
    replaced = {SESSION: session, "http://localhost:8080": suite.api_url, "ws://localhost:8081": f"ws://127.0.0.1:{suite.ws_port}"}
    assert len(LINES) >= 9
    for words in LINES:
        words = [replaced.get(word, word.replace(SESSION, session)) for word in words]
        if words[0] == "tail":
            tail = Running(suite, *words, broker_user="consumer")
            tail.wait_told("listening")
            tail.stop()
            continue
        done = subprocess.run([HANDOFF, *words], capture_output=True, text=True, cwd=tmp_path, timeout=60,
                              env=environment(suite, broker_user="consumer"))
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert replayed() >= 51 - 42 + 1


def test_the_lines_of_consume(suite, session, replayed, tmp_path):
    page = (ROOT / "docs" / "consume" / "README.md").read_text()
    [script] = re.findall(r"^    (handoff sessions list.*\n(?:    .*\n)+)", page, re.M)
    moment = suite.query("select to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') from sessions where id = %s", session)[0][0]
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script.replace("2026-02-12T12:00:00.000Z", moment)],
                          capture_output=True, text=True, timeout=120, env=on_path(suite, tmp_path))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert replayed() >= 51

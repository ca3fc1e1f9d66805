"""docs/consume: each program follows every session through a doubled event, a gap, a message that cannot be read, its own absence, a
rebuild, Handoff's absence and another beside it, with the rights of the broker's user `consumer`; and what it counted is right in the end."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import psycopg2
import pytest

from backend import Backend
from cli import handoff
from cold import lose
from harness import MAX_WAIT, new_user, wait_until
from ws import set_to

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "docs" / "consume"
QUEUE = "consumer.follow"
REPLAY = "consumer.replay"
JARS = ":".join(f"/usr/share/java/{name}.jar" for name in (
    "amqp-client", "slf4j-api", "slf4j-nop", "jackson-databind", "jackson-core", "jackson-annotations", "postgresql"))


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """What starts each of them."""
    folder = tmp_path_factory.mktemp("consume")
    for name in ("follow.mjs", "sessions.mjs"):
        shutil.copy(PROGRAMS / name, folder)
    (folder / "node_modules").symlink_to(ROOT / "tests" / "consume" / "node_modules")
    assert not subprocess.run(["gofmt", "-l", PROGRAMS], check=True, capture_output=True, text=True).stdout
    subprocess.run(["go", "build", "-o", folder / "follow", PROGRAMS / "follow.go", PROGRAMS / "sessions.go"], check=True,
                   env={**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(folder / "go")})
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-cp", JARS, "-d", folder, PROGRAMS / "Follow.java", PROGRAMS / "Sessions.java"], check=True)
    return {"python": ["/usr/bin/python3", PROGRAMS / "follow.py"], "node": ["node", folder / "follow.mjs"],
            "go": [folder / "follow"], "java": ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{folder}:{JARS}", "Follow"]}


class Follower:
    def __init__(self, suite, command, folder):
        self.command, self.log, self.processes, self.n_started = command, folder / "out", [], 0
        self.database = suite.servers.postgresql.url.rpartition("/")[0] + "/reports"
        admin = suite.device(new_user(), "reports", scope="sessions:admin sessions:read").token
        self.env = {**os.environ, "AMQP_URL": suite.servers.rabbitmq.url_for("consumer"), "HANDOFF_URL": suite.api_url,
                    "HANDOFF_TOKEN": admin, "DATABASE_URL": self.database + "?sslmode=disable"}
        if command[0] == "java":
            user, password, place = re.match("postgres://(.*):(.*)@(.*)", self.database).groups()
            self.env["DATABASE_URL"] = f"jdbc:postgresql://{place}?user={user}&password={password}"

    def start(self, **env):
        self.n_started += 1
        with open(self.log, "ab") as out:
            self.processes.append(subprocess.Popen(self.command, env={**self.env, **env}, stdout=out, stderr=out))
        wait_until(lambda: self.text().count("following\n") == self.n_started, what=self.command)
        return self

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def positions(self, session):
        """Of its versions, as they were acted upon."""
        return [tuple(map(int, line.split()[1:3])) for line in self.text().splitlines() if line.startswith(session["id"])]

    def wait_at(self, session, version, epoch=1):
        wait_until(lambda: (epoch, version) in self.positions(session), what=f"version {version}")

    def counted(self):
        with contextlib.closing(psycopg2.connect(self.database)) as db, db.cursor() as cursor:
            cursor.execute("select type, n from changes")
            return dict(cursor.fetchall())

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(params=["python", "node", "go", "java"])
def follower(request, suite, commands, tmp_path):
    follower = Follower(suite, commands[request.param], tmp_path)
    with contextlib.closing(psycopg2.connect(suite.servers.postgresql.url)) as db:
        db.autocommit = True
        db.cursor().execute("create database reports")
    yield follower.start()
    follower.kill()
    with contextlib.closing(suite.amqp()) as connection:
        channel = connection.channel()
        for queue in (QUEUE, QUEUE + ".dead"):
            channel.queue_delete(queue)
        for exchange in (QUEUE + ".dead", REPLAY):
            channel.exchange_delete(exchange)
    with contextlib.closing(psycopg2.connect(suite.servers.postgresql.url)) as db:
        db.autocommit = True
        db.cursor().execute("drop database reports with (force)")


def test_it_follows_whatever_happens(suite, follower):
    phone = suite.device(new_user(), "phone")
    session, n = phone.create({"n": 0}), 1

    def change():
        nonlocal n
        n += 1
        assert phone.json_patch(session["id"], set_to("n", n)).status_code == 200

    change()
    follower.wait_at(session, 2)
    with contextlib.closing(suite.amqp()) as connection, Backend(suite) as backend:
        channel = connection.channel()
        gap = dict(queue=QUEUE, exchange="session_updates", routing_key="session.#")
        channel.queue_unbind(**gap)
        change()
        properties, _, event = backend.wait(session, 1, "state_delta")[0]
        channel.queue_bind(**gap)
        change()
        follower.wait_at(session, 4)  # and the third, which the queue never had
        channel.basic_publish("", QUEUE, json.dumps(event), properties)
        channel.basic_publish("", QUEUE, b"{", properties)
        wait_until(lambda: "set aside" in follower.text(), what="the bad message set aside")
        follower.kill()
        change()
        change()
        follower.start()
        follower.wait_at(session, 6)
        assert follower.positions(session) == [(1, v) for v in range(1, 7)]
        _, _, dead = channel.basic_get(QUEUE + ".dead", auto_ack=True)
        assert dead == b"{" and channel.basic_get(QUEUE + ".dead")[0] is None
        channel.queue_unbind(**gap)  # longer away than its queue reaches: an operator tells it again
        change()
        change()
        wait_until(lambda: suite.query("select 1 from session_events where session_id = %s and version = 8", session["id"]),
                   what="the trail")
        channel.exchange_declare(REPLAY, "topic", durable=True)
        channel.queue_bind(QUEUE, REPLAY, "session.#")
        handoff(suite, "sessions", "replay", session["id"], "--exchange", REPLAY, broker_user="operator")
        follower.wait_at(session, 8)
        assert follower.positions(session) == [(1, v) for v in range(1, 9)], "what it has seen it knows by its position"
        assert channel.basic_get(QUEUE + ".dead")[0] is None
        channel.queue_bind(**gap)
        lose(suite, session["id"])
        change()  # in another epoch, from which there is no way back to the one before: what the session is now is read
        follower.wait_at(session, 9, epoch=2)
        wait_until(lambda: follower.counted() == {"session_created": 1, "state_delta": 7, "state_sync": 1}, what="what it counted")
        dead = follower.text().count("set aside")
        follower.kill()
        channel.queue_unbind(**gap)
        change()
        channel.queue_bind(**gap)
        change()
        follower.start(HANDOFF_URL="http://127.0.0.1:1")  # it cannot ask for what is missing: that passes, and is no dead letter
        assert follower.processes[-1].wait(MAX_WAIT) > 0
        follower.start()
        follower.wait_at(session, 11, epoch=2)
        assert follower.positions(session)[9:] == [(2, 10), (2, 11)] and follower.text().count("set aside") == dead
        wait_until(lambda: follower.counted() == {"session_created": 1, "state_delta": 9, "state_sync": 1}, what="what it counted")
        follower.start()  # another beside it, on the same queue and database
        others = [phone.create({"n": 0}) for _ in range(5)]
        for n in range(1, 11):
            for other in others:
                assert phone.json_patch(other["id"], set_to("n", n)).status_code == 200
        wait_until(lambda: follower.counted() == {"session_created": 6, "state_delta": 59, "state_sync": 1}, what="what both counted")
        for other in others:
            assert sorted(follower.positions(other)) == [(1, v) for v in range(1, 12)]

"""docs/consume: each program follows every session through a doubled event, a gap, a message that cannot be read, its own absence, a
rebuild, an effect that fails, Handoff's absence and another beside it, with the rights of the broker's user `consumer`; and what it counted is right."""

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
from harness import MAX_WAIT, Suite, new_user, wait_until
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
        return [tuple(map(int, line.split()[1:3])) for line in self.text().splitlines() if line.startswith(session.id)]

    def wait_at(self, session, version, epoch=1):
        wait_until(lambda: (epoch, version) in self.positions(session), what=f"version {version}")

    def n_set_aside(self):
        return self.text().count("set aside")

    def counted(self):
        with contextlib.closing(psycopg2.connect(self.database)) as db, db.cursor() as cursor:
            cursor.execute("select type, sum(n) from changes group by type")
            return dict(cursor.fetchall())

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def refusing(database, check):
    """Its effect fails where that is not so."""
    with contextlib.closing(psycopg2.connect(database)) as db:
        db.autocommit = True
        db.cursor().execute(f"alter table changes add constraint refused check ({check})")
        yield
        db.cursor().execute("alter table changes drop constraint refused")


@pytest.fixture(scope="module")
def suite(new_realm, tmp_path_factory):
    """One of its own: what happens to anybody's sessions is counted."""
    suite = Suite(new_realm(), tmp_path_factory.mktemp("followed"))
    try:
        yield suite.start()
    finally:
        suite.stop()


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


class Session:
    """One that is changed, and whether its changes come to the queue is for the test to say."""

    def __init__(self, suite, channel):
        self.phone, self.channel, self.n = suite.device(new_user(), "phone"), channel, 1
        self.session = self.phone.create({"n": 0})
        self.id = self.session["id"]
        self.binding = dict(queue=QUEUE, exchange="session_updates", routing_key="session.#")

    def change(self, times=1):
        for _ in range(times):
            self.n += 1
            assert self.phone.json_patch(self.id, set_to("n", self.n)).status_code == 200

    def change_unheard(self, times=1):
        self.channel.queue_unbind(**self.binding)
        self.change(times)

    def be_heard(self):
        self.channel.queue_bind(**self.binding)


def take_dead(channel):
    method, _, body = channel.basic_get(QUEUE + ".dead", auto_ack=True)
    return body if method else None


def doubled_gap_and_unreadable(suite, follower, told, channel):
    told.change()
    follower.wait_at(told, 2)
    with Backend(suite) as backend:
        told.change_unheard()
        properties, _, event = backend.wait(told.session, 1, "state_delta")[0]
    told.be_heard()
    told.change()
    follower.wait_at(told, 4)  # and the third, which the queue never had
    channel.basic_publish("", QUEUE, json.dumps(event), properties)
    channel.basic_publish("", QUEUE, b"{", properties)
    assert wait_until(lambda: take_dead(channel), what="its dead letter") == b"{" and follower.n_set_aside() == 1


def killed(follower, told, channel):
    follower.kill()
    told.change(2)
    follower.start()
    follower.wait_at(told, 6)
    assert follower.positions(told) == [(1, v) for v in range(1, 7)]
    assert take_dead(channel) is None


def longer_away_than_its_queue_reaches(suite, follower, told, channel):
    """An operator tells it again."""
    told.change_unheard(2)
    wait_until(lambda: suite.query("select 1 from session_events where session_id = %s and version = 8", told.id), what="the trail")
    channel.exchange_declare(REPLAY, "topic", durable=True)
    channel.queue_bind(QUEUE, REPLAY, "session.#")
    handoff(suite, "sessions", "replay", told.id, "--exchange", REPLAY, broker_user="operator")
    follower.wait_at(told, 8)
    assert follower.positions(told) == [(1, v) for v in range(1, 9)], "what it has seen it knows by its position"
    assert take_dead(channel) is None
    told.be_heard()


def rebuilt_while_the_effect_fails(suite, follower, told, channel):
    """From another epoch there is no way back to the one before: what the session is now is read, as often as the effect does not take it."""
    lose(suite, told.id)
    with refusing(follower.database, "type <> 'state_sync'"):
        told.change()
        wait_until(lambda: follower.n_set_aside() == 2, what="what the effect refused set aside")
    dead = wait_until(lambda: take_dead(channel), what="its dead letter")  # it is said before it is there
    assert json.loads(dead)["version"] == 9 and follower.counted() == {"session_created": 1, "state_delta": 7}
    told.change()
    wait_until(lambda: follower.counted() == {"session_created": 1, "state_delta": 7, "state_sync": 1}, what="what it counted")
    assert follower.positions(told)[-1] == (2, 10)


def without_handoff(follower, told):
    """It cannot ask for what is missing: that passes, and is no dead letter."""
    follower.kill()
    told.change_unheard()
    told.be_heard()
    told.change()
    follower.start(HANDOFF_URL="http://127.0.0.1:1")
    assert follower.processes[-1].wait(MAX_WAIT) > 0
    follower.start()
    follower.wait_at(told, 12, epoch=2)
    assert follower.positions(told)[-3:] == [(2, 10), (2, 11), (2, 12)] and follower.n_set_aside() == 2


def two_on_one_queue(suite, follower, channel):
    follower.start()
    others = [Session(suite, channel) for _ in range(5)]
    for _ in range(10):
        for other in others:
            other.change()
    wait_until(lambda: follower.counted() == {"session_created": 6, "state_delta": 59, "state_sync": 1}, what="what both counted")
    for other in others:
        assert sorted(follower.positions(other)) == [(1, v) for v in range(1, 12)]


def test_it_follows_whatever_happens(suite, follower):
    with contextlib.closing(suite.amqp()) as connection:
        channel = connection.channel()
        told = Session(suite, channel)
        doubled_gap_and_unreadable(suite, follower, told, channel)
        killed(follower, told, channel)
        longer_away_than_its_queue_reaches(suite, follower, told, channel)
        rebuilt_while_the_effect_fails(suite, follower, told, channel)
        without_handoff(follower, told)
        two_on_one_queue(suite, follower, channel)

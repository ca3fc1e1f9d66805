"""docs/consume: each program follows every session through a doubled event, a gap, a message that cannot be read and its own
absence, with the rights of the broker's user `consumer`."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from backend import Backend
from harness import new_user, wait_until
from ws import set_to

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "docs" / "consume"
JARS = ":".join(f"/usr/share/java/{name}.jar" for name in (
    "amqp-client", "slf4j-api", "slf4j-nop", "jackson-databind", "jackson-core", "jackson-annotations"))


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """What starts each of them."""
    folder = tmp_path_factory.mktemp("consume")
    shutil.copy(PROGRAMS / "follow.mjs", folder)
    (folder / "node_modules").symlink_to(ROOT / "tests" / "consume" / "node_modules")
    subprocess.run(["go", "build", "-o", folder / "follow", PROGRAMS / "follow.go"], check=True,
                   env={**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(folder / "go")})
    return {"python": ["/usr/bin/python3", PROGRAMS / "follow.py"], "node": ["node", folder / "follow.mjs"],
            "go": [folder / "follow"], "java": ["java", "-XX:TieredStopAtLevel=1", "-cp", JARS, PROGRAMS / "Follow.java"]}


class Follower:
    def __init__(self, suite, command, queue, folder):
        self.suite, self.command, self.queue, self.log = suite, command, queue, folder / "out"
        admin = suite.device(new_user(), "reports", scope="sessions:admin sessions:read").token
        self.env = {**os.environ, "AMQP_URL": suite.servers.rabbitmq.url_for("consumer"),
                    **({"QUEUE": queue} if queue != "consumer.follow" else {}),  # its name unless told
                    "HANDOFF_URL": suite.api_url, "HANDOFF_TOKEN": admin, "DATABASE": str(folder / "follow.db")}
        self.n_started = 0

    def start(self):
        self.n_started += 1
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(self.command, env=self.env, stdout=out, stderr=out)
        wait_until(lambda: self.text().count("following\n") == self.n_started, what=self.command)
        return self

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def positions(self, session):
        """Of its versions, as they were acted upon."""
        return [tuple(map(int, line.split()[1:3])) for line in self.text().splitlines() if line.startswith(session["id"])]

    def wait_at(self, session, version):
        wait_until(lambda: (1, version) in self.positions(session), what=f"version {version}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(params=["python", "node", "go", "java"])
def follower(request, suite, commands, tmp_path):
    name = "consumer.reports" if request.param == "python" else "consumer.follow"
    follower = Follower(suite, commands[request.param], name, tmp_path).start()
    yield follower
    follower.kill()
    with contextlib.closing(suite.amqp()) as connection:
        channel = connection.channel()
        for queue in (name, name + ".dead"):
            channel.queue_delete(queue)
        channel.exchange_delete(name + ".dead")


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
        gap = dict(queue=follower.queue, exchange="session_updates", routing_key="session.#")
        channel.queue_unbind(**gap)
        change()
        properties, _, event = backend.wait(session, 1, "state_delta")[0]
        channel.queue_bind(**gap)
        change()
        follower.wait_at(session, 4)  # and the third, which the queue never had
        channel.basic_publish("", follower.queue, json.dumps(event), properties)
        channel.basic_publish("", follower.queue, b"{", properties)
        wait_until(lambda: "set aside" in follower.text(), what="the bad message set aside")
        follower.kill()
        change()
        change()
        follower.start()
        follower.wait_at(session, 6)
        assert follower.positions(session) == [(1, v) for v in range(1, 7)]
        _, _, dead = channel.basic_get(follower.queue + ".dead", auto_ack=True)
        assert dead == b"{" and channel.basic_get(follower.queue + ".dead")[0] is None

"""Two of each service behind haproxy on private servers, where each instance is of one of two versions."""

import os
import time

from harness import MAX_DRAIN, Suite, wait_until
from services import NAMES
from test_instances import wait_state
from world import INSTANCES, World

DEAD = ("state_engine.dead", "audit_writer.dead")


class Pair(World):
    """versions: {what one is called: folder of its binaries}. settings: {NAME: value} that the new one has alone."""

    def __init__(self, folder, versions, settings):
        super().__init__(folder)
        self.versions, self.settings, self.has = versions, settings, {}  # has: {instance: version}

    def start(self, version):
        self.servers.start()
        self.suite = Suite(self.servers, self.folder, instances=INSTANCES, HANDOFF_COLD_AFTER="1s")
        for known_as in self.instances():
            self.become(known_as, version)
        self.suite.start()
        return self

    @property
    def api_port(self):
        return self.suite.api_port

    @property
    def ws_port(self):
        return self.suite.ws_port

    def become(self, known_as, version):
        """From its next start on. Each version has a log of its own."""
        service = self.service(known_as)
        service.binary = os.path.join(self.versions[version], service.name)
        service.env = {name: value for name, value in service.env.items() if name not in self.settings}
        service.env |= self.settings if version == "new" else {}
        service.log = self.folder / f"{known_as}.{version}.log"
        self.has[known_as] = version

    def replace(self, known_as, version):
        """As docs/how-to/upgrade.md has it: SIGTERM, 0, seen by the proxy, the other one, ready, seen by the proxy."""
        began = time.monotonic()
        assert self.suite.terminate(known_as) == 0, f"{known_as} ({self.has[known_as]}) ended with another code than 0"
        assert time.monotonic() - began < MAX_DRAIN, f"{known_as} ({self.has[known_as]}) took too long to end"
        wait_state(self.suite, known_as, "DOWN")
        self.become(known_as, version)
        self.suite.restart(known_as)
        wait_state(self.suite, known_as, "UP")

    def mixture(self):
        """old/new of each service, an instance a letter: session_api oo, …"""
        return ", ".join(f"{name} {''.join(self.has[known_as][0] for known_as in self.instances(name))}" for name in NAMES)

    def dead_letters(self):
        """{queue: messages}"""
        with self.suite.amqp() as connection:
            channel = connection.channel()
            return {name: channel.queue_declare(name, passive=True).method.message_count for name in DEAD}

    def wait_published(self, session_id, version):
        """Redis has that version, and its published mark stands there; False when Redis has the session no more."""
        def marks():
            return self.redis().hmget(f"session:{{{session_id}}}:meta", "version", "published")
        if marks()[0] is None:
            return False
        wait_until(lambda: marks() in ([None, None], [str(version)] * 2), what=f"{session_id} at {version} in Redis: {marks()}")
        return True

"""An audit_writer alone, in a world of its own: told events over the broker as engines tell them, and
watched in PostgreSQL (contract sections 5 and 7)."""

import json
import secrets
import time
import uuid

import pika
import psycopg2
import redis
import requests

from harness import Suite, wait_until

EVENTS, DEAD = "audit_writer.events", "audit_writer.dead"
OWNER = "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
MOMENT = "2026-02-12T12:00:00.000Z"
KINDS = {"session_created": "created", "state_delta": "update", "status_changed": "status",
         "session_deleted": "deleted", "snapshot": "snapshot", "session_rebuilt": "rebuilt", "device_joined": "device_joined",
         "participant_changed": "participants"}


def new_session_id():
    moment, random = f"{int(time.time() * 1000):012x}", secrets.token_hex(10)
    return f"{moment[:8]}-{moment[8:]}-7{random[:3]}-8{random[3:6]}-{random[6:18]}"


def event(session_id, type, version, epoch=1, **more):
    return {"type": type, "sessionId": session_id, "epoch": epoch, "version": version, "timestamp": MOMENT,
            "userId": OWNER, "deviceId": "tab", **more}


def created(session_id, **more):
    return event(session_id, "session_created", 1, session={
        "userId": OWNER, "name": "A", "type": "chess", "status": "active", "createdAt": MOMENT,
        "completedAt": None, "ttlSeconds": 60, "onIdle": "pause", "activeDeviceId": "tab",
        "lastModified": MOMENT, "modifiedBy": "tab", "checksum": "c1"}, **more)


def delta(session_id, version, **more):
    return event(session_id, "state_delta", version, operations=[], checksum=f"c{version}", **more)


class Trail:
    """An audit_writer of `realm`, its tables, and a channel beside it."""

    def __init__(self, realm, folder, instances=1, **env):
        folder.mkdir()
        self.realm = realm
        env.setdefault("HANDOFF_DATABASE_URL", self._own_role())
        self.suite = Suite(realm, folder, names=["audit_writer"], instances=instances, **env)
        self.suite.proxy = None
        self.suite.start()
        self.connection = self.suite.amqp()
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.answers = []
        self.channel.basic_consume("amq.rabbitmq.reply-to", self._on_answer, auto_ack=True)

    def _own_role(self):
        """The database's owner, who is nobody else: named as it. Its address."""
        name, address = self.database, self.realm.postgresql.url.rpartition("@")[2]
        self.admin(f"create role {name} login password 'clerk'")
        self.admin(f"alter database {name} owner to {name}")
        self.sql(f"grant all on schema public to {name}")
        return f"postgres://{name}:clerk@{address}"

    def _on_answer(self, channel, method, properties, body):
        self.answers.append((properties.correlation_id, body))

    def stop(self):
        self.connection.close()
        self.suite.stop()

    # ---- telling and asking ----

    def tell_quickly(self, *events):
        """Confirmed by nobody: many of them."""
        with self.suite.amqp() as connection:
            self.tell(*events, channel=connection.channel())

    def tell(self, *events, message_id=None, headers=None, channel=None):
        """As an engine publishes them: confirmed."""
        for e in events:
            key = f"session.{e['sessionId']}.{KINDS[e['type']]}"
            properties = pika.BasicProperties(
                delivery_mode=2, type=e["type"], headers=headers,
                message_id=message_id or f"{e['sessionId']}:{e['epoch']}:{e['version']}")
            (channel or self.channel).basic_publish("session_updates", key, json.dumps(e).encode(), properties)

    def ask(self, n=1, reply_to="amq.rabbitmq.reply-to"):
        """Barriers: their correlation ids."""
        names = [str(uuid.uuid4()) for _ in range(n)]
        for name in names:
            self.channel.basic_publish("", EVENTS, b"{}", pika.BasicProperties(
                type="barrier", reply_to=reply_to, correlation_id=name))
        return names

    def hear(self, names, timeout=20):
        """Waits until these barriers are answered."""
        def heard():
            self.connection.process_data_events(0.02)
            return set(names) <= {name for name, _ in self.answers}
        wait_until(heard, timeout=timeout, what="the barriers' answers")

    def settle(self):
        """Until all that was told is where it belongs."""
        self.hear(self.ask())

    def take(self, queue):
        """The next message of a queue: (properties, body)."""
        def next_message():
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
            return method and (properties, body)
        return wait_until(next_message, timeout=10, what=f"a message in {queue}")

    def n_messages(self, queue):
        return self.channel.queue_declare(queue, passive=True).method.message_count

    # ---- looking ----

    def versions(self, session_id):
        rows = self.suite.query("select epoch, version from session_events where session_id = %s and "
                                "type <> 'snapshot' order by epoch, version", session_id)
        return [version for _, version in rows]

    def metric(self, name):
        service = self.suite.services["audit_writer"]
        text = requests.get(f"http://127.0.0.1:{service.admin_port}/metrics", timeout=5).text
        return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " "))

    def logged(self, event):
        return [r for r in self.suite.log_records("audit_writer") if r["event"] == event]

    # ---- Redis ----

    @property
    def redis(self):
        return redis.Redis.from_url(self.realm.redis.url, decode_responses=True)

    def keep(self, *events, **more):
        """In the delta window, as an engine's save leaves them; more: other fields of the entries."""
        for e in events:
            self.redis.xadd(f"session:{{{e['sessionId']}}}:deltas",
                            {"t": int(time.time() * 1000), "c": str(uuid.uuid4()),
                             "e": json.dumps(e, separators=(",", ":")), **more},
                            id=f"{e['version']}-0")

    # ---- the database ----

    @property
    def database(self):
        return self.realm.postgresql.url.rpartition("/")[2]

    def sql(self, sql, *parameters):
        """As the server's owner."""
        connection = psycopg2.connect(self.realm.postgresql.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql, parameters)
        finally:
            connection.close()

    def admin(self, sql):
        """As the server's owner, from another database."""
        connection = psycopg2.connect(self.realm.postgresql.url.rpartition("/")[0] + "/postgres")
        connection.autocommit = True
        try:
            connection.cursor().execute(sql)
        finally:
            connection.close()

    def dependencies(self):
        """What /ready says: {name: is up}."""
        port = self.suite.services["audit_writer"].admin_port
        body = requests.get(f"http://127.0.0.1:{port}/ready", timeout=5).json()
        return {name: d["up"] for name, d in body["dependencies"].items()}

    def close_database(self):
        self.admin(f"alter database {self.database} with allow_connections false")
        self.admin(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{self.database}'")
        wait_until(lambda: not self.dependencies()["postgresql"], what="the lost database")

    def open_database(self):
        self.admin(f"alter database {self.database} with allow_connections true")

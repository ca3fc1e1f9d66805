"""Independent looks: a subscriber on a queue of its own, PostgreSQL's rows, and probes that say when everything is
whole again after a fault."""

import json
import threading
import time

import pika.exceptions
import psycopg2
import websocket

from harness import new_user, token as make_token
from devices import TOKEN_SECONDS, Rest

QUEUE = "chaos.subscriber"
MAX_WHOLE = 90.0  # s; longer: it does not become whole by itself


class Subscriber(threading.Thread):
    """Everything that is published, from a durable queue bound to session.#; straight to the broker. connect: a
    connection of pika's, or its exceptions. arguments: of the queue."""

    def __init__(self, model, connect, arguments):
        super().__init__(daemon=True)
        self.model, self.connect, self.arguments = model, connect, arguments
        self.is_stopped, self.bound, self.ids = False, threading.Event(), {}

    def run(self):
        while not self.is_stopped:
            try:
                self.consume()
            except (pika.exceptions.AMQPError, OSError):
                time.sleep(0.2)

    def consume(self):
        connection = self.connect()
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, arguments=self.arguments)
        channel.queue_bind(QUEUE, "session_updates", "session.#")
        channel.basic_qos(prefetch_count=500)
        self.bound.set()
        for method, properties, body in channel.consume(QUEUE, inactivity_timeout=0.5):
            if method:
                self.take(properties, json.loads(body))
                channel.basic_ack(method.delivery_tag)
            if self.is_stopped:
                break
        connection.close()

    def lose(self):
        """The broker lost the queue; it is missed until it is there again."""
        self.bound.clear()
        self.model.forgets = True

    def take(self, properties, event):
        self.model.event(event, "subscriber")
        if event["type"] in ("broadcast", "device_joined", "device_left", "snapshot", "session_rebuilt", "clock_warning"):
            return
        message_id = f"{event['sessionId']}:{event['epoch']}:{event['version']}"
        if properties.message_id != message_id:
            self.model.violation("another message id", f"{properties.message_id}, not {message_id}")


ROWS = ("select epoch, version, payload from session_events where session_id = %s and (epoch, version) > (%s, %s) "
        "and type in ('session_created', 'state_delta', 'status_changed', 'participant_changed', 'device_changed', "
        "'session_deleted', 'clock_set', 'clock_switched', 'clock_adjusted', 'clock_expired') order by epoch, version")


class Rows:
    """PostgreSQL, with a connection that is made again when it is gone."""

    def __init__(self, url):
        self.url, self.connection = url, None

    def after(self, session_id, position):
        """[(epoch, version, payload)] of versioned events; None while PostgreSQL does not answer."""
        return self._ask(ROWS, (session_id, *position))

    def is_cold(self, session_id):
        """False also while PostgreSQL does not answer."""
        rows = self._ask("select cold_epoch is not null from sessions where id = %s", (session_id,))
        return bool(rows and rows[0][0])

    def _ask(self, statement, values):
        try:
            if not self.connection:
                self.connection = psycopg2.connect(self.url, connect_timeout=2,
                                                   options="-c statement_timeout=2000 -c lock_timeout=2000")
                self.connection.autocommit = True
            with self.connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall()
        except psycopg2.Error:
            self.close()
            return None

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Probe:
    """One write on each kind of path, through each instance, until each succeeds."""

    def __init__(self, world, model):
        self.world, self.model, self.n = world, model, 0
        self.user = new_user()
        rest = Rest(world.api_port, self.user, "probe")
        status, answer = rest.request("POST", "/sessions", {"name": "probe", "type": "chaos", "data": {"t": "probe"}})
        assert status == 201, answer
        self.session = model.add_session(answer["id"], self.user)
        model.acked(model.begin(self.session, "probe", "create", "probe"), (answer["epoch"], 1))
        self.rows = Rows(world.servers.postgresql.url)
        self.lock = threading.Lock()

    def op(self, device):
        with self.lock:
            self.n += 1
            op = self.model.begin(self.session, f"probe.{self.n}", "patch", device)
        return op, [{"op": "add", "path": f"/data/{device}", "value": {"t": op.token}}]

    def by_rest(self, service, until):
        op, operations = self.op(service.known_as)
        while time.monotonic() < until:
            rest = Rest(service.port, self.user, service.known_as)
            status, answer = rest.request("PATCH", f"/sessions/{self.session.id}", {"operations": operations}, op.token,
                                          bound=6)
            rest.close()
            self.model.tried(op, str(status))
            if status == 200:
                self.model.acked(op, (answer["epoch"], answer["version"]))
                return op.position
            time.sleep(0.05)
        return None

    def by_websocket(self, service, until):
        op, operations = self.op(service.known_as)
        command = {"type": "patch", "id": op.token, "key": op.token, "sessionId": self.session.id,
                   "operations": operations}
        while time.monotonic() < until:
            try:
                if self.ask(service, op, command):
                    return op.position
            except (OSError, websocket.WebSocketException):
                pass
            time.sleep(0.05)
        return None

    def ask(self, service, op, command):
        header = [f"Authorization: Bearer {make_token(self.user, service.known_as, seconds=TOKEN_SECONDS)}"]
        ws = websocket.create_connection(f"ws://127.0.0.1:{service.port}/ws?session={self.session.id}", timeout=6,
                                         subprotocols=["handoff.v1"], header=header, suppress_origin=True)
        try:
            ws.send(json.dumps(command))
            self.model.tried(op, "sent by WebSocket")
            seen, mine = set(), None
            while mine is None or not any(at >= mine for at in seen):
                frame = json.loads(ws.recv() or "{}")
                if frame.get("type") == "ack":
                    mine = (frame["epoch"], frame["version"])
                    self.model.acked(op, mine, frame.get("replayed"))
                elif frame.get("type") in ("state_sync", "state_delta", "status_changed"):
                    seen.add((frame["epoch"], frame["version"]))
                else:
                    if frame.get("type", "error") == "error":
                        return False
            return True
        finally:
            ws.close(timeout=0)

    def events(self, positions, until):
        while time.monotonic() < until:
            if set(positions) <= self.session.published:
                return True
            time.sleep(0.02)
        return False

    def audit(self, positions, until):
        while time.monotonic() < until:
            rows = self.rows.after(self.session.id, (min(positions)[0], min(positions)[1] - 1))
            if rows is not None and set(positions) <= {(epoch, version) for epoch, version, _ in rows}:
                return True
            time.sleep(0.05)
        return False

    def whole(self, since):
        """{path: seconds after `since` until it was whole}; None for one that did not become so."""
        until, results, threads, positions = since + MAX_WHOLE, {}, [], []

        def run(name, path, service):
            position = path(service, until)
            results[name] = time.monotonic() - since if position else None
            if position:
                positions.append(position)

        for service in self.world.suite.services.values():
            path = {"session_api": self.by_rest, "ws_fanout": self.by_websocket}.get(service.name)
            if path:
                threads.append(threading.Thread(target=run, args=(service.known_as, path, service), daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, look in (("events", self.events), ("rows", self.audit)):
            is_there = len(positions) == len(threads) and look(positions, until)
            results[name] = time.monotonic() - since if is_there else None
        return results

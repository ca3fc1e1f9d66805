"""A world in which one service after the other dies, stands still or fails at one of its crash points
(base/crash_point.h), under writes of which everything is known; and the judging of what became of them."""

import contextlib
import json
import pathlib
import re
import threading
import time
import uuid

import pika
import websocket

from harness import BUILD, FINDING, MAX_WAIT, ROOT, Closed, Socket, Suite, free_ports, metric, new_user, wait_until

SERVICES = {"engine": "state_engine", "fanout": "ws_fanout", "audit": "audit_writer"}
ACTIONS = ["die", "fail", "pause"]
POINT = re.compile(r'CRASH_(?:POINT|POINT_CUT|LINK)\(\s*"([^"]+)"')
VERSIONED = {"session_created", "state_delta", "status_changed", "session_deleted", "clock_expired"}
SIGKILL = -9


def points_of_sources():
    """Every point, in the order of files."""
    return [name for path in sorted((ROOT / "services").glob("**/*.c")) for name in POINT.findall(path.read_text())]


def service_of(point):
    return SERVICES[point.partition(".")[0]]


def binary_has(service, name):
    return name.encode() in (BUILD / "bin" / service).read_bytes()


def ring(token):
    return [{"op": "add", "path": "/data/ring/-", "value": token}]


def connect(device, port, session_id, since=None, **more):
    """A WebSocket to the instance at that port."""
    query = f"?session={session_id}" + (f"&since={since}" if since else "")
    return Socket(f"ws://127.0.0.1:{port}/ws{query}", header=[f"Authorization: Bearer {device.token}"], **more)


class Write:
    """One change and what is known of it. outcome: "acknowledged", "refused" or, when nobody said, "unknown"."""

    def __init__(self, token, key=None):
        self.token, self.key, self.outcome, self.version = token, key, "unknown", None


class Writer(threading.Thread):
    """A device that makes one change after the other over REST. With a key a change is sent until its outcome
    is known; without, again only after a 503, which says that nothing was applied."""

    def __init__(self, device, session_id, kind, n):
        super().__init__(daemon=True)
        self.device, self.session_id, self.kind, self.n = device, session_id, kind, n
        self.writes, self.error, self.created = [], None, None

    def run(self):
        try:
            if self.kind == "keyed":
                self._create()
            for i in range(self.n):
                self._change(f"{self.kind}{i}", ring, {})
            if self.kind == "keyed":
                self._change("apart", lambda t: [{"op": "add", "path": "/data/apart", "value": t}],
                             {"baseVersion": 1, "merge": "disjoint"})
                self._change("late", ring, {"baseVersion": 1})
        except BaseException as error:
            self.error = error

    def _create(self):
        """Twice with one key: it is one session."""
        def create():
            headers = {"Idempotency-Key": f"create {self.session_id}"}
            return self.device.post("/sessions", json={"name": "n", "type": "t"}, headers=headers)
        self.created = [self._until_known(create)["id"] for _ in range(2)]

    @staticmethod
    def _until_known(send):
        deadline = time.monotonic() + 3 * MAX_WAIT
        while True:
            answer = send()
            if answer.status_code < 500:
                return answer.json()
            assert time.monotonic() < deadline, f"still {answer.status_code}: {answer.text}"
            time.sleep(0.05)  # a client's backoff

    def _change(self, token, operations, more):
        write = Write(token, key=str(uuid.uuid4()) if self.kind == "keyed" else None)
        self.writes.append(write)
        if write.key:
            more = {**more, "headers": {"Idempotency-Key": write.key}}
        while write.outcome == "unknown":
            answer = self.device.patch(self.session_id, operations(token), **more)
            if answer.status_code == 200:
                write.outcome, write.version = "acknowledged", answer.json()["version"]
            elif answer.status_code == 409:
                write.outcome = "refused"
            else:
                assert answer.status_code in (503, 504), answer.text
                if answer.status_code == 504 and not write.key:
                    return
                time.sleep(0.05)  # a client's backoff


class Watcher(threading.Thread):
    """A device on a WebSocket, which also writes there, with keys. When its connection ends it goes on at
    `elsewhere`, from its position."""

    def __init__(self, device, session_id, port, elsewhere, writes=0, says=False):
        super().__init__(daemon=True)
        self.device, self.session_id, self.ports = device, session_id, [port, elsewhere]
        self.at, self.last, self.seen, self.error = None, None, [], None
        self.left = [Write(f"ws{i}", key=str(uuid.uuid4())) for i in range(writes)]
        self.writes, self.says, self.joined = list(self.left), says, threading.Event()

    def run(self):
        try:
            while not self._is_done():
                with contextlib.suppress(Closed, OSError, websocket.WebSocketException):
                    self._watch(self.ports[0])
                self.ports[0] = self.ports[1]
                time.sleep(0.02)  # a client's backoff
        except BaseException as error:
            self.error = error
        self.joined.set()

    def _is_done(self):
        return self.last is not None and self.at is not None and self.at >= self.last and not self.left

    def _watch(self, port):
        with connect(self.device, port, self.session_id, since=self.at, timeout=10) as socket:
            socket.hears_presence, begun, wait = True, False, time.monotonic() + MAX_WAIT
            socket.ws.settimeout(0.2)
            while not self._is_done():
                assert time.monotonic() < wait or self.last is None, f"silence at {self.at}, {self.last} is the last"
                try:
                    frame = socket.recv_any()
                except websocket.WebSocketTimeoutException:
                    continue
                wait = time.monotonic() + MAX_WAIT
                self._take(socket, frame)
                if self.at and not begun:
                    begun = True
                    self.joined.set()
                    if self.says:
                        socket.send(type="broadcast", id="said", sessionId=self.session_id, message="m")
                    self._send(socket)

    def _send(self, socket):
        if self.left:
            w = self.left[0]
            socket.send(type="patch", id=w.token, key=w.key, sessionId=self.session_id, operations=ring(w.token))

    def _take(self, socket, frame):
        kind = frame["type"]
        if kind == "state_sync":
            assert not self.at or frame["version"] >= self.at, f"back from {self.at}: {frame}"
            self.at = frame["version"]
        elif kind in VERSIONED:
            assert frame["version"] == self.at + 1, f"{frame['version']} after {self.at}"
            self.at = frame["version"]
        elif kind == "subscribed":
            pass
        elif self.left and frame.get("id") == self.left[0].token:
            if kind == "ack":
                w = self.left.pop(0)
                w.outcome, w.version = "acknowledged", frame["version"]
            else:
                assert kind == "error" and frame["code"] in ("unavailable", "timeout"), frame
                time.sleep(0.05)  # a client's backoff
            self._send(socket)
        elif kind == "error" and frame.get("sessionId") == self.session_id and frame.get("id") != "said":
            assert frame["code"] in ("unavailable", "timeout"), frame
            raise OSError("refused: comes back")


class Work:
    """A session, who writes to it and who watches it."""

    def __init__(self, lane):
        self.lane, self.user = lane, new_user()
        self.phone = lane.suite.device(self.user, "phone")
        self.session = self.phone.create({"ring": [], "start": 1})
        self.writers, self.watcher = [], None

    def watch(self, port, **more):
        self.watcher = Watcher(self.lane.suite.device(self.user, "tablet"), self.session["id"], port,
                               self.lane.suite.ws_port, **more)
        self.watcher.start()

    def write(self):
        for kind, n in (("keyed", 2), ("bare", 2)):
            device = self.lane.suite.device(self.user, kind)
            self.writers.append(Writer(device, self.session["id"], kind, n))
            self.writers[-1].start()

    def judge(self, has_refills):
        """has_refills: versions may be in PostgreSQL because audit_writer took them from Redis."""
        for thread in self.writers:
            thread.join(4 * MAX_WAIT)
            if thread.error:
                raise thread.error
            assert not thread.is_alive(), f"still writing: {[(w.token, w.outcome) for w in thread.writes]}"
        wait_until(lambda: not self.watcher.left or not self.watcher.is_alive(), what="writes over the WebSocket")
        if self.watcher.error:
            raise self.watcher.error
        state = self.phone.read(self.session["id"])
        writes = [w for thread in self.writers + [self.watcher] for w in thread.writes]
        self._judge_state(state, writes)
        self._judge_rows(state, writes)
        if not has_refills:
            self._judge_trail()
        self.lane.subscriber.wait_whole(self.session["id"], state["version"])
        self._judge_watcher(state["version"])
        self._judge_creates()

    def _judge_state(self, state, writes):
        data = state["data"]
        there = data["ring"] + ([data["apart"]] if "apart" in data else [])
        assert len(there) == len(set(there)), f"twice: {there}"
        by_token = {w.token: w for w in writes}
        assert set(there) <= set(by_token), f"nobody wrote {set(there) - set(by_token)}"
        for w in writes:
            assert w.outcome != "acknowledged" or w.token in there, f"{w.token} is lost: {there}"
            assert w.outcome != "refused" or w.token not in there, f"{w.token} was refused"
        assert state["epoch"] == 1 and state["version"] == 1 + len(there), state

    def _judge_rows(self, state, writes):
        def rows():
            found = self.lane.suite.events_in_postgresql(self.session["id"])
            return found if len(found) >= state["version"] else None
        found = wait_until(rows, what=f"{state['version']} rows")
        assert [v for v, _, _ in found] == list(range(1, state["version"] + 1))
        text = {version: json.dumps(payload.get("operations")) for version, _, payload in found}
        for w in writes:
            assert w.version is None or f'"{w.token}"' in text[w.version], (w.token, text[w.version])

    def _judge_trail(self):
        """What an audit_writer loses must not be there only because its successor took it from Redis."""
        for writer in self.lane.suite.instances("audit_writer"):
            if writer.process.poll() is None:
                assert metric(writer, "handoff_audit_refilled_total") == 0, "the trail had a gap"

    def _judge_watcher(self, last):
        self.watcher.last = last
        self.watcher.join(2 * MAX_WAIT)
        if self.watcher.error:
            raise self.watcher.error
        assert not self.watcher.is_alive(), f"the watcher is at {self.watcher.at} of {last}"

    def _judge_creates(self):
        created = [w.created for w in self.writers if w.created]
        assert all(len(set(ids)) == 1 for ids in created), created
        n = self.lane.suite.query("select count(*) from sessions where user_id = %s and name = 'n'", self.user)[0][0]
        assert n <= len(created), "a create took effect twice"


class Subscriber:
    """Another backend: all that is published, by session and position."""

    def __init__(self, suite):
        url = suite.servers.rabbitmq.url + "?heartbeat=0"
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, "session_updates", "session.#")
        self.got, self.messages = {}, {}

    def take(self):
        while True:
            method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            if not method:
                return
            event = json.loads(body) if body[:1] == b"{" else {}
            if event.get("type") in VERSIONED | {"session_rebuilt"}:
                key = event["type"] == "session_rebuilt", event["epoch"], event["version"]
                self.got.setdefault(event["sessionId"], {}).setdefault(key, set()).add(body)
                self.messages[event["sessionId"]] = method.routing_key, properties, body

    def rebuilt(self, session_id):
        """The positions of rebuilds that were told."""
        self.take()
        return sorted(key[1:] for key in self.got.get(session_id, {}) if key[0])

    def wait_whole(self, session_id, version):
        """Every version up to there came, each with one content."""
        def came():
            self.take()
            return {key[2]: bodies for key, bodies in self.got.get(session_id, {}).items() if not key[0]}
        wait_until(lambda: len(came()) >= version, what=f"{version} versions published")
        assert sorted(came()) == list(range(1, version + 1))
        assert all(len(bodies) == 1 for bodies in came().values()), "two contents for one version"


class Armed:
    """An instance with one crash point chosen."""

    def __init__(self, lane, point, action, env):
        self.lane, self.point, self.action = lane, point, action
        lane.n_armed += 1
        name, port = service_of(point), free_ports(1)[0]
        self.service = lane.suite._add(name, f"{name}.{lane.n_armed}", free_ports(1)[0], port)
        self.service.env.update(env, CRASH_POINT=f"{point}={action}", CRASH_POINT_PAUSE_MS=str(lane.pause_ms))
        self.port = port
        self.service.start()

    def was_hit(self):
        return f'"point":"{self.point}"' in self.service.log.read_text(errors="replace")

    def wait_up(self):
        """Ready; or it has come to its point before that."""
        wait_until(lambda: self.was_hit() or self.service.is_ready(), what=f"{self.service.known_as} to start")

    def wait_hit(self):
        wait_until(self.was_hit, what=f"{self.point} to be passed")
        if self.action == "die":
            self.service.process.wait(MAX_WAIT)
            assert self.service.process.returncode == SIGKILL

    def wait_awake(self):
        """Whole again after it stood still, or failed."""
        if self.action != "die":
            wait_until(self.service.is_ready, timeout=MAX_WAIT + self.lane.pause_ms / 1000, what="it goes on")

    def end(self):
        """Ends it, where it did not die; nothing may be found in its log."""
        self.service.stop(timeout=MAX_WAIT)
        code = self.service.process.returncode
        text = self.service.log.read_text(errors="replace")
        assert not FINDING.search(text), text[-6000:]
        assert code == (SIGKILL if self.action == "die" and self.was_hit() else 0), f"ended with {code}: {text[-2000:]}"
        self.lane.suite.services.pop(self.service.known_as)


class Lane:
    """The four services, of which one at a time is replaced by an instance with a crash point."""

    def __init__(self, realm, folder, pause_ms):
        self.suite, self.pause_ms, self.n_armed = Suite(realm, pathlib.Path(folder)), pause_ms, 0
        self.suite.start()
        self.subscriber = Subscriber(self.suite)
        self.redis = self.suite.redis_client()

    def run(self, point, action, scenario):
        is_beside = service_of(point) == "ws_fanout"
        scenario.before(self)
        work = Work(self)
        if not is_beside:
            self.suite.terminate(service_of(point))
        scenario.without(self, work)
        armed = Armed(self, point, action, scenario.env)
        try:
            self._pass(work, armed, scenario, is_beside)
            scenario.after(self, action)
            work.judge(scenario.has_refills or armed.service.name != "audit_writer")
        finally:
            self._tidy(armed, is_beside)

    def _pass(self, work, armed, scenario, is_beside):
        armed.wait_up()
        if scenario.is_first:
            armed.wait_hit()
        work.watch(armed.port if is_beside else self.suite.ws_port, **scenario.watching)
        if not work.writers:
            work.write()
        scenario.during(self, work, armed)
        armed.wait_hit()
        if armed.action != "fail" and not is_beside:
            self.suite.restart(armed.service.name)
        armed.wait_awake()

    def _tidy(self, armed, is_beside):
        healthy = self.suite.services[armed.service.name]
        if not is_beside and healthy.process.poll() is not None:
            self.suite.restart(armed.service.name)
        armed.end()

    def stop(self):
        try:
            self.subscriber.connection.close()
        finally:
            self.suite.stop()

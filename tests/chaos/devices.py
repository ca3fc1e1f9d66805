"""Devices that write and watch, over REST and WebSockets, as PROTOCOL.md tells an app to: what has an unknown
outcome is sent again with its key, a conflict is read anew, a lost connection resumes from its position.

Each session has a phone (REST), a laptop (a WebSocket that writes and watches) and, every other one, a tablet that
watches. Everything that is sent and told goes into the model."""

import collections
import http.client
import json
import random
import select
import threading
import time

import websocket

from harness import token as make_token
from model import Watcher

CLIENT_BOUND = 20.0   # s: a client's own; then the outcome is unknown
MAX_ANSWER = 12.0     # s: contract 5 has 10, and what a busy machine adds
TOKEN_SECONDS = 12 * 3600
KEYLESS = 4           # each so manieth write of a device
NOT_APPLIED = {"unavailable", "rate_limited"}
IDLE = 30.0           # s: then a connection is not used again, since haproxy closes it after 60
REFUSALS = {"version_conflict", "invalid_transition"}


class Rest:
    """A device's HTTP, or that of many when it has no name. Answers (status, body); (0, None) when there was none: it
    may have taken effect. was_replayed: the last answer was to a repeat. answers: about how many there were of each
    status, of all devices."""

    answers = collections.Counter()

    def __init__(self, port, user, device):
        self.port, self.connection, self.was_replayed, self.used = port, None, False, 0.0
        self.headers = {"Authorization": f"Bearer {make_token(user, device, seconds=TOKEN_SECONDS)}",
                        "Content-Type": "application/json"}

    def request(self, method, path, body=None, key=None, bound=CLIENT_BOUND, more=None):
        headers = {**self.headers, **({"Idempotency-Key": key} if key else {}), **(more or {})}
        if time.monotonic() - self.used > IDLE:
            self.close()
        self.used = time.monotonic()
        try:
            if not self.connection:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=bound)
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self.connection.getresponse()
            text = answer.read()
            self.was_replayed = answer.getheader("Idempotency-Replayed") == "true"
            self.answers[answer.status] += 1
            return answer.status, json.loads(text) if text else None
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            self.answers[0] += 1
            return 0, None

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Gate:
    """Open: new writes may begin. Closed: those begun are brought to their end."""

    def __init__(self):
        self.opened, self.ended, self.lock, self.n_busy = threading.Event(), threading.Event(), threading.Lock(), 0

    def begin(self):
        with self.lock:
            if not self.opened.is_set() or self.ended.is_set():
                return False
            self.n_busy += 1
            return True

    def end(self):
        with self.lock:
            self.n_busy -= 1

    def close(self, timeout):
        """True when nothing is under way any more."""
        with self.lock:
            self.opened.clear()
        deadline = time.monotonic() + timeout
        while self.n_busy and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.n_busy == 0


class Device:
    """What phones and laptops have in common: a session, a gate, tokens. refusals: codes that it may get."""

    refusals = REFUSALS

    def __init__(self, load, session, name):
        self.load, self.model, self.session, self.name = load, load.model, session, name
        self.random = random.Random(f"{load.seed} {load.n_devices} {name}")
        self.known, self.n = None, 0  # known: (epoch, version, n of /data/shared) as last told
        load.n_devices += 1
        self.slot = f"w{load.n_devices}"

    def token(self):
        self.n += 1
        return f"{self.slot}.{self.n}"

    def pause(self):
        """Between two writes, so that all together make the load's rate."""
        return self.random.expovariate(self.load.rate / self.load.n_writers)

    def backoff(self):
        time.sleep(self.random.uniform(0.05, 0.3))

    def choose(self):
        """(op, body of the patch or status)"""
        dice, token = self.random.random(), self.token()
        value = {"t": token, "n": self.n}
        if dice < 0.08:
            to = self.random.choice(["paused", "active", "active"])
            return self.model.begin(self.session, token, "status", self.name, to), {"status": to}
        if dice < 0.35:
            operations, more = [{"op": "add", "path": "/data/ring/-", "value": value},
                                {"op": "remove", "path": "/data/ring/0"}], {}
        elif dice < 0.60 and self.known:
            operations = [{"op": "replace", "path": "/data/shared", "value": value}]
            more = {"baseVersion": self.known[1], "epoch": self.known[0]}
        else:
            operations, more = [{"op": "add", "path": f"/data/{self.slot}", "value": value}], {}
            if self.known and dice < 0.8:
                more = {"baseVersion": self.known[1], "epoch": self.known[0], "merge": "disjoint"}
        return self.model.begin(self.session, token, "patch", self.name), {"operations": operations, **more}

    def key_of(self, op):
        """Some writes have none: what happens to them is for the command's own id to say. Their outcome may stay
        unknown, since they cannot be sent again."""
        return None if op.kind == "patch" and self.n % KEYLESS == 0 else op.token

    def is_over(self, op, code, detail):
        """Judges a problem's code; whether the operation is over. Else it is to be sent again."""
        self.model.tried(op, code)
        if code == "timeout":
            return not self.key_of(op)
        if code in NOT_APPLIED:
            return False
        if code not in self.refusals:
            self.model.violation("an answer that nobody may give", f"{op.token}: {code}: {detail}", self.session)
        self.model.refused(op, code)
        self.known = None
        return True

    def ask(self, method, path, body, key):
        """Until it is answered otherwise than by 503, 504 or silence."""
        while not self.load.gate.ended.is_set():
            began = time.monotonic()
            status, answer = self.rest.request(method, path, body, key)
            self.took(f"{method} {path}", began)
            if status not in (0, 503, 504):
                return status, answer
            self.backoff()
        return 0, None

    def took(self, op, began):
        """No request hangs: but through a process that was stopped, or a link that was."""
        seconds = time.monotonic() - began
        self.load.note_latency(seconds)
        if seconds > MAX_ANSWER and not self.load.excuses(began, began + seconds):
            self.model.violation("a request hung", f"{op}: {seconds:.1f} s", self.session)


class Phone(Device):
    def run(self):
        self.rest = Rest(self.load.api_port, self.session.user, self.name)
        while not self.load.gate.ended.wait(self.pause()):
            if not self.load.gate.begin():
                continue
            try:
                self.write()
                if self.random.random() < 0.15 or self.known is None:
                    self.read()
                elif self.random.random() < 0.05:
                    self.catch_up()
            finally:
                self.load.gate.end()
        self.rest.close()

    def write(self):
        op, body = self.choose()
        path = f"/sessions/{self.session.id}"
        method = "PATCH"
        if op.kind == "status":
            method, path, body = "POST", f"{path}?status={op.to}", None
        while not self.load.gate.ended.is_set():
            began = time.monotonic()
            status, answer = self.rest.request(method, path, body, key=self.key_of(op))
            self.took(op.token, began)
            if status in (200, 201):
                self.known = (answer["epoch"], answer["version"])
                return self.model.acked(op, self.known)
            code = answer["code"] if answer else "timeout"
            if self.is_over(op, code, answer and answer["detail"]):
                return None
            self.backoff()
        return None

    def read(self):
        floor, began = self.model.floor(self.session), time.monotonic()
        status, answer = self.rest.request("GET", f"/sessions/{self.session.id}")
        self.took("a read", began)
        if status == 200:
            self.known = (answer["epoch"], answer["version"])
            self.model.read(self.session, floor, answer, f"a read by {self.name}")
        elif status not in (0, 503, 504):
            self.model.violation("an answer that nobody may give", f"a read: {status} {answer}", self.session)

    def catch_up(self):
        if not self.known:
            return
        since = max(0, self.known[1] - 3)
        status, answer = self.rest.request(
            "GET", f"/sessions/{self.session.id}/deltas?since={since}&epoch={self.known[0]}&limit=20")
        if status == 200:
            versions = [item["version"] for item in answer["items"]]
            if versions != list(range(since + 1, since + 1 + len(versions))) and answer["complete"]:
                self.model.violation("deltas with a gap", f"since {since}: {versions}", self.session)
            for item in answer["items"]:
                self.model.event(item, "deltas")


class Laptop(Device):
    """writes: else it only watches."""

    def __init__(self, load, session, name, writes):
        super().__init__(load, session, name)
        self.writes, self.watcher = writes, Watcher(load.model, session, name)
        self.headers = [f"Authorization: Bearer {make_token(session.user, name, seconds=TOKEN_SECONDS)}"]
        self.pending, self.sent, self.next = None, 0.0, 0.0
        self.may_repeat = False  # the last try was certainly not applied

    def has_ended(self):
        return self.load.gate.ended.is_set() or self.session.id in self.model.finished

    def run(self):
        while not self.has_ended():
            try:
                self.live(self.connect())
            except websocket.WebSocketBadStatusException as error:
                self.model.ended(f"upgrade answered {error.status_code}")
                if error.status_code not in (500, 502, 503, 504):
                    self.model.violation("an answer that nobody may give",
                                         f"upgrade of {self.name}: {error.status_code}", self.session)
            except (OSError, websocket.WebSocketException) as error:
                self.model.ended(f"cut: {type(error).__name__}")
            self.watcher.lost()
            self.backoff()
        if self.pending:
            self.settle()

    def connect(self):
        url = f"ws://127.0.0.1:{self.load.ws_port}/ws?session={self.session.id}"
        if self.watcher.position:
            url += "&epoch=%d&since=%d" % self.watcher.position
        return websocket.create_connection(url, timeout=CLIENT_BOUND, subprotocols=["handoff.v1"],
                                           header=self.headers, suppress_origin=True)

    def live(self, ws):
        poll = select.poll()
        poll.register(ws.sock, select.POLLIN)
        self.sent, heard = 0.0, time.monotonic()
        try:
            while not self.has_ended():
                if poll.poll(200):
                    opcode, data = ws.recv_data(control_frame=True)
                    heard = time.monotonic()
                    if opcode == websocket.ABNF.OPCODE_CLOSE:
                        return self.model.ended(f"closed with {int.from_bytes(data[:2], 'big')}")
                    if opcode == websocket.ABNF.OPCODE_TEXT and not self.take(json.loads(data)):
                        return
                if time.monotonic() - heard > 36:  # the server pings after 25 s
                    return self.model.ended("silent")
                if self.watcher.is_synced and not self.write(ws):
                    return
        finally:
            ws.close(timeout=0)

    def take(self, frame):
        """False: the connection is of no use."""
        kind = frame["type"]
        if kind == "broadcast":
            self.model.heard(self.session, frame, self.name)
        elif kind == "ack" and self.pending and frame.get("id") == self.pending[0].token:
            self.answered(frame)
        elif kind == "error":
            return self.refused(frame)
        elif kind == "unsubscribed":
            return False
        elif frame.get("sessionId") == self.session.id:
            self.watcher.take(frame)
            self.known = self.watcher.position
        return True

    def answered(self, frame):
        op = self.pending[0]
        self.took(op.token, self.sent)
        position = (0, 0) if op.kind == "broadcast" else (frame["epoch"], frame["version"])
        self.model.acked(op, position, frame.get("replayed"))
        self.settle()

    def refused(self, frame):
        """False when it is about the subscription."""
        if not self.pending or frame.get("id") != self.pending[0].token:
            self.model.ended(f"told {frame['code']}")
            return False
        op = self.pending[0]
        if op.kind == "broadcast" and frame["code"] in NOT_APPLIED:
            self.model.refused(op, frame["code"])
            self.settle()
        elif self.is_over(op, frame["code"], frame["detail"]) or op.kind == "broadcast":
            self.settle()
        else:
            self.sent, self.next = 0.0, time.monotonic() + self.random.uniform(0.05, 0.3)
            self.may_repeat = frame["code"] in NOT_APPLIED
        return True

    def settle(self):
        self.pending, self.next = None, time.monotonic() + self.pause()
        self.load.gate.end()

    def write(self, ws):
        now = time.monotonic()
        if self.pending and self.sent:
            if now - self.sent < CLIENT_BOUND / 2 + 1:
                return True
            self.took(self.pending[0].token, self.sent)
            return False
        if not self.writes or now < self.next:
            return True
        if not self.pending:
            if not self.load.gate.begin():
                return True
            self.pending = self.choose_command()
        op, command = self.pending
        if op.n_tries and (op.kind == "broadcast" or not self.key_of(op)) and not self.may_repeat:
            self.settle()
            return True
        self.model.tried(op, "sent by WebSocket")
        self.sent, self.may_repeat = now, False
        ws.send(json.dumps(command))
        return True

    def choose_command(self):
        if self.random.random() < 0.05:
            token = self.token()
            op, members = self.model.begin(self.session, token, "broadcast", self.name), {"message": {"t": token}}
        else:
            op, members = self.choose()
            members.update({"key": self.key_of(op)} if self.key_of(op) else {})
        return op, {"type": op.kind, "id": op.token, "sessionId": self.session.id, **members}

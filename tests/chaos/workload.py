"""The load: the devices of devices.py, sessions that rest, sessions that come and go, and who starts and stops them."""

import threading
import uuid

from clocks import N_TABLES, Table
from devices import CLIENT_BOUND, Device, Gate, Laptop, Phone, Rest
from harness import new_user

RING = 8
N_SLEEPERS = 16


class Sleeper(Phone):
    """Writes a little, then rests until its session went cold, or, with a ttl, paused by itself; and comes back."""

    COLD, IDLE = (13, 19), (62, 70)  # s: unused for 10 s a session goes cold, for 60 s it is idle

    def __init__(self, load, session):
        super().__init__(load, session, "phone")
        self.rests, self.is_back = self.IDLE if session.ttl else self.COLD, False

    def run(self):
        self.rest = Rest(self.load.api_port, self.session.user, self.name)
        while not self.load.gate.ended.is_set():
            for _ in range(self.random.randint(2, 5)):
                if self.load.gate.begin():
                    try:
                        self.write()
                        self.read()
                    finally:
                        self.load.gate.end()
                self.load.gate.ended.wait(self.random.uniform(0.1, 0.5))
            self.load.gate.ended.wait(self.random.uniform(*self.rests))
            self.is_back = True
            self.model.counts["came back cold"] += self.load.is_cold(self.session.id)
        self.rest.close()

    def choose(self):
        """First of all the session is to be active again: it may be paused meanwhile."""
        if self.is_back and self.session.ttl:
            self.is_back = False
            return self.model.begin(self.session, self.token(), "status", self.name, "active"), {"status": "active"}
        return super().choose()


class Creator(Device):
    """Makes sessions, changes them once, and deletes every other one."""

    def __init__(self, load, session):
        super().__init__(load, session, "creator")
        self.sessions = []

    def run(self):
        self.rest = Rest(self.load.api_port, self.session.user, self.name)
        while not self.load.gate.ended.wait(2 * self.pause()):
            if not self.load.gate.begin():
                continue
            try:
                self.create()
            finally:
                self.load.gate.end()

    def create(self):
        session = self.load.create(self.session.user, self.name, self.ask)
        if not session:
            return
        op = self.model.begin(session, self.token(), "patch", self.name)
        body = {"operations": [{"op": "add", "path": "/data/w", "value": {"t": op.token}}]}
        status, answer = self.ask("PATCH", f"/sessions/{session.id}", body, op.token)
        if status == 200:
            self.model.acked(op, (answer["epoch"], answer["version"]))
        elif status:
            self.model.violation("an answer that nobody may give", f"{status} {answer}", session)
        if status and self.n % 2:
            status, answer = self.ask("DELETE", f"/sessions/{session.id}", None, None)
            session.is_deleted = status in (204, 404)
        self.sessions.append(session)


class Load:
    """All devices. excuses(began, ended): the fault by which a request may have hung. is_cold(session id): whether
    PostgreSQL alone has it."""

    def __init__(self, model, api_port, ws_port, n_sessions, rate, seed, excuses, is_cold):
        self.is_cold = is_cold
        self.model, self.api_port, self.ws_port, self.seed = model, api_port, ws_port, seed
        self.n_sessions, self.rate, self.excuses = n_sessions, rate, excuses
        self.gate, self.devices, self.threads, self.creator, self.tables = Gate(), [], [], None, []
        self.n_devices, self.n_writers, self.latencies, self.lock = 0, 2 * n_sessions, [], threading.Lock()

    def note_latency(self, seconds):
        with self.lock:
            self.latencies.append(seconds)

    def create(self, user, device, ask, **more):
        """A session with a ring, under a key; None when the run ended before."""
        token = f"c{uuid.uuid4()}"
        data = {"t": token, "ring": [0] * RING, "shared": {}}
        status, answer = ask("POST", "/sessions", {"name": token, "type": "chaos", "data": data, **more}, token)
        if status != 201:
            if status:
                self.model.violation("an answer that nobody may give", f"create: {status} {answer}")
            return None
        session = self.model.sessions.get(answer["id"]) or self.model.add_session(answer["id"], user)
        # A repeat is shown the session as it is now, perhaps of a later epoch; it was made at (1, 1).
        self.model.acked(self.model.begin(session, token, "create", device), (1, 1))
        return session

    def start(self):
        for n in range(self.n_sessions):
            user = new_user()
            rest = Rest(self.api_port, user, "phone")
            session = self.create(user, "phone", lambda *request: rest.request(*request))
            assert session, "a session could not be made before any fault"
            self.devices += [Phone(self, session, "phone"), Laptop(self, session, "laptop", writes=True)]
            if n % 2 == 0:
                self.devices.append(Laptop(self, session, "tablet", writes=False))
            rest.close()
        for n in range(N_SLEEPERS):
            self.add_sleeper(60 if n % 4 == 0 else None)
        self.creator = Creator(self, self.model.add_session("creator", new_user()))
        self.model.finish(self.creator.session)
        self.tables = [Table(self) for _ in range(N_TABLES)]
        self.devices += [self.creator, *(player for table in self.tables for player in table.players)]
        self.threads = [threading.Thread(target=self.guard, args=(d,), daemon=True) for d in self.devices]
        for thread in self.threads:
            thread.start()
        self.gate.opened.set()
        return self

    def add_sleeper(self, ttl):
        """With a ttl somebody watches; then it does not go cold."""
        user = new_user()
        rest = Rest(self.api_port, user, "phone")
        session = self.create(user, "phone", lambda *request: rest.request(*request),
                              **({"ttlSeconds": ttl} if ttl else {}))
        assert session, "a session could not be made before any fault"
        session.ttl = ttl
        self.devices += [Sleeper(self, session)] + ([Laptop(self, session, "tablet", writes=False)] if ttl else [])
        rest.close()

    def guard(self, device):
        try:
            device.run()
        except Exception as error:
            self.model.violation("the workload itself broke", f"{device.name}: {error!r}", device.session)
            raise

    def stop(self):
        self.gate.ended.set()
        for thread in self.threads:
            thread.join(CLIENT_BOUND + 5)

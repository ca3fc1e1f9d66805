"""Sessions with clocks, short enough that their deadlines run out whatever is broken then. Two players (REST) and a
laptop (a WebSocket) of each table switch the same turns, pause, resume, give and take time; a session that ended makes
room for another."""

import threading
import time

from clock_judge import deadline_of, ms_of
from devices import REFUSALS, Laptop, Phone, Rest
from harness import new_user
from model import TURN

N_TABLES = 12
PEOPLE = ("ada", "bob", "eve", "joan")
GROUPS = {"ada": "red", "bob": "blue", "eve": "red", "joan": "blue"}
MODES = {"per_participant": ("totalTimeMs",), "per_cycle": ("timePerCycleMs",), "per_group": ("totalTimeMs",),
         "global": ("totalTimeMs",), "count_up": ("maxTimeMs",)}
ACTIONS = ("end_session", "skip", "auto_switch", "notify")
LEAST, MOST = 2000, 9000  # ms that a clock is given; a cycle at least half of that
PACES = (0.5, 1, 3, 6)    # s between two writes of a device, on the average: of a table, until its clock ended
REFUSED = REFUSALS | {"not_active_participant", "invalid_value", "session_ended"}


def draw_clock(rng):
    """A clock of any kind; now and then a stopwatch without an end."""
    mode = rng.choice(list(MODES))
    people = PEOPLE[:rng.choice((2, 2, 3, 4))]
    clock = {"mode": mode, "incrementMs": rng.choice((0, 200, 700)), "onTimeout": {"action": rng.choice(ACTIONS)},
             "warningsMs": rng.choice(([], [1000], [1500, 500])),
             "participants": [{"participantId": p, **({"groupId": GROUPS[p]} if mode == "per_group" else {})}
                              for p in people]}
    for name in MODES[mode]:
        if mode != "count_up" or rng.random() < 0.8:
            clock[name] = rng.randint(LEAST, MOST) // (2 if mode == "per_cycle" else 1)
    return clock


def tag_of(position):
    epoch, version = position
    return f'"{version}"' if epoch == 1 else f'"{version}.{epoch}"'


class Player(Phone):
    """seat: 0 makes the sessions. Each switch and each adjustment comes from a device of its own, by which its event is
    known."""

    refusals = REFUSED

    def __init__(self, load, table, seat):
        super().__init__(load, table.session, f"player-{seat}")
        self.table, self.seat, self.status, self.clock = table, seat, None, None
        self.rest = Rest(load.api_port, table.user, self.name)
        self.hand = Rest(load.api_port, table.user, None)

    def pause(self):
        return self.random.expovariate(1 / self.table.pace)

    def run(self):
        while not self.load.gate.ended.wait(self.pause()):
            if not self.load.gate.begin():
                continue
            try:
                self.play()
            finally:
                self.load.gate.end()
        self.rest.close()
        self.hand.close()

    def play(self):
        if self.session is not self.table.session:
            self.session, self.known, self.status, self.clock = self.table.session, None, None, None
        if self.seat == 0 and self.table.is_over:
            self.table.renew(self)
        if not self.session or self.table.is_over:
            return
        if self.known is None or self.random.random() < 0.1:
            self.read()
        if not self.known or (not self.clock and self.seat != 0):
            return
        if not self.clock:
            self.set_clock()
        elif self.status != "active":
            self.set_status("active")
        elif self.clock["cycleStartedAt"] and self.random.random() < 0.6:
            self.switch()
        else:
            self.do_something()

    def do_something(self):
        dice = self.random.random()
        if dice < 0.3:
            self.set_status("paused")
        elif dice < 0.4:
            self.write()
            self.known = None
        elif self.clock["mode"] != "count_up" or self.clock["maxTimeMs"]:
            self.adjust()

    # ---- what it does ----

    def send(self, op, method, path, body, more=None):
        """Until the outcome is known. The answer is the session."""
        headers = {"X-Device-Id": op.token, **(more or {})}
        while not self.load.gate.ended.is_set():
            began = time.monotonic()
            status, answer = self.hand.request(method, f"/sessions/{self.session.id}{path}", body, op.token, more=headers)
            self.took(op.token, began)
            if status == 200:
                self.model.acked(op, (answer["epoch"], answer["version"]), self.hand.was_replayed)
                return self.learn(answer)
            if self.is_over(op, answer["code"] if answer else "timeout", answer and answer["detail"]):
                return None
            self.backoff()
        return None

    def op(self, kind, asked=None):
        token = f"{TURN}{self.token()}"
        return self.model.begin(self.session, token, kind, token, asked=asked)

    def set_clock(self):
        self.send(self.op("set clock"), "PUT", "/clock", draw_clock(self.random))

    def switch(self):
        people = [p["participantId"] for p in self.clock["participants"] if p["timeRemainingMs"] != 0]
        body, asked, more = {}, {}, None
        if self.random.random() < 0.3 and people:
            asked["next"] = body["nextParticipantId"] = self.random.choice(people)
        if self.random.random() < 0.3:
            asked["base"], more = self.known[1], {"If-Match": tag_of(self.known)}
        else:
            asked["current"] = body["currentParticipantId"] = self.clock["activeParticipantId"]
        self.send(self.op("switch", asked), "POST", "/switch", body, more)

    def adjust(self):
        who = self.random.choice(self.clock["participants"])["participantId"]
        ms = self.random.choice((1500, 3000, -400))
        self.send(self.op("adjust"), "POST", f"/clock/{who}", {"adjustMs": ms, "reason": "chaos"})

    def set_status(self, to):
        """From its own device: each makes a presence."""
        op = self.model.begin(self.session, self.token(), "status", self.name, to)
        while not self.load.gate.ended.is_set():
            began = time.monotonic()
            status, answer = self.rest.request("POST", f"/sessions/{self.session.id}?status={to}", None, op.token)
            self.took(op.token, began)
            if status == 200:
                self.model.acked(op, (answer["epoch"], answer["version"]))
                return self.learn(answer)
            if self.is_over(op, answer["code"] if answer else "timeout", answer and answer["detail"]):
                return None
            self.backoff()
        return None

    def is_over(self, op, code, detail):
        if code == "session_ended":
            self.table.is_over = True
        return super().is_over(op, code, detail)

    def learn(self, answer):
        self.known, self.status, self.clock = (answer["epoch"], answer["version"]), answer["status"], answer.get("clock")
        self.table.is_over |= self.status == "expired"
        return answer

    def read(self):
        floor, began = self.model.floor(self.session), time.monotonic()
        status, answer = self.rest.request("GET", f"/sessions/{self.session.id}")
        self.took("a read", began)
        if status == 200:
            self.model.read(self.session, floor, answer, f"a read by {self.name}")
            self.learn(answer)
        return answer if status == 200 else None


class Seat(Laptop):
    """Watches a table's session, and switches its turns over the WebSocket."""

    refusals = REFUSED

    def __init__(self, load, session, table):
        super().__init__(load, session, "laptop", writes=True)
        self.table, self.clock = table, None

    def pause(self):
        return self.random.expovariate(1 / self.table.pace)

    def take(self, frame):
        if frame.get("sessionId") == self.session.id and not frame["type"] == "clock_warning":
            self.clock = frame.get("clock") or frame.get("session", {}).get("clock") or self.clock
        if frame["type"] == "clock_warning":
            self.model.counts["clock warnings"] += 1
        return super().take(frame)

    def write(self, ws):
        """Nothing new while no clock runs."""
        if not self.pending and not (self.known and self.clock and self.clock["cycleStartedAt"]):
            return True
        return super().write(ws)

    def choose_command(self):
        token, members = self.token(), {}
        if self.random.random() < 0.5:
            asked = {"base": self.known[1]}
            members = {"baseVersion": self.known[1], "epoch": self.known[0]}
        else:
            asked = {"current": self.clock["activeParticipantId"]}
            members = {"currentParticipantId": self.clock["activeParticipantId"]}
        op = self.model.begin(self.session, token, "turn", self.name, asked=asked)
        return op, {"type": "switch", "id": token, "sessionId": self.session.id, "key": token, **members}


class Table:
    """One clock after the other. is_over: its session has ended."""

    def __init__(self, load):
        self.load, self.user, self.session, self.is_over, self.pace = load, new_user(), None, True, PACES[0]
        self.players = [Player(load, self, seat) for seat in (0, 1)]

    def renew(self, host):
        """The one before is judged once more, and then forgotten."""
        if self.session:
            self.load.creator.sessions.append(self.session)
        is_set_later = host.random.random() < 0.5
        more = {"status": "pending", **({} if is_set_later else {"clock": draw_clock(host.random)})}
        session = self.load.create(self.user, host.name, host.ask, **more)
        if not session:
            return
        self.session, self.pace = session, host.random.choice(PACES)
        host.session = session
        host.known, host.status, host.clock, self.is_over = None, None, None, False
        if is_set_later:
            host.set_clock()
        seat = Seat(self.load, session, self)
        threading.Thread(target=self.load.guard, args=(seat,), daemon=True).start()

    # ---- while nobody plays ----

    def overdue(self):
        """(deadline, now) of a running clock; None."""
        answer = self.session and not self.is_over and self.players[0].read()
        if not answer or deadline_of(answer.get("clock")) is None:
            return None
        _, time = self.players[0].rest.request("GET", "/time")
        return (deadline_of(answer["clock"]), ms_of(time["serverTime"])) if time else None

    def stop(self):
        """Its clock stands."""
        if self.session and not self.is_over and self.players[0].read() and self.players[0].status == "active":
            self.players[0].set_status("paused")

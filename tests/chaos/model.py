"""What must be so, from every answer that a client got and everything that anybody saw.

Each write has a token, in what it writes. An operation's outcome is `acked` (a position), `refused` (certainly not
applied) or `unknown`. What is judged at once: two contents of a position, order and gaps of each watcher, reads that
go backwards, answers that nobody may give, hangs. What is judged while nothing is written (check()): that the log of
events is whole, leads to the state that is read, is what PostgreSQL has, and has each token as its outcome says."""

import collections
import copy
import hashlib
import json
import threading
import time
from datetime import datetime

from clock_judge import ClockJudge, text_of

BEGAN = time.monotonic()
VERSIONED = {"session_created", "state_delta", "status_changed", "participant_changed", "device_changed",
             "session_deleted", "clock_set", "clock_switched", "clock_adjusted", "clock_expired"}
LATER = ("switch", "adjust", "set clock")  # answered with the session: a repeat with what it is now
N_HISTORY = 2000  # lines of a session that are kept
TURN = "turn."    # devices that do one thing to a clock begin with this
N_PRINTED = 30    # of them a violation is printed with the last, and with all that name its token


def canonical(value):
    """RFC 8785 for what the workload writes: ASCII, whole numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def checksum_of(data):
    return hashlib.sha256(canonical(data).encode()).hexdigest()


def digest_of(event):
    return hashlib.sha1(canonical(event).encode()).digest()


def tokens_of(event):
    """What was written by it: every {"t": token} among its operations, or in a new session's data; of a clock, the
    device, which is another one for each command."""
    found, rest = [], [event.get("operations"), event.get("session", {}).get("data")]
    if event["type"].startswith("clock_") and (event["deviceId"] or "").startswith(TURN):
        return [event["deviceId"]]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            found += [value["t"]] if isinstance(value.get("t"), str) else []
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    return found


def apply(data, operations):
    """The operations that the workload makes, on a copy of the top."""
    data = dict(data)
    for operation in operations:
        _, _, name, *rest = operation["path"].split("/")
        kind, value = operation["op"], operation.get("value")
        if not rest and kind == "remove":
            del data[name]
        elif not rest:
            data[name] = value
        elif kind == "add" and rest == ["-"]:
            data[name] = [*data[name], value]
        elif kind == "remove":
            data[name] = [v for i, v in enumerate(data[name]) if i != int(rest[0])]
        else:
            raise ValueError(f"the workload makes no {operation}")
    return data


class Op:
    """One write, however often it was sent."""

    __slots__ = ("session", "token", "kind", "device", "outcome", "position", "began", "ended", "n_tries", "to",
                 "asked", "is_exact")

    def __init__(self, session, token, kind, device, to, asked):
        self.session, self.token, self.kind, self.device, self.to = session, token, kind, device, to
        self.asked = asked  # of a switch: the turn or version that it meant, and the next turn
        self.outcome, self.position, self.n_tries = "unknown", None, 0
        self.is_exact = True  # the position is that of its version, and not a later one
        self.began, self.ended = time.monotonic(), None


class Session:
    def __init__(self, session_id, user):
        self.id, self.user = session_id, user
        self.contents = {}                         # position -> (digest, type)
        self.bodies = {}                           # position -> event, until it was folded
        self.published = set()                     # positions that the independent subscriber got
        self.where = collections.defaultdict(set)  # token -> positions
        self.ops = {}                              # token -> Op; settled ones leave at a check
        self.rebuilt = {}                          # epoch -> (version, checksum)
        self.folded, self.data, self.times = (1, 0), None, ""
        self.floor = (0, 0)                        # the newest position that anybody was told
        self.watchers, self.n_rows = [], 0
        self.applied = set()                       # tokens of versions that were folded
        self.statuses = collections.Counter()      # (device, to) -> changes asked for less changes seen
        self.broadcasts, self.heard = {}, set()    # token -> Op, of this and earlier times; tokens
        self.is_deleted = False
        self.ttl = None                            # s: then it may be paused because nobody used it
        self.clock = ClockJudge()
        self.turns = {}                            # position -> device, of switches over WebSockets
        self.history = collections.deque(maxlen=N_HISTORY)

    def note(self, text):
        self.history.append(f"{time.monotonic():.3f} {text}")


class Watcher:
    """One device's view, over all its connections."""

    def __init__(self, model, session, name):
        self.model, self.session, self.name = model, session, name
        self.position, self.is_synced, self.n_events, self.n_syncs = None, False, 0, 0
        session.watchers.append(self)

    def lost(self):
        self.is_synced = False

    def take(self, frame):
        """A frame about its session."""
        kind = frame["type"]
        if kind in VERSIONED:
            return self._take_event(frame)
        if kind == "state_sync":
            at = (frame["epoch"], frame["version"])
            self.session.note(f"{self.name} state_sync {at} {frame['reason']}")
            if self.position and at < self.position:
                self._bad("backwards", f"state_sync to {at} after {self.position}")
            self.model.state(self.session, at, frame["session"]["data"], f"state_sync of {self.name}")
            self.model.clock(self.session, at, frame["session"].get("clock"), f"state_sync of {self.name}")
            self.position, self.is_synced = at, True
            self.n_syncs += 1
        elif kind == "subscribed":
            self.session.note(f"{self.name} subscribed, at {self.position}, session at {frame['version']}")
            self.is_synced = True

    def _take_event(self, event):
        at = (event["epoch"], event["version"])
        self.model.event(event, self.name)
        self.n_events += 1
        if not self.is_synced or self.position is None:
            self._bad("before any state", f"event {at}")
        elif at != (self.position[0], self.position[1] + 1):
            self._bad("out of order, doubled or with a gap", f"event {at} after {self.position}")
        self.position = at

    def _bad(self, what, text):
        self.model.violation(f"a watcher's view: {what}", f"{self.name}: {text}", self.session)


class Model:
    """explains(epoch_grew_since, now): the fault by which a loss in that time is explained, or None.
    may_be_late(deadline, acted): whether a clock's deadline may have been acted on so late (ms, the server's time)."""

    def __init__(self, seed=0, explains=lambda since, until: None, on_violation=print,
                 may_be_late=lambda deadline, acted: True):
        self.lock, self.seed, self.explains, self.on_violation = threading.RLock(), seed, explains, on_violation
        self.sessions, self.violations, self.counts = {}, [], collections.Counter()
        self.lost, self.finished, self.ends = [], set(), collections.Counter()  # ends: of connections, by how
        self.may_be_late, self.lateness = may_be_late, []  # lateness: (deadline, acted) of every deadline
        self.strangers = collections.defaultdict(list)  # events of sessions that nobody knows (yet)
        self.forgets = False  # the broker lost its queues since the last check: subscribers cannot have all

    def violation(self, what, text, session=None, token=None):
        with self.lock:
            lines, history = [f"VIOLATION {what} (seed {self.seed}): {text}"], []
            if session:
                about = [h for h in session.history if token and f" {token} " in h]
                history = about + [f"-- the last {N_PRINTED} --"] + list(session.history)[-N_PRINTED:]
                lines += [f"  session {session.id}:", *("    " + h for h in history)]
            self.violations.append({"what": what, "text": text, "session": session and session.id,
                                    "history": history})
            if len(self.violations) <= 20:
                self.on_violation("\n".join(lines))

    def add_session(self, session_id, user):
        with self.lock:
            session = self.sessions.setdefault(session_id, Session(session_id, user))
            for event, source in self.strangers.pop(session_id, []):
                self.event(event, source)
            return session

    def finish(self, session):
        """A checked session that nobody uses any more."""
        with self.lock:
            self.finished.add(session.id)
            self.sessions.pop(session.id, None)

    def ended(self, how):
        """A device's connection, by no doing of its own."""
        with self.lock:
            self.ends[how] += 1

    # ---- writes ----

    def begin(self, session, token, kind, device, to=None, asked=None):
        with self.lock:
            op = session.ops[token] = Op(session, token, kind, device, to, asked)
            if kind == "status":
                session.statuses[device, to] += 1
            if kind == "broadcast":
                session.broadcasts[token] = op
            return op

    def tried(self, op, text):
        with self.lock:
            op.n_tries += 1
            op.session.note(f"{op.token} {op.kind}, try {op.n_tries}: {text}")

    def acked(self, op, position, replayed=False):
        with self.lock:
            if op.outcome == "acked" and op.position != position:
                self.violation("two answers", f"{op.token}: {op.position} and {position}", op.session)
            op.outcome, op.position, op.ended = "acked", position, time.monotonic()
            op.is_exact = not (replayed and op.kind in LATER)
            op.session.floor = max(op.session.floor, position)
            op.session.note(f"{op.token} acked at {position}{' (replayed)' if replayed else ''}")
            self.counts["acked"] += 1
            self.counts["replayed"] += bool(replayed)

    def refused(self, op, why):
        with self.lock:
            op.outcome, op.ended = "refused", time.monotonic()
            op.session.statuses[op.device, op.to] -= op.kind == "status"
            op.session.note(f"{op.token} refused: {why}")
            self.counts["refused"] += 1

    # ---- reads ----

    def floor(self, session):
        """To be asked before a read is begun."""
        with self.lock:
            return session.floor

    def read(self, session, floor, resource, source):
        at = (resource["epoch"], resource["version"])
        with self.lock:
            self.counts["reads"] += 1
            if at < floor:
                self.violation("a read went backwards", f"{source}: {at}, though {floor} was told before", session)
            session.floor = max(session.floor, at)
            self.state(session, at, resource["data"], source)
            self.clock(session, at, resource.get("clock"), source)
            if checksum_of(resource["data"]) != resource["checksum"]:
                self.violation("a checksum that is not its data's", f"{source} at {at}", session)

    def state(self, session, at, data, source):
        """Somebody was told what the state is at a position: always the same."""
        with self.lock:
            digest = checksum_of(data)
            first = session.contents.setdefault(("state", *at), (digest, source))
            if first[0] != digest:
                self.violation("two contents", f"state at {at}: {first[1]} and {source} differ", session)

    def clock(self, session, at, clock, source):
        """The same for its clock."""
        if not clock:
            return
        with self.lock:
            first = session.contents.setdefault(("clock", *at), (digest_of(clock), source, clock))
            if first[0] != digest_of(clock):
                self.violation("two contents", f"clock at {at}: {first[1]} has {canonical(first[2])}, {source} "
                               f"{canonical(clock)}", session)

    # ---- events ----

    def event(self, event, source):
        with self.lock:
            session = self.sessions.get(event["sessionId"])
            if not session:
                if event["sessionId"] not in self.finished:
                    self.strangers[event["sessionId"]].append((event, source))
                return
            at = (event["epoch"], event["version"])
            if event["type"] == "session_rebuilt":
                session.rebuilt[at[0]] = (at[1], event["checksum"])
                session.note(f"rebuilt at {at}, by {source}")
                return
            if event["type"] not in VERSIONED:
                return
            if source == "subscriber":
                session.published.add(at)
            digest = digest_of(event)
            first = session.contents.get(at)
            if first:
                if first[0] != digest:
                    self.violation("two contents", f"event {at}: {first[2]} and {source} differ; {source} has "
                                   f"{canonical(event)}, before {canonical(session.bodies.get(at))}", session)
                return
            session.contents[at] = (digest, event["type"], source)
            session.bodies[at] = event
            for token in tokens_of(event):
                session.where[token].add(at)
                session.note(f"{token} is version {at}, first seen by {source}")
            self.counts["events"] += 1

    def heard(self, session, event, source):
        """A broadcast reached a device."""
        with self.lock:
            token = event["message"]["t"]
            self.counts["broadcasts heard"] += 1
            if token not in session.broadcasts:
                self.violation("nobody wrote this", f"broadcast {token}, heard by {source}", session)
            session.heard.add(token)

    # ---- while nothing is written ----

    def end_of(self, session):
        """The newest position in its log."""
        with self.lock:
            return max((at for at in session.contents if len(at) == 2), default=(1, 0))

    def is_whole(self, session, end, rows):
        """All positions from the last check to the end were seen, by subscribers and watchers, and are rows."""
        with self.lock:
            steps = self.lineage(session, end)
            return steps is not None and not any(self._is_behind(session, w, end) for w in session.watchers) and all(
                (self.forgets or (epoch, version) in session.published) and (epoch, version) in rows
                for kind, epoch, version in steps if kind == "event")

    def has_rows(self, session, end, rows):
        """All positions from the last check to the end are rows."""
        with self.lock:
            steps = self.lineage(session, end)
            return steps is not None and all((epoch, version) in rows for kind, epoch, version in steps if kind == "event")

    @staticmethod
    def _is_behind(session, watcher, end):
        """What is paused by itself may be so while it is looked at."""
        return not watcher.position or watcher.position < end or (watcher.position != end and not session.ttl)

    def check_strangers(self):
        """While nothing is written: who made these?"""
        with self.lock:
            for session_id in self.strangers:
                self.violation("a session that nobody made", session_id)
            self.strangers.clear()

    def check(self, session, resource, rows):
        """resource: the session as it is read now, None when it is deleted. rows: [(epoch, version, payload)] of
        PostgreSQL, of the versioned events that were not checked before."""
        with self.lock:
            end = self.end_of(session)
            if resource:
                self.read(session, session.floor, resource, "the final read")
                end = (resource["epoch"], resource["version"])
            self._check_rows(session, rows)
            self._check_log(session, end, resource, {(epoch, version) for epoch, version, _ in rows})
            self._check_ops(session)
            for watcher in session.watchers:
                if self._is_behind(session, watcher, end):
                    self.violation("a watcher's view: behind", f"{watcher.name} at {watcher.position} of {end}",
                                   session)

    def lineage(self, session, end):
        """The positions that lead from what was folded to the end, as ("event", epoch, version); an epoch begins where
        it was rebuilt: ("rebuilt", epoch, version). None while nobody heard of that."""
        epoch, version = session.folded
        steps = []
        while epoch < end[0]:
            following = min((e for e in session.rebuilt if e > epoch), default=None)
            if following is None or following > end[0]:
                return None
            last = session.rebuilt[following][0]
            if last < version:
                return [*steps, ("rewound", following, last)]
            steps += [("event", epoch, v) for v in range(version + 1, last + 1)] + [("rebuilt", following, last)]
            epoch, version = following, last
        return steps + [("event", epoch, v) for v in range(version + 1, end[1] + 1)]

    def _check_log(self, session, end, resource, rows):
        steps, missing = self.lineage(session, end), []
        if steps is None:
            self.violation("an epoch grew without session_rebuilt", f"{session.folded} to {end}", session)
            return
        # Of this epoch: what each version made, and by which tokens.
        trail = [(session.data, [], copy.deepcopy(session.clock))]
        for kind, *at in steps:
            at = tuple(at)
            if kind == "rewound":
                self.violation("a rebuild went behind what was seen", f"epoch {at[0]} begins at {at[1]}", session)
                return
            if kind == "rebuilt":
                self._check_rebuilt(session, at, trail)
                trail = [(session.data, [], copy.deepcopy(session.clock))]
                continue
            event = session.bodies.pop(at, None)
            if not event:
                self.violation("a lost event", f"nobody saw {at} of {end}", session)
                return
            if at not in session.published and not self.forgets:
                self.violation("a lost event", f"the subscriber did not get {at} of {end}", session)
            missing += [at] if at not in rows else []
            self._fold(session, at, event)
            trail.append((session.data, tokens_of(event), copy.deepcopy(session.clock)))
        session.folded = end
        if session.clock.ended_at:
            self.violation("a clock ended, and its session did not", f"at {end}", session)
        if missing:
            self.violation("rows are missing", f"{missing[:10]} of {end}", session)
        if resource and session.data != resource["data"]:
            self.violation("the state is not what its events make", f"at {end}", session)
        if resource and session.clock.clock != resource.get("clock"):
            self.violation("the clock is not what its events make", f"at {end}: {canonical(resource.get('clock'))}, not "
                           f"{canonical(session.clock.clock)}", session)

    def _check_rebuilt(self, session, at, trail):
        """What an epoch begins with is what the events before it make; after a double fault perhaps only the first of
        them, since others were still on their way to the broker, and came later."""
        self.counts["rebuilds"] += 1
        checksum, late = session.rebuilt[at[0]][1], []
        while trail and checksum_of(trail[-1][0]) != checksum:
            late += trail.pop()[1]
        began = [session.ops[token].began for token in late if token in session.ops]
        if not trail or (late and not self.explains(min(began, default=0), time.monotonic())):
            self.violation("rebuilt to another state", f"{at}", session)
            return
        session.data, _, session.clock = trail[-1]
        session.applied.difference_update(late)
        self.counts["rebuilt without what came late"] += bool(late)

    def _fold(self, session, at, event):
        if event["type"] == "session_created":
            session.data = event["session"]["data"]
        elif event["type"] == "status_changed" and event.get("reason") == "idle":
            self._check_idle(session, at, event)
        elif event["type"] == "status_changed" and event.get("reason") == "clock":
            self._check_clock_end(session, at, event)
        elif event["type"] == "status_changed":
            who = (event["deviceId"], event["to"])
            session.statuses[who] -= 1
            if session.statuses[who] < 0:
                self.violation("nobody wrote this", f"status {who} at {at}, oftener than asked for", session)
        elif event["type"] == "state_delta":
            session.data = apply(session.data, event["operations"])
            if event["baseVersion"] != at[1] - 1:
                self.violation("a delta with a wrong base", f"{at}: {event['baseVersion']}", session)
            if checksum_of(session.data) != event["checksum"]:
                self.violation("a delta that does not make its checksum", f"{at}", session)
        if event["timestamp"] < session.times:
            self.violation("time fell", f"{at}: {event['timestamp']} after {session.times}", session)
        session.times = event["timestamp"]
        told = session.contents.get(("state", *at))
        if told and told[0] != checksum_of(session.data):
            self.violation("two contents", f"state at {at} as {told[1]} had it", session)
        self._fold_clock(session, at, event)
        for token in tokens_of(event):
            if token in session.applied:
                self.violation("applied twice", f"{token}, at {sorted(session.where[token])}", session, token)
            session.applied.add(token)
            if token not in session.ops:
                self.violation("nobody wrote this", f"{token} at {at}", session)

    def _fold_clock(self, session, at, event):
        ops = [session.ops[token] for token in tokens_of(event) if token in session.ops]
        if event["type"] == "clock_switched" and not (event["deviceId"] or "").startswith(TURN):
            session.turns[at] = event["deviceId"]
            ops = [op for op in session.ops.values() if op.position == at and op.kind == "turn"]
        for what, text in session.clock.fold(event, ops[0] if len(ops) == 1 else None):
            self.violation(what, text, session)
        told = session.contents.get(("clock", *at))
        if told and told[0] != digest_of(session.clock.clock):
            self.violation("two contents", f"clock at {at} as {told[1]} had it", session)
        for due, acted in session.clock.late:
            self.lateness.append((due, acted))
            self.counts["deadlines"] += 1
            if not self.may_be_late(due, acted):
                self.violation("a deadline that was acted on too late", f"{at}: of {text_of(due)}, {acted - due} ms later",
                               session)
        session.clock.late.clear()

    def _check_clock_end(self, session, at, event):
        """The engine did it, in the save of the deadline: the version before, of the same moment."""
        told = (event["deviceId"], event["to"], session.clock.ended_at, event["timestamp"])
        if told != (None, "expired", at[1] - 1, session.times):
            self.violation("nobody wrote this", f"an end by the clock at {at}: {told}, {session.times}", session)
        self.counts["ended by its clock"] += 1

    def _check_idle(self, session, at, event):
        """The engine did it, after so long without a write."""
        if not session.ttl or event["deviceId"] or (event["from"], event["to"]) != ("active", "paused"):
            self.violation("nobody wrote this", f"idle at {at}: {canonical(event)}", session)
            return
        unused = (datetime.fromisoformat(event["timestamp"]) - datetime.fromisoformat(session.times)).total_seconds()
        if unused < session.ttl:
            self.violation("paused too early", f"at {at}, after {unused} s", session)
        self.counts["paused by itself"] += 1

    def _check_ops(self, session):
        """Settled operations leave; those of which nobody knows yet stay."""
        self._check_turns(session)
        for token, op in list(session.ops.items()):
            is_applied = token in session.applied
            if op.outcome == "refused" and is_applied:
                self.violation("refused, and applied", f"{token} at {session.where[token]}", session, token)
            if op.outcome == "acked" and op.kind not in ("status", "broadcast", "turn"):
                self._check_acked(session, op, is_applied)
            if op.outcome == "unknown":
                self.counts["unknown, applied" if is_applied else "unknown, not applied"] += 1
                continue
            if op.kind == "broadcast" and op.outcome == "refused" and token in session.heard:
                self.violation("refused, and sent", f"broadcast {token}", session)
            del session.ops[token]

    def _check_turns(self, session):
        """Switches over WebSockets have no token of their own, but exact positions: each is one version, and each
        version one of them."""
        turns = [op for op in session.ops.values() if op.kind == "turn"]
        for op in turns:
            if op.outcome == "acked" and session.turns.pop(op.position, None) != op.device:
                fault = op.position[0] < session.folded[0] and self.explains(op.began, time.monotonic())
                if fault:
                    self.lost.append((op.token, fault))
                else:
                    self.violation("a lost switch", f"{op.token}: answered {op.position}", session, op.token)
        for at, device in list(session.turns.items()):
            if not any(op.outcome == "unknown" and op.device == device for op in turns):
                self.violation("nobody wrote this", f"a switch at {at} by {device}", session)
        session.turns.clear()

    def _check_acked(self, session, op, is_applied):
        if is_applied and (op.position in session.where[op.token] or not op.is_exact):
            return
        if not is_applied and op.position[0] < session.folded[0]:
            fault = self.explains(op.began, time.monotonic())
            if fault:
                self.lost.append((op.token, fault))
                return
        what = "a lost write" if not is_applied else "an answer with another position than the event"
        self.violation(what, f"{op.token}: answered {op.position}, seen at {sorted(session.where[op.token])}", session,
                       op.token)

    def _check_rows(self, session, rows):
        for at, n in collections.Counter((epoch, version) for epoch, version, _ in rows).items():
            if n > 1:
                self.violation("two rows of one position", f"{at}: {n}", session)
        for _, _, payload in rows:
            self.event(payload, "PostgreSQL")
        session.n_rows += len(rows)

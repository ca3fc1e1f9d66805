"""Devices beside those of the chaos suite: one that follows an event stream, and visits with all that a session has
besides: codes, tokens for one session, roles, snapshots, keys, history."""

import contextlib
import random
import secrets
import time

import requests

from codes import code_of, got_in, redeem
from harness import MAX_WAIT, new_user, wait_until
from model import Watcher
from rest import accepted, path_of
from sse import Ended, Refused, Stream
from ws import set_to

VISIT_EVERY = 0.3  # s
QUIET = 0.3        # s between two looks whether it is over


def traced(device):
    """Its requests belong to a trace that is to be followed."""
    device.http.headers["traceparent"] = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    return device


class Follower:
    """An event stream, taken up again from the last id."""

    name = "stream"

    def __init__(self, load, suite, session):
        self.load, self.session = load, session
        self.watcher = Watcher(load.model, session, self.name)
        self.device = suite.device(session.user, self.name)

    def run(self):
        while not self.load.gate.ended.is_set():
            try:
                self.live()
            except Ended:
                self.load.model.ended("stream ended")
            except Refused as refused:
                self.load.model.ended(f"stream answered {refused.status}")
            except OSError as error:
                self.load.model.ended(f"stream cut: {type(error).__name__}")
            self.watcher.lost()
            time.sleep(random.uniform(0.05, 0.3))

    def live(self):
        at = self.watcher.position
        stream = Stream(self.device, self.session.id, **({"Last_Event_ID": f"{at[0]}:{at[1]}"} if at else {}))
        stream.socket.settimeout(QUIET)
        with contextlib.closing(stream):
            while not self.load.gate.ended.is_set():
                with contextlib.suppress(TimeoutError):
                    frame = stream.recv_any()
                    if frame.get("sessionId") == self.session.id:
                        self.watcher.take(frame)


class Visitor:
    """One session after the other, each with one of everything, and what must come of it."""

    name = "visitor"

    def __init__(self, load, suite):
        self.load, self.suite, self.session, self.n = load, suite, None, 0

    def run(self):
        while not self.load.gate.ended.wait(VISIT_EVERY):
            if self.load.gate.begin():
                try:
                    self.visit()
                    self.n += 1
                finally:
                    self.load.gate.end()

    def visit(self):
        self.owner = traced(self.suite.device(new_user(), "phone"))
        session = self.owner.create({"n": 0, "text": "Grüße, 你好"})
        self.load.model.finish(self.load.model.add_session(session["id"], self.owner.user))
        friend = self.let_in(session)
        self.write(session, friend)
        self.look_back(session)
        assert self.owner.delete(path_of(session)).status_code == 204
        assert self.owner.get(path_of(session)).status_code == 404

    def let_in(self, session):
        """By codes: another device, a guest without a login, a friend who may write."""
        got_in(redeem(traced(self.suite.device(self.owner.user, "tv")), code_of(self.owner, session)), session)
        answer = requests.post(f"{self.suite.api_url}/handoff", json={"code": code_of(self.owner, session, role="viewer")},
                               timeout=MAX_WAIT)
        guest = self.suite.bearer(got_in(answer, session, role="viewer")["token"])
        assert guest.read(session["id"])["data"] == session["data"]
        assert guest.patch(session["id"], set_to("n", 9)).status_code == 403
        friend = traced(self.suite.device(new_user(), "laptop"))
        got_in(redeem(friend, code_of(self.owner, session, role="editor")), session, role="editor")
        return friend

    def write(self, session, friend):
        """Each version follows from the one before; a key that is sent again changes nothing."""
        self.version = self.owner.read(session["id"])["version"]
        for n, device in enumerate((self.owner, friend, self.owner), 1):
            once, again = (device.patch(session["id"], set_to("n", n), baseVersion=self.version,
                                        headers={"Idempotency-Key": f"k{n}"}) for _ in "ab")
            self.version = accepted(once, self.version + 1)["version"]
            assert accepted(again, self.version) and again.headers["Idempotency-Replayed"] == "true"
        refused = friend.patch(session["id"], set_to("n", 0), baseVersion=self.version - 2)
        assert refused.status_code == 409 and len(refused.json()["deltas"]) == 2, refused.text

    def look_back(self, session):
        path = path_of(session)
        assert self.owner.post(f"{path}/snapshots", json={"label": "here"}).status_code == 201
        self.wait_history(path)  # what version 1 is made from
        accepted(self.owner.post(f"{path}/restore", json={"version": 1}), self.version + 1)
        assert self.owner.read(session["id"])["data"] == session["data"]
        assert self.wait_history(path) == list(range(1, self.version + 2))

    def wait_history(self, path):
        """Until the trail has what Redis has; the versions."""
        told = [(item["version"], item["type"]) for item in self.owner.deltas(path.rpartition("/")[2])]
        wait_until(lambda: set(told) <= self.history(path), what=f"the history of {path}")
        return [version for version, _ in told]

    def history(self, path):
        answer = self.owner.get(f"{path}/history?limit=100")
        assert answer.status_code == 200, answer.text
        return {(item["version"], item["type"]) for item in answer.json()["items"]}

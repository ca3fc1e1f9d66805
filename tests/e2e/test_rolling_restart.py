"""Two of each service behind the proxy, every one of them restarted in its turn, under a steady load by
REST and WebSocket: each write is answered for certain or repeated under its key, and none is lost or
there twice (contract section 8, draining)."""

import itertools
import sys
import threading
import time

import pytest
import requests

import proxies
from harness import BUILD, MAX_WAIT, NAMES, ROOT, Closed, metric, new_user, token, wait_until
from test_crash import unsure
from test_instances import wait_state
from ws import answer_to, set_to, subscribed, watch

sys.path.insert(0, str(ROOT / "tests" / "bench"))

from rolling import Rolling, bad_of  # noqa: E402

N_EACH = 4  # writers of each kind
N_MEMBERS = 300  # make rolling-restart has ten thousand
PACE = 0.03  # s between a writer's writes


class Writer(threading.Thread):
    """Counts in a member of its own, each number until it is accepted."""

    def __init__(self, load, name):
        super().__init__(daemon=True)
        self.load, self.name = load, name
        self.device = load.suite.device(load.user, name)
        self.answers, self.n_repeated, self.error = [], 0, None

    def run(self):
        try:
            for n in itertools.count():
                if self.load.stopped.wait(PACE):
                    return
                while (answer := self.attempt(n)) is None:
                    self.n_repeated += 1
                    time.sleep(0.05)  # a client's backoff
                self.answers.append(answer)
        except BaseException as error:
            self.error = error


class RestWriter(Writer):
    def attempt(self, n):
        try:
            answer = self.device.patch(self.load.id, set_to(self.name, n), timeout=MAX_WAIT,
                                       headers={"Idempotency-Key": f"{self.name}-{n}"})
        except requests.ConnectionError:
            return None
        if answer.status_code == 200:
            return answer.json()
        unsure(answer)
        return None


class SocketWriter(Writer):
    socket = None

    def attempt(self, n):
        try:
            self.socket = self.socket or subscribed(self.device, self.load.id)
            frame = answer_to(self.socket, {
                "type": "patch", "id": f"{n}-{self.n_repeated}", "key": f"{self.name}-{n}",
                "sessionId": self.load.id, "operations": set_to(self.name, n)})
        except Closed as closed:
            assert closed.code == 1001, closed
            self.socket = None
            return None
        except OSError:
            self.socket = None
            return None
        if frame["type"] == "ack":
            return frame
        assert frame["temporary"] and frame["code"] in ("unavailable", "timeout"), frame
        return None


class SteadyLoad:
    def __init__(self, suite):
        self.suite, self.user, self.stopped = suite, new_user(), threading.Event()
        self.owner = suite.device(self.user, "owner")
        self.id = self.owner.create({})["id"]
        self.writers = [kind(self, f"{kind.__name__[0].lower()}{i}")
                        for kind in (RestWriter, SocketWriter) for i in range(N_EACH)]

    def __enter__(self):
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for writer in self.writers:
            writer.join(60)

    def go_on(self):
        """Until every writer wrote three more."""
        wanted = {writer: len(writer.answers) + 3 for writer in self.writers}
        wait_until(lambda: all(len(w.answers) >= n or w.error for w, n in wanted.items()), what="more writes")
        self.check_alive()

    def check_alive(self):
        for writer in self.writers:
            if writer.error:
                raise writer.error

    def n_writes(self):
        return sum(len(writer.answers) for writer in self.writers)

    def check(self):
        self.check_alive()
        assert not any(writer.is_alive() for writer in self.writers)
        n = self.n_writes()
        versions = sorted(answer["version"] for writer in self.writers for answer in writer.answers)
        assert versions == list(range(2, n + 2))
        state = self.owner.read(self.id)
        assert state["version"] == n + 1
        assert state["data"] == {writer.name: len(writer.answers) - 1 for writer in self.writers}
        wait_until(lambda: len(self.suite.events_in_postgresql(self.id)) >= n + 1, timeout=30, what="every row")
        rows = self.suite.events_in_postgresql(self.id)
        assert [version for version, _, _ in rows] == list(range(1, n + 2))
        written = [payload["operations"][0] for _, _, payload in rows[1:]]
        for writer in self.writers:
            counted = [o["value"] for o in written if o["path"] == f"/data/{writer.name}"]
            assert counted == list(range(len(writer.answers))), writer.name


def test_every_instance_is_restarted_under_load(own_suite):
    suite = own_suite(instances=2)
    load = SteadyLoad(suite)
    watchers = [watch(load.owner, load.id, timeout=40)]
    with load:
        for name, n in itertools.product(NAMES, ("", "-2")):
            if name == "ws_fanout" and watchers:
                seen = watchers.pop().finish(load.owner.read(load.id)["version"])
                assert seen.versions == list(range(seen.syncs[0][1] + 1, seen.version + 1))
            load.go_on()
            assert suite.terminate(name + n) == 0
            wait_state(suite, name + n, "DOWN")
            suite.restart(name + n)
            wait_state(suite, name + n, "UP")
        load.go_on()
    load.check()
    by_rest = sum(writer.n_repeated for writer in load.writers if isinstance(writer, RestWriter))
    print(f"\n{load.n_writes()} writes, repeated: {by_rest} of REST, "
          f"{sum(writer.n_repeated for writer in load.writers) - by_rest} of WebSockets", end=" ")
    assert by_rest == 0, "a planned end costs no request"


@pytest.mark.parametrize("kind", proxies.ALL)
def test_many_devices_are_sent_away_and_come_back(own_suite, tmp_path, kind):
    """The load of make rolling-restart, on a small scale: who is sent away comes back when it was told to, from where it
    was, to another instance, or to the proxy's new process; no request is refused, and every device has every version."""
    suite = own_suite(instances=2, HANDOFF_ADMIN_DRAIN="on", **proxies.ALL[kind].SETTINGS)
    tokens = [token(new_user(), f"d{i}", scope="sessions:read sessions:write sessions:admin") for i in range(N_MEMBERS)]
    origin = proxies.ALL[kind](tmp_path / kind, suite).start()
    try:
        rolling = Rolling(BUILD / "bench" / "rolling_load", suite, [origin], tokens)
        rolling.begin(sessions=20, rate=50)
        seen = [rolling.restart(known_as) for known_as in ("session_api", "ws_fanout", *(["ws_fanout-2"] if kind == "haproxy" else []))]
        if origin.KEEPS_AT_RELOAD:
            seen.append(rolling.reload())
            assert seen[-1]["closed1001"] == N_MEMBERS, "each is moved once, and the proxy cut none"
            open_at = [metric(service, "handoff_ws_connections") for service in suite.instances("ws_fanout")]
            assert min(open_at) > N_MEMBERS / 4, f"the one that was started last has its share: {open_at}"
        checked = rolling.finish()
    finally:
        origin.stop()
    assert bad_of(seen) == []
    assert seen[1]["closed1001"] == N_MEMBERS / 2
    assert len(seen[1]["returns"]) > 1, "all came back at once"
    assert checked == {"behind": 0, "accepted": checked["versions"], "versions": checked["versions"]}

"""Point 7: who is slow loses deltas and gets one state instead, nobody else notices; who asks too much is
told when to come back, and by then may."""

import contextlib
import json
import re
import threading
import time

import pytest

from contract_client import App, Copy, Ended, Refused, eventually, follow
from harness import MAX_WAIT, new_user

SMALL = 4096  # a receive buffer that holds little


@pytest.fixture
def app(suite, user):
    return App(suite, user, "phone")


def big(n):
    return f"{n} " + "x" * 30_000


class Reader(threading.Thread):
    """Follows a connection to a version; join() raises what went wrong."""

    def __init__(self, connection, mine, version):
        super().__init__()
        self.work, self.error = (connection, mine, version), None
        self.start()

    def run(self):
        try:
            follow(*self.work)
        except BaseException as error:
            self.error = error

    def join(self, timeout=60):
        super().join(timeout)
        if self.error:
            raise self.error
        assert not self.is_alive()


def test_slow_ones_get_one_state_and_quick_ones_everything(shared_fanout, app):
    """A stalled socket, a stalled stream, two quick ones of the same user beside them; then the slow ones
    read on, to the same session, without a gap but for the state."""
    n_changes = 120
    s = app.create({"text": ""})["id"]
    there = app.at(shared_fanout(HANDOFF_MAX_OUTBOX_BYTES="256KiB"))
    with there.websocket(s, rcvbuf=SMALL) as slow, there.stream(s, rcvbuf=SMALL) as slow_stream, \
            there.websocket(s) as quick, there.stream(s) as quick_stream:
        all_of_them = (slow, slow_stream, quick, quick_stream)
        copies = [Copy(app.user).take(c.expect("state_sync", reason="initial")) for c in all_of_them]
        readers = [Reader(c, m, n_changes + 1) for c, m in zip(all_of_them[2:], copies[2:])]
        for n in range(n_changes):
            app.set(s, "text", big(n))
            # As fast as those who read, who need not be slower for the others
            eventually("the quick ones", lambda n=n: all(m.version >= n + 2 for m in copies[2:])
                       or any(r.error for r in readers))
        for reader in readers:
            reader.join()
        now = app.read(s)
        for connection, mine in zip(all_of_them, copies):
            follow(connection, mine, n_changes + 1).agrees_with(now)
        for mine in copies[2:]:
            assert mine.versions == list(range(2, n_changes + 2)) and len(mine.syncs) == 1
        for mine in copies[:2]:
            assert [reason for reason, _ in mine.syncs[1:]] == ["slow"] * (len(mine.syncs) - 1)
            assert 1 <= len(mine.syncs) - 1 <= 8 and len(mine.versions) < n_changes - 10
        app.set(s, "text", "end")
        for connection in all_of_them:
            assert connection.expect("state_delta", version=n_changes + 2)
        # A stream that was slow is resumed from where it is like any other.
        with there.stream(s, last_id=slow_stream.last_id) as again:
            again.expect("subscribed", replayed=0, version=n_changes + 2)


def test_a_broadcast_does_not_wait_for_who_is_slow(shared_fanout, app, suite):
    """And is not made up for: the slow one gets what had room, in order, and the state of its session."""
    laptop = App(suite, app.user, "laptop")
    s = app.create({"n": 1})["id"]
    fanout = shared_fanout(HANDOFF_MAX_OUTBOX_BYTES="256KiB")
    with app.at(fanout).websocket(s, rcvbuf=SMALL) as slow, laptop.at(fanout).websocket(s) as quick:
        slow.expect("state_sync")
        quick.expect("state_sync")
        for n in range(200):
            message = f"{n} " + "x" * 61_000
            laptop.ok("POST", f"/sessions/{s}/broadcast", {"message": message, "echo": True})
            assert quick.expect("broadcast")["message"] == message
        version = app.set(s, "n", "end")
        quick.expect("state_delta", version=version)
        heard = []
        mine = Copy(app.user, laptop.read(s))
        mine.session["version"] = 1
        while mine.version < version:
            message = slow.recv()
            if message["type"] == "broadcast":
                heard.append(int(message["message"].split()[0]))
            else:
                mine.take(message)
        assert heard == sorted(set(heard)) and 0 < len(heard) < 200
        assert mine.session["data"] == {"n": "end"}


# ---- too much ----

def again_when_told(ask, refusal, seconds=MAX_WAIT):
    """Does as `retryAfterMs` says until it is taken; how many times it was refused again."""
    deadline, n = time.monotonic() + seconds, 0
    while refusal.get("code"):
        assert (refusal["code"], refusal["temporary"]) == ("rate_limited", True), refusal
        assert isinstance(refusal["retryAfterMs"], int) and refusal["retryAfterMs"] >= 1
        assert time.monotonic() < deadline
        time.sleep(refusal["retryAfterMs"] / 1000)
        refusal, n = ask(), n + 1
    return n


def test_broadcasts_past_fifty_a_second_wait_as_they_are_told(app, suite):
    laptop = App(suite, app.user, "laptop")
    s = app.create()["id"]
    with app.websocket(s) as ws, laptop.watch(s)[0] as watcher:
        ws.expect("state_sync")
        answers = []
        while len(answers) < 200 and not (answers and answers[-1]["type"] == "error"):
            answers.append(ws.ask("broadcast", sessionId=s, message=len(answers)))
        assert len(answers) > 50
        n = len(answers) - 1
        if answers[-1]["type"] == "error":
            again_when_told(lambda: ws.ask("broadcast", sessionId=s, message=n), answers[-1])
        # Other messages are not what was too much.
        assert ws.ask("patch", sessionId=s, operations=[])["type"] == "ack"
        assert [watcher.expect("broadcast")["message"] for _ in range(n + 1)] == list(range(n + 1))


def test_messages_past_the_limit_are_not_acted_on_and_go_later(shared_fanout, app):
    s = app.create({"list": []})["id"]
    fanout = shared_fanout(HANDOFF_WS_MESSAGES_PER_SECOND="5")
    acked = []
    with app.at(fanout).websocket() as ws:
        for n in range(14):
            def ask(n=n):
                return ws.ask("patch", sessionId=s, operations=[{"op": "add", "path": "/data/list/-", "value": n}])
            answer = ask()
            if again_when_told(ask, answer):
                acked.append(n)
    assert app.read(s)["data"]["list"] == list(range(14)) and acked, "the last ones had to wait"


def test_too_many_connections_of_a_user_over_both_protocols(shared_fanout, app, suite):
    """Streams and sockets are counted together; the refusal says when; another user is not meant."""
    fanout = shared_fanout(HANDOFF_WS_CONNECTIONS_PER_USER="3")
    there, s = app.at(fanout), app.create()["id"]
    other = App(suite, new_user(), "o").at(fanout)
    app.share(s, other.user, "viewer")
    with contextlib.ExitStack() as stack:
        for n in range(3):
            stack.enter_context(there.stream(s) if n % 2 else there.websocket(s)).expect("state_sync")
        for one_more in (lambda: there.websocket(s), lambda: there.stream(s)):
            with pytest.raises(Refused) as refusal:
                one_more()
            problem = refusal.value.problem
            assert (refusal.value.status, problem["code"], problem["temporary"]) == (429, "rate_limited", True)
            assert int(refusal.value.headers["retry-after"]) * 1000 >= problem["retryAfterMs"] > 0
        stack.enter_context(other.stream(s)).expect("state_sync")
    eventually("places are free again", lambda: not _is_refused(there, s))


def _is_refused(app, s):
    try:
        app.stream(s).close()
    except Refused as refusal:
        assert refusal.status == 429
        return True
    return False


def test_sixty_four_sessions_and_one_more_in_several_ways(app):
    sessions = [app.create()["id"] for _ in range(65)]
    with app.websocket(sessions[0]) as ws:
        ws.expect("state_sync")
        for s in sessions[1:64]:
            assert ws.ask("subscribe", sessionId=s, since=1)["type"] == "subscribed"
        for more in ({}, {"since": 1}):
            assert ws.ask("subscribe", sessionId=sessions[64], **more)["code"] == "too_many_sessions"
        assert ws.ask("subscribe", sessionId=sessions[5])["type"] == "state_sync", "one that is watched is none more"
        assert ws.ask("patch", sessionId=sessions[64], operations=[])["type"] == "ack", "a command needs none"
        ws.ask("unsubscribe", sessionId=sessions[5])
        assert ws.ask("subscribe", sessionId=sessions[64])["type"] == "state_sync"


# ---- requests ----

POLICY = re.compile(r'"(user|address)";q=(\d+);w=(\d+)')
LEFT = re.compile(r'"(user|address)";r=(\d+);t=(\d+)')


def test_a_client_that_heeds_ratelimit_is_never_refused_and_another_waits_as_told(own_api, user):
    api = own_api(HANDOFF_API_USER_REQUESTS_PER_SECOND="4", HANDOFF_API_USER_REQUESTS_BURST="8")
    app = App(api, user, "phone")
    for n in range(12):
        answer = app.call("GET", "/sessions")
        assert answer.status_code == 200, n
        q, w = map(int, POLICY.fullmatch(answer.headers["RateLimit-Policy"]).groups()[1:])
        r, t = map(int, LEFT.fullmatch(answer.headers["RateLimit"]).groups()[1:])
        assert (q, w) == (8, 2) and r < q and 1 <= t <= w
        if r == 0:
            time.sleep(t)
    refused = []
    while not refused:
        answer = app.call("POST", "/sessions", {"name": "n", "type": "t"}, headers={"Idempotency-Key": "k"})
        refused += [answer] if answer.status_code == 429 else []
    problem = refused[0].json()
    assert 0 < problem["retryAfterMs"] <= 1000 and refused[0].headers["Retry-After"] == "1"
    assert LEFT.fullmatch(refused[0].headers["RateLimit"])[2] == "0"
    again_when_told(lambda: (lambda a: a.json() if a.status_code == 429 else {})(
        app.call("POST", "/sessions", {"name": "n", "type": "t"}, headers={"Idempotency-Key": "k"})), problem)
    # Nothing was done twice, whatever was refused.
    other = App(api, new_user(), "phone")
    assert LEFT.fullmatch(other.call("GET", "/sessions").headers["RateLimit"])[2] == "7"
    for path in ("/health", "/ready"):
        assert "RateLimit" not in app.call("GET", path).headers
    answer = other.call("GET", f"/sessions/{app.user}/deltas")
    assert answer.status_code == 404 and LEFT.fullmatch(answer.headers["RateLimit"])


def test_a_flood_ends_with_the_time_to_come_back_and_the_other_sockets_of_the_user_stay(shared_fanout, app):
    fanout = shared_fanout(HANDOFF_WS_MESSAGES_PER_SECOND="5")
    s = app.create()["id"]
    with app.at(fanout).websocket(s) as quiet, app.at(fanout).websocket() as loud:
        quiet.expect("state_sync")
        with contextlib.suppress(OSError):
            for n in range(40):
                loud.send(type="ping", id=str(n))
        with pytest.raises((Ended, OSError)) as ended:
            while True:
                loud.recv()
        if isinstance(ended.value, Ended) and ended.value.code:
            assert ended.value.code == 4029 and json.loads(ended.value.reason)["retryAfterMs"] >= 1
        app.set(s, "n", 1)
        quiet.expect("state_delta", version=2)

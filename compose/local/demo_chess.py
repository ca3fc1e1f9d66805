"""make demo CLOCK=1: a short game of chess, white on a phone and black on a laptop of another user, until a flag
falls. White moves over REST, black over its WebSocket.

Nothing is counted down anywhere: after each move both devices calculate both clocks from the session's, each by
its own watch, which is wrong, and what it knows of the server's.
"""

import json
import time
import uuid
from datetime import datetime

from demo_device import Device, Timeline, next_frame

CLOCK = {"mode": "per_participant", "totalTimeMs": 2500, "incrementMs": 500, "warningsMs": [1000],
         "onTimeout": {"action": "end_session"},
         "participants": [{"participantId": "white"}, {"participantId": "black"}]}
# The move and how long its player thinks, s. White would mate with the next one, and thinks too long.
MOVES = [("white", "e4", 0.6), ("black", "e5", 0.4), ("white", "Bc4", 0.7), ("black", "Nc6", 0.5),
         ("white", "Qh5", 0.9), ("black", "Nf6", 0.3)]
AGREE_WITHIN_MS = 250  # the devices calculate one after the other, on a machine that may be busy


def ms_of(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000


class Player:
    """One side: its device, what that knows of the session's clock, and its wrong watch (ms ahead)."""

    def __init__(self, side, device, session, watch_ahead):
        self.side, self.device, self.session_id = side, device, session["id"]
        self.watch_ahead, self.clock = watch_ahead, session["clock"]
        self.socket = device.watch(self.session_id)
        next_frame(self.socket, "state_sync")
        self.offset = self.ask_the_time()
        self.n_sent = 0

    def watch(self):
        return time.time() * 1000 + self.watch_ahead

    def ask_the_time(self):
        """What has to be added to this device's watch, ms: GET /time, answered half way."""
        asked = self.watch()
        answer = self.device.call("GET", "/time")
        return ms_of(answer["serverTime"]) - (asked + self.watch()) / 2

    def server_now(self):
        return self.watch() + self.offset

    def left_ms(self, side):
        """timeRemainingMs − (server now − cycleStartedAt)"""
        [p] = [p for p in self.clock["participants"] if p["participantId"] == side]
        runs = p["isActive"] and self.clock["cycleStartedAt"]
        elapsed = self.server_now() - ms_of(self.clock["cycleStartedAt"]) if runs else 0
        return max(0.0, p["timeRemainingMs"] - max(0.0, elapsed))

    def shown(self):
        return [self.left_ms("white"), self.left_ms("black")]

    def see(self, type, **members):
        """The next event of that type; of its clock both are calculated from now on."""
        event = next_frame(self.socket, type, **members)
        self.clock = event.get("clock", self.clock)
        return event

    def by_socket(self, type, **members):
        self.n_sent += 1
        self.socket.send(json.dumps({"type": type, "id": str(self.n_sent), "sessionId": self.session_id, **members}))

    def move(self, name):
        """The move is a change of data; pressing the clock ends the turn that it was made in."""
        operations = [{"op": "add", "path": "/data/moves/-", "value": name}]
        if self.side == "white":
            self.device.call("PATCH", f"/sessions/{self.session_id}", json={"operations": operations})
            self.device.call("POST", f"/sessions/{self.session_id}/switch", json={"currentParticipantId": self.side})
        else:
            self.by_socket("patch", operations=operations)
            self.by_socket("switch", currentParticipantId=self.side)


def set_up(secret):
    """White begins a session with a clock and lets black into it: its resource, and both players."""
    users = {side: str(uuid.uuid4()) for side in ("white", "black")}
    phone, laptop = Device(secret, users["white"], "phone"), Device(secret, users["black"], "laptop")
    session = phone.call("POST", "/sessions", json={
        "name": "A game of chess", "type": "chess", "status": "pending", "data": {"moves": []}, "clock": CLOCK})
    phone.call("PUT", f"/sessions/{session['id']}/participants/{users['black']}", json={"role": "editor"})
    return session, Player("white", phone, session, 90_000), Player("black", laptop, session, -5_000)


def seconds(shown):
    return " : ".join(f"{ms / 1000:5.3f}" for ms in shown)


def show(t, who, what, players):
    """What both devices show now, and that it is the same."""
    on = [player.shown() for player in players]
    t.say(who, f"{what:34} phone {seconds(on[0])}   laptop {seconds(on[1])}")
    for a, b in zip(*on):
        assert abs(a - b) < AGREE_WITHIN_MS, "the devices do not agree"


def play_moves(t, players):
    for n, (side, name, thinks) in enumerate(MOVES):
        time.sleep(thinks)
        mover = players[side == "black"]
        mover.move(name)
        for player in players:
            player.see("clock_switched", **{"from": side})
        how = "REST" if side == "white" else "WebSocket"
        text = f"{n // 2 + 1}. {name}" if side == "white" else f"{n // 2 + 1}. … {name}"
        show(t, mover.device.name, f"{text:8} ({side}, {how})", players)


def wait_for_the_flag(t, players):
    """The server acts by itself; nobody asks it."""
    deadline = players[0].server_now() + players[0].left_ms("white")
    warned = players[0].see("clock_warning")
    t.say("phone", f"is warned: {warned['participantId']} has {warned['remainingMs'] / 1000:g} s")
    ends = []
    for player in players:
        expired, ended = player.see("clock_expired"), player.see("status_changed")
        late = player.server_now() - deadline
        assert (expired["participantId"], expired["winner"], expired["action"]) == ("white", "black", "end_session")
        assert (ended["to"], ended["reason"]) == ("expired", "clock")
        t.say(player.device.name, f"sees white's flag fall: {expired['winner']} wins; the session is {ended['to']} "
              f"({late:.0f} ms after the deadline)")
        ends.append((expired["version"], ended["version"], ended["clock"]))
    assert ends[0] == ends[1]
    show(t, "both", "at the end", players)


def play(secret):
    t = Timeline()
    session, *players = set_up(secret)
    white = players[0].device
    t.say("phone", f"begins session {session['id']}: {CLOCK['totalTimeMs'] / 1000:g} s each, and "
          f"{CLOCK['incrementMs'] / 1000:g} s a move; its own watch is 90 s ahead")
    t.say("laptop", "joins as black; its own watch is 5 s behind")
    white.call("POST", f"/sessions/{session['id']}?status=active")
    for player in players:
        player.see("status_changed", to="active")
    show(t, "phone", "starts the clock   (white : black)", players)
    play_moves(t, players)
    wait_for_the_flag(t, players)
    read = [player.device.call("GET", f"/sessions/{session['id']}") for player in players]
    for now in read:
        assert now["status"] == "expired" and now["clock"] == players[0].clock
        assert now["data"]["moves"] == [name for _, name, _ in MOVES]
    t.say("both", f"read the same: {read[0]['status']} at version {read[0]['version']}, {len(MOVES)} moves")
    for player in players:
        player.socket.close()
    return 0

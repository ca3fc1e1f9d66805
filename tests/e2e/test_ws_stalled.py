"""Very many readers that stall: contract section 4. What waits for all of them together is bounded, nobody
else waits, and each is made good by one state_sync when it reads on."""

import http.client
import json

import pytest

from harness import BUILD, MAX_WAIT, metric, new_user, together, wait_until
from ws import Raw, rss_of, set_to, watch

N = 1000
N_EACH = 100  # connections that a user may have
N_MESSAGES, MESSAGE_BYTES = 6, 60_000
SHARE = 64 << 10
TOTAL = 4 << 20


class Sender:
    """A connection to the API that does without what costs a client time."""

    def __init__(self, device):
        self.connection = http.client.HTTPConnection("127.0.0.1", device.suite.api_port, timeout=30)
        self.headers = {"Authorization": f"Bearer {device.token}", "Content-Type": "application/json"}

    def ask(self, method, path, body):
        self.connection.request(method, path, body, self.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def send(self, method, path, body, status):
        """Again after a 503, which says that nothing was sent: a broker that is slow is told so, and this is much for it."""
        answers = []
        wait_until(lambda: answers.append(self.ask(method, path, body)) or answers[-1][0] != 503, what="a broker that takes it")
        assert answers[-1][0] == status, answers[-1][1]
        return answers[-1][1]


@pytest.fixture
def stalled(own_fanout):
    """(fanout, [(device, session id, connection)]): connections that have read their first state."""
    fanout = own_fanout(HANDOFF_WS_OUTBOX_TOTAL="4MiB", HANDOFF_STUCK_TIMEOUT="5m")
    body = json.dumps({"name": "x", "type": "t", "data": {"n": 0}})
    readers = []

    def connect(_):
        device = fanout.device(new_user(), "tv")
        sender = Sender(device)
        for _ in range(N_EACH):
            session_id = json.loads(sender.send("POST", "/sessions", body, 201))["id"]
            raw = Raw.of(device, session_id, rcvbuf=4096)
            assert [raw.recv()["type"] for _ in range(2)] == ["hello", "state_sync"]
            readers.append((device, session_id, raw))

    together(N // N_EACH, connect)
    yield fanout, readers
    for _, _, raw in readers:
        raw.close()


def broadcast_to(readers):
    text = "x" * MESSAGE_BYTES
    body = json.dumps({"message": text, "echo": True})
    senders = {device: Sender(device) for device, _, _ in readers}
    for _ in range(N_MESSAGES):
        for device, session_id, _ in readers:
            senders[device].send("POST", f"/sessions/{session_id}/broadcast", body, 202)


def read_on(device, session_id, raw):
    """Up to the first change after the state that makes good what was dropped."""
    raw.socket.setsockopt(1, 8, 1 << 20)
    frames = []
    while not frames or frames[-1].get("version") != 3:
        frames.append(raw.recv())
        if frames[-1]["type"] == "state_sync":
            assert frames[-1]["session"]["data"] == {"n": 1} and frames[-1]["reason"] == "slow"
            Sender(device).send("PATCH", f"/sessions/{session_id}", json.dumps({"operations": set_to("n", 2)}), 200)
    return [frame["type"] for frame in frames]


def test_a_thousand_stalled_readers_hold_a_bounded_memory(stalled, user):
    fanout, readers = stalled
    phone = fanout.device(user, "phone")
    session = phone.create({"n": 0})
    quick = watch(phone, session["id"])
    assert quick.joined.wait(MAX_WAIT)
    service, before = fanout.services["ws_fanout"], rss_of(fanout)
    parts = [readers[n::4] for n in range(4)]
    together(4, lambda n: broadcast_to(parts[n]))
    for i in range(10):
        assert phone.json_patch(session["id"], set_to("n", i)).status_code == 200
    # Who reads has seen all of it, though a thousand have not.
    assert quick.finish(11).versions == list(range(2, 12))
    wait_until(lambda: metric(service, "handoff_ws_dropped_total") >= N, what="messages dropped for each")
    held, grown = metric(service, "handoff_ws_outbox_bytes"), rss_of(fanout) - before
    assert TOTAL < held <= N * (SHARE + MESSAGE_BYTES + 1000), held  # and one message each, partly sent
    assert "asan" in str(BUILD) or grown < 140 << 20, f"{grown} bytes more"

    def change(n):
        senders = {device: Sender(device) for device, _, _ in parts[n]}
        for device, session_id, _ in parts[n]:
            senders[device].send("PATCH", f"/sessions/{session_id}", json.dumps({"operations": set_to("n", 1)}), 200)

    together(4, change)
    seen = []
    together(8, lambda n: seen.extend(read_on(*reader) for reader in readers[n::8]))
    for types in seen:
        assert types.count("state_sync") == 1 and types[-1] == "state_delta", types
        assert set(types[:-2]) <= {"broadcast"} and types[-2] == "state_sync", types
    wait_until(lambda: metric(service, "handoff_ws_outbox_bytes") == 0, what="nothing held any more")

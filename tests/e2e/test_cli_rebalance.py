"""handoff rebalance: clients of a ws_fanout come back elsewhere little by little, and the instance goes on."""

import json

import pytest
import requests

from cli import Running, handoff, objects
from harness import metric, new_user, wait_until
from sse import streamed
from test_cli_drain import admin, gone
from ws import ending, is_alive, set_to, subscribed


def told(fanout, event):
    """What the log has under that name."""
    return [record for record in fanout.log_records("ws_fanout") if record["event"] == event]


def wait_told(fanout, event, n):
    wait_until(lambda: len(told(fanout, event)) >= n, what=f"{n} times {event}")
    return told(fanout, event)[n - 1]


def rebalance(url, seconds):
    answer = requests.post(f"{url}/rebalance?seconds={seconds}", timeout=5)
    assert (answer.status_code, answer.json()) == (202, {"status": "rebalancing"})


def check_sent_away(socket):
    code, reason = ending(socket)
    assert code == 1001 and 0 < json.loads(reason)["retryAfterMs"] <= 60_000


def test_clients_come_back_and_the_instance_stays(suite, own_fanout):
    fanout = own_fanout(HANDOFF_ADMIN_DRAIN="on")
    url, service = admin(fanout, "ws_fanout"), fanout.services["ws_fanout"]
    devices = [fanout.device(new_user(), f"d{i}") for i in range(4)]
    sessions = [device.create({"n": 0})["id"] for device in devices]
    pairs = list(zip(devices, sessions)) * 4
    sockets = [subscribed(*pair) for pair in pairs]
    streams = [streamed(*pair) for pair in pairs[:4]]
    running = Running(suite, "rebalance", url + "/", "--seconds", 2, "--wait", "--progress")
    assert wait_told(fanout, "rebalancing", 1)["connections"] == 20
    late_socket, late_stream = subscribed(devices[0], sessions[0]), streamed(devices[0], sessions[0])
    for socket in sockets:
        check_sent_away(socket)
    for stream in streams:
        assert stream.rest() == [] and 0 < stream.parser.retry <= 60_000
    back = [subscribed(*pair) for pair in pairs]
    code, error = running.end()
    assert code == 0 and "is rebalanced after" in running.lines[0]
    left = [int(line.split()[1]) for line in error.splitlines()]
    assert left == sorted(left, reverse=True) and left[0] <= 20
    record = wait_told(fanout, "rebalanced", 1)
    assert (record["connections"], record["left"]) == (20, 0)
    assert (metric(service, "handoff_ws_rebalanced_total"), metric(service, "handoff_ws_rebalance_left")) == (20, 0)
    assert requests.get(url + "/ready", timeout=5).json()["status"] == "ready"
    devices[0].patch(sessions[0], set_to("n", 1))
    for frames in (late_socket, late_stream, back[0]):
        frames.recv_until("state_delta", version=2)
    for socket in back:
        is_alive(socket)


def test_the_oldest_first_and_another_order_begins_anew(suite, own_fanout, user):
    fanout = own_fanout(HANDOFF_ADMIN_DRAIN="on")
    url, device = admin(fanout, "ws_fanout"), fanout.device(user, "d")
    session = device.create({})["id"]
    sockets = [subscribed(device, session) for _ in range(50)]
    rebalance(url, 50)  # one a second
    check_sent_away(sockets.pop(0))
    is_alive(sockets[-1])
    sockets.append(subscribed(device, session))
    rebalance(url, 1)
    late = subscribed(device, session)
    first = wait_told(fanout, "rebalanced", 1)
    assert first["connections"] >= 1 and first["left"] > 0 and first["connections"] + first["left"] == 50
    for socket in sockets:
        check_sent_away(socket)
    second = wait_told(fanout, "rebalanced", 2)
    assert second["connections"] == 51 - first["connections"] and second["left"] == 0
    is_alive(late)

    # A signal takes over.
    running = Running(suite, "rebalance", url, "--seconds", 3600, "--wait")
    wait_told(fanout, "rebalancing", 3)
    fanout.services["ws_fanout"].process.terminate()
    check_sent_away(late)
    code, error = running.end()
    assert code == 1 and "ends before it is rebalanced" in error
    assert gone(fanout, "ws_fanout") == 0
    third = told(fanout, "rebalanced")[-1]
    assert (third["connections"], third["left"]) == (0, 1)


def test_who_may_and_what_is_taken(suite, shared_fanout):
    url = admin(shared_fanout(HANDOFF_ADMIN_DRAIN="on"), "ws_fanout")
    for query in ("", "?seconds=0", "?seconds=3601", "?seconds=x", "?seconds=1&seconds=1"):
        assert requests.post(f"{url}/rebalance{query}", timeout=5).status_code == 400, query
    assert requests.post(f"{url}/rebalance?seconds=1", headers={"Origin": "http://evil.example"}, timeout=5).status_code == 403
    assert requests.get(f"{url}/rebalance", timeout=5).headers["Allow"] == "POST"
    assert objects(handoff(suite, "rebalance", url, "--seconds", 3600, "--json"))[0]["state"] == "rebalancing"
    assert objects(handoff(suite, "rebalance", url, "--seconds", 1, "--wait", "--json"))[0]["state"] == "rebalanced"


def test_it_is_off_unless_it_is_wanted(suite):
    url = admin(suite, next(name for name in suite.services if name.startswith("ws_fanout")))
    assert requests.post(f"{url}/rebalance?seconds=1", timeout=5).status_code == 404
    assert "HANDOFF_ADMIN_DRAIN=on" in handoff(suite, "rebalance", url, "--seconds", 1, code=1)


@pytest.mark.parametrize("words, text", [
    (["--seconds", "1"], "Which one"), (["http://a"], "Over how long"), (["ftp://a", "--seconds", "1"], "URL is that"),
    (["http://a", "--seconds", "0"], "--seconds takes"), (["http://a", "--seconds", "3601"], "--seconds takes")])
def test_mistakes_are_named(suite, words, text):
    assert text in handoff(suite, "rebalance", *words, code=2)

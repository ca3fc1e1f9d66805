"""handoff drain: an instance ends without a signal, its clients little by little where that is asked for."""

import time

import pytest
import requests
import websocket

from cli import Running, handoff, objects
from harness import Closed, new_user, wait_until
from ws import ask, set_to, subscribed


def admin(suite, name):
    return f"http://127.0.0.1:{suite.services[name].admin_port}"


def gone(suite, name):
    """Its exit code; the suite does not end it again."""
    service = suite.services[name]
    return wait_until(lambda: service.process.poll() is not None, what="its end") and service.process.returncode


def test_clients_are_sent_away_little_by_little(suite, own_fanout):
    fanout = own_fanout(HANDOFF_ADMIN_DRAIN="on")
    url = admin(fanout, "ws_fanout")
    users = [new_user() for _ in range(4)]
    devices = [fanout.device(users[i % 4], f"d{i}") for i in range(20)]
    sessions = [device.create({}) for device in devices[:4]]
    sockets = [subscribed(device, sessions[i % 4]["id"]) for i, device in enumerate(devices)]
    begun = time.monotonic()
    drain = Running(suite, "drain", url + "/", "--seconds", 2, "--wait", "--progress")
    wait_until(lambda: requests.get(url + "/ready", timeout=5).status_code == 503)
    last = sockets[-1]
    assert requests.post(url + "/drain?seconds=9", timeout=5).status_code == 202, "again: nothing"
    assert requests.post(url + "/rebalance?seconds=9", timeout=5).status_code == 503
    with pytest.raises((OSError, websocket.WebSocketException)):
        devices[0].connect(sessions[0]["id"]).recv()
    answer = ask(last, type="patch", sessionId=sessions[3]["id"], operations=set_to("n", 1))
    assert answer["type"] == "ack", "who is not sent away yet is served"
    moments = []
    for socket in sockets:
        with pytest.raises(Closed) as closed:
            while True:
                socket.recv()
        assert closed.value.code == 1001
        moments.append(time.monotonic() - begun)
    code, error = drain.end()
    assert code == 0 and "is gone after" in drain.lines[0]
    left = [int(line.split()[1]) for line in error.splitlines()]
    assert left == sorted(left, reverse=True) and len(set(left)) > 4 and left[0] <= 20
    assert gone(fanout, "ws_fanout") == 0


def test_a_signal_ends_the_waiting(suite, own_fanout, user):
    fanout = own_fanout(HANDOFF_ADMIN_DRAIN="on")
    device = fanout.device(user, "d")
    sockets = [subscribed(device, device.create({})["id"]) for _ in range(2)]
    assert "drains" in handoff(suite, "drain", admin(fanout, "ws_fanout"), "--seconds", 3000)
    fanout.services["ws_fanout"].process.terminate()
    for socket in sockets:
        with pytest.raises(Closed):
            while True:
                socket.recv()
    assert gone(fanout, "ws_fanout") == 0


def test_a_service_without_connections(suite, own_api):
    api = own_api(HANDOFF_ADMIN_DRAIN="on")
    url = admin(api, "session_api")
    assert requests.get(url + "/drain", timeout=5).headers["Allow"] == "POST"
    for path, status in [("/drain?seconds=x", 400), ("/drain?seconds=3601", 400), ("/drain?seconds=1&seconds=2", 400)]:
        assert requests.post(url + path, timeout=5).status_code == status
    assert requests.post(url + "/drain", headers={"Origin": "http://evil.example"}, timeout=5).status_code == 403
    assert requests.post(url + "/rebalance?seconds=1", timeout=5).status_code == 404, "there is nothing to rebalance"
    assert requests.get(url + "/ready", timeout=5).status_code == 200
    [told] = objects(handoff(suite, "drain", url, "--wait", "--json"))
    assert told == {"url": url, "state": "gone", "tookMs": told["tookMs"]}
    assert gone(api, "session_api") == 0


def test_it_is_off_unless_it_is_wanted(suite):
    url = admin(suite, next(name for name in suite.services if name.startswith("ws_fanout")))
    assert requests.post(url + "/drain", timeout=5).status_code == 404
    assert "HANDOFF_ADMIN_DRAIN=on" in handoff(suite, "drain", url, code=1)
    assert requests.get(url + "/ready", timeout=5).status_code == 200


@pytest.mark.parametrize("words, text, code", [
    ([], "Which one", 2), (["http://a", "http://b"], "Which one", 2), (["ftp://a"], "URL is that", 2),
    (["http://127.0.0.1:1", "--seconds", "3601"], "--seconds takes", 2), (["http://127.0.0.1:1"], "http://127.0.0.1:1: ", 1)])
def test_mistakes_are_named(suite, words, text, code):
    assert text in handoff(suite, "drain", *words, code=code)
    assert "HANDOFF_ADMIN_DRAIN" in handoff(suite, "drain", "--help")

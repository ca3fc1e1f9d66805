"""Several instances of each service behind the documented proxy: any of them answers anything, and any of
them may end (contract sections 1 and 8)."""

import re

import pytest

from harness import Closed, Device, Suite, checksum_of, metric, wait_until
from rest import refused
from test_crash import Load
from ws import MISSING_ID, ask, set_to, subscribed, watch


@pytest.fixture(scope="module")
def two(new_realm, tmp_path_factory):
    suite = Suite(new_realm(), tmp_path_factory.mktemp("two"), instances=2)
    try:
        yield suite.start()
    finally:
        suite.stop()


def per_instance(suite, name, family):
    return [metric(s, family) for s in suite.instances(name)]


def test_requests_and_connections_are_shared_out(two, user):
    phone = two.device(user, "phone")
    before = per_instance(two, "session_api", "handoff_http_requests_total")
    for _ in range(20):
        assert phone.get("/time").status_code == 200
    after = per_instance(two, "session_api", "handoff_http_requests_total")
    assert [b - a for a, b in zip(before, after)] == [10, 10]
    session = phone.create({"n": 0})
    sockets = [subscribed(phone, session["id"]) for _ in range(4)]
    assert per_instance(two, "ws_fanout", "handoff_ws_connections") == [2, 2]
    for socket in sockets:
        socket.close()


def test_what_one_instance_did_all_others_know(two, user):
    """The next request, and the one after, are another instance's."""
    phone, laptop = two.device(user, "phone"), two.device(user, "laptop")
    session = phone.create({"n": 0})
    with subscribed(laptop, session["id"]) as one, subscribed(laptop, session["id"]) as other:
        for n in range(1, 9):
            assert phone.patch(session["id"], set_to("n", n), baseVersion=n).status_code == 200
            now = laptop.read(session["id"])
            assert (now["version"], now["data"], now["checksum"]) == (n + 1, {"n": n}, checksum_of({"n": n}))
            for socket in (one, other):
                socket.expect("state_delta", version=n + 1)
        assert ask(one, "patch", sessionId=session["id"], operations=set_to("n", 9))["version"] == 10
        other.expect("state_delta", version=10)


def test_a_key_takes_effect_once_whichever_instance_is_asked(two, user):
    phone = two.device(user, "phone")
    session = phone.create({"all": []})
    append = [{"op": "add", "path": "/data/all/-", "value": 1}]
    answers = [phone.patch(session["id"], append, headers={"Idempotency-Key": "k"}) for _ in range(6)]
    assert [a.status_code for a in answers] == [200] * 6
    assert [a.json()["version"] for a in answers] == [2] * 6
    assert phone.read(session["id"])["data"] == {"all": [1]}


def test_rest_and_websocket_at_one_address(two, user):
    class Joined:
        api_url = f"http://127.0.0.1:{two.all_port}"
        ws_url = f"ws://127.0.0.1:{two.all_port}/ws"

    phone = Device(Joined, user, "phone")
    session = phone.create({"n": 0})
    with subscribed(phone, session["id"]) as socket:
        phone.patch(session["id"], set_to("n", 1))
        socket.expect("state_delta", version=2)


def test_each_request_has_a_name_of_its_own(two, user):
    phone = two.device(user, "phone")
    answer = phone.get(f"/sessions/{MISSING_ID}", headers={"X-Request-Id": "mine"})
    assert answer.headers["X-Request-Id"] == "mine"
    assert len({phone.get("/time").headers["X-Request-Id"] for _ in range(4)}) == 4


# ---- one ends, the other goes on ----

def wait_state(suite, known_as, word):
    """Until the proxy's log says so about that instance, last of all. It knows session_api and ws_fanout."""
    def is_said():
        said = re.findall(rf"Server \w+/{known_as} is (UP|DOWN)", suite.proxy.log.read_text())
        return said and said[-1] == word
    if suite.services[known_as].port:
        wait_until(is_said, what=f"{known_as} {word}")


@pytest.mark.parametrize("name", ["session_api", "state_engine", "audit_writer"])
def test_a_planned_end_costs_no_request(own_suite, name):
    suite = own_suite(instances=2)
    with Load(suite) as load:
        for known_as in (name, f"{name}-2"):
            load.wait(40)
            assert suite.terminate(known_as) == 0
            # Came it back at once the proxy would not notice, and ask it before it is ready.
            wait_state(suite, known_as, "DOWN")
            suite.restart(known_as)
            wait_state(suite, known_as, "UP")
    assert load.n_uncertain == 0
    load.check()


def test_one_of_each_may_be_killed(own_suite):
    suite = own_suite(instances=2)
    with Load(suite) as load:
        watchers = [watch(device, load.session["id"], timeout=40) for device in load.devices[:4]]
        for known_as in ("session_api", "state_engine-2", "audit_writer"):
            load.wait(40)
            suite.kill(known_as)
    load.check()
    load.check_repeats()
    for watcher in watchers:
        assert watcher.finish(201).agrees_with(load.devices[0].read(load.session["id"]))


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_devices_of_a_fanout_that_ends_come_to_the_other(own_suite, user, end):
    suite = own_suite(instances=2)
    phone = suite.device(user, "phone")
    session = phone.create({"n": 0})
    sockets = [subscribed(phone, session["id"]) for _ in range(4)]
    getattr(suite, end)("ws_fanout")
    phone.patch(session["id"], set_to("n", 1))
    codes = []
    for socket in sockets:
        try:
            socket.recv_until("state_delta", version=2)
        except Closed as closed:
            codes.append(closed.code)
            socket.close()
            with subscribed(phone, session["id"]) as again:  # at the same address, at once
                assert again.sync["version"] == 2
        except Exception:
            codes.append(None)
    assert codes == ([1001] * 2 if end == "terminate" else [None] * 2)
    for socket in sockets:
        socket.close()


def test_without_any_instance_the_proxy_says_so_as_the_services_do(own_suite, user):
    suite = own_suite(instances=2)
    phone = suite.device(user, "phone")
    assert phone.get("/time").status_code == 200
    for service in suite.instances("session_api"):
        suite.terminate(service.known_as)
    problem = refused(phone.post("/sessions", json={"name": "n", "type": "t"}), 503, "unavailable")
    assert problem["temporary"] is True
    suite.restart("session_api")
    wait_until(lambda: phone.get("/time").status_code == 200, what="answers again")

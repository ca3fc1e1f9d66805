"""Every dependency of every service goes away and comes back: killed, silent (absent at the start: see
test_start_without.py). The service runs on, says so on /ready and once in its log, sheds what it cannot do, and is whole again."""

import contextlib
import os
import pathlib
import signal
import time

import pytest

import ws
from harness import MAX_WAIT, Suite, wait_until
from rest import path_of
from test_crash import add, patch_until_accepted, ready, unsure

# service -> the names of its dependencies on /ready, by server
DEPENDS = {
    "session_api": {"redis": {"redis"}, "rabbitmq": {"rabbitmq"}, "postgresql": {"postgresql"}},
    "state_engine": {"redis": {"redis"}, "rabbitmq": {"rabbitmq", "rabbitmq_publish", "rabbitmq_reply"},
                     "postgresql": {"postgresql"}},
    "ws_fanout": {"redis": {"redis"}, "rabbitmq": {"rabbitmq"}},
    "audit_writer": {"rabbitmq": {"rabbitmq"}, "postgresql": {"postgresql"}},
}
SERVERS = ["redis", "rabbitmq", "postgresql"]
WHOLE = 30  # s: generous; the goal is 5


def family(pid):
    """That process and those it started, by their ids; children of PostgreSQL have sessions of their own."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:  # it ended meanwhile
        return []
    return [pid] + [member for child in children for member in family(int(child))]


def signal_all(server, number):
    for pid in family(server.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(server):
    signal_all(server, signal.SIGKILL)
    server.process.wait()


def start_again(server):
    if hasattr(server, "launch"):  # RabbitMQ, whose epmd still runs
        server.launch()
        server.wait()
    else:
        server.start()


FAULTS = {"killed": (kill, start_again),
          "silent": (lambda s: signal_all(s, signal.SIGSTOP), lambda s: signal_all(s, signal.SIGCONT))}


@pytest.fixture(scope="module")
def reconnecting(shaky_servers, tmp_path_factory):
    suite = Suite(shaky_servers, tmp_path_factory.mktemp("reconnecting"))
    try:
        yield suite.start()
    finally:
        suite.stop()


def depending(server):
    return [name for name in DEPENDS if server in DEPENDS[name]]


def pids(suite):
    return {name: service.process.pid for name, service in suite.services.items() if service.process.poll() is None}


def records(suite, name, server):
    """(event, dependency) of what the log says about the server's coming and going."""
    return [(r["event"], r["dependency"]) for r in suite.log_records(name)
            if r["event"] in ("dependency_lost", "dependency_up") and r["dependency"] in DEPENDS[name][server]]


def is_noticed(suite, name, server):
    code, status, down = ready(suite, name)
    return code == 200 and status == "degraded" and DEPENDS[name][server] <= down


def write(device, session):
    """One that may fail; its status. It never hangs."""
    answer = device.patch(session["id"], add("while", 1), headers={"Idempotency-Key": "while"}, timeout=MAX_WAIT)
    return 200 if answer.status_code == 200 else unsure(answer)


def ask(device, session, server):
    """Something that cannot be done without that server."""
    if server == "postgresql":
        return device.get("/sessions", timeout=MAX_WAIT)
    return device.patch(session["id"], add("shed", 1), headers={"Idempotency-Key": "shed"}, timeout=MAX_WAIT)


def check_shed(device, session, server):
    """It counts as down: 503 at once, with Retry-After (harness.check_answer)."""
    answer = ask(device, session, server)
    assert answer.status_code == 503 and answer.json()["code"] == "unavailable", answer.text
    if server == "redis":
        assert device.get(path_of(session), timeout=MAX_WAIT).status_code == 503
    elif server == "rabbitmq":
        assert device.get(path_of(session), timeout=MAX_WAIT).status_code == 200
    else:
        assert device.patch(session["id"], add("hot", 1), timeout=MAX_WAIT).status_code == 200


def wait_whole(suite, since):
    """Until all are ready; the seconds it took them since the server was back."""
    took = {}

    def all_ready():
        for name in suite.services:
            if name not in took and ready(suite, name) == (200, "ready", set()):
                took[name] = time.monotonic() - since
        return len(took) == len(suite.services)
    wait_until(all_ready, timeout=WHOLE, what="all ready again")
    return took


def tell(what, took):
    print(f"\n{what}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items()), end=" ")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_goes_and_comes_back(reconnecting, user, server, fault):
    suite, victim = reconnecting, getattr(reconnecting.servers, server)
    device, before = suite.device(user, "phone"), pids(suite)
    session = device.create({})
    n_records = {name: len(records(suite, name, server)) for name in depending(server)}
    go, come_back = FAULTS[fault]
    with ws.subscribed(device, session["id"]) as socket:
        go(victim)
        try:
            if server == "postgresql":  # whoever asks nothing of it does not notice that it is silent
                unsure(ask(device, session, server))
                write(device, session)
                noticing = depending(server) if fault == "killed" else ["session_api", "audit_writer"]
            else:
                write(device, session)
                noticing = depending(server)
            for name in noticing:
                wait_until(lambda: is_noticed(suite, name, server), timeout=20, what=f"{name} noticed")
            check_shed(device, session, server)
        finally:
            come_back(victim)
        back = time.monotonic()
        tell(f"{server} {fault}", wait_whole(suite, back))
        patch_until_accepted(device, session["id"], "after", 1)
        assert socket.recv_until("state_delta")["version"] >= 2, "the connection stayed"
    assert pids(suite) == before
    for name in noticing:
        told = sorted(records(suite, name, server)[n_records[name]:])
        assert told == sorted((event, dependency) for dependency in DEPENDS[name][server]
                              for event in ("dependency_lost", "dependency_up")), name
    n_versions = device.read(session["id"])["version"]
    wait_until(lambda: len(suite.events_in_postgresql(session["id"])) == n_versions, what="every version's row")


@pytest.mark.parametrize("order", [["rabbitmq", "postgresql", "redis"], ["redis", "postgresql", "rabbitmq"]])
def test_all_servers_go_and_come_back_in_any_order(reconnecting, user, order):
    suite, before = reconnecting, pids(reconnecting)
    device = suite.device(user, "phone")
    session = device.create({"kept": 1})
    wait_until(lambda: len(suite.events_in_postgresql(session["id"])) == 1, what="the row")
    gone = [getattr(suite.servers, name) for name in order]
    for server in reversed(gone):
        kill(server)
    try:
        for name in suite.services:
            wait_until(lambda: all(is_noticed(suite, name, s) for s in DEPENDS[name]), what=f"{name} noticed")
        for server in SERVERS:
            assert ask(device, session, server).status_code == 503
    finally:
        for server in gone:
            start_again(server)
    tell(f"all, {', '.join(order)}", wait_whole(suite, time.monotonic()))
    patch_until_accepted(device, session["id"], "after", 1)
    assert pids(suite) == before
    assert device.read(session["id"])["data"] == {"kept": 1, "after": 1}
    wait_until(lambda: len(suite.events_in_postgresql(session["id"])) == 2, what="every version's row")

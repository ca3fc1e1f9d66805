"""Every service is started before what it depends on: it runs, tells, sheds, and is whole when that comes."""

import subprocess
import time

import pytest
import requests
from process import accepts

from harness import BUILD, Suite, new_user, wait_until
from test_crash import ready
from test_reconnect import DEPENDS, SERVERS, ask, depending, pids, records, tell, wait_whole, write


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_is_absent_at_the_start(shaky_servers, tmp_path, server):
    suite, victim = Suite(shaky_servers, tmp_path), getattr(shaky_servers, server)
    victim.stop()
    try:
        for service in suite.services.values():
            service.start()
        for name in depending(server):
            wait_until(lambda: ("dependency_lost", min(DEPENDS[name][server])) in records(suite, name, server),
                       what=f"{name} tells")
            code, status, down = ready(suite, name)
            assert (code, status) == (503, "starting") and DEPENDS[name][server] <= down
            asked = subprocess.run([BUILD / "bin" / name, "--is-ready"], env=suite.services[name].env, capture_output=True, text=True)
            assert asked.returncode == 1 and "not ready" in asked.stderr
        device = suite.device(new_user(), "phone")
        wait_until(lambda: accepts(suite.services["session_api"].port), what="session_api to open although it is not ready")
        answer = ask(device, {"id": "0197a3b2-0000-7000-8000-000000000001"}, server)
        assert answer.status_code == 503, answer.text
        before = pids(suite)
        victim.start()
        tell(f"{server} absent at the start", wait_whole(suite, time.monotonic()))
        assert pids(suite) == before and len(before) == 4
        session = device.create({})
        assert write(device, session) == 200
        for name in depending(server):
            assert sorted(records(suite, name, server)) == sorted(
                (event, dependency) for dependency in DEPENDS[name][server]
                for event in ("dependency_lost", "dependency_up")), name
    finally:
        if victim.process.poll() is not None:
            victim.start()
        suite.stop()


def test_who_comes_while_it_starts_is_refused_the_connection_and_never_answered_503(own_suite):
    """So that a proxy which asks nobody how it is (nginx) takes a write to another instance."""
    suite = own_suite()
    service = suite.services["session_api"]
    for _ in range(3):
        assert suite.terminate("session_api") == 0
        service.start()
        answers = []

        def ask_ready():
            try:
                answers.append(requests.get(f"http://127.0.0.1:{service.port}/ready"))
            except requests.ConnectionError:
                pass
            return answers

        wait_until(ask_ready, what="the first connection")
        assert answers[0].status_code == 200, answers[0].text
        service.wait_ready()

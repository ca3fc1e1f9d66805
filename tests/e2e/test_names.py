"""A name server that is silent: it holds no service up, neither in its work nor in its end (contract section 8)."""

import signal
import time
import types

import pytest
from process import accepts, free_ports, http_status
from servers import Redis

from harness import BUILD, MAX_DRAIN, Suite, new_user, wait_until
from test_reconnect import records, wait_whole, write

URLS = {"redis": "redis://redis.test:6379/0", "rabbitmq": "amqp://me:secret@rabbitmq.test:5672/v",
        "postgresql": "postgres://me:secret@postgresql.test:5432/d"}


@pytest.fixture
def silent(tmp_path):
    """While the file is there, names that end in .test have no answer."""
    return tmp_path / "silent"


def named(url, host):
    assert "127.0.0.1" in url
    return url.replace("127.0.0.1", host)


def suite_of(urls, folder, silent, **env):
    servers = types.SimpleNamespace(**{name: types.SimpleNamespace(url=url) for name, url in urls.items()})
    return Suite(servers, folder, LD_PRELOAD=str(BUILD / "e2e" / "names.so"), SILENT_NAMES=str(silent), **env)


def await_question(suite, silent, name):
    """The service has asked for a name, in vain."""
    note = silent.with_name(f"{silent.name}.{suite.services[name].process.pid}")
    wait_until(note.exists, what=f"{name} to ask")
    note.unlink()


def all_are_alive(suite):
    ports = [s.admin_port for s in suite.services.values()] + [suite.api_port]
    return all(http_status(f"http://127.0.0.1:{port}/health") == 200 for port in ports)


def end_all(suite):
    """All at once; the exit codes."""
    for service in suite.services.values():
        service.process.send_signal(signal.SIGTERM)
    for service in suite.services.values():
        service.stop(timeout=MAX_DRAIN)
    return {name: service.process.returncode for name, service in suite.services.items()}


def test_services_that_were_never_answered_are_alive_and_end(tmp_path, silent):
    silent.touch()
    suite = suite_of(URLS, tmp_path, silent, HANDOFF_JWT_ALGORITHMS="HS256,ES256", HANDOFF_JWKS_URL="https://keys.test/jwks")
    try:
        for service in suite.services.values():
            service.start()
        wait_until(lambda: records(suite, "state_engine", "redis"), what="the engine to tell")
        lost = [r["err"] for r in suite.log_records("state_engine") if r["event"] == "dependency_lost"]
        assert lost == ["the host's name cannot be resolved: redis.test: no answer yet"]
        for name in suite.services:
            await_question(suite, silent, name)
        wait_until(lambda: all(accepts(s.port) for s in suite.services.values() if s.port), what="session_api and ws_fanout to open")
        assert all_are_alive(suite)
        assert end_all(suite) == dict.fromkeys(suite.services, 0)
    finally:
        suite.stop()


def test_a_lost_redis_whose_name_has_no_answer(servers, new_realm, tmp_path, silent):
    realm = new_realm()
    redis = Redis(tmp_path / "redis", free_ports(1)[0], "secret")
    redis.start()
    suite = suite_of({"redis": named(redis.url, "redis.test"), "rabbitmq": named(realm.rabbitmq.url, "rabbitmq.test"),
                      "postgresql": named(realm.postgresql.url, "postgresql.test")}, tmp_path, silent)
    try:
        suite.start()
        device = suite.device(new_user(), "phone")
        session = device.create({})
        silent.touch()
        redis.kill()
        await_question(suite, silent, "state_engine")
        assert all_are_alive(suite)
        redis.start()
        silent.unlink()
        wait_whole(suite, time.monotonic())
        assert write(device, session) == 200
        silent.touch()
        redis.kill()
        await_question(suite, silent, "state_engine")
        assert all_are_alive(suite)
        assert end_all(suite) == dict.fromkeys(suite.services, 0)
    finally:
        suite.stop()
        redis.stop()

"""Fixtures: `suite` (shared: the four services on private servers, for tests that break nothing; with
HANDOFF_TEST_INSTANCES=2 two of each behind haproxy), `own_api`, `own_fanout`, `shared_fanout` (a
session_api or ws_fanout alone, configured otherwise, beside the shared rest), `fanout_beside` (one more
ws_fanout beside any suite), `own_suite` (a fresh suite in a world of its own on the shared servers, for
tests that kill); `world` (engines alone on `engine_servers`, which these tests stop and starve)."""

import functools
import itertools
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from audit import Trail  # noqa: E402
from codes import api_beside  # noqa: E402
from engine import COMMANDS, World  # noqa: E402
from harness import BUILD, Servers, Suite, free_ports, make_service, new_user  # noqa: E402
from parts import PLAIN_ONLY  # noqa: E402

collect_ignore = PLAIN_ONLY if "asan" in str(BUILD) else []
N_INSTANCES = int(os.environ.get("HANDOFF_TEST_INSTANCES", "1"))


def pytest_make_parametrize_id(val):
    """A long text is known by its beginning."""
    return ascii(val)[:48] if isinstance(val, (str, bytes)) and len(val) > 48 else None


@pytest.fixture(scope="session")
def servers():
    servers = Servers()
    try:
        yield servers.start()
    finally:
        servers.stop()


@pytest.fixture(scope="session")
def shaky_servers():
    """Others, for tests that stop them, starve them or end them: each leaves them running again."""
    servers = Servers()
    try:
        yield servers.start()
    finally:
        servers.stop()


@pytest.fixture(scope="session")
def suite(servers, tmp_path_factory):
    suite = Suite(servers, tmp_path_factory.mktemp("suite"), instances=N_INSTANCES)
    try:
        yield suite.start()
    finally:
        suite.stop()


@pytest.fixture
def own_api(suite, tmp_path):
    """own_api(HANDOFF_…="…") -> a Suite with nothing but a session_api."""
    started = []

    def start(**env):
        folder = tmp_path / f"api{len(started)}"
        folder.mkdir()
        started.append(Suite(suite.servers, folder, names=["session_api"], **env))
        return started[-1].start()

    yield start
    for api in started:
        api.stop()


def _fanout_beside(suite, folder, **env):
    """A Suite with nothing but one more ws_fanout beside the rest of that suite, to whose session_api its
    devices' REST calls go."""
    folder.mkdir()
    fanout = Suite(suite.servers, folder, names=["ws_fanout"], **env)
    fanout.api_port = suite.api_port
    return fanout.start()


@pytest.fixture(scope="session")
def code_api(suite, tmp_path_factory):
    """A session_api for tests of handoff codes: codes.py."""
    api = api_beside(suite, tmp_path_factory.mktemp("codes"))
    api.ws_port = suite.ws_port
    try:
        yield api
    finally:
        api.stop()


@pytest.fixture
def fanout_beside(tmp_path):
    """fanout_beside(suite, HANDOFF_…="…") -> one more ws_fanout in the suite's world."""
    started = []

    def start(suite, **env):
        started.append(_fanout_beside(suite, tmp_path / f"fanout{len(started)}", **env))
        return started[-1]

    yield start
    for fanout in started:
        fanout.stop()


@pytest.fixture
def own_fanout(suite, fanout_beside):
    """own_fanout(HANDOFF_…="…") -> one more ws_fanout, for a test that stops or exhausts it."""
    return functools.partial(fanout_beside, suite)


@pytest.fixture(scope="session")
def shared_fanout(suite, tmp_path_factory):
    """shared_fanout(HANDOFF_…="…") -> one more ws_fanout, the same for all that ask for these values."""
    started = {}

    def get(**env):
        key = tuple(sorted(env.items()))
        if key not in started:
            started[key] = _fanout_beside(suite, tmp_path_factory.mktemp("fanout") / "log", **env)
        return started[key]

    yield get
    for fanout in started.values():
        fanout.stop()


@pytest.fixture(scope="session")
def new_realm(servers):
    """new_realm() -> a world of its own on the shared servers; Redis has room for 99."""
    numbers = itertools.count(1)
    return lambda: servers.realm(next(numbers))


@pytest.fixture
def own_suite(new_realm, tmp_path):
    """own_suite(HANDOFF_…="…") -> a Suite that shares nothing but the servers with the others; one
    instance of each service, or own_suite(instances=2)."""
    started = []

    def start(**more):
        folder = tmp_path / f"suite{len(started)}"
        folder.mkdir()
        started.append(Suite(new_realm(), folder, **more))
        return started[-1].start()

    yield start
    for own in started:
        own.stop()


@pytest.fixture
def user():
    return new_user()


@pytest.fixture
def phone(suite, user):
    return suite.device(user, "phone")


@pytest.fixture
def laptop(suite, user):
    return suite.device(user, "laptop")


@pytest.fixture
def stranger(suite):
    return suite.device(new_user(), "stranger-device")


@pytest.fixture(scope="module")
def engine_servers(shaky_servers, tmp_path_factory):
    """Servers that these tests stop and starve; with the tables of audit_writer."""
    folder = tmp_path_factory.mktemp("audit")
    audit = make_service("audit_writer", BUILD / "bin", World(shaky_servers, folder).env(),
                         admin_port=free_ports(1)[0], log=folder / "audit_writer.log").start()
    audit.wait_ready()
    shaky_servers.audit_pid = audit.process.pid
    yield shaky_servers
    audit.stop()


@pytest.fixture
def audit_pid(engine_servers):
    """Of the audit_writer beside the engines of `world`."""
    return engine_servers.audit_pid


@pytest.fixture
def world(engine_servers, tmp_path):
    world = World(engine_servers, tmp_path)
    with world.amqp() as connection:
        channel = connection.channel()
        for queue in (COMMANDS, "state_engine.dead"):
            channel.queue_declare(queue, durable=True)
            channel.queue_purge(queue)
    world.redis.flushall()
    try:
        yield world
    finally:
        world.stop()


@pytest.fixture(scope="module")
def trail(new_realm, tmp_path_factory):
    """An audit_writer alone, in a world of its own, shared by the module's tests."""
    trail = Trail(new_realm(), tmp_path_factory.mktemp("trail") / "log")
    try:
        yield trail
    finally:
        trail.stop()

"""Fixtures: `suite` (shared: the four services on private servers, for tests that break nothing), and
`own_suite` (a fresh one on the shared servers, for tests that kill)."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import Servers, Suite, new_user  # noqa: E402


@pytest.fixture(scope="session")
def servers():
    servers = Servers()
    try:
        yield servers.start()
    finally:
        servers.stop()


@pytest.fixture(scope="session")
def suite(servers, tmp_path_factory):
    suite = Suite(servers, tmp_path_factory.mktemp("suite"))
    try:
        yield suite.start()
    finally:
        suite.stop()


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

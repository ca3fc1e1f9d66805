"""examples/: each is what it says, in Chromium, on services that allow pages of any port of this machine, as `make dev` has them."""

import os
import pathlib
import sys

import pytest
import requests
from process import accepts, free_ports, spawn, stop, wait_until
from test_client_js import run_node

from harness import MAX_WAIT, SECRET, new_user

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
ORIGINS = "http://localhost:*,http://127.0.0.1:*"
MAX_LINES, MAX_LINE = 150, 180


@pytest.fixture
def pages(suite, tmp_path):
    """The server of the examples; its tokens are good for the suite."""
    (tmp_path / "jwt.secret").write_text(SECRET)
    port = free_ports(1)[0]
    server = spawn([sys.executable, ROOT / "compose/local/examples.py", "--port", port],
                   env={**os.environ, "HANDOFF_RUN": str(tmp_path)}, log=tmp_path / "examples.log")
    wait_until("examples", lambda: accepts(port), process=server, log=tmp_path / "examples.log")
    yield port
    stop(server)
    assert server.returncode == 0


@pytest.fixture
def services(own_api, own_fanout):
    return own_api(HANDOFF_ALLOWED_ORIGINS=ORIGINS), own_fanout(HANDOFF_ALLOWED_ORIGINS=ORIGINS)


def test_in_chromium(services, pages):
    api, fanout = services
    run_node("examples.test.mjs", ROOT / "tests" / "browser", test_folder=".", HANDOFF_API_PORT=str(api.api_port),
             HANDOFF_SOCKET_PORT=str(fanout.ws_port), HANDOFF_EXAMPLES_PORT=str(pages))

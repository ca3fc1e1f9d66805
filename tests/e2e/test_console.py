"""The console and the API reference in Chromium: tests/browser/console.test.mjs and docs.test.mjs against the real services."""

import os
import pathlib
import re
import subprocess

import pytest

from harness import SECRET

BROWSER = pathlib.Path(__file__).resolve().parent.parent / "browser"


@pytest.mark.parametrize("test, n_tests", [("console.test.mjs", 13), ("docs.test.mjs", 3)])
def test_in_chromium(own_api, own_fanout, test, n_tests):
    assert (BROWSER / "node_modules" / ".ready").exists(), "run `make test-programs` first"
    sockets = own_fanout(HANDOFF_ALLOWED_ORIGINS="*").ws_url.removesuffix("/ws")
    api = own_api(HANDOFF_CONSOLE="on", HANDOFF_PUBLIC_WS_URL=sockets)
    env = {"HANDOFF_API_URL": api.api_url, "HANDOFF_SOCKET_URL": sockets.replace("ws://", "http://"), "HANDOFF_SECRET": SECRET}
    done = subprocess.run(["node", "--test", test], cwd=BROWSER, env={**os.environ, **env}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    counts = {name: int(n) for name, n in re.findall(r"^(?:#|ℹ) (pass|fail|cancelled|skipped) (\d+)$", done.stdout, re.MULTILINE)}
    assert done.returncode == 0 and counts["fail"] == counts["cancelled"] == counts["skipped"] == 0, done.stdout
    assert counts["pass"] >= n_tests

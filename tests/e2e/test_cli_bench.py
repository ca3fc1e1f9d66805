"""handoff bench: a self-test of an installation, which leaves nothing behind."""

import json
import os
import pty
import signal
import subprocess

import pytest

from cli import HANDOFF, Running, environment, handoff
from harness import new_user, token, wait_until


@pytest.fixture
def owner(suite):
    return suite.device(new_user(), "laptop")


@pytest.fixture
def words(suite, owner, tmp_path):
    path = tmp_path / "token"
    path.write_text(owner.token + "\n")
    return ["bench", f"--url={suite.api_url}", f"--ws-url=ws://127.0.0.1:{suite.ws_port}", f"--token-file={path}"]


def replaced(words, name, value):
    return [f"{name}={value}" if word.startswith(f"{name}=") else word for word in words]


def sessions_of(owner):
    return [s for s in owner.get("/sessions?type=bench&limit=100").json()["items"]]


def test_it_measures_and_leaves_nothing(suite, owner, words):
    told = json.loads(handoff(suite, *words, "--seconds", 1, "--rate", 60, "--sessions", 7, "--watchers", 3, "--json"))
    assert told["changes"] == 60 and told["errors"] == 0 and told["eventsNotHeard"] == 0 and told["errorsByKind"] == {}
    assert told["patchMs"]["count"] == 60 and told["deviceToDeviceMs"]["count"] == 60
    assert told["rate"] > 0
    for times in (told["patchMs"], told["deviceToDeviceMs"]):
        assert 0 < times["p50"] <= times["p99"] <= times["max"]
    wait_until(lambda: not sessions_of(owner), what="nothing left")


def test_devices_without_a_claim_and_a_table_for_people(suite, words, tmp_path):
    (tmp_path / "token").write_text(token(new_user()))
    told = handoff(suite, *words, "--seconds", 1, "--sessions", 1, "--watchers", 9)
    assert "device to device" in told and "p99" in told and "0 of 450" in told


def test_on_a_terminal_it_says_unasked_how_far_it_is(suite, words):
    """In a line that is written over, and taken away at the end."""
    here, there = pty.openpty()
    done = subprocess.run([HANDOFF, *words, "--seconds", "1", "--sessions", "1", "--watchers", "1"], stdout=subprocess.PIPE, stderr=there,
                          env=environment(suite), timeout=60)
    os.close(there)
    told = os.read(here, 65536)
    os.close(here)
    assert done.returncode == 0 and b"device to device" in done.stdout
    assert told.startswith(b"\r\x1b[Khandoff: 0 s, 0 changes, 0 errors\r\x1b[K") and told.endswith(b"\r\x1b[K") and b"\n" not in told, told


def test_an_interruption_cleans_up(suite, owner, words):
    bench = Running(suite, *words, "--seconds", 300, "--rate", 20)
    wait_until(lambda: any(s["version"] > 2 for s in sessions_of(owner)), what="changes")
    code, _ = bench.end(signal.SIGINT)
    assert code == 1 and any("device to device" in line for line in bench.lines)
    wait_until(lambda: not sessions_of(owner), what="nothing left")


def test_what_is_wrong_is_told(suite, owner, words, tmp_path):
    assert "No such file" in handoff(suite, *replaced(words, "--token-file", tmp_path / "none"), code=1)
    (tmp_path / "bad").write_text("not.a.token")
    assert "unauthenticated" in handoff(suite, *replaced(words, "--token-file", tmp_path / "bad"), code=1)
    assert "no session could be made" in handoff(suite, *replaced(words, "--url", "http://127.0.0.1:1"), code=1)
    (tmp_path / "reads").write_text(token(new_user(), "reader", scope="sessions:read"))
    assert "forbidden" in handoff(suite, *replaced(words, "--token-file", tmp_path / "reads"), code=1)


@pytest.mark.parametrize("more, text", [
    (["--rate", "2001"], "--rate takes a number from 1 to 2000"), (["--seconds", "0"], "--seconds takes"),
    (["--watchers", "91"], "At most 9 watchers"), (["--sessions", "65", "--watchers", "1"], "At most 64 sessions"),
    (["--url", "ftp://x"], "--url is given twice"), (["now"], "options alone")])
def test_mistakes_are_named(suite, words, more, text):
    assert text in handoff(suite, *words, *more, code=2)


def test_help(suite, words):
    assert "--url takes" in handoff(suite, *replaced(words, "--url", "ftp://x"), code=2)
    assert "--token-file" in handoff(suite, "bench", code=2) and "p99" not in handoff(suite, "bench", "--help")

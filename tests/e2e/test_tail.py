"""handoff tail: every event of a session as a line, without a gap, whatever happens to the connection."""

import json
import re
import signal
import subprocess

import pytest

from cli import HANDOFF, MISSING, Running, ended
from harness import MAX_WAIT, token, wait_until
from wire import Wire

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def token_file(user, tmp_path):
    path = tmp_path / "token"
    path.write_text(token(user, "watch") + "\n")
    return path


@pytest.fixture
def tail(suite, token_file):
    started = []

    def start(*arguments, url=None):
        started.append(Running(None, "tail", "--url", url or suite.ws_url, "--token-file", token_file, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_each_event_is_a_line(tail, phone, laptop):
    session = laptop.create({"progress": 0})["id"]
    watch = tail(session)
    assert watch.wait_for(1)[0].split("\t")[1:3] == ["state_sync", "1"]
    laptop.patch(session, [{"op": "replace", "path": "/data/progress", "value": 75},
                           {"op": "add", "path": "/data/note", "value": "tab\t\x7f" + "long " * 30}])
    laptop.status(session, "paused")
    laptop.post(f"/sessions/{session}/broadcast", json={"message": {"cue": "bell"}})
    wait_until(lambda: any("broadcast" in line for line in watch.lines))
    told = [line.split("\t") for line in watch.lines]
    assert all(len(fields) == 5 and MOMENT.fullmatch(fields[0]) for fields in told)
    by_type = {fields[1]: fields[2:] for fields in told}
    version, device, what = by_type["state_delta"]
    assert (version, device) == ("2", "laptop")
    assert what.startswith('replace /data/progress 75; add /data/note "tab\\t?long ') and what.endswith("…")
    assert by_type["status_changed"] == ["3", "laptop", "active -> paused (request)"]
    assert by_type["broadcast"][2] == '{"cue":"bell"}'
    assert watch.end(signal.SIGTERM) == (0, "")


def test_from_a_position_on_and_as_json(tail, laptop):
    session = laptop.create({"progress": 0})["id"]
    for n in range(1, 4):
        laptop.patch(session, [{"op": "replace", "path": "/data/progress", "value": n}])
    watch = tail("--json", "--since", "2", session)
    events = [json.loads(line) for line in watch.wait_for(2)]
    deltas = [e for e in events if e["type"] == "state_delta"]
    assert [(d["version"], d["operations"][0]["value"]) for d in deltas] == [(3, 2), (4, 3)]
    assert watch.end(signal.SIGINT) == (0, "")


def test_a_broken_connection_leaves_no_gap(tail, suite, laptop):
    """Cut at any moment, with events on their way: each version is there once, and in order."""
    session = laptop.create({"n": 0})["id"]
    n_changes = 60
    with Wire(suite.ws_port) as wire:
        watch = tail("--since", "1", session, url=f"ws://127.0.0.1:{wire.port}")
        for n in range(2, n_changes + 2):
            laptop.patch(session, [{"op": "replace", "path": "/data/n", "value": n}])
            if n % 15 == 7:
                watch.wait_for(n // 2)
                wire.cut()
                wire.mend()

        def versions():
            return [int(line.split("\t")[2]) for line in watch.lines if "\tstate_delta\t" in line]

        wait_until(lambda: len(versions()) >= n_changes)
        assert versions() == list(range(2, n_changes + 2))
        assert wire.n_accepted > 1
        code, error = watch.end(signal.SIGTERM)
    assert code == 0 and error.count("it is tried again") >= 2


def test_several_sessions_and_one_that_is_lost(tail, laptop):
    first, second = (laptop.create({"progress": 0})["id"] for _ in range(2))
    watch = tail(first, second)
    wait_until(lambda: sum("state_sync" in line for line in watch.lines) == 2)
    assert {line.split("\t")[0] for line in watch.lines} == {first, second}
    assert laptop.delete(f"/sessions/{first}").status_code == 204
    wait_until(lambda: any("session_deleted" in line for line in watch.lines))
    laptop.patch(second, [{"op": "replace", "path": "/data/progress", "value": 1}])
    wait_until(lambda: any(line.startswith(second) and "state_delta" in line for line in watch.lines))
    assert laptop.delete(f"/sessions/{second}").status_code == 204
    code, error = watch.end()  # nothing is left to follow
    assert code == 1 and f"session {first}: not_found" in error


def test_what_it_was_too_late_for_it_says(tail, laptop):
    session = laptop.create({"progress": 0})["id"]
    watch = tail("--since", "7.3", session)
    assert watch.wait_for(1)[0].endswith("\tepoch")
    assert watch.end(signal.SIGTERM)[0] == 1


def test_a_fresh_token_is_taken_from_the_file(tail, suite, laptop, user, token_file):
    session = laptop.create({"progress": 0})["id"]
    token_file.write_text(token(user, "watch", seconds=61))
    with Wire(suite.ws_port) as wire:
        watch = tail(session, url=f"ws://127.0.0.1:{wire.port}")
        watch.wait_for(1)
        token_file.write_text(token(user, "watch"))
        wire.cut()
        wire.mend()
        laptop.patch(session, [{"op": "replace", "path": "/data/progress", "value": 1}])
        wait_until(lambda: any("state_delta" in line for line in watch.lines))
        token_file.write_text("not.a.token")
        wire.cut()
        wire.mend()
        code, error = watch.end()
    assert code == 1 and "unauthenticated" in error


@pytest.mark.parametrize("arguments, code, text", [
    ([], 2, "--token-file"), (["--url", "ws://x", "--token-file", "t"], 2, "SESSION"),
    (["--url", "ftp://x", "--token-file", "t", MISSING], 2, "url"), (["--since", "x"], 2, "--since"),
    (["--since", "1", "--url", "ws://x", "--token-file", "t", MISSING, MISSING[:-1] + "1"], 2, "one session"),
    (["--url", "ws://127.0.0.1:9", "--token-file", "/nowhere", MISSING], 1, "no_token: /nowhere")])
def test_mistakes_are_named(arguments, code, text):
    assert text in ended("tail", *arguments, code=code).stderr


def test_a_session_that_is_not_there_ends_it(tail):
    code, error = tail(MISSING).end()
    assert code == 1 and "not_found" in error


def test_who_stops_reading_ends_it(tail, laptop, token_file, suite):
    session = laptop.create({"progress": 0})["id"]
    command = f"'{HANDOFF}' tail --url {suite.ws_url} --token-file '{token_file}' --since 0 {session} | head -n 1"
    done = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True)
    assert "session_created" in done.stdout.readline()
    for n in range(3):
        laptop.patch(session, [{"op": "replace", "path": "/data/progress", "value": n + 1}])
    assert done.wait(MAX_WAIT) == 0

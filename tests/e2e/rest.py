"""What the REST tests say often: refusals, sessions that stay as they are, raw requests."""

import contextlib
import json
import re
import socket

import jsonpatch

from harness import MAX_WAIT

MISSING_ID = "0197a3b4-0000-7000-8000-000000000000"
MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
JSON_PATCH, MERGE_PATCH, JSON = (
    "application/json-patch+json", "application/merge-patch+json", "application/json")


def path_of(session):
    return f"/sessions/{session['id']}"


def refused(answer, status, code, **members):
    """The answer is that refusal, with those members in its body; returns the body."""
    assert answer.status_code == status, f"{answer.status_code}, not {status}: {answer.text[:500]}"
    body = answer.json()
    assert body["code"] == code, body
    for name, value in members.items():
        assert body.get(name) == value, body
    return body


def invalid(answer):
    """Refused as invalid, where the contract leaves open whether its shape or its value is at fault."""
    assert (answer.status_code, answer.json()["code"]) in (
        (400, "invalid_request"), (422, "invalid_value")), answer.text[:500]
    return answer.json()


def accepted(answer, version=None):
    """The answer's body: 200, at that version."""
    assert answer.status_code == 200, answer.text[:500]
    body = answer.json()
    if version is not None:
        assert body["version"] == version, body
    assert answer.headers["ETag"] == f'"{body["version"]}"'
    return body


@contextlib.contextmanager
def unchanged(device, session_id):
    """What happens inside must change nothing, and tell nobody."""
    before = device.read(session_id)
    n_deltas = len(device.deltas(session_id, since=max(0, before["version"] - 1)))
    yield before
    assert device.read(session_id) == before
    assert len(device.deltas(session_id, since=max(0, before["version"] - 1))) == n_deltas


def send_patch(device, session_id, body, media_type=JSON, **headers):
    """PATCH with these very bytes (or text, or the JSON of anything else)."""
    if not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    return device.request("PATCH", f"/sessions/{session_id}",
                          data=body.encode() if isinstance(body, str) else body,
                          headers={"Content-Type": media_type, **headers})


def follow(session, events):
    """The session after these versioned events, applied as a client applies them."""
    session = json.loads(json.dumps(session))
    for event in events:
        assert event["version"] == session["version"] + 1, event
        session["version"] = event["version"]
        if event["type"] == "state_delta":
            assert event["baseVersion"] == event["version"] - 1
            session = jsonpatch.apply_patch(session, event["operations"])
            session["checksum"] = event["checksum"]
        elif event["type"] == "status_changed":
            assert event["from"] == session["status"]
            session["status"], session["activeDeviceId"] = event["to"], event["activeDeviceId"]
    return session


def exchange(suite, data, timeout=MAX_WAIT):
    """Sends raw bytes to an instance itself, then reads until the server closes."""
    with socket.create_connection(("127.0.0.1", suite.direct.api_port), timeout) as s:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(data)
        return read_all(s)


def read_all(s):
    """What comes until the server closes; after the socket's timeout it is an error."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := s.recv(65536):
            received += chunk
    return received


def statuses(received):
    """The status codes of all answers in these bytes."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]

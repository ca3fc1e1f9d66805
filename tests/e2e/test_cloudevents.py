"""HANDOFF_CLOUDEVENTS=on: every event is a CloudEvent 1.0, by the AMQP binding's binary content mode; off: none is."""

import datetime
import re

import pytest

from backend import Backend
from documents import AsyncApi
from ws import set_to, subscribed

MESSAGES = AsyncApi()
SCHEMA = MESSAGES.root["channels"]["session_updates"]["x-cloudevents"]["headers"]
PREFIX = "cloudEvents:"
# CloudEvents 1.0.2, section 3: attribute -> (required, what it has to be)
ATTRIBUTES = {"id": (True, r".+"), "source": (True, r"[a-z][a-z0-9+.-]*:[^\s]+"), "specversion": (True, r"1\.0"), "type": (True, r".+"),
              "subject": (False, r".+"), "time": (False, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")}


def attributes_of(properties):
    """As an SDK takes them; both prefixes of the binding in one message are an error."""
    headers = properties.headers or {}
    assert not [name for name in headers if name.startswith("cloudEvents_")]
    return {name.removeprefix(PREFIX): value for name, value in headers.items() if name.startswith(PREFIX)}


def live(suite, user):
    """A session with an event of each publisher; its id, and the types to wait for."""
    phone, laptop = suite.device(user, "phone"), suite.device(user, "laptop")
    session = phone.create({"n": 0})
    with subscribed(laptop, session["id"]) as socket:
        assert phone.json_patch(session["id"], set_to("n", 1)).status_code == 200
        assert phone.post(f"/sessions/{session['id']}/broadcast", json={"message": "by REST"}).status_code == 202
        socket.send(type="broadcast", sessionId=session["id"], message="by WebSocket", id="b")
        socket.recv_until("ack", id="b")
        assert phone.status(session["id"], "paused").status_code == 200
    assert phone.delete(f"/sessions/{session['id']}").status_code == 204
    return session


WANTED = {"session_created": 1, "device_joined": 1, "state_delta": 1, "broadcast": 2, "status_changed": 1, "snapshot": 1, "session_deleted": 1}


@pytest.mark.parametrize("switch", ["on", "off"])
def test_events_are_cloud_events_where_they_shall(request, suite, user, switch):
    chosen = request.getfixturevalue("own_suite")(HANDOFF_CLOUDEVENTS="on") if switch == "on" else suite
    with Backend(chosen) as backend:
        session = live(chosen, user)
        for type, n in WANTED.items():
            backend.wait(session, n, type)
        seen = [m for m in backend.seen if m[2]["sessionId"] == session["id"]]
    for properties, key, event in seen:
        found = attributes_of(properties)
        MESSAGES.check_amqp("session_updates", event["type"], properties, event)
        if switch == "off":
            assert not found
            continue
        assert set(found) <= set(ATTRIBUTES) and {name for name, (needed, _) in ATTRIBUTES.items() if needed} <= set(found)
        for name, value in found.items():
            assert re.fullmatch(r"[a-z0-9]+", name) and isinstance(value, str) and re.fullmatch(ATTRIBUTES[name][1], value), (name, value)
        assert not MESSAGES.errors(SCHEMA, properties.headers)
        assert (found["id"], found["type"], found["subject"]) == (properties.message_id, f"handoff.{event['type']}", session["id"])
        assert found["time"] == event["timestamp"] and datetime.datetime.fromisoformat(found["time"])
        assert properties.content_type == "application/json" and not properties.content_type.startswith("application/cloudevents")
        assert key.startswith(f"session.{session['id']}.")
    if switch == "on":  # unique, and the same when told again
        by_id = {}
        for properties, _, event in seen:
            assert by_id.setdefault(attributes_of(properties)["id"], event) == event
        assert len(by_id) >= sum(WANTED.values())

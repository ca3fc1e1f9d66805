"""Broadcasts, by REST and by WebSocket: what subscribers of the exchange get, who may, and the bounds."""

import json
import uuid

import pytest

from harness import new_user, wait_until
from rest import JSON, MISSING_ID, refused
from ws import ask, subscribed
from ws import refused as refused_frame

KIB = 1024
MESSAGES = [None, True, 0, -1.5, "text", "", [], {}, {"é": ["\U0001f600", {"": None}]}]


class Updates:
    """A queue of its own on session_updates, for one session: what a backend would get."""

    def __init__(self, suite, session_id):
        self.connection = suite.amqp()
        self.channel = self.connection.channel()
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, "session_updates", f"session.{session_id}.broadcast")

    def get(self):
        """The next message: (delivery, properties, the body's JSON)."""
        def take():
            delivery, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            return delivery and (delivery, properties, json.loads(body))
        return wait_until(take, what="a broadcast")

    def n(self):
        return self.channel.queue_declare(self.queue, passive=True).method.message_count


@pytest.fixture
def session(phone):
    return phone.create({"n": 0})


@pytest.fixture
def updates(suite, session):
    updates = Updates(suite, session["id"])
    yield updates
    updates.connection.close()


def broadcast(device, session, message, **more):
    http = {name: more.pop(name) for name in ("headers",) if name in more}
    return device.post(f"/sessions/{session['id']}/broadcast", json={"message": message, **more}, **http)


def text_of(n):
    """A string that is n bytes of JSON."""
    return "x" * (n - 2)


def share(suite, session, user, role):
    """As the engine keeps it: the tests of sharing say how it gets there."""
    key = f"session:{{{session['id']}}}:meta"
    suite.redis_client().hset(key, "participants", f",{user}:{role},")


# ---- what is sent ----

def test_a_broadcast_is_an_event_with_all_its_properties(phone, user, session, updates):
    answer = broadcast(phone, session, {"cue": "bell"})
    assert (answer.status_code, answer.content) == (202, b"")
    delivery, properties, body = updates.get()
    assert delivery.routing_key == f"session.{session['id']}.broadcast"
    assert body.pop("timestamp")
    assert body == {"type": "broadcast", "sessionId": session["id"], "epoch": 1, "version": 1,
                    "userId": user, "deviceId": "phone", "message": {"cue": "bell"}}
    assert properties.headers == {"epoch": 1, "version": 1, "deviceId": "phone"}
    assert (properties.type, properties.delivery_mode) == ("broadcast", 1)
    assert properties.content_type == "application/json" and properties.timestamp
    assert uuid.UUID(properties.message_id)


@pytest.mark.parametrize("echo", [True, False])
def test_echo_is_told_in_a_header(phone, session, updates, echo):
    assert broadcast(phone, session, 1, echo=echo).status_code == 202
    assert updates.get()[1].headers.get("echo", False) is echo
    with subscribed(phone, session["id"]) as socket:
        assert ask(socket, "broadcast", sessionId=session["id"], message=2, echo=echo)["type"] == "ack"
        assert updates.get()[1].headers.get("echo", False) is echo


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_any_json_may_be_sent(phone, session, updates, message):
    assert broadcast(phone, session, message).status_code == 202
    assert updates.get()[2]["message"] == message
    with subscribed(phone, session["id"]) as socket:
        assert ask(socket, "broadcast", sessionId=session["id"], message=message)["type"] == "ack"
    assert updates.get()[2]["message"] == message


def test_a_websocket_is_acked_with_the_position(phone, session, updates):
    phone.merge_patch(session["id"], {"data": {"n": 1}})
    with subscribed(phone, session["id"]) as socket:
        socket.send(type="broadcast", id="b", sessionId=session["id"], message="m")
        assert socket.recv_until("ack") == {"type": "ack", "id": "b", "sessionId": session["id"],
                                            "epoch": 1, "version": 2}
        assert updates.get()[2]["version"] == 2


def test_other_devices_get_it_and_nothing_is_kept(phone, laptop, session):
    with subscribed(laptop, session["id"]) as socket, subscribed(phone, session["id"]) as sender:
        assert broadcast(phone, session, "by REST").status_code == 202
        assert socket.recv_until("broadcast")["message"] == "by REST"
        ask(sender, "broadcast", sessionId=session["id"], message="by WebSocket")
        assert socket.recv_until("broadcast")["message"] == "by WebSocket"
    assert phone.read(session["id"]) == session
    assert len(phone.deltas(session["id"])) == 1


def test_those_of_one_connection_stay_in_order(phone, session, updates):
    with subscribed(phone, session["id"]) as socket:
        for n in range(40):
            socket.send(type="broadcast", sessionId=session["id"], message=n)
        assert [updates.get()[2]["message"] for _ in range(40)] == list(range(40))


# ---- who may ----

def test_an_editor_may_and_a_viewer_may_not(suite, session, updates):
    editor = suite.device(new_user(), "editor")
    share(suite, session, editor.user, "editor")
    assert broadcast(editor, session, "e").status_code == 202
    assert updates.get()[2]["userId"] == editor.user
    viewer = suite.device(new_user(), "viewer")
    share(suite, session, viewer.user, "viewer")
    refused(broadcast(viewer, session, "v"), 403, "forbidden")
    with subscribed(viewer, session["id"]) as socket:
        refused_frame(ask(socket, "broadcast", sessionId=session["id"], message="v"), "forbidden")
    assert updates.n() == 0


def test_a_stranger_is_told_what_a_missing_session_is_told(stranger, session, updates):
    missing = refused(broadcast(stranger, {"id": MISSING_ID}, 1), 404, "not_found")
    other = refused(broadcast(stranger, session, 1), 404, "not_found")
    assert missing["detail"] == other["detail"]
    with stranger.connect() as socket:
        socket.expect("hello")
        answers = [ask(socket, "broadcast", sessionId=id, message=1) for id in (session["id"], MISSING_ID)]
        for answer in answers:
            refused_frame(answer, "invalid_request")
        assert answers[0]["detail"] == answers[1]["detail"]
    assert updates.n() == 0


def test_a_connection_that_does_not_watch_has_to_subscribe_first(phone, session, updates):
    with phone.connect() as socket:
        socket.expect("hello")
        frame = ask(socket, "broadcast", sessionId=session["id"], message=1)
        refused_frame(frame, "invalid_request", sessionId=session["id"])
        assert "subscribe" in frame["detail"]
        ask(socket, "subscribe", sessionId=session["id"])
        assert ask(socket, "broadcast", sessionId=session["id"], message=2)["type"] == "ack"
        assert updates.get()[2]["message"] == 2
        ask(socket, "unsubscribe", sessionId=session["id"])
        refused_frame(ask(socket, "broadcast", sessionId=session["id"], message=3), "invalid_request")


def test_a_removed_device_may_not(suite, phone, laptop, session, updates):
    with subscribed(phone, session["id"]) as socket:
        suite.redis_client().hset(f"session:{{{session['id']}}}:meta", "removedDevices", ",phone,")
        refused(broadcast(phone, session, 1), 403, "device_removed")
        refused_frame(ask(socket, "broadcast", sessionId=session["id"], message=1), "device_removed")
    assert broadcast(laptop, session, 2).status_code == 202
    assert updates.get()[2]["message"] == 2


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_not_in_a_session_that_has_ended(phone, session, updates, status):
    with subscribed(phone, session["id"]) as socket:
        assert phone.status(session["id"], status).status_code == 200
        socket.recv_until("status_changed", to=status)
        refused(broadcast(phone, session, 1), 409, "session_ended")
        refused_frame(ask(socket, "broadcast", sessionId=session["id"], message=1), "session_ended")
    assert updates.n() == 0


def test_a_paused_session_may_be_broadcast_to(phone, session, updates):
    phone.status(session["id"], "paused")
    assert broadcast(phone, session, 1).status_code == 202
    assert updates.get()[2]["version"] == 2


def test_it_needs_a_device_and_the_write_scope(suite, user, session, updates):
    refused(broadcast(suite.device(user, None), session, 1), 400, "invalid_request", field="X-Device-Id")
    reader = suite.device(user, "phone", scope="sessions:read")
    refused(broadcast(reader, session, 1), 403, "forbidden")
    with subscribed(reader, session["id"]) as socket:
        refused_frame(ask(socket, "broadcast", sessionId=session["id"], message=1), "forbidden")
    refused(broadcast(suite.device(new_user(), "a", scope="sessions:admin"), session, 1), 403, "forbidden")
    assert updates.n() == 0


# ---- what it may be ----

@pytest.mark.parametrize("body, field", [
    ({}, "message"), ({"echo": True}, "message"), ({"message": 1, "echo": 1}, "echo"),
    ({"message": 1, "echo": "true"}, "echo"), ({"message": 1, "to": "all"}, "to"),
    ([], None), (1, None)], ids=str)
def test_a_body_of_another_shape(phone, session, updates, body, field):
    answer = phone.post(f"/sessions/{session['id']}/broadcast", json=body)
    assert refused(answer, 400, "invalid_request").get("field") == field
    assert updates.n() == 0


def test_bodies_that_are_no_json(phone, session):
    path = f"/sessions/{session['id']}/broadcast"
    for bad in (b"", b"{", b'{"message":1,"message":2}', b'{"message":"\\ud800"}'):
        refused(phone.post(path, data=bad, headers={"Content-Type": JSON}), 400, "invalid_json")
    refused(phone.post(path, data=b"{}", headers={"Content-Type": "text/plain"}), 415,
            "unsupported_media_type")
    refused(phone.get(path), 405, "method_not_allowed")


@pytest.mark.parametrize("members, field", [
    ({}, "message"), ({"message": 1, "echo": 1}, "echo")], ids=str)
def test_a_message_of_another_shape(phone, session, members, field):
    with subscribed(phone, session["id"]) as socket:
        frame = ask(socket, "broadcast", sessionId=session["id"], **members)
        refused_frame(frame, "invalid_request", field=field)
        refused_frame(ask(socket, "broadcast", sessionId="abc", message=1), "not_found")


def test_the_largest_message_and_one_byte_more(phone, session, updates):
    most = text_of(60 * KIB)
    assert broadcast(phone, session, most).status_code == 202
    assert updates.get()[2]["message"] == most
    refused(broadcast(phone, session, most + "x"), 413, "body_too_large", field="message")
    with subscribed(phone, session["id"]) as socket:
        assert ask(socket, "broadcast", sessionId=session["id"], message=most)["type"] == "ack"
        assert updates.get()[2]["message"] == most
        frame = ask(socket, "broadcast", sessionId=session["id"], message=most + "x")
        refused_frame(frame, "body_too_large", field="message")
    assert updates.n() == 0


def test_the_size_is_that_of_the_compact_form(phone, session, updates):
    body = b'{"message": ' + b" " * (100 * KIB) + b'"short"}'
    answer = phone.post(f"/sessions/{session['id']}/broadcast", data=body, headers={"Content-Type": JSON})
    assert answer.status_code == 202
    assert updates.get()[2]["message"] == "short"


def test_the_deepest_message_and_one_level_more(phone, session, updates):
    def nested(n):
        return json.loads("[" * n + "]" * n)
    assert broadcast(phone, session, nested(64)).status_code == 202
    assert updates.get()[2]["message"] == nested(64)
    refused(broadcast(phone, session, nested(65)), 422, "invalid_value", field="message")
    with subscribed(phone, session["id"]) as socket:
        frame = ask(socket, "broadcast", sessionId=session["id"], message=nested(65))
        refused_frame(frame, "invalid_value", field="message")


def test_the_51st_in_a_moment_is_refused_and_goes_later(phone, session):
    n_sent = 150  # the 51st and some, however slowly they come
    with subscribed(phone, session["id"]) as socket:
        for n in range(n_sent):
            socket.send(type="broadcast", id=f"m{n}", sessionId=session["id"], message=n)
        frames = []
        while len(frames) < n_sent:
            frame = socket.recv()
            if "id" in frame:
                frames.append(frame)
        kinds = {f["id"]: f for f in frames}
        assert all(kinds[f"m{n}"]["type"] == "ack" for n in range(50))
        refusals = [f for f in frames if f["type"] == "error"]
        assert refusals
        for frame in refusals:
            refused_frame(frame, "rate_limited", temporary=True, sessionId=session["id"])
            assert 0 < frame["retryAfterMs"] <= 1000
        assert ask(socket, "heartbeat", sessionId=session["id"])["type"] == "ack"
        wait_until(lambda: ask(socket, "broadcast", sessionId=session["id"], message=0)["type"] == "ack",
                   what="room for one more")

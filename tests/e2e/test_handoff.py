"""The whole flow, as the two diagrams of the product have it: a meditation goes from the phone to the
laptop, through every service down to the audit trail."""

import json

import pika

from harness import MAX_WAIT, wait_until
from ws import subscribed


def test_a_session_follows_its_user_from_phone_to_laptop(suite, phone, laptop):
    # The phone starts a session, and watches it.
    session = phone.create({"progress": 0, "preferences": {"theme": "dark"}})
    path = f"/sessions/{session['id']}"
    assert (session["version"], session["status"]) == (1, "active")
    assert session["activeDeviceId"] == "phone"

    with subscribed(phone, session["id"]) as on_phone, subscribed(laptop, session["id"]) as on_laptop:
        for socket in (on_phone, on_laptop):
            assert (socket.sync["reason"], socket.sync["version"]) == ("initial", 1)
            assert socket.sync["session"] == session
        on_phone.recv_until("device_joined", deviceId="laptop", activeDeviceId="phone")

        # Progress on the phone appears on the laptop.
        change = [{"op": "replace", "path": "/data/progress", "value": 75}]
        answer = phone.patch(session["id"], change, baseVersion=1)
        assert answer.status_code == 200
        assert answer.json()["version"] == 2
        delta = on_laptop.expect("state_delta", version=2, baseVersion=1, deviceId="phone")
        assert delta["operations"] == change
        assert delta["checksum"] == answer.json()["checksum"]
        on_phone.expect("state_delta", version=2)

        # The phone pauses.
        assert phone.status(session["id"], "paused").json()["activeDeviceId"] is None
        paused = on_laptop.expect("status_changed", version=3, to="paused", reason="request")
        assert paused["from"] == "active"
        on_phone.expect("status_changed", version=3)

        # The laptop finds it and goes on.
        found = wait_until(lambda: [s for s in laptop.get("/sessions?status=paused").json()["items"]
                                    if s["id"] == session["id"]], what="the paused session listed")
        assert found[0]["version"] == 3
        continued = laptop.status(session["id"], "active").json()
        assert continued["activeDeviceId"] == "laptop"
        assert continued["data"]["progress"] == 75
        on_phone.expect("status_changed", version=4, to="active", activeDeviceId="laptop")

        # And over its WebSocket, too.
        on_laptop.send(type="patch", id="p1", sessionId=session["id"], baseVersion=4,
                       operations=[{"op": "replace", "path": "/data/progress", "value": 80}])
        ack = on_laptop.recv_until("ack", id="p1")
        assert (ack["version"], ack["rebased"]) == (5, False)
        assert on_phone.expect("state_delta", version=5)["checksum"] == ack["checksum"]

    # Both see the same.
    for device in (phone, laptop):
        now = device.get(path).json()
        assert (now["version"], now["data"]["progress"]) == (5, 80)
        assert now["checksum"] == ack["checksum"]

    # Every change is in the audit trail.
    wait_until(lambda: len(suite.events_in_postgresql(session["id"])) == 5, what="five rows")
    rows = suite.events_in_postgresql(session["id"])
    assert [r[0] for r in rows] == [1, 2, 3, 4, 5]
    assert [r[1] for r in rows] == ["session_created", "state_delta", "status_changed",
                                    "status_changed", "state_delta"]
    assert rows[1][2]["operations"] == change


def test_another_backend_sees_every_version_once(suite, phone):
    connection = suite.amqp()
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "session_updates", "session.#")

    session = phone.create({"n": 0})
    for n in range(1, 21):
        assert phone.patch(session["id"], [{"op": "replace", "path": "/data/n", "value": n}]
                           ).status_code == 200

    seen = set()  # several engines publish in any order, and an event may come again
    for method, properties, body in channel.consume(queue, inactivity_timeout=MAX_WAIT):
        assert method is not None, f"only {sorted(seen)}"
        event = json.loads(body)
        if event["sessionId"] != session["id"]:
            continue
        assert properties.content_type == "application/json"
        assert properties.type == event["type"]
        if event["type"] in ("session_created", "state_delta"):
            assert properties.message_id == f"{session['id']}:1:{event['version']}"
            assert properties.headers["version"] == event["version"]
            assert properties.delivery_mode == pika.spec.PERSISTENT_DELIVERY_MODE
            seen.add(event["version"])
        if len(seen) == 21:
            break
    assert seen == set(range(1, 22))
    connection.close()

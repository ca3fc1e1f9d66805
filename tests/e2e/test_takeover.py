"""Handing a session over as people do it: by taking it, without a pause, and by pausing it here and going
on there. Who had it learns at once who has it now."""

from harness import together, wait_until


def active_device_told(socket, device):
    return socket.recv_until("status_changed", activeDeviceId=device)


def test_a_takeover_needs_no_pause_and_is_told_to_the_device_that_lost_it(phone, laptop):
    session = phone.create({"progress": 10})
    with phone.connect(session["id"]) as on_phone:
        on_phone.recv_until("state_sync")
        taken = laptop.status(session["id"], "active")
        assert taken.status_code == 200
        assert taken.json()["activeDeviceId"] == "laptop"
        assert taken.json()["status"] == "active"
        lost = active_device_told(on_phone, "laptop")
        assert (lost["from"], lost["to"], lost["reason"]) == ("active", "active", "takeover")
        assert lost["version"] == taken.json()["version"]

        # The phone is not locked out: it may still write, and it may take the session back.
        assert phone.patch(session["id"], [{"op": "replace", "path": "/data/progress", "value": 11}]
                           ).status_code == 200
        assert phone.status(session["id"], "active").json()["activeDeviceId"] == "phone"
        assert active_device_told(on_phone, "phone")["reason"] == "takeover"


def test_a_takeover_over_the_websocket(phone, laptop):
    session = phone.create({})
    with phone.connect(session["id"]) as on_phone, laptop.connect(session["id"]) as on_laptop:
        on_phone.recv_until("state_sync")
        on_laptop.recv_until("state_sync")
        on_laptop.send(type="status", id="mine", sessionId=session["id"], status="active")
        assert on_laptop.recv_until("ack", id="mine")["version"] == 2
        lost = active_device_told(on_phone, "laptop")
        assert (lost["deviceId"], lost["reason"]) == ("laptop", "takeover")


def test_the_active_device_that_asks_again_changes_nothing(phone):
    session = phone.create({})
    again = phone.status(session["id"], "active")
    assert again.status_code == 200
    assert again.json()["version"] == session["version"]


def test_a_paused_session_is_found_on_the_next_device_and_goes_on_there(phone, laptop):
    session = phone.create({"progress": 10})
    with phone.connect(session["id"]) as on_phone:
        on_phone.recv_until("state_sync")
        assert phone.status(session["id"], "paused").json()["activeDeviceId"] is None
        found = wait_until(
            lambda: [s for s in laptop.get("/sessions?status=paused").json()["items"]
                     if s["id"] == session["id"]], what="the paused session in the list")
        assert found[0]["activeDeviceId"] is None
        assert laptop.get("/sessions?status=active").json()["items"] == []
        went_on = laptop.status(found[0]["id"], "active").json()
        assert went_on["data"] == {"progress": 10}
        gone = active_device_told(on_phone, "laptop")
        assert (gone["from"], gone["to"], gone["reason"]) == ("paused", "active", "request")


def test_of_many_devices_that_take_it_at_once_the_last_one_has_it(suite, user):
    devices = [suite.device(user, f"device-{i}") for i in range(8)]
    session = devices[0].create({})
    answers = together(8, lambda i: devices[i].status(session["id"], "active"))
    assert [a.status_code for a in answers] == [200] * 8
    versions = sorted(a.json()["version"] for a in answers)
    last = max(answers, key=lambda a: a.json()["version"]).json()
    now = devices[0].read(session["id"])
    assert now["activeDeviceId"] == last["activeDeviceId"]
    assert now["version"] == versions[-1]

"""Which sessions a connection carries: contract section 4."""

import pytest

from ws import MISSING_ID, acked, answer_to, ask, is_alive, refused, set_to, subscribed

N_SESSIONS = 64


def subscribe(socket, session_id, **more):
    """Subscribes; the frame that answers."""
    return ask(socket, "subscribe", sessionId=session_id, **more)


def types(frames):
    return [f["type"] for f in frames]


# ---- what a subscriber gets ----

@pytest.mark.parametrize("status", [None, "paused", "completed"])
def test_the_state_sync_is_what_a_get_answers(phone, laptop, status):
    session = phone.create({"deep": {"list": [1, 2.5, None, True, "\u00e9\U0001f600\u2028"]}}, name="N\u00e4me")
    phone.json_patch(session["id"], set_to("x", 1))
    if status:
        phone.status(session["id"], status)
    with laptop.connect() as socket:
        socket.expect("hello")
        sync = subscribe(socket, session["id"])
        assert sync.keys() == {"type", "id", "sessionId", "epoch", "version", "session", "reason"}
        assert (sync["type"], sync["reason"]) == ("state_sync", "initial")
        now = laptop.read(session["id"])
        assert sync["session"] == now
        assert (sync["sessionId"], sync["epoch"], sync["version"]) == (now["id"], 1, now["version"])


def test_a_large_session_is_synced_whole(phone):
    session = phone.create({"text": "x" * 500_000})
    with subscribed(phone, session["id"]) as socket:
        assert socket.sync["session"] == session


def test_one_connection_carries_many_sessions_and_not_one_more(phone, laptop):
    sessions = [phone.create({"n": n}) for n in range(N_SESSIONS + 1)]
    with laptop.connect() as socket:
        socket.expect("hello")
        for session in sessions[:N_SESSIONS]:
            assert subscribe(socket, session["id"])["session"] == session
        frame = subscribe(socket, sessions[N_SESSIONS]["id"])
        assert frame["type"] == "error", frame
        assert frame["sessionId"] == sessions[N_SESSIONS]["id"]
        # Each is live, the one above the limit is not, and a place that is left can be taken.
        for session in reversed(sessions):
            assert phone.json_patch(session["id"], set_to("m", 1)).status_code == 200
        events = [socket.expect("state_delta", version=2) for _ in range(N_SESSIONS)]
        assert {e["sessionId"] for e in events} == {s["id"] for s in sessions[:N_SESSIONS]}
        assert ask(socket, "unsubscribe", sessionId=sessions[0]["id"])["type"] == "unsubscribed"
        assert subscribe(socket, sessions[N_SESSIONS]["id"])["version"] == 2


def test_sessions_on_one_connection_do_not_mix(phone):
    one, other, third = (phone.create({"n": 0}) for _ in range(3))
    with phone.connect(one["id"]) as socket:
        socket.expect("hello")
        socket.expect("state_sync", sessionId=one["id"])
        assert subscribe(socket, other["id"])["session"] == other
        for n in range(1, 4):
            for session in (third, one, other):
                phone.json_patch(session["id"], set_to("n", n))
        seen = [socket.recv() for _ in range(6)]
        for session in (one, other):
            assert [e["version"] for e in seen if e["sessionId"] == session["id"]] == [2, 3, 4]
        assert is_alive(socket) == []


def test_a_session_that_is_created_after_the_connection(phone, laptop):
    with laptop.connect() as socket:
        socket.expect("hello")
        session = phone.create({"a": 1})
        assert subscribe(socket, session["id"])["session"] == session
        phone.json_patch(session["id"], set_to("a", 2))
        socket.expect("state_delta", version=2)


def test_one_need_not_subscribe_to_command(phone):
    session = phone.create({})
    with phone.connect() as socket:
        socket.expect("hello")
        acked(ask(socket, "patch", sessionId=session["id"], operations=set_to("a", 1)), 2)
        assert is_alive(socket) == []


def test_many_sockets_of_one_device_see_the_same(phone):
    session = phone.create({})
    sockets = [subscribed(phone, session["id"]) for _ in range(8)]
    phone.json_patch(session["id"], set_to("a", 1))
    events = [s.expect("state_delta", version=2) for s in sockets]
    assert all(e == events[0] for e in events)
    for s in sockets:
        s.close()


# ---- who may ----

def test_a_session_of_others_is_the_same_as_none(phone, stranger):
    foreign = stranger.create({"secret": 1})
    with phone.connect() as socket:
        socket.expect("hello")
        answers = [answer_to(socket, {"type": "subscribe", "id": "s", "sessionId": i})
                   for i in (foreign["id"], MISSING_ID)]
        for answer in answers:
            refused(answer, "not_found")
            del answer["sessionId"]
        assert answers[0] == answers[1]
        # Nor do its events, later.
        stranger.json_patch(foreign["id"], set_to("secret", 2))
        assert is_alive(socket) == []


def test_a_session_of_others_in_the_query_is_the_same_as_none(phone, stranger):
    answers = []
    for session_id in (stranger.create({})["id"], MISSING_ID):
        with phone.connect(session_id) as socket:
            socket.expect("hello")
            answers.append(refused(socket.recv(), "not_found"))
            answers[-1].pop("sessionId", None)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("bad", ["x", "", MISSING_ID.upper(), MISSING_ID + "0", "../" + MISSING_ID, "\u0001"])
@pytest.mark.parametrize("type", ["subscribe", "heartbeat"])
def test_ids_that_are_none_are_not_found(phone, bad, type):
    with phone.connect() as socket:
        socket.expect("hello")
        refused(ask(socket, type, sessionId=bad), "not_found")


def test_a_reader_may_watch_and_not_write(suite, user, phone):
    session = phone.create({"a": 1})
    reader = suite.device(user, "tv", scope="sessions:read")
    with subscribed(reader, session["id"]) as socket:
        assert socket.sync["session"] == session
        refused(ask(socket, "patch", sessionId=session["id"], operations=set_to("a", 2)), "forbidden",
                sessionId=session["id"])
        refused(ask(socket, "status", sessionId=session["id"], status="paused"), "forbidden")
        assert phone.read(session["id"]) == session
        phone.json_patch(session["id"], set_to("a", 3))
        socket.expect("state_delta", version=2)


def test_a_writer_only_may_not_watch(suite, user, phone):
    session = phone.create({"a": 1})
    with suite.device(user, "tv", scope="sessions:write").connect() as socket:
        socket.expect("hello")
        frame = subscribe(socket, session["id"])
        assert frame["type"] == "error" and frame["code"] in ("forbidden", "not_found"), frame
        phone.json_patch(session["id"], set_to("a", 3))
        assert is_alive(socket) == []


def test_an_admin_may_watch_any_session(suite, phone, stranger):
    session = phone.create({"a": 1})
    admin = suite.device(stranger.user, "desk", scope="sessions:admin")
    with subscribed(admin, session["id"]) as socket:
        assert socket.sync["session"]["id"] == session["id"]
        refused(ask(socket, "patch", sessionId=session["id"], operations=set_to("a", 2)), "forbidden")


# ---- twice, and no more ----

def test_subscribing_twice_gives_each_event_once(phone):
    session = phone.create({})
    with subscribed(phone, session["id"]) as socket:
        phone.json_patch(session["id"], set_to("a", 1))
        socket.expect("state_delta", version=2)
        again = subscribe(socket, session["id"])
        assert again["type"] in ("state_sync", "error")
        if again["type"] == "state_sync":
            assert again["session"] == phone.read(session["id"])
        phone.json_patch(session["id"], set_to("a", 2))
        socket.expect("state_delta", version=3)
        assert is_alive(socket) == []
        # Once unsubscribed is unsubscribed.
        ask(socket, "unsubscribe", sessionId=session["id"])
        phone.json_patch(session["id"], set_to("a", 3))
        assert is_alive(socket) == []


def test_many_subscribes_at_once_end_in_one_subscription(phone):
    session = phone.create({"n": 0})
    with phone.connect() as socket:
        socket.expect("hello")
        for n in range(20):
            socket.send(type="subscribe", id=f"s{n}", sessionId=session["id"])
        for n in range(1, 6):
            phone.json_patch(session["id"], set_to("n", n))
        version = 0
        while version < 6:
            frame = socket.recv()
            assert frame["type"] in ("state_sync", "state_delta", "error"), frame
            if frame["type"] == "state_sync":
                assert frame["version"] >= version
                version = frame["version"]
            elif frame["type"] == "state_delta":
                assert frame["version"] == version + 1
                version = frame["version"]
        assert [f for f in is_alive(socket) if f["type"] == "state_delta"] == []


def test_unsubscribe_stops_the_events(phone, laptop):
    session, other = phone.create({}), phone.create({})
    with subscribed(laptop, session["id"]) as socket:
        subscribe(socket, other["id"])
        gone = ask(socket, "unsubscribe", sessionId=session["id"])
        assert (gone["type"], gone["sessionId"]) == ("unsubscribed", session["id"])
        phone.json_patch(session["id"], set_to("a", 1))
        phone.json_patch(other["id"], set_to("a", 1))
        socket.expect("state_delta", sessionId=other["id"])
        assert is_alive(socket) == []
        # And it can come back.
        assert subscribe(socket, session["id"])["version"] == 2
        phone.json_patch(session["id"], set_to("a", 2))
        socket.expect("state_delta", version=3)


def test_unsubscribing_from_what_one_does_not_have_harms_nothing(phone):
    session = phone.create({})
    with subscribed(phone, session["id"]) as socket:
        for session_id in (MISSING_ID, phone.create({})["id"]):
            assert ask(socket, "unsubscribe", sessionId=session_id)["type"] in ("unsubscribed", "error")
        phone.json_patch(session["id"], set_to("a", 1))
        socket.expect("state_delta", version=2)


def test_subscribe_and_unsubscribe_in_quick_turns(phone):
    session = phone.create({})
    with phone.connect() as socket:
        socket.expect("hello")
        for n in range(50):
            socket.send(type="subscribe", id=f"s{n}", sessionId=session["id"])
            socket.send(type="unsubscribe", id=f"u{n}", sessionId=session["id"])
        phone.json_patch(session["id"], set_to("a", 1))
        seen = is_alive(socket)
        answered = [f["id"] for f in seen if f["type"] == "unsubscribed"]
        assert answered == [f"u{n}" for n in range(50)]
        phone.json_patch(session["id"], set_to("a", 2))
        phone.json_patch(session["id"], set_to("a", 3))
        assert [f for f in is_alive(socket) if f["type"] == "state_delta"] == []


# ---- deletion ----

def test_a_deleted_session_is_told_and_lost(phone, laptop):
    session, other = phone.create({}), phone.create({})
    with subscribed(laptop, session["id"]) as socket, subscribed(phone, session["id"]) as own:
        subscribe(socket, other["id"])
        assert phone.delete(f"/sessions/{session['id']}").status_code == 204
        for s in (socket, own):
            told = s.expect("session_deleted", sessionId=session["id"], version=2)
            assert {"epoch", "timestamp", "userId", "deviceId"} <= told.keys()
            lost = s.expect("unsubscribed", sessionId=session["id"])
            assert lost.keys() == {"type", "sessionId", "code"} and lost["code"] == "not_found"
        refused(subscribe(socket, session["id"]), "not_found")
        phone.json_patch(other["id"], set_to("a", 1))
        socket.expect("state_delta", sessionId=other["id"])


def test_a_deleted_session_gives_its_place_back(phone):
    sessions = [phone.create({}) for _ in range(N_SESSIONS)]
    with phone.connect() as socket:
        socket.expect("hello")
        for session in sessions:
            subscribe(socket, session["id"])
        phone.delete(f"/sessions/{sessions[0]['id']}")
        socket.recv_until("unsubscribed", sessionId=sessions[0]["id"])
        assert subscribe(socket, phone.create({})["id"])["type"] == "state_sync"


def test_commands_to_a_deleted_session_are_not_found(phone):
    session = phone.create({})
    with phone.connect() as socket:
        socket.expect("hello")
        phone.delete(f"/sessions/{session['id']}")
        for type, members in (("patch", {"operations": set_to("a", 1)}), ("status", {"status": "paused"}),
                              ("heartbeat", {}), ("subscribe", {})):
            refused(ask(socket, type, sessionId=session["id"], **members), "not_found",
                    sessionId=session["id"])


def test_a_completed_session_can_be_watched_and_deleted(phone):
    session = phone.create({})
    with subscribed(phone, session["id"]) as socket:
        phone.status(session["id"], "completed")
        socket.expect("status_changed", to="completed", version=2)
        phone.delete(f"/sessions/{session['id']}")
        socket.expect("session_deleted", version=3)
        socket.expect("unsubscribed")


# ---- with one binding a session ----

def test_bindings_by_session_come_and_go_with_subscribers(shared_fanout, user, phone):
    fanout = shared_fanout(HANDOFF_FANOUT_BINDING="session")
    device = fanout.device(user, "tv")
    session, other = phone.create({"n": 0}), phone.create({"n": 0})
    with subscribed(device, session["id"]) as one, subscribed(device, session["id"]) as two:
        phone.json_patch(session["id"], set_to("n", 1))
        phone.json_patch(other["id"], set_to("n", 1))
        for socket in (one, two):
            socket.expect("state_delta", sessionId=session["id"], version=2)
        ask(one, "unsubscribe", sessionId=session["id"])
        phone.json_patch(session["id"], set_to("n", 2))
        two.expect("state_delta", version=3)
        assert is_alive(one) == []
        assert subscribe(one, session["id"])["version"] == 3
        phone.json_patch(session["id"], set_to("n", 3))
        for socket in (one, two):
            socket.expect("state_delta", version=4)


def test_joining_right_after_the_last_one_left(shared_fanout, user, phone):
    device = shared_fanout(HANDOFF_FANOUT_BINDING="session").device(user, "tv")
    session = phone.create({"n": 0})
    for n in range(1, 11):
        with subscribed(device, session["id"]) as socket:
            assert socket.sync["version"] == n
            phone.json_patch(session["id"], set_to("n", n))
            socket.expect("state_delta", version=n + 1)

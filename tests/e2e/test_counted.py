"""What happens seldom, and alerts go by: each is made to happen, and is counted. What happens all the time: test_monitoring.py."""

import collections

import pytest

from cold import lose
from harness import Socket, new_user, samples, wait_until
from test_due import DAY, MINUTE, Unused, go_cold
from ws import set_to


def counted(suite):
    """Each sample of all services, summed."""
    total = collections.Counter()
    for service in suite.services.values():
        total.update(samples(service))
    return total


def be_rebuilt(suite, phone, harm):
    session = phone.create({"n": 0})["id"]
    wait_until(lambda: suite.query("select 1 from sessions where id = %s", session), what="the session in PostgreSQL")
    harm(suite, session)
    assert phone.read(session)["epoch"] == 2


def be_cold_and_back(suite, phone):
    session = phone.create({"n": 0}, ttlSeconds=86400)["id"]
    go_cold(Unused(suite, session))
    assert phone.json_patch(session, set_to("n", 1)).json()["epoch"] == 1


def be_buried(suite, phone):
    session = phone.create({})["id"]
    unused = Unused(suite, session)
    assert phone.delete(f"/sessions/{session}").status_code == 204
    wait_until(lambda: suite.query("select 1 from sessions where id = %s and deleted_at is not null", session), what="the deletion noted")
    unused.pass_time(DAY + MINUTE)
    wait_until(lambda: unused.keys() == [], what="the tombstone gone")


def be_published_again(suite, phone):
    session = phone.create({})["id"]
    unused = Unused(suite, session)
    unused.settle()
    unused.client.hset(unused.meta, "published", 0)

    def is_published():
        unused.look()
        return unused.get("published") == "1"
    wait_until(is_published, what="the version published again")


def resume(suite, phone):
    session = phone.create({"n": 0})["id"]
    assert phone.json_patch(session, set_to("n", 1)).status_code == 200
    with phone.connect() as socket:
        socket.send(type="subscribe", sessionId=session, since=1)
        socket.recv_until("subscribed")
        socket.recv_until("state_delta", version=2)


def hand_off(suite, phone):
    session = phone.create({})["id"]
    code = phone.post(f"/sessions/{session}/handoff-codes", json={"role": "viewer"}).json()["code"]
    guest = suite.device(new_user(), "tablet")
    assert [guest.post("/handoff", json={"code": said}).status_code for said in ("no", code)] == [404, 200]


def be_kept_out(suite, phone):
    session = phone.create({})["id"]
    assert phone.request("DELETE", f"/sessions/{session}/devices/other").status_code == 204
    with suite.device(phone.user, "other").connect() as socket:
        socket.send(type="subscribe", sessionId=session)
        socket.recv_until("error", code="device_removed")


def be_a_stranger(suite, phone):
    with pytest.raises(Exception, match="401"):
        Socket(suite.ws_url, header=["Authorization: Bearer x"])


def harm_state(suite, session):
    suite.redis_client().hset(f"session:{{{session}}}:meta", "version", "many")


SELDOM = {
    "a loss": (lambda *who: be_rebuilt(*who, lose), ['handoff_recoveries_total{outcome="rebuilt"}', 'handoff_barriers_total{outcome="passed"}',
                                                     "handoff_audit_barriers_total"]),
    "damage": (lambda *who: be_rebuilt(*who, harm_state), ["handoff_damaged_sessions_total"]),
    "cold": (be_cold_and_back, ["handoff_cooled_total", 'handoff_sessions_due_total{what="cooling"}', 'handoff_recoveries_total{outcome="loaded"}']),
    "a tombstone": (be_buried, ["handoff_tombstones_removed_total", 'handoff_sessions_due_total{what="burial"}']),
    "a mark that stayed": (be_published_again, ["handoff_republished_total"]),
    "a resume": (resume, ["handoff_ws_resumes_total", "handoff_ws_gap_fills_total"]),
    "a handoff": (hand_off, [f'handoff_codes_total{{outcome="{outcome}"}}' for outcome in ("issued", "redeemed", "wrong")]),
    "a removed device": (be_kept_out, ["handoff_ws_devices_refused_total"]),
    "a stranger": (be_a_stranger, ["handoff_ws_refused_total"]),
}


@pytest.mark.parametrize("what", SELDOM)
def test_what_happens_seldom_is_counted(suite, phone, what):
    """Alerts go by most of these."""
    happen, names = SELDOM[what]
    before = counted(suite)
    assert set(names) <= set(before), "0 is told, too: from nothing to 1 nobody sees an increase"
    happen(suite, phone)
    wait_until(lambda: all(counted(suite)[name] > before[name] for name in names), what=f"{names} to be counted")

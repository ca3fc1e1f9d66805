"""Many devices at once: no update is lost, none applied twice."""

from backend import Backend
from harness import checksum_of, together, wait_until
from rest import accepted, follow, path_of, refused


def add(path, value):
    return [{"op": "add", "path": path, "value": value}]


def sees_every_version_once(backend, suite, session, n_versions):
    """The backend and PostgreSQL know the same: each version, once."""
    wait_until(lambda: len(backend.events(session["id"])) >= n_versions, what="the events at the backend")
    wait_until(lambda: len(suite.events_in_postgresql(session["id"])) >= n_versions, what="the rows")
    events = backend.events(session["id"])
    assert sorted(e["version"] for _, e in events) == list(range(1, n_versions + 1))
    assert [m for m, _ in events] == [f"{session['id']}:1:{e['version']}" for _, e in events]
    rows = suite.events_in_postgresql(session["id"])
    assert [r[0] for r in rows] == list(range(1, n_versions + 1))
    by_version = {e["version"]: e for _, e in events}
    assert all(payload == by_version[version] for version, _, payload in rows)


def test_two_devices_patch_at_once_with_a_base(suite, phone, laptop):
    with Backend(suite) as backend:
        session = phone.create({"log": []})
        mirror, n_lost = session, 0
        devices = [phone, laptop]
        for turn in range(20):
            base = mirror["version"]

            def write(i):
                return devices[i].patch(session["id"], add("/data/log/-", f"{turn}:{i}"), baseVersion=base)

            answers = together(2, write)
            assert sorted(a.status_code for a in answers) == [200, 409]
            loser = [a.status_code for a in answers].index(409)
            conflict = refused(answers[loser], 409, "version_conflict", currentVersion=base + 1)
            mirror = follow(mirror, conflict["deltas"])
            assert mirror["data"]["log"][-1] == f"{turn}:{1 - loser}"
            again = devices[loser].patch(session["id"], add("/data/log/-", f"{turn}:{loser}"),
                                         baseVersion=conflict["currentVersion"], epoch=conflict["epoch"])
            accepted(again, version=base + 2)
            mirror = phone.read(session["id"])
            n_lost += 1
        assert n_lost == 20 and mirror["version"] == 41
        assert sorted(mirror["data"]["log"]) == sorted(f"{t}:{i}" for t in range(20) for i in (0, 1))
        sees_every_version_once(backend, suite, session, 41)


def test_64_writers_without_a_base_are_all_accepted(suite, user, phone):
    devices = [suite.device(user, f"device-{i}") for i in range(64)]
    with Backend(suite) as backend:
        session = phone.create({})
        answers = together(64, lambda i: devices[i].patch(session["id"], add(f"/data/k{i}", i)))
        assert [a.status_code for a in answers] == [200] * 64
        assert sorted(a.json()["version"] for a in answers) == list(range(2, 66))
        after = phone.read(session["id"])
        assert (after["version"], after["data"]) == (65, {f"k{i}": i for i in range(64)})
        assert after["checksum"] == checksum_of(after["data"])
        sees_every_version_once(backend, suite, session, 65)
        rows = suite.events_in_postgresql(session["id"])
        assert {r[2]["deviceId"] for r in rows[1:]} == {d.name for d in devices}
        # What each was told is what became of its change.
        for i, answer in enumerate(answers):
            version, _, payload = rows[answer.json()["version"] - 1]
            assert (payload["deviceId"], payload["checksum"]) == (f"device-{i}", answer.json()["checksum"])


def test_64_writers_with_a_base(suite, user, phone):
    devices = [suite.device(user, f"device-{i}") for i in range(64)]
    session = phone.create({"log": []})
    answers = together(64, lambda i: devices[i].patch(session["id"], add("/data/log/-", i), baseVersion=1))
    n_accepted = sum(a.status_code == 200 for a in answers)
    assert n_accepted == 1, "one base, one winner"
    after = phone.read(session["id"])
    assert after["version"] == 1 + n_accepted and len(after["data"]["log"]) == n_accepted
    for answer in answers:
        if answer.status_code != 200:
            refused(answer, 409, "version_conflict", currentVersion=2)


def test_64_writers_rebase_until_each_is_in(suite, user, phone):
    devices = [suite.device(user, f"device-{i}") for i in range(64)]
    session = phone.create({"log": []})

    def write(i):
        base, n_tries = 1, 0
        while True:
            n_tries += 1
            answer = devices[i].patch(session["id"], add("/data/log/-", i), baseVersion=base)
            if answer.status_code == 200:
                return n_tries
            base = refused(answer, 409, "version_conflict")["currentVersion"]

    tries = together(64, write)
    after = phone.read(session["id"])
    assert after["version"] == 65 and sorted(after["data"]["log"]) == list(range(64))
    assert 1 in tries
    wait_until(lambda: len(suite.events_in_postgresql(session["id"])) == 65, what="65 rows")


def test_disjoint_writers_on_the_same_base_are_all_accepted(suite, user, phone):
    devices = [suite.device(user, f"device-{i}") for i in range(16)]
    session = phone.create({})
    answers = together(16, lambda i: devices[i].patch(session["id"], add(f"/data/k{i}", i), baseVersion=1,
                                                      merge="disjoint"))
    assert [a.status_code for a in answers] == [200] * 16, [a.text for a in answers]
    assert sum(not a.json()["rebased"] for a in answers) == 1
    assert phone.read(session["id"])["data"] == {f"k{i}": i for i in range(16)}


def test_one_takeover_of_many_wins_last(suite, user, phone):
    devices = [suite.device(user, f"device-{i}") for i in range(10)]
    session = phone.create()
    answers = together(10, lambda i: devices[i].status(session["id"], "active"))
    assert [a.status_code for a in answers] == [200] * 10
    after = phone.read(session["id"])
    assert after["version"] == 11
    last = max(answers, key=lambda a: a.json()["version"]).json()
    assert after["activeDeviceId"] == last["activeDeviceId"]


def test_one_of_many_completes_a_session(suite, user, phone):
    devices = [suite.device(user, f"device-{i}") for i in range(16)]
    session = phone.create()
    answers = together(16, lambda i: devices[i].status(session["id"], "completed"))
    assert sorted(a.status_code for a in answers) == [200] + [409] * 15
    assert phone.read(session["id"])["version"] == 2


def test_a_deletion_among_writes(suite, user, phone):
    devices = [suite.device(user, f"device-{i}") for i in range(16)]
    session = phone.create({})

    def work(i):
        if i == 8:
            return devices[i].delete(path_of(session))
        return devices[i].patch(session["id"], add(f"/data/k{i}", i))

    answers = together(16, work)
    assert answers[8].status_code == 204
    n_accepted = sum(a.status_code == 200 for a in answers)
    assert {a.status_code for a in answers} <= {200, 204, 404}
    refused(phone.get(path_of(session)), 404, "not_found")
    wait_until(lambda: len(suite.events_in_postgresql(session["id"])) == n_accepted + 2, what="the rows")
    assert suite.events_in_postgresql(session["id"])[-1][1] == "session_deleted"


def test_many_sessions_at_once_do_not_mix(suite, user):
    devices = [suite.device(user, f"device-{i}") for i in range(32)]

    def work(i):
        session = devices[i].create({"owner": i, "n": 0})
        for n in range(1, 6):
            accepted(devices[i].merge_patch(session["id"], {"data": {"n": n}}), version=n + 1)
        return session["id"]

    ids = together(32, work)
    assert len(set(ids)) == 32
    for i, id in enumerate(ids):
        assert devices[0].read(id)["data"] == {"owner": i, "n": 5}

"""The Node.js peer is honest: it loses no change and no row, on its own and where two of its processes write to one
session; and the load generators drive it, nchan and webdis unchanged. `make bench PEERS=1` runs this first."""

import collections
import os
import pathlib
import sys
import types

import pytest
import requests

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import run  # noqa: E402 - before others put a folder with another run.py in front
import peers  # noqa: E402
from harness import (BUILD, SECRET, Servers, free_ports, new_user, query, redis_client,  # noqa: E402
                     together, token, wait_until)
from peer_servers import NodePeer  # noqa: E402

N_SESSIONS = 20
N_VIEWERS = 50
OPTIONS = types.SimpleNamespace(programs=BUILD.resolve() / "bench", seconds=0.3, warm_up=0.1, reference_seconds=0.1,
                                sessions=N_SESSIONS)


@pytest.fixture(scope="module")
def beside():
    peers.check_installed()
    servers = peers.PeerServers(Servers, SECRET, free_ports)
    try:
        yield servers.start()
    finally:
        servers.stop()


@pytest.fixture(params=["with audit", "without"])
def peer(request, beside):
    return beside.with_audit if request.param == "with audit" else beside.without_audit


def rows_of(beside, session):
    return [version for (version,) in query(beside, "select version from session_events where session_id = %s "
                                            "order by version", session)]


def wait_written(peer, client):
    wait_until(lambda: not peer.n_pending(client), what="the audit trail to be written")


def test_every_accepted_change_is_seen_in_order_and_written(beside, peer):
    client = redis_client(beside.redis.url)
    sessions = peers.create_on(peer.port, N_SESSIONS, token, new_user, run.data_of)
    load = run.Load(OPTIONS.programs / "load", {"apiPort": peer.port, "wsPort": peer.port, "sessions": sessions})
    accepted = 0
    for phase in (*peers.REST.values(), {"kind": "patch", "connections": 1, "awaitFrame": True}):
        result = load.order({**phase, "seconds": OPTIONS.seconds, "warmUp": OPTIONS.warm_up})
        assert result["answered"] == result["requests"] > 0 and not result["refused"], result
        assert result["delivered"] == result["accepted"], result
        assert result["missing"] == result["stateSyncs"] == 0, result
        accepted += result["accepted"]
    load.stop()
    versions = [int(client.hget(f"session:{{{s['id']}}}", "version")) for s in sessions]
    assert sum(versions) - N_SESSIONS == accepted > 0
    wait_written(peer, client)
    for session, version in zip(sessions, versions):
        assert rows_of(beside, session["id"]) == (list(range(1, version + 1)) if peer.audit else [])


def test_two_processes_write_to_one_session_and_lose_nothing(beside):
    client, user = redis_client(beside.redis.url), new_user()
    other = NodePeer(beside.base.folder / "other", free_ports(1)[0], beside.redis, beside.postgresql, SECRET, True)
    first = beside.with_audit
    try:
        other.start()
        session = peers.create_on(first.port, 1, token, lambda: user, run.data_of)[0]
        taken = together(8, lambda n: patch_often((first, other)[n % 2].port, session, n, 10))
        versions = [version for versions in taken for version in versions]
        assert sorted(versions) == list(range(2, 82))
        assert client.hget(f"session:{{{session['id']}}}", "version") == "81"
        wait_written(first, client)
        assert rows_of(beside, session["id"]) == list(range(1, 82))
    finally:
        other.stop()


def patch_often(port, session, who, times):
    """The versions that it led to."""
    versions = []
    for n in range(times):
        answer = requests.patch(f"http://127.0.0.1:{port}/sessions/{session['id']}",
                                headers={"Authorization": f"Bearer {session['writer']}"},
                                json={"operations": [{"op": "add", "path": f"/data/by{who}", "value": n}]})
        assert answer.status_code == 200, answer.text
        versions.append(answer.json()["version"])
    return versions


def test_its_answers_have_the_shape_of_ours(peer):
    user = new_user()
    http = requests.Session()
    http.headers["Authorization"] = f"Bearer {token(user, 'phone')}"
    url = f"http://127.0.0.1:{peer.port}/sessions"
    made = http.post(url, json={"name": "n", "type": "t", "data": {"progress": 0}})
    assert made.status_code == 201 and made.headers["ETag"] == '"1"'
    session = f"{url}/{made.json()['id']}"
    changed = http.patch(session, json={"operations": [{"op": "replace", "path": "/data/progress", "value": 1}]})
    assert set(changed.json()) == {"id", "version", "baseVersion", "epoch", "checksum", "lastModified", "rebased"}
    read = http.get(session)
    assert read.json()["data"] == {"progress": 1} and read.headers["ETag"] == '"2"'
    assert read.json()["checksum"] == changed.json()["checksum"] != made.json()["checksum"]
    for refused, status in (({"operations": [{"op": "replace", "path": "/data/no", "value": 1}]}, 422),
                            ({"operations": [{"op": "replace", "path": "/version", "value": 1}]}, 422),
                            ({"baseVersion": 1, "operations": []}, 409), ({"operations": 1}, 400)):
        assert http.patch(session, json=refused).status_code == status
    assert requests.get(session).status_code == 401
    stranger = {"Authorization": f"Bearer {token(new_user(), 'phone')}"}
    assert requests.get(session, headers=stranger).status_code == 404


def viewers(port, more):
    tokens = [token(new_user(), "tablet", scope="sessions:read sessions:write sessions:admin")
              for _ in range(N_VIEWERS)]
    return peers.PeerCrowd(OPTIONS, lambda program, setup: run.Load(program, {**setup, **more}), port, os.getpid(),
                           tokens, run.data_of(0))


@pytest.mark.parametrize("who", ["with_audit", "without_audit", "nchan"])
def test_all_watchers_see_every_version(beside, who):
    server = getattr(beside, who)
    many = viewers(server.port, {"textBytes": 400} if who == "nchan" else {})
    many.n_created = who == "nchan"
    many.need_sessions(1)
    joined = many.order("join", n=N_VIEWERS)
    assert joined["synced"] == N_VIEWERS, joined
    changes = collections.Counter()
    for how in peers.WATCHERS.values():
        result = many.spread(**how)
        changes["made"] += result["changes"]
        assert result["deliveries"] == result["changes"] * N_VIEWERS > 0, result
        assert result["missing"] == result["stateSyncs"] == 0, result
    assert many.stop() == changes["made"]


def test_webdis_answers_with_what_redis_has(beside):
    redis_client(beside.redis.url).set("bench", "x" * 300)
    answer = requests.get(f"http://127.0.0.1:{beside.webdis.port}/GET/bench.txt")
    assert (answer.status_code, answer.text) == (200, "x" * 300)

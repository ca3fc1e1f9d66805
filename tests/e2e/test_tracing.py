"""W3C traces through all four services, to a collector that reads OTLP strictly; the how-to's commands."""

import contextlib
import json
import os
import pathlib
import re
import secrets
import subprocess
import time
import uuid

import pytest
import requests

from cold import lose
from collector import KINDS, Collector
from harness import MAX_WAIT, Socket, Suite, free_ports, metric, new_user, token, wait_until
from test_due import Unused
from ws import set_to

HOW_TO = pathlib.Path(__file__).resolve().parents[2] / "docs" / "how-to" / "trace-a-request.md"
SERVICES = ["session_api", "state_engine", "ws_fanout", "audit_writer"]
REPLACE = [{"op": "replace", "path": "/data/n", "value": 1}]


@pytest.fixture(scope="module")
def collector():
    collector = Collector()
    try:
        yield collector
    finally:
        collector.stop()


@pytest.fixture(scope="module")
def traced(new_realm, collector, tmp_path_factory):
    """A suite that sends its traces to the collector: those that callers ask for."""
    suite = Suite(new_realm(), tmp_path_factory.mktemp("traced"), HANDOFF_OTLP_URL=collector.url,
                  HANDOFF_TRACE_CALLERS_PER_SECOND="1000", HANDOFF_OTLP_AUTHORIZATION="Bearer of a test",
                  HANDOFF_LOG_LEVEL="debug")
    try:
        yield suite.start()
    finally:
        suite.stop()


@pytest.fixture
def ada(traced):
    return traced.device(new_user(), "phone")


class Parent:
    """What a client's own span says of itself."""

    def __init__(self, flags="01"):
        self.trace_id, self.id = secrets.token_hex(16), secrets.token_hex(8)
        self.text = f"00-{self.trace_id}-{self.id}-{flags}"
        self.headers = {"traceparent": self.text}


@contextlib.contextmanager
def subscriber(suite, session):
    """The headers of each event of the session, as another backend sees them."""
    with suite.amqp() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "session_updates", f"session.{session}.*")

        def next_headers():
            for _, properties, _ in channel.consume(queue, auto_ack=True, inactivity_timeout=MAX_WAIT):
                assert properties, "no event came"
                return properties.headers

        yield next_headers


def records(suite, service, trace_id):
    return [r for r in suite.log_records(service) if r.get("trace_id") == trace_id]


def one_record(suite, service, event, parent):
    """Of the trace; a log is written before its answer."""
    found, = (r for r in records(suite, service, parent.trace_id) if r["event"] == event)
    return found


def one(spans, service, name):
    found = [s for s in spans if (s.service, s.name) == (service, name)]
    assert len(found) == 1, spans
    return found[0]


def check_way_of_event(spans, engine):
    """From the engine's step on: what it published, and who took that."""
    sent = one(spans, "state_engine", "send session_updates")
    told = one(spans, "ws_fanout", "process session_updates")
    kept = one(spans, "audit_writer", "process audit_writer.events")
    assert [s.parent_id for s in (sent, told, kept)] == [engine.id, sent.id, sent.id]
    assert [s.kind for s in (sent, told, kept)] == [KINDS["PRODUCER"], KINDS["CONSUMER"], KINDS["CONSUMER"]]
    assert engine.start <= sent.start and told.attributes["handoff.receivers"] == 1
    assert len({s.attributes["messaging.message.id"] for s in (sent, told, kept)}) == 1
    return sent, told, kept


def test_a_patch_is_one_trace_through_all_services(traced, collector, ada):
    session, parent = ada.create({"n": 0})["id"], Parent()
    with ada.connect(session) as watcher, subscriber(traced, session) as next_headers:
        watcher.recv_until("state_sync")
        answer = ada.patch(session, REPLACE, headers={**parent.headers, "X-Request-Id": "req-1"})
        assert answer.status_code == 200 and answer.headers["X-Request-Id"] == "req-1"
        watcher.recv_until("state_delta")
        headers = next_headers()
    spans = collector.wait_trace(parent.trace_id, 5)
    request = one(spans, "session_api", "PATCH /sessions/{id}")
    engine = one(spans, "state_engine", "process state_engine.commands")
    assert (request.parent_id, engine.parent_id) == (parent.id, request.id)
    assert (request.kind, engine.kind) == (KINDS["SERVER"], KINDS["CONSUMER"])
    assert request.start <= engine.start and not any(s.failed for s in spans)
    sent, _, _ = check_way_of_event(spans, engine)
    assert headers["traceparent"] == f"00-{parent.trace_id}-{sent.id}-01"
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["handoff.request.id"] == "req-1"
    assert all(s.attributes["handoff.session.id"] == session for s in spans)
    for service in SERVICES:
        found = records(traced, service, parent.trace_id)
        assert {r["span_id"] for r in found} == {s.id for s in spans if s.service == service}
    command, = {r["commandId"] for s in SERVICES for r in records(traced, s, parent.trace_id) if "commandId" in r}
    assert traced.query("select version, type from session_events where command_id = %s", command) == [(2, "state_delta")]
    assert any(h.get("Authorization") == "Bearer of a test" and path == "/v1/traces"
               for path, h, _ in collector.requests)


def test_a_frame_is_one_trace_through_all_services(traced, collector, ada):
    session, upgrade, parent = ada.create({"n": 0})["id"], Parent(), Parent()
    with ada.connect() as socket:
        hello = socket.expect("hello")
        socket.send(type="subscribe", sessionId=session)
        socket.recv_until("state_sync")
        socket.send(type="patch", id="p", sessionId=session, operations=REPLACE, traceparent=parent.text)
        socket.recv_until("state_delta")
    spans = collector.wait_trace(parent.trace_id, 5)
    frame = one(spans, "ws_fanout", "WS patch")
    engine = one(spans, "state_engine", "process state_engine.commands")
    assert (frame.parent_id, engine.parent_id, frame.kind) == (parent.id, frame.id, KINDS["SERVER"])
    assert frame.attributes["handoff.connection.id"] == hello["connectionId"]
    check_way_of_event(spans, engine)

    with Socket(traced.ws_url, header=[f"Authorization: Bearer {ada.token}", f"traceparent: {upgrade.text}"]) as socket:
        hello = socket.expect("hello")
    span, = collector.wait_trace(upgrade.trace_id, 1)
    assert (span.name, span.parent_id, span.attributes["http.response.status_code"]) == ("GET /ws", upgrade.id, 101)
    assert span.attributes["handoff.connection.id"] == hello["connectionId"]


def test_a_broadcast_and_a_refusal(traced, collector, ada):
    session, told, refused = ada.create({"n": 0})["id"], Parent(), Parent()
    with traced.device(ada.user, "laptop").connect(session) as watcher:
        watcher.recv_until("state_sync")
        assert ada.post(f"/sessions/{session}/broadcast", json={"message": 1}, headers=told.headers).status_code == 202
        watcher.recv_until("broadcast")
        assert ada.patch(session, REPLACE, baseVersion=9, headers=refused.headers).status_code == 409
    spans = collector.wait_trace(told.trace_id, 2)
    request = one(spans, "session_api", "POST /sessions/{id}/broadcast")
    assert one(spans, "ws_fanout", "process session_updates").parent_id == request.id
    spans = collector.wait_trace(refused.trace_id, 2)
    assert {s.attributes["error.type"] for s in spans} == {"version_conflict"} and not any(s.failed for s in spans)
    assert one_record(traced, "session_api", "request_refused", refused)["commandId"] == \
        one(spans, "state_engine", "process state_engine.commands").attributes["handoff.command.id"]


def test_every_refusal_is_found_by_its_trace(traced, ada):
    """Also those that are not sampled, as nearly all are."""
    upgrade, stream, frame, nowhere, shapeless = (Parent("00") for _ in range(5))
    with pytest.raises(Exception, match="401"):
        Socket(traced.ws_url, header=["Authorization: Bearer x", f"traceparent: {upgrade.text}", "X-Request-Id: up-1"])
    told = one_record(traced, "ws_fanout", "unauthenticated", upgrade)
    assert (told["requestId"], told["route"], told["code"]) == ("up-1", "/ws", "unauthenticated") and told["detail"]
    url = f"{traced.ws_url.replace('ws:', 'http:').removesuffix('/ws')}/sessions/{secrets.token_hex(16)}/events"
    answer = requests.get(url, headers={"Authorization": f"Bearer {ada.token}", **stream.headers}, timeout=MAX_WAIT)
    assert answer.status_code == 404
    assert one_record(traced, "ws_fanout", "request_refused", stream)["requestId"] == answer.headers["X-Request-Id"]
    session = ada.create({"n": 0})["id"]
    with ada.connect() as socket:
        hello = socket.expect("hello")
        socket.send(type="patch", id="f", sessionId=session, operations=REPLACE, baseVersion=9, traceparent=frame.text)
        socket.recv_until("error")
        # Those that no engine hears of.
        socket.send(type="patch", id="g", sessionId=session, operations={}, traceparent=shapeless.text)
        socket.recv_until("error", id="g")
    confined = traced.bearer(token(ada.user, "phone", session_id=str(uuid.uuid4())), ada.user, "phone")
    with confined.connect() as socket:
        socket.send(type="heartbeat", id="h", sessionId=session, traceparent=nowhere.text)
        socket.recv_until("error", id="h")
    for parent, frame_id, code in ((shapeless, "g", "invalid_request"), (nowhere, "h", "not_found")):
        told = one_record(traced, "ws_fanout", "request_refused", parent)
        assert (told["frameId"], told["sessionId"], told["code"]) == (frame_id, session, code)
    told = one_record(traced, "ws_fanout", "request_refused", frame)
    assert (told["connectionId"], told["frameId"], told["sessionId"], told["code"]) == \
        (hello["connectionId"], "f", session, "version_conflict") and told["commandId"]


def test_what_an_engine_did_not_get_to_publish_goes_out_in_its_trace(traced, collector, ada):
    """As it looks when an engine died after its save: the mark stands below the version."""
    session, parent = ada.create({"n": 0})["id"], Parent()
    redis, unused = traced.redis_client(), Unused(traced, session)
    assert ada.patch(session, REPLACE, headers=parent.headers).status_code == 200
    first = collector.wait_trace(parent.trace_id, 4)
    unused.settle()
    with subscriber(traced, session) as next_headers:
        redis.hset(unused.meta, "published", 1)

        def is_published():
            unused.look()
            return unused.get("published") == "2"
        wait_until(is_published, what="the version published again")
        headers = next_headers()
    _, trace_id, again, flags = headers["traceparent"].split("-")
    request = one(first, "session_api", "PATCH /sessions/{id}")
    assert (trace_id, flags) == (parent.trace_id, "01") and again not in {s.id for s in first}

    def steps():  # more than one look may have found it
        return {(s.service, s.parent_id, s.id == again) for s in collector.trace(trace_id) if s not in first}
    wait_until(lambda: {("state_engine", request.id, True), ("audit_writer", again, False)} <= steps(), what="its steps")


def test_a_rebuild_is_found_by_the_request_that_met_it(traced, ada):
    session, parent = ada.create({"n": 0})["id"], Parent()
    wait_until(lambda: traced.query("select 1 from sessions where id = %s", session), what="the session in PostgreSQL")
    lose(traced, session)
    with subscriber(traced, session) as next_headers:
        assert ada.get(f"/sessions/{session}", headers=parent.headers).status_code == 200
        assert next_headers()["traceparent"].split("-")[1] == parent.trace_id
    (_, kept), = traced.redis_client().xrange(f"session:{{{session}}}:deltas")
    assert kept["p"].split("-")[1] == parent.trace_id and "session_rebuilt" in kept["e"]
    told = one_record(traced, "state_engine", "session_rebuilt", parent)
    assert told["sessionId"] == session and told["commandId"]


def test_the_id_of_an_answer_is_in_the_audit_trail(traced, ada):
    """Where neither a client nor a proxy gave one, also of what nobody sampled."""
    session = ada.create({"n": 0})["id"]
    answer = ada.patch(session, REPLACE)
    sql = "select session_id::text, version from session_events where command_id = %s"
    wait_until(lambda: traced.query(sql, answer.headers["X-Request-Id"]) == [(session, 2)], what="the row")
    refused = ada.patch(session, REPLACE, baseVersion=9)
    told, = (r for r in traced.log_records("session_api") if r.get("requestId") == refused.json()["requestId"])
    assert told["commandId"] == told["requestId"]


def test_what_is_not_sampled_goes_on_unrecorded(traced, collector, ada):
    session, quiet, last = ada.create({"n": 0})["id"], Parent("00"), Parent()
    bad = {"traceparent": f"00-{secrets.token_hex(16).upper()}-{secrets.token_hex(8)}-01"}
    with subscriber(traced, session) as next_headers:
        for headers in (quiet.headers, bad, {}, last.headers):
            assert ada.merge_patch(session, {"data": {"n": secrets.randbelow(1 << 30)}}, headers=headers).status_code == 200
        seen = [next_headers() for _ in range(4)]
    assert seen[0]["traceparent"] == quiet.text, "who does not record passes on what it got"
    assert "traceparent" not in seen[1] and "traceparent" not in seen[2] and last.trace_id in seen[3]["traceparent"]
    collector.wait_trace(last.trace_id, 4)
    assert not collector.trace(quiet.trace_id)
    assert not any(records(traced, service, quiet.trace_id) for service in SERVICES)


def test_a_collector_that_is_away_costs_nothing(suite, own_api):
    """With every request sampled, and nobody where HANDOFF_OTLP_URL says."""
    api = own_api(HANDOFF_OTLP_URL=f"http://127.0.0.1:{free_ports(1)[0]}", HANDOFF_TRACE_SAMPLE="1")
    device = api.device(new_user(), "phone")
    session = device.create({"n": 0})["id"]
    for n in range(100):
        assert device.merge_patch(session, {"data": {"n": n}}).status_code == 200
    wait_until(lambda: any(r["event"] == "collector_lost" for r in api.log_records("session_api")), what="the loss is told")
    ended = [r for r in api.log_records("session_api") if r["event"] == "span_ended"]
    assert len(ended) == 101 and len({r["trace_id"] for r in ended}) == 101, "each has a trace of its own"
    assert api.services["session_api"].is_ready() and metric(api.services["session_api"], "handoff_spans_waiting") > 0
    assert api.terminate("session_api") == 0


def test_the_how_to(traced, collector, ada):
    """Its commands, as they stand there: from a report to what is known, from a request to its trace and its row."""
    session = ada.create({"n": 0})["id"]
    reported = ada.json_patch(session, set_to("n", 7)).headers["X-Request-Id"]
    wait_until(lambda: traced.query("select 1 from session_events where command_id = %s", reported), what="the row")
    with ada.connect(session) as watcher:
        watcher.recv_until("state_sync")
        script = "set -eu\n" + "\n".join(re.findall(r"^```sh\n(.*?)^```", HOW_TO.read_text(), re.M | re.S))
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=MAX_WAIT, check=False, env={
            "PATH": os.environ["PATH"], "API": traced.api_url, "TOKEN": ada.token, "SESSION": session,
            "REPORTED": reported, "LOGS": str(traced.log_folder), "DATABASE_URL": traced.servers.postgresql.url})
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"ts"')]
    assert {s["service"] for s in steps} == set(SERVICES)
    trace_id, = {s["trace_id"] for s in steps}
    assert done.stdout.startswith("nothing was logged about it\n") and f" UTC {time.gmtime().tm_year}\n" in done.stdout
    for version in (2, 3):
        assert re.search(rf"state_delta.*\| +{version} .*{re.escape(session)}", done.stdout), done.stdout
    collector.wait_trace(trace_id, 5)

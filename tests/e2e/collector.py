"""A collector of traces: OTLP/HTTP with JSON, which it takes only as the protocol has it."""

import http.server
import json
import re
import threading

from harness import wait_until

KINDS = {"SERVER": 2, "PRODUCER": 4, "CONSUMER": 5}


def exactly(value, required, optional=()):
    """The members of an object: all of those required, and no unknown ones."""
    assert isinstance(value, dict) and set(required) <= value.keys() <= {*required, *optional}, value
    return value


def attributes(items):
    found = {}
    for item in items:
        exactly(item, ["key", "value"])
        (kind, value), = item["value"].items()
        assert isinstance(value, str) and kind in ("stringValue", "intValue"), item
        assert kind == "stringValue" or re.fullmatch(r"-?\d+", value)
        assert item["key"] not in found, f"{item['key']} is there twice"
        found[item["key"]] = int(value) if kind == "intValue" else value
    return found


class Span:
    def __init__(self, resource, json_span):
        span = exactly(json_span, ["traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano",
                                   "attributes", "status"], ["parentSpanId"])
        assert re.fullmatch(r"[0-9a-f]{32}", span["traceId"]) and re.fullmatch(r"[0-9a-f]{16}", span["spanId"])
        assert re.fullmatch(r"[0-9a-f]{16}", span.get("parentSpanId", "0" * 16))
        assert span["kind"] in KINDS.values() and isinstance(span["name"], str) and span["name"]
        assert exactly(span["status"], [], ["code"]).get("code", 2) == 2
        for name in ("startTimeUnixNano", "endTimeUnixNano"):  # 64 bit integers are strings
            assert re.fullmatch(r"\d{19}", span[name]), span[name]
        self.service = resource["service.name"]
        self.trace_id, self.id, self.parent_id = span["traceId"], span["spanId"], span.get("parentSpanId")
        self.name, self.kind, self.failed = span["name"], span["kind"], bool(span["status"])
        self.start, self.end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        assert self.start <= self.end
        self.attributes = attributes(span["attributes"])

    def __repr__(self):
        return f"<{self.service} {self.name} {self.id} of {self.parent_id} {self.attributes}>"


def read(body):
    """The spans of an ExportTraceServiceRequest."""
    for of_resource in exactly(json.loads(body), ["resourceSpans"])["resourceSpans"]:
        exactly(of_resource, ["resource", "scopeSpans"])
        resource = attributes(exactly(of_resource["resource"], ["attributes"])["attributes"])
        assert resource.keys() == {"service.namespace", "service.name", "service.version", "service.instance.id"}
        for of_scope in of_resource["scopeSpans"]:
            exactly(of_scope, ["scope", "spans"])
            assert exactly(of_scope["scope"], ["name", "version"])["name"] == "handoff"
            yield from (Span(resource, span) for span in of_scope["spans"])


class Collector:
    """statuses: what is answered first, before 200s."""

    def __init__(self, statuses=()):
        self.spans, self.mistakes, self.requests = [], [], []
        statuses = list(statuses)
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append((self.path, dict(self.headers), body))
                status = statuses.pop(0) if statuses else 200
                try:
                    assert self.headers["Content-Type"] == "application/json"
                    if status == 200:
                        collector.spans.extend(read(body))
                except (AssertionError, KeyError, TypeError, ValueError) as error:
                    collector.mistakes.append((repr(error), body))
                answer = b"{}" if status == 200 else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def trace(self, trace_id):
        return [s for s in self.spans if s.trace_id == trace_id]

    def wait_trace(self, trace_id, n):
        """So many spans of that trace, once they are there."""
        wait_until(lambda: self.mistakes or len(self.trace(trace_id)) >= n, what=f"{n} spans of {trace_id}")
        assert not self.mistakes, self.mistakes
        found = self.trace(trace_id)
        assert len(found) == n and len({s.id for s in found}) == n, found
        return found

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        assert not self.mistakes, self.mistakes

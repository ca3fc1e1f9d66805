"""How session_api serves the console: only where it is on, with headers that keep the page to itself, and nothing but its files."""

import http.client
import json
import pathlib
import re

import pytest
import requests

from documents import OpenApi
from harness import MAX_WAIT, Suite, new_user

FILES = pathlib.Path(__file__).resolve().parents[2] / "services" / "session_api" / "console"
SOCKETS = "wss://sockets.example:8443/realtime"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
DOCUMENTED = OpenApi().root["x-console"]


@pytest.fixture(scope="module")
def module_api(suite, tmp_path_factory):
    api = Suite(suite.servers, tmp_path_factory.mktemp("console"), names=["session_api"], HANDOFF_CONSOLE="on", HANDOFF_PUBLIC_WS_URL=SOCKETS).start()
    yield api
    api.stop()


@pytest.fixture
def get(module_api):
    return lambda path, method="GET", **more: requests.request(method, module_api.api_url + path, timeout=MAX_WAIT, **more)


def policy(answer):
    """{directive: [source, …]}"""
    parts = (part.split() for part in answer.headers["Content-Security-Policy"].split(";"))
    return {name: sources for name, *sources in parts}


def raw(api, path, method="GET", **headers):
    """As it stands: what a library would make of the path is not made of it."""
    connection = http.client.HTTPConnection("127.0.0.1", api.api_port, timeout=MAX_WAIT)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_it_is_off_unless_asked_for(suite, user):
    device = suite.device(user, "phone")
    for path in ("/", "/console", "/console/", "/console/app.js", "/console/config.json"):
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            assert device.request(method, path).status_code == 404, (method, path)


@pytest.mark.parametrize("path", ["/", "/console", "/console/", "/console/index.html", "/?a=b"])
def test_the_page(get, path):
    answer = get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200 and answer.content == (FILES / "index.html").read_bytes()
    assert answer.headers["Content-Type"] == TYPES[".html"]


def test_every_file_is_served_as_what_it_is(get):
    files = sorted(FILES.iterdir())
    assert len(files) > 10
    for file in files:
        answer = get(f"/console/{file.name}")
        assert answer.status_code == 200 and answer.content == file.read_bytes(), file.name
        assert answer.headers["Content-Type"] == TYPES[file.suffix]


def test_the_client_is_there_as_it_was_compiled(get):
    compiled = FILES.parents[2] / "clients" / "js" / "dist" / "esm"
    for file in compiled.glob("*.js"):
        answer = get(f"/console/client/{file.name}")
        assert answer.status_code == 200 and answer.content == file.read_bytes(), file.name


def test_all_that_the_files_ask_for_is_there(get):
    """No foreign request, nothing misspelt: each address in a page or module is one of ours."""
    waiting, seen = ["/"], set()
    while waiting:
        path = waiting.pop()
        answer = get(path)
        assert answer.status_code == 200, path
        seen.add(path)
        found = re.findall(r'(?:src|href)="([^"#]+)"', answer.text) if path == "/" else []
        folder = path.rpartition("/")[0]
        found += [f"{folder}/{name}" for name in re.findall(r'(?:from|import) "\./([^"]+)"', answer.text)]
        assert all(name.startswith("/console/") for name in found), found
        waiting += [name for name in found if name not in seen]
        assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", answer.text), path
    assert {"/console/app.js", "/console/base.css", "/console/client/socket.js"} <= seen


def test_the_headers_keep_the_page_to_itself(get):
    for path in ("/", "/console/app.js", "/console/icon.svg", "/console/config.json", "/console/none"):
        answer = get(path)
        for name, value in DOCUMENTED["headers"].items():
            assert answer.headers[name] == value or (answer.status_code, name) == (404, "Cache-Control"), (path, name)
        assert policy(answer) == {
            "default-src": ["'none'"], "script-src": ["'self'"], "style-src": ["'self'"], "img-src": ["'self'", "blob:"],
            "connect-src": ["'self'", "wss://sockets.example:8443", "https://sockets.example:8443"], "base-uri": ["'none'"],
            "form-action": ["'none'"], "frame-ancestors": ["'none'"], "require-trusted-types-for": ["'script'"], "trusted-types": ["'none'"]}
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert set(DOCUMENTED["paths"]) == {"/", "/console/{file}", "/console/client/{file}", "/console/config.json"}


def test_where_the_sockets_are(get, own_api):
    assert get("/console/config.json").json() == {"webSocketUrl": SOCKETS}
    api = own_api(HANDOFF_CONSOLE="on")
    for host, there in (("localhost:8080", "ws://localhost:8081"), ("a.example", "ws://a.example"), ("[::1]:8080", None),
                        ("a;script-src", None), ("a''unsafe-inline", None)):
        answer, body = raw(api, "/console/config.json", Host=host)
        assert answer.status == 200 and json.loads(body) == {"webSocketUrl": there}, host
        sources = re.search(r"connect-src ([^;]*);", answer.headers["Content-Security-Policy"])[1]
        assert sources == ("'self'" if there is None else f"'self' {there} {there.replace('ws', 'http', 1)}"), host
    assert raw(api, "/console/config.json", Host="a' 'unsafe-inline")[0].status == 400


def test_an_address_that_no_policy_can_name_stops_the_start(suite, tmp_path):
    api = Suite(suite.servers, tmp_path, names=["session_api"], HANDOFF_CONSOLE="on", HANDOFF_PUBLIC_WS_URL="ws://a;script-src")
    service = api.services["session_api"].start()
    assert service.process.wait(MAX_WAIT) == 1
    failed, = (record for record in api.log_records("session_api") if record["event"] == "part_failed")
    assert failed["part"] == "console" and "HANDOFF_PUBLIC_WS_URL" in failed["hint"]


def test_what_is_known_is_not_sent_again(get):
    first = get("/console/app.js")
    tag = first.headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag) and first.headers["Cache-Control"] == "no-cache"
    assert get("/").headers["ETag"] != tag
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = get("/console/app.js", headers={"If-None-Match": known})
        assert answer.status_code == 304 and answer.content == b"" and answer.headers["ETag"] == tag, known
    for other in ('"x"', tag[:-2] + '"', tag.strip('"')):
        assert get("/console/app.js", headers={"If-None-Match": other}).status_code == 200, other


def test_head_is_get_without_the_body(get):
    whole, head = get("/console/app.js"), get("/console/app.js", "HEAD")
    assert head.status_code == 200 and head.content == b""
    ignored = {"Date", "X-Request-Id"}
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {k: v for k, v in whole.headers.items() if k not in ignored}


@pytest.mark.parametrize("path", [
    "/console/none.js", "/console/app.js/", "/console//app.js", "/console/./app.js", "/console/../console/app.js", "/console/%61pp.js",
    "/console/..%2f..%2fMakefile", "/console/client", "/console/client/", "/console/client/../app.js", "/console/client/client/index.js",
    "/console/client/index.d.ts", "/console/main.c", "/console/APP.JS", "/console/app.js%00", "/console/app", "/console.html", "//console/app.js",
    "/consoles/", "//", "/index.html", "/app.js", "/console/" + "x" * 4000])
def test_other_paths_are_nothing(module_api, path):
    answer, body = raw(module_api, path)
    assert answer.status == 404 and json.loads(body)["code"] == "not_found"


def test_other_methods_are_refused(module_api):
    for path in ("/", "/console/app.js"):
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
            answer, _ = raw(module_api, path, method, **{"Content-Length": "0"})
            assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD, OPTIONS", (path, method)
        assert raw(module_api, path, "OPTIONS")[0].status == 204


def test_the_rest_is_as_it_was(module_api):
    device = module_api.device(new_user(), "phone")
    assert device.get("/sessions").status_code == 200
    assert device.get("/time", headers={"Accept": "text/html"}).status_code == 406
    assert device.get("/nothing").status_code == 404

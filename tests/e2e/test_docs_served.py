"""The API reference as session_api serves it: to whoever asks, where it is not off; nothing but its files. What is in it:
tests/contract/test_api_reference.py; how it looks: test_console.py."""

import http.client
import json
import pathlib
import subprocess
import sys

import pytest
import requests

from documents import OpenApi
from harness import MAX_WAIT

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".svg": "image/svg+xml", ".json": "application/json", ".yaml": "application/yaml"}
ROOT_DOCUMENT = OpenApi().root
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
          "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("reference") / "docs"
    subprocess.run([sys.executable, ROOT / "tools" / "api-reference", made], check=True)
    return made


@pytest.fixture
def get(suite):
    return lambda path, method="GET", **more: requests.request(method, suite.api_url + path, timeout=MAX_WAIT, **more)


def raw(suite, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", suite.direct.api_port, timeout=MAX_WAIT)
    connection.putrequest(method, path)
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_every_file_is_served_as_it_was_made_and_needs_no_token(get, folder):
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert len(files) > 100
    session = requests.Session()
    for file in files:
        name = str(file.relative_to(folder)).removesuffix(".html")
        answer = session.get(get("/docs").url + ("" if name == "index" else f"/{name}"), headers={"Accept": "text/html"}, timeout=MAX_WAIT)
        assert answer.status_code == 200 and answer.content == file.read_bytes(), name
        assert answer.headers["Content-Type"] == TYPES[file.suffix], name
    assert get("/docs/").content == get("/docs").content == get("/docs?a=b").content


def test_the_headers_keep_the_pages_to_themselves(get):
    for path in ("/docs", "/docs/rest", "/docs/openapi.yaml", "/docs/none"):
        answer = get(path)
        for name, value in ROOT_DOCUMENT["x-console"]["headers"].items():
            assert answer.headers[name] == value or (answer.status_code, name) == (404, "Cache-Control"), (path, name)
        assert answer.headers["Content-Security-Policy"] == POLICY
    assert set(ROOT_DOCUMENT["x-docs"]["paths"]) == {"/docs", "/docs/{page}", "/docs/errors/{code}", "/docs/runbooks/{alert}", "/docs/{file}", "/docs/schemas/{file}",
                                                     "/docs/examples/{file}"}


def test_what_is_known_is_not_sent_again(get):
    first, head = get("/docs/rest"), get("/docs/rest", "HEAD")
    tag = first.headers["ETag"]
    assert head.content == b"" and head.headers["Content-Length"] == str(len(first.content)) and head.headers["ETag"] == tag
    again = get("/docs/rest", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"") and get("/docs").headers["ETag"] != tag


@pytest.mark.parametrize("path", ["/docs/none", "/docs/rest.html", "/docs/index.html", "/docs/rest/", "/docs//rest", "/docs/./rest", "/docs/../docs",
                                  "/docs/%72est", "/docs/errors/", "/docs/errors/none", "/docs/schemas", "/docs/schemas/..%2fopenapi.yaml",
                                  "/docs.html", "/docsx", "//docs", "/docs/" + 4000 * "x", "/docs/" + 123 * "x", "/docs/" + 122 * "x", "/docs/."])
def test_other_paths_are_nothing(suite, path):
    answer, body = raw(suite, path)
    assert answer.status == 404 and json.loads(body)["code"] == "not_found"


def test_other_methods_are_refused(suite):
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        answer, _ = raw(suite, "/docs", method)
        assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD, OPTIONS", method
    assert raw(suite, "/docs/rest", "OPTIONS")[0].status == 204


def test_it_may_be_off(own_api):
    api = own_api(HANDOFF_DOCS="off")
    for path in ("/docs", "/docs/", "/docs/rest", "/docs/openapi.yaml"):
        assert requests.get(api.api_url + path, timeout=MAX_WAIT).status_code == 404, path

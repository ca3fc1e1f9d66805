"""proto/openapi.yaml is whole (it parses, its references lead somewhere, its examples fit) and says what
the code says: paths and methods, who needs a token, codes, media types, limits."""

import json
import pathlib
import re
import sys

import jsonschema
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from documents import METHODS, PROTO, SCHEMAS, AsyncApi, OpenApi, walk  # noqa: E402

ROOT = PROTO.parent
API = OpenApi()
OPERATIONS = [(path, method) for path, item in API.root["paths"].items()
              for method in METHODS if method in item]
USUAL = {"X-Request-Id", "X-API-Version", "Cache-Control", "Vary", "Access-Control-Allow-Origin",
         "Access-Control-Expose-Headers"}
KNOWN = {  # what OpenAPI 3.1 has, as far as it is used here; x-… is allowed everywhere
    "root": {"openapi", "info", "servers", "security", "paths", "components"},
    "item": {"servers", "parameters", *METHODS},
    "operation": {"operationId", "summary", "description", "parameters", "requestBody", "responses",
                  "security"},
    "response": {"description", "headers", "content"},
    "parameter": {"name", "in", "required", "description", "schema", "example"},
    "header": {"required", "description", "schema", "example"},
    "media": {"schema", "examples"},
    "components": {"schemas", "responses", "parameters", "headers", "securitySchemes"},
}


def source(path):
    """A C file with its continued lines joined."""
    return (ROOT / path).read_text().replace("\\\n", " ")


def only_known(kind, value):
    assert {k for k in value if not k.startswith("x-")} <= KNOWN[kind], (kind, value.keys())


def operation(path, method):
    return API.root["paths"][path][method]


def responses():
    """(place, response) of every response, those of components once."""
    for name, response in API.root["components"]["responses"].items():
        yield name, response
    for path, method in OPERATIONS:
        for status, response in operation(path, method)["responses"].items():
            if "$ref" not in response:
                yield f"{method} {path} {status}", response


# ---- whole ----

def test_every_reference_leads_somewhere():
    for reference in API.references():
        assert API.target(reference) is not None, reference


def test_the_structure_is_openapi_3_1():
    assert API.root["openapi"] == "3.1.0"
    only_known("root", API.root)
    only_known("components", API.root["components"])
    assert {"title", "version"} <= API.root["info"].keys()
    for path, item in API.root["paths"].items():
        only_known("item", item)
        assert path.startswith("/")
    for parameter in API.root["components"]["parameters"].values():
        only_known("parameter", parameter)
        assert parameter["in"] in ("query", "path", "header") and parameter["schema"] is not None
    for header in API.root["components"]["headers"].values():
        only_known("header", header)
    for place, response in responses():
        only_known("response", response)
        assert response["description"], place
        for name, header in response.get("headers", {}).items():
            assert header == {"$ref": f"#/components/headers/{name}"}, place
        for media in response.get("content", {}).values():
            only_known("media", media)


@pytest.mark.parametrize("path,method", OPERATIONS)
def test_operation_is_whole(path, method):
    op = operation(path, method)
    only_known("operation", op)
    assert op["responses"] and op["summary"]
    declared = {API.resolve(p)["name"] for p in API.root["paths"][path].get("parameters", [])
                + op.get("parameters", []) if API.resolve(p)["in"] == "path"}
    assert declared == set(re.findall(r"\{(\w+)\}", path))
    assert all(re.fullmatch(r"[1-5]\d\d", status) for status in op["responses"])


def test_operations_have_ids_of_their_own():
    ids = [operation(*o)["operationId"] for o in OPERATIONS]
    assert len(ids) == len(set(ids))


def test_every_schema_in_it_is_one():
    schemas = [n["schema"] for _, n in walk(API.root) if isinstance(n.get("schema"), dict)]
    for schema in schemas + list(API.root["components"]["schemas"].values()):
        jsonschema.Draft202012Validator.check_schema(schema)


def test_nothing_in_components_is_left_over():
    used = set(API.references())
    for kind in ("schemas", "responses", "parameters", "headers"):
        for name in API.root["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, f"{kind} {name} is used nowhere"


def test_every_example_fits_where_it_stands():
    n = 0
    for path, node in walk(API.root):
        for example in node.get("examples", {}).values() if "schema" in node else ():
            value = json.loads((PROTO / example["externalValue"]).read_text())
            assert not API.errors(node["schema"], value), (path, example)
            n += 1
    assert n > 10


def test_every_answer_of_ours_has_the_usual_headers():
    for place, response in responses():
        if place != "HeadersTooLarge":  # the HTTP library's own
            assert USUAL <= response["headers"].keys(), place


def test_every_schema_and_every_example_has_its_place_in_a_document():
    files = API.files() | AsyncApi().files()
    there = {f"{p.parent.name}/{p.name}" for p in PROTO.glob("*/*.json")}
    assert there == files


# ---- as the code ----

def resources():
    """path.c's table: pattern -> (methods, needs a token)."""
    table = re.findall(r'= \{"(/[^"]*)",\s*(.*?),\s*"([A-Z, ]+)",\s*(true|false)\}',
                       source("services/session_api/path.c"), re.S)
    assert len(table) == 24
    assert re.findall(r'= \{"([^/"][^"]*)"', source("services/session_api/path.c")) == ["none", "console", "docs"]
    for pattern, flags, allow, needs_token in table:
        methods = set(re.findall(r"METHOD_(\w+)", flags))
        assert methods == set(allow.split(", ")), pattern
        yield pattern, {m.lower() for m in methods}, needs_token == "true"


def test_paths_methods_and_security_are_those_of_path_c():
    code = {pattern: (methods, token) for pattern, methods, token in resources()}
    assert code.keys() == API.rest.keys()
    for path, (methods, needs_token) in code.items():
        item = API.root["paths"][path]
        assert {m for m in METHODS if m in item} == methods, path
        for method in methods:
            security = item[method].get("security", API.root["security"])
            assert bool(security) == (needs_token and method != "options"), (path, method)


def test_the_streams_path_and_methods_are_those_of_events_request_c():
    code = source("services/ws_fanout/events_request.c")
    before, after = re.search(r'before\[\] = "([^"]+)", after\[\] = "([^"]+)"', code).groups()
    methods = {m.lower() for m in re.search(r'#define ALLOW "([^"]+)"', code)[1].split(", ")}
    (path, item), = ((p, i) for p, i in API.root["paths"].items() if p not in API.rest)
    assert path == f"{before}{{id}}{after}" and {m for m in METHODS if m in item} == methods
    for method in methods:
        assert bool(item[method].get("security", API.root["security"])) == (method != "options")


def faults():
    found = re.findall(r'X\(FAULT_\w+,\s*"(\w+)",\s*(\d+),\s*(true|false),\s*"([^"]+)"\)',
                       source("proto/fault.h"))
    assert len(found) > 20
    return [{"code": code, "status": int(status), "temporary": temporary == "true", "title": title}
            for code, status, temporary, title in found]


def test_codes_are_those_of_fault_h():
    assert API.root["x-codes"] == faults()


def problem_codes(response):
    """{(status, code)} that a response's problem may have."""
    schema = API.resolve(response.get("content", {}).get("application/problem+json", {})
                         .get("schema", {}))
    for part in schema.get("allOf", []):
        properties = part.get("properties")
        if properties:
            return {(properties["status"]["const"], code) for code in properties["code"]["enum"]}
    return set()


def test_every_code_is_an_answer_to_something_and_no_other_is():
    known = {(f["status"], f["code"]) for f in faults()}
    answered = set().union(*(problem_codes(response) for _, response in responses()))
    assert answered == known


def test_a_problem_stands_below_its_own_status():
    for path, method in OPERATIONS:
        for status, response in operation(path, method)["responses"].items():
            codes = problem_codes(API.resolve(response))
            assert all(str(s) == status for s, _ in codes), (path, method, status)


def test_media_types_of_patch_are_those_of_headers_c():
    known = re.findall(r'\{"(application/[^"]+)", MEDIA_', source("services/session_api/headers.c"))
    content = operation("/sessions/{id}", "patch")["requestBody"]["content"]
    assert set(content) == set(known)
    named = API.root["components"]["headers"]["Accept-Patch"]["schema"]["const"]
    assert set(named.split(", ")) == set(known)


def test_headers_that_pages_may_read_are_those_of_cors_c():
    code = source("services/session_api/cors.c")
    call = re.search(r'"Access-Control-Expose-Headers",\s*((?:"[^"]*"\s*)+)\)', code)[1]
    exposed = set("".join(re.findall(r'"([^"]*)"', call)).split(", "))
    documented = {h for h in API.root["components"]["headers"] if not h.startswith("Access-Control-")}
    assert exposed == documented - {"Cache-Control", "Vary"}  # which pages may read anyway


@pytest.mark.parametrize("limit", [x for x in API.root["x-limits"] if "setting" in x],
                         ids=lambda x: x["setting"])
def test_a_limit_is_the_settings_default(limit):
    text = (ROOT / "docs" / "CONFIG.md").read_text()
    default = re.search(rf"## {limit['setting']}\b.*?- Default: `([^`]+)`", text, re.S)[1]
    assert default == limit["value"]


def test_request_bodies_have_the_members_that_bodies_c_takes():
    code = source("services/session_api/bodies.c")
    lists = [set(re.findall(r'"(\w+)"', x)) for x in re.findall(r"known\[\] = \{([^}]*)\}", code)]
    assert set(SCHEMAS["request_create.json"]["properties"]) in lists
    assert set(SCHEMAS["request_patch.json"]["properties"]) in lists
    assert set(SCHEMAS["request_broadcast.json"]["properties"]) in lists
    for name in ("request_snapshot", "request_restore", "request_participant", "request_clock",
                 "request_switch", "request_adjust", "request_handoff_code", "request_handoff"):
        assert set(SCHEMAS[f"{name}.json"]["properties"]) in lists

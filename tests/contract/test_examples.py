"""Every golden example in proto/examples fits its JSON Schema in proto/schemas, every schema is one and
has an example, and the schemas refuse what they should: an example less one required member."""

import copy
import json
import pathlib
import re

import jsonschema
import pytest

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
SCHEMAS = {p.stem: json.loads(p.read_text()) for p in sorted((PROTO / "schemas").glob("*.json"))}
EXAMPLES = {p.stem: json.loads(p.read_text()) for p in sorted((PROTO / "examples").glob("*.json"))}
DEFINITIONS_ONLY = {"types"}


def schema_of(example):
    return example.split(".")[0]


def validator(name):
    store = {schema["$id"]: schema for schema in SCHEMAS.values()}
    resolver = jsonschema.RefResolver(name + ".json", SCHEMAS[name], store=store)
    return jsonschema.Draft202012Validator(SCHEMAS[name], resolver=resolver)


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for element in value:
            yield from references(element)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_valid(name):
    schema = SCHEMAS[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == name + ".json"
    resolver = validator(name).resolver
    for reference in references(schema):
        with resolver.resolving(reference) as target:
            assert isinstance(target, (dict, bool)), reference


@pytest.mark.parametrize("name", sorted(SCHEMAS.keys() - DEFINITIONS_ONLY))
def test_schema_has_an_example(name):
    if name == "event":  # the envelope: its examples are those of the types
        assert any(e.startswith("event_") for e in EXAMPLES)
    else:
        assert any(schema_of(e) == name for e in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_fits_its_schema(example):
    validator(schema_of(example)).validate(EXAMPLES[example])


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.startswith("event_")])
def test_event_fits_the_envelope(example):
    validator("event").validate(EXAMPLES[example])


def required_members(name):
    schema = SCHEMAS[name]
    names = list(schema.get("required", []))
    if name.startswith("event_"):
        names += SCHEMAS["event"]["required"]
    return names


CASES = [(e, member) for e in EXAMPLES for member in required_members(schema_of(e))]


@pytest.mark.parametrize("example,member", CASES)
def test_example_without_a_required_member_does_not_fit(example, member):
    less = copy.deepcopy(EXAMPLES[example])
    del less[member]
    assert not validator(schema_of(example)).is_valid(less)


def takes_any_value(example, member):
    return SCHEMAS[schema_of(example)]["properties"].get(member) is True


@pytest.mark.parametrize("example,member", [c for c in CASES if not takes_any_value(*c)])
def test_example_with_a_member_of_the_wrong_type_does_not_fit(example, member):
    wrong = copy.deepcopy(EXAMPLES[example])
    wrong[member] = [[]]
    assert not validator(schema_of(example)).is_valid(wrong)


REFUSED = [
    ("command.create", {"sessionId": "019c51b8-ee00-4a3b-8f21-5b6c7d8e9f01"}),
    ("command.create", {"ttlSeconds": 59}),
    ("command.create", {"status": "paused"}),
    ("command.create", {"type": "Capital"}),
    ("command.create", {"name": "x" * 256}),
    ("command.patch", {"mergePatch": {}}),
    ("command.patch", {"merge": "disjoint"}),
    ("command.patch", {"operations": [{"op": "replace", "path": "/data"}]}),
    ("command.patch", {"operations": [{"op": "test", "path": "/data", "value": 1}] * 1001}),
    ("command.patch", {"checksum": "A" * 64}),
    ("command.status", {"status": "expired"}),
    ("command.status", {"deviceId": ".."}),
    ("command.status", {"key": "k" * 129}),
    ("command.delete", {"ifMatch": []}),
    ("command.load", {"scope": ["write", "everything"]}),
    ("command.presence", {"scope": ["write", "everything"]}),
    ("command.restore", {"checksum": "A" * 64}),
    ("command.restore", {"restored": {"version": 0, "epoch": 1}}),
    ("command.restore", {"restored": {"version": 1}}),
    ("command.snapshot", {"label": ""}),
    ("command.snapshot", {"label": "x" * 256}),
    ("command.participant", {"role": "owner"}),
    ("command.participant", {"participant": "ada"}),
    ("command.device", {"device": ".."}),
    ("command.device", {"removed": "yes"}),
    ("session.paused", {"activeDeviceId": "phone-1"}),
    ("session.completed", {"completedAt": None}),
    ("session_summary", {"data": {}}),
    ("event_state_delta", {"operations": [{"op": "test", "path": "/data", "value": 1}]}),
    ("event_state_delta", {"type": "snapshot"}),
    ("event_device_joined", {"deviceId": None}),
    ("event_device_joined", {"deviceCount": -1}),
    ("event_device_left", {"platform": "x" * 65}),
    ("event_participant_changed", {"role": "owner"}),
    ("event_device_changed", {"removed": None}),
    ("event_snapshot.labelled", {"label": ""}),
    ("event_session_rebuilt", {"checksum": "A" * 64}),
    ("event_broadcast", {"deviceId": None}),
    ("reply.patch_failed", {"version": 3}),
    ("command.switch", {"nextParticipantId": "a b"}),
    ("command.clock_set", {"clock": None}),
    ("command.clock_adjust", {"adjustMs": 86400001}),
    ("command.clock_adjust", {"reason": ""}),
    ("session.clock", {"clock": None}),
    ("session", {"expiresAt": None}),
    ("session_summary", {"clock": {}}),
    ("clock", {"participants": []}),
    ("clock", {"incrementMs": 60001}),
    ("event_clock_switched", {"from": None}),
    ("event_clock_expired", {"groupId": "red"}),
    ("event_clock_expired", {"deviceId": "phone-1"}),
    ("event_clock_warning", {"remainingMs": 0}),
    ("request_create", {"clock": {}}),
    ("request_clock", {"totalTimeMs": None}),
    ("request_clock", {"mode": "per_cycle"}),
    ("request_clock", {"mode": "per_group"}),
    ("request_clock", {"onTimeout": {"action": "explode"}}),
    ("request_clock", {"increment": 1}),
    ("request_switch", {"currentParticipantId": None}),
    ("request_adjust", {"reason": "x" * 256}),
    ("ws_switch", {"baseVersion": 0}),
    ("request_handoff_code", {"role": "admin"}),
    ("request_handoff_code", {"ttlSeconds": 301}),
    ("request_handoff", {"device": {"id": ".."}}),
    ("response_handoff_code", {"code": "short"}),
    ("response_handoff.guest", {"deviceId": ".."}),
    ("request_merge_patch", {"data": None}),
    ("request_merge_patch", {"version": 3}),
    ("ws_subscribe", {"epoch": 1}),
    ("ws_subscribe.since", {"since": -1}),
    ("ws_subscribe.since", {"epoch": 0}),
    ("ws_auth", {"device": {"name": "n" * 256}}),
    ("ws_presence", {"joined": ["a", "a"]}),
    ("ws_status", {"id": "i" * 65}),
]


@pytest.mark.parametrize("example,change", REFUSED)
def test_changed_example_does_not_fit(example, change):
    assert not validator(schema_of(example)).is_valid({**EXAMPLES[example], **change})


def test_codes_are_those_of_fault_h():
    header = (PROTO / "fault.h").read_text()
    codes = re.findall(r"X\(FAULT_\w+, \"(\w+)\"", header)
    assert set(SCHEMAS["types"]["$defs"]["code"]["enum"]) == set(codes)

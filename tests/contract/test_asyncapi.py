"""proto/asyncapi.yaml is whole (it parses, its references lead somewhere, its examples fit) and says what
the code says: events, WebSocket messages, close codes, names on the broker, limits."""

import pathlib
import re
import sys

import jsonschema
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from documents import PROTO, SCHEMAS, AsyncApi, walk  # noqa: E402

ROOT = PROTO.parent
API = AsyncApi()
CHANNELS, OPERATIONS = API.root["channels"], API.root["operations"]
MESSAGES = API.root["components"]["messages"]
KNOWN = {  # what AsyncAPI 3.0 has, as far as it is used here; x-… is allowed everywhere
    "root": {"asyncapi", "info", "defaultContentType", "servers", "channels", "operations",
             "components"},
    "server": {"host", "protocol", "protocolVersion", "pathname", "description"},
    "channel": {"address", "title", "description", "servers", "parameters", "messages", "bindings"},
    "operation": {"action", "channel", "summary", "messages", "reply", "bindings"},
    "reply": {"address", "channel", "messages"},
    "message": {"name", "summary", "description", "headers", "payload", "correlationId", "bindings",
                "examples"},
}


def source(*paths):
    """C files with their continued lines joined."""
    return "\n".join((ROOT / path).read_text().replace("\\\n", " ") for path in paths)


def only_known(kind, value):
    assert {k for k in value if not k.startswith("x-")} <= KNOWN[kind], (kind, value.keys())


# ---- whole ----

def test_every_reference_leads_somewhere():
    for reference in API.references():
        assert API.target(reference) is not None, reference


def test_the_structure_is_asyncapi_3_0():
    assert API.root["asyncapi"] == "3.0.0"
    only_known("root", API.root)
    for server in API.root["servers"].values():
        only_known("server", server)
    for channel in CHANNELS.values():
        only_known("channel", channel)
        named = set(re.findall(r"\{(\w+)\}", channel["address"] or ""))
        assert named == set(channel.get("parameters", {}))
    for name, message in MESSAGES.items():
        only_known("message", message)
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name) and "payload" in message


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operations_messages_are_those_of_its_channel(name):
    operation = OPERATIONS[name]
    only_known("operation", operation)
    assert operation["action"] in ("send", "receive")
    reply = operation.get("reply", {"channel": operation["channel"], "messages": []})
    only_known("reply", reply)
    for part in (operation, reply):
        channel = part["channel"]["$ref"]
        for message in part["messages"]:
            assert message["$ref"].startswith(channel + "/messages/"), message


def test_every_message_is_sent_or_taken_by_some_operation():
    used = {m["$ref"] for o in OPERATIONS.values()
            for m in o["messages"] + o.get("reply", {}).get("messages", [])}
    assert used == {f"#/channels/{c}/messages/{m}" for c in CHANNELS for m in CHANNELS[c]["messages"]}


def test_no_message_in_components_is_left_over():
    assert {f"#/components/messages/{m}" for m in MESSAGES} <= set(API.references())


def test_every_schema_in_it_is_one():
    for _, node in walk(API.root):
        for name in ("payload", "headers", "x-properties"):
            if isinstance(node.get(name), dict) and "$ref" not in node[name]:
                jsonschema.Draft202012Validator.check_schema(node[name])


def test_every_example_fits_where_it_stands():
    n = 0
    for path, node in walk(API.root):
        if "payload" not in node or not isinstance(node.get("examples"), list):
            continue
        for example in node["examples"]:
            assert not API.errors(node["payload"], API.resolve(example["payload"])), (path, example)
            n += 1
    assert n > 30
    for schema in API.root["components"]["schemas"].values():
        for example in schema.get("examples", []):
            assert not API.errors(schema, API.resolve(example))


# ---- as the code ----

def events():
    """event.h's table: type -> (kind, versioned, durable, goes to devices)."""
    found = re.findall(r'X\(EVENT_\w+, "(\w+)", "(\w+)", (\w+), (\w+), (\w+)\)',
                       source("proto/event.h"))
    assert found
    return {type: (kind, *(flag == "true" for flag in flags)) for type, kind, *flags in found}


def test_events_are_those_of_event_h():
    described = {name: (m["x-kind"], m["x-versioned"], m["x-durable"], m["x-to-devices"])
                 for name, m in ((n, MESSAGES[n]) for n in CHANNELS["session_updates"]["messages"])}
    assert described == events()
    assert set(CHANNELS["session_updates"]["parameters"]["kind"]["enum"]) == {
        kind for kind, *_ in events().values()}
    assert set(CHANNELS["audit"]["messages"]) == {t for t, e in events().items() if e[2]}
    assert set(SCHEMAS["event.json"]["properties"]["type"]["enum"]) == set(events())


@pytest.mark.parametrize("type", events())
def test_an_events_properties_are_its_kinds(type):
    kind, versioned, durable, _ = events()[type]
    properties = MESSAGES[type]["x-properties"]["properties"]
    assert properties["delivery_mode"]["const"] == (2 if durable else 1)
    assert properties["type"]["const"] == type
    message_id = "0197a3b4-0000-7000-8000-000000000000" + (":1:2" if versioned else "")
    assert re.fullmatch(properties["message_id"]["pattern"], message_id)


def socket_messages(sender):
    messages = [API.resolve(ref) for ref in CHANNELS["socket"]["messages"].values()]
    return {message["name"] for message in messages if message["x-from"] == sender}


def test_messages_of_clients_are_those_of_protocol_c():
    assert socket_messages("client") == set(re.findall(
        r'\[PROTOCOL_\w+\] = \{"(\w+)",', source("services/ws_fanout/protocol.c")))


def test_messages_to_clients_are_those_of_protocol_print_c_and_the_events():
    printed = set(re.findall(r'begin\(out, "(\w+)"', source("services/ws_fanout/protocol_print.c")))
    to_devices = {type for type, e in events().items() if e[3]}
    assert socket_messages("server") == printed | to_devices


def test_close_codes_are_those_of_connection_h_and_of_the_protocol():
    ours = set(map(int, re.findall(r"CLOSE_\w+ = (\d+)", source("services/ws_fanout/connection.h"))))
    assert {c["code"] for c in CHANNELS["socket"]["x-close-codes"]} == ours | {1002, 1003, 1007, 1009}


def test_reasons_of_a_state_sync_are_those_of_hub_update_c():
    names = re.findall(r'\[SYNC_\w+\] = "(\w+)"', source("services/ws_fanout/hub_update.c"))
    assert SCHEMAS["ws_state_sync.json"]["properties"]["reason"]["enum"] == names


def test_the_subprotocol_is_that_of_protocol_h():
    name = re.search(r'PROTOCOL_SUBPROTOCOL "([^"]+)"', source("services/ws_fanout/protocol.h"))[1]
    assert f"`{name}`" in CHANNELS["socket"]["description"]


def test_names_on_the_broker_are_those_of_route_h():
    names = dict(re.findall(r'#define ROUTE_(\w+) "([^"]+)"', source("proto/route.h")))
    exchange = {c: CHANNELS[c]["bindings"]["amqp"].get("exchange", {}).get("name")
                for c in ("session_updates", "session_commands")}
    assert exchange == {"session_updates": names["UPDATES_EXCHANGE"],
                        "session_commands": names["COMMANDS_EXCHANGE"]}
    assert CHANNELS["session_commands"]["address"] == names["COMMANDS_KEY"]
    assert f"`{names['COMMANDS_QUEUE']}`" in CHANNELS["session_commands"]["description"]
    assert f"`{names['REPLY_TO']}`" in CHANNELS["replies"]["description"]
    for channel, name in (("audit", "AUDIT_QUEUE"), ("dead_commands", "COMMANDS_DEAD_QUEUE"),
                          ("dead_events", "AUDIT_DEAD_QUEUE")):
        assert CHANNELS[channel]["address"] == names[name]
        assert CHANNELS[channel]["bindings"]["amqp"]["queue"]["name"] == names[name]


def test_exchanges_are_of_the_types_that_are_declared():
    types = dict(re.findall(r'\{ROUTE_(\w+)_EXCHANGE, "(\w+)"\}', source("common/bus_topology.c")))
    for channel, name in (("session_updates", "UPDATES"), ("session_commands", "COMMANDS")):
        exchange = CHANNELS[channel]["bindings"]["amqp"]["exchange"]
        assert exchange["type"] == types[name] and exchange["durable"]


def test_kinds_of_commands_are_those_of_the_code():
    names = re.search(r"command_kind_names\[[^]]*\] = \{(.*?)\}", source("proto/command_names.h"), re.S)[1]
    assert SCHEMAS["command.json"]["properties"]["kind"]["enum"] == re.findall(r'"(\w+)"', names)


@pytest.mark.parametrize("limit", [x for x in CHANNELS["socket"]["x-limits"] if "setting" in x],
                         ids=lambda x: x["setting"])
def test_a_limit_is_the_settings_default(limit):
    text = (ROOT / "docs" / "CONFIG.md").read_text()
    default = re.search(rf"## {limit['setting']}\b.*?- Default: `([^`]+)`", text, re.S)[1]
    assert default == limit["value"]


def test_limits_of_a_connection_are_the_codes():
    limits = {x["what"].partition(",")[0]: x["value"] for x in CHANNELS["socket"]["x-limits"]}
    in_flight = re.search(r"MAX_IN_FLIGHT (\d+)", source("services/ws_fanout/commands.c"))[1]
    id_max = re.search(r"ID_MAX_CHARACTERS (\d+)", source("services/ws_fanout/protocol.h"))[1]
    assert limits["commands in flight a connection"] == in_flight
    broadcasts = re.search(r"LIMITS_BROADCASTS (\d+)", source("services/ws_fanout/limits.h"))[1]
    assert limits["broadcasts a second a connection"] == broadcasts
    assert limits["characters of an id"] == id_max
    assert str(SCHEMAS["types.json"]["$defs"]["messageId"]["maxLength"]) == id_max

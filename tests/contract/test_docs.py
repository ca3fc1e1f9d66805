"""docs/PROTOCOL.md and docs/operations name what the code has: every code, message, metric, log event and
queue, and no other."""

import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = {str(p.relative_to(ROOT)): p.read_text()
           for folder in ("common", "services") for p in sorted((ROOT / folder).rglob("*.c"))}


def read(path):
    return (ROOT / path).read_text()


def first_cells(text, heading=None):
    """The names in the first column of the tables below a heading, or of all."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1] if heading else text
    cells = re.findall(r"^\| (`[^|]*?) \|", section, re.M)
    return {name for cell in cells for name in re.findall(r"`([a-z_]+)[^`]*`", cell)}


def arguments(text, start):
    """The texts of a call's arguments; start: behind its opening parenthesis."""
    found, depth, begin, i = [], 0, start, start
    while depth >= 0:
        if text[i] == '"':
            i += 1
            while text[i] != '"':
                i += 2 if text[i] == "\\" else 1
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth < 0 or (depth == 0 and text[i] == ","):
            found.append(text[begin:i])
            begin = i + 1
        i += 1
    return found


def log_events():
    for text in SOURCES.values():
        for call in re.finditer(r"(?<!\w)log_(debug|info|warn|error|write)\(", text):
            given = arguments(text, call.end())
            yield from re.findall(r'"(\w+)"', given[2 if call[1] == "write" else 1])


def test_the_log_events_are_those_of_the_code():
    events = set(log_events())
    assert len(events) > 20
    assert first_cells(read("docs/operations/log-events.md")) == events


def test_the_metrics_are_those_of_the_code():
    metrics = set(re.findall(r'"(handoff_[a-z_]+)"', "\n".join(SOURCES.values())))
    assert len(metrics) > 30
    assert first_cells(read("docs/operations/metrics.md")) == metrics


def test_the_queues_are_those_of_route_h():
    text = read("docs/operations/broker.md")
    for name in re.findall(r'#define ROUTE_\w+ "([a-z_]+(?:\.[a-z]+)?)"', read("proto/route.h")):
        assert f"`{name}`" in text, name


def test_the_errors_are_those_of_fault_h():
    codes = set(re.findall(r'X\(FAULT_\w+,\s*"(\w+)"', read("proto/fault.h").replace("\\\n", " ")))
    assert first_cells(read("docs/PROTOCOL.md"), "Errors") == codes


FAULT = re.compile(r'X\(FAULT_\w+,\s*"(\w+)",\s*(\d+),\s*(true|false),\s*"([^"]*)"\)')


def test_every_error_has_a_page_with_cause_and_cure():
    faults = {}
    for code, status, temporary, title in FAULT.findall(read("proto/fault.h").replace("\\\n", "")):
        faults.setdefault(code, ([], temporary, title))[0].append(status)
    assert len(faults) > 20
    pages = {p.stem: p.read_text() for p in (ROOT / "docs" / "errors").glob("*.md")}
    index = pages.pop("README")
    assert "(close-codes.md)" in index and pages.pop("close-codes")
    assert pages.keys() == faults.keys()
    for code, (statuses, temporary, title) in faults.items():
        assert pages[code].startswith(f"# {code}\n\n**{title}.** HTTP {' or '.join(statuses)}. ")
        assert f"`temporary: {temporary}`" in pages[code]
        for heading in ("Causes", "Cure"):
            assert re.search(rf"^## {heading}\n\n- .", pages[code], re.M), (code, heading)
        assert f"| [`{code}`]({code}.md) | {', '.join(statuses)} | {title} |" in index


def test_every_close_code_has_causes_and_cures():
    ours = re.findall(r"CLOSE_\w+ = (\d+)", read("services/ws_fanout/connection.h"))
    come_back = dict(re.findall(r"- \{code: (\d+), comeBack: '?([\w ]+?)'?, when: ", read("proto/asyncapi.yaml")))
    assert len(ours) == 5 and come_back.keys() > set(ours)
    page, protocol = read("docs/errors/close-codes.md"), re.search(r"^\| close code \|.*?\n\n", read("docs/PROTOCOL.md"), re.M | re.S)[0]
    assert list(come_back) == re.findall(r"^## (\d+)$", page, re.M) == sorted(set(re.findall(r"\b\d{4}\b", protocol)) - {"6455"})
    for code, told in come_back.items():
        section = re.search(rf"^## {code}\n\n(.*?)\n\n", page, re.M | re.S)[1]
        assert re.match(r"(?:- Cause: .+\n)+(?:- Cure(?:, for operators)?: .+\n?)+$", section), code
        assert re.search(rf"^\| `{code}` \| .+ \| {told}", page, re.M), code


def test_the_events_are_those_of_event_h():
    types = set(re.findall(r'X\(EVENT_\w+, "(\w+)"', read("proto/event.h")))
    assert first_cells(read("docs/PROTOCOL.md"), "Events") == types


def test_the_commands_are_those_of_the_code():
    names = re.search(r"command_kind_names\[[^]]*\] = \{(.*?)\}", read("proto/command_names.h"), re.S)[1]
    assert first_cells(read("docs/PROTOCOL.md"), "Commands from other backends") == set(
        re.findall(r'"(\w+)"', names))


def test_the_websocket_messages_are_those_of_the_code():
    protocol = read("services/ws_fanout/protocol.c") + read("services/ws_fanout/protocol_print.c")
    types = set(re.findall(r'\[PROTOCOL_\w+\] = \{"(\w+)",|begin\(out, "(\w+)"', protocol))
    assert first_cells(read("docs/PROTOCOL.md"), "WebSocket") == {a or b for a, b in types}


PAGES = sorted(str(p.relative_to(ROOT)) for p in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("clients/*/*.md"),
                                                  *ROOT.glob("examples/**/*.md"), *ROOT.glob("tests/*/*.md")])


def anchors(page):
    """Of its headings, as they are made for links."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_and_json_of_a_page_are_sound(name):
    text = read(name)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        page = ROOT / name if not target else (ROOT / name).parent / target
        assert "://" in target or page.exists(), target
        assert not anchor or "://" in target or anchor in anchors(page), f"{target}#{anchor}"
    for block in re.findall(r"```json\n(.*?)```", text, re.S):
        json.loads(block)
    for path in re.findall(r"`((?:common|proto|services|tests|compose)/[\w/.-]+\.\w+)`", text.replace("NN-name", "*")):
        assert (ROOT / path).exists(), path

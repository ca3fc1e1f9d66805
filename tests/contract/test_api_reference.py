"""tools/api-reference, which makes the pages that session_api serves at /docs: all of the documents is in them, their links lead
somewhere and to nobody else, and nothing in them runs but their own file."""

import html.parser
import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from documents import METHODS, PROTO, SCHEMAS, AsyncApi, OpenApi, walk  # noqa: E402

ROOT = PROTO.parent
REST, MESSAGES = OpenApi(), AsyncApi()
VOID = {"meta", "link", "input", "br"}


class Page(html.parser.HTMLParser):
    """What stands below each id, every link, every attribute; and that what is opened is closed."""

    def __init__(self, path):
        super().__init__()
        self.text, self.links, self.attributes, self.open = {"": ""}, [], [], []
        self.feed(path.read_text())
        self.close()
        assert not self.open, path

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.attributes += [(tag, name, value) for name, value in attributes.items()]
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        if "id" in attributes:
            assert attributes["id"] not in self.text, f"twice: {attributes['id']}"
            self.text[attributes["id"]] = ""
        if tag not in VOID:
            self.open.append((tag, attributes.get("id")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for name in {"", *(identifier for _, identifier in self.open if identifier)}:
            self.text[name] += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("reference") / "docs"
    subprocess.run([sys.executable, ROOT / "tools" / "api-reference", made], check=True)
    return made


@pytest.fixture(scope="module")
def pages(folder):
    """By their addresses."""
    found = {str(p.relative_to(folder))[:-len(".html")]: Page(p) for p in folder.rglob("*.html")}
    return {"/docs" if name == "index" else f"/docs/{name}": page for name, page in found.items()}


def test_every_operation_is_there(pages):
    text = pages["/docs/rest"].text
    n = 0
    for path, item in REST.root["paths"].items():
        group = "".join(part for name, part in text.items() if part.startswith(path) and name)
        for method in METHODS:
            if method not in item:
                continue
            operation = item[method]
            place = next(part for name, part in text.items() if name.startswith(f"{method}-") and part.startswith(f"{method.upper()} {path}")
                         and part[len(f"{method.upper()} {path}"):][:1] not in "/{")
            assert operation["summary"].replace("`", "") in place, (path, method)
            for status in operation["responses"]:
                assert status in place, (path, method, status)
            if method not in ("head", "options"):
                for parameter in map(REST.resolve, item.get("parameters", []) + operation.get("parameters", [])):
                    assert parameter["name"] in place, (path, method, parameter["name"])
            n += 1
        assert group
    assert n > 60


def bodies():
    """(path, method, the content of a request's body, or of an answer that is no problem)"""
    for path, item in REST.root["paths"].items():
        for method in METHODS:
            if method in item and method not in ("head", "options"):
                contents = [item[method].get("requestBody", {}).get("content", {})]
                contents += [REST.resolve(r).get("content", {}) for r in item[method]["responses"].values()]
                for content in contents:
                    yield from ((path, method, name, media) for name, media in content.items() if name != "application/problem+json")


def test_every_body_is_there_with_its_members_and_examples(pages):
    text = pages["/docs/rest"].text
    n = 0
    for path, method, name, media in bodies():
        place = next(part for identifier, part in text.items() if identifier and part.startswith(f"{method.upper()} {path}")
                     and part[len(f"{method.upper()} {path}"):][:1] not in "/{")
        assert name in place
        schema = media["schema"].get("$ref", "").removeprefix("schemas/")
        for member in SCHEMAS.get(schema, {}).get("properties", {}):
            assert member in place, (path, method, member)
        for example in media.get("examples", {}).values():
            assert json.dumps(json.loads((PROTO / example["externalValue"]).read_text()), indent=2, ensure_ascii=False) in place
            n += 1
    assert n > 30


def test_every_message_is_there(pages):
    for channel, item in MESSAGES.root["channels"].items():
        text = pages["/docs/websocket" if channel == "socket" else "/docs/broker"].text
        assert item["title"] in text[""]
        for name, given in item["messages"].items():
            message = MESSAGES.resolve(given)
            place = text[f"{channel}-{name}".replace("_", "-")]
            assert message["summary"].replace("`", "") in place, (channel, name)
            for example in message.get("examples", []):
                assert json.dumps(MESSAGES.resolve(example["payload"]), indent=2, ensure_ascii=False) in text[""]
    for name in MESSAGES.root["operations"]:
        assert name in pages["/docs/websocket"].text[""] + pages["/docs/broker"].text[""]


def test_the_numbers_of_the_socket_are_there(pages):
    socket = MESSAGES.root["channels"]["socket"]
    text = pages["/docs/websocket"].text["socket"]
    for row in [*socket["x-close-codes"], *socket["x-limits"], *socket["x-refusals"]["statuses"]]:
        for value in row.values():
            assert all(str(part) in text for part in (value if isinstance(value, list) else [value])) or "`" in str(value), row


def test_each_code_of_a_refusal_leads_to_its_page(pages):
    codes = {code["code"] for code in REST.root["x-codes"]}
    assert {name.rpartition("/")[2] for name in pages if name.startswith("/docs/errors/")} == codes | {"close-codes"}
    named = {link.rpartition("/")[2] for link in pages["/docs/rest"].links if link.startswith("/docs/errors/")}
    assert named == codes
    for code in codes:
        text = pages[f"/docs/errors/{code}"].text[""]
        assert "Causes" in text and "Cure" in text
        assert f"/docs/errors/{code}" in pages["/docs/errors"].links


def test_close_codes_lead_to_their_page(pages):
    for page in ("/docs/websocket", "/docs/errors"):
        assert "/docs/errors/close-codes" in pages[page].links
    text = pages["/docs/errors/close-codes"].text[""]
    for row in MESSAGES.root["channels"]["socket"]["x-close-codes"]:
        assert text.count(str(row["code"])) >= 2
    assert "Cause:" in text and "Cure:" in text


def test_each_runbook_is_there_by_the_name_of_its_alert(pages):
    alerts = {path.stem for path in (ROOT / "docs" / "runbooks").glob("Handoff*.md")}
    assert len(alerts) > 30 and {name.removeprefix("/docs/runbooks/") for name in pages if name.startswith("/docs/runbooks/")} == alerts
    assert {f"/docs/runbooks/{alert}" for alert in alerts} <= set(pages["/docs/runbooks"].links)
    assert "rabbitmqctl set_permissions -p handoff state_engine" in pages["/docs/runbooks/HandoffQueueUnread"].text[""]


def test_links_lead_somewhere_and_to_nobody_else(pages, folder):
    for name, page in pages.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            if target and target.rstrip("/") not in pages:
                assert target.startswith("/docs/") and (folder / target.removeprefix("/docs/")).is_file(), (name, link)
            elif anchor:
                assert anchor in (pages[target.rstrip("/")] if target else page).text, (name, link)


def test_nothing_runs_or_looks_otherwise_by_itself(pages):
    for name, page in pages.items():
        for tag, attribute, value in page.attributes:
            assert not attribute.startswith("on") and attribute != "style", (name, tag, attribute)
        scripts = [value for tag, attribute, value in page.attributes if tag == "script" and attribute == "src"]
        assert scripts == ["/docs/page.js"] and "style" not in {tag for tag, _, _ in page.attributes}


def test_the_documents_are_there_with_all_that_they_name(folder):
    for document, api in (("openapi.yaml", REST), ("asyncapi.yaml", MESSAGES)):
        assert (folder / document).read_bytes() == (PROTO / document).read_bytes()
        for name in api.files():
            assert (folder / name).read_bytes() == (PROTO / name).read_bytes()
    assert any(node.get("externalValue") for _, node in walk(REST.root))


def test_what_it_cannot_read_stops_the_build():
    sys.path.insert(0, str(ROOT / "tools" / "api-reference"))
    import markup
    for text in ("```\nx\n```", "```sh\nx", "2. two", "> said", "#### deep"):
        with pytest.raises(ValueError):
            markup.page(text)
    assert markup.page("# a\n\n<b> `c<d` [e](f.md)", lambda target: "/" + target) == \
        '<h1>a</h1>\n<p>&lt;b&gt; <code>c&lt;d</code> <a href="/f.md">e</a></p>'
    assert markup.page("1. a\n2. `b`\n\n```sh run\nx < 1\n```") == "<ol><li>a</li><li><code>b</code></li></ol>\n<pre>x &lt; 1</pre>"
    assert markup.page('[a](javascript:alert(1))') == "<p>a)</p>"

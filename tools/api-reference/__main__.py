"""Writes the API reference: static pages of proto/openapi.yaml, proto/asyncapi.yaml, docs/errors and docs/runbooks, which session_api
serves at /docs, and beside them the documents themselves, with the schemas and examples that they name.
usage: tools/api-reference FOLDER, which is not there yet"""

import pathlib
import shutil
import sys

import yaml

import markup
from markup import code, escape, inline, link
from messages import Messages
from rest import Rest
from schemas import Schemas

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROTO = ROOT / "proto"
PAGES = [("", "Overview"), ("rest", "REST"), ("websocket", "WebSocket"), ("broker", "Broker"), ("errors", "Errors"), ("runbooks", "Runbooks")]

FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Handoff</title>
<link rel="icon" type="image/svg+xml" href="/docs/icon.svg">
<link rel="stylesheet" href="/docs/style.css">
<script src="/docs/page.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header><span class="name">Handoff</span><nav aria-label="Pages"><ul>{pages}</ul></nav></header>
<div class="columns">
{contents}<main id="main" tabindex="-1">
{main}
</main>
</div>
</body>
</html>
"""


def load(name):
    return yaml.load((PROTO / name).read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def pages_of(here):
    return "".join(f'<li><a href="/docs{"/" if name else ""}{name}"{" aria-current=page" if name == here else ""}>{title}</a></li>'
                   for name, title in PAGES)


def contents_html(contents):
    """The column beside the page."""
    def entry(anchor, method, text):
        mark = f'<span class="method {method.lower()}">{method}</span> ' if method else ""
        return f'<li><a href="#{anchor}">{mark}{inline(text) if method else code(text)}</a></li>'

    groups = "".join(f'<li><a href="#{anchor}">{escape(text)}</a><ul>{"".join(entry(*e) for e in entries)}</ul></li>'
                     for anchor, text, entries in contents)
    return ('<nav class="contents" aria-label="On this page"><p id="filter" hidden><label>Filter <input type="search" autocomplete="off">'
            f'</label></p><ul>{groups}</ul></nav>\n')


def write(folder, name, title, here, main, contents=()):
    path = folder / f"{name}.html"
    path.parent.mkdir(exist_ok=True)
    path.write_text(FRAME.format(title=escape(title), pages=pages_of(here), main=main, contents=contents_html(contents) if contents else ""))


def overview(openapi, asyncapi):
    n_operations = sum(len(contents[2]) for contents in openapi.contents())
    rows = [("rest", f"REST: {n_operations} operations on {len(openapi.root['paths'])} paths, and the event stream"),
            ("websocket", f"WebSocket: {len(asyncapi.root['channels']['socket']['messages'])} messages"),
            ("broker", f"Broker: {len(asyncapi.root['channels']['session_updates']['messages'])} events for other services, commands, dead letters"),
            ("errors", f"Errors: {len({c['code'] for c in openapi.root['x-codes']})} codes, each with causes and cures"),
            ("runbooks", "Runbooks: what an operator does when an alert comes")]
    files = [("openapi.yaml", "OpenAPI 3.1"), ("asyncapi.yaml", "AsyncAPI 3.0")]
    return ("<h1>Handoff's interfaces</h1><p>A <strong>session</strong> is a JSON document with a version, the same on all of a person's devices. "
            "These pages are made of the documents that the services are tested against; schemas and examples are those of the tests.</p><ul>"
            + "".join(f"<li>{link('/docs/' + name, escape(text))}</li>" for name, text in rows)
            + "</ul><h2>For machines</h2><ul>" + "".join(f"<li>{link('/docs/' + name, code(name))} ({text})</li>" for name, text in files)
            + "</ul><p>They name schemas and examples by addresses beside their own, which are here, too.</p>")


def error_target(target):
    """Where a link of docs/errors leads; what leads to other documents stays text: they are not served."""
    if target == "README.md":
        return "/docs/errors"
    is_error = target.endswith(".md") and "/" not in target
    return f"/docs/errors/{target.removesuffix('.md')}" if is_error else None


def runbook_target(target):
    """The same of docs/runbooks, which name errors, too."""
    page = target.partition("#")[0]
    if page.startswith("../errors/"):
        return error_target(page.removeprefix("../errors/"))
    if page == "README.md":
        return "/docs/runbooks"
    return f"/docs/runbooks/{page.removesuffix('.md')}" if page.endswith(".md") and "/" not in page else None


def write_pages(folder, here, title, target_of):
    """Those of a folder of docs/, its index by the folder's name."""
    for path in sorted((ROOT / "docs" / here).glob("*.md")):
        is_index = path.stem == "README"
        write(folder, here if is_index else f"{here}/{path.stem}", title if is_index else path.stem, here,
              markup.page(path.read_text(), target_of))


def main(folder):
    folder.mkdir(parents=True)
    rest_root, messages_root = load("openapi.yaml"), load("asyncapi.yaml")
    rest = Rest(PROTO, rest_root, Schemas(PROTO, rest_root))
    messages = Messages(PROTO, messages_root, Schemas(PROTO, messages_root), rest)
    write(folder, "index", "API reference", "", overview(rest, messages))
    write(folder, "rest", "REST", "rest", rest.page(), rest.contents())
    write(folder, "websocket", "WebSocket", "websocket", messages.page("WebSocket", True), messages.contents(True))
    write(folder, "broker", "Broker", "broker", messages.page("Broker", False), messages.contents(False))
    write_pages(folder, "errors", "Errors", error_target)
    write_pages(folder, "runbooks", "Runbooks", runbook_target)
    for name in ("openapi.yaml", "asyncapi.yaml"):
        shutil.copy(PROTO / name, folder)
    for name in ("schemas", "examples"):
        shutil.copytree(PROTO / name, folder / name)
    for name in ("style.css", "page.js"):
        shutil.copy(HERE / name, folder)
    shutil.copy(ROOT / "services" / "session_api" / "console" / "icon.svg", folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))

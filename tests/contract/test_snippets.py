"""What the documents show to be pasted, as far as it can be judged without running it: HTTP requests and curl lines go to operations that
there are, with bodies that fit; settings are taken by the services; names of settings and make's targets exist; each page is in the index.
What is run: tests/e2e/test_how_to.py, test_first_minutes.py, test_consume.py; whose types are checked: test_client_readmes.py."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import jwt
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from documents import PROTO, OpenApi  # noqa: E402

ROOT = PROTO.parent
BINARIES = ROOT / os.environ.get("HANDOFF_BUILD", "build/gcc") / "bin"
SERVICES = sorted(p.parent.name for p in (ROOT / "services").glob("*/main.c"))
API = OpenApi()
PAGES = {str(p.relative_to(ROOT)): p.read_text() for p in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")),
                                                           *ROOT.glob("clients/*/README.md"), *ROOT.glob("examples/**/README.md")]}
ID = "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
ADMIN = {"/health", "/ready", "/metrics"}
OURS = re.compile(r"^(?:https?://)?(?:localhost|127\.0\.0\.1):(80[08][0-9]|910[0-3]|\$port)(/[^?#]*)?")


def blocks(text):
    """Those that are fenced, [(info, content)], and those that are indented, with ""."""
    fenced = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S)
    rest = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return fenced + [("", re.sub(r"^    ", "", part, flags=re.M).lstrip("\n")) for part in re.findall(r"(?:^    .*\n|^\n(?=    ))+", rest, re.M)]


def with_ids(path):
    """A path as it is when its placeholders are filled in: <id>, $SESSION, 01a1fc3a-…"""
    path = re.sub(r"<id>|\$\{?SESSION\}?|\{id\}|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]+…?", ID, path)
    return re.sub(r"/clock/\w+$", "/clock/white", path)


# ---- HTTP requests, as PROTOCOL.md shows them ----

def requests():
    for name, text in PAGES.items():
        for info, block in blocks(text):
            match = re.match(r"(GET|POST|PATCH|PUT|DELETE) (/\S+)(?: HTTP/1\.1)?\n((?:[A-Z][\w-]+: .*\n)*)(?:\n(\{.*\})\n)?", block)
            if match:
                yield name, match[1], match[2], dict(line.split(": ", 1) for line in match[3].splitlines()), match[4]


@pytest.mark.parametrize("name, method, path, headers, body", requests())
def test_a_request_that_is_shown_fits_its_operation(name, method, path, headers, body):
    template = API.path_of(with_ids(path.partition("?")[0]))
    operation = API.root["paths"][template][method.lower()]
    known = {API.resolve(p)["name"].lower() for p in API.root["paths"][template].get("parameters", []) + operation.get("parameters", [])}
    assert {header.lower() for header in headers} <= known | {"content-type", "authorization"}, headers
    if body:
        media = operation["requestBody"]["content"][headers.get("Content-Type", "application/json")]
        assert not API.errors(media["schema"], json.loads(body)), body


def test_there_are_such_requests():
    assert len(list(requests())) >= 6


# ---- curl ----

def curls():
    for name, text in PAGES.items():
        for info, block in blocks(text):
            for line in block.replace("\\\n", " ").splitlines():
                for command in re.findall(r"(?<![\w-])curl .*?(?= \| | ; |; |\)\"|$)", line):
                    if OURS.search(next((word for word in words_of(command) if OURS.match(word)), "")):
                        yield name, command


def words_of(command):
    try:
        return shlex.split(command)
    except ValueError:  # cut within quotes, in the middle of $(…)
        return shlex.split(command.replace('"', "").replace("'", ""))


@pytest.mark.parametrize("name, command", curls(), ids=lambda v: v[:60])
def test_a_curl_line_asks_for_what_there_is(name, command):
    words = words_of(command)
    port, path = next(OURS.match(word) for word in words if OURS.match(word)).groups()
    path = with_ids(path or "/")
    if port.startswith("91") or port == "$port":
        assert path in ADMIN
        return
    if path == "/docs" or port == "8090":
        return
    template = API.path_of(path)
    assert template, path
    data = next((words[i + 1] for i, word in enumerate(words) if word in ("-d", "--data")), None)
    method = next((words[i + 1] for i, word in enumerate(words) if word == "-X"), "POST" if data else "GET")
    operation = API.root["paths"][template][method.lower()]
    if data and "{}" not in data.replace(" ", "") and data.startswith("{"):
        content = operation["requestBody"]["content"]
        media = next((m for m in content if f"Content-Type: {m}" in command), None)
        assert media, f"no Content-Type that it takes: {command}"
        assert not API.errors(content[media]["schema"], json.loads(data)), command


def test_there_are_such_lines():
    assert len(list(curls())) >= 15


# ---- settings ----

def known_settings():
    """{name: the services that have it}; with _FILE where that may be."""
    found = {}
    for name, star, users in re.findall(r"^## (HANDOFF_\w+)( \*)?\n.*?- Used by: ([^\n]+)", (ROOT / "docs" / "CONFIG.md").read_text(), re.M | re.S):
        for known in (name, f"{name}_FILE") if star else (name,):
            found[known] = SERVICES if users == "all" else users.split(", ")
    return found


SETTINGS = known_settings()


def other_names():
    """What compose, the tests, the examples of consumers and the build take from the environment."""
    files = [ROOT / "Makefile", ROOT / "compose" / "compose.yaml", *(ROOT / "docs" / "consume").glob("[sS]essions.*")]
    files += [p for folder in ("tests", "compose/local", "base") for p in (ROOT / folder).rglob("*")
              if p.suffix in (".py", ".c", ".h", ".mjs") and "node_modules" not in p.parts]
    return set(re.findall(r"HANDOFF_[A-Z0-9_]*[A-Z0-9]", "\n".join(p.read_text() for p in files)))


def test_every_setting_that_is_named_exists():
    others = other_names()
    wrong = [(name, setting) for name, text in PAGES.items() if name != "docs/CONFIG.md"
             for setting in re.findall(r"\bHANDOFF_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_…])", text) if setting not in SETTINGS and setting not in others]
    assert not wrong


# What goes into compose/.env is for compose.yaml, not for the services.
OF_COMPOSE = set(re.findall(r"\$\{(HANDOFF_\w+)", (ROOT / "compose" / "compose.yaml").read_text()))


def settings_blocks():
    for name, text in PAGES.items():
        if not name.startswith("docs/how-to/"):
            continue
        for info, block in blocks(text):
            given = dict(re.findall(r"^(HANDOFF_\w+)=(\S*)$", block, re.M))
            if given and not set(given) <= OF_COMPOSE:
                yield name, given


@pytest.mark.parametrize("name, given", settings_blocks(), ids=lambda v: v if isinstance(v, str) else next(iter(v)))
def test_settings_are_taken_by_the_services(name, given, tmp_path):
    (tmp_path / "secret").write_text(64 * "x")
    given = {setting: str(tmp_path / "secret") if setting.endswith("_FILE") else value for setting, value in given.items()}
    assert set(given) <= set(SETTINGS)
    for service in SERVICES:
        own = {setting: value for setting, value in given.items() if service in SETTINGS[setting]}
        needed = {} if "HANDOFF_JWKS_URL" in own or "HANDOFF_JWT_SECRET_FILE" in own else {"HANDOFF_JWT_SECRET": 64 * "x"}
        done = subprocess.run([BINARIES / service, "--check-config"], env={"PATH": os.environ["PATH"], **needed, **own}, capture_output=True, text=True)
        assert done.returncode == 0, (service, done.stderr)


# ---- C ----

@pytest.mark.parametrize("name, block", [(name, block) for name, text in PAGES.items() for info, block in blocks(text) if info == "c"])
def test_c_compiles(name, block, tmp_path):
    """Functions stand for themselves; what is behind the last one is of an app's main, which has a token and something to count."""
    functions, end, rest = block.rpartition("\n}\n")
    assert functions and rest
    app = "int main(void) {\nextern bool something_to_count;\nextern char token[];\nstruct handoff_error error;\n"
    (tmp_path / "shown.c").write_text(f"#include <stdio.h>\n{functions}{end}{app}{rest}}}\n")
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    done = subprocess.run([*compiler, "-std=c17", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-fsyntax-only",
                           "-I", (ROOT / name).parent, tmp_path / "shown.c"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_kind_of_block_is_looked_at():
    """js, jsx, ts, tsx and html by tests/e2e/test_client_readmes.py, and what Chromium opens: another page's would be looked at by nobody."""
    looked_at = {"c": {"clients/c/README.md"}, "jsx": {"clients/react/README.md"}, "tsx": {"clients/react/README.md"}, "ts": {"clients/js/README.md"},
                 "js": {"clients/js/README.md", "docs/tutorial.md"}, "html": {"README.md", "clients/js/README.md", "docs/tutorial.md"}}
    for kind in ("c", "js", "jsx", "ts", "tsx", "html", "python", "bash"):
        assert {name for name, text in PAGES.items() for info, _ in blocks(text) if info == kind} == looked_at.get(kind, set()), kind


# ---- consumers of events ----

PROGRAMS = [path for path in (ROOT / "docs" / "consume").iterdir() if path.stem.lower() == "follow"]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda v: v.name)
def test_a_program_that_follows_events_has_twenty_lines(program):
    first, *lines = program.read_text().splitlines()
    assert first.startswith(("//", '"""')) and len(lines) <= 20 and max(map(len, lines)) <= 130
    page = PAGES["docs/consume/README.md"]
    beside = program.with_stem("Sessions" if program.stem == "Follow" else "sessions")
    assert beside.exists() and all(f"| [{path.name}]({path.name}) |" in page for path in (program, beside))


def test_there_are_such_programs():
    assert {path.suffix for path in PROGRAMS} == {".py", ".mjs", ".go", ".java"}


# ---- names ----

def test_targets_of_make_exist():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    wrong = [(name, target) for name, text in PAGES.items() for info, block in blocks(text) if info in ("", "sh", "sh run", "bash")
             for target in re.findall(r"^(?:.*\$\()?make (?:-s )?([a-z][a-z-]*)", block, re.M) if target not in targets]
    assert not wrong


TOKENS = {(name, command) for name, text in PAGES.items() for command in re.findall(r"make -s token (?:[A-Z]+=(?:\"[^\"]*\"|[\w:-]+) ?)+", text)}


@pytest.mark.parametrize("name, command", sorted(TOKENS))
def test_make_gives_the_token_that_is_shown(name, command, tmp_path):
    (tmp_path / "jwt.secret").write_text(64 * "x")
    done = subprocess.run(shlex.split(command), cwd=ROOT, env={**os.environ, "HANDOFF_RUN": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    claims = jwt.decode(done.stdout.strip(), 64 * "x", algorithms=["HS256"])
    asked = dict(word.split("=", 1) for word in shlex.split(command)[3:])
    assert {"USER": claims["sub"], **({"DEVICE": claims["device_id"]} if "device_id" in claims else {}),
            **({"SCOPE": claims["scope"]} if "scope" in claims else {})} == asked


def test_there_are_such_tokens():
    assert len(TOKENS) >= 6


def test_metrics_that_a_how_to_names_exist():
    known = set(re.findall(r"`(handoff_\w+)`", (ROOT / "docs" / "operations" / "metrics.md").read_text()))
    wrong = [(name, metric) for name, text in PAGES.items() if name.startswith(("docs/how-to/", "docs/runbooks/"))
             for metric in re.findall(r"`(handoff_\w+)", text) if re.sub("_(bucket|sum|count)$", "", metric) not in known]
    assert not wrong


def test_every_page_is_in_the_index():
    """By itself, or by its folder's own index."""
    index = (ROOT / "docs" / "README.md").read_text()
    linked = {str((ROOT / "docs" / target).resolve().relative_to(ROOT)) for target in re.findall(r"\]\(([^)#\s]+)", index) if "://" not in target}
    folders = ("docs/errors/", "docs/runbooks/", "docs/decisions/", "docs/operations/")
    assert {name for name in PAGES if name.startswith("docs/") and not name.startswith(folders)} - linked == {"docs/README.md"}
    for folder in folders:
        assert f"{folder}README.md" in linked
    for folder in folders:
        own = (ROOT / folder / "README.md").read_text()
        assert [name for name in PAGES if name.startswith(folder) and f"({name.removeprefix(folder)})" not in own] == [f"{folder}README.md"]


def test_json_blocks_are_whole():
    n = 0
    for name, text in PAGES.items():
        for info, block in blocks(text):
            if info == "json":
                json.loads(block)
                n += 1
            assert info in ("", "sh", "sh run", "env", "yaml", "json", "html", "js", "ts", "tsx", "jsx", "bash", "c", "python"), (name, info)
    assert n > 10

"""clients/js and clients/react: compiled, of the promised size, its own tests passed against the real services. Each of node's tests is one here."""

import gzip
import json
import os
import pathlib
import re
import subprocess

import pytest

from harness import SECRET, free_ports

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CLIENTS = ROOT / "clients"
CLIENT = CLIENTS / "js"
MAX_GZIPPED = 15 * 1024


@pytest.fixture(scope="module")
def compiled():
    assert (CLIENTS / "react" / "dist" / ".built").exists(), "run `make client-js` first"
    return CLIENT / "dist"


def run_node(test, folder=CLIENT, **env):
    done = subprocess.run(["node", "--test", test], cwd=folder, env={**os.environ, **env},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    counts = {name: int(n) for name, n in re.findall(r"^(?:#|ℹ) (pass|fail|cancelled) (\d+)$", done.stdout, re.MULTILINE)}
    assert done.returncode == 0 and counts.get("fail") == 0 and counts.get("cancelled") == 0, done.stdout
    assert counts["pass"] > 0


@pytest.mark.parametrize("test", ["pure", "parts"])
def test_without_a_server(compiled, test):
    run_node(f"test/{test}.test.mjs")


def stack_of(api, fanout):
    sockets = fanout.ws_url.replace("ws://", "http://").removesuffix("/ws")
    return {"HANDOFF_API_URL": api.api_url, "HANDOFF_SOCKET_URL": sockets, "HANDOFF_SECRET": SECRET}


@pytest.fixture
def stack(suite):
    return stack_of(suite, suite)


def test_against_the_services(compiled, stack):
    run_node("test/live.test.mjs", **stack)


def test_react_hooks(compiled, stack):
    run_node("test/hooks.test.cjs", CLIENTS / "react", NODE_PATH="/usr/share/nodejs", **stack)


def test_in_a_browser(compiled, own_api, own_fanout):
    """Pages come from an origin of their own, which has to be allowed."""
    port = free_ports(1)[0]
    allowed = {"HANDOFF_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}"}
    env = stack_of(own_api(**allowed), own_fanout(**allowed))
    run_node("client.test.mjs", ROOT / "tests" / "browser", HANDOFF_SITE_PORT=str(port), **env)


def test_it_is_small(compiled):
    code = b"".join(path.read_bytes() for path in sorted((compiled / "esm").glob("*.js")))
    assert len(gzip.compress(code, 9)) <= MAX_GZIPPED


def test_its_types_are_those_of_the_schemas():
    made = subprocess.run([ROOT / "tools" / "schema-types"], stdout=subprocess.PIPE, text=True, check=True).stdout
    committed = (CLIENT / "src" / "schemas.ts").read_text()
    assert made == committed, "run: tools/schema-types > clients/js/src/schemas.ts"


@pytest.mark.parametrize("name", ["js", "react"])
def test_what_is_published(compiled, name):
    """All that package.json names, nothing else but what it needs."""
    folder = CLIENTS / name
    package = json.loads((folder / "package.json").read_text())
    done = subprocess.run(["npm", "pack", "--dry-run", "--json", "--ignore-scripts"], cwd=folder, stdout=subprocess.PIPE, check=True)
    (packed,) = json.loads(done.stdout)
    files = {file["path"] for file in packed["files"]}
    named = {path for way in package["exports"]["."].values() for path in way.values()}
    named |= {package["main"], package["module"], package["types"]}
    assert {path.removeprefix("./") for path in named} <= files
    sources = {path.stem for path in (folder / "src").glob("*.ts") if not path.name.endswith(".d.ts")}
    compiled_files = {f"dist/{kind}/{source}.{suffix}" for kind in ("esm", "cjs") for source in sources for suffix in ("js", "d.ts")}
    assert files == compiled_files | {"dist/esm/package.json", "dist/cjs/package.json", "package.json", "README.md"}
    assert package["sideEffects"] is False and package["engines"]["node"] == ">=20" and not package.get("dependencies")


def test_it_is_there_for_require_too(compiled):
    done = subprocess.run(["node", "-e", f"console.log(typeof require({str(CLIENT)!r}).Handoff)"], stdout=subprocess.PIPE, text=True,
                          check=True)
    assert done.stdout.strip() == "function"

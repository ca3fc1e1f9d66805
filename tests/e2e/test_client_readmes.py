"""What the READMEs of clients/js and clients/react show fits the clients' types. (The first page of clients/js is opened in Chromium, too:
tests/browser/examples.test.mjs.)"""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

CLIENTS = pathlib.Path(__file__).resolve().parents[2] / "clients"
AROUND = """import type { HandoffOptions } from "@handoff/client";
declare global {
  const Handoff: typeof import("@handoff/client").Handoff;
  const usePatch: typeof import("@handoff/react").usePatch;
  const useSession: typeof import("@handoff/react").useSession;
  const handoff: import("@handoff/client").Handoff;
  const session: import("@handoff/client").Session;
  const getToken: HandoffOptions["getToken"];
  const api: string, code: string, id: string, image: HTMLElement;
}
"""
WRONG = "// @ts-expect-error: the types are there, and are looked at\nhandoff.opens(id);\n"
OPTIONS = {"target": "ES2022", "module": "ES2022", "moduleResolution": "node", "lib": ["ES2022", "DOM", "DOM.Iterable"], "types": [],
           "noEmit": True, "allowJs": True, "checkJs": True, "jsx": "preserve", "skipLibCheck": True, "baseUrl": ".",
           "paths": {"@handoff/client": ["client/index"], "@handoff/react": ["react/index"], "react": ["/usr/share/nodejs/@types/react"]}}


def shown(*languages):
    """[(language, code)]: each is a module of its own, and what is done on another device is one more."""
    for name in ("js", "react"):
        for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", (CLIENTS / name / "README.md").read_text(), re.M | re.S):
            code = re.search(r'<script type="module">\n(.*?)</script>', block, re.S)[1] if language == "html" else block
            if language in languages:
                yield from (("js" if language == "html" else language, part) for part in code.split("// there:\n"))


def check_types(folder, blocks, strict):
    (folder / "around.d.ts").write_text(AROUND)
    for i, (language, code) in enumerate([*blocks, ("ts", WRONG)]):
        (folder / f"shown{i}.{language}").write_text(code + "export {};\n")
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": {**OPTIONS, "strict": strict}, "include": ["shown*", "around.d.ts"]}))
    done = subprocess.run(["tsc", "-p", folder], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def folder(tmp_path):
    for name, called in (("js", "client"), ("react", "react")):
        shutil.copytree(CLIENTS / name / "dist" / "esm", tmp_path / called)
    return tmp_path


def test_typescript(folder):
    blocks = list(shown("ts", "tsx"))
    assert len(blocks) >= 2
    check_types(folder, blocks, strict=True)


def test_javascript(folder):
    """Where nobody says what a session's data is, it may be anything."""
    path = folder / "client" / "json.d.ts"
    text, n = re.subn(r"type Json = .*?\n};", "type Json = any;", path.read_text(), flags=re.S)
    assert n == 1
    path.write_text(text)
    blocks = list(shown("html", "js", "jsx"))
    assert len(blocks) >= 5
    check_types(folder, blocks, strict=False)

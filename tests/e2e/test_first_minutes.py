"""make dev, as a newcomer meets it: what it prints is there, what the README shows is what it prints, what can be pasted works when it is
pasted, the examples and the tutorial's app do in Chromium what they say, and Ctrl-C leaves nothing behind. On ports of its own."""

import json
import os
import pathlib
import re
import signal
import subprocess

import dev
import dev_stack as dev_stacks
import pytest
import requests
from process import free_ports
from test_client_js import run_node

from harness import BUILD, MAX_WAIT, Socket

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
README = (ROOT / "README.md").read_text()
MAX_LINES, MAX_LINE = 150, 190  # of an example, with the style sheet that they share


@pytest.fixture(scope="module")
def dev_stack():
    with dev_stacks.running() as stack:
        yield stack


def here(stack, text):
    """Commands of the README, at this stack's addresses."""
    return text.replace("localhost:8080", f"localhost:{stack.ports['REST']}").replace("localhost:8081", f"localhost:{stack.ports['WebSocket']}")


def paste(stack, text, cwd=ROOT):
    done = subprocess.run(["bash", "-ec", text], cwd=cwd, env=stack.env, capture_output=True, text=True, timeout=MAX_WAIT)
    assert done.returncode == 0, (text, done.stdout, done.stderr)
    return done.stdout


def said_token(stack):
    return re.search(r"^  token +(\S+)$", stack.said, re.M)[1]


# ---- what it prints ----

def test_the_curl_line_works_when_pasted_anywhere(dev_stack, tmp_path):
    line = re.search(r"^  (curl .*)$", dev_stack.said, re.M)[1]
    answer = json.loads(paste(dev_stack, line, tmp_path))
    page = re.search(r"^Open (\S+) in two windows", dev_stack.said, re.M)[1]
    assert page == f"{dev_stack.examples}/#{answer['id']}"
    session = requests.get(f"{dev_stack.api}/sessions/{answer['id']}", headers={"Authorization": f"Bearer {said_token(dev_stack)}"}).json()
    assert session["data"] == {"progress": 75} and session["modifiedBy"] == "terminal"


def test_its_addresses_answer(dev_stack):
    for path in ("/", "/meditation/", "/chess/", "/todo/", "/style.css", "/client/index.js"):
        assert requests.get(dev_stack.examples + path).status_code == 200, path
    assert requests.get(f"http://127.0.0.1:{dev_stack.ports['admin']}/metrics").status_code == 200
    with Socket(f"ws://127.0.0.1:{dev_stack.ports['WebSocket']}/ws", header=[f"Authorization: Bearer {said_token(dev_stack)}"]) as socket:
        socket.expect("hello")
    logs = re.search(r"^  logs +(\S+)$", dev_stack.said, re.M)[1]
    assert {p.name for p in (ROOT / logs).iterdir()} == {f"{s}.log" for s in ("session_api", "state_engine", "ws_fanout", "audit_writer")}


def test_the_console_and_the_qr_code_are_there_when_this_build_has_them(dev_stack):
    known = dev.settings_of(BUILD / "bin" / "session_api")
    console = re.search(r"^  console +(\S+)$", dev_stack.said, re.M)
    assert bool(console) == ("HANDOFF_CONSOLE" in known)
    if console:
        page = requests.get(console[1])
        assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html")
    qr = re.search(r"^Go on with it on another device .*:\n\n((?:.*[█▀▄].*\n)+)", dev_stack.said, re.M)
    assert bool(qr) == ("HANDOFF_CODE_URL" in known)
    if qr:
        assert len(qr[1].splitlines()) >= 12


def test_pages_of_any_port_of_this_machine_may_call_and_no_others(dev_stack):
    header = [f"Authorization: Bearer {said_token(dev_stack)}"]
    socket_url = f"ws://127.0.0.1:{dev_stack.ports['WebSocket']}/ws"
    for origin in ("http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:1", "http://localhost"):
        assert requests.get(f"{dev_stack.api}/time", headers={"Origin": origin}).headers["Access-Control-Allow-Origin"] == origin
        with Socket(socket_url, header=header, origin=origin) as socket:
            socket.expect("hello")
    for origin in ("http://evil.example:3000", "http://localhost.evil.example:3000", "http://localhost:99999", "https://localhost:3000"):
        assert "Access-Control-Allow-Origin" not in requests.get(f"{dev_stack.api}/time", headers={"Origin": origin}).headers
        with pytest.raises(Exception, match="403"):
            Socket(socket_url, header=header, origin=origin)


def test_secrets_are_for_their_owner(dev_stack):
    for name in ("session-token.pem", "jwt.secret", "servers.secret"):
        assert (dev_stack.folder / name).stat().st_mode & 0o777 == 0o600, name
    key = subprocess.run(["openssl", "pkey", "-in", dev_stack.folder / "session-token.pem", "-noout", "-text"], capture_output=True, text=True)
    assert "prime256v1" in key.stdout


# ---- the examples' server ----

def test_tokens_are_given_to_pages_of_this_machine_only(dev_stack):
    def ask(query, **headers):
        return requests.get(f"{dev_stack.examples}/token?{query}", headers=headers)

    own = ask("user=alice&device=phone", Origin="http://localhost:3000")
    assert own.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    listed = requests.get(f"{dev_stack.api}/sessions", headers={"Authorization": f"Bearer {own.text}"})
    assert listed.status_code == 200 and listed.json()["items"]
    assert "Access-Control-Allow-Origin" not in ask("user=alice", Origin="http://evil.example").headers
    assert ask("user=alice", Host="evil.example").status_code == 403
    assert ask("user=alice", Host=f"localhost.evil.example:{dev_stack.ports['examples']}").status_code == 403
    for bad in ("", "user=", "user=" + 129 * "a", "user=alice&device=a b", "user=alice&device=" + 129 * "a"):
        assert ask(bad).status_code == 400, bad
    assert ask("user=" + 128 * "a").status_code == 200


@pytest.mark.parametrize("path", ["/../Makefile", "/client/../../../../Makefile", "/%2e%2e/Makefile", "/client/%2e%2e/package.json", "//etc/passwd",
                                  "/client/", "/chess/.."])
def test_nothing_but_the_examples_is_served(dev_stack, path):
    raw = subprocess.run(["curl", "-s", "--path-as-is", dev_stack.examples + path], capture_output=True, text=True).stdout
    assert "PACKAGES" not in raw and "root:" not in raw and "Directory listing" not in raw and '"version"' not in raw


# ---- make dev HOST=… ----

def test_with_a_host_its_pages_may_call_too_and_codes_lead_there(tmp_path):
    service = BUILD / "bin" / "session_api"
    more = dev.environment(tmp_path, BUILD / "bin", "192.168.1.5", 8080, 8090)
    env = {"HANDOFF_JWT_SECRET": 32 * "x", **more[None], **more["session_api"]}
    checked = subprocess.run([service, "--check-config"], env=env, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert env["HANDOFF_ALLOWED_ORIGINS"].split(",")[-2:] == ["http://192.168.1.5:8080", "http://192.168.1.5:8090"]
    assert "HANDOFF_CODE_URL" not in dev.settings_of(service) or env["HANDOFF_CODE_URL"] == "http://192.168.1.5:8080/#code={code}"
    for bad in ("", "a b", "http://a", "a:80", "a/", "*", "-a", "a,http://evil.example"):
        with pytest.raises(ValueError):
            dev.host_name(bad)


def test_with_a_host_the_examples_are_for_its_pages_and_this_machines(dev_stack):
    [port] = free_ports(1)
    examples = dev.Examples(dev_stack.folder, port, "host.test")
    examples.start()
    try:
        for host, status in ((f"host.test:{port}", 200), (f"localhost:{port}", 200), ("host.test", 403), (f"hostxtest:{port}", 403),
                             (f"evil.host.test:{port}", 403)):
            assert requests.get(f"http://127.0.0.1:{port}/token?user=alice", headers={"Host": host}).status_code == status, host
        for origin, may in (("http://host.test:" + str(port), True), ("http://localhost:3000", True), ("http://host.test:1", False)):
            answer = requests.get(f"http://127.0.0.1:{port}/token?user=alice", headers={"Origin": origin})
            assert ("Access-Control-Allow-Origin" in answer.headers) == may, origin
    finally:
        examples.stop()


# ---- the examples ----

def test_the_examples_and_the_tutorial_in_chromium(dev_stack):
    ports = {"API": "REST", "SOCKET": "WebSocket", "EXAMPLES": "examples"}
    run_node("examples.test.mjs", ROOT / "tests" / "browser",
             **{f"HANDOFF_{name}_PORT": str(dev_stack.ports[what]) for name, what in ports.items()})


def test_each_example_is_short():
    shared = (EXAMPLES / "style.css").read_text().splitlines()
    pages = sorted(EXAMPLES.glob("*/index.html"))
    assert [page.parent.name for page in pages] == ["chess", "meditation", "todo"]
    for page in pages:
        lines = shared + page.read_text().splitlines()
        assert len(lines) < MAX_LINES and max(map(len, lines)) <= MAX_LINE, page
        assert (page.parent / "README.md").exists()


# ---- the README ----

def blocks(text):
    """Its indented blocks."""
    return re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.M)


def section(title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.M | re.S)[1]


def masked(text, ports=None):
    """Without what differs from run to run."""
    for what, port in {"REST": 8080, "WebSocket": 8081, "examples": 8090}.items():
        text = text.replace(f":{ports[what] if ports else port}", f":{what}")
    admin = ports["admin"] if ports else 9100
    text = text.replace(f":{admin}-{admin + 3}/", ":admin/")
    text = re.sub(r"eyJ[\w.-]+…?[\w.-]*", "TOKEN", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\d\d:\d\d:\d\d", "TIME", text)
    return [line.strip() for line in re.sub(r"(?m)^( +logs +)\S+$", r"\1LOGS", text).splitlines() if line.strip()]


def is_code(line):
    return set(line) <= set(" █▀▄")


def test_the_readme_shows_what_it_prints(dev_stack):
    [shown] = [b for b in blocks(section("The first five minutes")) if "handoff is ready" in b]
    said = iter(masked(dev_stack.said, dev_stack.ports))
    lines = [line for line in masked(shown) if not is_code(line)]
    assert len(lines) >= 8
    for line in lines:
        assert line in said, f"the README shows what is not printed there: {line}"


def test_the_readme_has_the_twenty_lines(dev_stack):
    [html] = re.findall(r"```html\n(.*?)```", README, re.S)
    assert html == (ROOT / "examples" / "index.html").read_text()
    assert len(html.splitlines()) == 20
    assert requests.get(dev_stack.examples + "/").text == html


def test_the_readmes_commands_work_when_pasted(dev_stack):
    """Those of a shell, in their order; what is watched in a third terminal is watched meanwhile."""
    given, phone, watch, laptop = (here(dev_stack, b) for b in blocks(section("From a shell"))[1:5])
    session = json.loads(paste(dev_stack, given).splitlines()[-1])
    assert (session["status"], session["data"]) == ("active", {"progress": 0})
    login = re.search(r"^ *TOKEN=.*$", given, re.M)[0].strip() + "\n"
    with subprocess.Popen(["bash", "-ec", login + watch.replace("<id>", session["id"])], cwd=ROOT, env=dev_stack.env, stdout=subprocess.PIPE,
                          text=True, start_new_session=True) as events:
        try:
            next(line for line in events.stdout if "state_sync" in line)
            assert json.loads(paste(dev_stack, login + phone.replace("<id>", session["id"])))["version"] == 2
            next(line for line in events.stdout if "state_delta" in line)
        finally:
            os.killpg(events.pid, signal.SIGTERM)
    gone_on = json.loads(paste(dev_stack, laptop.replace("<id>", session["id"])))
    assert (gone_on["activeDeviceId"], gone_on["data"]) == ("laptop", {"progress": 75})


def test_what_the_readme_lets_make_do_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake (?:-s )?([a-z][a-z-]+)\b", " ".join(re.findall(r"`[^`]*`|^    .*$", README, re.M)))) - {"git"}
    assert {"dev", "run", "test", "demo", "token"} <= named
    assert named <= targets, named - targets

"""make dev: what a developer gets on top of `make run`: pages of any port of this machine may call, devices without a
login get tokens, the console and the examples are served; and the first things to try are printed.

usage: dev.py, while the local stack runs: another QR code (make qr).
"""

import os
import pathlib
import re
import subprocess
import sys
import time

import requests

from make_token import make, secret
from process import StartError, accepts, spawn, stop, wait_until

HERE = pathlib.Path(__file__).resolve().parent
USER, DEVICE = "alice", "terminal"
HELLO = {"name": "Hello", "type": "hello", "ttlSeconds": 30 * 86400, "data": {"progress": 0}}
CODE_SECONDS = 300
CONSOLE = "HANDOFF_CONSOLE"
LOOPBACK_ORIGINS = ",".join(f"http://{host}:*" for host in ("localhost", "127.0.0.1", "[::1]"))


def host_name(text):
    """A name or an IPv4 address, as it may stand in a URL and in an Origin."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", text):
        raise ValueError(text)
    return text


def settings_of(service):
    """The names of all settings that this build knows, of all services."""
    markdown = subprocess.run([service, "--config-markdown"], capture_output=True, text=True, check=True).stdout
    return {line.removeprefix("## ").split()[0] for line in markdown.splitlines() if line.startswith("## ")}


def openssl(*arguments):
    try:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, umask=0o077)
    except (OSError, subprocess.CalledProcessError) as e:
        raise StartError(f"openssl {arguments[0]}: {getattr(e, 'stderr', b'').decode() or e}") from e


def token_key(run):
    """The key that session tokens are signed with, and what they are verified with; made at the first run."""
    private, public = run / "session-token.pem", run / "session-token.public.pem"
    if not private.exists():
        made = private.with_suffix(".new")  # a run that was interrupted leaves no half of a key
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", made)
        made.rename(private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


def origins(host, ports):
    """Of pages that may call: any port of this machine; of its address on a network the console's and the examples'."""
    return ",".join([LOOPBACK_ORIGINS] + [f"http://{host}:{port}" for port in ports if host != "localhost"])


def environment(run, binaries, host, api_port, examples_port):
    """Settings beside those of `make run`: {service's name, or None for all: {name: value}}. host: what devices know this
    machine as."""
    known = settings_of(pathlib.Path(binaries) / "session_api")
    private, public = token_key(run)
    every = {"HANDOFF_ALLOWED_ORIGINS": origins(host, (api_port, examples_port)), CONSOLE: "on",
             "HANDOFF_CODE_URL": f"http://{host}:{api_port}/#code={{code}}",
             "HANDOFF_SESSION_TOKEN_PUBLIC_KEYS": str(public)}
    signs = {"HANDOFF_SESSION_TOKEN_KEY": str(private)}
    return {service: {name: value for name, value in env.items() if name in known}
            for service, env in ((None, every), ("session_api", signs))}


class Examples:
    """examples/, the client library and tokens, as `make examples` serves them."""

    def __init__(self, run, port, host):
        self.run, self.port, self.host, self.process = run, port, host, None

    def start(self):
        log = self.run / "examples.log"
        self.process = spawn([sys.executable, HERE / "examples.py", "--port", self.port, "--host", self.host], log=log,
                             env={**os.environ, "HANDOFF_RUN": str(self.run)})
        wait_until("examples", lambda: accepts(self.port), process=self.process, log=log)

    def stop(self):
        stop(self.process)


class Developer:
    """Alice at her terminal: what she asks of the stack."""

    def __init__(self, api, key):
        self.api, self.token = api, make(key, USER, DEVICE)

    def call(self, method, path, **more):
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return requests.request(method, self.api + path, headers=headers, timeout=10, **more)

    def session(self):
        """Her newest of the 20 lines' kind; made when there is none that goes on. The list is up to 1 s behind."""
        listed = self.call("GET", f"/sessions?type={HELLO['type']}&limit=1")
        listed.raise_for_status()
        for item in listed.json()["items"]:
            if item["status"] in ("pending", "active", "paused"):
                return item["id"]
        made = self.call("POST", "/sessions", json=HELLO)
        made.raise_for_status()
        return made.json()["id"]

    def code(self, session_id):
        """A handoff code's QR code for the terminal and until when it is good; None where the API has none."""
        path = f"/sessions/{session_id}/handoff-codes"
        made = self.call("POST", path, json={"ttlSeconds": CODE_SECONDS})
        if made.status_code != 201:
            return None
        drawn = self.call("GET", f"{path}/{made.json()['code']}", headers={"Accept": "text/plain"})
        if drawn.status_code != 200:
            return None
        drawn.encoding = "utf-8"
        return drawn.text.rstrip("\n"), made.json()["expiresAt"]

    def curl(self, session_id):
        """One line that a shell can be given anywhere on this machine."""
        return (f"curl -s {self.api}/sessions/{session_id} -X PATCH -H 'Authorization: Bearer {self.token}' "
                """-H 'Content-Type: application/merge-patch+json' -d '{"data":{"progress":75}}'""")


def local_time(moment):
    """hh:mm:ss on this machine's clock of a moment of the API."""
    utc = time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")
    return time.strftime("%H:%M:%S", time.localtime(time.mktime(utc) - time.timezone))


def print_code(code):
    qr, expires_at = code
    print(f"Go on with it on another device (good once, until {local_time(expires_at)}; `make qr` makes another):\n\n{qr}\n")


def introduce(api, sockets, examples, binaries, admin, logs):
    """Prints what there is and what to try first. api, sockets, examples: URLs without a slash at the end."""
    alice = Developer(api, secret())
    try:
        session_id = alice.session()
        code = alice.code(session_id)
    except requests.RequestException as e:
        raise StartError(f"the stack started and does not answer: {e}\nhint: {logs}") from e
    here = re.sub("//[^:/]+", "//localhost", examples)  # the twenty lines know this machine by that name
    print("\nhandoff is ready. You are alice.\n")
    if CONSOLE in settings_of(pathlib.Path(binaries) / "session_api"):
        print(f"  console    {api}/#token={alice.token}")
    print(f"  examples   {examples}/meditation/  {examples}/chess/  {examples}/todo/\n"
          f"  REST       {api}\n  WebSocket  {sockets}\n  metrics    http://127.0.0.1:{admin}/metrics\n  logs       {logs}\n"
          f"  token      {alice.token}\n\n"
          f"Open {here}/#{session_id} in two windows, and paste:\n\n  {alice.curl(session_id)}\n")
    if code:
        print_code(code)
    if "//localhost:" in api:
        print("All of it is for this machine alone; a phone gets to it after `make dev HOST=<this machine's address>`.")
    else:
        print("Whoever is on this network gets to it, and is whoever they say they are.")
    print("Ctrl-C stops all of it; the data stays for the next time.", flush=True)


def main():
    """Another QR code."""
    try:
        alice = Developer("http://localhost:8080", secret())
        code = alice.code(alice.session())
    except (OSError, requests.RequestException):
        sys.exit("error: the local stack does not answer\nhint: start it first: make dev")
    if not code:
        sys.exit("error: this build has no handoff codes")
    print_code(code)


if __name__ == "__main__":
    main()

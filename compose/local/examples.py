"""make examples: serves examples/, the compiled client library at /client/, and tokens of the local stack at
/token?user=alice&device=phone (device may be left out), to this machine alone, or with --host to its network.

An app's own server gives its own users their tokens, once they have signed in. Here nobody signs in: who may open
a page of this machine is whoever they say they are. The tokens are good for the local stack and nothing else.
"""

import argparse
import http.server
import os
import pathlib
import re
import signal
import sys
import urllib.parse

from make_token import make, secret

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES, CLIENT = ROOT / "examples", ROOT / "clients" / "js" / "dist" / "esm"
PORT = 8090
TOKEN_SECONDS = 3600
LOOPBACK = r"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?"
MAX_NAME = 128


class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}
    timeout = 15  # s, of a connection that says nothing
    hosts = LOOPBACK  # a pattern: what pages know this server as

    def translate_path(self, path):
        if path.startswith("/client/"):
            self.directory = str(CLIENT)
            return super().translate_path(path.removeprefix("/client"))
        self.directory = str(PAGES)
        return super().translate_path(path)

    def list_directory(self, path):
        self.send_error(404)

    def do_GET(self):
        # A page elsewhere whose name was made to point here must not get a token.
        if not re.fullmatch(self.hosts, self.headers.get("Host", "")):
            return self.send_error(403, "This is for pages of this machine")
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/token":
            return self.send_token(dict(urllib.parse.parse_qsl(url.query)))
        if url.path == "/favicon.ico":  # browsers ask for one by themselves
            self.send_response(204)
            return self.end_headers()
        return super().do_GET()

    do_HEAD = do_GET

    def send_token(self, query):
        user, device = query.get("user", ""), query.get("device")
        if not 0 < len(user) <= MAX_NAME or not re.fullmatch(r"[\w.:-]{1,128}", device or "-", re.ASCII):
            return self.send_error(400, "/token?user=alice, and &device=phone if you like")
        try:
            token = make(secret(), user, device, TOKEN_SECONDS).encode()
        except OSError:
            return self.send_error(503, "The local stack was not started yet: make dev")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(token)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(token)

    def end_headers(self):
        origin = self.headers.get("Origin", "") if hasattr(self, "headers") else ""
        if re.fullmatch(f"https?://(?:{self.hosts})", origin):
            self.send_header("Access-Control-Allow-Origin", origin)
        self.send_header("Vary", "Origin")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format, *args):
        pass


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=PORT)
    arguments.add_argument("--host", default="localhost")
    options = arguments.parse_args()
    at = "127.0.0.1"
    if options.host != "localhost":
        at, Handler.hosts = "0.0.0.0", f"{LOOPBACK}|{re.escape(options.host)}:{options.port}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server = http.server.ThreadingHTTPServer((at, options.port), Handler)
    except OSError as e:
        sys.exit(f"error: port {options.port} of {at}: {os.strerror(e.errno)}\nhint: `make dev` serves the examples, too")
    print(f"examples: http://localhost:{options.port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()

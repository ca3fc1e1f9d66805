"""The proxies that compose/proxy/ has files for, on these very files with other addresses, before the instances of a suite: one
origin each. reload() takes the file anew, as an operator would."""

import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "compose" / "local"))

from process import accepts, free_ports, spawn, stop, wait_until  # noqa: E402
from proxy import configuration  # noqa: E402

N_FILES = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 100_000)  # what a process may have here


def addresses(suite, name):
    return [f"127.0.0.1:{service.port}" for service in suite.instances(name)]


class Reloadable:
    """port: the origin's."""

    STARTED = ""  # in its log, as soon as it may be told to reload
    SAYS_WHAT_IT_FINDS = False  # in its log: of an instance, as "is UP" and "is DOWN"
    SETTINGS = {}  # that instances behind it need
    KEEPS_AT_RELOAD = True  # its old processes keep their WebSockets for a while

    def __init__(self, folder, suite):
        self.folder, self.suite = folder, suite
        self.folder.mkdir()
        self.log, self.process = folder / "log", None
        self.port, self.other_ports = free_ports(1)[0], free_ports(2)
        self.n_of_address = 1000  # connections

    def start(self):
        self.write()
        self.process = spawn(self.command(), log=self.log, env=self.env())
        wait_until(type(self).__name__, lambda: accepts(self.port) and self.STARTED in self.log.read_text(),
                   process=self.process, log=self.log)
        return self

    def env(self):
        return dict(os.environ)

    def stop(self):
        stop(self.process)

    def n_reloads(self):
        return len(re.findall(self.RELOADED, self.log.read_text()))

    def reload(self):
        """And until that has happened."""
        n = self.n_reloads()
        self.write()
        self.order_reload()
        wait_until("the reload", lambda: self.n_reloads() > n, process=self.process, log=self.log)


class Haproxy(Reloadable):
    STARTED = "Loading success"
    SAYS_WHAT_IT_FINDS = True
    RELOADED = r"New worker \(\d+\) forked"

    def write(self):
        binds = dict(zip(("all", "rest", "streams"), (self.port, *self.other_ports)))
        services = {name: self.suite.instances(name) for name in ("session_api", "ws_fanout")}
        text = configuration(binds, services)
        assert text.count(" gt 1000 }") == 3
        (self.folder / "haproxy.cfg").write_text(text.replace(" gt 1000 }", f" gt {self.n_of_address} }}"))

    def command(self):
        return ["haproxy", "-W", "-db", "-f", self.folder / "haproxy.cfg"]

    def order_reload(self):
        """Its master loses a signal that comes before it listens, though it has said "Loading success": until it says so."""
        n, sent = self.log.read_text().count("Reloading HAProxy"), None

        def is_heard():
            nonlocal sent
            if self.log.read_text().count("Reloading HAProxy") > n:
                return True
            if sent is None or time.monotonic() - sent > 2:
                self.process.send_signal(signal.SIGUSR2)
                sent = time.monotonic()
            return False
        wait_until("the signal to be heard", is_heard, process=self.process, log=self.log)


class Nginx(Reloadable):
    RELOADED = "gracefully shutting down"  # an old worker, once there is a new one

    def write(self):
        text = (ROOT / "compose/proxy/nginx.conf").read_text()
        for name in ("session_api", "ws_fanout"):
            servers = "".join(f"        server {a} max_fails=1 fail_timeout=2s;\n" for a in addresses(self.suite, name))
            text, n = re.subn(rf"(upstream {name} {{\n        zone {name} 64k;\n)(?:        server \S+ max_fails=1 fail_timeout=2s;\n)+", rf"\g<1>{servers}", text)
            assert n == 1, name
        temporary = "".join(f"    {kind}_temp_path {self.folder}/{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        for old, new in (("limit_conn addresses 1000;", f"limit_conn addresses {self.n_of_address};"),
                         ("        listen 8000;\n        listen [::]:8000;\n", f"        listen 127.0.0.1:{self.port};\n"),
                         ("pid /run/nginx.pid;", f"pid {self.folder}/pid;"), ("http {\n", f"http {{\n{temporary}"),
                         ("error_log /var/log/nginx/error.log notice;", "error_log stderr notice;"),
                         ("worker_rlimit_nofile 100000;", f"worker_rlimit_nofile {N_FILES};"),
                         ("worker_connections 50000;", f"worker_connections {N_FILES - 1000};"),
                         *([("user www-data;", "")] if os.geteuid() else [("user www-data;", "user root;")])):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (self.folder / "nginx.conf").write_text(text)

    def command(self):
        return ["/usr/sbin/nginx", "-g", "daemon off;", "-p", self.folder, "-c", self.folder / "nginx.conf"]

    def order_reload(self):
        self.process.send_signal(signal.SIGHUP)


class Caddy(Reloadable):
    KEEPS_AT_RELOAD = False
    SETTINGS = {"HANDOFF_DRAIN_DELAY": "3s"}
    RELOADED = '"msg":"load complete"|"msg":"serving initial configuration"'

    def write(self):
        text = (ROOT / "compose/proxy/Caddyfile").read_text()
        for old, new in (("localhost:2019", f"127.0.0.1:{self.other_ports[0]}"),
                         ("\n:8000 {", f"\n:{self.port} {{"),
                         ("to 10.0.0.11:8081 10.0.0.12:8081", "to " + " ".join(addresses(self.suite, "ws_fanout"))),
                         ("to 10.0.0.11:8080 10.0.0.12:8080", "to " + " ".join(addresses(self.suite, "session_api")))):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (self.folder / "Caddyfile").write_text(text)

    def env(self):
        return {**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}

    def command(self):
        return ["caddy", "run", "--config", self.folder / "Caddyfile", "--adapter", "caddyfile"]

    def order_reload(self):
        done = subprocess.run(["caddy", "reload", "--force", "--config", self.folder / "Caddyfile", "--adapter", "caddyfile"],
                              env=self.env(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


ALL = {"haproxy": Haproxy, "nginx": Nginx, "caddy": Caddy}

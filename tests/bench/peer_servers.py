"""What Handoff is compared with, started privately as its own servers are: free ports on loopback, folders of
their own, nothing of the system's. See README.md, "Peers"."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "compose" / "local"))  # behind: it has a run.py, too

from process import StartError, accepts, http_status, spawn, stop, wait_until  # noqa: E402

NODE = pathlib.Path(__file__).resolve().parent / "peers" / "node"
LEAST_NODE = (20, 12)
NCHAN_MODULE = "/usr/lib/nginx/modules/ngx_nchan_module.so"
QUEUE_KEYS = ("wait", "active", "delayed", "prioritized")


def _node_version():
    try:
        said = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    except OSError:
        return ()
    return tuple(map(int, re.findall(r"\d+", said)))


def check_installed():
    """A StartError says what is missing and what to do about it."""
    if _node_version() < LEAST_NODE:
        raise StartError("the peer needs Node.js %d.%d or newer as `node`, with npm" % LEAST_NODE)
    wanted = json.loads((NODE / "package-lock.json").read_text())["packages"]
    installed = NODE / "node_modules" / ".package-lock.json"
    have = json.loads(installed.read_text())["packages"] if installed.exists() else {}
    missing = [name for name, of in wanted.items()
               if name and not of.get("optional") and have.get(name, {}).get("version") != of["version"]]
    if missing:
        raise StartError(f"{len(missing)} of the peer's packages are not installed as package-lock.json has them; "
                         f"run: (cd {os.path.relpath(NODE)} && npm ci --ignore-scripts)")
    for what in ("/usr/sbin/nginx", NCHAN_MODULE, "/usr/bin/webdis"):
        if not pathlib.Path(what).exists():
            raise StartError(f"{what} is not there; run: compose/local/install tests/bench/packages.txt")


class NodePeer:
    """One process for REST and WebSocket, and with the audit one BullMQ worker."""

    def __init__(self, folder, port, redis, postgresql, jwt_secret, audit):
        self.folder, self.port, self.redis, self.audit = pathlib.Path(folder), port, redis, audit
        self.env = {**os.environ, "NODE_ENV": "production", "PEER_PORT": str(port),
                    "PEER_REDIS_PORT": str(redis.port), "PEER_REDIS_PASSWORD": redis.password,
                    "PEER_DATABASE_URL": postgresql.url, "PEER_JWT_SECRET": jwt_secret,
                    "PEER_AUDIT": "1" if audit else "0"}
        self.processes = {}  # "server", "worker"

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.audit:
            log = self._spawn("worker")
            wait_until("the peer's worker", lambda: "ready" in log.read_text(), process=self.processes["worker"],
                       log=log)
        log = self._spawn("server")
        wait_until("the peer", lambda: http_status(f"http://127.0.0.1:{self.port}/health") == 200,
                   process=self.processes["server"], log=log)
        return self

    def _spawn(self, name):
        log = self.folder / f"{name}.log"
        self.processes[name] = spawn(["node", NODE / f"{name}.js"], log=log, env=self.env)
        return log

    def n_pending(self, client):
        """Jobs that are not yet in PostgreSQL."""
        return sum(client.llen(f"bull:audit:{key}") if key in ("wait", "active") else
                   client.zcard(f"bull:audit:{key}") for key in QUEUE_KEYS) if self.audit else 0

    def stop(self):
        for process in self.processes.values():
            stop(process)


class Nchan:
    """nginx with nchan: one worker, without a master, whom it would outlive; a channel for each session."""

    def __init__(self, folder, port):
        self.folder, self.port, self.process = pathlib.Path(folder), port, None

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        config, log = self.folder / "nginx.conf", self.folder / "error.log"
        config.write_text(
            f"load_module {NCHAN_MODULE};\ndaemon off;\nmaster_process off;\nworker_rlimit_nofile 20000;\n"
            f"pid {self.folder}/pid;\nerror_log {log} warn;\n"
            + ("user root;\n" if os.geteuid() == 0 else "") +
            "events { worker_connections 10000; }\n"
            "http {\n  access_log off;\n  keepalive_requests 100000000;\n  nchan_shared_memory_size 128M;\n"
            + "".join(f"  {kind}_temp_path {self.folder}/{kind};\n"
                      for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")) +
            f"  server {{\n    listen 127.0.0.1:{self.port} backlog=4096;\n"
            "    location /pub { nchan_publisher; nchan_channel_id $arg_session; }\n"
            "    location /ws { nchan_subscriber websocket; nchan_channel_id $arg_session;\n"
            "      nchan_subscriber_first_message newest; }\n  }\n}\n")
        self.process = spawn(["/usr/sbin/nginx", "-p", self.folder, "-c", config], log=log)
        wait_until("nginx", lambda: accepts(self.port), process=self.process, log=log)
        return self

    def stop(self):
        stop(self.process)


class Webdis:
    """webdis with its package's settings, before a Redis of ours."""

    def __init__(self, folder, port, redis):
        self.folder, self.port, self.redis, self.process = pathlib.Path(folder), port, redis, None

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        config, log = self.folder / "webdis.json", self.folder / "webdis.log"
        config.write_text(json.dumps({
            "redis_host": "127.0.0.1", "redis_port": self.redis.port, "redis_auth": self.redis.password,
            "http_host": "127.0.0.1", "http_port": self.port, "threads": 2, "pool_size": 20, "daemonize": False,
            "database": 0, "verbosity": 2, "logfile": str(log)}))
        config.chmod(0o600)
        self.process = spawn(["/usr/bin/webdis", config], log=log, cwd=self.folder)
        wait_until("webdis", lambda: accepts(self.port), process=self.process, log=log)
        return self

    def stop(self):
        stop(self.process)


class PeerServers:
    """All of them, on a Redis and a PostgreSQL of their own."""

    def __init__(self, servers_class, jwt_secret, free_ports):
        self.base = servers_class(is_cluster=False)  # its RabbitMQ is not started
        self.redis, self.postgresql = self.base.redis, self.base.postgresql
        ports = free_ports(4)
        node = [NodePeer(self.base.folder / f"node{n}", ports[n], self.redis, self.postgresql, jwt_secret, audit)
                for n, audit in enumerate((True, False))]
        self.with_audit, self.without_audit = node
        self.nchan = Nchan(self.base.folder / "nchan", ports[2])
        self.webdis = Webdis(self.base.folder / "webdis", ports[3], self.redis)
        self.peers = [*node, self.nchan, self.webdis]

    def start(self):
        for server in (self.redis, self.postgresql, *self.peers):
            server.start()
        return self

    def stop(self):
        for server in (*reversed(self.peers), self.postgresql, self.redis):
            server.stop()
        shutil.rmtree(self.base.folder, ignore_errors=True)

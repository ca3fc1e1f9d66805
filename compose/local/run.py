"""make run: the whole suite on this machine, on private servers, in the foreground; with INSTANCES=2
(up to 9) so many of each service, behind haproxy.

Data and secrets stay in .run/, so that the next run goes on with them. Ctrl-C or SIGTERM stops all.
"""

import argparse
import os
import pathlib
import pwd
import signal
import subprocess
import sys
import tempfile
import time

from process import StartError, am_root, port_is_free
from proxy import Proxy
from servers import PostgreSQL, RabbitMQ, Redis
from services import NAMES, environment, instance_name, make_service, new_secret

PORTS = {
    "RabbitMQ": 5682, "RabbitMQ's distribution": 25682, "RabbitMQ's epmd": 4682,
    "Redis": 6382, "PostgreSQL": 5442, "REST": 8080, "WebSocket": 8081,
}
JOINED_PORT = 8082  # the proxy's: both at one address
MOST_INSTANCES = 9


def admin_port(name, n):
    """9100 … 9103, of the second instances 9110 … 9113, …"""
    return 9100 + 10 * (n - 1) + NAMES.index(name)


def own_ports(n, n_instances):
    """Where the n-th session_api and ws_fanout listen: the public ports, unless a proxy has them."""
    return (8080, 8081) if n_instances == 1 else (8180 + n, 8280 + n)


def all_ports(n_instances):
    """What each port is for -> the port."""
    ports = dict(PORTS)
    if n_instances > 1:
        ports["REST and WebSocket"] = JOINED_PORT
    for n in range(1, n_instances + 1):
        for name in NAMES:
            ports[f"{instance_name(name, n)} admin"] = admin_port(name, n)
        if n_instances > 1:
            own = own_ports(n, n_instances)
            ports[instance_name("session_api", n)], ports[instance_name("ws_fanout", n)] = own
    return ports


class Stopped(Exception):
    pass


def on_signal(_signal, _frame):
    raise Stopped


def check_ports(n_instances):
    taken = [f"  {port} ({what})" for what, port in all_ports(n_instances).items()
             if not port_is_free(port)]
    if taken:
        raise StartError("these ports of 127.0.0.1 are taken:\n" + "\n".join(taken) +
                         "\nhint: another `make run`, or something else, has them: "
                         "`ss -ltnp` tells which")


def secret_file(path):
    """The secret kept there; made at the first run."""
    if not path.exists():
        path.touch(0o600)
        path.write_text(new_secret() + "\n")
    return path.read_text().strip()


def can_reach(user, path):
    """Whether that user may go through every folder above path."""
    entry = pwd.getpwnam(user)
    probe = subprocess.run(["test", "-x", str(path)], user=entry.pw_uid, group=entry.pw_gid,
                           extra_groups=[])
    return probe.returncode == 0


def postgres_folder(run):
    """.run/postgresql, or what it links to in /var/tmp where the postgres user gets to."""
    folder = run / "postgresql"
    if folder.exists() or not am_root() or can_reach("postgres", run):
        return folder.resolve()
    if folder.is_symlink():
        folder.unlink()
    folder.symlink_to(tempfile.mkdtemp(prefix="handoff-postgresql-", dir="/var/tmp"))
    return folder.resolve()


def check_owner(run):
    """PostgreSQL's data and the secrets are readable for the one who made them only."""
    owner = run.stat().st_uid
    if owner != os.geteuid():
        raise StartError(f"{run} was made by another user (uid {owner})\n"
                         "hint: start it as that user, or remove that folder and the data in it")


def revision():
    git = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=40"],
                         capture_output=True, text=True)
    return git.stdout.strip() or "unknown"


class Stack:
    def __init__(self, run, binaries, n_instances):
        self.run, self.binaries, self.n_instances = run, binaries, n_instances
        self.servers, self.services = [], []

    def start(self):
        password = secret_file(self.run / "servers.secret")
        jwt_secret = secret_file(self.run / "jwt.secret")
        self.rabbitmq = rabbitmq = RabbitMQ(self.run / "rabbitmq", 5682, password, 25682, 4682)
        redis = Redis(self.run / "redis", 6382, password)
        postgresql = PostgreSQL(postgres_folder(self.run), 5442, password)
        for server in (redis, postgresql, rabbitmq):
            print(f"starting {type(server).__name__} on 127.0.0.1:{server.port} …", flush=True)
            self.servers.append(server)
            server.start()
        env = environment(redis_url=redis.url, amqp_url=rabbitmq.url, database_url=postgresql.url,
                          jwt_secret=jwt_secret, HANDOFF_LOG_FORMAT="text",
                          HANDOFF_FANOUT_BINDING="all" if self.n_instances < 3 else "session",
                          HANDOFF_CONSOLE="on",
                          HANDOFF_ALLOWED_ORIGINS="http://localhost:8080,http://127.0.0.1:8080")
        if self.n_instances > 1:
            env["HANDOFF_TRUSTED_PROXIES"] = "127.0.0.1"
        for n in range(1, self.n_instances + 1):
            self.start_services(n, env)
        for service in self.services:
            service.wait_ready()
        if self.n_instances > 1:
            print("starting haproxy …", flush=True)
            proxy = Proxy(self.run / "proxy", self.services, 8080, 8081, JOINED_PORT)
            self.servers.append(proxy)
            proxy.start()

    def start_services(self, n, env):
        api_port, ws_port = own_ports(n, self.n_instances)
        for name in NAMES:
            known_as = instance_name(name, n)
            print(f"starting {known_as} …", flush=True)
            env = dict(env, HANDOFF_AMQP_URL=self.rabbitmq.url_for(name))
            service = make_service(name, self.binaries, env, admin_port=admin_port(name, n),
                                   api_port=api_port, ws_port=ws_port, known_as=known_as)
            self.services.append(service)
            service.start()

    def watch(self):
        """Returns never, but by a signal or when a part ended by itself."""
        processes = {s.known_as: s.process for s in self.services}
        processes.update({type(s).__name__: s.process for s in self.servers})
        while True:
            for name, process in processes.items():
                if process.poll() is not None:
                    raise StartError(f"{name} ended by itself with {process.returncode}; "
                                     "its last words are above or in .run/")
            time.sleep(0.2)

    def stop(self):
        for service in reversed(self.services):
            service.stop()
        for server in reversed(self.servers):
            server.stop()


def ready_line(n_instances):
    admin = "9100-9103" if n_instances == 1 else f"9100-9103 … {admin_port(NAMES[0], n_instances)}-" \
        f"{admin_port(NAMES[-1], n_instances)}"
    return ("handoff ready: REST http://127.0.0.1:8080  WebSocket ws://127.0.0.1:8081/ws  "
            "RabbitMQ 127.0.0.1:5682  Redis 127.0.0.1:6382  PostgreSQL 127.0.0.1:5442  "
            f"metrics http://127.0.0.1:{admin}/metrics")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binaries", required=True)
    arguments.add_argument("--instances", type=int, choices=range(1, MOST_INSTANCES + 1), default=1)
    options = arguments.parse_args()
    run = pathlib.Path(".run").resolve()
    run.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    stack = Stack(run, options.binaries, options.instances)
    code = 0
    try:
        check_owner(run)
        check_ports(options.instances)
        stack.start()
        (run / "revision").write_text(revision() + "\n")
        print(ready_line(options.instances), flush=True)
        stack.watch()
    except Stopped:
        print("stopping …", flush=True)
    except StartError as e:
        print(f"error: {e}", file=sys.stderr, flush=True)
        code = 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stack.stop()
    print("stopped.", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())

"""make run: the whole suite on this machine, on private servers, in the foreground; with INSTANCES=2
(up to 9) so many of each service, behind haproxy. With --dev what a developer wants besides, see dev.py.

Data and secrets stay in .run/, so that the next run goes on with them. Ctrl-C or SIGTERM stops all.
"""

import argparse
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time

import dev
from make_token import run_folder
from process import StartError, am_root, port_is_free
from proxy import Proxy
from servers import PostgreSQL, RabbitMQ, Redis
from services import NAMES, environment, instance_name, make_service, new_secret

PORTS = {
    "RabbitMQ": 5682, "RabbitMQ's distribution": 25682, "RabbitMQ's epmd": 4682,
    "Redis": 6382, "PostgreSQL": 5442, "REST": 8080, "WebSocket": 8081,
}
JOINED_PORT = 8082  # the proxy's: both at one address
EXAMPLES_PORT = 8090
ADMIN_PORT = 9100
MOST_INSTANCES = 9


def admin_port(name, n):
    """9100 … 9103, of the second instances 9110 … 9113, …"""
    return ADMIN_PORT + 10 * (n - 1) + NAMES.index(name)


def own_ports(n, n_instances):
    """Where the n-th session_api and ws_fanout listen: the public ports, unless a proxy has them."""
    return (PORTS["REST"], PORTS["WebSocket"]) if n_instances == 1 else (8180 + n, 8280 + n)


def all_ports(n_instances, is_dev):
    """What each port is for -> the port."""
    ports = dict(PORTS)
    if is_dev:
        ports["examples"] = EXAMPLES_PORT
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


def check_ports(n_instances, is_dev):
    taken = [f"  {port} ({what})" for what, port in all_ports(n_instances, is_dev).items()
             if not port_is_free(port)]
    if taken:
        raise StartError("these ports of 127.0.0.1 are taken:\n" + "\n".join(taken) +
                         "\nhint: another `make run`, or something else, has them: "
                         "`ss -ltnp` tells which")


def own_origins():
    """Of the pages that are served here: the console's, and those of `make examples`."""
    return ",".join(f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in (PORTS["REST"], EXAMPLES_PORT))


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
    def __init__(self, run, binaries, n_instances, is_dev=False, known_at=None):
        self.run, self.binaries, self.n_instances, self.is_dev = run, binaries, n_instances, is_dev
        self.known_at = known_at or "localhost"
        self.host = "0.0.0.0" if known_at else "127.0.0.1"
        self.servers, self.services = [], []
        self.logs = run / "logs" if is_dev else None  # else the terminal

    def start(self):
        password = secret_file(self.run / "servers.secret")
        jwt_secret = secret_file(self.run / "jwt.secret")
        self.rabbitmq = rabbitmq = RabbitMQ(self.run / "rabbitmq", PORTS["RabbitMQ"], password,
                                            PORTS["RabbitMQ's distribution"], PORTS["RabbitMQ's epmd"])
        redis = Redis(self.run / "redis", PORTS["Redis"], password)
        postgresql = PostgreSQL(postgres_folder(self.run), PORTS["PostgreSQL"], password)
        for server in (redis, postgresql, rabbitmq):
            print(f"starting {type(server).__name__} on 127.0.0.1:{server.port} …", flush=True)
            self.servers.append(server)
            server.start()
        env = environment(redis_url=redis.url, amqp_url=rabbitmq.url, database_url=postgresql.url,
                          jwt_secret=jwt_secret, HANDOFF_LOG_FORMAT="text",
                          HANDOFF_FANOUT_BINDING="all" if self.n_instances < 3 else "session",
                          HANDOFF_CONSOLE="on",
                          HANDOFF_ALLOWED_ORIGINS=own_origins())
        if self.n_instances > 1:
            env["HANDOFF_TRUSTED_PROXIES"] = "127.0.0.1"
        more = dev.environment(self.run, self.binaries, self.known_at, PORTS["REST"], EXAMPLES_PORT) if self.is_dev else {}
        env.update(more.get(None, {}))
        for n in range(1, self.n_instances + 1):
            self.start_services(n, env, more)
        for service in self.services:
            service.wait_ready()
        if self.n_instances > 1:
            print("starting haproxy …", flush=True)
            proxy = Proxy(self.run / "proxy", self.services, PORTS["REST"], PORTS["WebSocket"], JOINED_PORT, self.host)
            self.servers.append(proxy)
            proxy.start()
        if self.is_dev:
            self.servers.append(dev.Examples(self.run, EXAMPLES_PORT, self.known_at))
            self.servers[-1].start()

    def log_of(self, known_as):
        """An empty file in .run/logs, or None for the terminal."""
        if not self.logs:
            return None
        self.logs.mkdir(exist_ok=True)
        log = self.logs / f"{known_as}.log"
        log.write_bytes(b"")
        return log

    def start_services(self, n, env, more):
        api_port, ws_port = own_ports(n, self.n_instances)
        host = self.host if self.n_instances == 1 else "127.0.0.1"  # else they are the proxy's
        for name in NAMES:
            known_as = instance_name(name, n)
            print(f"starting {known_as} …", flush=True)
            own_env = {**env, "HANDOFF_AMQP_URL": self.rabbitmq.url_for(name), **more.get(name, {})}
            service = make_service(name, self.binaries, own_env, admin_port=admin_port(name, n), log=self.log_of(known_as),
                                   api_port=api_port, ws_port=ws_port, known_as=known_as, host=host)
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


def admin_ports(n_instances):
    """As text: 9100-9103, with further instances … 9110-9113."""
    def of(n):
        return f"{admin_port(NAMES[0], n)}-{admin_port(NAMES[-1], n)}"

    return of(1) if n_instances == 1 else f"{of(1)} … {of(n_instances)}"


def ready_line(n_instances):
    return (f"handoff ready: REST http://127.0.0.1:{PORTS['REST']}  WebSocket ws://127.0.0.1:{PORTS['WebSocket']}/ws  "
            f"RabbitMQ 127.0.0.1:{PORTS['RabbitMQ']}  Redis 127.0.0.1:{PORTS['Redis']}  "
            f"PostgreSQL 127.0.0.1:{PORTS['PostgreSQL']}  metrics http://127.0.0.1:{admin_ports(n_instances)}/metrics")


def tell_ready(stack):
    if not stack.is_dev:
        print(ready_line(stack.n_instances), flush=True)
        return
    at = stack.known_at
    dev.introduce(f"http://{at}:{PORTS['REST']}", f"ws://{at}:{PORTS['WebSocket']}/ws", f"http://{at}:{EXAMPLES_PORT}", stack.binaries,
                  admin_ports(stack.n_instances), os.path.relpath(stack.logs))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binaries", required=True)
    arguments.add_argument("--instances", type=int, choices=range(1, MOST_INSTANCES + 1), default=1)
    arguments.add_argument("--dev", action="store_true")
    arguments.add_argument("--host", type=dev.host_name, help="with --dev: this machine's name or IPv4 address, for devices on its network")
    options = arguments.parse_args()
    run = run_folder().resolve()
    run.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    stack = Stack(run, options.binaries, options.instances, options.dev, options.host)
    code = 0
    try:
        check_owner(run)
        check_ports(options.instances, options.dev)
        stack.start()
        (run / "revision").write_text(revision() + "\n")
        tell_ready(stack)
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

"""What is tested: two of each service behind haproxy on private servers, the proxy's links between all of them,
and every process by its name."""

import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pika
import psycopg2
import redis.exceptions

from harness import BUILD, Servers, Suite, wait_until
from process import free_ports, stop
from links import Links
from services import NAMES, instance_name

INSTANCES = 2
DEPENDENCIES = {"session_api": ("redis", "rabbitmq", "postgresql"),
                "state_engine": ("redis", "rabbitmq", "postgresql"),
                "ws_fanout": ("redis", "rabbitmq"),
                "audit_writer": ("rabbitmq", "postgresql")}
URLS = {"redis": "HANDOFF_REDIS_URL", "rabbitmq": "HANDOFF_AMQP_URL", "postgresql": "HANDOFF_DATABASE_URL"}
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
CLONE_NEWNS = 0x00020000
SERVERS = ("redis", "rabbitmq", "postgresql")
DISKS = {"redis": 1024, "postgresql": 1024}  # MiB


def own_mounts():
    """A mount namespace of this process: what it mounts ends with it. False where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], stderr=subprocess.DEVNULL).returncode == 0


class Disk:
    """A tmpfs that can be made full: as small as what is in it."""

    def __init__(self, folder, megabytes):
        self.folder, self.megabytes = folder, megabytes
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", folder], check=True)

    def _resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True, stderr=subprocess.PIPE)

    def fill(self):
        """What is written meanwhile may make it bigger than what was asked for."""
        for _ in range(20):
            at = os.statvfs(self.folder)
            try:
                return self._resize((at.f_blocks - at.f_bfree) * at.f_frsize)
            except subprocess.CalledProcessError:
                continue
        raise AssertionError(f"{self.folder} grows too fast to be made full")

    def clear(self):
        self._resize(f"{self.megabytes}m")


class World:
    """folder: for logs; kept. can: what this machine allows of `mount`, `faketime`, and `one`: each server is one.
    linked: to which servers the services have links."""

    linked, more_env, queue_arguments = SERVERS, {}, None

    def __init__(self, folder, clocks=False):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.can, self.disks = {"one"}, {}
        if own_mounts():
            self.can.add("mount")
        # AddressSanitizer wants to be loaded first.
        if clocks and os.path.exists(FAKETIME) and not BUILD.name.endswith("-asan"):
            self.can.add("faketime")
        self.servers = self.make_servers()
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="handoff-chaos-", dir="/var/tmp"))
        self.data.chmod(0o755)
        self.links = self.suite = None
        self.forget = lambda: None  # to be called when the broker lost its queues

    # ---- start and stop ----

    @staticmethod
    def make_servers():
        return Servers(is_cluster=False)

    def start(self):
        if {"mount", "one"} <= self.can:
            self.disks["redis"] = Disk(self.servers.redis.folder, DISKS["redis"])
        self.servers.start()
        if "mount" in self.can:
            self._move_database()
        self.suite = Suite(self.servers, self.folder, instances=INSTANCES, HANDOFF_COLD_AFTER="1s", **self.more_env)
        self._make_links()
        self.suite.start()
        return self

    def _move_database(self):
        """The tables onto a small disk of their own. Not the log of PostgreSQL: without it there is no server."""
        folder = self.data / "tables"
        self.disks["postgresql"] = Disk(folder, DISKS["postgresql"])
        folder.chmod(0o700)
        self.servers.postgresql._own(folder)
        self.in_database(f"create tablespace chaos location '{folder}'",
                         "alter database handoff set tablespace chaos")

    def _make_links(self):
        """Each instance reaches each dependency by a link of its own; devices reach haproxy by two."""
        n = sum(len(DEPENDENCIES[s.name]) for s in self.suite.services.values())
        control, *ports = free_ports(n + 3)
        self.links = Links(control)
        for service in self.suite.services.values():
            for dependency in set(DEPENDENCIES[service.name]) & set(self.linked):
                port, target = ports.pop(), self.server(dependency).port
                self.links.add(f"{service.known_as}>{dependency}", port, target)
                url = service.env[URLS[dependency]]
                service.env[URLS[dependency]] = url.replace(f":{target}", f":{port}")
            if "faketime" in self.can:
                clock = self.folder / f"{service.known_as}.clock"
                clock.write_text("+0")
                service.env.update(LD_PRELOAD=FAKETIME, FAKETIME_TIMESTAMP_FILE=str(clock),
                                   FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_CACHE_DURATION="1")
        self.links.add("devices>api", ports.pop(), self.suite.api_port)
        self.links.add("devices>ws", ports.pop(), self.suite.ws_port)
        self.links.start()

    def stop(self):
        """What ended badly, as text; everything is stopped in any case."""
        wrong = []
        try:
            if self.suite:
                self.suite.stop()
        except AssertionError as error:
            wrong.append(str(error))
        finally:
            if self.suite:
                self.suite.proxy.stop()
                for service in self.suite.services.values():
                    stop(service.process)
            if self.links:
                self.links.stop()
            self.thaw_servers()
            self.servers.stop()
            for disk in self.disks.values():
                subprocess.run(["umount", "-l", disk.folder], stderr=subprocess.DEVNULL)
            shutil.rmtree(self.servers.folder, ignore_errors=True)
            shutil.rmtree(self.data, ignore_errors=True)
        return wrong

    # ---- processes by name ----

    @property
    def api_port(self):
        return self.links.ports["devices>api"]

    @property
    def ws_port(self):
        return self.links.ports["devices>ws"]

    def instances(self, *names):
        """What the instances of these services are known as; of all without a name."""
        return [instance_name(name, n) for name in names or NAMES for n in range(1, INSTANCES + 1)]

    def service(self, known_as):
        return self.suite.services[known_as]

    def server(self, name):
        return getattr(self.servers, name)

    def server_processes(self, name):
        """A server's process and its children: those of PostgreSQL are sessions of their own."""
        process = self.server(name).process
        if not process or process.poll() is not None:
            return []
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
        return [process.pid, *map(int, children.stdout.split())]

    def signal_server(self, name, number):
        for pid in self.server_processes(name):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def thaw_servers(self):
        for name in ("postgresql", "redis"):
            self.signal_server(name, signal.SIGCONT)

    def kill_server(self, name):
        server = self.server(name)
        children = self.server_processes(name)[1:]
        server.process.kill()
        server.process.wait()
        if name == "rabbitmq":
            stop(server.epmd)
        # PostgreSQL's children notice by themselves; a new server starts only when they are gone.
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), 20, f"the end of {name}")

    def all_services_run(self):
        return [s.known_as for s in self.suite.services.values()
                if s.process is None or s.process.poll() is not None]

    def redis(self):
        return self.suite.redis_client()

    def broker_url(self):
        """Of a broker that runs, as a rule."""
        return self.servers.rabbitmq.url

    def connect_to_broker(self):
        """For an independent subscriber."""
        parameters = pika.URLParameters(self.broker_url())
        parameters.heartbeat, parameters.blocked_connection_timeout = 60, 600
        return pika.BlockingConnection(parameters)

    def rewrite_aof(self):
        """As docs/operations/servers.md has it after a full disk: the AOF may have a hole, with which Redis 7.0 does not start again."""
        client = self.redis()
        n_done = client.info("stats")["total_forks"]
        wait_until(lambda: self._begin_rewrite(client), what="a rewrite of the AOF")
        wait_until(lambda: client.info("stats")["total_forks"] > n_done
                   and not client.info("persistence")["aof_rewrite_in_progress"], what="the end of a rewrite of the AOF")

    @staticmethod
    def _begin_rewrite(client):
        """Not while another one runs, which may have begun before the disk was full."""
        try:
            return client.bgrewriteaof()
        except redis.exceptions.ResponseError:
            return False

    def in_broker(self, erlang):
        return self.servers.eval_in_broker(erlang)

    def clock(self, known_as, offset):
        (self.folder / f"{known_as}.clock").write_text(offset)

    # ---- the database, and what Redis had ----

    def in_database(self, *statements):
        """Each a transaction of its own, as the superuser, beside the database of the services."""
        connection = psycopg2.connect(self.servers.postgresql.url.rpartition("/")[0] + "/postgres")
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)
        connection.close()

    def lock_table(self, name):
        self.locker = psycopg2.connect(self.servers.postgresql.url)
        self.locker.cursor().execute(f"lock table {name} in access exclusive mode")

    def unlock_table(self):
        self.locker.close()

    def wipe_broker(self):
        """Its node dies, and its disk."""
        self.kill_server("rabbitmq")
        shutil.rmtree(self.servers.rabbitmq.folder / "mnesia")

    def keep_redis(self):
        shutil.rmtree(self.data / "kept", ignore_errors=True)
        shutil.copytree(self.servers.redis.folder / "appendonlydir", self.data / "kept")

    def bring_kept_redis(self):
        """In place of what the node has; it must not run."""
        now = self.servers.redis.folder / "appendonlydir"
        shutil.rmtree(now)
        shutil.copytree(self.data / "kept", now)
        self.servers.redis.start()

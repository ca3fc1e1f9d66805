"""Private RabbitMQ, Redis and PostgreSQL: on loopback, own ports, own folders; never the system's."""

import json
import os
import pathlib
import pwd
import signal
import subprocess
import glob

from process import StartError, accepts, am_root, spawn, stop, wait_until

DEFINITIONS = pathlib.Path(__file__).resolve().parent.parent / "rabbitmq" / "definitions.json"


def newest(pattern, what):
    found = sorted(glob.glob(pattern))
    if not found:
        raise StartError(f"{what} is not installed; compose/local/install installs it")
    return found[-1]


class Redis:
    """Durability as in production: AOF, fsync each second; noeviction, as Handoff needs it. A change adds 1.5 KB to the AOF: below
    256 MB (default 64) a busy small store is not written anew every few seconds, and when it is, without compressing it, which took
    most of that time. A stream's first entry takes 512 bytes, not 4 KiB, of which most new sessions need no more."""

    def __init__(self, folder, port, password=None):
        self.folder, self.port, self.password = pathlib.Path(folder), port, password
        self.log = self.folder / "redis.log"
        self.process = None
        self.more, self.databases = "", 100  # of its configuration

    @property
    def url(self):
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}"

    @property
    def nodes(self):
        return [self]

    @property
    def data(self):
        """What it has on disk."""
        return self.folder / "appendonlydir"

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "redis.conf"
        config.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {self.folder}\n"
            + (f"requirepass {self.password}\n" if self.password else "") +
            "appendonly yes\nappendfsync everysec\nauto-aof-rewrite-min-size 256mb\nrdbcompression no\nstream-node-max-bytes 512\nsave \"\"\nmaxmemory-policy noeviction\n"
            f"databases {self.databases}\ndaemonize no\n" + self.more
        )
        config.chmod(0o600)
        self.process = spawn(["redis-server", config], log=self.log)
        wait_until("Redis", self.is_loaded, process=self.process, log=self.log)
        return self

    def ask(self, *words):
        """Its answer, as redis-cli prints it."""
        argv = ["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), *map(str, words)]
        env = {**os.environ, **({"REDISCLI_AUTH": self.password} if self.password else {})}
        done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        return done.stdout.strip()

    def is_loaded(self):
        """Until its data is read it takes connections, and answers nothing else than that."""
        return accepts(self.port) and self.ask("ping") == "PONG"

    def stop(self):
        stop(self.process)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()


class RedisCluster:
    """Masters with a replica each; nodes[:masters] are masters at first."""

    SLOTS = 16384

    def __init__(self, folder, ports, masters=3, password=None, timeout_ms=2000):
        """ports: of each node two, its own and its cluster bus'."""
        self.masters, self.timeout_ms = masters, timeout_ms
        self.buses = ports[1::2]
        self.nodes = [Redis(pathlib.Path(folder) / str(port), port, password) for port in ports[::2]]
        self.password = password

    @property
    def url(self):
        user = f":{self.password}@" if self.password else ""
        return f"redis+cluster://{user}" + ",".join(f"127.0.0.1:{n.port}" for n in self.nodes)

    def ask(self, node, *words):
        return node.ask(*words)

    def _config(self, bus):
        return (f"cluster-enabled yes\ncluster-port {bus}\n"
                f"cluster-node-timeout {self.timeout_ms}\ncluster-config-file nodes.conf\n"
                "cluster-replica-validity-factor 0\ncluster-require-full-coverage no\n"
                "cluster-allow-replica-migration no\nrepl-diskless-sync-delay 0\n"
                + (f"masterauth {self.password}\n" if self.password else ""))

    def _share_out(self):
        for i, master in enumerate(self.nodes[:self.masters]):
            first, end = (self.SLOTS * k // self.masters for k in (i, i + 1))
            self.ask(master, "cluster", "addslotsrange", first, end - 1)
            self.ask(master, "cluster", "set-config-epoch", i + 1)

    def _meet(self):
        for node, bus in list(zip(self.nodes, self.buses))[1:]:
            self.ask(self.nodes[0], "cluster", "meet", "127.0.0.1", node.port, bus)
        wait_until("all nodes to meet", lambda: all(
            len(self.ask(n, "cluster", "nodes").splitlines()) == len(self.nodes)
            and "handshake" not in self.ask(n, "cluster", "nodes") for n in self.nodes), timeout=30)

    def _replicate(self):
        for i, replica in enumerate(self.nodes[self.masters:]):
            master = self.ask(self.nodes[i % self.masters], "cluster", "myid")
            self.ask(replica, "cluster", "replicate", master)
        wait_until("the replicas", self.is_whole, timeout=30)

    def is_whole(self):
        return all("cluster_state:ok" in self.ask(n, "cluster", "info") for n in self.nodes) and all(
            "master_link_status:up" in self.ask(n, "info", "replication")
            for n in self.nodes[self.masters:]) and all(
            "state=online" in self.ask(n, "info", "replication") for n in self.nodes[:self.masters])

    def _is_back(self):
        return self.is_served() and all("cluster_state:ok" in self.ask(n, "cluster", "info") for n in self.nodes)

    def start(self):
        is_new = not (self.nodes[0].folder / "nodes.conf").exists()
        for node, bus in zip(self.nodes, self.buses):
            node.more, node.databases = self._config(bus), 1
            node.start()
        if not is_new:
            wait_until("the cluster as it was", self._is_back, timeout=30)
            return self
        self._share_out()
        self._meet()
        self._replicate()
        return self

    def master_of(self, key):
        """The node that has the key's slot now."""
        slot = int(self.ask(self.nodes[0], "cluster", "keyslot", key).split()[-1])
        return self.master_of_slot(slot)

    def is_served(self):
        """Each slot has a master with a replica, now."""
        running = [n for n in self.nodes if n.process.poll() is None]
        told = [self.ask(n, "info", "replication") for n in running]
        masters = [t for t in told if "role:master" in t]
        return len(masters) == self.masters and all("state=online" in t for t in masters) and all(
            "master_link_status:up" in t for t in told if "role:slave" in t)

    def master_of_slot(self, slot, but_not=None):
        """As the nodes that run see it, but for one that does not answer; None while nobody has it."""
        for node in self.nodes:
            if node is but_not or node.process.poll() is not None:
                continue
            if "role:master" not in self.ask(node, "info", "replication"):
                continue
            own = next(l for l in self.ask(node, "cluster", "nodes").splitlines() if "myself" in l)
            for part in own.split()[8:]:
                first, _, last = part.partition("-")
                if first.isdigit() and int(first) <= slot <= int(last or first):
                    return node
        return None

    def stop(self):
        for node in self.nodes:
            node.stop()

    def signal(self, number):
        for node in self.nodes:
            node.signal(number)

    def kill(self):
        for node in self.nodes:
            node.kill()


class PostgreSQL:
    def __init__(self, folder, port, password):
        self.folder, self.port, self.password = pathlib.Path(folder), port, password
        self.data = self.folder / "data"
        self.log = self.folder / "postgresql.log"
        self.process = None
        # initdb refuses to run as root.
        self.user = "postgres" if am_root() else None

    @property
    def url(self):
        return f"postgres://handoff:{self.password}@127.0.0.1:{self.port}/handoff"

    def _env(self):
        return {**os.environ, "LC_ALL": "C.UTF-8"}

    def _own(self, path):
        if self.user:
            user = pwd.getpwnam(self.user)
            os.chown(path, user.pw_uid, user.pw_gid)

    def _run(self, argv, what):
        extra = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        done = subprocess.run([str(a) for a in argv], env=self._env(), cwd="/",
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, **extra)
        if done.returncode != 0:
            raise StartError(f"{what} failed:\n{done.stdout}")

    def _init(self, binaries):
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        password_file.chmod(0o600)
        self._own(password_file)
        self._run([binaries / "initdb", "-D", self.data, "-U", "handoff", "--auth=scram-sha-256",
                   f"--pwfile={password_file}", "-E", "UTF8", "--locale=C.UTF-8"], "initdb")

    def start(self):
        binaries = pathlib.Path(newest("/usr/lib/postgresql/*/bin/postgres", "PostgreSQL")).parent
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._own(self.folder)
        if not (self.data / "PG_VERSION").exists():
            self._init(binaries)
        self.log.touch()
        self._own(self.log)
        self.process = spawn(
            [binaries / "postgres", "-D", self.data, "-p", self.port, "-k", "",
             "-c", "listen_addresses=127.0.0.1"],
            log=self.log, env=self._env(), user=self.user, cwd="/")
        wait_until("PostgreSQL", self._is_ready, process=self.process, log=self.log)
        return self

    def _is_ready(self):
        ready = subprocess.run(["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)])
        if ready.returncode != 0:
            return False
        self._create_database()
        return True

    def _create_database(self):
        env = {**self._env(), "PGPASSWORD": self.password}
        psql = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "handoff", "-d", "postgres",
                "-qAtX", "-c"]
        has = subprocess.run([*psql, "select 1 from pg_database where datname = 'handoff'"],
                             env=env, capture_output=True, text=True, check=True)
        if not has.stdout.strip():
            subprocess.run([*psql, "create database handoff"], env=env, check=True)

    def stop(self):
        stop(self.process, signal.SIGINT)  # a fast shutdown: does not wait for clients to leave


class RabbitMQ:
    """Runs epmd itself, in the foreground, so that nothing stays behind.

    Nodes of one cluster share epmd_port, home (where the cookie is) and nodes, the names of all of them.
    """

    def __init__(self, folder, port, password, dist_port, epmd_port, home=None, nodes=(), config=""):
        self.folder, self.port, self.password = pathlib.Path(folder), port, password
        self.config = config  # more lines of rabbitmq.conf
        self.dist_port, self.epmd_port = dist_port, epmd_port
        self.home, self.nodes = pathlib.Path(home or folder), nodes
        self.log = self.folder / "rabbitmq.log"
        self.process = self.epmd = None

    @property
    def url(self):
        """As one who may do everything."""
        return self.url_for("handoff")

    def url_for(self, user):
        """A service's name: with the rights of compose/rabbitmq/definitions.json, and no others."""
        return f"amqp://{user}:{self.password}@127.0.0.1:{self.port}/handoff"

    @property
    def node(self):
        return f"handoff{self.port}@localhost"

    def env(self):
        """For rabbitmqctl too."""
        return {
            **os.environ,
            "HOME": str(self.home),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/nonexistent",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _write_config(self):
        definitions = json.loads(DEFINITIONS.read_text())
        definitions["users"].append({"name": "handoff", "tags": "administrator"})
        for user in definitions["users"]:
            user["password"] = self.password
        definitions["permissions"].append(
            {"user": "handoff", "vhost": "handoff", "configure": ".*", "write": ".*", "read": ".*"})
        path = self.folder / "definitions.json"
        path.write_text(json.dumps(definitions))
        path.chmod(0o600)
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"load_definitions = {path}\n"
            "vm_memory_high_watermark.absolute = 1GB\n"
            "disk_free_limit.absolute = 50MB\n"
            "log.console = true\nlog.console.level = warning\nlog.file = false\n"
            f"{self.config}"
            + ("cluster_formation.peer_discovery_backend = classic_config\n" if self.nodes else "")
            + "".join(f"cluster_formation.classic_config.nodes.{i} = {node}\n"
                      for i, node in enumerate(self.nodes, 1))
        )

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start_epmd()
        self.launch()
        return self.wait()

    def start_epmd(self):
        self.epmd = spawn(["epmd", "-port", self.epmd_port, "-address", "127.0.0.1"], log=self.log)
        wait_until("epmd", lambda: accepts(self.epmd_port), process=self.epmd, log=self.log)

    def launch(self):
        """The node alone; its epmd runs."""
        (self.folder / "log").mkdir(parents=True, exist_ok=True)
        self._write_config()
        server = newest("/usr/lib/rabbitmq/bin/rabbitmq-server", "RabbitMQ")
        # Told so, the script becomes the Erlang VM instead of its parent: a child that dies with us.
        self.process = spawn([server], log=self.log, cwd=self.folder,
                             env={**self.env(), "RUNNING_UNDER_SYSTEMD": "true"})

    def wait(self):
        wait_until("RabbitMQ", lambda: accepts(self.port), timeout=60, process=self.process,
                   log=self.log)
        return self

    def stop(self):
        stop(self.process, timeout=30)
        stop(self.epmd)

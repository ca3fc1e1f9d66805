"""Three RabbitMQ nodes of one cluster on loopback, as a server of tests/harness.py."""

import pathlib
import secrets
import subprocess

import pika

from harness import free_ports, wait_until
from servers import RabbitMQ

CTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"


class RabbitMQCluster:
    """nodes: each a RabbitMQ; kill(i) and restart(i) one of them."""

    def __init__(self, folder, password="secret", n=3):
        self.folder, self.password = pathlib.Path(folder), password
        epmd_port, *ports = free_ports(1 + 2 * n)
        names = [f"handoff{port}@localhost" for port in ports[:n]]
        self.nodes = [RabbitMQ(self.folder / f"node{i}", ports[i], password, ports[n + i], epmd_port,
                               home=self.folder, nodes=names) for i in range(n)]

    @property
    def url(self):
        addresses = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"amqp://handoff:{self.password}@{addresses}/handoff"

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        self.nodes[0].folder.mkdir()
        self.nodes[0].start_epmd()
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait()
        n = len(self.nodes)
        wait_until(lambda: self.eval("length(rabbit_mnesia:cluster_nodes(running)).").strip() == str(n), timeout=60,
                   what=f"a cluster of {n}")
        return self

    def stop(self):
        for node in self.nodes:
            if node.process:
                node.process.kill()
                node.process.wait()
        self.nodes[0].stop()

    def kill(self, i):
        """kill -9, as a crash."""
        self.nodes[i].process.kill()
        self.nodes[i].process.wait()

    def restart(self, i):
        self.nodes[i].launch()
        self.nodes[i].wait()

    def alive(self):
        return [i for i, node in enumerate(self.nodes) if node.process.poll() is None]

    def eval(self, erlang):
        """What the first living node answers to an expression."""
        node = self.nodes[self.alive()[0]]
        done = subprocess.run([CTL, "-q", "-n", node.node, "eval", erlang], env=node.env(),
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _of_queue(self, queue, erlang):
        resource = f'rabbit_misc:r(<<"handoff">>, queue, <<"{queue}">>)'
        return self.eval(f"{{ok, Q}} = rabbit_amqqueue:lookup({resource}), {erlang}.").strip().strip("'")

    def n_members(self, queue):
        """On how many nodes that quorum queue is."""
        return int(self._of_queue(queue, "length(maps:get(nodes, amqqueue:get_type_state(Q)))"))

    def leader_of(self, queue):
        """The index of the node that leads that quorum queue."""
        name = self._of_queue(queue, "element(2, amqqueue:get_pid(Q))")
        return [node.node for node in self.nodes].index(name)

    def node_of(self, connection_name):
        """The index of the node that the client of that name is connected to; None: not connected."""
        names = self.eval(
            "[{node(P), V} || P <- rabbit_networking:connections(), "
            "[{client_properties, T}] <- [rabbit_networking:connection_info(P, [client_properties])], "
            f'{{<<"connection_name">>, _, V}} <- T, V =:= <<"{connection_name}">>].')
        return next((i for i, node in enumerate(self.nodes) if node.node in names), None)

    def connect(self, i=None):
        """An independent client of that node, or of one that lives."""
        node = self.nodes[self.alive()[0] if i is None else i]
        return pika.BlockingConnection(pika.URLParameters(node.url))

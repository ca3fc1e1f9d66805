"""The same world on clusters: three Redis masters with a replica each, three RabbitMQ nodes with quorum queues. Nodes
die and stand still; what they tell of each other's addresses leads past links, so that there are none to them."""

import os
import random
import shutil
import signal

from harness import Servers, wait_until
from rabbitmq_cluster import RabbitMQCluster
from world import World


class ClusterServers(Servers):
    def __init__(self):
        super().__init__(is_cluster=True)
        self.all.remove(self.rabbitmq)
        self.rabbitmq = RabbitMQCluster(self.folder / "rabbitmq")
        self.all.append(self.rabbitmq)

    def stop(self):
        for node in self.rabbitmq.nodes:
            if node.process:
                node.process.send_signal(signal.SIGCONT)
        for server in reversed(self.all):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class ClusterWorld(World):
    linked, more_env = ("postgresql",), {"HANDOFF_QUEUE_TYPE": "quorum"}
    queue_arguments = {"x-queue-type": "quorum"}  # a classic one is not there while its node is not

    def __init__(self, folder, clocks=False, seed=0):
        super().__init__(folder, clocks)
        self.can = self.can - {"one"} | {"clusters"}
        self.random, self.dead_redis, self.frozen_redis, self.broken_node = random.Random(seed), None, None, None

    @staticmethod
    def make_servers():
        return ClusterServers()

    def server_processes(self, name):
        if name != "redis":
            return super().server_processes(name)
        return [node.process.pid for node in self.servers.redis.nodes if node.process and node.process.poll() is None]

    # ---- Redis ----

    def _redis_nodes(self, is_master):
        cluster = self.servers.redis
        role = "role:master" if is_master else "role:slave"
        return [node for node in cluster.nodes if role in cluster.ask(node, "info", "replication")]

    def kill_redis_node(self, is_master):
        node = self.dead_redis = self.random.choice(self._redis_nodes(is_master))
        node.process.kill()
        node.process.wait()

    def freeze_redis_master(self):
        self.frozen_redis = self.random.choice(self._redis_nodes(True))
        self.frozen_redis.process.send_signal(signal.SIGSTOP)

    def mend_redis(self):
        if self.frozen_redis:
            self.frozen_redis.process.send_signal(signal.SIGCONT)
        if self.dead_redis:
            self.dead_redis.start()
        self.dead_redis = self.frozen_redis = None
        wait_until(self.servers.redis.is_served, timeout=60, what="a replica for each master")

    # ---- RabbitMQ ----

    def kill_broker_node(self):
        self.broken_node = self.random.randrange(len(self.servers.rabbitmq.nodes))
        self.servers.rabbitmq.kill(self.broken_node)

    def freeze_broker_node(self):
        self.broken_node = self.random.randrange(len(self.servers.rabbitmq.nodes))
        os.kill(self.servers.rabbitmq.nodes[self.broken_node].process.pid, signal.SIGSTOP)

    def mend_broker(self):
        cluster, i = self.servers.rabbitmq, self.broken_node
        if cluster.nodes[i].process.poll() is None:
            os.kill(cluster.nodes[i].process.pid, signal.SIGCONT)
        else:
            cluster.restart(i)
        self.broken_node = None

    def broker_url(self):
        nodes = self.servers.rabbitmq.nodes
        return nodes[self.random.choice([i for i in range(len(nodes)) if i != self.broken_node])].url

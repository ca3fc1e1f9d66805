"""A state_engine alone: driven as a trusted backend drives it, over the broker (contract section 5), and
watched by a subscriber and in Redis. `Relay` stands between an engine and the broker and cuts or holds
its connections."""

import json
import os
import select
import secrets
import signal
import socket
import subprocess
import threading
import time
import urllib.request
import uuid

import pika

from harness import (BUILD, FINDING, MAX_WAIT, SECRET, environment, free_ports, make_service, new_user, redis_client,
                     wait_until)

COMMANDS, DEAD = "state_engine.commands", "state_engine.dead"
BASIC_CONSUME = b"\x00\x3c\x00\x14"  # AMQP's class and method


def new_session_id():
    moment, random = f"{int(time.time() * 1000):012x}", secrets.token_hex(10)
    return f"{moment[:8]}-{moment[8:]}-7{random[:3]}-8{random[3:6]}-{random[6:18]}"


def add(path, value):
    return [{"op": "add", "path": path, "value": value}]


class Relay:
    """Passes bytes between engines and the broker. A connection is known by the name that the engine
    gives it: "state_engine consume", "… publish" or "… reply"."""

    def __init__(self, port):
        self.target, self.links, self.held = port, [], set()
        self.mutes_consumers = False  # what follows on their basic.consume stays here: acknowledgements
        self.watched, self.passed, self.holds_after = None, threading.Event(), False  # see watch
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            link = {"name": "", "sockets": (client, server)}
            self.links.append(link)
            threading.Thread(target=self._pass, args=(link,), daemon=True).start()

    def _is_held(self, link):
        return link.get("muted") or any(name in link["name"] for name in self.held)

    def _pass(self, link):
        client, server = link["sockets"]
        try:
            while True:
                wanted = [server] if self._is_held(link) else [client, server]
                for source in select.select(wanted, [], [], 0.02)[0]:
                    if source is client and self._is_held(link):
                        continue  # since it was chosen
                    data = source.recv(65536)
                    if not data and source is server and link.get("lost"):
                        while client.recv(65536):
                            pass
                    if not data:
                        return
                    if source is client and b"connection_name" in data:
                        name = data.split(b"connection_name")[1]
                        link["name"] = next((n for n in ("consume", "reply", "publish") if n.encode() in name), "")
                    (server if source is client else client).sendall(data)
                    if source is client and self.watched and self.watched in data:
                        link["muted"] = self.holds_after
                        self.passed.set()
                    if self.mutes_consumers and source is client and BASIC_CONSUME in data:
                        link["muted"] = True
        except OSError:
            pass
        finally:
            client.close()
            server.close()
            self.links.remove(link)

    def hold(self, name):
        """What the engine sends on its connections of this name stays here."""
        self.held.add(name)

    def watch(self, text, holds_after=False):
        """`passed` is set when an engine has sent that; what it sends after it on that connection may stay here."""
        self.watched, self.holds_after = text, holds_after

    def release(self):
        self.held.clear()

    def cut(self, name=""):
        """What is held is lost."""
        for link in list(self.links):
            if name in link["name"]:
                for end in link["sockets"]:
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass

    def lose(self, name):
        """The broker is rid of the connections of this name, and their engines do not learn it."""
        for link in list(self.links):
            if name in link["name"]:
                link["lost"] = True
                link["sockets"][1].shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()
        self.cut()


class World:
    """Engines on servers of their own, with a backend and a subscriber."""

    def __init__(self, servers, folder):
        self.servers, self.folder, self.engines, self.killed, self.relays = servers, folder, [], set(), []
        self.redis = redis_client(servers.redis.url)
        self.backend, self.subscriber = None, None

    def env(self, **more):
        return environment(redis_url=self.servers.redis.url, amqp_url=self.servers.rabbitmq.url,
                           database_url=self.servers.postgresql.url, jwt_secret=SECRET,
                           HANDOFF_LOG_FORMAT="json", **more)

    def engine(self, ready=True, relay=None, **env):
        if relay:
            url = self.servers.rabbitmq.url.replace(f":{self.servers.rabbitmq.port}/", f":{relay.port}/")
            env["HANDOFF_AMQP_URL"] = url
        log = self.folder / f"engine{len(self.engines)}.log"
        engine = make_service("state_engine", BUILD / "bin", self.env(**env),
                              admin_port=free_ports(1)[0], log=log).start()
        self.engines.append(engine)
        if ready:
            self.wait_ready(engine)
        return engine

    @staticmethod
    def wait_ready(engine):
        """Ready, with nothing down."""
        engine.wait_ready()
        wait_until(lambda: get(engine, "/ready")["status"] == "ready", what="every dependency up")

    def relay(self):
        self.relays.append(Relay(self.servers.rabbitmq.port))
        return self.relays[-1]

    def kill(self, engine):
        self.killed.add(engine)
        engine.process.kill()
        engine.process.wait()

    def connect(self):
        self.backend = self.backend or Backend(self)
        return self.backend

    def subscribe(self):
        self.subscriber = Subscriber(self)
        return self.subscriber

    def amqp(self):
        return pika.BlockingConnection(pika.URLParameters(self.servers.rabbitmq.url))

    def rabbitmqctl(self, *arguments):
        env = self.servers.rabbitmq.env()
        subprocess.run(["rabbitmqctl", "-q", "-n", env["RABBITMQ_NODENAME"], *arguments], env=env,
                       check=True, stdout=subprocess.DEVNULL)

    def meta(self, session_id):
        return self.redis.hgetall(f"session:{{{session_id}}}:meta")

    def version(self, session_id):
        return int(self.meta(session_id).get("version", 0))

    def data(self, session_id):
        return json.loads(self.redis.get(f"session:{{{session_id}}}:state"))["data"]

    def wait_marked(self, session_id):
        def is_marked():
            meta = self.meta(session_id)
            return meta.get("published") == meta["version"]
        wait_until(is_marked, what="the published mark at the version")

    def stop(self):
        for relay in self.relays:
            relay.release()
        for engine in self.engines:
            engine.process.send_signal(signal.SIGCONT)
            engine.stop()
        for relay in self.relays:
            relay.close()
        for client in (self.backend, self.subscriber):
            if client:
                client.close()
        for i, engine in enumerate(self.engines):
            text = (self.folder / f"engine{i}.log").read_text(errors="replace")
            assert engine.process.returncode == 0 or engine in self.killed, text[-3000:]
            assert not FINDING.search(text), text[-6000:]


def get(engine, path, timeout=MAX_WAIT):
    address = f"http://127.0.0.1:{engine.admin_port}{path}"
    with urllib.request.urlopen(address, timeout=timeout) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith("{") else text


class Client:
    """A connection with a channel of its own; `got` fills while it waits."""

    def __init__(self, world):
        self.world, self.connection = world, world.amqp()
        self.channel = self.connection.channel()

    def wait(self, condition, what, timeout=MAX_WAIT):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
            self.connection.process_data_events(0.02)

    def close(self):
        if self.connection.is_open:
            self.connection.close()


class Backend(Client):
    """Sends commands and takes replies; replies[id] are all that came for a command, in order."""

    def __init__(self, world):
        super().__init__(world)
        self.replies, self.messages, self.user = {}, [], new_user()
        self.channel.basic_consume("amq.rabbitmq.reply-to", self._on_reply, auto_ack=True)

    def _on_reply(self, _channel, _method, properties, body):
        replies = json.loads(body)["replies"]
        self.messages.append((properties.correlation_id, [r["id"] for r in replies]))
        for reply in replies:
            self.replies.setdefault(reply["id"], []).append(reply)

    def command(self, kind, session_id, seconds=30, **members):
        return {"id": str(uuid.uuid4()), "kind": kind, "sessionId": session_id, "userId": self.user,
                "deviceId": "phone", "scope": ["read", "write"],
                "deadline": self.now() + int(seconds * 1000), **members}

    def now(self):
        """In the store's time; this test's machine has the same clock."""
        return int(time.time() * 1000)

    def publish(self, body, **properties):
        properties.setdefault("reply_to", "amq.rabbitmq.reply-to")
        self.channel.basic_publish("session_commands", COMMANDS, body, pika.BasicProperties(**properties))

    def send(self, *commands, **properties):
        """In one message; the ids."""
        self.publish(json.dumps({"commands": commands}), **properties)
        return [c["id"] for c in commands]

    def take(self, ids):
        """Their first replies."""
        self.wait(lambda: all(i in self.replies for i in ids), f"replies to {len(ids)} commands")
        return [self.replies[i][0] for i in ids]

    def ask(self, kind, session_id, **members):
        return self.take(self.send(self.command(kind, session_id, **members)))[0]

    def create(self, data=None, **members):
        """A new session's id."""
        session_id = new_session_id()
        reply = self.ask("create", session_id, name="n", type="t", status="active", data=data or {},
                         **members)
        assert "error" not in reply, reply
        return session_id

    def patch(self, session_id, path="/data/a", value=0, **members):
        return self.command("patch", session_id, operations=add(path, value), **members)

    def leave_redelivered(self, *bodies):
        """Puts messages into the queue as if an engine had died over them. No engine may run."""
        for body in bodies:
            self.publish(body)
        taken = []
        while len(taken) < len(bodies):
            method, _, _ = self.channel.basic_get(COMMANDS)
            if method:
                taken.append(method.delivery_tag)
        self.channel.basic_nack(taken[-1], multiple=True, requeue=True)

    def dead(self):
        """The next dead letter: its body and its reason."""
        got = []

        def is_there():
            method, properties, body = self.channel.basic_get(DEAD, auto_ack=True)
            if method:
                got.append((body, properties.headers["reason"]))
            return got
        self.wait(is_there, "a dead letter")
        return got[0]


class Subscriber(Client):
    """Another backend service: everything that is published, by session."""

    def __init__(self, world):
        super().__init__(world)
        self.got = []
        queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(queue, "session_updates", "session.#")
        self.channel.basic_consume(queue, self._on_event, auto_ack=True)

    def _on_event(self, _channel, _method, properties, body):
        self.got.append((properties.message_id, properties.type, body))

    def versions(self, session_id):
        """Position -> the different bodies that came for it."""
        versions = {}
        for message_id, _, body in self.got:
            if message_id.startswith(session_id + ":"):
                versions.setdefault(int(message_id.rsplit(":", 1)[1]), set()).add(body)
        return versions

    def wait_for(self, session_id, version):
        """Every version up to there came, each with one content."""
        self.wait(lambda: len(self.versions(session_id)) >= version, f"{version} versions")
        versions = self.versions(session_id)
        assert sorted(versions) == list(range(1, version + 1))
        assert all(len(bodies) == 1 for bodies in versions.values()), "two contents for one version"


def stop_process(pid):
    os.kill(pid, signal.SIGSTOP)


def continue_process(pid):
    os.kill(pid, signal.SIGCONT)

"""A small TCP proxy, a process of its own, between any two parties: each link has a port, and breaks on command.

usage: links.py CONTROL_PORT NAME=PORT:TARGET_PORT...

On the control port, one JSON object a line: {"link": name, "mode": mode, "way": "both"|"up"|"down"}. Answers
{"n": connections}. `up` is from who connects to the target. Modes:

pass      bytes go on
cut       open connections are reset, new ones too (way does not count)
hole      bytes are taken and lost; a connection that lost some is reset when the mode ends, as by a
          firewall that forgot it
half      the target sees a reset at once; who connected sees nothing, and is reset when the mode ends
hold      bytes wait and go on when the mode ends, as TCP does after a short interruption
delay     100 ms later
throttle  64 KB/s a connection
"""

import asyncio
import collections
import json
import socket
import struct
import subprocess
import sys
import time

DELAY = 0.1  # s
RATE = 64 * 1024  # bytes a second
CHUNK = 64 * 1024
WAYS = ("up", "down")
LOSSY = {"hole", "half"}
MODES = ("pass", "cut", "hole", "half", "hold", "delay", "throttle")


class Link:
    """One port and what becomes of its bytes."""

    def __init__(self, name, port, target):
        self.name, self.port, self.target = name, port, target
        self.modes = dict.fromkeys(WAYS, "pass")
        self.connections, self.changed = set(), asyncio.Event()

    async def listen(self):
        await asyncio.start_server(self.accept, "127.0.0.1", self.port, backlog=1024)

    def set(self, mode, way):
        for one in WAYS if way == "both" else (way,):
            self.modes[one] = mode
        for connection in list(self.connections):
            if mode == "half":
                connection.reset_target()
            elif mode == "cut" or (connection.is_torn and not LOSSY & set(self.modes.values())):
                connection.reset()
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
        return len(self.connections)

    async def accept(self, reader, writer):
        connection = Connection(self, reader, writer)
        self.connections.add(connection)
        try:
            await connection.run()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            connection.reset()
            self.connections.discard(connection)


class Connection:
    def __init__(self, link, reader, writer):
        self.link, self.reader, self.writers, self.is_torn = link, reader, [writer], False

    async def run(self):
        if "cut" in self.link.modes.values():
            return
        while "hold" in self.link.modes.values():
            await self.link.changed.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.link.target)
        self.writers.append(writer)
        pumps = [asyncio.create_task(self.pump("up", self.reader, writer)),
                 asyncio.create_task(self.pump("down", reader, self.writers[0]))]
        done, rest = await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        for task in rest:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def pump(self, way, reader, writer):
        """Until its sender has ended; an end goes on as one."""
        queue, filled = collections.deque(), asyncio.Event()
        sender = asyncio.create_task(self.send(way, queue, filled, writer))
        try:
            while data := await reader.read(CHUNK):
                mode = self.link.modes[way]
                if mode in LOSSY:
                    self.is_torn = True
                    continue
                queue.append((time.monotonic() + (DELAY if mode == "delay" else 0), data))
                filled.set()
                while len(queue) > 64:
                    await asyncio.sleep(0.005)
            queue.append((time.monotonic(), b""))
            filled.set()
            await sender
        finally:
            sender.cancel()

    async def send(self, way, queue, filled, writer):
        while True:
            while not queue:
                filled.clear()
                await filled.wait()
            due, data = queue.popleft()
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            await self.send_one(way, data, writer)
            if not data:
                return

    async def send_one(self, way, data, writer):
        while self.link.modes[way] == "hold":
            await self.link.changed.wait()
        if not data:
            if writer.can_write_eof() and not (self.is_torn and LOSSY & set(self.link.modes.values())):
                writer.write_eof()
            return
        while data and self.link.modes[way] == "throttle":
            piece, data = data[:4096], data[4096:]
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(len(piece) / RATE)
        writer.write(data)
        await writer.drain()

    def reset_target(self):
        self.is_torn = True
        self.reset(self.writers[1:])

    def reset(self, writers=None):
        """RST, not an end: nobody is to take what came so far for everything."""
        for writer in self.writers if writers is None else writers:
            sock = writer.get_extra_info("socket")
            if sock and sock.fileno() >= 0:
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass
            writer.transport.abort()


async def serve(control_port, specifications):
    links = {}
    for specification in specifications:
        name, _, ports = specification.partition("=")
        port, _, target = ports.partition(":")
        links[name] = Link(name, int(port), int(target))
        await links[name].listen()

    async def control(reader, writer):
        while line := await reader.readline():
            order = json.loads(line)
            n = links[order["link"]].set(order["mode"], order.get("way", "both"))
            writer.write(json.dumps({"n": n}).encode() + b"\n")
            await writer.drain()

    server = await asyncio.start_server(control, "127.0.0.1", control_port)
    print("ready", flush=True)
    await server.serve_forever()


class Links:
    """The proxy as its user sees it: a process and the ports of its links."""

    def __init__(self, control_port):
        self.control_port, self.specifications, self.ports = control_port, [], {}
        self.process = self.control = None

    def add(self, name, port, target):
        self.ports[name] = port
        self.specifications.append(f"{name}={port}:{target}")

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.control_port), *self.specifications],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n", "the proxy did not start"
        self.control = socket.create_connection(("127.0.0.1", self.control_port)).makefile("rw")
        return self

    def set(self, name, mode, way="both"):
        assert mode in MODES and name in self.ports, (name, mode)
        self.control.write(json.dumps({"link": name, "mode": mode, "way": way}) + "\n")
        self.control.flush()
        return json.loads(self.control.readline())["n"]

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()


if __name__ == "__main__":
    try:
        asyncio.run(serve(int(sys.argv[1]), sys.argv[2:]))
    except KeyboardInterrupt:
        pass

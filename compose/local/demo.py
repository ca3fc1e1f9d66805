"""make demo: a meditation goes from the phone to the laptop, on the running local stack.

Prints a timeline: each step, and for the change that both devices see the milliseconds of each stretch
beside its budget. Nothing is estimated: a subscriber of the commands, Redis' MONITOR, a subscriber of
the events and the laptop's WebSocket each note when they saw it. With --clock: a game of chess instead,
see demo_chess.py.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
import uuid

import pika
import redis

import demo_chess
from demo_device import API, Device, Timeline, next_frame
from process import http_status

BUDGET = [("API", 10), ("Redis", 5), ("publish", 5), ("broadcast", 20), ("apply", 5)]
N_WARM_UP = 50


def read(path):
    with open(path) as f:
        return f.read().strip()


def canonical(value):
    """RFC 8785 for the plain data of this demo (ASCII names, integers)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class Watch:
    """Notes when something was first seen."""

    def __init__(self):
        self.at = None
        self.seen = threading.Event()

    def note(self):
        if not self.seen.is_set():
            self.at = time.perf_counter()
            self.seen.set()


def watch_broker(broker, exchange, key, marker, watch, ready):
    connection = pika.BlockingConnection(pika.URLParameters(broker))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, key)
    ready.set()
    for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=20):
        if method is None or marker in body:
            watch.note()
            break
    connection.close()


def watch_redis(client, session_id, watch, ready):
    with client.monitor() as monitor:
        ready.set()
        for command in monitor.listen():
            if command["command"].upper().startswith("EVALSHA") and session_id in command["command"]:
                watch.note()
                return


def start_watch(target, *arguments):
    ready, watch = threading.Event(), Watch()
    threading.Thread(target=target, args=(*arguments, watch, ready), daemon=True).start()
    ready.wait(10)
    return watch


def apply(frame, data):
    """What a device does with a delta: change its copy, check the sum."""
    for operation in frame["operations"]:
        data[operation["path"].rpartition("/")[2]] = operation["value"]
    assert hashlib.sha256(canonical(data)).hexdigest() == frame["checksum"]


def measure(phone, laptop_socket, session, broker, client):
    """One change, phone to laptop, with the moment of every step."""
    session_id = session["id"]
    marker = session_id.encode()
    command = start_watch(watch_broker, broker, "session_commands", "state_engine.commands", marker)
    event = start_watch(watch_broker, broker, "session_updates", f"session.{session_id}.*", marker)
    saved = start_watch(watch_redis, client, session_id)
    got = {}

    def receive():
        frame = next_frame(laptop_socket, "state_delta")
        got["frame"] = time.perf_counter()
        apply(frame, session["data"])
        got["applied"] = time.perf_counter()

    receiver = threading.Thread(target=receive)
    receiver.start()
    sent = time.perf_counter()
    phone.patch(session_id, "/data/progress", 75)
    answered = time.perf_counter()
    receiver.join(10)
    for watch in (command, saved, event):
        watch.seen.wait(10)
    moments = [sent, command.at, saved.at, event.at, got["frame"], got["applied"]]
    # An observer's own way can be longer than the next step's: never count that as negative time.
    for i in range(len(moments) - 2, 0, -1):
        moments[i] = min(moments[i], moments[i + 1])
    return [(b - a) * 1000 for a, b in zip(moments, moments[1:])], (answered - sent) * 1000


def print_table(steps, answered):
    print("\n  step        took      budget")
    for (name, budget), took in zip(BUDGET, steps):
        print(f"  {name:9} {took:6.2f} ms  {budget:3} ms{'' if took <= budget else '  over'}")
    total, budget = sum(steps), sum(b for _, b in BUDGET)
    print(f"  {'total':9} {total:6.2f} ms  {budget:3} ms{'' if total <= budget else '  over'}")
    print(f"  (the phone had its answer after {answered:.2f} ms)\n")


def demo(secret, broker, client):
    """secret: of tokens; broker: its URL; client: of Redis."""
    user = str(uuid.uuid4())
    phone, laptop = Device(secret, user, "phone"), Device(secret, user, "laptop")
    t = Timeline()
    session = phone.call("POST", "/sessions", json={
        "name": "Evening meditation", "type": "meditation",
        "data": {"progress": 0, "preferences": {"theme": "dark"}}})
    session_id = session["id"]
    t.say("phone", f"starts session {session_id}: {session['status']}, version 1")
    on_phone, on_laptop = phone.watch(session_id), laptop.watch(session_id)
    for name, socket in (("phone", on_phone), ("laptop", on_laptop)):
        t.say(name, f"watches: state_sync at version {next_frame(socket, 'state_sync')['version']}")
    for n in range(1, N_WARM_UP + 1):
        phone.patch(session_id, "/data/progress", n)
        apply(next_frame(on_laptop, "state_delta"), session["data"])
    t.say("phone", f"makes {N_WARM_UP} changes; the laptop has them all, checksums right")
    steps, answered = measure(phone, on_laptop, session, broker, client)
    t.say("laptop", "sees progress 75")
    print_table(steps, answered)
    phone.call("POST", f"/sessions/{session_id}?status=paused")
    paused = next_frame(on_laptop, "status_changed")
    t.say("phone", f"pauses (version {paused['version']})")
    begin = time.perf_counter()
    continued = laptop.call("POST", f"/sessions/{session_id}?status=active")
    told = next_frame(on_phone, "status_changed", to="active")
    took = (time.perf_counter() - begin) * 1000
    t.say("laptop", f"goes on at progress {continued['data']['progress']}: active on "
          f"{continued['activeDeviceId']}")
    t.say("phone", f"knows that {told['activeDeviceId']} has it, {took:.1f} ms after the laptop asked")
    on_laptop.send(json.dumps({"type": "patch", "id": "1", "sessionId": session_id, "operations": [
        {"op": "replace", "path": "/data/progress", "value": 100}]}))
    ack = next_frame(on_laptop, "ack")
    t.say("laptop", f"finishes over its WebSocket: version {ack['version']}")
    done = laptop.call("POST", f"/sessions/{session_id}?status=completed")
    t.say("laptop", f"completes it: {done['status']} at version {done['version']}")
    now = phone.call("GET", f"/sessions/{session_id}")
    assert now["data"]["progress"] == 100 and now["status"] == "completed"
    t.say("phone", "reads the same: progress 100, completed")
    return 0


def start_stack(binaries):
    print("no local stack runs: starting one …", flush=True)
    stack = subprocess.Popen([sys.executable, "compose/local/run.py", "--binaries", binaries],
                             stdout=subprocess.PIPE, stderr=open("build/demo-stack.log", "w"), text=True)
    for line in stack.stdout:
        if line.startswith("handoff ready"):
            return stack
    raise SystemExit("error: the stack did not start; see build/demo-stack.log")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binaries", required=True)
    arguments.add_argument("--clock", action="store_true")
    options = arguments.parse_args()
    stack = None
    if http_status(API + "/ready") != 200:
        stack = start_stack(options.binaries)
    try:
        secret, password = read(".run/jwt.secret"), read(".run/servers.secret")
        if options.clock:
            return demo_chess.play(secret)
        return demo(secret, f"amqp://handoff:{password}@127.0.0.1:5682/handoff",
                    redis.Redis(port=6382, password=password))
    finally:
        if stack:
            stack.send_signal(signal.SIGTERM)
            stack.communicate()


if __name__ == "__main__":
    sys.exit(main())

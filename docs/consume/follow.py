"""Follows every session: each change once, in order, none missing. python3-pika, and nothing else."""
import json
import os
import sqlite3
import urllib.request

import pika

db = sqlite3.connect(os.environ.get("DATABASE", "follow.db"), isolation_level=None)
db.execute("create table if not exists seen (session text primary key, epoch int, version int)")


def act(event):
    """What this service is for. Position and effect are one: in one transaction, or the effect may come twice."""
    print(event["sessionId"], event["epoch"], event["version"], event["type"], flush=True)
    db.execute("insert or replace into seen values (?, ?, ?)", [event["sessionId"], event["epoch"], event["version"]])


def missed(session, epoch, version):
    url = f"{os.environ['HANDOFF_URL']}/sessions/{session}/deltas?since={version}&epoch={epoch}&limit=100"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {os.environ['HANDOFF_TOKEN']}"})
    answer = json.load(urllib.request.urlopen(request, timeout=10))
    if not answer["complete"]:
        raise LookupError("too long ago: GET the session and begin again from there")
    return answer["items"]


def take(event, position):
    while at := db.execute("select epoch, version from seen where session = ?", [event["sessionId"]]).fetchone():
        if position <= at:
            return  # told again
        earlier = [e for e in missed(event["sessionId"], *at) if (e["epoch"], e["version"]) < position] \
            if position > (at[0], at[1] + 1) else []
        if not earlier:
            break
        for e in earlier:
            act(e)
    act(event)


def on_message(channel, method, properties, body):
    try:
        event = json.loads(body)
        if properties.message_id.count(":") == 2:  # a version; what has none (joined, broadcast) has a UUID there
            take(event, (event["epoch"], event["version"]))
        channel.basic_ack(method.delivery_tag)  # after the effect: else a crash would lose it
    except Exception as error:  # to our own dead letters, so that one bad message does not stop the rest
        print("set aside:", error, flush=True)
        channel.basic_nack(method.delivery_tag, requeue=False)


channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
name = os.environ.get("QUEUE", "consumer.follow")
channel.exchange_declare(name + ".dead", "fanout", durable=True)
channel.queue_declare(name + ".dead", durable=True)
channel.queue_bind(name + ".dead", name + ".dead")
channel.queue_declare(name, durable=True, arguments={"x-dead-letter-exchange": name + ".dead"})
channel.queue_bind(name, "session_updates", "session.#")
channel.basic_qos(prefetch_count=100)
channel.basic_consume(name, on_message)
print("following", flush=True)
channel.start_consuming()

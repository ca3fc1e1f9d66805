"""Every change of every session once, in order, none missing, for a service with a PostgreSQL database of its own: copy this file beside
your program. python3-pika, python3-psycopg2. Where the servers are is in the environment: AMQP_URL, DATABASE_URL, HANDOFF_URL, HANDOFF_TOKEN."""
import http.client
import json
import os
import urllib.error
import urllib.request

import pika
import psycopg2

POSITIONS = "create table if not exists handoff_positions (session text primary key, epoch bigint not null, version bigint not null)"
REACHED = "select epoch, version from handoff_positions where session = %s"
ADVANCE = """insert into handoff_positions as at values (%s, %s, %s) on conflict (session) do update set epoch = excluded.epoch,
             version = excluded.version where (at.epoch, at.version) < (excluded.epoch, excluded.version)"""


def follow(queue, schema, effect):
    """Calls effect(cursor, event) in the transaction that moves the session's position. schema: SQL that makes the effect's tables.
    Raises when a server is away: to be started again; what was not acknowledged comes again."""
    db = psycopg2.connect(os.environ["DATABASE_URL"])
    with db, db.cursor() as cursor:
        cursor.execute(POSITIONS + ";" + schema)

    def on_message(channel, method, properties, body):
        try:
            if properties.message_id.count(":") == 2:  # a version; what is none (joined, broadcast, …) has a UUID there
                take(db, effect, json.loads(body))
            channel.basic_ack(method.delivery_tag)  # after the effect: else a crash would lose it
        except (OSError, psycopg2.OperationalError, psycopg2.InterfaceError):
            raise  # it passes: to set aside all that comes meanwhile would help nobody
        except Exception as error:  # to our own dead letters, so that one bad message does not stop the rest
            print("set aside:", error, flush=True)
            channel.basic_nack(method.delivery_tag, requeue=False)

    channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
    channel.exchange_declare(queue + ".dead", "fanout", durable=True)
    channel.queue_declare(queue + ".dead", durable=True)
    channel.queue_bind(queue + ".dead", queue + ".dead")
    channel.queue_declare(queue, durable=True, arguments={"x-dead-letter-exchange": queue + ".dead"})
    channel.queue_bind(queue, "session_updates", "session.#")
    channel.basic_qos(prefetch_count=100)
    channel.basic_consume(queue, on_message)
    print("following", flush=True)
    channel.start_consuming()
    raise ConnectionError("the queue is gone")


def take(db, effect, event):
    """Acts upon what is missing before the event, then upon the event."""
    while event["epoch"] != (at := reached(db, event["sessionId"]))[0] or event["version"] > at[1] + 1:
        missed = ask(f"{event['sessionId']}/deltas?since={at[1]}&epoch={at[0]}&limit=100")
        if missed and not missed["complete"]:  # too long ago, or rebuilt in another epoch: begin again from what it is now
            if session := ask(event["sessionId"]):
                act(db, effect, {"type": "state_sync", "sessionId": session["id"], "epoch": session["epoch"], "version": session["version"],
                                 "timestamp": session["updatedAt"], "session": session})
            break
        if not missed or not missed["items"]:
            break
        for earlier in missed["items"]:
            act(db, effect, earlier)
    act(db, effect, event)


def reached(db, session):
    with db, db.cursor() as cursor:
        cursor.execute(REACHED, [session])
        return cursor.fetchone() or (1, 0)  # of what is new to this service all


def act(db, effect, event):
    with db, db.cursor() as cursor:
        cursor.execute(ADVANCE, [event["sessionId"], event["epoch"], event["version"]])
        if cursor.rowcount:  # else it was told before, to this process or another
            effect(cursor, event)


def ask(path):
    """What GET /sessions/{path} answers; None: the session is not there any more."""
    request = urllib.request.Request(f"{os.environ['HANDOFF_URL']}/sessions/{path}",
                                     headers={"Authorization": f"Bearer {os.environ['HANDOFF_TOKEN']}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        if refusal.code != 404:
            raise
        return None
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionError(f"GET /sessions/{path}: {error}") from error

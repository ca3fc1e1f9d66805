"""What Redis lost, or holds and cannot be believed about, is put together again from PostgreSQL: once,
under a new epoch, and with what was asked for under each key (contract section 6; docs/decisions/0009)."""

import json
import signal
import uuid

import pytest

from harness import new_user, together, wait_until
from rest import refused


def add(key, value):
    return [{"op": "add", "path": f"/data/{key}", "value": value}]


def position(session):
    return session["epoch"], session["version"]


def keys(suite, session):
    return suite.redis_client().keys(f"session:{{{session['id']}}}:*")


def key(session, name):
    return f"session:{{{session['id']}}}:{name}"


class Rebuilds:
    """An independent subscriber: who heard of which rebuild, by message id."""

    def __init__(self, suite):
        self.connection = suite.amqp()
        self.channel = self.connection.channel()
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, "session_updates", "session.*.rebuilt")
        self.got = {}

    def take(self):
        """Session id -> the different rebuilds that were told, as (epoch, version)."""
        while True:
            method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            if not method:
                return {id: set(told.values()) for id, told in self.got.items()}
            event = json.loads(body)
            assert properties.type == "session_rebuilt"
            self.got.setdefault(event["sessionId"], {})[properties.message_id] = position(event)

    def wait_for(self, session):
        return wait_until(lambda: self.take().get(session["id"]), what="session_rebuilt")

    def close(self):
        self.connection.close()


@pytest.fixture
def lossy(own_suite):
    """A suite of its own, in whose Redis a test may break what it likes."""
    return own_suite()


@pytest.fixture
def rebuilds(lossy):
    rebuilds = Rebuilds(lossy)
    yield rebuilds
    rebuilds.close()


def recorded(suite, session):
    """Waits until PostgreSQL has the session's position."""
    wait_until(lambda: suite.query("select 1 from sessions where id = %s and epoch = %s and version = %s",
                                   session["id"], session["epoch"], session["version"]),
               what="the audit trail to catch up")


def test_a_lost_session_is_rebuilt_under_a_new_epoch(lossy, rebuilds):
    phone = lossy.device(new_user(), "phone")
    session = phone.create({"a": 1})
    phone.patch(session["id"], add("b", [2, {"c": "ü"}]))
    lossy.redis_client().flushdb()
    answer = refused(phone.patch(session["id"], add("d", 3), baseVersion=2), 409, "version_conflict")
    assert (answer["epoch"], answer["currentVersion"]) == (2, 2)
    assert answer["session"]["data"] == {"a": 1, "b": [2, {"c": "ü"}]}
    assert rebuilds.wait_for(session) == {(2, 2)}
    after = phone.patch(session["id"], add("d", 3), baseVersion=2, epoch=2).json()
    assert position(after) == (2, 3)
    assert phone.read(session["id"])["data"] == {"a": 1, "b": [2, {"c": "ü"}], "d": 3}
    assert phone.heartbeat(session["id"]).status_code == 200
    assert rebuilds.take() == {session["id"]: {(2, 2)}}

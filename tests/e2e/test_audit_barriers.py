"""Barriers through the audit queue: answered after the commit of all that was there before."""

import pytest

from audit import EVENTS, Trail, created, delta, new_session_id
from harness import wait_until


@pytest.fixture(scope="module")
def trail(new_realm, tmp_path_factory):
    trail = Trail(new_realm(), tmp_path_factory.mktemp("trail") / "log", HANDOFF_AUDIT_WAIT="1s")
    try:
        yield trail
    finally:
        trail.stop()


def test_what_was_told_before_is_in_postgresql(trail):
    for _ in range(20):
        session = new_session_id()
        trail.tell(created(session), *(delta(session, v) for v in range(2, 12)))
        trail.hear(trail.ask())
        assert trail.versions(session) == list(range(1, 12))
    assert trail.n_messages(EVENTS) == 0
    assert trail.n_messages("audit_writer.dead") == 0


def test_the_answer_is_an_empty_object_with_the_askers_mark(trail):
    name = trail.ask()[0]
    trail.hear([name])
    assert [body for mark, body in trail.answers if mark == name] == [b"{}"]


def test_a_thousand_barriers_and_events_between(trail):
    before, session = trail.metric("handoff_audit_barriers_total"), new_session_id()
    names = []
    for version in range(1, 11):
        trail.tell(created(session) if version == 1 else delta(session, version))
        names += trail.ask(100)
    trail.hear(names)
    assert trail.versions(session) == list(range(1, 11))
    assert trail.metric("handoff_audit_barriers_total") == before + 1000
    marks = [mark for mark, _ in trail.answers if mark in set(names)]
    assert marks == names, "each once, in the order they were asked in"


def test_dead_letters_among_them_are_confirmed_first(trail):
    trail.channel.basic_publish("", EVENTS, b"junk")
    trail.hear(trail.ask())
    assert trail.n_messages("audit_writer.dead") == 1
    assert trail.take("audit_writer.dead")[1] == b"junk"


@pytest.mark.parametrize("reply_to", [None, "audit_writer.dead", EVENTS, "amq.rabbitmq.reply-to.x y"])
def test_nothing_is_sent_where_no_answer_may_go(trail, reply_to):
    n = len(trail.logged("barrier_refused"))
    trail.ask(reply_to=reply_to)
    wait_until(lambda: len(trail.logged("barrier_refused")) == n + 1, what="the record")
    assert trail.logged("barrier_refused")[-1].get("replyTo", "") == (reply_to or "")
    trail.settle()
    assert trail.n_messages("audit_writer.dead") == trail.n_messages(EVENTS) == 0


def test_no_answer_while_postgresql_is_away_and_then_one(trail):
    trail.settle()
    trail.close_database()
    try:
        session = new_session_id()
        trail.tell(created(session))
        names = trail.ask(2)
        wait_until(lambda: trail.metric("handoff_audit_pending") == 3, what="all in hand")
        trail.connection.process_data_events(0.3)
        assert not set(names) & {mark for mark, _ in trail.answers}
    finally:
        trail.open_database()
    trail.hear(names)
    assert trail.versions(session) == [1]


def test_a_barrier_that_comes_again_is_answered_again(trail):
    """The writer is killed with a barrier in hand."""
    trail.close_database()
    names = trail.ask(2)
    wait_until(lambda: trail.metric("handoff_audit_pending") == 2, what="both in hand")
    trail.suite.kill("audit_writer")
    trail.open_database()
    trail.suite.restart("audit_writer")
    trail.hear(names)

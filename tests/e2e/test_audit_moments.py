"""What must hold while audit_writer's transaction is under way, or its dead letter on its way: PostgreSQL is held by
a lock, the broker by a full queue (contract section 7). Broken on purpose by tests/mutants."""

import contextlib
import json

import psycopg2
import pytest

from audit import DEAD, EVENTS, Trail, created, delta, new_session_id
from harness import BUILD, wait_until
from ws import rss_of

HELD, LARGE = 512, 128 << 10  # events of the default settings; bytes of one
KEPT = (16 << 20) // LARGE  # of those that a lost connection brought
SPARE = (400 if "asan" in str(BUILD) else 64) << 20  # bytes: for a batch on its way to PostgreSQL, and what a sanitizer keeps of what is freed


@pytest.fixture
def trail(new_realm, tmp_path):
    trail = Trail(new_realm(), tmp_path / "log")
    try:
        yield trail
    finally:
        trail.stop()


@contextlib.contextmanager
def writes_held(trail):
    """Of a transaction that has begun nothing is committed."""
    connection = psycopg2.connect(trail.realm.postgresql.url)
    connection.cursor().execute("lock table session_events in exclusive mode")
    try:
        yield
    finally:
        connection.close()


def wait_held(trail):
    wait_until(lambda: trail.suite.query(
        "select 1 from pg_stat_activity where application_name = 'audit_writer' and wait_event_type = 'Lock'"),
        what="a transaction that waits")


def end_consumers(servers, trail):
    """The broker ends the connections that consume in that virtual host."""
    vhost = trail.realm.rabbitmq.url.rpartition("/")[2]
    code = ('length([rabbit_networking:close_connection(proplists:get_value(connection, rabbit_channel:info(element(1, C), '
            f'[connection])), "test") || Q <- rabbit_amqqueue:list(<<"{vhost}">>), C <- rabbit_amqqueue:consumers(Q)]).')
    assert int(servers.eval_in_broker(code)) == 1


def test_what_was_not_committed_is_written_by_the_next_one(trail):
    session = new_session_id()
    with writes_held(trail):
        trail.tell(created(session), delta(session, 2))
        wait_held(trail)
        trail.suite.kill("audit_writer")
        trail.admin(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{trail.database}' "
                    "and application_name = 'audit_writer'")
    trail.suite.restart("audit_writer")
    wait_until(lambda: trail.versions(session) == [1, 2], what="both rows")


def test_large_events_that_cannot_be_written_wait_in_the_queue(servers, trail):
    """What is held has a bound, also when all of it comes again; and nothing is lost of it, or twice there."""
    session, before, n = new_session_id(), rss_of(trail.suite, "audit_writer"), HELD + 60
    with writes_held(trail):
        trail.tell_quickly(created(session), *(delta(session, v, filler=LARGE * "x") for v in range(2, n + 1)))

        def held():
            return trail.metric("handoff_audit_pending")
        wait_until(lambda: held() + trail.n_messages(EVENTS) == n, what="all that was told")
        assert held() == HELD and rss_of(trail.suite, "audit_writer") - before < HELD * LARGE + SPARE
        end_consumers(servers, trail)
        wait_until(lambda: held() > HELD and trail.n_messages(EVENTS) == n - HELD, what="the same again")
        assert held() <= HELD + 2 * KEPT + 1
        assert rss_of(trail.suite, "audit_writer") - before < (HELD + 2 * KEPT) * LARGE + SPARE
    trail.settle()
    assert trail.versions(session) == list(range(1, n + 1))
    assert trail.n_messages(EVENTS) == trail.n_messages(DEAD) == 0


def test_what_was_brought_is_written_though_the_broker_lost_it(trail):
    """Confirmed, in hand, and nowhere else: the window has none of it."""
    session, told = new_session_id(), []
    with writes_held(trail):
        trail.tell(created(session))
        wait_held(trail)
        trail.tell(*(delta(session, v) for v in range(2, 6)))
        names = trail.ask()
        wait_until(lambda: trail.metric("handoff_audit_pending") == 6, what="all in hand")
        trail.channel.queue_delete(EVENTS)
        wait_until(lambda: trail.logged("dependency_lost"), what="the lost connection")
        wait_until(lambda: trail.dependencies()["rabbitmq"], what="the next connection")
        told = trail.logged("audit_gap_filled")
    wait_until(lambda: trail.versions(session) == [1, 2, 3, 4, 5], what="all rows")
    trail.settle()
    assert told == [] and not set(names) & {name for name, _ in trail.answers}
    assert trail.metric("handoff_audit_refilled_total") == 0


def test_what_was_brought_twice_is_written_once(servers, trail):
    """The connection broke, and the broker brings all of it again."""
    session = new_session_id()
    with writes_held(trail):
        trail.tell(created(session))
        wait_held(trail)
        trail.tell(*(delta(session, v) for v in range(2, 6)))
        wait_until(lambda: trail.metric("handoff_audit_pending") == 5, what="all in hand")
        end_consumers(servers, trail)
        wait_until(lambda: trail.metric("handoff_audit_pending") == 10, what="all in hand again")
        end_consumers(servers, trail)
        wait_until(lambda: len(trail.logged("dependency_lost")) == 2, what="the second loss")
        wait_until(lambda: trail.metric("handoff_audit_pending") == 11, what="what is kept, and all of it again")
    trail.settle()
    assert trail.versions(session) == [1, 2, 3, 4, 5]
    assert trail.metric("handoff_audit_rows_total") == 5 and trail.metric("handoff_audit_two_contents_total") == 0
    assert trail.n_messages(DEAD) == 0


def test_a_barrier_is_answered_after_the_commit(trail):
    session = new_session_id()
    with writes_held(trail):
        trail.tell(created(session))
        names = trail.ask()
        wait_until(lambda: trail.metric("handoff_audit_pending") == 2, what="both in hand")
        wait_held(trail)
        trail.connection.process_data_events(0.3)
        assert trail.answers == []
    trail.hear(names)
    assert trail.versions(session) == [1]


def test_a_row_that_cannot_be_goes_alone(trail):
    """One that PostgreSQL refuses, among others that were told at once."""
    session, other = new_session_id(), new_session_id()
    impossible = delta(other, 7, deviceId="impossible")
    trail.sql("""
        create function refuse() returns trigger language plpgsql as $$
            begin raise exception 'not this one' using errcode = '22023'; end $$;
        create trigger refuse before insert on session_events for each row when (new.device_id = 'impossible')
            execute function refuse()""")
    with writes_held(trail):  # so that the rest comes in one batch
        trail.tell(created(new_session_id()))
        wait_held(trail)
        trail.tell(created(session), delta(session, 2), impossible, delta(session, 3), delta(session, 4))
        wait_until(lambda: trail.metric("handoff_audit_pending") == 6, what="all in hand")
    trail.settle()
    assert trail.versions(session) == [1, 2, 3, 4]
    properties, body = trail.take(DEAD)
    assert json.loads(body) == impossible and properties.headers["reason"]
    assert trail.n_messages(DEAD) == 0


def test_a_dead_letter_that_is_refused_stays_in_the_queue(trail):
    """Until the broker takes it."""
    trail.settle()  # both connections are up: one that comes up later would find the queue not as it should be
    trail.channel.queue_delete(DEAD)
    trail.channel.queue_declare(DEAD, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    trail.channel.basic_publish("", DEAD, b"in the way")
    trail.channel.basic_publish("", EVENTS, b"junk")
    wait_until(lambda: trail.metric("handoff_audit_failures_total") + trail.metric("handoff_audit_dead_letters_total"),
               what="a refused dead letter")
    assert trail.take(DEAD)[1] == b"in the way"
    assert trail.take(DEAD)[1] == b"junk"

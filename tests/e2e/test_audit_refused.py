"""A PostgreSQL that is there and says no, for another reason than the rows: nothing is put away, somebody is
told, and all of it is written once it says yes."""

from audit import DEAD, EVENTS, created, delta, new_session_id
from harness import wait_until


def check_refused(trail, sqlstate, no, yes):
    session, n = new_session_id(), len(trail.logged("audit_refused"))
    trail.sql(no)
    try:
        trail.tell(created(session), delta(session, 2))
        wait_until(lambda: trail.metric("handoff_audit_refused") == 1, what="the alert")
        failures = trail.metric("handoff_audit_failures_total")
        wait_until(lambda: trail.metric("handoff_audit_failures_total") > failures, what="another try")
        assert trail.versions(session) == []
        [record] = trail.logged("audit_refused")[n:]
        assert (record["level"], record["sqlstate"]) == ("error", sqlstate) and record["hint"]
    finally:
        trail.sql(yes)
    wait_until(lambda: trail.versions(session) == [1, 2], timeout=40, what="the rows")
    wait_until(lambda: trail.metric("handoff_audit_refused") == 0, what="the end of the alert")
    trail.settle()
    assert trail.n_messages(DEAD) == trail.n_messages(EVENTS) == 0


def test_a_right_that_is_missing(trail):
    check_refused(trail, "42501", f"revoke insert on session_events from {trail.database}",
                  f"grant insert on session_events to {trail.database}")


def test_a_full_disk(trail):
    """A trigger says what it says."""
    check_refused(trail, "53100", """
        create function refuse() returns trigger language plpgsql as $$
            begin raise exception 'no' using errcode = '53100'; end $$;
        create trigger refuse before insert on sessions execute function refuse()""",
                  "drop function refuse cascade")


def test_a_deadlock_is_no_alert(trail):
    session, n = new_session_id(), len(trail.logged("audit_refused"))
    trail.sql(f"""create sequence tries;
        grant usage on sequence tries to {trail.database};
        create function refuse() returns trigger language plpgsql as $$
            begin if nextval('tries') < 4 then raise exception 'no' using errcode = '40P01'; end if;
            return null; end $$;
        create trigger refuse before insert on sessions execute function refuse()""")
    trail.tell(created(session))
    trail.settle()
    trail.sql("drop function refuse cascade")
    assert trail.versions(session) == [1] and len(trail.logged("audit_refused")) == n


def test_a_lost_database_is_no_alert(trail):
    session, n = new_session_id(), len(trail.logged("audit_refused"))
    trail.close_database()
    trail.tell(created(session))
    trail.open_database()
    trail.settle()
    assert trail.versions(session) == [1] and len(trail.logged("audit_refused")) == n

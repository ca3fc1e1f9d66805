"""The model finds what it is there for: each wrong history is a violation, and a right one is none."""

import copy
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from model import Model, Watcher, apply, checksum_of  # noqa: E402

TIME = "2026-01-01T00:00:0%d.000Z"


class History:
    """A session with two writes, as everybody should see it."""

    def __init__(self, explains=lambda since, until: None):
        self.model = Model(on_violation=lambda text: None, explains=explains)
        self.session = self.model.add_session("s", "u")
        self.watcher = Watcher(self.model, self.session, "laptop")
        self.ops = [self.model.begin(self.session, f"t{n}", "slot", "phone") for n in range(3)]
        data = {"w": {"t": "t0"}}
        self.events = [{"type": "session_created", "sessionId": "s", "epoch": 1, "version": 1,
                        "timestamp": TIME % 1, "session": {"data": data}}]
        for n in (1, 2):
            operations = [{"op": "add", "path": "/data/w", "value": {"t": f"t{n}"}}]
            data = apply(data, operations)
            self.events.append({"type": "state_delta", "sessionId": "s", "epoch": 1, "version": n + 1,
                                "timestamp": TIME % (n + 1), "baseVersion": n, "operations": operations,
                                "checksum": checksum_of(data)})
        self.seen = copy.deepcopy(self.events)
        self.published, self.rows = copy.deepcopy(self.events), copy.deepcopy(self.events)
        self.outcomes = [(1, 1), (1, 2), (1, 3)]
        self.resource = {"epoch": 1, "version": 3, "data": data, "checksum": checksum_of(data)}

    def judge(self):
        for op, outcome in zip(self.ops, self.outcomes):
            if outcome == "refused":
                self.model.refused(op, "409")
            elif outcome:
                self.model.acked(op, outcome)
        first = self.events[0]["session"]
        self.watcher.take({"type": "state_sync", "epoch": 1, "version": 1, "session": first, "reason": "initial"})
        for event in self.seen[1:]:
            self.watcher.take(event)
        for event in self.published:
            self.model.event(event, "subscriber")
        rows = [(e["epoch"], e["version"], e) for e in self.rows]
        self.model.check(self.session, self.resource, rows)
        return {v["what"] for v in self.model.violations}


def test_a_right_history_has_no_violation():
    assert History().judge() == set()


def test_a_trail_is_whole_with_all_positions_up_to_the_one_that_was_told():
    history = History()
    assert history.judge() == set()
    history.session.folded = (1, 0)
    rows = {(1, 1), (1, 2)}
    assert history.model.has_rows(history.session, (1, 2), rows)
    assert not history.model.has_rows(history.session, (1, 3), rows)
    assert not history.model.has_rows(history.session, (1, 3), {(1, 1), (1, 3)})
    assert not history.model.has_rows(history.session, (2, 3), rows | {(1, 3)})  # nobody heard of a rebuild
    history.session.rebuilt[2] = (3, "")
    assert history.model.has_rows(history.session, (2, 3), rows | {(1, 3)})


def test_an_unknown_write_may_be_applied_or_not():
    for unknown in (1, 2):
        history = History()
        history.outcomes[unknown] = None
        assert history.judge() == set()


def without_last(history):
    for events in (history.seen, history.published, history.rows):
        events.pop()
    data = {"w": {"t": "t1"}}
    history.resource = {"epoch": 1, "version": 2, "data": data, "checksum": checksum_of(data)}


def lost_write(history):
    """As if Redis had forgotten it, and nobody else had heard of it."""
    without_last(history)
    history.session.floor = (0, 0)


def lost_on_the_exchange(history):
    del history.published[1]


def lost_event_of_subscribers(history):
    for events in (history.seen, history.published, history.rows):
        del events[1]


def doubled(history):
    """The write of version 2 takes effect again as version 4."""
    event = dict(history.events[1], version=4, baseVersion=3, timestamp=TIME % 4)
    for events in (history.seen, history.published, history.rows):
        events.append(event)
    data = {"w": {"t": "t1"}}
    history.resource = {"epoch": 1, "version": 4, "data": data, "checksum": checksum_of(data)}


def two_contents(history):
    history.rows[2]["operations"][0]["value"] = {"t": "t1"}


def two_states(history):
    history.model.state(history.session, (1, 2), {"w": 0}, "another read")


def reordered_view(history):
    history.seen[1], history.seen[2] = history.seen[2], history.seen[1]


def gap_in_view(history):
    del history.seen[1]


def doubled_in_view(history):
    history.seen.append(history.seen[-1])


def behind(history):
    history.seen.pop()


def missing_row(history):
    del history.rows[1]


def two_rows(history):
    history.rows.append(history.rows[1])


def refused_and_applied(history):
    history.outcomes[1] = "refused"


def written_by_nobody(history):
    del history.session.ops["t1"]


def status_by_nobody(history):
    event = dict(history.events[2], type="status_changed", to="paused", deviceId="phone", version=4)
    for events in (history.seen, history.published, history.rows):
        events.append(event)
    history.resource["version"] = 4


def idle(history, ttl, seconds):
    history.session.ttl = ttl
    event = dict(history.events[2], type="status_changed", deviceId=None, version=4, reason="idle",
                 timestamp="2026-01-01T00:01:%06.3fZ" % (seconds - 57), **{"from": "active", "to": "paused"})
    del event["operations"]
    for events in (history.seen, history.published, history.rows):
        events.append(event)
    history.resource["version"] = 4


def paused_without_ttl(history):
    idle(history, None, 61)


def paused_too_early(history):
    idle(history, 60, 59.9)


def broadcast_by_nobody(history):
    history.model.heard(history.session, {"message": {"t": "b1"}}, "laptop")


def refused_broadcast(history):
    history.model.refused(history.model.begin(history.session, "b1", "broadcast", "phone"), "503")
    broadcast_by_nobody(history)


def other_session(history):
    """A create that took effect twice, under another id."""
    history.model.event(dict(history.events[0], sessionId="s2"), "subscriber")
    history.model.check_strangers()


def other_position(history):
    history.outcomes[1] = (1, 3)


def wrong_state(history):
    history.resource["data"] = {"w": {"t": "t2"}, "more": 1}
    history.resource["checksum"] = checksum_of(history.resource["data"])


def wrong_checksum(history):
    history.resource["checksum"] = "0" * 64


def read_backwards(history):
    history.session.floor = (1, 4)


def sync_backwards(history):
    history.seen.append({"type": "state_sync", "epoch": 1, "version": 1, "reason": "slow",
                         "session": history.events[0]["session"]})


def time_fell(history):
    for events in (history.seen, history.published, history.rows):
        events[2]["timestamp"] = TIME % 0


def epoch_without_rebuild(history):
    history.resource["epoch"] = 2


@pytest.mark.parametrize("break_it, what", [
    (lost_write, "a lost write"),
    (lost_on_the_exchange, "a lost event"),
    (lost_event_of_subscribers, "a lost event"),
    (doubled, "applied twice"),
    (two_contents, "two contents"),
    (two_states, "two contents"),
    (reordered_view, "a watcher's view: out of order, doubled or with a gap"),
    (gap_in_view, "a watcher's view: out of order, doubled or with a gap"),
    (doubled_in_view, "a watcher's view: out of order, doubled or with a gap"),
    (behind, "a watcher's view: behind"),
    (missing_row, "rows are missing"),
    (two_rows, "two rows of one position"),
    (refused_and_applied, "refused, and applied"),
    (written_by_nobody, "nobody wrote this"),
    (status_by_nobody, "nobody wrote this"),
    (paused_without_ttl, "nobody wrote this"),
    (paused_too_early, "paused too early"),
    (broadcast_by_nobody, "nobody wrote this"),
    (refused_broadcast, "refused, and sent"),
    (other_session, "a session that nobody made"),
    (other_position, "an answer with another position than the event"),
    (wrong_state, "the state is not what its events make"),
    (wrong_checksum, "a checksum that is not its data's"),
    (read_backwards, "a read went backwards"),
    (sync_backwards, "a watcher's view: backwards"),
    (time_fell, "time fell"),
    (epoch_without_rebuild, "an epoch grew without session_rebuilt"),
])
def test_a_wrong_history_is_found(break_it, what):
    history = History()
    break_it(history)
    assert what in history.judge()


def test_what_nobody_used_may_be_paused():
    history = History()
    idle(history, 60, 60)
    assert history.judge() == set()


def test_what_a_broker_lost_its_subscribers_need_not_have():
    history = History()
    lost_on_the_exchange(history)
    history.model.forgets = True
    assert history.judge() == set()


def rebuilt(lost_tail, explains):
    """The session was rebuilt at version 2 (lost_tail: without the answered write of version 3) or at 3."""
    history = History(explains)
    last = 2 if lost_tail else 3
    data = {"w": {"t": f"t{last - 1}"}}
    if lost_tail:
        history.published.pop()
        history.rows.pop()
        history.seen.pop()
    history.resource = {"epoch": 2, "version": last, "data": data, "checksum": checksum_of(data)}
    history.published.append({"type": "session_rebuilt", "sessionId": "s", "epoch": 2, "version": last,
                              "checksum": checksum_of(data)})
    history.seen.append({"type": "state_sync", "epoch": 2, "version": last, "reason": "rebuilt",
                         "session": history.resource})
    return history.judge()


def test_a_rebuild_that_loses_nothing_needs_no_explanation():
    assert rebuilt(lost_tail=False, explains=lambda since, until: None) == set()


def test_what_a_rebuild_lost_is_explained_by_a_double_fault_or_a_violation():
    assert rebuilt(lost_tail=True, explains=lambda since, until: "redis + engine") == set()
    assert rebuilt(lost_tail=True, explains=lambda since, until: None) == {"a lost write"}


def test_an_epoch_begins_with_what_led_to_it():
    history = History()
    history.published.append({"type": "session_rebuilt", "sessionId": "s", "epoch": 2, "version": 3,
                              "checksum": "0" * 64})
    history.resource["epoch"] = 2
    assert "rebuilt to another state" in history.judge()


def late(explains):
    """The session was rebuilt at version 3 with what version 2 made: 3 was on its way, and came."""
    history = History(explains)
    data = {"w": {"t": "t1"}}
    history.resource = {"epoch": 2, "version": 3, "data": data, "checksum": checksum_of(data)}
    history.published.append({"type": "session_rebuilt", "sessionId": "s", "epoch": 2, "version": 3,
                              "checksum": checksum_of(data)})
    history.seen.append({"type": "state_sync", "epoch": 2, "version": 3, "reason": "rebuilt",
                         "session": history.resource})
    return history.judge()


def test_what_came_too_late_for_a_rebuild_is_explained_by_a_double_fault_or_a_violation():
    assert late(lambda since, until: "redis + broker") == set()
    assert "rebuilt to another state" in late(lambda since, until: None)


def test_two_answers_to_one_key():
    history = History()
    history.model.acked(history.ops[1], (1, 2))
    history.model.acked(history.ops[1], (1, 3))
    assert [v["what"] for v in history.model.violations] == ["two answers"]

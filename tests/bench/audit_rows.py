"""How many events a second become rows: the audit alone, without engines. audit_publish.c sends what the
engine would; 2000 sessions, the neighbours of each event are of other sessions."""

import json
import subprocess
import time

from machine import Meter

N_SESSIONS = 2000
N_QUEUED = 100_000
RATE = 20_000  # a second: the bar
SECONDS = 5
PATIENCE = 120  # s
QUIET = 15  # s: devices of other phases leave 10 s after their last connection, which are rows, too

QUEUED = f"audit: {N_QUEUED:,} rows that waited"
SUSTAINED = f"audit: {RATE:,} rows/s"


def names():
    return [QUEUED, SUSTAINED]


class AuditRows:
    def __init__(self, options, suite, servers, count_rows):
        """count_rows: how many audit_writer says to have written since it started."""
        self.program = options.programs / "audit_publish"
        self.suite, self.servers, self.count_rows = suite, servers, count_rows
        self.moment, self.n_published, self.n_accepted = int(time.time() * 1000), 0, 0
        rows_before = self._await_quiet()
        self._publish(N_SESSIONS, 0)
        self._await_rows(rows_before + N_SESSIONS)

    def _await_quiet(self):
        """How many rows there are when no more come."""
        n, since = self.count_rows(self.suite), time.monotonic()
        while time.monotonic() < since + QUIET:
            time.sleep(0.5)
            now = self.count_rows(self.suite)
            n, since = now, since if now == n else time.monotonic()
        return n

    def _publisher(self, n, rate):
        argv = [self.program, self.servers.rabbitmq.url, self.moment, N_SESSIONS, self.n_published, n, rate]
        self.n_published += n
        return subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True)

    def _publish(self, n, rate):
        publisher = self._publisher(n, rate)
        told = publisher.communicate(timeout=PATIENCE)[0]
        if publisher.returncode:
            raise SystemExit("error: audit_publish ended; what it said is above")
        self.n_accepted = self.n_published - N_SESSIONS  # each session's first event is no delta
        return json.loads(told)

    def _await_rows(self, n):
        end = time.monotonic() + PATIENCE
        while self.count_rows(self.suite) < n:
            if time.monotonic() > end:
                raise SystemExit(f"error: not {n} rows within {PATIENCE} s")
            time.sleep(0.02)

    def _meter(self):
        return Meter({"audit_writer": self.suite.services["audit_writer"].process.pid,
                      "RabbitMQ": self.servers.rabbitmq.process.pid,
                      "PostgreSQL": self.servers.postgresql.process.pid})

    @staticmethod
    def _cost(before, after, n):
        return {name: (after[name] - before[name]) / n for name in after if name != "everything"}

    def queued(self):
        """From the start of audit_writer until all that waited in the queue is committed. Its CPU with its
        start, the others' without what publishing cost."""
        self.suite.terminate("audit_writer")
        self._publish(N_QUEUED, 0)
        pid_free = self._meter_of_servers().read()
        began = time.monotonic()
        self.suite.services["audit_writer"].start()
        self.suite.services["audit_writer"].wait_ready()
        self._await_rows(N_QUEUED)
        seconds = time.monotonic() - began
        after = self._meter().read()
        return {"rows": N_QUEUED, "seconds": seconds, "rowsPerSecond": N_QUEUED / seconds,
                "cpuPerRow": self._cost({"audit_writer": 0, **pid_free}, after, N_QUEUED)}

    def _meter_of_servers(self):
        return Meter({"RabbitMQ": self.servers.rabbitmq.process.pid,
                      "PostgreSQL": self.servers.postgresql.process.pid})

    def sustained(self):
        """At a fixed rate: how many were not committed when the last was sent, and 2 s later."""
        before, rows_before = self._meter().read(), self.count_rows(self.suite)
        told = self._publish(RATE * SECONDS, RATE)
        n, ended = told["events"], time.monotonic()
        pending = n - (self.count_rows(self.suite) - rows_before)
        while self.count_rows(self.suite) - rows_before < n and time.monotonic() - ended < 2:
            time.sleep(0.02)
        pending_later = n - (self.count_rows(self.suite) - rows_before)
        self._await_rows(rows_before + n)
        behind = time.monotonic() - ended
        return {"rows": n, "rate": n / told["sentSeconds"], "pendingAtEnd": pending,
                "pendingAfter2s": pending_later, "behindSeconds": behind,
                "rowsPerSecond": n / (told["seconds"] + behind),
                "cpuPerRow": self._cost(before, self._meter().read(), n)}

    def round(self, is_wanted, say):
        results = {}
        for name, measure in ((QUEUED, self.queued), (SUSTAINED, self.sustained)):
            if is_wanted(name):
                results[name] = measure()
                say(f"  {name:40} {line(results[name])}")
        return results


def part(options, suite, servers, count_rows, is_wanted, say):
    """All rounds: {audit}, and how many deltas were published."""
    say(f"  {N_SESSIONS:,} sessions without an engine; {options.rounds} rounds")
    rows = AuditRows(options, suite, servers, count_rows)
    rounds = [rows.round(lambda name: is_wanted(options, name), say) for _ in range(options.rounds)]
    return {"audit": rounds}, rows.n_accepted


def line(result):
    cost = "  ".join(f"{name} {us:.1f}" for name, us in result["cpuPerRow"].items())
    text = f"{result['rowsPerSecond']:8,.0f} rows/s   CPU µs a row: {cost}"
    if "pendingAtEnd" in result:
        text += (f"   sent {result['rate']:,.0f}/s, pending {result['pendingAtEnd']:,} at the end, "
                 f"{result['pendingAfter2s']:,} after 2 s, none after {result['behindSeconds']:.1f} s")
    return text

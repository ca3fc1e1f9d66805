"""The table of the audit trail's phases (audit_rows.py)."""

import statistics

from audit_rows import QUEUED, RATE, SUSTAINED
from report_clocks import bar
from report_crowd import spread, values_of

BEGIN, END = "<!-- audit: make bench writes them -->", "<!-- end of the audit -->"
PARTS = ("audit_writer", "RabbitMQ", "PostgreSQL")


def values(result, name, *path):
    return values_of(result.get("audit", []), name, *path)


def rows(result):
    found = []
    for name in (QUEUED, SUSTAINED):
        if values(result, name):
            sent = spread(values(result, name, "rate")) if name == SUSTAINED else "–"
            pending = [spread(values(result, name, key)) if name == SUSTAINED else "–" for key in ("pendingAtEnd", "pendingAfter2s")]
            found.append([name.removeprefix("audit: "), sent, spread(values(result, name, "rowsPerSecond")), *pending,
                          *(spread(values(result, name, "cpuPerRow", part), 1, 1) for part in PARTS)])
    return (["rows", "sent/s", "committed/s", "pending at the end", "after 2 s", *(f"{part} µs a row" for part in PARTS)], found)


def bars(result):
    found = []
    if values(result, QUEUED):
        found.append(bar("rows that waited", ">=", RATE, statistics.median(values(result, QUEUED, "rowsPerSecond")), "/s", 0))
    if values(result, SUSTAINED):
        found.append(bar("rows that come", ">=", RATE, statistics.median(values(result, SUSTAINED, "rowsPerSecond")), "/s", 0))
        found.append(bar("of them pending after 2 s", "<=", 0, statistics.median(values(result, SUSTAINED, "pendingAfter2s")), "", 0))
    return (["bar", "wanted", "measured", ""], found)


def tables(result):
    return [table for table in (rows(result), bars(result)) if table[1]]

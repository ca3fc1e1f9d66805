"""The tables of the phases with clocks (clocks.py)."""

import statistics

from clocks import CONTESTED, DEADLINES, SWITCHES
from report_crowd import spread, values_of

BEGIN, END = "<!-- clocks: make bench writes them -->", "<!-- end of the clocks -->"

# The known open Node.js system of this kind, measured elsewhere on two cores: switches a second and p50, ms.
REFERENCE = {1: (578, 1.6), 16: (867, 17.6), 64: (1702, 34.2)}
MOST_LATE_MS = 50


def values(result, name, *path):
    return values_of(result["clocks"], name, *path)


def measured(result, names):
    return [name for name in names if values(result, name)]


def milliseconds(result, name, *path):
    return spread(values(result, name, *path), 1000, 2)


def switches(result):
    rows = []
    for name in measured(result, SWITCHES):
        ratio = [one[name]["throughput"] / one[name]["patch"]["throughput"] for one in result["clocks"]]
        rows.append([name, spread(values(result, name, "throughput")), milliseconds(result, name, "latency", "p50"),
                     milliseconds(result, name, "latency", "p99"), spread(values(result, name, "patch", "throughput")),
                     milliseconds(result, name, "patch", "latency", "p50"), spread(ratio, 1, 2)])
    return (["request → answer", "switches/s", "p50 ms", "p99 ms", "PATCH of the same: per second", "p50 ms",
             "switch/s ÷ PATCH/s"], rows)


def deliveries(result):
    return (["request → frame at the watcher", "p50 ms", "p99 ms"],
            [[name] + [milliseconds(result, name, "delivery", p) for p in ("p50", "p99")]
             for name in measured(result, [*SWITCHES, CONTESTED])])


def cpu(result, parts):
    rows = []
    shown = [(what, name, path) for name in measured(result, SWITCHES)
             for what, path in ((name, ()), ("· PATCH of the same", ("patch",)))]
    for what, name, path in shown + [(name, name, ()) for name in measured(result, [DEADLINES])]:
        costs = [values(result, name, *path, "cpuPerRequest", part) for part in parts]
        others = [100 * v for v in values(result, name, *path, "othersShare")]
        rows.append([what, *(f"{statistics.median(c):,.0f}" for c in costs),
                     f"{statistics.median(sum(r) for r in zip(*costs)):,.0f}",
                     f"{statistics.median(others):,.0f}"])
    return (["CPU µs a request, or a deadline", *parts, "sum", "others %"], rows)


def contested(result):
    rows = [[name, spread(values(result, name, "turns")), milliseconds(result, name, "latency", "p50"),
             milliseconds(result, name, "latency", "p99"), f"{sum(values(result, name, 'accepted')):,}",
             f"{sum(values(result, name, 'refused', '409')):,}", milliseconds(result, name, "refusals", "p50"),
             milliseconds(result, name, "refusals", "p99")]
            for name in measured(result, [CONTESTED])]
    return (["one session, all at once", "turns/s", "p50 ms", "p99 ms", "took effect", "409", "409: p50 ms", "p99 ms"],
            rows)


def deadlines(result):
    rows = [["at the watcher", *(milliseconds(result, name, "latency", p) for p in ("p50", "p99", "max"))]
            for name in measured(result, [DEADLINES])]
    rows += [["state_engine's histogram, at most", *(milliseconds(result, name, "histogramBounds", p)
                                                     for p in ("p50", "p99", "p100"))]
             for name in measured(result, [DEADLINES])]
    return (["1,000 of 10,000 clocks run out within a second: late by", "p50 ms", "p99 ms", "max ms"], rows)


def bar(text, sign, wanted, value, unit, digits):
    met = value >= wanted if sign == ">=" else value <= wanted
    return [text, f"{sign} {wanted:,.{digits}f} {unit}", f"{value:,.{digits}f} {unit}", "met" if met else "missed"]


def bars(result):
    rows = []
    for name, n in SWITCHES.items():
        if values(result, name):
            per_second, p50 = REFERENCE[n]
            rows.append(bar(f"{name}: 4 × {per_second:,}/s", ">=", 4 * per_second,
                            statistics.median(values(result, name, "throughput")), "/s", 0))
            rows.append(bar(f"{name}: p50, a quarter of {p50} ms", "<=", p50 / 4,
                            statistics.median(values(result, name, "latency", "p50")) / 1000, "ms", 2))
    if values(result, DEADLINES):
        rows.append(bar("deadlines: p99 at the watcher", "<=", MOST_LATE_MS,
                        statistics.median(values(result, DEADLINES, "latency", "p99")) / 1000, "ms", 2))
    return (["bar", "wanted", "measured", ""], rows)


def tables(result, parts):
    if not result["clocks"]:
        return []
    return [t for t in (switches(result), deliveries(result), contested(result), cpu(result, parts),
                        deadlines(result), bars(result)) if t[1]]


def _failed_requests(phase, refused):
    found = []
    if phase["answered"] != phase["requests"] or phase["refused"] != refused:
        found.append(f"{phase['requests']} requests, {phase['answered']} answered, refused {phase['refused']}")
    if phase["delivered"] != phase["accepted"] or phase["missing"] or phase["stateSyncs"]:
        found.append(f"{phase['accepted']} accepted, {phase['delivered']} delivered, {phase['missing']} versions "
                     f"missed, {phase['stateSyncs']} state_syncs")
    return found


def _failed_deadlines(phase):
    wanted = {"expired": phase["clocks"], "ended": phase["clocks"], "early": 0, "missing": 0}
    differs = {name: phase[name] for name, n in wanted.items() if phase[name] != n}
    return [f"of {phase['clocks']} clocks: {differs}"] if differs else []


def failures(result):
    """A turn that was lost, taken twice or not delivered; a deadline that was forgotten, or acted on too soon."""
    found = []
    for n, one in enumerate(result["clocks"], 1):
        for name, phase in one.items():
            if name == DEADLINES:
                wrong = _failed_deadlines(phase)
            elif name == CONTESTED:
                wrong = _failed_requests(phase, {"409": phase["requests"] - phase["accepted"]})
            else:
                wrong = _failed_requests(phase, {}) + _failed_requests(phase["patch"], {})
            found += [f"{name}, round {n}: {text}" for text in wrong]
    return found

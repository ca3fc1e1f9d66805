"""The tables of the phases with thousands of WebSockets (crowd.py)."""

import statistics

from crowd import BARE, BARE_PACED, N_WATCHERS, PACED, RATES, SPREAD

BEGIN, END = "<!-- crowds: make bench writes them -->", "<!-- end of the crowds -->"

# what, phase, member, bar, unit, scale of what was measured
BARS = [
    ("CPU a delivery, 1000 watchers", SPREAD.format(1000), ("cpuPerDelivery",), "<=", 5.5, "µs"),
    ("deliveries a second, 1000 watchers", SPREAD.format(1000), ("throughput",), ">=", 180_000, "/s"),
    ("user-space bytes a connection", "idle, a session each", ("bytesPerConnection", "Pss"), "<", 4096, "B"),
    ("connections a second, authenticated and synced", "storm, token in the header", ("throughput",), ">=",
     5000, "/s"),
]


def values_of(rounds, name, *path):
    """What stands under the path in each round that has it."""
    found = []
    for one in rounds:
        value = one.get(name)
        for key in path:
            value = value.get(key) if value else None
        if value is not None:
            found.append(value)
    return found


def values(result, name, *path):
    return values_of(result["crowd"], name, *path)


def spread(numbers, scale=1, digits=0):
    """"median (least–most)"."""
    if not numbers:
        return "–"
    shown = [f"{n / scale:,.{digits}f}" for n in (statistics.median(numbers), min(numbers), max(numbers))]
    return f"{shown[0]} ({shown[1]}–{shown[2]})"


def names(result):
    return list(result["crowd"][0]) if result["crowd"] else []


def percentiles(result, name):
    return [spread(values(result, name, "latency", p), 1000, 2) for p in ("p50", "p99")]


def deliveries(result):
    rows = [[name, spread(values(result, name, "throughput")),
             spread(values(result, name, "cpuPerDelivery"), 1, 2), *percentiles(result, name)]
            for name in names(result) if values(result, name, "cpuPerDelivery")]
    return (["one session, one writer", "deliveries/s", "CPU µs a delivery", "p50 ms to the last",
             "p99 ms to the last"], rows)


def ratios(result):
    """ws_fanout by the bare loop of the same round."""
    rows = []
    for n in N_WATCHERS:
        for text, ours, bare, member in (
                ("CPU a delivery, saturated", SPREAD, BARE, "cpuPerDelivery"),
                ("deliveries a second, saturated", SPREAD, BARE, "throughput"),
                ("CPU a delivery, one event at a time", PACED, BARE_PACED, "cpuPerDelivery")):
            name, base = ours.format(n, RATES[n]), bare.format(n, RATES[n])
            found = [one[name][member] / one[base][member] for one in result["crowd"] if name in one]
            if found:
                rows.append([f"{n} watchers ÷ bare send(): {text}", spread(found, 1, 2)])
    return (["as a ratio", "median (least–most)"], rows)


def joins(result):
    rows = [[name, spread(values(result, name, "throughput")),
             spread(values(result, name, "cpuUs"), values(result, name, "wanted")[0]),
             *percentiles(result, name)]
            for name in names(result) if name.startswith(("storm", "resumes"))]
    return (["connect → state or missed events", "connections/s", "CPU µs a connection", "p50 ms", "p99 ms"],
            rows)


def idle(result):
    rows = [[name] + [spread(values(result, name, "bytesPerConnection", kind)) for kind in ("Pss", "Rss")]
            + [spread([100 * v for v in values(result, name, "cpuShare")], 1, 2)]
            for name in names(result) if name.startswith("idle")]
    return (["15,000 connections", "PSS bytes each", "RSS bytes each", "% of a CPU"], rows)


def bars(result):
    rows = []
    for text, name, path, sign, bar, unit in BARS:
        found = values(result, name, *path)
        if found:
            value = statistics.median(found)
            met = value >= bar if sign == ">=" else value <= bar if sign == "<=" else value < bar
            digits = 2 if value < 100 else 0
            rows.append([text, f"{sign} {bar:,} {unit}", f"{value:,.{digits}f} {unit}",
                         "met" if met else "missed"])
    return (["bar", "wanted", "measured", ""], rows)


def tables(result):
    if not result["crowd"]:
        return []
    return [t for t in map(lambda table: table(result), (deliveries, ratios, joins, idle, bars)) if t[1]]


def wrong_at_watchers(phase):
    """Versions that a watcher of any phase did not get, or not as they came."""
    if "delivered" in phase and phase["delivered"] != phase["accepted"]:
        yield f"{phase['accepted']} accepted, {phase['delivered']} delivered"
    if phase.get("missing") or phase.get("stateSyncs"):
        yield f"{phase['missing']} versions missed, {phase['stateSyncs']} state_syncs"
    if "changes" in phase and "viewers" in phase and phase["deliveries"] != phase["changes"] * phase["viewers"]:
        yield f"{phase['changes']} changes, {phase['deliveries']} deliveries"


def failures(result):
    """A version that was lost, came twice or could not be had, or a connection refused."""
    found = []
    for n, one in enumerate(result["crowd"], 1):
        for name, phase in one.items():
            def wrong(text, name=name, n=n):
                found.append(f"{name}, round {n}: {text}")
            for text in wrong_at_watchers(phase):
                wrong(text)
            if phase.get("synced") != phase.get("wanted"):
                wrong(f"{phase['synced']} of {phase['wanted']} joined; {phase.get('refusal')}")
            if "due" in phase and phase["replayed"] < phase["due"]:
                wrong(f"{phase['replayed']} of {phase['due']} missed events came")
    return found

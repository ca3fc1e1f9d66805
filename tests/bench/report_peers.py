"""The tables and figures of Handoff beside what else one might use (peers.py)."""

import statistics

import plot
from peers import (AMQP_64, AMQP_EVENT, BARE, DEVICES, FLOORS, GETS, HTTP_GET, NCHAN, OURS, PACED, PATCH,
                   PATCHES, SATURATED, WEBDIS, WITH_AUDIT, WITHOUT)
from report_crowd import spread, wrong_at_watchers

BEGIN, END = "<!-- peers: make bench writes them -->", "<!-- end of the peers -->"

MS = 1000  # in which latencies are: µs
SERVICES = ("session_api", "state_engine", "ws_fanout", "audit_writer")
NOT_SERVERS = ("load generator",)


def at(*path):
    def get(result):
        for key in path:
            result = result.get(key) if result else None
        return result
    return get


def cpu(result):
    """Of all servers together, but for the load generator."""
    if "cpuPerRequest" not in result:
        return None
    return sum(us for part, us in result["cpuPerRequest"].items() if part not in NOT_SERVERS)


def largest(result):
    """MiB of the service that has most, of those that are compared: not the databases and the broker."""
    sizes = [mib for part, mib in result.get("resident", {}).items()
             if part in (*SERVICES, "server", "worker", NCHAN, WEBDIS)]
    return max(sizes, default=None)


# what, phase, what of it, scale, digits, the floor beside it (of which phase, what)
ROWS = [
    ("PATCH, 64 connections: per second", PATCHES, at("throughput"), 1, 0, AMQP_64),
    ("· CPU µs a request, all processes", PATCHES, cpu, 1, 0, None),
    ("PATCH, 1 connection: p50 ms", PATCH, at("latency", "p50"), MS, 2, AMQP_EVENT),
    ("· p99 ms", PATCH, at("latency", "p99"), MS, 2, AMQP_EVENT),
    ("device to device, 500/s: p50 ms", DEVICES, at("delivery", "p50"), MS, 2, None),
    ("· p99 ms", DEVICES, at("delivery", "p99"), MS, 2, None),
    ("GET, 64 connections: per second", GETS, at("throughput"), 1, 0, HTTP_GET),
    ("· CPU µs a request, all processes", GETS, cpu, 1, 0, HTTP_GET),
    ("1000 watchers, saturated: CPU µs a delivery", SATURATED, at("cpuPerDelivery"), 1, 2, BARE),
    ("· deliveries a second", SATURATED, at("throughput"), 1, 0, BARE),
    ("1000 watchers, 50 writes/s: CPU µs a delivery", PACED, at("cpuPerDelivery"), 1, 2, BARE),
    ("RSS of the largest service after PATCH, 64, MiB", PATCHES, largest, 1, 0, None),
]
COLUMNS = [OURS, WITH_AUDIT, WITHOUT]

# what, phase, what of it, sign, bar, unit, scale
BARS = [
    ("PATCH, 64 connections", PATCHES, at("throughput"), ">=", 10_000, "/s", 1),
    ("PATCH, 1 connection, p50", PATCH, at("latency", "p50"), "<=", 0.6, "ms", MS),
    ("PATCH, 1 connection, p99", PATCH, at("latency", "p99"), "<=", 1.5, "ms", MS),
    ("device to device at 500/s, p50", DEVICES, at("delivery", "p50"), "<=", 0.7, "ms", MS),
    ("device to device at 500/s, p99", DEVICES, at("delivery", "p99"), "<=", 2.0, "ms", MS),
    ("GET, 64 connections", GETS, at("throughput"), ">=", 50_000, "/s", 1),
    ("1000 watchers, CPU a delivery", SATURATED, at("cpuPerDelivery"), "<=", 5.5, "µs", 1),
    ("RSS of each service", PATCHES, largest, "<=", 40, "MiB", 1),
]


def values(result, phase, who, of):
    """Of each round that has it."""
    found = [of(one[phase][who]) for one in result["peers"] if who in one.get(phase, {})]
    return [value for value in found if value is not None]


def floor_values(result, phase, floor, of):
    if floor is None:
        return []
    return values(result, phase, BARE, of) if floor == BARE else values(result, FLOORS, floor, of)


def other_of(phase):
    return WEBDIS if phase == GETS else NCHAN


def compared(result):
    rows = []
    for text, phase, of, scale, digits, floor in ROWS:
        if values(result, phase, OURS, of):
            numbers = [values(result, phase, who, of) for who in (*COLUMNS, other_of(phase))]
            numbers.append(floor_values(result, phase, floor, of))
            rows.append([text, *(spread(found, scale, digits) for found in numbers)])
    return (["the same load", *COLUMNS, "nchan, webdis", "floor"], rows)


def ratios(result):
    """Handoff by the other, of the same round."""
    rows = []
    for text, phase, of, *_ in ROWS:
        cells = []
        for who in (WITH_AUDIT, WITHOUT, other_of(phase)):
            both = [one[phase] for one in result["peers"] if who in one.get(phase, {})]
            pairs = [(of(one[OURS]), of(one[who])) for one in both]
            cells.append(spread([ours / base for ours, base in pairs if ours and base], 1, 2))
        if any(cell != "–" for cell in cells):
            last = text if not text.startswith("·") else f"{rows[-1][0].split(':')[0]}: {text[2:]}"
            rows.append([last, *cells])
    return (["Handoff ÷", *COLUMNS[1:], "nchan, webdis"], rows)


def floors(result):
    names = [name for one in result["peers"] for name in one.get(FLOORS, {})]
    rows = []
    for name in dict.fromkeys(names):
        rows.append([name, spread(values(result, FLOORS, name, at("throughput")))]
                    + [spread(values(result, FLOORS, name, at("latency", p)), MS, 2) for p in ("p50", "p99")]
                    + [spread(values(result, FLOORS, name, cpu), 1, 1)])
    return (["floor", "per second", "p50 ms", "p99 ms", "CPU µs a request, its server's"], rows)


def resident(result):
    """Each process of those that are compared, after the phase that loads it most."""
    rows = []
    for who, phase in ((OURS, PATCHES), (WITH_AUDIT, PATCHES), (WITHOUT, PATCHES), (NCHAN, SATURATED), (WEBDIS, GETS)):
        for part in (*SERVICES, "server", "worker", NCHAN, WEBDIS):
            found = values(result, phase, who, at("resident", part))
            if found:
                rows.append([f"{who}: {part}" if part != who else who, spread(found)])
    return (["resident under that load", "MiB"], rows)


def bars(result):
    rows = []
    for text, phase, of, sign, bar, unit, scale in BARS:
        found = values(result, phase, OURS, of)
        if found:
            value = statistics.median(found) / scale
            met = value >= bar if sign == ">=" else value <= bar
            rows.append([text, f"{sign} {bar:,} {unit}", f"{value:,.{2 if value < 100 else 0}f} {unit}",
                         "met" if met else "missed"])
    ours, theirs = (values(result, PATCHES, who, at("throughput")) for who in (OURS, WITHOUT))
    if ours and theirs:
        ours, theirs = statistics.median(ours), statistics.median(theirs)
        rows.append(["PATCH, 64 connections: the peer without audit", f">= {theirs:,.0f} /s", f"{ours:,.0f} /s",
                     "met" if ours >= theirs else "missed"])
    return (["bar", "wanted", "measured", ""], rows)


def tables(result):
    if not result["peers"]:
        return []
    return [t for t in map(lambda table: table(result), (compared, ratios, floors, resident, bars)) if t[1]]


def said(result):
    """What the peers' own account says, and what those that waited cost."""
    if not result["peers"]:
        return []
    account = result["peersAccount"]
    idle = [phase["idleShare"] for one in result["peers"] for phases in one.values() for phase in phases.values()
            if "idleShare" in phase]
    text = (f"The Node.js peer accepted {sum(account['accepted'].values()):,} changes, {account['accepted'][WITH_AUDIT]:,} "
            f"of them with the audit; {account['auditRows']:,} rows in its PostgreSQL.")
    return [text] + ([f"Who waited for its turn used at most {100 * max(idle):.1f} % of a CPU."] if idle else [])


def failures(result):
    """The peer has to be whole as well: what loses changes is no comparison."""
    if not result["peers"]:
        return []
    found, account = [], result["peersAccount"]
    if account["auditRows"] != account["accepted"][WITH_AUDIT]:
        found.append(f"the peer accepted {account['accepted'][WITH_AUDIT]} with audit, and has {account['auditRows']} rows")
    if account["versions"] != sum(account["accepted"].values()):
        found.append(f"the peers accepted {account['accepted']}, and their versions add up to {account['versions']}")
    for n, one in enumerate(result["peers"], 1):
        for name, phases in one.items():
            for who, phase in phases.items():
                found += [f"{name}, {who}, round {n}: {text}" for text in wrong(phase)]
    return found


def wrong(phase):
    if phase.get("answered") != phase.get("requests") or phase.get("refused"):
        yield f"{phase['requests']} requests, {phase['answered']} answered, refused {phase['refused']}"
    yield from wrong_at_watchers(phase)


# ---- figures ----

# file, title, unit, phase, what of it, scale, (floor, its name in the figure)
FIGURES = [
    ("peers_patch.svg", "PATCH, 64 connections", "requests a second: more is better", PATCHES, at("throughput"), 1,
     (AMQP_64, "floor: AMQP, 64 in flight")),
    ("peers_patch_p50.svg", "PATCH, 1 connection: p50", "ms: less is better", PATCH, at("latency", "p50"), MS,
     (AMQP_EVENT, "floor: AMQP with its event")),
    ("peers_patch_p99.svg", "PATCH, 1 connection: p99", "ms: less is better", PATCH, at("latency", "p99"), MS,
     (AMQP_EVENT, "floor: AMQP with its event")),
    ("peers_devices.svg", "device to device at 500 a second: p50", "ms: less is better", DEVICES,
     at("delivery", "p50"), MS, None),
    ("peers_get.svg", "GET, 64 connections", "requests a second: more is better", GETS, at("throughput"), 1,
     (HTTP_GET, "floor: bare libmicrohttpd")),
    ("peers_watchers.svg", "1000 watchers of one session, saturated", "CPU µs a delivery: less is better", SATURATED,
     at("cpuPerDelivery"), 1, (BARE, "floor: bare send()")),
    ("peers_resident.svg", "memory of the largest service after PATCH, 64", "MiB: less is better", PATCHES, largest, 1,
     None),
]


def draw(result, folder):
    """Writes a figure for each of FIGURES that was measured."""
    if not result["peers"]:
        return
    for file, title, unit, phase, of, scale, floor in FIGURES:
        rows = [(who, values(result, phase, who, of), "ours" if who == OURS else "peer")
                for who in (*COLUMNS, other_of(phase))]
        if floor:
            rows.append((floor[1], floor_values(result, phase, floor[0], of), "floor"))
        plot.bars(folder / file, title, unit,
                  [(label, [n / scale for n in numbers], kind) for label, numbers, kind in rows if numbers])

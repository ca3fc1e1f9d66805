"""What was measured, as text and as the figures of docs/PERFORMANCE.md: medians of the rounds, with the
least and the most in brackets."""

import statistics

import report_audit
import report_clocks
import report_crowd
import report_peers
import report_slow
from report_crowd import spread

PARTS = ["session_api", "state_engine", "ws_fanout", "audit_writer", "RabbitMQ", "Redis", "PostgreSQL"]
REFERENCES = ["AMQP direct reply-to, one at a time", "GET /health, 64 connections",
              "Redis SET, 64 connections"]
BEGIN, END = "<!-- figures: make bench writes them -->", "<!-- end of the figures -->"

# The first bars, with 2 shared cores and the load generator on them
BARS = [
    ("PATCH p50, 1 connection", "PATCH, 1 connection", ("latency", "p50"), "<", 1000, "µs"),
    ("device to device p50", "device to device, one at a time", ("delivery", "p50"), "<", 1200, "µs"),
    ("GET, 64 connections", "GET, 64 connections", ("throughput",), ">=", 20_000, "/s"),
]


def values(result, kind, name, path):
    found = []
    for one in result["rounds"]:
        value = one[kind].get(name)
        for key in path:
            value = value.get(key) if value else None
        if value is not None:
            found.append(value)
    return found


def median(numbers, digits=0):
    return f"{statistics.median(numbers):,.{digits}f}" if numbers else "–"


def phase_names(result):
    return list(result["rounds"][0]["phases"]) if result["rounds"] else []


def latency_rows(result, kind, names, member):
    rows = []
    for name in names:
        if values(result, kind, name, (member, "p50")):
            rows.append([name, spread(values(result, kind, name, ("throughput",)))]
                        + [spread(values(result, kind, name, (member, p)), 1000, 2)
                           for p in ("p50", "p95", "p99")])
    return rows


def answers(result):
    return (["request → answer", "per second", "p50 ms", "p95 ms", "p99 ms"],
            latency_rows(result, "phases", phase_names(result), "latency"))


def deliveries(result):
    return (["request → frame at the watcher", "per second", "p50 ms", "p95 ms", "p99 ms"],
            latency_rows(result, "phases", phase_names(result), "delivery"))


def references(result):
    return (["reference", "per second", "p50 ms", "p95 ms", "p99 ms"],
            latency_rows(result, "reference", list(result["rounds"][0]["reference"]) if result["rounds"] else [],
                         "latency"))


def cpu(result):
    rows = []
    for kind, names in (("phases", phase_names(result)), ("reference", REFERENCES)):
        for name in names:
            costs = [values(result, kind, name, ("cpuPerRequest", part)) for part in PARTS]
            others = [100 * v for v in values(result, kind, name, ("othersShare",))]
            if costs and costs[0]:
                rows.append([name] + [median(c, 0 if max(c) >= 10 else 1) for c in costs]
                            + [median([sum(r) for r in zip(*costs)]), median(others)])
    return (["CPU µs a request", *PARTS, "sum", "others %"], rows)


def ratio(result, name, path, reference):
    """Median over the rounds of (value ÷ the reference of the same round)."""
    ratios = []
    for one in result["rounds"]:
        value, base = one["phases"].get(name), one["reference"][reference]
        for key in path:
            value, base = value and value[key], base[key]
        if value and base:
            ratios.append(value / base)
    return ratios


def ratios(result):
    wanted = [
        ("PATCH p50 ÷ AMQP round trip", "PATCH, 1 connection", ("latency", "p50"),
         "AMQP direct reply-to, one at a time"),
        ("GET/s ÷ GET /health per second", "GET, 64 connections", ("throughput",),
         "GET /health, 64 connections"),
        ("PATCH/s ÷ Redis SET per second", "PATCH, 64 connections", ("throughput",),
         "Redis SET, 64 connections"),
    ]
    rows = [[text, spread(ratio(result, name, path, reference), 1, 2)]
            for text, name, path, reference in wanted if ratio(result, name, path, reference)]
    return (["as a ratio", "median (least–most)"], rows)


def bars(result):
    rows = []
    for text, name, path, sign, bar, unit in BARS:
        found = values(result, "phases", name, path)
        if not found:
            continue
        value = statistics.median(found)
        met = value < bar if sign == "<" else value >= bar
        rows.append([text, f"{sign} {bar:,} {unit}", f"{value:,.0f} {unit}", "met" if met else "missed"])
    return (["bar", "wanted", "measured", ""], rows)


def memory(result):
    return (["resident at the end", "MiB"],
            [[name, f"{result['resident'][name]:,.0f}"] for name in PARTS if "resident" in result])


def failures(result):
    """What must not happen, whatever the speed: a change that is lost, refused or not delivered."""
    found = [f"{name}, round {n}: {reference['answered']} of {reference['requests']} answered"
             for n, one in enumerate(result["rounds"], 1)
             for name, reference in one["reference"].items()
             if reference.get("answered") != reference.get("requests")]
    account = result["account"]
    if account["missing"] or account["versions"] != account["accepted"]:
        found.append(f"accepted {account['accepted']}, rows {account['auditRows']}, "
                     f"versions {account['versions']}")
    for name in phase_names(result):
        for n, one in enumerate(result["rounds"], 1):
            phase = one["phases"][name]
            if phase["answered"] != phase["requests"] or phase["refused"]:
                found.append(f"{name}, round {n}: {phase['requests']} requests, {phase['answered']} "
                             f"answered, refused {phase['refused']}")
            if phase["delivered"] != phase["accepted"]:
                found.append(f"{name}, round {n}: {phase['accepted']} accepted, "
                             f"{phase['delivered']} delivered")
    found += report_crowd.failures(result) + report_clocks.failures(result) + report_peers.failures(result) + report_slow.failures(result)
    if not result["rounds"]:
        return found
    last = list(result["rounds"][-1]["phases"].values())[-1]  # the watchers count from the start on
    if last["missing"] or last["stateSyncs"]:
        found.append(f"watchers missed {last['missing']} versions and were synced "
                     f"{last['stateSyncs']} times")
    return found


def neighbours(result):
    """A warning when others used much of the CPUs in any phase."""
    most = max((phase["othersShare"] for one in [one["phases"] for one in result["rounds"]] + result["clocks"]
                + [phases for one in result["peers"] for phases in one.values()]
                for phase in one.values() if "othersShare" in phase), default=0)
    if most < 0.1:
        return []
    return [f"The machine was shared: others took up to {100 * most:.0f} % of its CPUs meanwhile. Compare "
            "CPU a request and the ratios, not milliseconds."]


def summary(result):
    account = result["account"]
    said = [f"{account['accepted']:,} changes accepted; {account['auditRows']:,} rows in PostgreSQL; "
            f"every one seen by its watcher, in order." if not failures(result) else "FAILED:"]
    return said + report_peers.said(result) + failures(result) + neighbours(result)


def tables(result):
    return [t for t in (answers(result), deliveries(result), cpu(result), memory(result),
                        references(result), ratios(result), bars(result)) if t[1]]


def _plain(table):
    head, rows = table
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(line, widths))) for line in lines)


def text(result):
    shown = tables(result) + report_clocks.tables(result, PARTS) + report_crowd.tables(result)
    shown += report_slow.tables(result) + report_peers.tables(result) + report_audit.tables(result)
    return "\n\n".join([_plain(t) for t in shown] + ["\n".join(summary(result))]) + "\n"


def _markdown(table):
    head, rows = table
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _machine(result):
    machine = result["machine"]
    return "\n".join([
        f"- Machine: {machine['cpu']}, {machine['cpus']} CPUs, {machine['memoryGib']} GiB; kernel "
        f"{machine['kernel']}; {machine['compiler']}.",
        f"- Commit: {machine['commit']}. Command: `{machine['command']}`, "
        f"{len(result['rounds'] or result['clocks'] or result['crowd'] or result['peers'] or result['audit'] or [result])} rounds, load average before {machine['loadAverage'][0]:.1f}.",
        "- Median of the rounds (least–most). \"others\" is the share of the CPUs that went to processes "
        "which have nothing to do with the measurement.",
    ])


def _part(begin, tables_of_it, result, end):
    return "\n\n".join([begin, _machine(result), *map(_markdown, tables_of_it),
                        " ".join(summary(result)), end])


def rewrite(path, result):
    """Puts the figures of what was measured between their marks, and leaves the rest of the document alone."""
    text = path.read_text()
    for begin, found, end in ((BEGIN, tables(result) if result["rounds"] else [], END),
                              (report_clocks.BEGIN, report_clocks.tables(result, PARTS), report_clocks.END),
                              (report_crowd.BEGIN, report_crowd.tables(result), report_crowd.END),
                              (report_slow.BEGIN, report_slow.tables(result), report_slow.END),
                              (report_peers.BEGIN, report_peers.tables(result), report_peers.END),
                              (report_audit.BEGIN, report_audit.tables(result), report_audit.END)):
        if not found:
            continue
        head, _, rest = text.partition(begin)
        _, mark, tail = rest.partition(end)
        if not mark:
            raise SystemExit(f"error: {path} has no place for the figures ({begin} … {end})")
        text = head + _part(begin, found, result, end) + tail
    path.write_text(text)

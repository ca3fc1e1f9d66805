"""What scale.py measured, as text, as the section of docs/PERFORMANCE.md and as plots."""

import statistics

import plot
import report
from report_crowd import values_of, wrong_at_watchers

BEGIN, END = "<!-- scale: make bench writes them -->", "<!-- end of the scale -->"
FOLDER = "performance"  # of the plots, beside the document
SERVICES = report.PARTS[:4]
CROSSING_AT = 400  # events/s


def spread(numbers, scale=1, digits=0):
    """As report's; of one round just the number."""
    return report.spread(numbers, scale, digits) if len(numbers) > 1 else \
        f"{numbers[0] / scale:,.{digits}f}" if numbers else "–"


def names(result, part):
    """Of the points of a part, as the first round that has it has them."""
    return next((list(one[part]) for one in result["rounds"] if part in one), [])


def values(result, part, name, *path):
    return values_of([one[part] for one in result["rounds"] if part in one], name, *path)


def summed(result, part, name, path, members):
    """The sum of some members of what stands under the path, in each round."""
    return [sum(v for k, v in found.items() if k in members) for found in values(result, part, name, *path)]


def cost(result, part, name, kind, members=report.PARTS):
    return summed(result, part, name, (kind, "cpuPerRequest") if kind else ("cpuPerRequest",), members)


def service_cost(result, part, name, kind):
    return cost(result, part, name, kind, SERVICES)


def ms(result, part, name, *path):
    return spread(values(result, part, name, *path), 1000, 2)


# ---- tables ----

def sessions(result):
    rows = []
    for name in names(result, "sessions"):
        def resident(service, name=name):
            return spread(values(result, "sessions", name, "residentAfter", service))
        rows.append([name, spread(values(result, "sessions", name, "redisBytes")),
                     spread(cost(result, "sessions", name, "patch")), spread(cost(result, "sessions", name, "patchFew")),
                     spread(cost(result, "sessions", name, "get")),
                     spread([100 * v for v in summed(result, "sessions", name, ("idle",), SERVICES)], 1, 2),
                     resident("session_api"), resident("state_engine")])
    return (["sessions", "Redis bytes each", "PATCH of any: CPU µs, all parts", "PATCH of 1,000 of them", "GET of any",
             "untouched: % of a CPU", "session_api MiB", "state_engine MiB"], rows)


def creation(result):
    rows = [[name, spread(values(result, "sessions", name, "createdPerSecond")),
             *[spread(cost(result, "sessions", name, "created", [part])) for part in report.PARTS],
             spread(values(result, "sessions", name, "looksPerSession")),
             spread(values(result, "sessions", name, "quietAfter"))] for name in names(result, "sessions")]
    return (["creating, up to", "per second", *report.PARTS, "state_engine afterwards: µs a session", "quiet after s"],
            rows)


def windows(result):
    rows = [["a delta that is kept", spread(values(result, "deltas kept", "window", "bytesPerDelta"))],
            ["the first, with its stream", spread(values(result, "deltas kept", "window", "firstDelta"))]]
    keys = [values(result, "deltas kept", "window", of) for of in ("keysCreated", "keys")]
    for when, found in zip(("just created", "with 41 deltas"), keys):
        rows += [[f"…:{kind}, {when}", spread([k[kind] for k in found if kind in k])]
                 for kind in sorted({kind for k in found for kind in k})]
    return (["Redis bytes", "each"], rows if keys[0] else [])


def documents(result):
    rows = []
    for name in names(result, "document size"):
        for kind in ("patch", "get"):
            def part(members, name=name, kind=kind):
                return spread(cost(result, "document size", name, kind, members))
            rows.append([f"{kind.upper()}, {name}", spread(values(result, "document size", name, kind, "throughput")),
                         ms(result, "document size", name, kind, "latency", "p50"), part(["session_api"]),
                         part(["state_engine"]), part(["Redis"]), part(report.PARTS)])
    return (["document", "per second", "p50 ms", "session_api µs", "state_engine µs", "Redis µs", "all parts µs"], rows)


def watchers(result):
    rows = [[name, spread(values(result, "watchers", name, "rate")), spread(values(result, "watchers", name, "throughput")),
             spread(cost(result, "watchers", name, None, ["ws_fanout"]), 1, 2),
             ms(result, "watchers", name, "latency", "p50"), ms(result, "watchers", name, "latency", "p99"),
             spread(values(result, "watchers", name, "resident", "ws_fanout"))] for name in names(result, "watchers")]
    return (["watchers of one session", "changes/s", "deliveries/s", "CPU µs a delivery", "p50 ms to the last",
             "p99 ms to the last", "ws_fanout MiB"], rows)


def instances(result):
    rows = []
    for name in names(result, "instances"):
        rows.append([name, spread(values(result, "instances", name, "patch", "throughput")),
                     *[spread(cost(result, "instances", name, "patch", [part])) for part in report.PARTS],
                     spread(cost(result, "instances", name, "patch")),
                     spread(values(result, "instances", name, "get", "throughput")),
                     spread(cost(result, "instances", name, "get", ["session_api"]))])
    return (["64 connections", "PATCH/s", *report.PARTS, "sum µs", "GET/s", "session_api µs"], rows)


def bindings(result):
    rows = []
    for name in names(result, "bindings"):
        rows.append([name, *[spread(cost(result, "bindings", name, None, [part])) for part in ("ws_fanout", "RabbitMQ")],
                     spread(values(result, "bindings", name, "cpuPerEvent")),
                     spread(cost(result, "bindings", name, "joined", ["ws_fanout", "RabbitMQ"])),
                     ms(result, "bindings", name, "delivery", "p50")])
    return (["binding", "ws_fanout µs an event", "RabbitMQ µs", "both", "both, µs a subscription", "p50 ms to the watcher"],
            rows)


def crossings(result):
    """From how many instances, and with how many events a subscription, binding each session is cheaper."""
    rows = []
    for n in sorted({v for name in names(result, "bindings") for v in values(result, "bindings", name, "instances")}):
        def of(mode, n=n):  # both were measured, or neither
            name = f"{mode}, {n} ws_fanout, {CROSSING_AT}/s"
            found = values(result, "bindings", name, "cpuPerEvent")
            joined = cost(result, "bindings", name, "joined", ["ws_fanout", "RabbitMQ"])
            return statistics.median(found), statistics.median(joined)
        (all_event, all_joined), (session_event, session_joined) = of("all"), of("session")
        saved, paid = all_event - session_event, session_joined - all_joined
        rows.append([f"{n}", f"{saved:,.0f}", f"{paid:,.0f}",
                     f"{max(0.0, paid / saved):,.0f}" if saved > 0 else "never"])
    return (["ws_fanout", f"session saves µs an event, at {CROSSING_AT}/s", "and costs µs more a subscription",
             "pays from so many events a subscription"], rows)


def idle(result):
    rows = []
    for name in names(result, "idle"):
        for service in [*SERVICES, "all four"]:
            members = SERVICES if service == "all four" else [service]
            rows.append([f"{name}: {service}",
                         spread([100 * v for v in summed(result, "idle", name, ("share",), members)], 1, 3),
                         spread(summed(result, "idle", name, ("wakes",), members), 1, 1),
                         spread(summed(result, "idle", name, ("resident",), members))])
    return (["nothing to do, with", "% of a CPU", "wakes a second", "MiB"], rows)


TABLES = [sessions, creation, windows, documents, watchers, instances, bindings, crossings, idle]

# ---- bars ----


def ratio(result, part, costs, name, base):
    found = [costs(result, part, of) for of in (name, base)]
    return statistics.median(found[0]) / statistics.median(found[1]) if all(found) else None


def growth_by_size(result, kind):
    """What a byte more costs from 100 KB to 512 KiB, by what it costs from 300 B to 100 KB."""
    points = []
    for name in ("300 B", "100 KB", "512 KiB"):
        costs = cost(result, "document size", name, kind)
        if not costs:
            return None
        points.append((values(result, "document size", name, "bytes")[0], statistics.median(costs)))
    (x0, y0), (x1, y1), (x2, y2) = points
    return (y2 - y1) / (x2 - x1) / max(1e-9, (y1 - y0) / (x1 - x0))


def median_of(numbers, scale=1):
    return statistics.median(numbers) * scale if numbers else None


def judged(result):
    """(what, most, measured or None, unit)"""
    def kind_cost(kind, members):
        return lambda r, part, name: cost(r, part, name, kind, members)
    for name in names(result, "sessions"):
        yield (f"Redis bytes a session just created, {name}", 2048,
               median_of(values(result, "sessions", name, "redisBytes")), "B")
    yield ("Redis bytes more for each delta kept", 350,
           median_of(values(result, "deltas kept", "window", "bytesPerDelta")), "B")
    for kind, text in (("patch", "PATCH of any"), ("patchFew", "PATCH of 1,000"), ("get", "GET of any")):
        yield (f"CPU of a {text}, all parts: 100,000 sessions ÷ 1,000", 1.5,
               ratio(result, "sessions", kind_cost(kind, report.PARTS), "100,000", "1,000"), "×")
    for kind in ("patch", "get"):
        yield (f"CPU a byte of a {kind.upper()}: 100 KB … 512 KiB ÷ 300 B … 100 KB", 1.5,
               growth_by_size(result, kind), "×")
    yield ("CPU a delivery: 15,000 watchers ÷ 100", 2,
           ratio(result, "watchers", kind_cost(None, ["ws_fanout"]), "15,000", "100"), "×")
    yield ("CPU of a PATCH, all parts: 4 of each ÷ 1 of each", 1.5,
           ratio(result, "instances", kind_cost("patch", report.PARTS), "4 of each", "1 of each"), "×")
    for name in names(result, "idle"):
        yield (f"all four services, {name}", 0.5,
               median_of(summed(result, "idle", name, ("share",), SERVICES), 100), "% of a CPU")


def bars(result):
    rows = []
    for text, most, value, unit in judged(result):
        if value is not None:
            is_met = value < most if unit.startswith("%") else value <= most
            rows.append([text, f"{'<' if unit.startswith('%') else '<='} {most:,} {unit}",
                         f"{value:,.{0 if value >= 100 else 2}f} {unit}", "met" if is_met else "missed"])
    return (["bar", "wanted", "measured", ""], rows)


# ---- what must not happen ----

def failures(result):
    found = [f"accepted {a['accepted']}, rows {a['auditRows']}, versions {a['versions']}"
             for a in result["accounts"] if a["missing"] or a["versions"] != a["accepted"]]
    for n, one in enumerate(result["rounds"], 1):
        for part, points in one.items():
            for name, point in points.items():
                found += [f"{part}, {name}, round {n}: {text}" for text in wrong_with(point)]
    return found


def wrong_with(point):
    """A request that was refused, a version that a watcher did not get."""
    for phase in [point, *[p for p in point.values() if isinstance(p, dict) and "requests" in p]]:
        if phase.get("refused"):
            yield f"refused {phase['refused']}"
        yield from wrong_at_watchers(phase)


def summary(result):
    n = sum(a["accepted"] for a in result["accounts"])
    wrong = failures(result)
    return ["FAILED:", *wrong] if wrong else [f"{n:,} changes accepted; {n:,} rows in PostgreSQL; every one that was "
                                              "watched was seen, in order."]


# ---- the document ----

def line(result, part, xs, costs):
    """[(x, numbers)] of a part's points; xs: {name: x}"""
    return [(x, costs(name)) for name, x in xs.items() if costs(name)]


def plots(result):
    """(file, what to draw it with)"""
    def by_number(part):
        return {name: int(name.replace(",", "")) for name in names(result, part)}
    n_sessions, n_watchers = by_number("sessions"), by_number("watchers")
    sizes = {name: values(result, "document size", name, "bytes")[0] for name in names(result, "document size")}
    yield "scale-sessions.svg", dict(
        title="A request, as sessions grow", xlabel="sessions", ylabel="CPU µs, all parts", logx=True,
        series=[(text, line(result, "sessions", n_sessions, lambda n, k=kind: cost(result, "sessions", n, k)))
                for kind, text in (("patch", "PATCH of any"), ("patchFew", "PATCH of 1,000 of them"), ("get", "GET of any"))])
    yield "scale-documents.svg", dict(
        title="A request, as its document grows", xlabel="bytes of data", ylabel="CPU µs", logx=True, logy=True,
        series=[(text, line(result, "document size", sizes,
                            lambda n, k=kind, m=members: cost(result, "document size", n, k, m)))
                for text, kind, members in (("PATCH, all parts", "patch", report.PARTS),
                                            ("PATCH, state_engine", "patch", ["state_engine"]),
                                            ("GET, all parts", "get", report.PARTS),
                                            ("GET, session_api", "get", ["session_api"]))])
    yield "scale-watchers.svg", dict(
        title="A delivery, as watchers of one session grow", xlabel="watchers", ylabel="ws_fanout: CPU µs", logx=True,
        logy=True, series=[("a delivery", line(result, "watchers", n_watchers,
                                               lambda n: cost(result, "watchers", n, None, ["ws_fanout"])))])
    counts = (1, 2, 4)
    yield "scale-instances.svg", dict(
        title="A PATCH at 64 connections, as instances grow", xlabel="instances", ylabel="CPU µs, all parts",
        series=[(name, line(result, "instances",
                            {"1 of each" if c == 1 else f"{c} of {name}": c for c in counts},
                            lambda n: cost(result, "instances", n, "patch"))) for name in ["each", *SERVICES]])
    yield "scale-bindings.svg", dict(
        title=f"An event at {CROSSING_AT}/s, by what ws_fanout binds", xlabel="instances of ws_fanout",
        ylabel="CPU µs, ws_fanout and RabbitMQ",
        series=[(mode, line(result, "bindings", {f"{mode}, {c} ws_fanout, {CROSSING_AT}/s": c for c in counts},
                            lambda n: values(result, "bindings", n, "cpuPerEvent"))) for mode in ("all", "session")])


def tables(result):
    return [t for t in (table(result) for table in (*TABLES, bars)) if t[1]]


def text(result):
    return "\n\n".join([report._plain(t) for t in tables(result)] + ["\n".join(summary(result))]) + "\n"


def draw(folder, result):
    """The plots of what was measured; markdown that shows them."""
    shown = []
    for name, how in plots(result):
        if any(points for _, points in how["series"]):
            plot.lines(folder / name, **how)
            shown.append(f"![{how['title']}]({FOLDER}/{name})")
    return shown


def rewrite(path, result):
    text_ = path.read_text()
    head, _, rest = text_.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise SystemExit(f"error: {path} has no place for the figures ({BEGIN} … {END})")
    machine = report._machine({**result, "clocks": [], "crowd": []})
    path.write_text(head + "\n\n".join([BEGIN, machine, *map(report._markdown, tables(result)),
                                        *draw(path.parent / FOLDER, result), " ".join(summary(result)), END]) + tail)

"""What slow clients cost the others, as tables."""

from slow import SECONDS, SERVICES

BEGIN, END = "<!-- slow clients: make bench writes them -->", "<!-- end of the slow clients -->"
MOST_TIMES = 2  # of the p99 without them


def times(slow, people, what):
    return people[what]["p99"] / slow["without"][what]["p99"]


def row_of_people(slow, name, people):
    return [name, f"{people['throughput']:,.0f}", *(f"{people[what][p] / 1000:,.2f}" for what in ("latency", "delivery") for p in ("p50", "p99")),
            *(f"{times(slow, people, what):.2f}" for what in ("latency", "delivery")), f"{people['othersShare']:.0%}"]


def held_rows(name, beside):
    for service in SERVICES:
        held = beside["services"][service]
        yield [name, service, *(f"{held[when][what]:,.0f}" for what in (0, 1) for when in ("before", "most", "after")),
               "–" if held["backSeconds"] is None else f"{held['backSeconds']:.1f}"]


def kind_rows(name, beside):
    for which, kind in beside["kinds"].items():
        yield [name, which, f"{kind['n']:,}", f"{kind['left']:,}",
               *("–" if kind["lasted"][p] is None else f"{kind['lasted'][p] / 1e6:.1f}" for p in ("p50", "max"))]


def tables(result):
    slow = result.get("slow")
    if not slow:
        return []
    people = [row_of_people(slow, name, one) for name, one in (
        ("without them", slow["without"]), *((name, beside["people"]) for name, beside in slow["beside"].items()), ("after them", slow["after"]))]
    of_services = [(name, beside) for name, beside in slow["beside"].items() if "services" in beside]
    return [(["people who are not slow", "per second", "answer p50 ms", "p99 ms", "frame p50 ms", "p99 ms", "answer p99, times", "frame p99, times",
              "others"], people),
            (["beside", "held", "descriptors before", "most", "after", "RSS MiB before", "most", "after", "released after s"],
             [row for name, beside in of_services for row in held_rows(name, beside)]),
            (["beside", "slow clients", "opened", f"there after {SECONDS} s", "closed after s, p50", "most"],
             [row for name, beside in of_services for row in kind_rows(name, beside)])]


def failures(result):
    slow = result.get("slow")
    if not slow:
        return []
    found = []
    for name, beside in slow["beside"].items():
        found += [f"{name}: {what} p99 of the others {times(slow, beside['people'], what):.1f} times what it is without them"
                  for what in ("latency", "delivery") if "services" in beside and times(slow, beside["people"], what) > MOST_TIMES]
        found += [f"{name}: {service} had not released them after {SECONDS} s" for service in SERVICES
                  if "services" in beside and beside["services"][service]["backSeconds"] is None]
    found += [f"slow: {phase['refused']} refused, {phase['answered']} of {phase['requests']} answered"
              for phase in (slow["without"], *(beside["people"] for beside in slow["beside"].values()), slow["after"])
              if phase["refused"] or phase["answered"] != phase["requests"] or phase["delivered"] != phase["accepted"]]
    return found

"""What slow clients cost the others, as tables."""

from slow import SECONDS, SERVICES

BEGIN, END = "<!-- slow clients: make bench writes them -->", "<!-- end of the slow clients -->"
MOST_TIMES = 2  # of the p99 without them


def tables(result):
    people, held, kinds = [], [], []
    for name, slow in result.get("slow", {}).items():
        people += [[when, f"{phase['throughput']:,.0f}", *(f"{phase[what][p] / 1000:,.2f}" for what in ("latency", "delivery")
                                                          for p in ("p50", "p99")), *(ratios(slow) if phase is slow["beside"] else "––")]
                   for when, phase in (("without them", slow["without"]), (name, slow["beside"]), ("after them", slow["after"]))]
        held += [[name, service, *(f"{slow['services'][service][when][what]:,.0f}" for what in (0, 1) for when in ("before", "most", "after")),
                  "–" if slow["services"][service]["backSeconds"] is None else f"{slow['services'][service]['backSeconds']:.1f}"]
                 for service in SERVICES]
        kinds += [[name, which, f"{kind['n']:,}", f"{kind['left']:,}",
                   *("–" if kind["lasted"][p] is None else f"{kind['lasted'][p] / 1e6:.1f}" for p in ("p50", "max"))]
                  for which, kind in slow["kinds"].items()]
    if not people:
        return []
    return [(["people who are not slow", "per second", "answer p50 ms", "p99 ms", "frame p50 ms", "p99 ms", "answer p99, times", "frame"], people),
            (["beside", "held", "descriptors before", "most", "after", "RSS MiB before", "most", "after", "released after s"], held),
            (["beside", "slow clients", "opened", f"there after {SECONDS} s", "closed after s, p50", "most"], kinds)]


def times(slow, what):
    """The p99 beside them, of what it is without them."""
    return slow["beside"][what]["p99"] / slow["without"][what]["p99"]


def ratios(slow):
    return [f"{times(slow, what):.2f}" for what in ("latency", "delivery")]


def failures(result):
    return [text for name, slow in result.get("slow", {}).items() for text in failures_of(name, slow)]


def failures_of(name, slow):
    found = [f"{name}: {what} p99 of the others {times(slow, what):.1f} times what it is without them"
             for what in ("latency", "delivery") if times(slow, what) > MOST_TIMES]
    found += [f"{name}: {service} had not released them after {SECONDS} s" for service in SERVICES
              if slow["services"][service]["backSeconds"] is None]
    found += [f"{name}: {phase['refused']} refused, {phase['answered']} of {phase['requests']} answered"
              for phase in (slow["without"], slow["beside"], slow["after"])
              if phase["refused"] or phase["answered"] != phase["requests"] or phase["delivered"] != phase["accepted"]]
    return found

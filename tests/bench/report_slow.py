"""What slow clients cost the others, as tables."""

from slow import NAME, SECONDS, SERVICES

BEGIN, END = "<!-- slow clients: make bench writes them -->", "<!-- end of the slow clients -->"
MOST_TIMES = 2  # of the p99 without them


def tables(result):
    slow = result.get("slow")
    if not slow:
        return []
    people = [[name, f"{phase['throughput']:,.0f}", *(f"{phase[what][p] / 1000:,.2f}" for what in ("latency", "delivery")
                                                      for p in ("p50", "p99"))]
              for name, phase in (("without them", slow["without"]), (NAME, slow["beside"]), ("after them", slow["after"]))]
    held = [[name, *(f"{slow['services'][name][when][what]:,.0f}" for what in (0, 1) for when in ("before", "most", "after")),
             "–" if slow["services"][name]["backSeconds"] is None else f"{slow['services'][name]['backSeconds']:.1f}"] for name in SERVICES]
    kinds = [[name, f"{kind['n']:,}", f"{kind['left']:,}", *("–" if kind["lasted"][p] is None else f"{kind['lasted'][p] / 1e6:.1f}"
                                                            for p in ("p50", "max"))]
             for name, kind in slow["kinds"].items()]
    return [(["people who are not slow", "per second", "answer p50 ms", "p99 ms", "frame p50 ms", "p99 ms"], people),
            (["held", "descriptors before", "most", "after", "RSS MiB before", "most", "after", "released after s"], held),
            (["slow clients", "opened", f"there after {SECONDS} s", "closed after s, p50", "most"], kinds)]


def failures(result):
    slow = result.get("slow")
    if not slow:
        return []
    found = [f"{NAME}: {what} p99 of the others {slow['beside'][what]['p99'] / slow['without'][what]['p99']:.1f} times what it is without them"
             for what in ("latency", "delivery") if slow["beside"][what]["p99"] > MOST_TIMES * slow["without"][what]["p99"]]
    found += [f"{NAME}: {name} had not released them after {SECONDS} s" for name in SERVICES
              if slow["services"][name]["backSeconds"] is None]
    found += [f"{NAME}: {phase['refused']} refused, {phase['answered']} of {phase['requests']} answered"
              for phase in (slow["without"], slow["beside"], slow["after"])
              if phase["refused"] or phase["answered"] != phase["requests"] or phase["delivered"] != phase["accepted"]]
    return found

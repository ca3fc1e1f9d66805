/* See drain.h. */
#include "tools/handoff/drain.h"

#include "tools/handoff/spread.h"

const char drain_usage[] =
    "handoff drain URL [--seconds N] [--wait] [--timeout N] [--progress]\n"
    "              [--json]\n"
    "\n"
    "Asks an instance to end as SIGTERM would: it is not ready any more, takes no\n"
    "new work, finishes what it has in hand. It has to run with\n"
    "HANDOFF_ADMIN_DRAIN=on.\n"
    "\n"
    "  URL         its admin port: http://127.0.0.1:9102\n"
    "  --seconds   ws_fanout sends its clients elsewhere little by little over so\n"
    "              long (0 to 3600; 0: all at once, each to come back at a moment of\n"
    "              its own)\n"
    "  --wait      until it is gone, with what is left of its connections\n"
    "  --timeout   how long --wait waits beyond --seconds (60, in seconds; up to\n"
    "              3600)\n"
    "  --progress  on stderr, also where that is no terminal\n"
    "  --json      an object: url, state (draining, gone), tookMs\n"
    "\n"
    "Ends with 0 when it drains (--wait: when it is gone), 1 when not, 2 for a\n"
    "mistake in the command.\n";

int drain_run(int argc, char **argv) {
    static const struct spread_order order = {
        .path = "/drain",
        .left = "handoff_ws_connections",
        .end = SPREAD_IS_GONE,
        .state = "draining",
        .end_state = "gone",
        .is_under_way = "drains",
        .is_over = "is gone",
    };
    return spread_run(&order, argc, argv);
}

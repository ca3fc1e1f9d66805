/* See rebalance.h. */
#include "tools/handoff/rebalance.h"

#include "tools/handoff/spread.h"

const char rebalance_usage[] =
    "handoff rebalance URL --seconds N [--wait] [--timeout N] [--progress]\n"
    "                  [--json]\n"
    "\n"
    "Has a ws_fanout send the clients that it has now elsewhere, the oldest first,\n"
    "while it goes on and takes new ones: after a reload of the proxy, or when there\n"
    "are more instances. It has to run with HANDOFF_ADMIN_DRAIN=on. Asked again, it\n"
    "begins anew with those that it has then.\n"
    "\n"
    "  URL         its admin port: http://127.0.0.1:9102\n"
    "  --seconds   over how long (1 to 3600)\n"
    "  --wait      until they are gone, with how many are left\n"
    "  --timeout   how long --wait waits beyond --seconds (60, in seconds; up to\n"
    "              3600)\n"
    "  --progress  on stderr, also where that is no terminal\n"
    "  --json      an object: url, state (rebalancing, rebalanced), tookMs\n"
    "\n"
    "Ends with 0 when it does (--wait: when they are gone), 1 when not (--wait: also\n"
    "when the instance ends before), 2 for a mistake in the command.\n";

int rebalance_run(int argc, char **argv) {
    static const struct spread_order order = {
        .path = "/rebalance",
        .left = "handoff_ws_rebalance_left",
        .seconds_least = 1,
        .end = SPREAD_IS_SETTLED,
        .state = "rebalancing",
        .end_state = "rebalanced",
        .is_under_way = "rebalances",
        .is_over = "is rebalanced",
    };
    return spread_run(&order, argc, argv);
}

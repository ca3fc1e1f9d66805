/* What `handoff drain` and `handoff rebalance` have in common: an instance is asked to send its
 * clients elsewhere over some time, and watched as it does. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum spread_end {
    SPREAD_IS_GONE,    /* it has ended when the instance is gone */
    SPREAD_IS_SETTLED, /* it has ended when nobody is left to go; an instance that ends cuts it
                          short */
};

struct spread_order {
    const char *path;      /* "/drain" */
    const char *left;      /* the metric that tells how many connections are left */
    int64_t seconds_least; /* 1: they have to be given */
    enum spread_end end;
    const char *state, *end_state;      /* as JSON tells them: "draining", "gone" */
    const char *is_under_way, *is_over; /* for a person: "drains", "is gone" */
};

/* The exit code; what went wrong is on stderr. argv[0] is the command's name. */
int spread_run(const struct spread_order *order, int argc, char **argv);

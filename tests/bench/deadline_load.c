/* The load generator of deadlines: a set-up and then orders as lines of JSON on stdin, a line of
 * JSON for each on stdout. See README.md. */
#include "tests/bench/deadlines.h"
#include "tests/bench/orders.h"

static void set_up(void *bench, json_t *setup) {
    deadlines_init(bench, setup);
}

static json_t *run(void *bench, const json_t *what) {
    return deadlines_run(bench, what);
}

int main(void) {
    static const struct orders_of of = {set_up, run, NULL};
    struct deadlines d = {0};
    orders_serve(&of, &d, &d.sockets);
    return 0;
}

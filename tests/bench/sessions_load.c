/* The load generator of many sessions: a set-up and then orders as lines of JSON on stdin, a line
 * of JSON for each on stdout. See README.md. */
#include <sys/prctl.h>

#include "tests/bench/orders.h"
#include "tests/bench/sessions.h"

static void set_up(void *bench, json_t *setup) {
    sessions_bench_init(bench, setup);
}

static json_t *run(void *bench, const json_t *what) {
    return sessions_bench_run(bench, what);
}

static void done(void *bench) {
    sessions_bench_done(bench);
}

int main(void) {
    prctl(PR_SET_TIMERSLACK, 1); /* ns; as load.c */
    static const struct orders_of of = {set_up, run, done};
    struct sessions_bench b = {0};
    orders_serve(&of, &b, &b.sockets);
    return 0;
}

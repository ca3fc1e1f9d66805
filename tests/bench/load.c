/* The load generator: reads the set-up from the first line of stdin and one phase from each further
 * line; answers each with a line of JSON. It sleeps in epoll between events, as the cores belong to
 * what it measures. See README.md. */
#include <sys/prctl.h>

#include "tests/bench/orders.h"
#include "tests/bench/phase.h"

static void set_up(void *bench, json_t *setup) {
    bench_init(bench, setup);
}

static json_t *run(void *bench, const json_t *what) {
    return phase_run(bench, what);
}

static void done(void *bench) {
    bench_done(bench);
}

int main(void) {
    prctl(PR_SET_TIMERSLACK, 1); /* ns; the default, 50 us, would be an open loop's error */
    static const struct orders_of of = {set_up, run, done};
    struct bench b = {0};
    orders_serve(&of, &b, &b.sockets);
    return 0;
}

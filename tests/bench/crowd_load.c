/* The load generator of crowds: a set-up and then orders as lines of JSON on stdin, a line of JSON
 * for each on stdout. See README.md. */
#include <sys/prctl.h>
#include <sys/resource.h>

#include "tests/bench/crowd_phase.h"
#include "tests/bench/orders.h"

static void raise_fd_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void set_up(void *bench, json_t *setup) {
    crowd_bench_init(bench, setup);
}

static json_t *run(void *bench, const json_t *what) {
    return crowd_phase_run(bench, what);
}

static void done(void *bench) {
    crowd_bench_done(bench);
}

int main(void) {
    prctl(PR_SET_TIMERSLACK, 1); /* ns; the default, 50 us, would be an open loop's error */
    raise_fd_limit();
    static const struct orders_of of = {set_up, run, done};
    struct crowd_bench b = {0};
    orders_serve(&of, &b, &b.sockets);
    return 0;
}

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

int main(void) {
    prctl(PR_SET_TIMERSLACK, 1); /* ns; the default, 50 us, would be an open loop's error */
    raise_fd_limit();
    struct crowd_bench b = {0};
    struct orders orders;
    sockets_init(&b.sockets);
    orders_init(&orders, &b.sockets);
    json_auto_t *setup = orders_next(&orders, &b.sockets);
    if (!setup)
        die("no set-up on stdin");
    crowd_bench_init(&b, setup);
    orders_answer(json_pack("{sb}", "ready", 1));
    for (;;) {
        json_auto_t *what = orders_next(&orders, &b.sockets);
        if (!what)
            break;
        orders_answer(crowd_phase_run(&b, what));
    }
    crowd_bench_done(&b);
    sockets_done(&b.sockets);
    orders_done(&orders);
    return 0;
}

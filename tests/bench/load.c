/* The load generator: reads the set-up from the first line of stdin and one phase from each further
 * line; answers each with a line of JSON. It sleeps in epoll between events, as the cores belong to
 * what it measures. See README.md. */
#include <sys/prctl.h>

#include "tests/bench/orders.h"
#include "tests/bench/phase.h"

int main(void) {
    prctl(PR_SET_TIMERSLACK, 1); /* ns; the default, 50 us, would be an open loop's error */
    struct bench b = {0};
    struct orders orders;
    sockets_init(&b.sockets);
    orders_init(&orders, &b.sockets);
    json_auto_t *setup = orders_next(&orders, &b.sockets);
    if (!setup)
        die("no set-up on stdin");
    bench_init(&b, setup);
    orders_answer(json_pack("{sb}", "ready", 1));
    for (;;) {
        json_auto_t *what = orders_next(&orders, &b.sockets);
        if (!what)
            break;
        orders_answer(phase_run(&b, what));
    }
    bench_done(&b);
    sockets_done(&b.sockets);
    orders_done(&orders);
    return 0;
}

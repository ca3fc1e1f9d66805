/* The load generator of many sessions: a set-up and then orders as lines of JSON on stdin, a line
 * of JSON for each on stdout. See README.md. */
#include <sys/prctl.h>

#include "tests/bench/orders.h"
#include "tests/bench/sessions.h"

int main(void) {
    prctl(PR_SET_TIMERSLACK, 1); /* ns; as load.c */
    struct sessions_bench b = {0};
    struct orders orders;
    sockets_init(&b.sockets);
    orders_init(&orders, &b.sockets);
    json_auto_t *setup = orders_next(&orders, &b.sockets);
    if (!setup)
        die("no set-up on stdin");
    sessions_bench_init(&b, setup);
    orders_answer(json_pack("{sb}", "ready", 1));
    for (;;) {
        json_auto_t *what = orders_next(&orders, &b.sockets);
        if (!what)
            break;
        orders_answer(sessions_bench_run(&b, what));
    }
    sessions_bench_done(&b);
    sockets_done(&b.sockets);
    orders_done(&orders);
    return 0;
}

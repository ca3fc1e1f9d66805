/* The load generator of restarts: a set-up and then orders as lines of JSON on stdin, a line of
 * JSON for each on stdout; between them everything goes on. See README.md. */
#include <string.h>
#include <sys/resource.h>

#include "tests/bench/orders.h"
#include "tests/bench/rolling.h"

static void raise_fd_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool has_order(const struct orders *o) {
    return o->ended || (o->in.len && memchr(o->in.data, '\n', o->in.len));
}

int main(void) {
    raise_fd_limit();
    struct rolling r = {0};
    struct orders orders;
    sockets_init(&r.sockets);
    orders_init(&orders, &r.sockets);
    json_auto_t *setup = orders_next(&orders, &r.sockets);
    if (!setup)
        die("no set-up on stdin");
    rolling_init(&r, setup);
    orders_answer(json_pack("{sb}", "ready", 1));
    for (;;) {
        while (!has_order(&orders))
            sockets_wait(&r.sockets, rolling_turn(&r));
        json_auto_t *what = orders_next(&orders, &r.sockets);
        if (!what)
            break;
        orders_answer(rolling_run(&r, what));
    }
    rolling_done(&r);
    sockets_done(&r.sockets);
    orders_done(&orders);
    return 0;
}

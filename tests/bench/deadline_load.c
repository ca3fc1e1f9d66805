/* The load generator of deadlines: a set-up and then orders as lines of JSON on stdin, a line of
 * JSON for each on stdout. See README.md. */
#include "tests/bench/deadlines.h"
#include "tests/bench/orders.h"

int main(void) {
    struct deadlines d = {0};
    struct orders orders;
    sockets_init(&d.sockets);
    orders_init(&orders, &d.sockets);
    json_auto_t *setup = orders_next(&orders, &d.sockets);
    if (!setup)
        die("no set-up on stdin");
    deadlines_init(&d, setup);
    orders_answer(json_pack("{sb}", "ready", 1));
    for (;;) {
        json_auto_t *what = orders_next(&orders, &d.sockets);
        if (!what)
            break;
        orders_answer(deadlines_run(&d, what));
    }
    sockets_done(&d.sockets);
    orders_done(&orders);
    return 0;
}

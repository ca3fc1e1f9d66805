/* The load generator: reads the set-up from the first line of stdin and one phase from each further
 * line; answers each with a line of JSON. It sleeps in epoll between events, as the cores belong to
 * what it measures. See README.md. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/bench/phase.h"

struct orders {
    struct source source; /* first */
    struct buf in;
    bool ended;
};

static void say(json_t *what) {
    json_dumpf(what, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(what);
}

static void on_orders(struct source *s) {
    struct orders *o = (struct orders *)s;
    char bytes[16384];
    ssize_t n = read(s->fd, bytes, sizeof(bytes));
    if (n < 0 && errno != EINTR)
        die("stdin: %s", strerror(errno));
    if (n > 0)
        buf_put(&o->in, bytes, (size_t)n);
    o->ended = n == 0;
}

/* The next line's JSON, NULL at the end. Meanwhile the watchers' pings are answered. */
static json_t *next_order(struct orders *o, struct sockets *all) {
    const char *end;
    while (!(end = o->in.len ? memchr(o->in.data, '\n', o->in.len) : NULL) && !o->ended)
        sockets_wait(all, UINT64_MAX);
    if (!end)
        return NULL;
    size_t len = (size_t)(end - o->in.data);
    json_error_t error;
    json_t *order = json_loadb(o->in.data, len, 0, &error);
    if (!order)
        die("an order that is not JSON: %s", error.text);
    buf_drop(&o->in, len + 1);
    return order;
}

int main(void) {
    prctl(PR_SET_TIMERSLACK, 1); /* ns; the default, 50 us, would be an open loop's error */
    struct bench b = {0};
    struct orders orders = {.source = {.fd = STDIN_FILENO, .readable = on_orders}};
    sockets_init(&b.sockets);
    sockets_add(&b.sockets, &orders.source);
    json_auto_t *setup = next_order(&orders, &b.sockets);
    if (!setup)
        die("no set-up on stdin");
    bench_init(&b, setup);
    say(json_pack("{sb}", "ready", 1));
    for (;;) {
        json_auto_t *what = next_order(&orders, &b.sockets);
        if (!what)
            break;
        say(phase_run(&b, what));
    }
    bench_done(&b);
    sockets_done(&b.sockets);
    buf_done(&orders.in);
    return 0;
}

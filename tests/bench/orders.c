/* Lines of JSON through the loop of the sockets; see orders.h. */
#include "tests/bench/orders.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void on_orders(struct source *s) {
    struct orders *o = (struct orders *)s;
    char bytes[65536];
    ssize_t n = read(s->fd, bytes, sizeof(bytes));
    if (n < 0 && errno != EINTR)
        die("stdin: %s", strerror(errno));
    if (n > 0)
        buf_put(&o->in, bytes, (size_t)n);
    o->ended = n == 0;
}

void orders_init(struct orders *o, struct sockets *all) {
    *o = (struct orders){.source = {.fd = STDIN_FILENO, .readable = on_orders}};
    sockets_add(all, &o->source);
}

void orders_done(struct orders *o) {
    buf_done(&o->in);
}

json_t *orders_next(struct orders *o, struct sockets *all) {
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

void orders_answer(json_t *what) {
    json_dumpf(what, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(what);
}

void orders_serve(const struct orders_of *of, void *bench, struct sockets *all) {
    struct orders orders;
    sockets_init(all);
    orders_init(&orders, all);
    json_auto_t *setup = orders_next(&orders, all);
    if (!setup)
        die("no set-up on stdin");
    of->set_up(bench, setup);
    orders_answer(json_pack("{sb}", "ready", 1));
    for (;;) {
        json_auto_t *what = orders_next(&orders, all);
        if (!what)
            break;
        orders_answer(of->run(bench, what));
    }
    if (of->done)
        of->done(bench);
    sockets_done(all);
    orders_done(&orders);
}

double order_number(const json_t *what, const char *name, double otherwise) {
    const json_t *value = json_object_get(what, name);
    return value ? json_number_value(value) : otherwise;
}

const char *order_text(const json_t *what, const char *name, const char *otherwise) {
    const char *value = json_string_value(json_object_get(what, name));
    return value ? value : otherwise;
}

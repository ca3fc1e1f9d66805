/* Orders on stdin, results on stdout: a line of JSON each. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "tests/bench/sockets.h"

struct orders {
    struct source source; /* first */
    struct buf in;
    bool ended;
};

/* Reads stdin through `all` from now on. */
void orders_init(struct orders *o, struct sockets *all);
void orders_done(struct orders *o);
/* The next line's JSON, NULL at the end; caller owns it. Meanwhile what arrives at the other
 * sockets is read. */
json_t *orders_next(struct orders *o, struct sockets *all);
/* Answers; takes the reference. */
void orders_answer(json_t *what);
/* What a load generator does: the set-up from the first line, and one answer to each further one.
 */
struct orders_of {
    void (*set_up)(void *bench, json_t *setup);
    json_t *(*run)(void *bench, const json_t *what);
    void (*done)(void *bench); /* may be NULL */
};
/* Until stdin ends. `all` is the bench's own: initialised here, and ended. */
void orders_serve(const struct orders_of *of, void *bench, struct sockets *all);
/* A member of an order, or `otherwise` when it is not there. */
double order_number(const json_t *what, const char *name, double otherwise);
const char *order_text(const json_t *what, const char *name, const char *otherwise);

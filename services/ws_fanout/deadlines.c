/* See deadlines.h. A list without an order: to go over a thousand takes less than to keep them in
 * order. */
#include "services/ws_fanout/deadlines.h"

#include <stdlib.h>

#include "base/buf.h"
#include "services/ws_fanout/connection.h"

#define CLOCK_SET_MS 1000

struct deadline {
    int64_t at; /* loop time, ms */
    struct connection *connection;
};

void deadlines_done(struct deadlines *d) {
    free(d->list);
    *d = (struct deadlines){0};
}

void deadlines_add(struct deadlines *d, struct connection *c) {
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 64;
        d->list = must_realloc(d->list, d->cap * sizeof(*d->list));
    }
    c->deadline_place = d->n;
    d->list[d->n++] = (struct deadline){0, c};
}

void deadlines_remove(struct deadlines *d, struct connection *c) {
    struct deadline last = d->list[--d->n];
    last.connection->deadline_place = c->deadline_place;
    d->list[c->deadline_place] = last;
}

void deadlines_look_at(struct deadlines *d, const struct connection *c) {
    d->list[c->deadline_place].at = 0;
}

static bool was_clock_set(struct deadlines *d, int64_t wall_offset) {
    int64_t moved = wall_offset - d->wall_offset;
    d->wall_offset = wall_offset;
    return moved > CLOCK_SET_MS || moved < -CLOCK_SET_MS;
}

/* From the end: the last one takes the place of one that goes. */
void deadlines_run(struct deadlines *d, int64_t now, int64_t wall) {
    bool looks_at_all = was_clock_set(d, wall - now);
    for (size_t i = d->n; i-- > 0;) {
        if (i >= d->n || (!looks_at_all && d->list[i].at > now))
            continue;
        size_t n = d->n;
        connection_check(d->list[i].connection, now, wall);
        if (d->n == n)
            d->list[i].at = connection_deadline(d->list[i].connection, now, wall);
    }
}

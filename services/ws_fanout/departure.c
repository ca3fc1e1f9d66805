/* See departure.h. */
#include "services/ws_fanout/departure.h"

#include "services/ws_fanout/connection.h"
#include "services/ws_fanout/events.h"

static bool is_left(const struct departure *d, const struct connection *c) {
    return c->serial <= d->last && !connection_is_closing(c);
}

int64_t departure_n_left(const struct departure *d, const struct connection *list) {
    int64_t n = 0;
    for (const struct connection *c = list; c; c = c->next)
        n += is_left(d, c);
    return n;
}

void departure_begin(struct departure *d, const struct connection *list, int64_t spread_ms,
                     int64_t now) {
    *d = (struct departure){.is_on = true, .spread_ms = spread_ms, .end_ms = now + spread_ms};
    d->last = list ? list->serial : 0;
    d->n = departure_n_left(d, list);
}

/* A browser does not come back to a stream that was refused; an answer would be lost. */
static bool may_go(const struct departure *d, const struct connection *c, int64_t now) {
    if (!c->socket || (c->events && !c->events->is_started))
        return false;
    return now >= d->end_ms || !c->n_commands;
}

int64_t departure_step(struct departure *d, struct connection *list, int64_t now,
                       void (*send_away)(struct connection *c)) {
    int64_t left_ms = now < d->end_ms ? d->end_ms - now : 0, n = 0, n_left = 0;
    int64_t n_may_stay = d->n * left_ms / d->spread_ms;
    for (struct connection *c = list, *next; c; c = next) {
        next = c->next; /* a refused stream may end at once */
        if (!is_left(d, c))
            continue;
        if (++n > n_may_stay && may_go(d, c, now))
            send_away(c);
        else
            n_left++;
    }
    d->is_on = n_left > 0;
    return n_left;
}

/* See bus_acks.h. */
#include "common/bus_acks.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

void bus_acks_done(struct bus_acks *a) {
    free(a->new);
    free(a->apart);
    *a = (struct bus_acks){0};
}

void bus_acks_add(struct bus_acks *a, uint64_t tag) {
    if (a->n_new == a->new_cap) {
        a->new_cap = a->new_cap ? 2 * a->new_cap : 64;
        a->new = must_realloc(a->new, a->new_cap * sizeof(*a->new));
    }
    a->new[a->n_new++] = tag;
}

static void drop_first_apart(struct bus_acks *a) {
    a->n_apart--;
    memmove(a->apart, a->apart + 1, a->n_apart * sizeof(*a->apart));
}

void bus_acks_skip_to(struct bus_acks *a, uint64_t tag) {
    if (tag > a->all_to)
        a->all_to = tag;
    while (a->n_apart && a->apart[0].first <= a->all_to + 1) {
        if (a->apart[0].last > a->all_to)
            a->all_to = a->apart[0].last;
        drop_first_apart(a);
    }
}

static void insert_apart(struct bus_acks *a, size_t at, uint64_t tag) {
    if (a->n_apart == a->apart_cap) {
        a->apart_cap = a->apart_cap ? 2 * a->apart_cap : 16;
        a->apart = must_realloc(a->apart, a->apart_cap * sizeof(*a->apart));
    }
    memmove(a->apart + at + 1, a->apart + at, (a->n_apart - at) * sizeof(*a->apart));
    a->apart[at] = (struct bus_ack_range){tag, tag};
    a->n_apart++;
}

static void put_apart(struct bus_acks *a, uint64_t tag) {
    size_t at = a->n_apart; /* of the first range behind it; mostly the end */
    while (at && a->apart[at - 1].first > tag)
        at--;
    bool joins_before = at && a->apart[at - 1].last + 1 == tag;
    bool joins_behind = at < a->n_apart && a->apart[at].first == tag + 1;
    if (joins_before && joins_behind) {
        a->apart[at - 1].last = a->apart[at].last;
        a->n_apart--;
        memmove(a->apart + at, a->apart + at + 1, (a->n_apart - at) * sizeof(*a->apart));
    } else if (joins_before) {
        a->apart[at - 1].last = tag;
    } else if (joins_behind) {
        a->apart[at].first = tag;
    } else {
        insert_apart(a, at, tag);
    }
}

static int by_tag(const void *x, const void *y) {
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

void bus_acks_put(struct bus_acks *a, void (*put)(void *arg, uint64_t tag, bool multiple),
                  void *arg) {
    if (a->n_new == 0)
        return;
    if (a->n_new > 1)
        qsort(a->new, a->n_new, sizeof(*a->new), by_tag);
    size_t n = 0;
    while (n < a->n_new && a->new[n] == a->all_to + 1)
        bus_acks_skip_to(a, a->new[n++]);
    if (n)
        put(arg, a->new[n - 1], n > 1);
    for (; n < a->n_new; n++) {
        put(arg, a->new[n], false);
        put_apart(a, a->new[n]);
    }
    a->n_new = 0;
}

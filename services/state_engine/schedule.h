/* What is due within the next seconds, as one engine knows it: the attention set as it was last
 * read, and what was armed here since. Bounded: what does not fit is found by the next reading. An
 * item may be out of date; the claim tells. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"

#define SCHEDULE_MAX 8192
#define SCHEDULE_AHEAD_MS 2000 /* what is due later is for a later reading */
#define SCHEDULE_APART_MS 5    /* looks: what is due between two has one together */

struct schedule_item {
    char session_id[UUID_LEN + 1];
    unsigned set; /* as store_due's */
    int64_t at;   /* ms, store time */
};

struct schedule {
    struct schedule_item *items; /* owned: a heap, the earliest first */
    size_t n;
};

void schedule_done(struct schedule *s);
void schedule_clear(struct schedule *s);
/* False: it is full. */
bool schedule_add(struct schedule *s, const char *session_id, unsigned set, int64_t at);
/* Takes up to `most` that are due at now off, the earliest first; returns how many. */
size_t schedule_take(struct schedule *s, int64_t now, struct schedule_item *ret, size_t most);
/* The earliest moment, 0: there is none. */
int64_t schedule_next(const struct schedule *s);
/* When to take what is due, after a look at looked_at: what was due by then at once, else not
 * sooner than SCHEDULE_APART_MS after it. A look costs as much for several as for one, and when a
 * thousand are due in a second, nearly all are late by what is done for the ones before. 0: there
 * is none. */
int64_t schedule_wake(const struct schedule *s, int64_t looked_at);

/* How far store time is ahead of the monotonic clock (ms), from a reading `store_now` that was
 * asked for at `before` and had at `after`: the old estimate as long as it can be right, so that a
 * slow answer does not move it. */
int64_t schedule_offset(int64_t old, int64_t store_now, int64_t before, int64_t after);

/* See schedule.h. */
#include "services/state_engine/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

void schedule_done(struct schedule *s) {
    free(s->items);
    *s = (struct schedule){0};
}

void schedule_clear(struct schedule *s) {
    s->n = 0;
}

static void swap(struct schedule *s, size_t a, size_t b) {
    struct schedule_item item = s->items[a];
    s->items[a] = s->items[b];
    s->items[b] = item;
}

bool schedule_add(struct schedule *s, const char *session_id, unsigned set, int64_t at) {
    if (s->n == SCHEDULE_MAX)
        return false;
    if (!s->items)
        s->items = must_alloc(SCHEDULE_MAX * sizeof(*s->items));
    struct schedule_item *item = &s->items[s->n];
    *item = (struct schedule_item){.set = set, .at = at};
    memcpy(item->session_id, session_id, sizeof(item->session_id));
    for (size_t i = s->n++; i > 0 && s->items[i].at < s->items[(i - 1) / 2].at; i = (i - 1) / 2)
        swap(s, i, (i - 1) / 2);
    return true;
}

static void remove_first(struct schedule *s) {
    s->items[0] = s->items[--s->n];
    for (size_t i = 0;;) {
        size_t least = i, left = 2 * i + 1;
        for (size_t child = left; child < s->n && child <= left + 1; child++)
            if (s->items[child].at < s->items[least].at)
                least = child;
        if (least == i)
            return;
        swap(s, i, least);
        i = least;
    }
}

size_t schedule_take(struct schedule *s, int64_t now, struct schedule_item *ret, size_t most) {
    size_t n = 0;
    while (n < most && s->n > 0 && s->items[0].at <= now) {
        ret[n++] = s->items[0];
        remove_first(s);
    }
    return n;
}

int64_t schedule_next(const struct schedule *s) {
    return s->n > 0 ? s->items[0].at : 0;
}

int64_t schedule_wake(const struct schedule *s, int64_t looked_at) {
    int64_t at = schedule_next(s), apart = looked_at + SCHEDULE_APART_MS;
    return at > looked_at && at < apart ? apart : at;
}

/* Redis said the time at some moment between the two. */
int64_t schedule_offset(int64_t old, int64_t store_now, int64_t before, int64_t after) {
    int64_t least = store_now - after, most = store_now - before;
    return old < least ? least : old > most ? most : old;
}

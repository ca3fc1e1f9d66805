/* A ring of shared frames with bounds in bytes; see outbox.h. */
#include "services/ws_fanout/outbox.h"

#include <string.h>

void outbox_init(struct outbox *o, size_t max_bytes, struct outbox_total *total) {
    *o = (struct outbox){.max_bytes = max_bytes, .total = total};
}

static void count_in(struct outbox *o, struct frame *f) {
    o->n_bytes += f->len;
    if (f->n_queues++ == 0)
        o->total->n_bytes += f->len;
}

static void count_out(struct outbox *o, struct frame *f) {
    o->n_bytes -= f->len;
    if (--f->n_queues == 0)
        o->total->n_bytes -= f->len;
}

void outbox_done(struct outbox *o) {
    for (struct frame *f; (f = outbox_pop(o));)
        frame_unref(f);
    free(o->entries);
    o->entries = NULL;
    o->cap = 0;
}

static struct outbox_entry *entry_at(struct outbox *o, size_t i) {
    return &o->entries[(o->first + i) % o->cap];
}

static void grow(struct outbox *o) {
    size_t cap = o->cap ? o->cap * 2 : 16;
    struct outbox_entry *entries = must_alloc(cap * sizeof(*entries));
    for (size_t i = 0; i < o->n; i++)
        entries[i] = *entry_at(o, i);
    free(o->entries);
    o->entries = entries;
    o->cap = cap;
    o->first = 0;
}

/* Removes what `match` (NULL: every owner) owns, in order, and keeps the rest in order. */
static void drop_owned(struct outbox *o, const void *match, outbox_dropped_fn *dropped, void *arg) {
    size_t n = o->n;
    o->n = 0;
    for (size_t i = 0; i < n; i++) {
        struct outbox_entry e = *entry_at(o, i);
        if (e.owner && (!match || e.owner == match)) {
            if (dropped)
                dropped(arg, e.owner, e.frame);
            count_out(o, e.frame);
            frame_unref(e.frame);
            continue;
        }
        *entry_at(o, o->n++) = e;
    }
}

/* What has an owner is made good once the queue has drained, so that even an empty queue need not
 * take it. */
static bool fits(const struct outbox *o, const struct frame *f, const void *owner) {
    size_t n_bytes = o->n_bytes + f->len;
    size_t held = o->total->n_bytes + (f->n_queues ? 0 : f->len);
    if (held > o->total->max_bytes && n_bytes > OUTBOX_SHARE_BYTES)
        return !o->n && !owner;
    return !o->n || n_bytes <= o->max_bytes;
}

enum outbox_result outbox_push(struct outbox *o, struct frame *f, void *owner,
                               outbox_dropped_fn *dropped, void *arg) {
    enum outbox_result result = OUTBOX_QUEUED;
    if (!fits(o, f, owner)) {
        drop_owned(o, NULL, dropped, arg);
        result = OUTBOX_DROPPED;
        if (owner) {
            if (dropped)
                dropped(arg, owner, f);
            return OUTBOX_DROPPED;
        }
        if (!fits(o, f, owner))
            return OUTBOX_FULL;
    }
    if (o->n == o->cap)
        grow(o);
    *entry_at(o, o->n++) = (struct outbox_entry){frame_ref(f), owner};
    count_in(o, f);
    return result;
}

struct frame *outbox_pop(struct outbox *o) {
    if (!o->n)
        return NULL;
    struct frame *f = entry_at(o, 0)->frame;
    o->first = (o->first + 1) % o->cap;
    o->n--;
    count_out(o, f);
    return f;
}

void outbox_forget(struct outbox *o, const void *owner) {
    if (o->n)
        drop_owned(o, owner, NULL, NULL);
}

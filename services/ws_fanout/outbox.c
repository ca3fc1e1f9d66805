/* A ring of shared frames with a bound in bytes; see outbox.h. */
#include "services/ws_fanout/outbox.h"

#include <string.h>

void outbox_init(struct outbox *o, size_t max_bytes) {
    *o = (struct outbox){.max_bytes = max_bytes};
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
    o->n_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        struct outbox_entry e = *entry_at(o, i);
        if (e.owner && (!match || e.owner == match)) {
            if (dropped)
                dropped(arg, e.owner, e.frame->len);
            frame_unref(e.frame);
            continue;
        }
        *entry_at(o, o->n++) = e;
        o->n_bytes += e.frame->len;
    }
}

static bool fits(const struct outbox *o, const struct frame *f) {
    return o->n == 0 || o->n_bytes + f->len <= o->max_bytes;
}

enum outbox_result outbox_push(struct outbox *o, struct frame *f, void *owner,
                               outbox_dropped_fn *dropped, void *arg) {
    enum outbox_result result = OUTBOX_QUEUED;
    if (!fits(o, f)) {
        drop_owned(o, NULL, dropped, arg);
        result = OUTBOX_DROPPED;
        if (owner) {
            if (dropped)
                dropped(arg, owner, f->len);
            return OUTBOX_DROPPED;
        }
        if (!fits(o, f))
            return OUTBOX_FULL;
    }
    if (o->n == o->cap)
        grow(o);
    *entry_at(o, o->n++) = (struct outbox_entry){frame_ref(f), owner};
    o->n_bytes += f->len;
    return result;
}

struct frame *outbox_pop(struct outbox *o) {
    if (!o->n)
        return NULL;
    struct frame *f = entry_at(o, 0)->frame;
    o->first = (o->first + 1) % o->cap;
    o->n--;
    o->n_bytes -= f->len;
    return f;
}

void outbox_forget(struct outbox *o, const void *owner) {
    if (o->n)
        drop_owned(o, owner, NULL, NULL);
}

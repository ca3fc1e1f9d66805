/* What waits for a connection that is slower than its sessions: a queue bounded in bytes. Past the
 * bound it forgets the messages that a later state_sync makes good again, those with an owner, and
 * keeps the answers to the client's own requests. All queues together have a bound, too: while it
 * is reached each has a small share only. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "services/ws_fanout/frame.h"

#define OUTBOX_SHARE_BYTES                                                                         \
    (64u << 10) /* what a queue may hold while all together hold too much                          \
                 */

/* All queues together. */
struct outbox_total {
    size_t n_bytes; /* held: a frame that is in several queues counts once */
    size_t max_bytes;
};

struct outbox_entry {
    struct frame *frame; /* a reference of the queue's */
    void *owner;         /* whose messages may be dropped; NULL: must not be */
};

struct outbox {
    struct outbox_entry *entries; /* ring */
    size_t cap;
    size_t first;
    size_t n;
    size_t n_bytes;
    size_t max_bytes;
    struct outbox_total *total;
};

/* Called for each message dropped; the frame is borrowed. */
typedef void outbox_dropped_fn(void *arg, void *owner, struct frame *f);

enum outbox_result {
    OUTBOX_QUEUED,
    OUTBOX_DROPPED, /* over the bound: every message with an owner went, this one too if it has one
                     */
    OUTBOX_FULL     /* over the bound with what must not be dropped: the connection is lost */
};

/* total outlives it. */
void outbox_init(struct outbox *o, size_t max_bytes, struct outbox_total *total);
void outbox_done(struct outbox *o);

/* Takes a reference of its own. A single message over the bound is taken by an empty outbox; one
 * with an owner not while the total is reached. */
enum outbox_result outbox_push(struct outbox *o, struct frame *f, void *owner,
                               outbox_dropped_fn *dropped, void *arg);
/* The oldest, with the queue's reference (the caller releases it); NULL when empty. */
struct frame *outbox_pop(struct outbox *o);
/* Forgets what belongs to owner (a subscription that ended); silently. */
void outbox_forget(struct outbox *o, const void *owner);

/* One message for devices: bytes that any number of connections share. In front of the text is
 * room for a WebSocket frame's header, which libwebsockets writes there; it is the same for every
 * receiver, since servers do not mask. As a Server-Sent Event it has a twin, which all streams
 * share. Loop thread only. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "proto/session.h"

#define FRAME_HEADROOM 32 /* at least LWS_PRE; socket_write.c checks */

struct frame {
    unsigned n_refs;
    unsigned n_queues; /* outboxes that hold it */
    size_t len;
    struct position position; /* where its receiver is afterwards, and may resume from: so that of
                                 `subscribed` is the one resumed from; version 0: where it was */
    struct frame *event;      /* owned: the twin; NULL until somebody wants it */
    char *answers;            /* owned: the id of the request whose answer it is, where it may be
                                 dropped and another has to take its place; or NULL */
    unsigned char bytes[];    /* FRAME_HEADROOM, then len bytes of UTF-8 */
};

/* A copy of the text, with one reference: the caller's. */
struct frame *frame_new(const char *text, size_t len);
/* The same from what b holds; b is left empty. */
struct frame *frame_from_buf(struct buf *b);
/* The same message as a Server-Sent Event (WHATWG HTML): `id: <epoch>:<version>` where it has a
 * position, then `data:`. Borrowed from f, of which it is made when first asked for. */
struct frame *frame_as_event(struct frame *f);
struct frame *frame_ref(struct frame *f);
struct frame *frame_unref(struct frame *f);
DEFINE_CLEANUP(struct frame *, frame_unref)

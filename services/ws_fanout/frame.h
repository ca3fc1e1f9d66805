/* One message for WebSockets: bytes that any number of connections share. In front of the text is
 * room for the frame's header, which libwebsockets writes there; it is the same for every receiver,
 * since servers do not mask. Loop thread only. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define FRAME_HEADROOM 32 /* at least LWS_PRE; socket.c checks */

struct frame {
    unsigned n_refs;
    size_t len;
    unsigned char bytes[]; /* FRAME_HEADROOM, then len bytes of UTF-8 */
};

/* A copy of the text, with one reference: the caller's. */
struct frame *frame_new(const char *text, size_t len);
/* The same from what b holds; b is left empty. */
struct frame *frame_from_buf(struct buf *b);
struct frame *frame_ref(struct frame *f);
struct frame *frame_unref(struct frame *f);
DEFINE_CLEANUP(struct frame *, frame_unref)

/* Reference-counted message bytes; see frame.h. */
#include "services/ws_fanout/frame.h"

#include <string.h>

struct frame *frame_new(const char *text, size_t len) {
    struct frame *f = must_realloc(NULL, sizeof(*f) + FRAME_HEADROOM + len);
    f->n_refs = 1;
    f->len = len;
    memset(f->bytes, 0, FRAME_HEADROOM);
    if (len)
        memcpy(f->bytes + FRAME_HEADROOM, text, len);
    return f;
}

struct frame *frame_from_buf(struct buf *b) {
    struct frame *f = frame_new(b->data, b->len);
    buf_done(b);
    return f;
}

struct frame *frame_ref(struct frame *f) {
    f->n_refs++;
    return f;
}

struct frame *frame_unref(struct frame *f) {
    if (f && --f->n_refs == 0)
        free(f);
    return NULL;
}

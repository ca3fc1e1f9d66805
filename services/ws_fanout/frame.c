/* Reference-counted message bytes; see frame.h. */
#include "services/ws_fanout/frame.h"

#include <inttypes.h>
#include <string.h>

struct frame *frame_new(const char *text, size_t len) {
    struct frame *f = must_realloc(NULL, sizeof(*f) + FRAME_HEADROOM + len);
    f->n_refs = 1;
    f->n_queues = 0;
    f->len = len;
    f->position = (struct position){0};
    f->event = NULL;
    f->answers = NULL;
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
    if (f && --f->n_refs == 0) {
        frame_unref(f->event);
        free(f->answers);
        free(f);
    }
    return NULL;
}

/* A line break would end the field: such a text becomes several, which the receiver joins with LF.
 * In JSON that is white space. */
static void put_data(const char *text, size_t len, struct buf *out) {
    for (size_t at = 0; at <= len;) {
        size_t n = 0;
        while (at + n < len && text[at + n] != '\n' && text[at + n] != '\r')
            n++;
        buf_puts(out, "data: ");
        buf_put(out, text + at, n);
        buf_putc(out, '\n');
        at += n;
        at += at + 1 < len && text[at] == '\r' && text[at + 1] == '\n' ? 2 : 1;
    }
}

struct frame *frame_as_event(struct frame *f) {
    if (f->event)
        return f->event;
    struct buf out = BUF_NULL;
    buf_reserve(&out, f->len + 64);
    if (f->position.version)
        buf_printf(&out, "id: %" PRIu64 ":%" PRIu64 "\n", f->position.epoch, f->position.version);
    put_data((const char *)f->bytes + FRAME_HEADROOM, f->len, &out);
    buf_putc(&out, '\n');
    f->event = frame_from_buf(&out);
    return f->event;
}

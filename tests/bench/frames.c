/* See frames.h. */
#include "tests/bench/frames.h"

#include <string.h>

#define MASKED 0x80

bool frame_next(const char *bytes, size_t len, struct frame *ret) {
    const unsigned char *p = (const unsigned char *)bytes;
    if (len < 2)
        return false;
    size_t header = 2, n = p[1];
    if (n >= 126) {
        size_t n_bytes = n == 126 ? 2 : 8;
        header += n_bytes;
        if (len < header)
            return false;
        n = 0;
        for (size_t i = 0; i < n_bytes; i++)
            n = n << 8 | p[2 + i];
    }
    if (len - header < n)
        return false;
    *ret = (struct frame){p[0], bytes + header, n, header + n};
    return true;
}

const char *frame_find(const struct frame *f, const char *what) {
    return memmem(f->payload, f->len, what, strlen(what));
}

uint64_t frame_number(const struct frame *f, const char *name) {
    const char *at = frame_find(f, name);
    if (!at)
        die("a frame without %s: %.*s", name, (int)f->len, f->payload);
    return strtoull(at + strlen(name), NULL, 10);
}

void frame_send(const struct source *s, unsigned first, const char *text, size_t len) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    buf_putc(&out, (char)first);
    if (len < 126)
        buf_putc(&out, (char)(MASKED | len));
    else {
        buf_putc(&out, (char)(MASKED | 126));
        buf_putc(&out, (char)(len >> 8));
        buf_putc(&out, (char)(len & 0xff));
    }
    buf_put(&out, "\0\0\0\0", 4);
    if (len)
        buf_put(&out, text, len);
    source_send(s, out.data, out.len);
}

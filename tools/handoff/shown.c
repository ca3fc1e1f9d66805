/* See shown.h. */
#include "tools/handoff/shown.h"

#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/clean.h"

char *shown_text(const char *text) {
    struct buf out = BUF_NULL;
    if (!text || !*text)
        text = "-";
    clean_put(&out, text, strlen(text), SHOWN_MAX);
    for (size_t i = 0; i < out.len; i++)
        if ((unsigned char)out.data[i] < ' ' || out.data[i] == 0x7f)
            out.data[i] = ' ';
    return buf_take(&out);
}

void shown_position(struct buf *out, struct position p) {
    buf_put_u64(out, p.version);
    if (p.epoch > 1) {
        buf_putc(out, '.');
        buf_put_u64(out, p.epoch);
    }
}

void shown_moment(struct buf *out, int64_t ms) {
    char text[TIMESTAMP_LEN + 1] = "-";
    if (ms)
        timestamp_print(ms, text);
    buf_puts(out, text);
}

void shown_moment_json(struct buf *out, int64_t ms) {
    if (!ms) {
        buf_puts(out, "null");
        return;
    }
    buf_putc(out, '"');
    shown_moment(out, ms);
    buf_putc(out, '"');
}

void shown_text_json(struct buf *out, const char *text) {
    _cleanup_(buf_done) struct buf valid = BUF_NULL;
    if (text)
        clean_put(&valid, text, strlen(text), SHOWN_MAX);
    if (valid.len)
        buf_put_json(out, valid.data, valid.len);
    else
        buf_puts(out, "null");
}

bool shown_flush(struct buf *out) {
    bool is_taken = !out->len || fwrite(out->data, 1, out->len, stdout) == out->len;
    buf_clear(out);
    return is_taken && fflush(stdout) == 0;
}

/* W3C Trace Context; see trace_context.h. Of the flags only `sampled` is known to version 00: what
 * else is set is not passed on (section 3.2.2.5). */
#include "proto/trace_context.h"

#include <string.h>

#define AT_TRACE_ID 3
#define AT_SPAN_ID (AT_TRACE_ID + TRACE_ID_LEN + 1)
#define AT_FLAGS (AT_SPAN_ID + TRACE_SPAN_ID_LEN + 1)
#define SAMPLED 1

/* -1: none, or an upper case one. */
static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, size_t n, uint8_t *ret) {
    for (size_t i = 0; i < n; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool is_zero(const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            return false;
    return true;
}

bool trace_context_parse(const char *text, size_t len, struct trace_context *ret) {
    struct trace_context c = {.is_set = true};
    uint8_t version, flags;
    *ret = (struct trace_context){0};
    if (len < TRACE_PARENT_LEN || text[2] != '-' || text[AT_SPAN_ID - 1] != '-' ||
        text[AT_FLAGS - 1] != '-' || !read_hex(text, 1, &version) ||
        !read_hex(text + AT_TRACE_ID, TRACE_ID_BYTES, c.trace_id) ||
        !read_hex(text + AT_SPAN_ID, TRACE_SPAN_ID_BYTES, c.span_id) ||
        !read_hex(text + AT_FLAGS, 1, &flags))
        return false;
    if (version == 0xff || is_zero(c.trace_id, TRACE_ID_BYTES) ||
        is_zero(c.span_id, TRACE_SPAN_ID_BYTES))
        return false;
    if (len > TRACE_PARENT_LEN && (version == 0 || text[TRACE_PARENT_LEN] != '-'))
        return false;
    c.is_sampled = flags & SAMPLED;
    *ret = c;
    return true;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

void trace_context_take(const char *text, struct trace_context *ret) {
    *ret = (struct trace_context){0};
    if (!text)
        return;
    while (is_blank(*text))
        text++;
    size_t len = strlen(text);
    while (len > 0 && is_blank(text[len - 1]))
        len--;
    (void)trace_context_parse(text, len, ret);
}

void trace_hex_print(const uint8_t *bytes, size_t n, char *ret) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *ret++ = digits[bytes[i] >> 4];
        *ret++ = digits[bytes[i] & 15];
    }
    *ret = '\0';
}

void trace_id_print(const struct trace_context *c, char ret[static TRACE_ID_LEN + 1]) {
    trace_hex_print(c->trace_id, TRACE_ID_BYTES, ret);
}

void trace_context_print(const struct trace_context *c, char ret[static TRACE_PARENT_LEN + 1]) {
    strcpy(ret, "00-");
    trace_hex_print(c->trace_id, TRACE_ID_BYTES, ret + AT_TRACE_ID);
    ret[AT_SPAN_ID - 1] = '-';
    trace_hex_print(c->span_id, TRACE_SPAN_ID_BYTES, ret + AT_SPAN_ID);
    strcpy(ret + AT_FLAGS - 1, c->is_sampled ? "-01" : "-00");
}

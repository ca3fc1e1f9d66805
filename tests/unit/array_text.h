/* What services/audit_writer/array.h made, read back independently of it: as PostgreSQL would print
 * it, with each element in quotes. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "services/audit_writer/array.h"

static inline uint64_t array_text_number(const struct buf *array, size_t *at, size_t n_bytes) {
    uint64_t number = 0;
    assert_true(*at + n_bytes <= array->len);
    for (size_t i = 0; i < n_bytes; i++)
        number = number << 8 | (unsigned char)array->data[(*at)++];
    return number;
}

static inline void array_text_quoted(const char *text, size_t len, struct buf *out) {
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == '\\')
            buf_putc(out, '\\');
        buf_putc(out, text[i]);
    }
}

static inline void array_text_element(const struct buf *array, size_t *at, uint64_t type,
                                      size_t len, struct buf *out) {
    char moment[TIMESTAMP_LEN + 1];
    const char *bytes = array->data + *at;
    switch (type) {
    case ARRAY_UUID:
        assert_int_equal(len, 16);
        for (size_t i = 0; i < len; i++)
            buf_printf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                       (unsigned char)bytes[i]);
        *at += len;
        return;
    case ARRAY_BOOLEAN:
        assert_int_equal(len, 1);
        buf_puts(out, array_text_number(array, at, len) ? "t" : "f");
        return;
    case ARRAY_INTEGER:
        assert_int_equal(len, 4);
        buf_put_i64(out, (int32_t)array_text_number(array, at, len));
        return;
    case ARRAY_BIGINT:
        assert_int_equal(len, 8);
        buf_put_i64(out, (int64_t)array_text_number(array, at, len));
        return;
    case ARRAY_TIMESTAMPTZ: /* microseconds since 2000 */
        assert_int_equal(len, 8);
        timestamp_print((int64_t)array_text_number(array, at, len) / 1000 + 946684800000, moment);
        buf_puts(out, moment);
        return;
    default:
        assert_true(type == ARRAY_TEXT || type == ARRAY_JSON);
        array_text_quoted(bytes, len, out);
        *at += len;
    }
}

/* The caller's to free. */
static inline char *array_text(const struct buf *array) {
    struct buf out = BUF_NULL;
    size_t at = 0;
    assert_int_equal(array_text_number(array, &at, 4), 1); /* dimension */
    uint64_t has_nulls = array_text_number(array, &at, 4), n_nulls = 0;
    uint64_t type = array_text_number(array, &at, 4);
    uint64_t n = array_text_number(array, &at, 4);
    assert_int_equal(array_text_number(array, &at, 4), 1); /* the first one's number */
    for (uint64_t i = 0; i < n; i++) {
        buf_putc(&out, i ? ',' : '{');
        uint32_t len = (uint32_t)array_text_number(array, &at, 4);
        if (len == UINT32_MAX) {
            buf_puts(&out, "NULL");
            n_nulls++;
            continue;
        }
        assert_true(at + len <= array->len);
        buf_putc(&out, '"');
        array_text_element(array, &at, type, len, &out);
        buf_putc(&out, '"');
    }
    buf_putc(&out, '}');
    assert_int_equal(at, array->len);
    assert_int_equal(has_nulls, n_nulls > 0);
    return buf_take(&out);
}

static inline void array_text_is(const struct buf *array, const char *expected) {
    char *text = array_text(array);
    assert_string_equal(text, expected);
    free(text);
}

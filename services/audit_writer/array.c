/* See array.h. The form is array_recv's: dimensions (1), whether there are nulls, the elements'
 * type, how many, the first one's number (1); then length and bytes of each, all in network order.
 */
#include "services/audit_writer/array.h"

#include <endian.h>
#include <string.h>

#define AT_HAS_NULLS 4
#define AT_N_ELEMENTS 12
#define POSTGRESQL_EPOCH_MS INT64_C(946684800000) /* 2000-01-01T00:00:00Z */

static void put_32(struct buf *array, uint32_t number) {
    uint32_t bytes = htobe32(number);
    buf_put(array, &bytes, sizeof(bytes));
}

static void put_64(struct buf *array, uint64_t number) {
    uint64_t bytes = htobe64(number);
    buf_put(array, &bytes, sizeof(bytes));
}

static void begin_element(struct buf *array, enum array_type type) {
    if (!array->len) {
        const uint32_t header[] = {htobe32(1), 0, htobe32((uint32_t)type), 0, htobe32(1)};
        buf_put(array, header, sizeof(header));
    }
    uint32_t n;
    memcpy(&n, array->data + AT_N_ELEMENTS, sizeof(n));
    n = htobe32(be32toh(n) + 1);
    memcpy(array->data + AT_N_ELEMENTS, &n, sizeof(n));
}

void array_put_null(struct buf *array, enum array_type type) {
    const uint32_t yes = htobe32(1);
    begin_element(array, type);
    memcpy(array->data + AT_HAS_NULLS, &yes, sizeof(yes));
    put_32(array, UINT32_MAX);
}

void array_put_text(struct buf *array, enum array_type type, const char *text, size_t len) {
    begin_element(array, type);
    put_32(array, (uint32_t)len);
    buf_put(array, text, len);
}

static unsigned hex_value(char c) {
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

void array_put_uuid(struct buf *array, const char *text) {
    unsigned char bytes[16];
    for (size_t i = 0; i < sizeof(bytes); i++, text += 2) {
        if (*text == '-')
            text++;
        bytes[i] = (unsigned char)(hex_value(text[0]) << 4 | hex_value(text[1]));
    }
    begin_element(array, ARRAY_UUID);
    put_32(array, sizeof(bytes));
    buf_put(array, bytes, sizeof(bytes));
}

void array_put_integer(struct buf *array, int32_t number) {
    begin_element(array, ARRAY_INTEGER);
    put_32(array, sizeof(number));
    put_32(array, (uint32_t)number);
}

static void put_eight(struct buf *array, enum array_type type, int64_t number) {
    begin_element(array, type);
    put_32(array, sizeof(number));
    put_64(array, (uint64_t)number);
}

void array_put_bigint(struct buf *array, int64_t number) {
    put_eight(array, ARRAY_BIGINT, number);
}

void array_put_boolean(struct buf *array, bool value) {
    begin_element(array, ARRAY_BOOLEAN);
    put_32(array, 1);
    buf_putc(array, value ? 1 : 0);
}

void array_put_moment(struct buf *array, int64_t unix_ms) {
    put_eight(array, ARRAY_TIMESTAMPTZ, (unix_ms - POSTGRESQL_EPOCH_MS) * 1000);
}

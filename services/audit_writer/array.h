/* PostgreSQL arrays in binary form, built element by element: what the columns of a batch travel
 * as. Nothing is printed here, escaped, and parsed again there. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* The elements' types by PostgreSQL's numbers (pg_type.oid), which never change. */
enum array_type {
    ARRAY_BOOLEAN = 16,
    ARRAY_BIGINT = 20,
    ARRAY_INTEGER = 23,
    ARRAY_TEXT = 25,
    ARRAY_JSON = 114,
    ARRAY_TIMESTAMPTZ = 1184,
    ARRAY_UUID = 2950,
};

/* Each appends an element; an empty buffer becomes an array with it. All elements of one array have
 * one type. One without elements is not to be sent: it has no bytes. */
void array_put_null(struct buf *array, enum array_type type);
/* type: ARRAY_TEXT or ARRAY_JSON. */
void array_put_text(struct buf *array, enum array_type type, const char *text, size_t len);
/* text must be a UUID (uuid_is). */
void array_put_uuid(struct buf *array, const char *text);
void array_put_integer(struct buf *array, int32_t number);
void array_put_bigint(struct buf *array, int64_t number);
void array_put_boolean(struct buf *array, bool value);
void array_put_moment(struct buf *array, int64_t unix_ms);

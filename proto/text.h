/* JSON text <-> jansson values, as strict as contract section 2 asks. Numbers become doubles
 * (json_real) always, integers too: read them with text_get_* or json_number_value. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/fault.h"

#define TEXT_INTEGER_MAX 9007199254740991LL /* 2^53 - 1: every integer up to it is exact */

/* Parses one JSON value of any type. Refused as FAULT_INVALID_JSON, with what and where (line,
 * column) in the detail: bad syntax, trailing bytes, duplicate member names, invalid UTF-8, lone
 * surrogates, U+0000, an integer literal that RFC 8785 would not print back digit for digit, a
 * number that overflows, nesting over 1000. -0 becomes 0. *ret is a new reference, untouched on
 * failure. Costs time and memory linear in len. */
MUSTCHECK int text_parse(const char *text, size_t len, json_t **ret, struct fault *f);

/* Appends value as compact JSON, members in insertion order, numbers and strings as RFC 8785 prints
 * them (so text_print and canonical_print differ in member order only). */
void text_print(const json_t *value, struct buf *out);

/* Levels of nesting: 0 for a scalar, 1 for [] and {}. Stops counting at `most` + 1. */
size_t text_depth(const json_t *value, size_t most);

/* Equality by value: numbers as numbers (1 and 1.0), objects whatever their members' order. */
bool text_equal(const json_t *a, const json_t *b);

/* Typed members of an object, borrowed. Each returns 0 and sets *ret when the member is there with
 * the right type; 0 and leaves *ret untouched when it is absent (or null, for the _or_null ones)
 * and not required; else FAULT_INVALID_REQUEST naming the member as field. */
enum text_need { TEXT_OPTIONAL, TEXT_REQUIRED };
MUSTCHECK int text_get_string(const json_t *object, const char *name, enum text_need need,
                              const char **ret, struct fault *f);
MUSTCHECK int text_get_bool(const json_t *object, const char *name, enum text_need need, bool *ret,
                            struct fault *f);
/* Also refuses fractions; a value outside [least, most] is FAULT_INVALID_VALUE. */
MUSTCHECK int text_get_integer(const json_t *object, const char *name, enum text_need need,
                               int64_t least, int64_t most, int64_t *ret, struct fault *f);
MUSTCHECK int text_get_object(const json_t *object, const char *name, enum text_need need,
                              json_t **ret, struct fault *f);
MUSTCHECK int text_get_array(const json_t *object, const char *name, enum text_need need,
                             json_t **ret, struct fault *f);

/* ASCII from space to tilde, or nothing. */
bool text_is_printable(const char *text, size_t len);
/* All of the text as a number: digits without leading zeros, up to TEXT_INTEGER_MAX. */
bool text_parse_number(const char *text, size_t len, uint64_t *ret);

/* C0, DEL or C1 in valid UTF-8. */
bool text_has_controls(const char *utf8, size_t len);
/* Number of Unicode characters of a valid UTF-8 string. */
size_t text_n_characters(const char *utf8, size_t len);
/* Whether bytes are valid UTF-8 (RFC 3629). */
bool text_is_utf8(const char *bytes, size_t len);

/* The canonical form of JSON: RFC 8785 (JCS). */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/hash.h"

#define CANONICAL_NUMBER_CAP 32

/* Appends value in canonical form: members sorted by UTF-16 code units (section 3.2.3), shortest
 * round-trip numbers (3.2.2.3, ECMAScript's Number::toString), no white space. */
void canonical_print(const json_t *value, struct buf *out);

/* The number of bytes that canonical_print would append. */
size_t canonical_size(const json_t *value);
/* The same; adds to *n_values the number of values looked at, the outermost included. */
size_t canonical_measure(const json_t *value, size_t *n_values);
/* The same for a member name or string, with its quotes. */
size_t canonical_string_size(const char *text, size_t len);

/* The order of members: of two names in UTF-8, below 0 when a comes first, 0 when they are equal.
 */
int canonical_compare(const char *a, size_t a_len, const char *b, size_t b_len);

/* A finite number as RFC 8785 prints it; returns its length. */
size_t canonical_number(double number, char ret[static CANONICAL_NUMBER_CAP]);

/* SHA-256 in hex over value's canonical form. */
void canonical_checksum(const json_t *value, char ret_hex[static HASH_HEX_LEN + 1]);

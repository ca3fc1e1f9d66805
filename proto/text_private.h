/* Private to text*.c, and to their tests. */
#pragma once

#include "proto/text.h"

/* len of one character in UTF-8 at bytes, 0 when it is none: RFC 3629, section 4. */
size_t text_utf8_sequence(const unsigned char *bytes, size_t n);

/* The value of the usual text: a new reference, the same as text_parse_strictly gives. NULL: that
 * has to judge, be it for text that is refused or for what is rare (a number with an exponent or
 * over 15 digits, an escape by code point, nesting over 64 levels). */
json_t *text_parse_quickly(const char *text, size_t len);

/* The same of one value that the text begins with: *text is left behind it and the white space
 * after it. */
json_t *text_read_quickly(const char **text, const char *end);

/* text_parse, of any text. */
MUSTCHECK int text_parse_strictly(const char *text, size_t len, json_t **ret, struct fault *f);

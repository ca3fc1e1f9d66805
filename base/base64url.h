/* Base64url without padding (RFC 4648, section 5), as JOSE has it (RFC 7515, section 2). */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"

#define BASE64URL_ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/* How many characters so many bytes take. */
#define BASE64URL_LEN(n_bytes) (((n_bytes)*8 + 5) / 6)

/* What a character stands for, 0 to 63; -1: it is none of the alphabet. */
int base64url_value(char c);
/* The text of the bytes and a NUL: BASE64URL_LEN(len) + 1 characters. */
void base64url_print(const void *data, size_t len, char *ret);
/* Appends the text of the bytes. */
void base64url_put(struct buf *out, const void *data, size_t len);
/* Strict: no padding, no other character, unused bits 0. -1 when it is none, else the number of
 * bytes; at most len * 3 / 4. */
ssize_t base64url_decode(const char *text, size_t len, char *ret);

/* Base64url without padding (RFC 4648, section 5), as JOSE has it (RFC 7515, section 2). */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"

/* Appends the text of the bytes. */
void base64url_put(struct buf *out, const void *data, size_t len);
/* Strict: no padding, no other character, unused bits 0. -1 when it is none, else the number of
 * bytes; at most len * 3 / 4. */
ssize_t base64url_decode(const char *text, size_t len, char *ret);

/* Text of unknown origin, made fit for a log record or a JSON answer. */
#pragma once

#include <stddef.h>

#include "base/buf.h"

/* Appends at most `most` bytes of text as valid UTF-8, never half a character: a byte that is none
 * and U+0080 to U+009F (which some terminals obey) become U+FFFD. */
void clean_put(struct buf *out, const char *text, size_t len, size_t most);

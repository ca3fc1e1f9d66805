/* Events, and the ids and hashes beside them, as a session's delta window keeps them: without what
 * is the same in nearly all of them. The text of a change of one value takes 345 bytes, of which a
 * third is packed; what nobody foresaw stays as it is. Lossless for any bytes, and still UTF-8. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define PACKED_MAX_BYTES 4096 /* of a text that is worth it */

/* Appends the text, packed. session_id (a UUID): whose window it is. */
void packed_print(const char *text, size_t len, const char *session_id, struct buf *out);
/* Whether it was packed: else it is the text itself. No JSON text that is printed here has such
 * bytes. */
bool packed_is(const char *packed, size_t len);
/* Appends what packed_print was given. -EBADMSG, with out anyhow: it was not made so. Takes time
 * and memory linear in len, 80 bytes for each at the most. */
MUSTCHECK int packed_read(const char *packed, size_t len, const char *session_id, struct buf *out);

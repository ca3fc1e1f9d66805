/* Which versions this engine had confirmed and whose published mark has not moved yet: a run of
 * versions a session. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/store_batch.h"

#define MARKS_MAX 4096
#define MARKS_URGENT 1024 /* so many runs, or */
#define MARKS_URGENT_RUN                                                                           \
    100 /* a run so long: a session may have 1000 unpublished versions, no more */

struct marks {
    struct store_mark *items; /* owned */
    size_t n;
    bool is_urgent; /* not to wait for the next tick */
};

void marks_done(struct marks *m);
/* One more confirmed version: joins the session's run when it continues it, else starts another.
 * When MARKS_MAX are waiting the oldest is forgotten: the attention look publishes it again, and so
 * moves the mark. */
void marks_add(struct marks *m, const char *session_id, struct position confirmed);
/* Forgets those that store_batch_save settled. */
void marks_drop_settled(struct marks *m);

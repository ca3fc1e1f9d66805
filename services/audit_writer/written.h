/* The newest version of a session that this process saw committed, for the sessions that it wrote
 * last: whether its row is there need not be asked. Forgets at will; a fixed 2 MiB. Pure. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "proto/session.h"

struct written;

struct written *written_new(void);
struct written *written_free(struct written *w);
DEFINE_CLEANUP(struct written *, written_free)
/* PostgreSQL may be another one from now on, without what the last one had committed. */
void written_forget(struct written *w);
/* The row of that version is committed. session_id: a UUID. */
void written_note(struct written *w, const char *session_id, struct position p);
/* False: nobody knows. w may be NULL. */
bool written_has(const struct written *w, const char *session_id, struct position p);

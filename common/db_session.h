/* A session as PostgreSQL has it: its row with participants and removed devices, without its data.
 * What the engine puts together again after a loss, and what is read while a session is cold. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "common/db.h"
#include "proto/session.h"

struct db_session {
    /* Without data_text. touched_at such that session_expires_at is the row's due_at; while the
     * clock runs clock_at is that. clock_told: the last version, which told what was to be told. */
    struct session session;
    bool is_deleted;
    bool is_cold;  /* the cold mark is that of the row's position: Redis let go of it on purpose */
    bool is_whole; /* session_created was seen; else it can be neither read nor loaded yet */
};
void db_session_done(struct db_session *s);

/* The query; its one parameter is the session's id. */
extern const char db_session_sql[];
/* -ENOENT: there is no row (a deleted one is one). -EBADMSG: one that cannot be. */
MUSTCHECK int db_session_read(const struct db_result *rows, struct db_session *ret);

/* The resource's columns of the table sessions, or of what has its columns, at a row's beginning.
 */
#define DB_SESSION_COLUMNS                                                                         \
    "id, user_id, name, type, status, version, epoch, "                                            \
    "(extract(epoch FROM created_at) * 1000)::bigint, "                                            \
    "(extract(epoch FROM updated_at) * 1000)::bigint, "                                            \
    "(extract(epoch FROM completed_at) * 1000)::bigint, "                                          \
    "ttl_seconds, on_idle, (extract(epoch FROM due_at) * 1000)::bigint, active_device_id, "        \
    "last_active_device_id, (extract(epoch FROM last_modified) * 1000)::bigint, modified_by, "     \
    "checksum, clock_runs"
#define DB_SESSION_N_COLUMNS 19
/* Fills what they tell, of a clock whether it runs; what is null stays empty. -EBADMSG: what cannot
 * be; ret is to be done either way. */
MUSTCHECK int db_session_take_columns(const struct db_result *rows, size_t row,
                                      struct session *ret);

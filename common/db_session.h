/* A session as PostgreSQL has it: its row with participants and removed devices, without its data.
 * What the engine puts together again after a loss, and what is read while a session is cold. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "common/db.h"
#include "proto/session.h"

struct db_session {
    /* Without data_text; touched_at such that session_expires_at is the row's due_at. */
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

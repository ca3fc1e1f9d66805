/* Sessions that Redis has not, or has and cannot be believed about: made hot again from PostgreSQL.
 * One recovery a session, however many ask; the rest of the engine goes on meanwhile. Contract
 * section 6 (going cold, loss), docs/decisions/0009. */
#pragma once

#include "base/cleanup.h"
#include "common/app.h"
#include "common/db.h"
#include "common/store_batch.h"
#include "proto/command.h"
#include "services/state_engine/barrier.h"

#define RECOVER_MAX_SESSIONS 1024 /* at a time; above: RECOVER_BUSY */

struct recover;

MUSTCHECK int recover_new(struct recover **ret, struct app *app, struct store_batch *store,
                          struct barrier *barrier, struct publisher *publisher);
/* The connection for short questions and updates: whoever else has some asks them there. */
struct db *recover_db(const struct recover *r);
/* Answers nobody any more; of others' questions the connection tells. */
struct recover *recover_free(struct recover *r);

enum recover_cause {
    RECOVER_ABSENT,  /* no keys: cold, lost, or never there */
    RECOVER_STALE,   /* saved under another run_id than the node has now */
    RECOVER_DAMAGED, /* a value that cannot be */
};

enum recover_answer {
    RECOVER_HOT,     /* in Redis now, and to be believed: load it */
    RECOVER_NEVER,   /* PostgreSQL has no such session, after a barrier */
    RECOVER_DELETED, /* it was deleted: not found, and its id is not used again */
    RECOVER_UNKNOWN, /* PostgreSQL or the audit trail does not answer; nothing was done */
    RECOVER_BUSY     /* too many at a time */
};
typedef void recover_fn(void *arg, enum recover_answer answer);
/* On behalf of a command, for its session: the first one's id and trace are in what is logged, and
 * the trace in what is published. done is called exactly once, now or later. */
void recover_ask(struct recover *r, const struct command *c, enum recover_cause cause,
                 recover_fn *done, void *arg);
/* err: 0; -ENOTCONN PostgreSQL or the audit trail does not answer. session_id NULL: no session was
 * created under the key. Both texts are borrowed until the return. */
typedef void recover_create_fn(void *arg, int err, const char *session_id, const char *fingerprint);
/* The session that a user created under a key which Redis may have forgotten. done is called
 * exactly once, now or later. */
void recover_ask_create(struct recover *r, const char *user_id, const char *key_hash,
                        recover_create_fn *done, void *arg);
/* Once a second: those who wait for a silent PostgreSQL are told. */
void recover_tick(struct recover *r);

/* What the files of the recovery share; see recover.h. */
#pragma once

#include "base/table.h"
#include "common/db.h"
#include "common/db_rebuild.h"
#include "common/db_session.h"
#include "common/store_recover.h"
#include "common/trace.h"
#include "services/state_engine/recover.h"

#define RECOVER_N_PASSED 16
#define RECOVER_MAX_REBUILDS 8 /* at a time: each may hold 16 MiB of events */
#define RECOVER_MAX_KEYS 1000
#define RECOVER_SETTLE_MS 500
#define RECOVER_PATIENCE_MS 2000 /* with PostgreSQL: then those who wait are told, as of Redis */

struct recover_asker {
    struct recover_asker *next;
    recover_fn *done;
    void *arg;
};

/* Of a record about a recovery: whose, and on whose behalf. */
#define RECOVERY_LOG(rec)                                                                          \
    LOG_TEXT("sessionId", (rec)->session_id), LOG_TEXT("commandId", (rec)->command_id),            \
        LOG_TRACE(&(rec)->trace)

/* One session on its way back. It waits for one thing at a time: PostgreSQL (asked_at), a barrier,
 * its turn to be rebuilt, or the rebuild. */
struct recovery {
    struct table_node node;           /* recover::sessions */
    struct recovery *next_to_rebuild; /* recover::to_rebuild */
    struct recover *owner;
    char session_id[UUID_LEN + 1];
    char run_id[41]; /* of the session's node, when it was asked for */
    enum recover_cause cause;
    struct recover_asker *askers;  /* owned; in any order */
    char command_id[UUID_LEN + 1]; /* of the first asker's command, as is */
    struct trace_context trace;

    /* The question that could not be put yet, since PostgreSQL is away or has too many. */
    void (*parked)(struct recovery *rec);
    int64_t asked_at;         /* ms, monotonic: the row or the keys were asked for; 0: nothing is */
    int64_t rebuilding_since; /* the same of the rebuild, its turn included */
    bool has_looked;          /* at Redis, after PostgreSQL said that there is such a session */
    bool is_cold;             /* Redis let go of it on purpose: it comes back at the same epoch */
    struct store_found found;
    struct db_session row;      /* of the last answer; data and checksum come with the rebuild */
    struct db_rebuild *rebuild; /* owned while under way */
    struct store_remembered *keys;
    size_t n_keys;
};

struct recover_question;

struct recover_memory { /* a node's, that a barrier came after */
    unsigned number;
    int64_t since; /* ms; 0: none */
};

struct recover {
    struct app *app;
    struct store_batch *store; /* borrowed, as the next two */
    struct barrier *barrier;
    struct publisher *publisher;
    struct db *db;         /* short questions, the ledger's too */
    struct db *db_rebuild; /* long ones: a connection answers in order */
    struct health_dependency *health;
    struct table sessions; /* struct recovery, owned */
    struct recovery *to_rebuild, **to_rebuild_end;
    size_t n_rebuilds;
    struct recover_question *questions; /* owned: about creates' keys */
    size_t n_questions;
    int64_t down_since; /* ms, monotonic: since when PostgreSQL is away; 0: it is there */
    bool is_silent;     /* PostgreSQL has owed an answer for too long */
    bool is_closing;    /* answers that still come are for nobody */
    char passed[RECOVER_N_PASSED][41]; /* runs of nodes that a barrier came after */
    size_t n_passed;
    struct recover_memory memories[RECOVER_N_PASSED]; /* by number modulo their count */

    struct metric *n_cold, *n_rebuilt, *n_adopted, *n_not_found, *n_unknown, *n_damaged;
    struct metric *n_open;
};

/* ---- recover.c ---- */
/* Whether a question may wait for PostgreSQL to come (back): err is db_query's. */
bool recover_may_wait(const struct recover *r, int err);
/* When (ms, monotonic) a barrier may go: RECOVER_SETTLE_MS after Redis began to remember. Until
 * then other engines may have on their way to the broker what they saved before. */
int64_t recover_settled_at(const struct store_memory *memory);
/* Answers all askers; frees rec. */
void recovery_end(struct recovery *rec, enum recover_answer answer);
/* Asks one statement about the session; done gets rec. When PostgreSQL is away `again`, which has
 * asked this, is called once more when it is back; it is not waited for as long as it is silent. */
void recovery_query(struct recovery *rec, const char *sql, size_t n, const char *const *params,
                    db_done_fn *done, void (*again)(struct recovery *rec));

/* ---- recover_judge.c ---- */
/* The first step. */
void recovery_begin(struct recovery *rec);
/* Whether the node still has the run that was recovered: what it lost when it restarted once more,
 * the barrier did not ask for. */
bool recovery_is_of_run(const struct recovery *rec);
/* A barrier, then the row, then the judgement of both. */
void recovery_pass_barrier(struct recovery *rec);

/* ---- recover_rebuild.c ---- */
/* Data, then keys, then recovery_write. */
void recovery_rebuild(struct recovery *rec);

/* ---- recover_create.c ---- */
/* Answers those that PostgreSQL owes for too long; whether there are any. */
bool recover_tell_questions(struct recover *r);
/* Puts those that could not be put yet. */
void recover_ask_questions(struct recover *r);
/* Frees those that nobody answers any more. */
void recover_drop_questions(struct recover *r);

/* ---- recover_write.c ---- */
void recovery_write(struct recovery *rec);
/* PostgreSQL is not ahead of what Redis has. */
void recovery_adopt(struct recovery *rec);
/* PostgreSQL knows that it was deleted: what Redis has becomes a tombstone. */
void recovery_bury(struct recovery *rec);

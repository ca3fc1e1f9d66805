/* What the engine asks PostgreSQL about sessions' age: which are due, which are cold, which are
 * deleted for good. On the connection of the recoveries' short questions. Contract sections 6
 * and 7.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/db.h"
#include "proto/session.h"

struct ledger;

/* db: borrowed. When it goes, what is asked is answered with an error. */
struct ledger *ledger_new(struct db *db);
struct ledger *ledger_free(struct ledger *l);
bool ledger_is_up(const struct ledger *l);

struct ledger_row {
    char session_id[UUID_LEN + 1];
    struct position position;
    int64_t due_at; /* ms; 0: never */
};
/* err: 0, or PostgreSQL did not do it (or nobody knows whether it did). rows: those that it was
 * true of; borrowed during the call. Called exactly once, now or later; never from another call. */
typedef void ledger_fn(void *arg, int err, const struct ledger_row *rows, size_t n);

/* Marks as cold those of which PostgreSQL has the very position and its snapshot, with due_at. */
void ledger_mark_cold(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn *done,
                      void *arg);
/* Takes such marks back, when it can: the sessions stayed in Redis. */
void ledger_unmark_cold(struct ledger *l, const struct ledger_row *rows, size_t n);
/* Those whose deletion is noted. */
void ledger_find_deleted(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn *done,
                         void *arg);
/* Up to LEDGER_MAX_DUE sessions whose idle or expiry is overdue, in order, from that moment on
 * (ms; 0: all). */
#define LEDGER_MAX_DUE 1000
void ledger_find_due(struct ledger *l, int64_t after, ledger_fn *done, void *arg);
/* Moves due_at of those that are at this position: heartbeats came. */
void ledger_move_due(struct ledger *l, const struct ledger_row *rows, size_t n);

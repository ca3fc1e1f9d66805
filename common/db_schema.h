/* The schema of PostgreSQL: which migrations this program knows, which the database has, and
 * whether the two go together. A migration that the database has and this program does not know is
 * a newer program's: it is refused, unless it says that programs from one on that is known here may
 * go on working ("-- works from: 0006_look_at.sql", its first line). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/embedded.h"
#include "common/db.h"
#include "common/db_blocking.h"

/* Those of this program, in the order of their names, in which they are applied; static. */
const struct embedded *db_schema_known(size_t *ret_n);

/* ---- what there is ---- */

enum db_schema_state {
    DB_SCHEMA_APPLIED,
    DB_SCHEMA_MISSING, /* known here, not applied */
    DB_SCHEMA_NEWER,   /* not known here, and may be worked with */
    DB_SCHEMA_REFUSED, /* not known here: only a newer program may work with it */
};

struct db_schema_step {
    enum db_schema_state state;
    char *name, *applied_at; /* owned; RFC 3339, "" where it is not applied */
};
struct db_schema_steps {
    struct db_schema_step *items; /* owned; in the order of their names */
    size_t n;
};
void db_schema_steps_done(struct db_schema_steps *s);
size_t db_schema_count(const struct db_schema_steps *s, enum db_schema_state state);

/* What the database has, and what of the n migrations it has not; a database without any table has
 * none. As db_blocking_ask. */
MUSTCHECK int db_schema_look(struct db_blocking *b, const struct embedded *known, size_t n,
                             struct db_schema_steps *ret, char **ret_error);
/* What to say of a migration that is refused; owned by the caller. */
char *db_schema_refusal(const char *name);

/* ---- bringing it up to date ---- */

/* Both may be NULL. */
struct db_migrate_callbacks {
    void (*begins)(void *arg, const char *name, size_t number, size_t n);
    void (*is_done)(void *arg, const char *name, int64_t took_ms);
};

/* Applies each migration not yet applied, in order, under an advisory lock, each in its own
 * transaction; blocks (up to minutes). On failure *ret_error (owned by the caller) says which and
 * why. -ENOTCONN: not reached or lost. -EIO: refused, also when the database has a newer program's
 * (see above). */
MUSTCHECK int db_migrate(const char *url, const struct embedded *migrations, size_t n,
                         char **ret_error);
MUSTCHECK int db_migrate_told(const char *url, const struct embedded *migrations, size_t n,
                              const struct db_migrate_callbacks *callbacks, void *arg,
                              char **ret_error);

/* ---- private to db_schema.c and db_migrate.c ---- */

/* The program's migration from which on one may work with this one; "" when it does not say so. */
#define DB_SCHEMA_NAME_CAP 128
void db_schema_works_from(const char *sql, char ret[static DB_SCHEMA_NAME_CAP]);

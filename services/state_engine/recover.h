/* Sessions that are not in Redis: PostgreSQL knows whether there ever was one. */
#pragma once

#include "base/cleanup.h"
#include "common/app.h"

struct recover;

MUSTCHECK int recover_new(struct recover **ret, struct app *app);
struct recover *recover_free(struct recover *r);

enum recover_answer {
    RECOVER_NEVER,   /* no row, or deleted: not found */
    RECOVER_MISSING, /* there is a row: it should be in Redis */
    RECOVER_UNKNOWN, /* PostgreSQL does not answer */
};
/* done is called exactly once, now or later. */
void recover_ask(struct recover *r, const char *session_id,
                 void (*done)(void *arg, enum recover_answer answer), void *arg);

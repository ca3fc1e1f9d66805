/* Inside of gaps.c (the list, and what PostgreSQL says) and gaps_refill.c (what Redis says). */
#pragma once

#include "base/table.h"
#include "common/store.h"
#include "services/audit_writer/gaps.h"

struct gap {
    struct table_node node;
    struct gap *next; /* in the one list that it is in */
    char session_id[UUID_LEN + 1];
    struct position position; /* the missing version; others right before it may miss, too */
    int64_t due_at;           /* monotonic ms: when to look again */
    uint64_t low;             /* the newest version before it that has a row; 0: none */
    unsigned n_refills;
};

struct gap_list {
    struct gap *first, *last;
};

struct gaps {
    struct app *app;
    struct db *db; /* borrowed */
    struct store *store;
    struct gaps_callbacks callbacks;
    void *arg;
    struct health_dependency *redis;
    uv_timer_t timer; /* ticks while something is open */
    bool closed;

    struct table known;       /* owns all gaps, whichever list they are in */
    struct gap_list waiting;  /* until due_at, in its order */
    struct gap_list checking; /* PostgreSQL is asked about them */
    struct gap_list missing;  /* to be looked for in Redis */
    struct gap_list told;     /* nothing is done any more; the oldest makes room for new ones */
    struct gap *reading;      /* Redis is asked about it */

    struct metric *lost, *refilled, *unchecked;
};

void gap_list_add(struct gap_list *l, struct gap *g);
struct gap *gap_list_take(struct gap_list *l); /* NULL: empty */

/* Looks at it again later. */
void gaps_wait(struct gaps *g, struct gap *gap);
/* It can be found nowhere. */
void gaps_tell(struct gaps *g, struct gap *gap);

/* gaps_refill.c: reads the window of the next one that is missing, unless one is being read. */
void gaps_read_next(struct gaps *g);

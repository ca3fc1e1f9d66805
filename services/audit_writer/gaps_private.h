/* Inside of gaps.c (the list, and whether they have come), gaps_refill.c (what Redis says) and
 * gaps_kept.c (what session_gaps has). */
#pragma once

#include "base/table.h"
#include "common/store.h"
#include "services/audit_writer/gaps.h"

#define MAX_GAPS 4096
#define MAX_CHECKS 100 /* at a time */

struct gap {
    struct table_node node;
    struct gap *next; /* in the one list that it is in */
    char session_id[UUID_LEN + 1];
    struct position position; /* the missing version; others right before it may miss, too */
    int64_t due_at;           /* monotonic ms: when to look again */
    uint64_t low;             /* the newest version before it that has a row; 0: none */
    unsigned n_refills;
    bool maybe_marked; /* as lost, by us: the connection ended before the answer */
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
    uv_timer_t timer;
    bool ticking; /* something is open; else the timer waits for page_at */
    bool closed;

    struct table known;         /* owns all gaps, whichever list they are in */
    struct gap_list waiting;    /* until due_at, in its order */
    struct gap_list checking;   /* PostgreSQL is asked about them */
    struct gap_list missing;    /* to be looked for in Redis */
    struct gap *reading;        /* Redis is asked about it */
    struct gap_list lost;       /* to be marked so, and told */
    struct gap_list marking;    /* PostgreSQL is asked to */
    bool is_marked[MAX_CHECKS]; /* of those, in their order: nobody had before */

    char page_session_id[UUID_LEN + 1]; /* the last row of the table that was read */
    struct position page_position;
    int64_t page_at;     /* monotonic ms: when to read on; 0: not yet */
    int64_t page_age_ms; /* the rows are at least so old */
    bool paging;         /* PostgreSQL is asked for rows */

    struct metric *n_lost, *refilled, *put_off;
};

void gap_list_add(struct gap_list *l, struct gap *g);
struct gap *gap_list_take(struct gap_list *l); /* NULL: empty */

/* Looks at it again later. */
void gaps_wait(struct gaps *g, struct gap *gap);
/* It need not be looked at any more; frees it. */
void gaps_forget(struct gaps *g, struct gap *gap);

/* gaps_refill.c: reads the window of the next one that is missing, unless one is being read. */
void gaps_read_next(struct gaps *g);

/* gaps_kept.c: reads the table's next page, when it is time and there is room. */
void gaps_read_page(struct gaps *g);
/* It can be found nowhere: marks it so, and tells. */
void gaps_lose(struct gaps *g, struct gap *gap);
void gaps_mark_next(struct gaps *g);

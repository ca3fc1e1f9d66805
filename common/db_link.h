/* What db.c (statements and answers), db_connect.c (the connection's life) and the other files of
 * db share; nobody else includes it. */
#pragma once

#include <libpq-fe.h>

#include "common/backoff.h"
#include "common/db.h"
#include "common/db_hosts.h"

struct db_result {
    const PGresult *pg;
};

enum db_state {
    DB_WAITING,    /* for the next try; the timer -> RESOLVING or CONNECTING */
    DB_RESOLVING,  /* the host's name is looked up in a thread; -> CONNECTING, WAITING */
    DB_CONNECTING, /* -> UP, WAITING */
    DB_UP,         /* -> WAITING when lost */
    DB_CLOSED,     /* db_free was called: the struct goes when its last handle has closed */
};

/* A statement of the code, prepared once a connection. A prepare that was sent counts for its own
 * transaction only, until the server confirmed it: it is skipped when that transaction fails
 * before. */
struct db_statement {
    struct db_statement *next;
    const char *sql; /* borrowed literal */
    char name[16];
    bool prepared;
    bool preparing;
    uint64_t preparing_in; /* transaction */
};

/* What the server has yet to answer: a statement, or the end of a transaction. */
struct db_entry {
    struct db_entry *next;
    bool is_end;
    uint64_t asked_ns;              /* uv_hrtime; of a statement */
    unsigned n_results_left;        /* of a statement: 2 with its prepare, else 1 */
    struct db_statement *preparing; /* NULL: this entry prepares nothing */
    bool answered;                  /* a result came, the NULL after it has not */
    int err;
    PGresult *result; /* owned; the first failure, else the last */
    db_done_fn *done;
    void *arg;
};

struct db {
    uv_loop_t *loop;
    struct db_callbacks callbacks;
    void *arg;
    PQconninfoOption *options; /* owned: the url's parts */
    char *const *url;          /* borrowed; NULL: they stay */
    struct db_hosts hosts;
    size_t host;          /* connected to, or tried last */
    size_t n_tried;       /* hosts that failed since a connection that lasted */
    uint64_t up_since_ms; /* uv_now; 0: not up */
    char *application_name;
    int64_t statement_timeout_ms;
    struct metric *answers; /* NULL: they are not measured */

    enum db_state state;
    bool checks_schema; /* db_require_schema */
    bool is_checking;   /* DB_UP, but nobody was told yet, and nothing is taken */
    bool broken;        /* a send failed: lost, told by the timer and not from within the caller */
    char *last_why;     /* what callbacks.down was told last; NULL while up */
    uv_timer_t timer;   /* next try; limit of connecting; watchdog */
    uv_poll_t *poll;    /* owned, on the heap: outlives the socket by a turn; NULL: none */
    int poll_fd;
    uv_getaddrinfo_t lookup;
    unsigned n_open; /* handles and lookups whose end the struct must await */
    struct backoff backoff;
    PGconn *conn;

    struct db_statement *statements;
    unsigned n_statements;
    struct db_entry *first, **last;
    size_t n_waiting; /* statements */
    size_t n_ends;
    uint64_t transaction;    /* counts db_end */
    bool in_transaction;     /* statements came since the last db_end */
    bool transaction_failed; /* of the one whose answers are coming */
};

/* db_connect.c */
void db_on_timer(uv_timer_t *timer);
void db_on_poll(uv_poll_t *poll, int status, int events);
void db_start_connecting(struct db *d);
/* The connection may be used. */
void db_settled(struct db *d);
/* Fails all that waits, tells callbacks.down, and tries again later. why is copied. */
void db_lost(struct db *d, const char *why);
/* Releases the connection and its poll handle. */
void db_disconnect(struct db *d);
void db_handle_closed(uv_handle_t *handle);
void db_maybe_destroy(struct db *d);

/* db_schema.c: asks for the schema; then db_settled or db_lost. */
void db_check_schema(struct db *d);

/* db.c */
/* As db_query and db_end, while the connection is checked, too. */
MUSTCHECK int db_ask_first(struct db *d, const char *sql, db_done_fn *done, void *arg);
void db_on_up_events(struct db *d, int status, int events);
void db_fail_all(struct db *d);

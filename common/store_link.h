/* The asynchronous reader's inside: store.c asks, store_link.c keeps the connection. Private. */
#pragma once

#include <uv.h>

#include "common/backoff.h"
#include "common/store_private.h"

/* A question whose answer is awaited. Redis answers in order, so a list is all there is to match.
 */
struct store_ask {
    struct store_ask *next;
    struct store *store;
    unsigned n_replies; /* still to come; the last one is the answer */
    int err;            /* why it never was asked, while it is on the list `later` */
    /* Called once, and frees the ask. reply is NULL exactly when err is not 0. */
    void (*done)(struct store_ask *ask, int err, const redisReply *reply);
};

struct store_ask_list {
    struct store_ask *first;
    struct store_ask **end; /* where the next one goes; NULL while the list was never used */
};

enum store_link_state {
    STORE_LINK_RESTING,    /* -> RESOLVING when the timer `retry` fires */
    STORE_LINK_RESOLVING,  /* -> CONNECTING, RESTING */
    STORE_LINK_CONNECTING, /* -> CHECKING, RESTING */
    STORE_LINK_CHECKING,   /* login, INFO and TIME asked; -> UP, RESTING */
    STORE_LINK_UP,         /* -> RESTING */
};

struct store_resolve;
struct store_poll;

struct store {
    uv_loop_t *loop;
    struct store_callbacks callbacks;
    void *arg;
    struct store_url url;
    bool closing;
    unsigned n_handles; /* of the three below, those not closed yet */
    uv_timer_t tick;    /* while there is a connection, or one is made */
    uv_timer_t retry;
    uv_idle_t soon; /* in the loop's next turn: writes what was asked, answers `later` */

    enum store_link_state state;
    struct store_resolve *resolve; /* while RESOLVING */
    struct store_poll *poll;       /* these two from CONNECTING on */
    redisContext *context;
    struct backoff backoff;
    unsigned n_tries;      /* which of the host's addresses is next */
    unsigned silent_ticks; /* ticks without a byte, while something is asked */
    unsigned time_ticks;   /* since TIME was answered */
    bool asks_time;
    char why[256]; /* what callbacks.down was last told; "" once up */
    char run_id[41];

    bool has_time;
    int64_t time_offset; /* Redis' clock less our monotonic one */

    struct store_ask_list waiting; /* sent, in order */
    struct store_ask_list later;   /* refused, to be told in the loop's next turn */
    size_t n_waiting;
    struct store_command command; /* scratch */
    char sha[STORE_N_SCRIPTS][41];
    uint64_t n_forgotten; /* sessions taken from an instance's list; store_presence.c */
};

/* Whether the question may be queued now (and then store_link_wait has to follow); if not it is
 * answered in the loop's next turn. */
bool store_may_ask(struct store *s, struct store_ask *ask);

/* Whether meta's run_id is that of the session's node as it is now. */
bool store_is_current(const struct store *s, const char *session_id, const char *run_id);

/* ---- store_ask.c ---- */
/* reply: borrowed, NULL exactly when err is not 0; an error answer of the script comes as a reply.
 */
typedef void store_script_done_fn(void *arg, int err, const redisReply *reply);
/* Runs a script, loading it where Redis has it not. args: the number of keys, the keys and the
 * arguments, put with store_put… into an empty command; taken. done is always called, later. */
void store_ask_script(struct store *s, enum store_script script, struct store_command *args,
                      store_script_done_fn *done, void *arg);

/* The callback of `soon`. */
void store_on_soon(uv_idle_t *idle);
void store_list_add(struct store_ask_list *list, struct store_ask *ask);
/* Takes all of list, and calls each one's done with err, or its own err when that is 0. */
void store_list_finish(struct store_ask_list *list, int err);

void store_link_start(struct store *s);
/* Ends the connection or the attempt; answers nobody. */
void store_link_stop(struct store *s);
/* Appends the ask for the n_replies commands that were queued for it in s->context. */
void store_link_wait(struct store *s, struct store_ask *ask, unsigned n_replies);
/* The callback of `soon`'s first half: sends what is queued. */
void store_link_flush(struct store *s);

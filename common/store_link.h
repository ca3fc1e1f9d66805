/* The asynchronous reader's inside: store.c asks, store_link.c keeps a connection to one node,
 * store_links.c knows which node has what. Private. */
#pragma once

#include <uv.h>

#include "common/backoff.h"
#include "common/store_private.h"

struct store_link;

/* A question whose answer is awaited. Redis answers in order, so a list is all there is to match.
 */
struct store_ask {
    struct store_ask *next;
    struct store *store;
    unsigned n_replies; /* still to come; the last one is the answer */
    uint64_t asked_ns;  /* uv_hrtime */
    int err;            /* why it never was asked, while it is on the list `later` */
    /* Called once, and frees the ask. reply is NULL exactly when err is not 0. */
    void (*done)(struct store_ask *ask, int err, const redisReply *reply);

    /* of a cluster: to ask it again elsewhere */
    char *bytes; /* owned */
    size_t n_bytes;
    unsigned n_commands, n_redirects;
    bool is_redirected;
    struct store_redirect redirect;
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

struct store_link {
    struct store *store;
    struct store_address address;
    bool is_named; /* it has slots; one Redis always */
    bool is_closing;
    unsigned n_handles; /* of the two below, those not closed yet */
    uv_timer_t tick;    /* while there is a connection, or one is made */
    uv_timer_t retry;

    enum store_link_state state;
    struct store_resolve *resolve; /* while RESOLVING */
    struct store_poll *poll;       /* these two from CONNECTING on */
    redisContext *context;
    struct backoff backoff;
    unsigned n_tries;      /* which of the host's addresses is next */
    unsigned silent_ticks; /* ticks without a byte, while something is asked */
    unsigned time_ticks;   /* since TIME was answered */
    bool asks_time;
    bool has_output;
    char why[256]; /* it is down; "" before that, and once up */
    char run_id[41];

    struct store_ask_list waiting; /* sent, in order */
    struct store_ask_list held;    /* sent here by another node, before this one was up */
    size_t n_waiting;
};

struct store {
    uv_loop_t *loop;
    struct store_callbacks callbacks;
    void *arg;
    struct store_url url;
    char *const *url_text;  /* borrowed; NULL: url stays */
    struct metric *answers; /* NULL: they are not measured */
    bool closing;
    unsigned n_handles; /* `soon`, and one for each link, not closed yet */
    uv_idle_t soon;     /* in the loop's next turn: writes what was asked, answers `later` */

    struct store_link **links; /* owned, each; one Redis: the only one, always there */
    size_t n_links, cap_links;
    bool is_whole; /* what callbacks were last told */
    char why[256]; /* the same: "" once up */
    uint64_t n_renewals;

    bool has_time;
    int64_t time_offset; /* Redis' clock less our monotonic one */

    struct store_ask_list later;  /* refused, to be told in the loop's next turn */
    struct store_command command; /* scratch */
    struct buf request;           /* commands of the question that is not whole yet */
    unsigned n_parts;
    int request_slot;
    char sha[STORE_N_SCRIPTS][41];
    uint64_t n_forgotten; /* sessions taken from an instance's list; store_presence.c */

    /* of a cluster */
    struct store_map *map; /* owned; by numbers in `links` */
    bool is_stale;         /* who has which slot is to be asked again */
    int64_t asked_ms;      /* monotonic: when it was last */
};

/* ---- store.c ---- */
/* Adds s->command to the question that is being made; more follows. */
void store_ask_part(struct store *s);
/* Adds s->command, and asks the question that this completes; the first command with a key says of
 * which node. One that cannot be asked now is answered in the loop's next turn. */
void store_ask_send(struct store *s, struct store_ask *ask);
/* Answers the question later: it is not asked. */
void store_ask_refuse(struct store *s, struct store_ask *ask, int err);
/* The answer: calls done. */
void store_ask_finish(struct store_ask *ask, int err, const redisReply *reply);
void store_list_add(struct store_ask_list *list, struct store_ask *ask);
/* Takes all of list, and finishes each with err, or its own err when that is 0. */
void store_list_finish(struct store_ask_list *list, int err);
/* One of n_handles less; with the last one the memory goes. */
void store_handle_closed(struct store *s);
/* What was queued leaves in the loop's next turn. */
void store_write_soon(struct store *s);

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

/* ---- store_link.c ---- */
struct store_link *store_link_new(struct store *s, const struct store_address *address);
/* Begins to connect, and goes on trying. */
void store_link_start(struct store_link *l);
/* Ends the connection or the attempt for good; what waits is answered with err. The memory goes
 * when the loop has closed its handles. */
void store_link_close(struct store_link *l, int err);
/* Asks what is in bytes: n_replies answers come. */
void store_link_ask(struct store_link *l, struct store_ask *ask, const char *bytes, size_t n_bytes,
                    unsigned n_replies);
/* Sends what is queued. */
void store_link_flush(struct store_link *l);
/* Counts as asked, and waits for n_replies answers: its bytes are queued. */
void store_link_wait(struct store_link *l, struct store_ask *ask, unsigned n_replies);
/* -> RESTING, for a while: why is told, and what waits is answered with err, or -ENOTCONN. */
void store_link_down(struct store_link *l, int err, const char *why);
void store_link_fail(struct store_link *l, const char *what, const char *detail);

/* ---- store_link_check.c ---- */
/* Logs in and asks who the node is. CONNECTING -> CHECKING, and by the last answer UP. */
void store_link_introduce(struct store_link *l);
/* These two are queued: store_link_flush. */
void store_link_ask_time(struct store_link *l);
void store_link_ask_slots(struct store_link *l);

/* ---- store_links.c ---- */
/* The link to the node that has the slot (-1: any), NULL: nobody has it, as far as known. */
struct store_link *store_link_of(const struct store *s, int slot);
bool store_link_is_clock(const struct store_link *l);
void store_links_start(struct store *s);
/* The link came up, or went down. */
void store_links_judge(struct store *s);
/* A node said who has which slot. false: it is no answer. */
bool store_links_take_slots(struct store_link *asked, const redisReply *reply);
/* Asks a question again at the node that ask->redirect names. */
void store_links_follow(struct store_ask *ask);
/* Once in a while, from each link that is up. */
void store_links_tick(struct store_link *l);

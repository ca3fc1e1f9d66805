/* The nodes that the engine's batches ask: one Redis, or the masters of a cluster. A node is
 * reached without waiting for it (store_node.c), so that one that is silent does not hold up the
 * others; questions go to it in pipelines whose answers come in the order asked (store_pipe.c).
 * Private to store*.c. */
#pragma once

#include "common/backoff.h"
#include "common/lookup.h"
#include "common/store_slots.h"

struct store_batch;
struct store_command;

enum store_node_state {
    STORE_NODE_AWAY,   /* -> COMING when it is tried again */
    STORE_NODE_COMING, /* its name is looked up, it connects, is asked who it is; -> UP, AWAY */
    STORE_NODE_UP,     /* takes questions; -> AWAY */
};

struct store_node {
    struct store_address address;
    enum store_node_state state;
    struct lookup *lookup; /* owned; of its name: COMING, or since a try that did not wait for it */
    int64_t lookup_ms;     /* COMING: how long it is waited for */
    struct lookup_answer found;
    size_t n_tries, n_left;    /* of what was found: taken in turn; COMING: not taken in this try */
    redisContext *context;     /* NULL while AWAY, and until the name was looked up */
    char run_id[41];           /* of the last connection that came up */
    char why[256];             /* it is AWAY; "" before the first try, and once up */
    int err;                   /* the same as -errno */
    bool is_named;             /* it has slots; one Redis always */
    bool is_new;               /* was not waited for yet */
    bool is_connecting;        /* COMING: its socket is not connected yet */
    bool lacks_replicas;       /* the last WAIT found too few */
    unsigned n_login, n_taken; /* COMING: answers to the login, and taken of all */
    int64_t heard_ms;          /* monotonic; COMING: since then it is silent */
    int64_t retry_ms;          /* monotonic; AWAY: not tried before */
    struct backoff backoff;
};

/* One question: a command, or MULTI to EXEC, whose last answer alone is given. */
struct store_unit {
    struct store_node *node; /* where it is asked; NULL: by its slot */
    int slot;                /* -1: any node */
    unsigned n_answers;
    size_t at, len;    /* in store_pipe::bytes; of a cluster only */
    redisReply *reply; /* owned; of a cluster only, once all are there */
    bool is_ask;       /* ASKING goes before it */
    bool is_due;       /* to be asked in the coming pass */
    bool is_sent;      /* in this pass */
};

struct store_pipe {
    struct store_unit *units; /* owned */
    size_t n, cap, n_taken;
    unsigned n_parts; /* commands of the unit that is not whole yet */
    size_t part_at;
    int part_slot;
    bool is_asked;               /* of a cluster: all answers are there */
    struct buf bytes;            /* of a cluster: what to ask again elsewhere */
    int64_t heard_ms;            /* monotonic; of a cluster: when the first answer came */
    uint64_t begun_ns;           /* uv_hrtime, of the first unit; 0: nobody measures */
    struct store_node *answered; /* the last answer that was taken: by whom */
};

/* ---- store_node.c ---- */
struct store_node *store_node_new(const struct store_address *address);
struct store_node *store_node_free(struct store_node *node);
/* AWAY -> COMING, or AWAY again at once. */
void store_node_start(struct store_batch *b, struct store_node *node);
/* Goes on with what can be done without waiting. */
void store_node_step(struct store_batch *b, struct store_node *node);
/* -> AWAY. */
void store_node_fail(struct store_batch *b, struct store_node *node, int err, const char *why);
/* Steps all that are COMING until none is, or for so long. */
void store_nodes_wait(struct store_batch *b, int64_t ms);

/* ---- store_cluster.c ---- */
/* The node that has the slot (-1: any that is up, or the only one); NULL: nobody, as far as known.
 */
struct store_node *store_node_of(const struct store_batch *b, int slot);
/* The one whose clock is everybody's. */
struct store_node *store_clock_node(const struct store_batch *b);
/* The node at the address, made where it is not known. */
struct store_node *store_node_at(struct store_batch *b, const struct store_address *address);
/* A node said who has which slot: noted, until store_cluster_settle. false: it is no answer. */
bool store_cluster_note(struct store_batch *b, const struct store_node *asked,
                        const redisReply *slots);
/* Takes over what was noted; only while no question is open: nodes without slots are freed. */
void store_cluster_settle(struct store_batch *b);
/* That the slot is there from now on. */
void store_cluster_moved(struct store_batch *b, const struct store_redirect *r);
/* Tries again those that are AWAY, goes on with those that are COMING, waits 20 ms at most (for new
 * ones) and settles. Only while no question is open. */
void store_cluster_tend(struct store_batch *b);
/* The same for new ones, also while questions are open. */
void store_cluster_reach(struct store_batch *b);
/* Whom to ask CLUSTER SLOTS now; NULL: nobody, it is known or was asked a moment ago. */
struct store_node *store_cluster_adviser(struct store_batch *b);
bool store_cluster_connect(struct store_batch *b, char ret_why[static 256]);

/* ---- store_pipe.c ---- */
/* Queues a command for the node of its key. _part: one more of the same question follows, for the
 * same node. */
void store_send(struct store_batch *b, const struct store_command *c);
void store_send_part(struct store_batch *b, const struct store_command *c);
void store_send_to(struct store_batch *b, struct store_node *node, const struct store_command *c);
/* The next question's answer, in the order queued. One Redis: negative when the connection was lost
 * (it is dropped). A cluster: a node that is lost gives answers that are errors (store_slots.h);
 * negative when none is left. MOVED and ASK were followed. Of MULTI the answer of EXEC, or the
 * error that kept it from being executed. */
MUSTCHECK int store_next(struct store_batch *b, redisReply **ret);
void store_pipe_clear(struct store_pipe *p);

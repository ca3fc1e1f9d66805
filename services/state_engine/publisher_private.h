/* What the files of the publisher share; see publisher.h. */
#pragma once

#include "base/buf.h"
#include "services/state_engine/marks.h"
#include "services/state_engine/publisher.h"

#define PUBLISHER_N_SENT 32768 /* a power of two; barriers count too */

/* One saved version whose events are on their way. */
struct saved {
    char session_id[UUID_LEN + 1];
    struct position position;
    bool is_version; /* a versioned event was among them: the mark may move */
    size_t n_open;
    int64_t lease_until;       /* of presence's, whose device the events name; 0: another's */
    struct delivery *delivery; /* borrowed, or NULL */
};

/* A message until it is confirmed. */
struct outgoing {
    struct outgoing *next;      /* publisher::waiting */
    struct event event;         /* a dead letter uses the body alone */
    const char *dead_queue;     /* a literal, or NULL: an event */
    char barrier[UUID_LEN + 1]; /* its correlation id; "": no barrier. It has no `saved` */
    char reason[256];
    struct saved *saved;
    uint64_t begun_ns; /* uv_hrtime */
    struct span *span; /* owned or NULL */
};

/* Answers that go to one place in one message. */
struct answers {
    char reply_to[256];
    char correlation_id[128];
    struct buf body;
};

struct publisher {
    struct app *app;
    struct bus *bus;     /* events, dead letters, barriers */
    struct bus *replies; /* those alone: where they go a stranger says, and what he says may cost
                            the connection */
    struct publisher_callbacks callbacks;
    void *arg;

    struct outgoing *waiting, **waiting_end;
    struct outgoing *nacked;                 /* by the broker: tried again at the next tick */
    struct outgoing *sent[PUBLISHER_N_SENT]; /* NULL: a barrier, or confirmed */
    uint64_t seq_first, seq_end;             /* [first, end) are not confirmed on this connection */
    size_t n_unconfirmed, n_bytes;

    struct answers *answers;
    size_t n_answers, cap_answers, n_answer_bytes;
    struct marks marks;
    struct publisher_barrier_callbacks barriers; /* NULLs while nobody watches */
    void *barriers_arg;

    struct health_dependency *health, *replies_health;
    struct metric *n_published, *n_confirmed, *unconfirmed, *n_dropped_replies, *confirm_seconds;
};

/* publisher_barrier.c */
MUSTCHECK int publisher_send_barrier(struct publisher *p, const char *correlation_id,
                                     uint64_t *ret_seq);
void publisher_on_message(void *arg, const struct bus_message *m);
/* Drops those that wait: who asked is told, and asks again. */
void publisher_lose_barriers(struct publisher *p);

/* publisher.c */
void publisher_wait_for_sending(struct publisher *p, struct outgoing *o);
/* Sends in order; stops where the broker takes no more. */
void publisher_send_waiting(struct publisher *p);

/* publisher_answers.c */
MUSTCHECK int publisher_open_replies(struct publisher *p);
void publisher_send_answers(struct publisher *p);
void publisher_drop_answers(struct publisher *p);

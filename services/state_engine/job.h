/* A job is one command on its way through the engine; a delivery is the broker's message that
 * brought it, acknowledged when all of its jobs are answered and all of their events confirmed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/bus.h"
#include "proto/command.h"

struct delivery {
    struct delivery *next, **link; /* worker::deliveries; link: what points here */
    uint64_t generation;           /* of the bus connection that brought it; 0: the engine itself */
    uint64_t tag;
    size_t n_open; /* jobs not answered + saved versions not confirmed */
    char reply_to[256];
    char correlation_id[128];
    bool redelivered;
    bool is_counted; /* a redelivered one: as a try, in Redis */
    char *body;      /* owned: of a redelivered one, for the dead letters; else NULL */
    size_t body_len;
    struct reply *held; /* owned: refusals, sent after the acknowledgement */
    size_t n_held;
};

#define JOB_NO_LOOK UINT64_MAX

struct job {
    struct job *next; /* queue::jobs */
    struct command command;
    struct delivery *delivery; /* borrowed; holds one of its n_open */
    /* "" without a key. A snapshot makes no version whose entry could tell that it was taken: it is
     * remembered among the keys, under its own or else under its id. */
    char key_hash[HASH_HEX_LEN + 1];
    char fingerprint[HASH_HEX_LEN + 1];
    /* What a rebuilt session remembers of a command that it saw; "" until job_hash_id. */
    char id_hash[HASH_HEX_LEN + 1];
    uint64_t look_since; /* look for the command's id in the window after this version; JOB_NO_LOOK:
                            it cannot have been saved */
    bool was_parked;     /* its session's node was away once already */
    bool is_uncertain;   /* a save was begun and its outcome is not known */
    bool needs_load;     /* what a kept copy of its session made of it is not to be trusted */
    unsigned n_recoveries; /* of its session, on its behalf */
    uint64_t taken_ns;     /* uv_hrtime; 0: it is of no sampled trace */
    int64_t clock_at;      /* the clock's moment that it let the engine act on first, ms; 0: none */
    /* of a create */
    bool has_old_claim; /* its key, or it itself, was there before: the session may be, too */
    bool key_is_judged; /* PostgreSQL was asked for an earlier create under its key */
    bool may_create;    /* there is no session, says PostgreSQL */
};

struct job *job_free(struct job *j);
DEFINE_CLEANUP(struct job *, job_free)
/* Whether the command may have taken effect already: its outcome is unknown, not "not applied". */
bool job_may_be_saved(const struct job *j);
const char *job_hash_id(struct job *j);

/* A first-in first-out list of jobs. */
struct queue {
    struct job *first;
    struct job **end; /* where the next one goes; NULL: &first */
    size_t n;
};
void queue_push(struct queue *q, struct job *j);
/* All of `more`, in its order, before what is there. */
void queue_push_front(struct queue *q, struct queue *more);
struct job *queue_pop(struct queue *q); /* NULL when empty; owned */

/* Reads a message into a delivery and its jobs (pushed onto `jobs`). FAULT_*: it is malformed, and
 * nothing was pushed. */
MUSTCHECK int delivery_read(const struct bus_message *m, uint64_t generation, struct delivery **ret,
                            struct queue *jobs, struct fault *f);
struct delivery *delivery_free(struct delivery *d);

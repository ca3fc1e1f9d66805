/* A batch: jobs taken together through load, apply, save in two round trips to Redis, or one where
 * recent.h has all of their sessions. Knows nothing of the broker; its owner gets each job back
 * with what became of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/store_batch.h"
#include "services/state_engine/apply.h"
#include "services/state_engine/job.h"
#include "services/state_engine/recent.h"
#include "services/state_engine/recover.h"

enum outcome {
    OUTCOME_ACCEPTED, /* took effect, or nothing had to be done: reply, and publish the events if
                         any */
    OUTCOME_REFUSED,  /* reply carries the fault */
    OUTCOME_RECOVER,  /* Redis has no session to judge it on: `cause` says why */
    OUTCOME_ASK_KEY,  /* Redis may have forgotten the create's key: PostgreSQL knows it */
    OUTCOME_AGAIN,    /* another save came first: the next batch */
    OUTCOME_LOAD,     /* a kept copy does not settle it: the next batch, with a load */
    OUTCOME_CLOCK,    /* the session's clock is due: that comes before it */
    OUTCOME_LATER,    /* the session's node of a cluster is away: in a while */
};

#define SETTLED_MAX_EVENTS CHANGE_MAX_EVENTS

struct settled {
    struct job *job; /* borrowed from the batch's input */
    enum outcome outcome;
    enum recover_cause cause;                /* of OUTCOME_RECOVER */
    struct reply reply;                      /* owned */
    struct event events[SETTLED_MAX_EVENTS]; /* owned: to publish; each versioned one begins
                                                another saved version */
    size_t n_events;
    int64_t deadline; /* the clock's that was acted on, ms; 0: none */
    bool is_first;    /* of OUTCOME_CLOCK: of its session in the batch */
    char damage[256]; /* not "": what is wrong with the stored session, for the log */
};
void settled_done(struct settled *s);

struct batch_context {
    struct store_batch *store;
    struct recent *recent;
    int64_t now; /* Redis' time as it is estimated, ms: a batch that loads nothing works with it */
    uint64_t snapshot_every;
    struct store_mark *marks; /* moved with the save; settled is set */
    size_t n_marks;
    /* The sessions to arm before the save: asked once for each session that is about to be saved;
     * returns 0 (armed already) or the moment (ms). need: a moment by which it has to be looked at,
     * 0 for none. */
    int64_t (*arm)(void *arg, const char *session_id, int64_t now, int64_t need);
    void *arg;
};

/* Settles n jobs (settled[i] is jobs[i]'s). Negative errno: Redis did not answer; nothing is
 * settled, and jobs whose save was begun are marked is_uncertain, with look_since set. */
MUSTCHECK int batch_run(const struct batch_context *context, struct job **jobs, size_t n,
                        struct settled *settled);

/* What the files of the worker share; see worker.h. */
#pragma once

#include "common/backoff.h"
#include "common/bus.h"
#include "services/state_engine/attention.h"
#include "services/state_engine/job.h"
#include "services/state_engine/presence.h"
#include "services/state_engine/publisher.h"
#include "services/state_engine/recover.h"
#include "services/state_engine/worker.h"

struct absent;

struct worker {
    struct app *app;
    struct bus *bus; /* brings commands */
    struct publisher *publisher;
    struct store_batch *store;
    struct attention *attention;
    struct presence *presence;
    struct recover *recover;
    struct queue jobs;
    struct delivery *deliveries; /* owned: those not acknowledged yet */
    size_t n_deliveries;
    struct absent *absents; /* owned: waiting for PostgreSQL, in the order asked */
    bool is_draining;
    unsigned n_begun;  /* worker_begin */
    bool has_confirms; /* ... of which one is for the confirms of this wake */
    uv_timer_t tick;
    uv_timer_t soon; /* goes on with the batches after the loop had its turn */
    unsigned n_handles;
    int64_t store_offset_ms; /* Redis TIME - monotonic clock */
    int64_t store_down_ms;   /* monotonic: since when it is away; 0: it is there */
    int64_t store_retry_ms;  /* monotonic: not tried again before */
    struct backoff store_backoff;
    int64_t damage_reported_ms; /* monotonic */

    struct health_dependency *store_health, *bus_health;
    struct metric *n_commands[FAULT_N_CODES];
    struct metric *n_batches, *n_lost_races, *n_dead, *batch_seconds;
};

/* ---- worker_delivery.c ---- */
void worker_on_message(void *arg, const struct bus_message *m);
/* Between the two what goes to the broker is gathered. At the end acknowledgements leave first,
 * then replies, then events: a refused command must not come again once its reply is out. */
void worker_begin(struct worker *w);
void worker_end(struct worker *w);
/* One thing of the delivery is done; acknowledged with the last one. NULL: nothing. */
void worker_close_one(struct worker *w, struct delivery *d);
/* The job ends with a refusal, answered after the acknowledgement. Takes job and reply. */
void worker_refuse(struct worker *w, struct job *j, struct reply *reply);
/* The same with a fault of the worker's own. */
void worker_refuse_with(struct worker *w, struct job *j, enum fault_code code, const char *detail);
/* Looks at the message of the queue's first job when that came again: counts it, and sets it aside
 * (with all its jobs) when it came too often. Negative: Redis was lost. */
MUSTCHECK int worker_count_try(struct worker *w);

/* worker_settle.c: takes up to max_batch jobs off the queue and settles them (what lost a race goes
 * back to its front). Negative: Redis did not answer, all are back. */
MUSTCHECK int worker_run_batch(struct worker *w);
void worker_check_drained(struct worker *w);

/* ---- worker_presence.c ---- */
/* Settles up to PRESENCE_MAX_TOGETHER jobs of COMMAND_PRESENCE. Negative: Redis was lost, none was
 * settled. */
MUSTCHECK int worker_run_presence(struct worker *w, struct job *const *jobs, size_t n);

/* ---- worker_absent.c ---- */
/* The session is not in Redis; asks PostgreSQL, then refuses. Takes the job. */
void worker_ask_about_absent(struct worker *w, struct job *j);
/* Refuses those that wait for PostgreSQL for too long: what they hold back, others need. */
void worker_refuse_waiting_absents(struct worker *w);

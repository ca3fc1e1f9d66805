/* What the files of the worker share; see worker.h. */
#pragma once

#include "common/bus.h"
#include "services/state_engine/attention.h"
#include "services/state_engine/job.h"
#include "services/state_engine/publisher.h"
#include "services/state_engine/recover.h"
#include "services/state_engine/worker.h"

struct worker {
    struct app *app;
    struct bus *bus; /* brings commands */
    struct publisher *publisher;
    struct store_batch *store;
    struct attention *attention;
    struct recover *recover;
    struct queue jobs;
    size_t n_deliveries; /* not acknowledged yet */
    bool is_draining;
    uv_timer_t tick;
    int64_t store_offset_ms; /* Redis TIME - monotonic clock */

    struct health_dependency *store_health, *bus_health;
    struct metric *n_commands[FAULT_N_CODES];
    struct metric *n_batches, *n_lost_races, *n_dead, *batch_seconds;
};

/* One thing of the delivery is done; acknowledged with the last one. NULL: nothing. */
void worker_close_one(struct worker *w, struct delivery *d);
/* The job ends with a refusal, answered after the acknowledgement. Takes job and reply. */
void worker_refuse(struct worker *w, struct job *j, struct reply *reply);
/* worker_settle.c: takes up to max_batch jobs off the queue and settles them (what lost a race goes
 * back to its front). Negative: Redis did not answer, all are back. */
MUSTCHECK int worker_run_batch(struct worker *w);
void worker_check_drained(struct worker *w);

/* worker_absent.c: the session is not in Redis; asks PostgreSQL, then refuses. Takes the job. */
void worker_ask_about_absent(struct worker *w, struct job *j);

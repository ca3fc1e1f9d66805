/* What the files of the worker share; see worker.h. */
#pragma once

#include "common/backoff.h"
#include "common/bus.h"
#include "services/state_engine/attention.h"
#include "services/state_engine/backstop.h"
#include "services/state_engine/barrier.h"
#include "services/state_engine/cooling.h"
#include "services/state_engine/job.h"
#include "services/state_engine/ledger.h"
#include "services/state_engine/presence.h"
#include "services/state_engine/publisher.h"
#include "services/state_engine/recent.h"
#include "services/state_engine/recover.h"
#include "services/state_engine/worker.h"

struct waiting;

struct worker {
    struct app *app;
    struct bus *bus; /* brings commands */
    struct publisher *publisher;
    struct store_batch *store;
    struct recent *recent;
    struct attention *attention;
    struct presence *presence;
    struct barrier *barrier;
    struct recover *recover;
    struct ledger *ledger;
    struct cooling *cooling;
    struct backstop *backstop;
    struct queue jobs;
    struct queue parked;         /* until the next tick: their sessions' nodes are away */
    struct delivery *deliveries; /* owned: those not acknowledged yet */
    size_t n_deliveries;
    size_t n_given;          /* of them: of the engine's own commands */
    struct waiting *waiting; /* owned: what jobs wait for, beside the queue */
    size_t n_waiting;
    bool is_draining;
    size_t marks_moved, marks_end; /* of the publisher's: from here to there they are to be moved */
    unsigned n_begun;              /* worker_begin */
    bool has_confirms;             /* ... of which one is for the confirms of this wake */
    uv_timer_t tick;
    uv_timer_t soon;  /* goes on with the batches after the loop had its turn */
    uv_timer_t looks; /* the schedule's next moment */
    unsigned n_handles;
    int64_t store_offset_ms; /* Redis TIME - monotonic clock, estimated: see schedule.h */
    int64_t store_down_ms;   /* monotonic: since when it is away; 0: it is there */
    int64_t store_retry_ms;  /* monotonic: not tried again before */
    struct backoff store_backoff;
    int64_t damage_reported_ms; /* monotonic */

    struct health_dependency *store_health, *bus_health;
    struct metric *n_commands[FAULT_N_CODES];
    struct metric *n_recent_hits, *n_recent_misses, *recent_bytes;
    struct metric *n_batches, *n_lost_races, *n_dead, *batch_seconds, *lateness_seconds;
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
/* The step of its trace that the job is; *trace: what its events go on with. */
struct span *worker_begin_span(struct worker *w, const struct job *j, struct trace_context *trace);
void worker_end_span(struct worker *w, struct span *span, const struct job *j,
                     enum fault_code code);
/* Looks at the message of the queue's first job when that came again: counts it, and sets it aside
 * (with all its jobs) when it came too often. Negative: Redis was lost. */
MUSTCHECK int worker_count_try(struct worker *w);

/* One that no message brought, open for one job. */
struct delivery *worker_own_delivery(struct worker *w);

/* ---- worker_due.c ---- */
/* attention_owner::give. */
bool worker_give(void *arg, const char *session_id, enum due_what what, int64_t lease_until);
/* A COMMAND_DUE, not begun after the deadline (ms, store time); owned. */
struct job *worker_due_job(struct worker *w, const char *session_id, int64_t deadline);
/* Those who see to what falls due. */
void worker_new_age(struct worker *w);
void worker_free_age(struct worker *w);
/* Once a second. Negative: Redis was lost. */
MUSTCHECK int worker_look_at_age(struct worker *w, int64_t now);
/* Whether something is to be looked at now. */
bool worker_is_look_due(const struct worker *w);
/* Looks at some of it, which may give commands. Negative: Redis was lost. */
MUSTCHECK int worker_look(struct worker *w);
/* on_time: in the moment of the next look. */
void worker_plan_looks(struct worker *w, uv_timer_cb on_time);
/* What a refusal means for the attention set; of every kind of command. */
void worker_due_refused(struct worker *w, const struct command *c, enum fault_code code);

/* worker_settle.c: takes up to max_batch jobs off the queue and settles them (what lost a race goes
 * back to its front). Negative: Redis did not answer, all are back. */
MUSTCHECK int worker_run_batch(struct worker *w);
void worker_check_drained(struct worker *w);

/* ---- worker_marks.c ---- */
/* Once a second: what is to be moved. */
void worker_find_marks(struct worker *w);
bool worker_may_move_marks(const struct worker *w);
/* Negative: Redis was lost. */
MUSTCHECK int worker_move_marks(struct worker *w);

/* ---- worker_presence.c ---- */
/* Settles up to PRESENCE_MAX_TOGETHER jobs of COMMAND_PRESENCE. Negative: Redis was lost, none was
 * settled. */
MUSTCHECK int worker_run_presence(struct worker *w, struct job *const *jobs, size_t n);

/* ---- worker_recover.c ---- */
/* The job's session has to be recovered first; takes the job. */
void worker_recover(struct worker *w, struct job *j, enum recover_cause cause);
/* Whether the job's session is being recovered: then worker_wait_with takes the job, too. */
bool worker_waits_for(const struct worker *w, const struct job *j);
void worker_wait_with(struct worker *w, struct job *j);
/* The create's key has to be looked for in PostgreSQL first; takes the job. */
void worker_ask_key(struct worker *w, struct job *j);
/* Refuses those that wait past their deadline; the recoveries go on. now: ms, store time. */
void worker_refuse_late_waiting(struct worker *w, int64_t now);
/* Takes all jobs that wait; the recoveries go on. */
void worker_drop_waiting(struct worker *w, struct queue *ret_jobs);
/* After worker_drop_waiting, when nothing is answered any more. */
void worker_free_waiting(struct worker *w);

/* worker.c. Redis' time as it is estimated, ms. */
int64_t worker_store_time(const struct worker *w);
/* The queue is run in the loop's next turn. */
void worker_run_soon(struct worker *w);

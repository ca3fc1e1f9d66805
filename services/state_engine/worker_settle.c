/* A batch of the worker's queue: run, and each job sent on its way by what became of it. */
#include "base/buf.h"
#include "base/crash_point.h"
#include "base/timestamp.h"
#include "services/state_engine/batch.h"
#include "services/state_engine/worker_private.h"

#define REPORT_MS 1000
#define MAX_COUNTS 16 /* a batch: each is a round trip of its own */

/* What shows that the device is there. */
static bool is_request(const struct job *j) {
    switch (j->command.kind) {
    case COMMAND_PATCH:
    case COMMAND_STATUS:
    case COMMAND_HEARTBEAT:
    case COMMAND_RESTORE:
    case COMMAND_SNAPSHOT:
    case COMMAND_PARTICIPANT:
    case COMMAND_DEVICE:
    case COMMAND_SWITCH:
    case COMMAND_CLOCK_SET:
    case COMMAND_CLOCK_ADJUST:
        return true;
    default:
        return false;
    }
}

/* Each version by itself: each has a mark to move. */
static void publish(struct worker *w, struct settled *s, struct delivery *d,
                    const struct trace_context *trace) {
    for (size_t i = 0; trace->is_set && i < s->n_events; i++)
        s->events[i].trace = *trace;
    for (size_t first = 0, end; first < s->n_events; first = end) {
        for (end = first + 1; end < s->n_events && !event_is_versioned(s->events[end].type);)
            end++;
        d->n_open++;
        publisher_publish(w->publisher, &s->events[first], end - first, d);
    }
}

static void settle_accepted(struct worker *w, struct job *j, struct settled *s) {
    struct delivery *d = j->delivery;
    struct trace_context trace;
    struct span *span = worker_begin_span(w, j, &trace);
    metric_add(w->n_commands[s->reply.fault.code], 1);
    if (is_request(j))
        presence_touch(w->presence, s->reply.session_id, j->command.device_id,
                       worker_store_time(w));
    publisher_reply(w->publisher, d, &s->reply);
    CRASH_LINK("engine.reply.queued", CRASH_BROKER);
    if (s->deadline)
        metric_observe(w->lateness_seconds, (double)(worker_store_time(w) - s->deadline) / 1e3);
    publish(w, s, d, &trace);
    worker_end_span(w, span, j, s->reply.fault.code);
    if (s->n_events > 0)
        CRASH_LINK("engine.publish.queued", CRASH_BROKER);
    job_free(j);
    worker_close_one(w, d);
}

/* Once a second is enough: a Redis that is full refuses every save. */
static void report_damage(struct worker *w, const struct command *c, const char *what) {
    int64_t now = timestamp_monotonic_ms();
    attention_distrust(w->attention, c->session_id);
    if (now - w->damage_reported_ms < REPORT_MS)
        return;
    w->damage_reported_ms = now;
    log_error(w->app->log, "store_damaged", "A stored session cannot be used.",
              LOG_TEXT("sessionId", c->session_id), LOG_TEXT("commandId", c->id),
              LOG_TRACE(&c->trace), LOG_TEXT("err", what),
              LOG_TEXT("hint", "Redis refused the write, or holds what Handoff did not write"));
}

static void settle(struct worker *w, struct settled *s, struct queue *again) {
    struct job *j = s->job;
    if (s->damage[0])
        report_damage(w, &j->command, s->damage);
    switch (s->outcome) {
    case OUTCOME_ACCEPTED:
        settle_accepted(w, j, s);
        break;
    case OUTCOME_REFUSED:
        worker_refuse(w, j, &s->reply);
        break;
    case OUTCOME_RECOVER:
        worker_recover(w, j, s->cause);
        break;
    case OUTCOME_ASK_KEY:
        worker_ask_key(w, j);
        break;
    case OUTCOME_CLOCK:
        if (s->is_first)
            queue_push(again, worker_due_job(w, j->command.session_id, j->command.deadline));
        queue_push(again, j);
        break;
    case OUTCOME_AGAIN:
        metric_add(w->n_lost_races, 1);
        queue_push(again, j);
        break;
    case OUTCOME_LOAD:
        queue_push(again, j);
        break;
    case OUTCOME_LATER:
        j->was_parked = true;
        queue_push(&w->parked, j);
        break;
    }
    settled_done(s);
}

static bool needs_count(const struct job *j) {
    return j->delivery->redelivered && !j->delivery->is_counted;
}

/* Fills ret with up to `most` jobs. Negative: Redis was lost (what was taken is to go back). */
static int take_jobs(struct worker *w, struct job **ret, size_t most, size_t *ret_n) {
    size_t n_counts = 0;
    int r = 0;
    *ret_n = 0;
    while (r == 0 && *ret_n < most && w->jobs.first) {
        if (worker_waits_for(w, w->jobs.first))
            worker_wait_with(w, queue_pop(&w->jobs));
        else if (!needs_count(w->jobs.first))
            ret[(*ret_n)++] = queue_pop(&w->jobs);
        else if (n_counts++ < MAX_COUNTS)
            r = worker_count_try(w);
        else
            break;
    }
    return r;
}

static void count_recent(struct worker *w) {
    uint64_t n_hits, n_misses;
    recent_counted(w->recent, &n_hits, &n_misses);
    metric_add(w->n_recent_hits, (double)n_hits);
    metric_add(w->n_recent_misses, (double)n_misses);
    metric_set(w->recent_bytes, (double)recent_bytes(w->recent));
}

static int run_jobs(struct worker *w, struct job **jobs, size_t n, struct settled *settled) {
    struct batch_context context = {
        .store = w->store,
        .recent = w->recent,
        .now = worker_store_time(w),
        .snapshot_every = (uint64_t)w->app->config->snapshot_every,
        .arm = attention_arm,
        .arg = w->attention,
    };
    bool moves_marks = publisher_has_urgent_marks(w->publisher);
    if (moves_marks)
        context.marks = publisher_marks(w->publisher, &context.n_marks);
    uint64_t started = uv_hrtime();
    int r = batch_run(&context, jobs, n, settled);
    if (moves_marks)
        publisher_marks_done(w->publisher);
    metric_observe(w->batch_seconds, (double)(uv_hrtime() - started) / 1e9);
    metric_add(w->n_batches, 1);
    count_recent(w);
    return r;
}

/* Those about presence go to the end, in order; returns how many they are. */
static size_t set_presence_apart(struct job **jobs, size_t n) {
    _cleanup_(freep) struct job **apart = must_alloc(n * sizeof(struct job *));
    size_t n_apart = 0, n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (jobs[i]->command.kind == COMMAND_PRESENCE)
            apart[n_apart++] = jobs[i];
        else
            jobs[n_kept++] = jobs[i];
    }
    for (size_t i = 0; i < n_apart; i++)
        jobs[n_kept + i] = apart[i];
    return n_apart;
}

/* Beside the batch, after it: who joins sees its changes. What there is no room for waits. */
static int run_presence(struct worker *w, struct job **jobs, size_t n, struct queue *again) {
    int r = 0;
    for (size_t i = 0; i < n; i += PRESENCE_MAX_TOGETHER) {
        size_t n_now = n - i < PRESENCE_MAX_TOGETHER ? n - i : PRESENCE_MAX_TOGETHER;
        bool may_run = r == 0 && publisher_has_room(w->publisher);
        if (may_run)
            r = worker_run_presence(w, jobs + i, n_now);
        for (size_t k = 0; k < n_now && (!may_run || r != 0); k++)
            queue_push(again, jobs[i + k]);
    }
    return r;
}

int worker_run_batch(struct worker *w) {
    size_t most = w->jobs.n, n;
    if (most > (size_t)w->app->config->max_batch)
        most = (size_t)w->app->config->max_batch;
    _cleanup_(freep) struct job **jobs = must_alloc(most * sizeof(struct job *));
    _cleanup_(freep) struct settled *settled = must_alloc(most * sizeof(*settled));
    int r = take_jobs(w, jobs, most, &n);
    size_t n_presence = set_presence_apart(jobs, n);
    n -= n_presence;
    if (r == 0 && n > 0)
        r = run_jobs(w, jobs, n, settled);
    struct queue again = {0};
    for (size_t i = 0; i < n; i++) {
        if (r == 0)
            settle(w, &settled[i], &again);
        else
            queue_push(&again, jobs[i]);
    }
    if (r == 0)
        r = run_presence(w, jobs + n, n_presence, &again);
    else
        for (size_t i = n; i < n + n_presence; i++)
            queue_push(&again, jobs[i]);
    queue_push_front(&w->jobs, &again);
    return r;
}

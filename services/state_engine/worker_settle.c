/* A batch of the worker's queue: run, and each job sent on its way by what became of it. */
#include <string.h>

#include "services/state_engine/batch.h"
#include "services/state_engine/worker_private.h"

static void count(struct worker *w, const struct settled *s) {
    enum fault_code code = s->outcome == OUTCOME_REFUSED ? s->reply.fault.code : FAULT_NONE;
    metric_add(w->n_commands[code], 1);
}

static void hold(struct delivery *d, struct reply *reply) {
    d->held = must_realloc(d->held, (d->n_held + 1) * sizeof(*d->held));
    d->held[d->n_held++] = *reply;
    *reply = (struct reply){0};
}

void worker_refuse(struct worker *w, struct job *j, struct reply *reply) {
    struct delivery *d = j->delivery;
    metric_add(w->n_commands[reply->fault.code], 1);
    hold(d, reply);
    job_free(j);
    worker_close_one(w, d);
}

static void settle_accepted(struct worker *w, struct job *j, struct settled *s) {
    struct delivery *d = j->delivery;
    count(w, s);
    publisher_reply(w->publisher, d, &s->reply);
    if (s->n_events > 0) {
        d->n_open++;
        publisher_publish(w->publisher, s->events, s->n_events, d);
    }
    job_free(j);
    worker_close_one(w, d);
}

static void settle(struct worker *w, struct settled *s, struct queue *again) {
    struct job *j = s->job;
    if (s->damage[0])
        log_error(w->app->log, "store_damaged", "A stored session cannot be used.",
                  LOG_TEXT("sessionId", j->command.session_id), LOG_TEXT("err", s->damage),
                  LOG_TEXT("hint", "Redis refused the write, or holds what Handoff did not write"));
    switch (s->outcome) {
    case OUTCOME_ACCEPTED:
        settle_accepted(w, j, s);
        break;
    case OUTCOME_REFUSED:
        worker_refuse(w, j, &s->reply);
        break;
    case OUTCOME_ABSENT:
        worker_ask_about_absent(w, j);
        break;
    case OUTCOME_AGAIN:
        metric_add(w->n_lost_races, 1);
        queue_push(again, j);
        break;
    }
    settled_done(s);
}

static size_t take_jobs(struct worker *w, struct job **ret, size_t most) {
    size_t n = 0;
    while (n < most && w->jobs.n > 0)
        ret[n++] = queue_pop(&w->jobs);
    return n;
}

int worker_run_batch(struct worker *w) {
    size_t most = w->jobs.n;
    if (most > (size_t)w->app->config->max_batch)
        most = (size_t)w->app->config->max_batch;
    _cleanup_(freep) struct job **jobs = must_alloc(most * sizeof(struct job *));
    size_t n = take_jobs(w, jobs, most);
    _cleanup_(freep) struct settled *settled = must_alloc(n * sizeof(*settled));
    struct batch_context context = {
        .store = w->store,
        .snapshot_every = (uint64_t)w->app->config->snapshot_every,
        .arm = attention_arm,
        .arg = w->attention,
    };
    context.marks = publisher_marks(w->publisher, &context.n_marks);
    uint64_t started = uv_hrtime();
    struct queue again = {0};
    int r = batch_run(&context, jobs, n, settled);
    publisher_marks_done(w->publisher);
    for (size_t i = 0; i < n; i++) {
        if (r == 0)
            settle(w, &settled[i], &again);
        else
            queue_push(&again, jobs[i]);
    }
    queue_push_front(&w->jobs, &again);
    metric_observe(w->batch_seconds, (double)(uv_hrtime() - started) / 1e9);
    metric_add(w->n_batches, 1);
    return r;
}

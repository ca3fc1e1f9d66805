/* Barriers; see barrier.h. One is under way at a time: who asks meanwhile may have had confirmed
 * what came behind it, and so shares the next. */
#include "services/state_engine/barrier.h"

#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "base/uuid.h"

struct asker {
    struct asker *next;
    int64_t at; /* ms, monotonic: its barrier goes no sooner */
    barrier_fn *done;
    void *arg;
};

struct askers {
    struct asker *first, **end; /* end NULL: &first */
};

struct barrier {
    struct publisher *publisher;
    struct askers running, waiting; /* of the one under way; of the next one */
    struct askers resting;          /* until their time has come */
    char correlation_id[UUID_LEN + 1];
    uv_timer_t patience, rest;
    struct metric *n_passed, *n_failed;
};

static void add(struct askers *list, struct asker *a) {
    a->next = NULL;
    *(list->end ? list->end : &list->first) = a;
    list->end = &a->next;
}

static void answer(struct askers list, bool passed) {
    for (struct asker *a = list.first, *next; a; a = next) {
        next = a->next;
        a->done(a->arg, passed);
        free(a);
    }
}

static void drop(struct askers *list) {
    for (struct asker *a = list->first, *next; a; a = next) {
        next = a->next;
        free(a);
    }
    *list = (struct askers){0};
}

/* Those who wait for the next one are told as well: it would go the same way. */
static void fail(struct barrier *b) {
    struct askers running = b->running, waiting = b->waiting;
    b->running = b->waiting = (struct askers){0};
    b->correlation_id[0] = '\0';
    uv_timer_stop(&b->patience);
    if (running.first)
        metric_add(b->n_failed, 1);
    answer(running, false);
    answer(waiting, false);
}

static void on_impatient(uv_timer_t *timer) {
    fail(timer->data);
}

static void begin(struct barrier *b) {
    b->running = b->waiting;
    b->waiting = (struct askers){0};
    uuid_v4(b->correlation_id);
    uv_timer_start(&b->patience, on_impatient, BARRIER_PATIENCE_MS, 0);
    publisher_barrier(b->publisher, b->correlation_id);
}

/* Those that rest are asked in any order of their times: what is due goes on, the rest rests on. */
static void on_rested(uv_timer_t *timer) {
    struct barrier *b = timer->data;
    struct askers resting = b->resting;
    int64_t now = timestamp_monotonic_ms(), next = INT64_MAX;
    b->resting = (struct askers){0};
    for (struct asker *a = resting.first, *following; a; a = following) {
        following = a->next;
        add(a->at <= now ? &b->waiting : &b->resting, a);
        if (a->at > now && a->at < next)
            next = a->at;
    }
    if (b->resting.first)
        uv_timer_start(timer, on_rested, (uint64_t)(next - now), 0);
    if (b->waiting.first && !b->running.first)
        begin(b);
}

static void on_answered(void *arg, const char *correlation_id) {
    struct barrier *b = arg;
    if (!b->running.first || strcmp(correlation_id, b->correlation_id) != 0)
        return;
    struct askers passed = b->running;
    b->running = (struct askers){0};
    uv_timer_stop(&b->patience);
    metric_add(b->n_passed, 1);
    if (b->waiting.first)
        begin(b);
    answer(passed, true);
}

static void on_lost(void *arg) {
    fail(arg);
}

struct barrier *barrier_new(struct app *app, struct publisher *publisher) {
    static const struct publisher_barrier_callbacks callbacks = {on_answered, on_lost};
    struct barrier *b = must_alloc(sizeof(*b));
    b->publisher = publisher;
    static const char name[] = "handoff_barriers_total";
    static const char help[] = "Barriers through the audit queue, by whether they were answered.";
    b->n_passed = metrics_counter(app->metrics, name, "outcome=\"passed\"", help);
    b->n_failed = metrics_counter(app->metrics, name, "outcome=\"failed\"", help);
    uv_timer_init(app->loop, &b->patience);
    uv_timer_init(app->loop, &b->rest);
    b->patience.data = b->rest.data = b;
    publisher_watch_barriers(publisher, &callbacks, b);
    return b;
}

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

static void on_rest_closed(uv_handle_t *handle) {
    struct barrier *b = handle->data;
    uv_close((uv_handle_t *)&b->patience, on_closed);
}

struct barrier *barrier_free(struct barrier *b) {
    if (!b)
        return NULL;
    static const struct publisher_barrier_callbacks nobody = {NULL, NULL};
    publisher_watch_barriers(b->publisher, &nobody, NULL);
    drop(&b->running);
    drop(&b->waiting);
    drop(&b->resting);
    uv_timer_stop(&b->patience);
    uv_close((uv_handle_t *)&b->rest, on_rest_closed);
    return NULL;
}

void barrier_ask(struct barrier *b, int64_t at, barrier_fn *done, void *arg) {
    struct asker *a = must_alloc(sizeof(*a));
    *a = (struct asker){.at = at, .done = done, .arg = arg};
    add(&b->resting, a);
    on_rested(&b->rest);
}

/* The engine's daily round; see worker.h. Redis is asked in the loop, blocking (at most 2 s): it is
 * the engine's only work, and the broker's heartbeat outlives it. */
#include "services/state_engine/worker.h"

#include <errno.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/bus.h"
#include "proto/route.h"
#include "services/state_engine/worker_private.h"

#define PREFETCH 128 /* messages; each may carry many commands */
#define TICK_MS 1000
#define MAX_TRIES 5

static void run(struct worker *w);

/* ---- Redis ---- */

static int64_t store_time(const struct worker *w) {
    return timestamp_monotonic_ms() + w->store_offset_ms;
}

static void store_lost(struct worker *w, const char *why) {
    attention_forget(w->attention);
    if (health_set(w->store_health, false, why))
        log_warn(w->app->log, "store_lost", "Redis is not reached.", LOG_TEXT("err", why));
}

static bool store_ready(struct worker *w) {
    char why[256] = "";
    if (store_batch_is_connected(w->store))
        return true;
    if (store_batch_connect(w->store, why) != 0) {
        store_lost(w, why);
        return false;
    }
    if (health_set(w->store_health, true, ""))
        log_info(w->app->log, "store_up", "Redis is reached.");
    return true;
}

/* ---- deliveries ---- */

static void acknowledge(struct worker *w, struct delivery *d) {
    bus_ack(w->bus, d->generation, d->tag, false);
    for (size_t i = 0; i < d->n_held; i++)
        publisher_reply(w->publisher, d, &d->held[i]);
    delivery_free(d);
    w->n_deliveries--;
}

void worker_close_one(struct worker *w, struct delivery *d) {
    if (d && --d->n_open == 0)
        acknowledge(w, d);
}

static void to_dead_letters(struct worker *w, const struct bus_message *m, struct delivery *d,
                            const char *reason) {
    log_error(w->app->log, "command_dead", "A message with commands was set aside.",
              LOG_TEXT("err", reason), LOG_TEXT("hint", "see the queue state_engine.dead"));
    metric_add(w->n_dead, 1);
    d->n_open = 1;
    publisher_cork(w->publisher);
    publisher_dead(w->publisher, ROUTE_COMMANDS_DEAD_QUEUE, m->body, m->body_len, reason, d);
    publisher_uncork(w->publisher);
}

/* Whether the message came so often without an outcome that it must be what kills its engines. */
static bool is_poison(struct worker *w, const struct queue *jobs) {
    const struct command *c = &jobs->first->command;
    unsigned n = 0;
    if (!store_ready(w))
        return false;
    return store_batch_count_try(w->store, c->session_id, c->id, &n) == 0 && n >= MAX_TRIES;
}

static struct delivery *delivery_for_dead(const struct worker *w, const struct bus_message *m) {
    struct delivery *d = must_alloc(sizeof(*d));
    d->generation = bus_generation(w->bus);
    d->tag = m->tag;
    return d;
}

static void on_message(void *arg, const struct bus_message *m) {
    struct worker *w = arg;
    struct queue jobs = {0};
    struct delivery *d = NULL;
    struct fault f;
    w->n_deliveries++;
    if (delivery_read(m, bus_generation(w->bus), &d, &jobs, &f) != 0) {
        to_dead_letters(w, m, delivery_for_dead(w, m), f.detail);
    } else if (m->redelivered && is_poison(w, &jobs)) {
        for (struct job *j; (j = queue_pop(&jobs));)
            job_free(j);
        to_dead_letters(w, m, d, "delivered again and again without an outcome");
    } else {
        for (struct job *j; (j = queue_pop(&jobs));)
            queue_push(&w->jobs, j);
    }
}

static void on_turn(void *arg) {
    run(arg);
}

static void on_up(void *arg) {
    struct worker *w = arg;
    if (health_set(w->bus_health, true, ""))
        log_info(w->app->log, "broker_up", "The broker is reached for commands.");
}

/* What was not begun comes again to somebody; what is in hand is finished, its answer still counts.
 */
static void on_down(void *arg, const char *why) {
    struct worker *w = arg;
    if (health_set(w->bus_health, false, why))
        log_warn(w->app->log, "broker_lost", "The broker is not reached for commands.",
                 LOG_TEXT("err", why));
    struct queue kept = {0};
    for (struct job *j; (j = queue_pop(&w->jobs));) {
        if (j->is_uncertain) {
            queue_push(&kept, j);
            continue;
        }
        struct delivery *d = j->delivery;
        job_free(j);
        worker_close_one(w, d);
    }
    w->jobs = kept;
    if (!kept.first)
        w->jobs.end = NULL;
}

/* ---- batches ---- */

static bool may_run(struct worker *w) {
    return w->jobs.n > 0 && publisher_is_ready(w->publisher) && store_batch_is_connected(w->store);
}

static void run(struct worker *w) {
    while (may_run(w)) {
        publisher_cork(w->publisher);
        int r = worker_run_batch(w);
        publisher_uncork(w->publisher);
        if (r != 0)
            store_lost(w, strerror(-r));
    }
    worker_check_drained(w);
}

/* ---- once a second ---- */

/* Jobs that wait for Redis or the broker past their deadline: not begun, or of unknown outcome. */
static void refuse_late(struct worker *w) {
    struct queue kept = {0};
    int64_t now = store_time(w);
    for (struct job *j; (j = queue_pop(&w->jobs));) {
        if (now <= j->command.deadline) {
            queue_push(&kept, j);
            continue;
        }
        struct reply reply = {0};
        memcpy(reply.id, j->command.id, sizeof(reply.id));
        memcpy(reply.session_id, j->command.session_id, sizeof(reply.session_id));
        fault_set(&reply.fault, j->is_uncertain ? FAULT_TIMEOUT : FAULT_UNAVAILABLE, NULL,
                  "the store or the broker was away until the deadline");
        worker_refuse(w, j, &reply);
    }
    queue_push_front(&w->jobs, &kept);
}

static int look_around(struct worker *w) {
    int64_t now;
    size_t n_marks;
    int r = store_batch_load(w->store, NULL, 0, &now);
    if (r != 0)
        return r;
    w->store_offset_ms = now - timestamp_monotonic_ms();
    struct store_mark *marks = publisher_marks(w->publisher, &n_marks);
    if (n_marks > 0)
        r = store_batch_save(w->store, NULL, 0, NULL, 0, marks, n_marks);
    publisher_marks_done(w->publisher);
    return r != 0 ? r : attention_tick(w->attention, now);
}

static void on_tick(uv_timer_t *timer) {
    struct worker *w = timer->data;
    publisher_cork(w->publisher);
    if (store_ready(w)) {
        int r = look_around(w);
        if (r != 0)
            store_lost(w, strerror(-r));
    }
    run(w);
    refuse_late(w);
    publisher_uncork(w->publisher);
}

/* ---- confirms ---- */

/* Held refusals may have become due with the confirms. */
static void on_publisher_turn(void *arg) {
    struct worker *w = arg;
    publisher_uncork(w->publisher);
    run(w);
}

static void on_confirmed(void *arg, struct delivery *delivery) {
    worker_close_one(arg, delivery);
}

/* ---- life ---- */

static void add_metrics(struct worker *w) {
    struct metrics *m = w->app->metrics;
    for (size_t code = 0; code < FAULT_N_CODES; code++) {
        char label[64];
        snprintf(label, sizeof(label), "code=\"%s\"",
                 code == FAULT_NONE ? "ok" : fault_wire_code((enum fault_code)code));
        w->n_commands[code] = metrics_counter(m, "handoff_commands_total", label,
                                              "Commands settled, by what became of them.");
    }
    w->n_batches = metrics_counter(m, "handoff_batches_total", NULL, "Batches run.");
    w->n_lost_races = metrics_counter(m, "handoff_lost_races_total", NULL,
                                      "Saves that another engine's save came before.");
    w->n_dead = metrics_counter(m, "handoff_dead_letters_total", NULL, "Messages set aside.");
    w->batch_seconds =
        metrics_histogram(m, "handoff_batch_seconds", NULL, "Time from load to save of a batch.");
}

static int connect_parts(struct worker *w) {
    struct app *app = w->app;
    struct publisher_callbacks callbacks = {on_publisher_turn, on_confirmed, on_publisher_turn};
    int r = store_batch_new(&w->store, app->config->redis_url);
    if (r == 0)
        r = publisher_new(&w->publisher, app, &callbacks, w);
    if (r == 0)
        r = recover_new(&w->recover, app);
    if (r != 0)
        return r;
    w->attention = attention_new(app, w->store, w->publisher);
    struct bus_options options = {
        .url = app->config->amqp_url,
        .connection_name = "state_engine consume",
        .queue = ROUTE_COMMANDS_QUEUE,
        .prefetch = PREFETCH,
        .callbacks = {.up = on_up, .down = on_down, .message = on_message, .turn = on_turn},
        .arg = w,
    };
    return bus_new(&w->bus, app->loop, &options);
}

int worker_new(struct worker **ret, struct app *app) {
    struct worker *w = must_alloc(sizeof(*w));
    w->app = app;
    w->store_offset_ms = timestamp_wall_ms() - timestamp_monotonic_ms();
    w->store_health = health_add(app->health, "redis");
    w->bus_health = health_add(app->health, "rabbitmq");
    add_metrics(w);
    uv_timer_init(app->loop, &w->tick);
    w->tick.data = w;
    int r = connect_parts(w);
    if (r != 0) {
        worker_free(w);
        return r;
    }
    uv_timer_start(&w->tick, on_tick, 0, TICK_MS);
    *ret = w;
    return 0;
}

void worker_check_drained(struct worker *w) {
    if (w->is_draining && w->n_deliveries == 0)
        app_drained(w->app);
}

void worker_drain(struct worker *w) {
    w->is_draining = true;
    bus_cancel(w->bus);
    run(w);
}

static void on_tick_closed(uv_handle_t *handle) {
    free(handle->data);
}

void worker_free(struct worker *w) {
    size_t n_marks;
    if (w->publisher && store_batch_is_connected(w->store)) {
        struct store_mark *marks = publisher_marks(w->publisher, &n_marks);
        if (n_marks > 0 && store_batch_save(w->store, NULL, 0, NULL, 0, marks, n_marks) != 0)
            log_info(w->app->log, "marks_left", "Published marks were left for the next engine.");
    }
    recover_free(w->recover);
    bus_free(w->bus);
    publisher_free(w->publisher);
    attention_free(w->attention);
    store_batch_free(w->store);
    for (struct job *j; (j = queue_pop(&w->jobs));)
        job_free(j);
    uv_close((uv_handle_t *)&w->tick, on_tick_closed);
}

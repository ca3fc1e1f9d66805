/* The engine's daily round; see worker.h. Redis is asked in the loop, blocking (at most 2 s): it is
 * the engine's only work, and the broker's heartbeat outlives it. */
#include "services/state_engine/worker.h"

#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "proto/route.h"
#include "services/state_engine/schedule.h"
#include "services/state_engine/worker_private.h"

#define PREFETCH 128 /* messages; each may carry many commands */
#define TICK_MS 1000
#define TURN_MS 250 /* of batches; then the loop has its turn */
#define DOWN_MS 1000

static void run(struct worker *w);

/* ---- Redis ---- */

int64_t worker_store_time(const struct worker *w) {
    return timestamp_monotonic_ms() + w->store_offset_ms;
}

/* Also when it is there and refuses. */
static void store_lost(struct worker *w, const char *why) {
    attention_forget(w->attention);
    if (!store_batch_is_connected(w->store) && w->store_down_ms == 0)
        w->store_down_ms = timestamp_monotonic_ms();
    health_report(w->store_health, w->app->log, false, why);
}

/* Perhaps without some nodes of a cluster. */
static void store_works(struct worker *w) {
    char why[256];
    bool is_whole = store_batch_is_whole(w->store, why);
    w->store_down_ms = 0;
    backoff_reset(&w->store_backoff);
    health_report(w->store_health, w->app->log, is_whole, why);
}

/* A Redis that takes connections and says nothing holds the loop for 2 s a try: between two tries
 * others have their turn. */
static bool store_ready(struct worker *w) {
    char why[256] = "";
    if (store_batch_is_connected(w->store))
        return true;
    if (timestamp_monotonic_ms() < w->store_retry_ms)
        return false;
    attention_forget(w->attention); /* another node's set, perhaps */
    if (store_batch_connect(w->store, why) == 0)
        return true;
    store_lost(w, why);
    w->store_retry_ms = timestamp_monotonic_ms() + (int64_t)backoff_next_ms(&w->store_backoff);
    return false;
}

/* What waits then would wait in vain, or nearly. */
static bool store_is_down(const struct worker *w) {
    return w->store_down_ms != 0 && timestamp_monotonic_ms() - w->store_down_ms >= DOWN_MS;
}

/* ---- the broker ---- */

static void on_turn(void *arg) {
    run(arg);
}

static void on_up(void *arg) {
    struct worker *w = arg;
    health_report(w->bus_health, w->app->log, true, "");
}

static void bus_lost(struct worker *w, const char *why) {
    health_report(w->bus_health, w->app->log, false, why);
}

static void on_connect_failed(void *arg, const char *why) {
    bus_lost(arg, why);
}

/* All jobs come again, to this engine or another: those of which a save was begun, too, and are
 * then found by their ids. Kept beside what comes again, they could take effect twice. */
static void on_down(void *arg, const char *why) {
    struct worker *w = arg;
    bus_lost(w, why);
    worker_drop_waiting(w, &w->jobs);
    queue_push_front(&w->jobs, &w->parked);
    for (struct job *j; (j = queue_pop(&w->jobs));) {
        struct delivery *d = j->delivery;
        job_free(j);
        worker_close_one(w, d);
    }
}

/* ---- batches ---- */

static bool may_run(struct worker *w) {
    return w->jobs.n > 0 && publisher_is_ready(w->publisher) && store_batch_is_connected(w->store);
}

static const char *why_hopeless(const struct worker *w, const struct job *j) {
    if (worker_store_time(w) > j->command.deadline)
        return "the store or the broker was away until the deadline";
    return store_is_down(w) && !job_may_be_saved(j) ? "the store is away" : NULL;
}

/* Jobs that wait past their deadline, not begun or of unknown outcome; and those not begun while
 * Redis is away. */
static void refuse_hopeless(struct worker *w) {
    struct queue kept = {0};
    for (struct job *j; (j = queue_pop(&w->jobs));) {
        const char *why = why_hopeless(w, j);
        if (why)
            worker_refuse_with(w, j, job_may_be_saved(j) ? FAULT_TIMEOUT : FAULT_UNAVAILABLE, why);
        else
            queue_push(&kept, j);
    }
    queue_push_front(&w->jobs, &kept);
}

static void on_soon(uv_timer_t *timer) {
    run(timer->data);
}

void worker_run_soon(struct worker *w) {
    uv_timer_start(&w->soon, on_soon, 0, 0);
}

static int run_batch(struct worker *w) {
    worker_begin(w);
    int r = worker_run_batch(w);
    worker_end(w);
    return r;
}

/* Not for too long at a stretch, with a slow Redis: heartbeats want to be sent and read. What falls
 * due meanwhile is looked at between two batches. */
static void run(struct worker *w) {
    int64_t until = timestamp_monotonic_ms() + TURN_MS;
    int r = 0;
    while (r == 0 && (worker_is_look_due(w) || may_run(w) || worker_may_move_marks(w))) {
        if (worker_is_look_due(w))
            r = worker_look(w);
        if (r == 0 && may_run(w))
            r = run_batch(w);
        if (r == 0 && worker_may_move_marks(w))
            r = worker_move_marks(w);
        if (r == 0 && timestamp_monotonic_ms() >= until) {
            worker_run_soon(w);
            break;
        }
    }
    if (r != 0)
        store_lost(w, strerror(-r));
    if (store_is_down(w)) {
        worker_begin(w);
        refuse_hopeless(w);
        worker_end(w);
    }
    worker_plan_looks(w, on_soon);
    worker_check_drained(w);
}

/* ---- once a second ---- */

static int look_around(struct worker *w) {
    int64_t now, asked_at = timestamp_monotonic_ms();
    int r = store_batch_load(w->store, NULL, 0, &now);
    if (r != 0)
        return r;
    w->store_offset_ms =
        schedule_offset(w->store_offset_ms, now, asked_at, timestamp_monotonic_ms());
    worker_find_marks(w);
    r = presence_flush(w->presence, now);
    return r != 0 || w->is_draining ? r : worker_look_at_age(w, now);
}

static void end_confirms(struct worker *w) {
    if (!w->has_confirms)
        return;
    w->has_confirms = false;
    worker_end(w);
}

static void on_tick(uv_timer_t *timer) {
    struct worker *w = timer->data;
    worker_begin(w);
    end_confirms(w);
    publisher_retry(w->publisher);
    if (store_ready(w)) {
        int r = look_around(w);
        if (r != 0)
            store_lost(w, strerror(-r));
        else
            store_works(w);
    }
    recover_tick(w->recover);
    worker_refuse_late_waiting(w, worker_store_time(w));
    worker_end(w);
    queue_push_front(&w->jobs, &w->parked);
    run(w);
    worker_begin(w);
    refuse_hopeless(w);
    worker_end(w);
    worker_check_drained(w);
}

/* ---- confirms ---- */

/* After the last confirm of a wake, or when the broker takes publications again. Held refusals may
 * have become due. */
static void on_publisher_turn(void *arg) {
    struct worker *w = arg;
    worker_begin(w);
    end_confirms(w);
    worker_end(w);
    run(w);
}

/* The acknowledgements that one wake's confirms allow leave together, in on_publisher_turn. */
static void on_confirmed(void *arg, struct delivery *delivery) {
    struct worker *w = arg;
    if (!w->has_confirms)
        worker_begin(w);
    w->has_confirms = true;
    worker_close_one(w, delivery);
}

static void on_told(void *arg, const char *session_id, const char *device_id, int64_t lease_until) {
    struct worker *w = arg;
    presence_told(w->presence, session_id, device_id, lease_until);
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
    w->n_recent_hits =
        metrics_counter(m, "handoff_session_cache_hits_total", NULL,
                        "Sessions of a batch that were judged on a kept copy, without a load.");
    w->n_recent_misses =
        metrics_counter(m, "handoff_session_cache_misses_total", NULL,
                        "Sessions of a batch that had to be loaded though a copy would have done.");
    w->recent_bytes =
        metrics_gauge(m, "handoff_session_cache_bytes", NULL, "What the kept copies take.");
    w->batch_seconds =
        metrics_histogram(m, "handoff_batch_seconds", NULL, "Time from load to save of a batch.");
    w->lateness_seconds =
        metrics_histogram(m, "handoff_deadline_lateness_seconds", NULL,
                          "Time from a clock's deadline to the save that acted on it.");
}

static unsigned n_wait_replicas(const struct worker *w) {
    const char *text = w->app->config->redis_wait_replicas;
    if (strcmp(text, "auto") == 0)
        return store_batch_is_cluster(w->store);
    return (unsigned)strtoul(text, NULL, 10);
}

static int connect_parts(struct worker *w) {
    struct app *app = w->app;
    struct publisher_callbacks callbacks = {on_publisher_turn, on_confirmed, on_publisher_turn,
                                            on_told};
    int r = store_batch_new(&w->store, app->config->redis_url);
    if (r == 0) {
        store_batch_follow_url(w->store, &app->config->redis_url);
        store_batch_measure(w->store, metrics_answers(app->metrics, "redis"));
        store_batch_wait_for_replicas(w->store, n_wait_replicas(w));
    }
    if (r == 0)
        r = publisher_new(&w->publisher, app, &callbacks, w);
    if (r == 0)
        w->barrier = barrier_new(app, w->publisher);
    if (r == 0)
        r = recover_new(&w->recover, app, w->store, w->barrier, w->publisher);
    if (r != 0)
        return r;
    w->presence = presence_new(app, w->store, w->publisher);
    worker_new_age(w);
    struct bus_options options = {
        .url = app->config->amqp_url,
        .quorum_queues = config_wants_quorum(app->config),
        .connection_name = "state_engine consume",
        .queue = ROUTE_COMMANDS_QUEUE,
        .prefetch = PREFETCH,
        .callbacks = {.up = on_up,
                      .down = on_down,
                      .connect_failed = on_connect_failed,
                      .message = worker_on_message,
                      .turn = on_turn},
        .arg = w,
    };
    r = bus_new(&w->bus, app->loop, &options);
    if (r == 0)
        bus_follow_url(w->bus, &app->config->amqp_url);
    return r;
}

int worker_new(struct worker **ret, struct app *app) {
    struct worker *w = must_alloc(sizeof(*w));
    w->app = app;
    w->store_offset_ms = timestamp_wall_ms() - timestamp_monotonic_ms();
    w->store_health = health_add(app->health, "redis");
    w->bus_health = health_add(app->health, "rabbitmq");
    add_metrics(w);
    w->recent = recent_new((size_t)app->config->max_kept_bytes);
    uv_timer_init(app->loop, &w->tick);
    uv_timer_init(app->loop, &w->soon);
    uv_timer_init(app->loop, &w->looks);
    w->tick.data = w->soon.data = w->looks.data = w;
    w->n_handles = 3;
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
    if (w->is_draining && w->n_deliveries == 0 && !publisher_has_answers(w->publisher))
        app_drained(w->app);
}

void worker_drain(struct worker *w) {
    w->is_draining = true;
    bus_cancel(w->bus);
    run(w);
}

static void on_timer_closed(uv_handle_t *handle) {
    struct worker *w = handle->data;
    if (--w->n_handles == 0)
        free(w);
}

/* The published marks, and what was told of devices. */
static void flush_notes(struct worker *w) {
    size_t n;
    if (!w->presence || !store_batch_is_connected(w->store))
        return;
    if (presence_flush(w->presence, worker_store_time(w)) != 0)
        log_info(w->app->log, "presence_left", "What was told of devices will be told again.");
    struct store_mark *marks = publisher_marks(w->publisher, &n);
    if (store_batch_is_connected(w->store) && n > 0 &&
        store_batch_save(w->store, NULL, 0, NULL, 0, marks, n) != 0)
        log_info(w->app->log, "marks_left", "Published marks were left for the next engine.");
}

void worker_free(struct worker *w) {
    flush_notes(w);
    recover_free(w->recover);
    worker_free_age(w);
    barrier_free(w->barrier);
    worker_drop_waiting(w, &w->jobs);
    worker_free_waiting(w);
    bus_free(w->bus);
    publisher_free(w->publisher);
    presence_free(w->presence);
    store_batch_free(w->store);
    recent_free(w->recent);
    queue_push_front(&w->jobs, &w->parked);
    for (struct job *j; (j = queue_pop(&w->jobs));)
        job_free(j);
    for (struct delivery *d = w->deliveries, *next; d; d = next) {
        next = d->next;
        delivery_free(d);
    }
    uv_close((uv_handle_t *)&w->tick, on_timer_closed);
    uv_close((uv_handle_t *)&w->soon, on_timer_closed);
    uv_close((uv_handle_t *)&w->looks, on_timer_closed);
}

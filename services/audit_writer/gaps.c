/* The list of gaps, and whether they have come meanwhile; see gaps.h. */
#include "services/audit_writer/gaps.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "services/audit_writer/expected.h"
#include "services/audit_writer/gaps_private.h"
#include "services/audit_writer/statements.h"

#define PATIENCE_MS 2000
#define TICK_MS 200
#define MAX_REFILLS 3 /* of the same versions: what was written three times and is not there */

/* ---- Lists ---- */

void gap_list_add(struct gap_list *l, struct gap *g) {
    g->next = NULL;
    if (l->last)
        l->last->next = g;
    else
        l->first = g;
    l->last = g;
}

struct gap *gap_list_take(struct gap_list *l) {
    struct gap *g = l->first;
    if (!g)
        return NULL;
    l->first = g->next;
    if (!l->first)
        l->last = NULL;
    return g;
}

static bool is_gap(const struct table_node *node, const void *key) {
    const struct gap *a = (const struct gap *)node, *b = key;
    return strcmp(a->session_id, b->session_id) == 0 && position_equal(a->position, b->position);
}

static uint64_t hash_of(const struct gaps *g, const char *session_id, struct position p) {
    char key[UUID_LEN + 48];
    int len = snprintf(key, sizeof(key), "%s:%" PRIu64 ":%" PRIu64, session_id, p.epoch, p.version);
    return table_hash(&g->known, key, (size_t)len);
}

void gaps_forget(struct gaps *g, struct gap *gap) {
    table_remove(&g->known, &gap->node);
    free(gap);
}

/* ---- One gap's way ---- */

static void on_tick(uv_timer_t *timer);

static void tick(struct gaps *g) {
    if (!g->ticking)
        uv_timer_start(&g->timer, on_tick, TICK_MS, TICK_MS);
    g->ticking = true;
}

void gaps_wait(struct gaps *g, struct gap *gap) {
    gap->due_at = timestamp_monotonic_ms() + PATIENCE_MS;
    gap_list_add(&g->waiting, gap);
    tick(g);
}

void gaps_suspect(struct gaps *g, const char *session_id, struct position p) {
    struct gap wanted = {.position = p};
    if (g->closed)
        return;
    memcpy(wanted.session_id, session_id, UUID_LEN);
    uint64_t hash = hash_of(g, session_id, p);
    if (table_find(&g->known, hash, is_gap, &wanted))
        return;
    if (g->known.n == MAX_GAPS) {
        metric_add(g->put_off, 1);
        return;
    }
    struct gap *gap = must_alloc(sizeof(*gap));
    *gap = wanted;
    table_add(&g->known, &gap->node, hash);
    gaps_wait(g, gap);
}

/* ---- Whether it has come ---- */

static void filled(struct gaps *g, struct gap *gap) {
    if (gap->n_refills)
        log_warn(g->app->log, "audit_gap_filled",
                 "Versions that had not come were taken from Redis' delta window.",
                 LOG_TEXT("sessionId", gap->session_id),
                 LOG_NUMBER("epoch", (int64_t)gap->position.epoch),
                 LOG_NUMBER("to", (int64_t)gap->position.version));
    gaps_forget(g, gap);
}

static void judge(struct gaps *g, struct gap *gap, uint64_t low) {
    if (low >= gap->position.version) {
        filled(g, gap);
        return;
    }
    if (low > gap->low)
        gap->n_refills = 0; /* it goes on */
    gap->low = low;
    if (gap->n_refills < MAX_REFILLS)
        gap_list_add(&g->missing, gap);
    else
        gaps_lose(g, gap);
}

static void check_due(struct gaps *g);

/* Of those that PostgreSQL said nothing of. */
static void check_again(struct gaps *g) {
    struct gap *gap;
    while ((gap = gap_list_take(&g->checking)))
        gaps_wait(g, gap);
    gaps_read_next(g);
}

static void on_checked(void *arg, int err, const struct db_result *r) {
    struct gaps *g = arg;
    struct gap *gap;
    size_t n = err ? 0 : db_n_rows(r);
    if (g->closed)
        return;
    for (size_t i = 0; i < n && (gap = gap_list_take(&g->checking)); i++)
        judge(g, gap, (uint64_t)db_number(r, i, 0));
    check_again(g);
    if (!err)
        check_due(g);
}

static bool is_due(const struct gap *gap) {
    return gap && gap->due_at <= timestamp_monotonic_ms();
}

static void check_due(struct gaps *g) {
    struct batch_statement s = {.sql = statement_find_before};
    if (g->checking.first || !db_is_up(g->db) || !is_due(g->waiting.first))
        return;
    struct gap *gap;
    while (s.n_rows < MAX_CHECKS && is_due(g->waiting.first) &&
           (gap = gap_list_take(&g->waiting))) {
        expected_put(&s, gap->session_id, gap->position);
        gap_list_add(&g->checking, gap);
    }
    CRASH_LINK("audit.gap.checking", CRASH_DATABASE);
    int err = batch_statement_send(g->db, &s, on_checked, g);
    if (!err)
        err = db_end(g->db, NULL, NULL);
    if (err)
        check_again(g);
    batch_statement_done(&s);
}

static bool is_busy(const struct gaps *g) {
    return g->waiting.first || g->checking.first || g->missing.first || g->reading ||
           g->lost.first || g->marking.first || g->paging;
}

static void on_tick(uv_timer_t *timer) {
    struct gaps *g = timer->data;
    check_due(g);
    gaps_read_next(g);
    gaps_mark_next(g);
    gaps_read_page(g);
    int64_t left = g->page_at - timestamp_monotonic_ms();
    if (is_busy(g) || left <= 0) {
        tick(g);
        return;
    }
    g->ticking = false;
    uv_timer_start(&g->timer, on_tick, (uint64_t)left, 0);
}

/* ---- Life ---- */

static void on_store_up(void *arg) {
    struct gaps *g = arg;
    health_report(g->redis, g->app->log, true, "");
}

static void on_store_down(void *arg, const char *why) {
    struct gaps *g = arg;
    health_report(g->redis, g->app->log, false, why);
}

static void make_metrics(struct gaps *g) {
    struct metrics *m = g->app->metrics;
    g->n_lost = metrics_counter(m, "handoff_audit_gaps_total", NULL,
                                "Gaps in the trail that could not be filled.");
    g->refilled = metrics_counter(m, "handoff_audit_refilled_total", NULL,
                                  "Events that had not come and were taken from Redis.");
    g->put_off = metrics_counter(m, "handoff_audit_gaps_unchecked_total", NULL,
                                 "Suspected gaps that wait: there are too many at a time.");
}

int gaps_new(struct gaps **ret, struct app *app, struct db *db,
             const struct gaps_callbacks *callbacks, void *arg) {
    static const struct store_callbacks store_callbacks = {on_store_up, on_store_down};
    struct gaps *g = must_alloc(sizeof(*g));
    g->app = app;
    g->db = db;
    g->callbacks = *callbacks;
    g->arg = arg;
    int err = store_new(&g->store, app->loop, app->config->redis_url, &store_callbacks, g);
    if (err) {
        free(g);
        return err;
    }
    store_follow_url(g->store, &app->config->redis_url);
    g->redis = health_add_optional(app->health, "redis");
    make_metrics(g);
    table_init(&g->known);
    uv_timer_init(app->loop, &g->timer);
    g->timer.data = g;
    *ret = g;
    return 0;
}

static void free_gap(struct table_node *node) {
    free(node);
}

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

void gaps_begin(struct gaps *g) {
    if (g->closed)
        return;
    g->page_session_id[0] = '\0';
    g->page_at = timestamp_monotonic_ms();
    g->page_age_ms = 0;
    tick(g);
}

void gaps_stop(struct gaps *g) {
    g->closed = true;
    uv_timer_stop(&g->timer);
}

struct gaps *gaps_free(struct gaps *g) {
    if (!g)
        return NULL;
    gaps_stop(g);
    g->store = store_free(g->store);
    table_done(&g->known, free_gap);
    uv_close((uv_handle_t *)&g->timer, on_closed);
    return NULL;
}

/* See cooling.h. One round is under way at a time. */
#include "services/state_engine/cooling.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "common/store_cool.h"

#define AGAIN_MS 30000      /* one that failed, or did not fit: looked at again after so long, */
#define AGAIN_MAX_MS 600000 /* and after twice as long each time, up to this */
#define PAUSE_MS 10000      /* after a round that failed as a whole; doubles */
#define PAUSE_MAX_MS 320000

enum round_state {
    ROUND_OPEN,     /* takes sessions, of one tick */
    ROUND_UNDERWAY, /* waits for the barrier, then for PostgreSQL */
    ROUND_NOTED     /* PostgreSQL has answered: the next tick ends it */
};

struct taken {
    struct session session; /* owned, without its data */
    char mark[UUID_LEN + 1];
    int64_t lease; /* where its entry stands meanwhile */
    bool is_noted; /* PostgreSQL has what lets it go */
};

struct cooling {
    struct app *app;
    struct store_batch *store;
    struct publisher *publisher;
    struct barrier *barrier;
    struct ledger *ledger;
    enum round_state state;
    struct taken items[COOLING_MAX];
    size_t n, n_bytes;
    unsigned n_questions; /* to PostgreSQL, not answered */
    bool has_failed;
    int64_t pause_ms, paused_until; /* monotonic */
    struct metric *n_cooled, *n_buried, *n_kept;
};

struct cooling *cooling_new(struct app *app, struct store_batch *store, struct publisher *publisher,
                            struct barrier *barrier, struct ledger *ledger) {
    struct cooling *c = must_alloc(sizeof(*c));
    c->app = app;
    c->store = store;
    c->publisher = publisher;
    c->barrier = barrier;
    c->ledger = ledger;
    c->n_cooled = metrics_counter(app->metrics, "handoff_cooled_total", NULL,
                                  "Sessions that left Redis because nobody used them.");
    c->n_buried = metrics_counter(app->metrics, "handoff_tombstones_removed_total", NULL,
                                  "Deleted sessions whose tombstone left Redis.");
    c->n_kept = metrics_counter(app->metrics, "handoff_cooling_undone_total", NULL,
                                "Sessions that stayed in Redis though their going was begun.");
    return c;
}

static void close_round(struct cooling *c) {
    for (size_t i = 0; i < c->n; i++)
        session_done(&c->items[i].session);
    c->n = c->n_bytes = 0;
    c->has_failed = false;
    c->state = ROUND_OPEN;
}

struct cooling *cooling_free(struct cooling *c) {
    if (!c)
        return NULL;
    close_round(c);
    free(c);
    return NULL;
}

/* ---- taking ---- */

/* What is overdue for long is looked at less often. */
static int64_t again_at(const struct cooling_ask *ask, int64_t now) {
    int64_t wait = now - ask->due.when;
    wait = wait < AGAIN_MS ? AGAIN_MS : wait > AGAIN_MAX_MS ? AGAIN_MAX_MS : wait;
    int64_t expires_at = session_expires_at(ask->session);
    return expires_at && expires_at < now + wait ? expires_at : now + wait;
}

static bool may_take(const struct cooling *c) {
    return c->state == ROUND_OPEN && c->n < COOLING_MAX && c->n_bytes < COOLING_MAX_BYTES &&
           timestamp_monotonic_ms() >= c->paused_until && ledger_is_up(c->ledger) &&
           publisher_has_room(c->publisher);
}

static struct taken *take(struct cooling *c, int64_t lease) {
    struct taken *item = &c->items[c->n++];
    *item = (struct taken){.lease = lease};
    return item;
}

static void publish_snapshot(struct cooling *c, const struct session *s) {
    struct event event;
    char name[96], id[UUID_LEN + 1];
    int len = snprintf(name, sizeof(name), "%s:%" PRIu64 ":%" PRIu64 ":cold", s->id,
                       s->position.epoch, s->position.version);
    event_derive_id(name, (size_t)len, id);
    event_snapshot(s, id, &event);
    publisher_publish(c->publisher, &event, 1, NULL);
}

/* What is marked is read whole; a save in between took the mark away. */
static void take_marked(struct cooling *c, struct session *s, const char *mark, int64_t lease) {
    if (strcmp(s->cooling, mark) != 0 || session_verify(s) != 0)
        return;
    publish_snapshot(c, s);
    CRASH_LINK("engine.cooling.snapshot_published", CRASH_BROKER);
    struct taken *item = take(c, lease);
    memcpy(item->mark, mark, sizeof(item->mark));
    item->session = *s;
    *s = (struct session){0};
    c->n_bytes += item->session.data_len;
    free(item->session.data_text);
    item->session.data_text = NULL;
}

static int read_marked(struct cooling *c, struct cooling_ask *const *asks,
                       const struct store_cool *cools, size_t n) {
    _cleanup_(freep) struct store_load *loads = must_alloc((n + 1) * sizeof(*loads));
    _cleanup_(freep) size_t *ask_of = must_alloc((n + 1) * sizeof(*ask_of));
    size_t n_loads = 0;
    int64_t ignored;
    for (size_t i = 0; i < n; i++) {
        if (cools[i].result != STORE_COOL_DONE)
            continue;
        loads[n_loads].wants_state = true;
        memcpy(loads[n_loads].session_id, asks[i]->session->id, UUID_LEN + 1);
        ask_of[n_loads++] = i;
    }
    int r = n_loads > 0 ? store_batch_load(c->store, loads, n_loads, &ignored) : 0;
    for (size_t i = 0; i < n_loads; i++) {
        if (r == 0 && loads[i].err == 0)
            take_marked(c, &loads[i].session, cools[ask_of[i]].mark, asks[ask_of[i]]->next);
        store_load_done(&loads[i]);
    }
    return r;
}

static int mark_cold(struct cooling *c, struct cooling_ask *const *asks, size_t n) {
    _cleanup_(freep) struct store_cool *cools = must_alloc((n + 1) * sizeof(*cools));
    for (size_t i = 0; i < n; i++) {
        cools[i].session = asks[i]->session;
        uuid_v4(cools[i].mark);
    }
    int r = n > 0 ? store_batch_cool_begin(c->store, cools, n) : 0;
    if (n > 0)
        CRASH_LINK("engine.cooling.begun", CRASH_REDIS);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (cools[i].result == STORE_COOL_USED)
            asks[i]->next = session_expires_at(asks[i]->session);
    return r != 0 ? r : read_marked(c, asks, cools, n);
}

int cooling_take(struct cooling *c, struct cooling_ask *asks, size_t n, int64_t now) {
    _cleanup_(freep) struct cooling_ask **cold = must_alloc((n + 1) * sizeof(*cold));
    size_t n_cold = 0;
    for (size_t i = 0; i < n; i++) {
        asks[i].next = again_at(&asks[i], now);
        if (!may_take(c) || c->n + n_cold == COOLING_MAX)
            continue;
        if (asks[i].due.what == DUE_BURIAL)
            session_copy(asks[i].session, &take(c, asks[i].next)->session);
        else
            cold[n_cold++] = &asks[i];
    }
    return mark_cold(c, cold, n_cold);
}

/* ---- on its way ---- */

static void fail(struct cooling *c, const char *why) {
    c->has_failed = true;
    c->pause_ms = c->pause_ms ? 2 * c->pause_ms : PAUSE_MS;
    if (c->pause_ms > PAUSE_MAX_MS)
        c->pause_ms = PAUSE_MAX_MS;
    c->paused_until = timestamp_monotonic_ms() + c->pause_ms;
    log_info(c->app->log, "cooling_failed", "Unused sessions stay in Redis for now.",
             LOG_NUMBER("sessions", (int64_t)c->n), LOG_TEXT("err", why));
}

static void note(struct cooling *c, const struct ledger_row *row) {
    for (size_t i = 0; i < c->n; i++) {
        struct taken *item = &c->items[i];
        if (strcmp(item->session.id, row->session_id) == 0 &&
            position_equal(item->session.position, row->position))
            item->is_noted = true;
    }
}

static void on_noted(void *arg, int err, const struct ledger_row *rows, size_t n) {
    struct cooling *c = arg;
    for (size_t i = 0; i < n; i++)
        note(c, &rows[i]);
    CRASH_LINK("engine.cooling.row_marked", CRASH_REDIS);
    if (err != 0 && !c->has_failed)
        fail(c, "the database does not answer");
    if (--c->n_questions == 0)
        c->state = ROUND_NOTED;
}

static size_t rows_of(const struct cooling *c, bool deleted, struct ledger_row *ret) {
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct session *s = &c->items[i].session;
        if (s->deleted != deleted)
            continue;
        ret[n] = (struct ledger_row){.position = s->position, .due_at = session_expires_at(s)};
        memcpy(ret[n++].session_id, s->id, UUID_LEN + 1);
    }
    return n;
}

static void on_barrier(void *arg, bool passed) {
    struct cooling *c = arg;
    struct ledger_row cold[COOLING_MAX], deleted[COOLING_MAX];
    size_t n_cold = rows_of(c, false, cold), n_deleted = rows_of(c, true, deleted);
    if (!passed) {
        fail(c, "the audit trail does not answer");
        c->state = ROUND_NOTED;
        return;
    }
    CRASH_LINK("engine.cooling.barrier_passed", CRASH_DATABASE);
    c->n_questions = (n_cold > 0) + (n_deleted > 0);
    if (n_cold > 0)
        ledger_mark_cold(c->ledger, cold, n_cold, on_noted, c);
    if (n_deleted > 0)
        ledger_find_deleted(c->ledger, deleted, n_deleted, on_noted, c);
}

void cooling_go(struct cooling *c) {
    if (c->state != ROUND_OPEN || c->n == 0)
        return;
    c->state = ROUND_UNDERWAY;
    barrier_ask(c->barrier, 0, on_barrier, c);
}

/* ---- the end ---- */

/* Those noted that are deleted, or not. */
static size_t gather(struct cooling *c, bool deleted, struct store_cool *cools,
                     struct taken **ret_items) {
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct taken *item = &c->items[i];
        if (!item->is_noted || item->session.deleted != deleted)
            continue;
        cools[n] = (struct store_cool){.session = &item->session};
        memcpy(cools[n].mark, item->mark, sizeof(item->mark));
        ret_items[n++] = item;
    }
    return n;
}

/* What went is looked at when it expires; what stayed, when its lease ends, and its mark in
 * PostgreSQL goes: it would be believed if Redis lost the session later. */
static int settle(struct cooling *c, const struct store_cool *cools, struct taken *const *items,
                  size_t n, struct metric *metric) {
    struct store_due due[COOLING_MAX];
    struct ledger_row stayed[COOLING_MAX];
    size_t n_due = 0, n_stayed = 0;
    for (size_t i = 0; i < n; i++) {
        const struct session *s = &items[i]->session;
        if (cools[i].result == STORE_COOL_DONE) {
            due[n_due] =
                (struct store_due){.lease = items[i]->lease, .next = session_expires_at(s)};
            memcpy(due[n_due++].session_id, s->id, UUID_LEN + 1);
        } else {
            stayed[n_stayed] = (struct ledger_row){.position = s->position};
            memcpy(stayed[n_stayed++].session_id, s->id, UUID_LEN + 1);
        }
    }
    metric_add(metric, (double)n_due);
    metric_add(c->n_kept, (double)n_stayed);
    ledger_unmark_cold(c->ledger, stayed, n_stayed);
    return n_due > 0 ? store_batch_rearm(c->store, due, n_due) : 0;
}

static int end_some(struct cooling *c, bool deleted) {
    struct store_cool cools[COOLING_MAX];
    struct taken *items[COOLING_MAX];
    size_t n = gather(c, deleted, cools, items);
    if (n == 0)
        return 0;
    CRASH_LINK("engine.cooling.keys_going", CRASH_REDIS);
    int r =
        deleted ? store_batch_bury(c->store, cools, n) : store_batch_cool_end(c->store, cools, n);
    CRASH_LINK("engine.cooling.keys_gone", CRASH_REDIS);
    return r != 0 ? r : settle(c, cools, items, n, deleted ? c->n_buried : c->n_cooled);
}

int cooling_tick(struct cooling *c) {
    if (c->state != ROUND_NOTED)
        return 0;
    for (size_t i = 0; i < c->n; i++)
        metric_add(c->n_kept, !c->items[i].is_noted);
    int r = end_some(c, false);
    if (r == 0)
        r = end_some(c, true);
    if (!c->has_failed)
        c->pause_ms = 0;
    close_round(c);
    return r;
}

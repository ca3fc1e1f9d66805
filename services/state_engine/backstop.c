/* See backstop.h. What is found is judged by what Redis says, a bounded part a tick: PostgreSQL
 * does not hear of heartbeats, so that most of what it finds is in use. */
#include "services/state_engine/backstop.h"

#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "common/store_recover.h"
#include "services/state_engine/due.h"

#define EVERY_MS 60000
#define EVERY_YOUNG_MS 1000 /* Redis may have forgotten what is due: clocks are waited for */
#define MAX_A_TICK 128

struct backstop {
    struct app *app;
    struct store_batch *store;
    struct ledger *ledger;
    bool is_asking;
    bool is_young;            /* as Redis said last */
    bool goes_on;             /* with the rest of a full answer */
    int64_t asked_at;         /* monotonic, ms */
    int64_t after;            /* where the next question goes on; 0: at the oldest */
    struct ledger_row *found; /* owned */
    size_t n_found, n_judged;
    struct metric *n_overdue;
};

struct backstop *backstop_new(struct app *app, struct store_batch *store, struct ledger *ledger) {
    struct backstop *b = must_alloc(sizeof(*b));
    *b = (struct backstop){.app = app,
                           .store = store,
                           .ledger = ledger,
                           .asked_at = timestamp_monotonic_ms() - EVERY_MS};
    b->n_overdue = metrics_counter(app->metrics, "handoff_overdue_rows_total", NULL,
                                   "Rows of PostgreSQL whose due_at was found passed.");
    return b;
}

struct backstop *backstop_free(struct backstop *b) {
    if (!b)
        return NULL;
    free(b->found);
    free(b);
    return NULL;
}

/* A full answer is not all: the rest is asked for as soon as these are judged. */
static void on_found(void *arg, int err, const struct ledger_row *rows, size_t n) {
    struct backstop *b = arg;
    b->is_asking = false;
    b->after = 0;
    if (err != 0 || n == 0)
        return;
    CRASH_LINK("engine.backstop.found", CRASH_REDIS);
    metric_add(b->n_overdue, (double)n);
    b->found = must_alloc(n * sizeof(*rows));
    memcpy(b->found, rows, n * sizeof(*rows));
    b->n_found = n;
    b->n_judged = 0;
    if (n < LEDGER_MAX_DUE)
        return;
    b->after = rows[n - 1].due_at > rows[0].due_at ? rows[n - 1].due_at : rows[0].due_at + 1;
    b->goes_on = true;
}

/* Redis that was emptied says nothing of it: it has begun to remember. Of a cluster this is one
 * node; one that dies is heard of. */
static int see_whether_young(struct backstop *b) {
    struct store_memory memory = {.user_id = ""};
    int r = store_batch_memories(b->store, &memory, 1);
    b->is_young = r == 0 && memory.err == 0 && memory.is_young;
    return r;
}

static int ask(struct backstop *b) {
    int64_t now = timestamp_monotonic_ms();
    if (b->is_asking || !ledger_is_up(b->ledger))
        return 0;
    int r = see_whether_young(b);
    int64_t at = b->is_young ? b->asked_at + EVERY_YOUNG_MS : b->asked_at + EVERY_MS;
    if (r != 0 || (now < at && !b->goes_on))
        return r;
    b->is_asking = true;
    b->goes_on = false;
    b->asked_at = now;
    ledger_find_due(b->ledger, b->after, on_found, b);
    return 0;
}

/* When the session is to be looked at; a later due_at for the row when Redis knows one. */
static int64_t judge(const struct store_load *load, struct ledger_row *row, int64_t now) {
    if (load->err != 0)
        return now;
    struct due next = due_next(&load->session, true, now, 0);
    bool acts = next.what == DUE_LAPSE || next.what == DUE_CLOCK;
    if (!acts || next.when <= now)
        return now;
    row->due_at = next.when;
    return next.when;
}

static int judge_some(struct backstop *b, struct ledger_row *rows, size_t n, int64_t now) {
    _cleanup_(freep) struct store_load *loads = must_alloc(n * sizeof(*loads));
    struct store_arm arms[MAX_A_TICK];
    size_t n_moved = 0;
    int64_t ignored;
    for (size_t i = 0; i < n; i++)
        memcpy(loads[i].session_id, rows[i].session_id, sizeof(loads[i].session_id));
    int r = store_batch_load(b->store, loads, n, &ignored);
    for (size_t i = 0; r == 0 && i < n; i++) {
        memcpy(arms[i].session_id, rows[i].session_id, sizeof(arms[i].session_id));
        arms[i].at = judge(&loads[i], &rows[i], now);
        if (arms[i].at > now)
            rows[n_moved++] = rows[i];
    }
    for (size_t i = 0; i < n; i++)
        store_load_done(&loads[i]);
    if (r == 0)
        r = store_batch_arm_missing(b->store, arms, n);
    CRASH_LINK("engine.backstop.armed", CRASH_DATABASE);
    if (r == 0)
        ledger_move_due(b->ledger, rows, n_moved);
    return r;
}

int backstop_tick(struct backstop *b, int64_t now) {
    size_t n = b->n_found - b->n_judged;
    if (n > MAX_A_TICK)
        n = MAX_A_TICK;
    int r = n > 0 ? judge_some(b, b->found + b->n_judged, n, now) : 0;
    b->n_judged += n; /* of a lost Redis, too: the next question finds them again */
    if (b->n_judged < b->n_found)
        return r;
    free(b->found);
    b->found = NULL;
    b->n_found = b->n_judged = 0;
    return r != 0 ? r : ask(b);
}

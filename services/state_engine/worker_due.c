/* What nobody asked for: sessions fall due. The engine's own commands: clocks, idle and expiry. No
 * message brought them, so that acknowledging one means nothing, and no reply leaves. */
#include <string.h>

#include "base/timestamp.h"
#include "services/state_engine/worker_private.h"

#define MAX_GIVEN 1024 /* at a time: the commands of others want to be done, too */

/* A clock's goes before what waits, which may be of that session and would wait for it. */
bool worker_give(void *arg, const char *session_id, enum due_what what, int64_t lease_until) {
    struct worker *w = arg;
    struct queue first = {0};
    if (w->is_draining || w->n_given >= MAX_GIVEN)
        return false;
    queue_push(what == DUE_CLOCK ? &first : &w->jobs, worker_due_job(w, session_id, lease_until));
    queue_push_front(&w->jobs, &first);
    return true;
}

struct job *worker_due_job(struct worker *w, const char *session_id, int64_t deadline) {
    struct delivery *d = worker_own_delivery(w);
    struct job *j = must_alloc(sizeof(*j));
    *j = (struct job){.delivery = d, .look_since = JOB_NO_LOOK};
    j->command.kind = COMMAND_DUE;
    j->command.deadline = deadline;
    uuid_v7(timestamp_wall_ms(), j->command.id);
    memcpy(j->command.session_id, session_id, sizeof(j->command.session_id));
    return j;
}

/* Of every other refusal the entry comes up again when its lease ends. */
void worker_due_refused(struct worker *w, const struct command *c, enum fault_code code) {
    if (c->kind == COMMAND_DUE && code == FAULT_NOT_FOUND)
        attention_gone(w->attention, c->session_id, c->deadline);
}

void worker_new_age(struct worker *w) {
    struct app *app = w->app;
    struct attention_owner owner = {worker_give, w};
    w->ledger = ledger_new(recover_db(w->recover));
    w->cooling = cooling_new(app, w->store, w->publisher, w->barrier, w->ledger);
    w->backstop = backstop_new(app, w->store, w->ledger);
    w->attention = attention_new(app, w->store, w->publisher, w->presence, w->cooling, &owner);
}

void worker_free_age(struct worker *w) {
    ledger_free(w->ledger);
    attention_free(w->attention);
    backstop_free(w->backstop);
    cooling_free(w->cooling);
}

int worker_look_at_age(struct worker *w, int64_t now) {
    int r = backstop_tick(w->backstop, now);
    return r != 0 ? r : attention_tick(w->attention, now);
}

/* ---- the looks ---- */

static int64_t next_look(const struct worker *w) {
    if (w->is_draining || !store_batch_is_connected(w->store))
        return 0;
    return attention_next(w->attention);
}

/* A millisecond late: two clocks that count whole ones may differ by one. */
bool worker_is_look_due(const struct worker *w) {
    int64_t at = next_look(w);
    return at != 0 && at < worker_store_time(w);
}

int worker_look(struct worker *w) {
    worker_begin(w);
    int r = attention_run(w->attention, worker_store_time(w));
    worker_end(w);
    return r;
}

void worker_plan_looks(struct worker *w, uv_timer_cb on_time) {
    int64_t at = next_look(w);
    if (at == 0) {
        uv_timer_stop(&w->looks);
        return;
    }
    int64_t wait = at + 1 - worker_store_time(w);
    uv_update_time(w->app->loop);
    uv_timer_start(&w->looks, on_time, wait > 0 ? (uint64_t)wait : 0, 0);
}

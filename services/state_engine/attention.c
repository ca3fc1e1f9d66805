/* The attention set: arming, reading what is due, and when to look; see attention.h. The looks are
 * in attention_look.c, instances in attention_instances.c. Once a second what is due within 2 s is
 * read onto the schedule, of which every item is looked at in its own moment. */
#include "services/state_engine/attention.h"

#include <stdlib.h>
#include <string.h>

#include "services/state_engine/attention_private.h"

#define ARM_MS 2500   /* after a save: the look, if nobody confirmed till then */
#define TRUST_MS 1000 /* an armed moment nearer than this may be looked at already */
#define MAX_PER_SLOT (SCHEDULE_MAX / 64) /* entries of a reading */
#define MAX_GONE 1024

static void add_metrics(struct attention *a) {
    struct app *app = a->app;
    a->n_looks = metrics_counter(app->metrics, "handoff_attention_looks_total", NULL,
                                 "Sessions looked at because they were due.");
    a->n_republished = metrics_counter(app->metrics, "handoff_republished_total", NULL,
                                       "Versions published again above the published mark.");
    a->n_dead_instances = metrics_counter(app->metrics, "handoff_dead_instances_total", NULL,
                                          "Instances of ws_fanout that were found dead.");
    for (enum due_what what = DUE_CLOCK; what < DUE_N; what++) {
        static const char *const labels[DUE_N] = {[DUE_CLOCK] = "what=\"clock\"",
                                                  [DUE_LAPSE] = "what=\"lapse\"",
                                                  [DUE_COOLING] = "what=\"cooling\"",
                                                  [DUE_BURIAL] = "what=\"burial\""};
        a->n_due[what] = metrics_counter(app->metrics, "handoff_sessions_due_total", labels[what],
                                         "Sessions whose moment was found to have come.");
    }
}

struct attention *attention_new(struct app *app, struct store_batch *store,
                                struct publisher *publisher, struct presence *presence,
                                struct cooling *cooling, const struct attention_owner *owner) {
    struct attention *a = must_alloc(sizeof(*a));
    *a = (struct attention){.app = app,
                            .store = store,
                            .publisher = publisher,
                            .presence = presence,
                            .cooling = cooling,
                            .owner = *owner};
    a->cache = must_alloc(ATTENTION_N_CACHED * sizeof(*a->cache));
    a->gone = must_alloc(MAX_GONE * sizeof(*a->gone));
    add_metrics(a);
    return a;
}

struct attention *attention_free(struct attention *a) {
    if (!a)
        return NULL;
    schedule_done(&a->schedule);
    free(a->cache);
    free(a->gone);
    free(a);
    return NULL;
}

void attention_forget(struct attention *a) {
    schedule_clear(&a->schedule);
    memset(a->cache, 0, ATTENTION_N_CACHED * sizeof(*a->cache));
}

static struct armed *cached(const struct attention *a, const char *session_id) {
    return &a->cache[strtoull(session_id + 24, NULL, 16) & (ATTENTION_N_CACHED - 1)];
}

void attention_distrust(struct attention *a, const char *session_id) {
    cached(a, session_id)->at = 0;
}

/* Until it is looked at, which is not before its moment, an entry stays where it is, or is armed
 * for earlier. */
int64_t attention_arm(void *arg, const char *session_id, int64_t now, int64_t need) {
    struct attention *a = arg;
    struct armed *armed = cached(a, session_id);
    if (a->n_losses != store_batch_n_losses(a->store))
        attention_forget(a); /* another node's set, perhaps */
    a->n_losses = store_batch_n_losses(a->store);
    bool is_known = strcmp(armed->session_id, session_id) == 0;
    bool is_armed = is_known && armed->at >= now + TRUST_MS;
    int64_t at = is_armed ? armed->at : now + ARM_MS;
    if (need && need < at)
        at = need;
    else if (is_armed)
        return 0;
    if (at < now + SCHEDULE_AHEAD_MS && (!is_known || armed->at != at))
        (void)schedule_add(&a->schedule, session_id, 0, at);
    memcpy(armed->session_id, session_id, sizeof(armed->session_id));
    armed->at = at;
    return at;
}

/* One that does not fit is given its command again when the lease ends. */
void attention_gone(struct attention *a, const char *session_id, int64_t lease_until) {
    if (a->n_gone == MAX_GONE)
        return;
    struct store_due *due = &a->gone[a->n_gone++];
    *due = (struct store_due){.lease = lease_until};
    memcpy(due->session_id, session_id, sizeof(due->session_id));
}

static int forget_gone(struct attention *a) {
    int r = a->n_gone > 0 ? store_batch_rearm(a->store, a->gone, a->n_gone) : 0;
    if (r == 0)
        a->n_gone = 0;
    return r;
}

/* Sessions go onto the schedule; instances that are due come first in the list. */
static size_t sort_out(struct attention *a, struct store_due *due, size_t n, int64_t now) {
    size_t n_instances = 0;
    schedule_clear(&a->schedule);
    for (size_t i = 0; i < n; i++) {
        if (due[i].session_id[0])
            (void)schedule_add(&a->schedule, due[i].session_id, due[i].set, due[i].at);
        else if (due[i].at <= now)
            due[n_instances++] = due[i];
    }
    return n_instances;
}

/* What was armed here is in the set, so that the reading has it, too. */
static int read_set(struct attention *a, int64_t now) {
    _cleanup_(freep) struct store_due *due = NULL;
    size_t n = 0;
    int r = store_batch_due(a->store, now + SCHEDULE_AHEAD_MS, MAX_PER_SLOT, &due, &n);
    if (r != 0)
        return r;
    size_t n_instances = sort_out(a, due, n, now);
    return n_instances > 0 ? attention_look_at_instances(a, due, n_instances, now) : 0;
}

int attention_tick(struct attention *a, int64_t now) {
    if (!publisher_is_ready(a->publisher))
        return 0;
    int r = cooling_tick(a->cooling);
    cooling_go(a->cooling);
    if (r == 0)
        r = forget_gone(a);
    return r == 0 ? read_set(a, now) : r;
}

int64_t attention_next(const struct attention *a) {
    return publisher_has_room(a->publisher) ? schedule_wake(&a->schedule, a->looked_at) : 0;
}

int attention_run(struct attention *a, int64_t now) {
    struct schedule_item items[ATTENTION_MAX_TOGETHER];
    struct store_due due[ATTENTION_MAX_TOGETHER];
    if (!publisher_has_room(a->publisher))
        return 0;
    size_t n = schedule_take(&a->schedule, now, items, ATTENTION_MAX_TOGETHER);
    a->looked_at = now;
    for (size_t i = 0; i < n; i++) {
        due[i] = (struct store_due){.set = items[i].set, .at = items[i].at};
        memcpy(due[i].session_id, items[i].session_id, sizeof(due[i].session_id));
    }
    return n > 0 ? attention_look(a, due, n, now) : 0;
}

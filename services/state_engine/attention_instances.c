/* The attention set's other members: instances of ws_fanout, and the sessions of one that died. */
#include <string.h>

#include "base/timestamp.h"
#include "services/state_engine/attention_private.h"

/* Its sessions are looked at in the next tick. *ret_done: all of them are armed. */
static int arm_orphans(struct attention *a, const char *instance, int64_t now, bool *ret_done) {
    int64_t until = timestamp_monotonic_ms() + ATTENTION_ORPHANS_MS;
    size_t n = 1;
    int r = 0;
    while (r == 0 && n > 0 && timestamp_monotonic_ms() < until)
        r = store_batch_arm_orphans(a->store, instance, now, &n);
    *ret_done = r == 0 && n == 0;
    return r != 0 && store_batch_is_connected(a->store) ? 0 : r;
}

static int judge_instance(struct attention *a, const struct store_instance *life,
                          struct store_due *due, int64_t now) {
    bool is_done = false;
    if (life->left_ms > 0) {
        bool is_short = life->left_ms < PRESENCE_INSTANCE_RENEW_MS;
        due->next = now + (is_short ? life->left_ms + 1 : PRESENCE_INSTANCE_RENEW_MS);
        return 0;
    }
    int r = arm_orphans(a, life->instance, now, &is_done);
    due->next = is_done ? 0 : now;
    if (r != 0 || !is_done)
        return r;
    metric_add(a->n_dead_instances, 1);
    log_info(a->app->log, "instance_dead", "An instance of ws_fanout is no more.",
             LOG_TEXT("instance", life->instance),
             LOG_TEXT("hint", "it was stopped, or cannot reach Redis"));
    return 0;
}

int attention_look_at_instances(struct attention *a, struct store_due *due, size_t n, int64_t now) {
    _cleanup_(freep) struct store_instance *lives = must_alloc(n * sizeof(*lives));
    int r = store_batch_claim_due(a->store, due, n, now + ATTENTION_LEASE_MS);
    n = r == 0 ? attention_keep_claimed(due, n) : 0;
    if (n == 0)
        return r;
    for (size_t i = 0; i < n; i++)
        memcpy(lives[i].instance, due[i].instance, sizeof(lives[i].instance));
    r = store_batch_instances(a->store, lives, n);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = judge_instance(a, &lives[i], &due[i], now);
    return r != 0 ? r : store_batch_rearm(a->store, due, n);
}

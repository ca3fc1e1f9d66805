/* The instance's life in Redis, and the engine's being told that somebody came. See presence.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/crash_point.h"
#include "services/ws_fanout/presence_private.h"

#define NUDGE_MS 50

/* ---- the instance's life ---- */

/* A name of its own for each life: what an engine reaps of the last one is never what this one has
 * just written. Only characters that a list and a pattern of Redis take as they are. */
void presence_begin_life(struct presence *p) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    uint64_t random;
    memcpy(p->last_instance, p->instance, sizeof(p->last_instance));
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        abort(); /* so few bytes are always there at once */
    int len = snprintf(p->instance, sizeof(p->instance), "%.100s", p->app->config->instance);
    for (char *c = p->instance; *c; c++)
        if (!strchr(allowed, *c))
            *c = '-';
    snprintf(p->instance + len, sizeof(p->instance) - (size_t)len, ":%016llx",
             (unsigned long long)random);
    p->life++;
    p->was_renewed = p->is_doubtful = false;
    metric_add(p->lives_metric, 1);
}

/* Who departs still does so under the last name, which is sooner than by its being reaped. */
static void begin_again(struct presence *p, struct presence_device *d) {
    d->is_parked = false;
    if (d->n > 0)
        d->noted = PRESENCE_NOT_NOTED;
    presence_pump(p, d);
}

/* What was sent on a connection that is gone may still be done, after what is sent on the next one;
 * a node that was started again, or is another, may lack the last of what it was told. */
bool presence_life_is_doubtful(const struct presence *p) {
    return p->was_renewed && (p->is_doubtful || p->n_renewals != store_n_renewals(p->store));
}

void presence_end_life(struct presence *p) {
    presence_begin_life(p);
    presence_renew(p);
    presence_table_each(&p->table, begin_again, p);
}

static void on_renewed(void *arg, int err, bool lives) {
    struct presence *p = arg;
    p->is_renewing = false;
    if (p->is_stopped)
        return;
    if (CRASH_POINT_CUT("fanout.instance.renewed", CRASH_REDIS))
        err = -ENOTCONN;
    if (err) {
        if (!p->was_renewed)
            presence_refuse_queued(p);
        return;
    }
    if (!lives) {
        log_warn(
            p->app->log, "instance_forgotten", "Redis took this instance for dead.",
            LOG_TEXT("instance", p->instance),
            LOG_TEXT("hint", "it stood still for 15 s, could not reach Redis, or Redis lost data"));
        presence_end_life(p);
        return;
    }
    p->was_renewed = true;
    p->renewed_at = presence_now(p);
    presence_go_on(p);
}

void presence_renew(struct presence *p) {
    if (p->is_renewing || p->is_stopped || !store_is_up(p->store))
        return;
    p->is_renewing = true;
    if (!p->was_renewed)
        p->n_renewals = store_n_renewals(p->store);
    CRASH_LINK("fanout.instance.renewing", CRASH_REDIS);
    store_renew_instance(p->store, p->instance, !p->was_renewed, on_renewed, p);
}

/* ---- nudging the engine ---- */

static int by_session(const void *a, const void *b) {
    return memcmp(((const struct presence_nudge *)a)->session_id,
                  ((const struct presence_nudge *)b)->session_id, UUID_LEN);
}

/* What becomes of it does not matter: the session is armed. */
static void on_nudged(void *arg, struct reply *reply) {
    (void)arg, (void)reply;
}

static void send_nudge(struct presence *p, const struct presence_nudge *n) {
    struct command command = {.kind = COMMAND_PRESENCE, .rights = COMMAND_READ};
    memcpy(command.session_id, n->session_id, sizeof(command.session_id));
    memcpy(command.user_id, n->user_id, sizeof(command.user_id));
    CRASH_LINK("fanout.nudge.sending", CRASH_BROKER);
    commander_send(p->commander, &command, on_nudged, NULL);
}

/* Half of what may be in flight is the clients' own; a session that is not nudged is armed. */
static bool may_nudge(const struct presence *p) {
    size_t most = (size_t)p->app->config->max_commands_in_flight;
    return !p->is_stopped && 2 * commander_n_in_flight(p->commander) < most;
}

static void on_nudging(uv_timer_t *timer) {
    struct presence *p = timer->data;
    if (p->n_nudges > 1)
        qsort(p->nudges, p->n_nudges, sizeof(*p->nudges), by_session);
    for (size_t i = 0; i < p->n_nudges && may_nudge(p); i++)
        if (i == 0 || by_session(&p->nudges[i - 1], &p->nudges[i]) != 0)
            send_nudge(p, &p->nudges[i]);
    p->n_nudges = 0;
    p->nudged_at = presence_now(p);
}

void presence_nudge(struct presence *p, const struct presence_device *d) {
    if (p->is_stopped)
        return;
    if (p->n_nudges == p->cap_nudges) {
        p->cap_nudges = p->cap_nudges ? 2 * p->cap_nudges : 16;
        p->nudges = must_realloc(p->nudges, p->cap_nudges * sizeof(*p->nudges));
    }
    struct presence_nudge *n = &p->nudges[p->n_nudges++];
    memcpy(n->session_id, d->session_id, sizeof(n->session_id));
    memcpy(n->user_id, d->asker, sizeof(n->user_id));
    int64_t wait = p->nudged_at + NUDGE_MS - presence_now(p);
    if (p->n_nudges == 1)
        uv_timer_start(&p->nudging, on_nudging, wait > 0 ? (uint64_t)wait : 0, 0);
}

/* Which devices are in which sessions by way of this instance; see presence.h. Each device is
 * level-triggered: it has subscriptions or none, Redis knows of it or not (or perhaps), and what is
 * missing between the two is one operation, of which one is under way at a time. So whatever
 * happens meanwhile, departing while arriving, a lost answer, a Redis that was emptied, ends in the
 * same place. */
#include "services/ws_fanout/presence.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/store_presence.h"
#include "services/ws_fanout/connection.h"
#include "services/ws_fanout/hub.h"
#include "services/ws_fanout/presence_table.h"
#include "services/ws_fanout/room.h"

#define MAX_UNDER_WAY 512 /* operations: Redis' answers to others wait behind them */
#define NUDGE_MS 50
#define PARKED_MS 1000 /* what failed is tried again */

struct nudge {
    char session_id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
};

struct presence {
    const struct app *app;
    struct store *store;
    struct commander *commander;
    struct presence_table table;
    struct presence_device *first_queued, *last_queued; /* wait for their operation */
    struct subscription *admitted, **admitted_end;      /* to be told in the loop's next turn */
    size_t n_under_way;
    size_t n_departing; /* devices of the table without a subscription */
    bool has_parked;
    bool is_stopped;

    char instance[STORE_INSTANCE_MAX + 1];
    uint32_t life; /* each has another name for the instance */
    bool is_renewing;
    bool was_renewed;                /* in this life: engines see it */
    int64_t renewed_at, unparked_at; /* loop time, ms */

    struct nudge *nudges; /* owned */
    size_t n_nudges, cap_nudges;
    int64_t nudged_at;
    uv_timer_t nudging;
    uv_timer_t soon; /* tells those that are `admitted` */
    unsigned n_handles;

    struct metric *devices_metric, *departing_metric, *refused_metric, *lives_metric;
};

static void pump(struct presence *p, struct presence_device *d);

static int64_t loop_now(const struct presence *p) {
    return (int64_t)uv_now(p->app->loop);
}

static void tell_sizes(const struct presence *p) {
    metric_set(p->devices_metric, (double)p->table.n);
    metric_set(p->departing_metric, (double)p->n_departing);
}

/* ---- lists of subscriptions ---- */

static void wait_in(struct subscription **link, struct subscription *s) {
    s->is_waiting = true;
    s->next_waiting = *link;
    s->waiting_link = link;
    if (s->next_waiting)
        s->next_waiting->waiting_link = &s->next_waiting;
    *link = s;
}

static void end_waiting(struct presence *p, struct subscription *s) {
    if (!s->is_waiting)
        return;
    if (p->admitted_end == &s->next_waiting)
        p->admitted_end = s->waiting_link;
    *s->waiting_link = s->next_waiting;
    if (s->next_waiting)
        s->next_waiting->waiting_link = s->waiting_link;
    s->next_waiting = NULL;
    s->is_waiting = false;
}

static void join_device(struct presence *p, struct presence_device *d, struct subscription *s) {
    s->presence = d;
    s->next_of_device = d->first;
    s->of_device_link = &d->first;
    if (d->first)
        d->first->of_device_link = &s->next_of_device;
    d->first = s;
    if (d->n++ == 0)
        p->n_departing--;
}

static void part_from_device(struct presence *p, struct subscription *s) {
    struct presence_device *d = s->presence;
    s->presence = NULL;
    *s->of_device_link = s->next_of_device;
    if (s->next_of_device)
        s->next_of_device->of_device_link = s->of_device_link;
    if (--d->n == 0)
        p->n_departing++;
    tell_sizes(p);
}

/* ---- admitting without a question ---- */

static void on_soon(uv_timer_t *timer) {
    struct presence *p = timer->data;
    while (p->admitted && !p->is_stopped) {
        struct subscription *s = p->admitted;
        end_waiting(p, s);
        hub_admit(s, PRESENCE_ADMITTED, NULL);
    }
}

static void admit_soon(struct presence *p, struct subscription *s) {
    wait_in(p->admitted_end, s);
    p->admitted_end = &s->next_waiting;
    if (!p->is_stopped)
        uv_timer_start(&p->soon, on_soon, 0, 0);
}

/* ---- nudging the engine ---- */

static int by_session(const void *a, const void *b) {
    return memcmp(((const struct nudge *)a)->session_id, ((const struct nudge *)b)->session_id,
                  UUID_LEN);
}

/* What becomes of it does not matter: the session is armed. */
static void on_nudged(void *arg, struct reply *reply) {
    (void)arg, (void)reply;
}

static void send_nudge(struct presence *p, const struct nudge *n) {
    struct command command = {.kind = COMMAND_PRESENCE, .rights = COMMAND_READ};
    memcpy(command.session_id, n->session_id, sizeof(command.session_id));
    memcpy(command.user_id, n->user_id, sizeof(command.user_id));
    commander_send(p->commander, &command, on_nudged, NULL);
}

static void on_nudging(uv_timer_t *timer) {
    struct presence *p = timer->data;
    if (p->n_nudges > 1)
        qsort(p->nudges, p->n_nudges, sizeof(*p->nudges), by_session);
    for (size_t i = 0; i < p->n_nudges && !p->is_stopped; i++)
        if (i == 0 || by_session(&p->nudges[i - 1], &p->nudges[i]) != 0)
            send_nudge(p, &p->nudges[i]);
    p->n_nudges = 0;
    p->nudged_at = loop_now(p);
}

static void nudge(struct presence *p, const struct presence_device *d) {
    if (p->is_stopped)
        return;
    if (p->n_nudges == p->cap_nudges) {
        p->cap_nudges = p->cap_nudges ? 2 * p->cap_nudges : 16;
        p->nudges = must_realloc(p->nudges, p->cap_nudges * sizeof(*p->nudges));
    }
    struct nudge *n = &p->nudges[p->n_nudges++];
    memcpy(n->session_id, d->session_id, sizeof(n->session_id));
    memcpy(n->user_id, d->asker, sizeof(n->user_id));
    int64_t wait = p->nudged_at + NUDGE_MS - loop_now(p);
    if (p->n_nudges == 1)
        uv_timer_start(&p->nudging, on_nudging, wait > 0 ? (uint64_t)wait : 0, 0);
}

/* ---- refusing ---- */

static void explain(enum store_admission admission, struct fault *f) {
    switch (admission) {
    case STORE_DEVICE_REMOVED:
        fault_set(f, FAULT_DEVICE_REMOVED, NULL, "the session's owner keeps this device out");
        break;
    case STORE_TOO_MANY_DEVICES:
        fault_set(f, FAULT_TOO_MANY_DEVICES, NULL, "%d devices of this user are in the session",
                  PRESENCE_MAX_DEVICES_PER_USER);
        break;
    case STORE_TOO_MANY_WATCHERS:
        fault_set(f, FAULT_TOO_MANY_DEVICES, NULL, "%d devices are in the session",
                  PRESENCE_MAX_WATCHERS);
        break;
    default:
        fault_set(f, FAULT_NOT_FOUND, NULL, "there is no such session for this user");
        break;
    }
}

static bool is_admin(const struct subscription *s) {
    return s->connection->principal.rights & COMMAND_ADMIN;
}

/* Whether the answer is for this one, too: roles and counts are the user's, the rest is the
 * device's. */
static bool concerns(const struct presence_device *d, const struct subscription *s,
                     enum store_admission admission) {
    bool is_users = admission == STORE_NO_ROLE || admission == STORE_TOO_MANY_DEVICES;
    return !is_users || (strcmp(s->connection->principal.user_id, d->asker) == 0 &&
                         is_admin(s) == d->asked_as_admin);
}

static struct subscription *next_concerned(const struct presence_device *d,
                                           enum store_admission admission) {
    struct subscription *s = d->waiting;
    while (s && !concerns(d, s, admission))
        s = s->next_waiting;
    return s;
}

/* Those that wait and are concerned leave the device and are told why. Each telling may change the
 * list. */
static void turn_away(struct presence *p, struct presence_device *d, enum store_admission admission,
                      enum presence_answer answer, const struct fault *f) {
    for (struct subscription *s; (s = next_concerned(d, admission));) {
        end_waiting(p, s);
        part_from_device(p, s);
        hub_admit(s, answer, f);
    }
}

static void admit_waiting(struct presence *p, struct presence_device *d) {
    while (d->waiting) {
        struct subscription *s = d->waiting;
        end_waiting(p, s);
        hub_admit(s, PRESENCE_ADMITTED, NULL);
    }
}

/* ---- operations ---- */

static void queue(struct presence *p, struct presence_device *d) {
    if (d->is_queued)
        return;
    d->is_queued = true;
    d->next_queued = NULL;
    *(p->first_queued ? &p->last_queued->next_queued : &p->first_queued) = d;
    p->last_queued = d;
}

/* Nobody arrives under a name of which engines do not see yet that it lives. While the store is
 * away questions are answered at once, and so. */
static bool may_begin(const struct presence *p) {
    return !p->is_stopped && p->n_under_way < MAX_UNDER_WAY &&
           (p->was_renewed || !store_is_up(p->store));
}

static void park(struct presence *p, struct presence_device *d) {
    d->is_parked = true;
    p->has_parked = true;
}

static void go_on(struct presence *p) {
    while (p->first_queued && may_begin(p)) {
        struct presence_device *d = p->first_queued;
        p->first_queued = d->next_queued;
        d->is_queued = false;
        pump(p, d);
    }
}

static void end_operation(struct presence *p, struct presence_device *d) {
    p->n_under_way--;
    d->is_busy = false;
    pump(p, d);
    go_on(p);
}

/* Redis may know of it, or not. Those who wait are told; who is in already stays so. */
static void arrival_failed(struct presence *p, struct presence_device *d, int err) {
    struct fault f;
    fault_set(&f, FAULT_UNAVAILABLE, NULL, "the store does not answer");
    log_debug(p->app->log, "arrival_failed", "A device's arrival was not noted.",
              LOG_TEXT("sessionId", d->session_id), LOG_TEXT("err", strerror(-err)));
    d->noted = PRESENCE_PERHAPS_NOTED;
    park(p, d);
    turn_away(p, d, STORE_SESSION_ABSENT, PRESENCE_REFUSED, &f);
}

static void arrival_refused(struct presence *p, struct presence_device *d,
                            enum store_admission admission) {
    struct fault f;
    d->noted = PRESENCE_NOT_NOTED;
    metric_add(p->refused_metric, admission != STORE_SESSION_ABSENT);
    explain(admission, &f);
    turn_away(p, d, admission,
              admission == STORE_SESSION_ABSENT ? PRESENCE_ABSENT : PRESENCE_REFUSED,
              admission == STORE_SESSION_ABSENT ? NULL : &f);
    if (!d->waiting)
        park(p, d); /* those who are in are the hub's to lose */
}

static void on_arrived(void *arg, int err, enum store_admission admission) {
    struct presence_device *d = arg;
    struct presence *p = d->owner;
    if (p->is_stopped)
        return;
    if (err)
        arrival_failed(p, d, err);
    else if (admission > STORE_ADMITTED_FIRST)
        arrival_refused(p, d, admission);
    else
        d->noted = d->life == p->life ? PRESENCE_NOTED : PRESENCE_NOT_NOTED;
    if (!err && admission == STORE_ADMITTED_FIRST)
        nudge(p, d);
    end_operation(p, d);
}

static const char *or_empty(const char *text) {
    return text ? text : "";
}

static void arrive(struct presence *p, struct presence_device *d) {
    const struct subscription *s = d->waiting ? d->waiting : d->first;
    const struct connection *c = s->connection;
    struct store_arrival a = {.session_id = d->session_id,
                              .user_id = c->principal.user_id,
                              .device_id = d->device_id,
                              .is_admin = is_admin(s),
                              .instance = p->instance,
                              .name = or_empty(c->device_name),
                              .platform = or_empty(c->device_platform)};
    memcpy(d->asker, a.user_id, sizeof(d->asker));
    d->asked_as_admin = a.is_admin;
    d->life = p->life;
    store_arrive(p->store, &a, on_arrived, d);
}

static void on_departed(void *arg, int err) {
    struct presence_device *d = arg;
    struct presence *p = d->owner;
    if (p->is_stopped)
        return;
    if (err)
        park(p, d);
    else
        d->noted = PRESENCE_NOT_NOTED;
    end_operation(p, d);
}

static void forget(struct presence *p, struct presence_device *d) {
    p->n_departing--;
    presence_table_remove(&p->table, d);
    tell_sizes(p);
}

/* Of an earlier life nothing has to be taken back: it is reaped. */
static bool is_in_vain(const struct presence *p, const struct presence_device *d) {
    return d->noted == PRESENCE_NOT_NOTED || d->life != p->life;
}

/* Does what is missing; may free d. */
static void pump(struct presence *p, struct presence_device *d) {
    if (d->is_busy || d->is_queued || p->is_stopped)
        return;
    if (d->n == 0 && is_in_vain(p, d)) {
        forget(p, d);
        return;
    }
    if (d->n > 0 && d->noted == PRESENCE_NOTED) {
        d->is_busy = true; /* what those who are told do must not free it */
        admit_waiting(p, d);
        d->is_busy = false;
        if (d->n == 0)
            pump(p, d);
        return;
    }
    if (d->is_parked)
        return;
    if (!may_begin(p)) {
        queue(p, d);
        return;
    }
    d->is_busy = true;
    p->n_under_way++;
    if (d->n > 0)
        arrive(p, d);
    else
        store_depart(p->store, d->session_id, d->device_id, p->instance, on_departed, d);
}

/* ---- entering and leaving ---- */

static struct presence_device *device_of(struct presence *p, const struct subscription *s) {
    const char *session_id = s->room->session_id, *device_id = s->connection->device_id;
    struct presence_device *d = presence_table_find(&p->table, session_id, device_id);
    if (d)
        return d;
    d = presence_table_add(&p->table, session_id, device_id);
    d->owner = p;
    p->n_departing++;
    return d;
}

void presence_enter(struct presence *p, struct subscription *s) {
    if (!s->connection->device_id[0]) {
        admit_soon(p, s);
        return;
    }
    struct presence_device *d = device_of(p, s);
    join_device(p, d, s);
    tell_sizes(p);
    if (d->noted == PRESENCE_NOTED && d->life == p->life && !d->is_busy) {
        admit_soon(p, s);
        return;
    }
    wait_in(&d->waiting, s);
    d->is_parked = false;
    pump(p, d);
}

void presence_leave(struct presence *p, struct subscription *s) {
    struct presence_device *d = s->presence;
    end_waiting(p, s);
    if (!d)
        return;
    part_from_device(p, s);
    if (d->n == 0)
        d->is_parked = false;
    pump(p, d);
}

size_t presence_n_departing(const struct presence *p) {
    return store_is_up(p->store) ? p->n_departing : 0;
}

/* ---- the instance's life ---- */

/* A name of its own for each life: what an engine reaps of the last one is never what this one has
 * just written. Only characters that a list and a pattern of Redis take as they are. */
static void begin_life(struct presence *p) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    uint64_t random;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        abort(); /* so few bytes are always there at once */
    int len = snprintf(p->instance, sizeof(p->instance), "%.100s", p->app->config->instance);
    for (char *c = p->instance; *c; c++)
        if (!strchr(allowed, *c))
            *c = '-';
    snprintf(p->instance + len, sizeof(p->instance) - (size_t)len, ":%016llx",
             (unsigned long long)random);
    p->life++;
    p->was_renewed = false;
    metric_add(p->lives_metric, 1);
}

static void renew(struct presence *p);

static void begin_again(struct presence *p, struct presence_device *d) {
    d->is_parked = false;
    d->noted = PRESENCE_NOT_NOTED;
    pump(p, d);
}

/* Everything that is held arrives again, so many at a time. */
static void end_life(struct presence *p) {
    log_warn(
        p->app->log, "instance_forgotten", "Redis took this instance for dead.",
        LOG_TEXT("instance", p->instance),
        LOG_TEXT("hint", "it stood still for 15 s, could not reach Redis, or Redis lost data"));
    begin_life(p);
    renew(p);
    presence_table_each(&p->table, begin_again, p);
}

static void on_renewed(void *arg, int err, bool was_there) {
    struct presence *p = arg;
    p->is_renewing = false;
    if (err || p->is_stopped)
        return;
    if (!was_there && p->was_renewed) {
        end_life(p);
        return;
    }
    p->was_renewed = true;
    p->renewed_at = loop_now(p);
    go_on(p);
}

static void renew(struct presence *p) {
    if (p->is_renewing || p->is_stopped || !store_is_up(p->store))
        return;
    p->is_renewing = true;
    store_renew_instance(p->store, p->instance, on_renewed, p);
}

/* ---- time ---- */

static void unpark(struct presence *p, struct presence_device *d) {
    if (!d->is_parked)
        return;
    d->is_parked = false;
    pump(p, d);
}

static void unpark_all(struct presence *p) {
    p->has_parked = false;
    p->unparked_at = loop_now(p);
    presence_table_each(&p->table, unpark, p);
}

void presence_tick(struct presence *p) {
    int64_t now = loop_now(p);
    if (!p->was_renewed || now - p->renewed_at >= PRESENCE_INSTANCE_RENEW_MS)
        renew(p);
    if (p->has_parked && now - p->unparked_at >= PARKED_MS && store_is_up(p->store))
        unpark_all(p);
    go_on(p); /* the store may have gone since something was queued */
}

void presence_store_up(struct presence *p) {
    renew(p);
    unpark_all(p);
}

/* ---- life ---- */

static void make_metrics(struct presence *p, struct metrics *m) {
    p->devices_metric = metrics_gauge(m, "handoff_ws_devices", NULL,
                                      "Devices in sessions by way of this instance.");
    p->departing_metric = metrics_gauge(m, "handoff_ws_devices_departing", NULL,
                                        "Devices that left and are not noted as gone in Redis.");
    p->refused_metric =
        metrics_counter(m, "handoff_ws_devices_refused_total", NULL,
                        "Arrivals of devices refused (no role, kept out, too many).");
    p->lives_metric = metrics_counter(m, "handoff_ws_instance_lives_total", NULL,
                                      "Names under which this instance was in Redis.");
}

struct presence *presence_new(const struct presence_options *options) {
    struct presence *p = must_alloc(sizeof(*p));
    p->app = options->app;
    p->store = options->store;
    p->commander = options->commander;
    p->admitted_end = &p->admitted;
    presence_table_init(&p->table);
    make_metrics(p, p->app->metrics);
    uv_timer_init(p->app->loop, &p->nudging);
    uv_timer_init(p->app->loop, &p->soon);
    p->nudging.data = p->soon.data = p;
    p->n_handles = 2;
    begin_life(p);
    return p;
}

void presence_stop(struct presence *p) {
    p->is_stopped = true;
    uv_timer_stop(&p->nudging);
    uv_timer_stop(&p->soon);
}

static void on_closed(uv_handle_t *timer) {
    struct presence *p = timer->data;
    if (--p->n_handles == 0)
        free(p);
}

struct presence *presence_free(struct presence *p) {
    if (!p)
        return NULL;
    p->is_stopped = true;
    presence_table_done(&p->table);
    free(p->nudges);
    uv_close((uv_handle_t *)&p->nudging, on_closed);
    uv_close((uv_handle_t *)&p->soon, on_closed);
    return NULL;
}

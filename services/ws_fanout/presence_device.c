/* One device's operations: arriving, departing, and who is told what of it. See presence.h. */
#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "services/ws_fanout/presence_private.h"

#define MAX_UNDER_WAY 512 /* operations: Redis' answers to others wait behind them */

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
        presence_end_waiting(p, s);
        presence_part(p, s);
        hub_admit(s, answer, f);
    }
}

static void admit_waiting(struct presence *p, struct presence_device *d) {
    while (d->waiting) {
        struct subscription *s = d->waiting;
        presence_end_waiting(p, s);
        hub_admit(s, PRESENCE_ADMITTED, NULL);
    }
}

/* ---- operations ---- */

/* Those for whom nobody waits (they arrive again, or depart) come last. */
static void queue(struct presence *p, struct presence_device *d) {
    if (d->is_queued)
        return;
    d->is_queued = true;
    d->next_queued = d->waiting ? p->first_queued : NULL;
    if (!p->first_queued || !d->waiting) {
        *(p->first_queued ? &p->last_queued->next_queued : &p->first_queued) = d;
        p->last_queued = d;
    } else
        p->first_queued = d;
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

void presence_go_on(struct presence *p) {
    while (p->first_queued && may_begin(p)) {
        struct presence_device *d = p->first_queued;
        p->first_queued = d->next_queued;
        d->is_queued = false;
        presence_pump(p, d);
    }
}

static void end_operation(struct presence *p, struct presence_device *d) {
    p->n_under_way--;
    d->is_busy = false;
    presence_pump(p, d);
    presence_go_on(p);
}

/* Redis may know of it, or not. Those who wait are told; who is in already stays so. */
static void arrival_failed(struct presence *p, struct presence_device *d, int err) {
    struct fault f;
    fault_set(&f, FAULT_UNAVAILABLE, NULL, "the store does not answer");
    log_debug(p->app->log, "arrival_failed", "A device's arrival was not noted.",
              LOG_TEXT("sessionId", d->session_id), LOG_TEXT("deviceId", d->device_id),
              LOG_KNOWN("connectionId", d->waiting ? d->waiting->connection->id : ""),
              LOG_TEXT("err", strerror(-err)));
    d->noted = PRESENCE_PERHAPS_NOTED;
    p->is_doubtful = true;
    park(p, d);
    turn_away(p, d, STORE_SESSION_ABSENT, PRESENCE_REFUSED, &f);
}

/* A device that nobody is left of goes, or waits for its departure. */
static void refuse_waiting(struct presence *p, struct presence_device *d) {
    struct fault f;
    fault_set(&f, FAULT_UNAVAILABLE, NULL, "the store takes no writes now");
    d->is_busy = true; /* what those who are told do must not free it */
    turn_away(p, d, STORE_SESSION_ABSENT, PRESENCE_REFUSED, &f);
    d->is_busy = false;
    presence_pump(p, d);
}

void presence_refuse_queued(struct presence *p) {
    struct presence_device *d = TAKE_PTR(p->first_queued);
    for (struct presence_device *next; d; d = next) {
        next = d->next_queued;
        d->is_queued = false;
        refuse_waiting(p, d);
    }
}

static void arrival_refused(struct presence *p, struct presence_device *d,
                            enum store_admission admission) {
    struct fault f;
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
    if (CRASH_POINT_CUT("fanout.arrival.answered", CRASH_REDIS))
        err = -ENOTCONN;
    if (err)
        arrival_failed(p, d, err);
    else if (admission > STORE_ADMITTED_FIRST)
        arrival_refused(p, d, admission);
    else
        d->noted = d->life == p->life ? PRESENCE_NOTED : PRESENCE_NOT_NOTED;
    if (!err && admission == STORE_ADMITTED_FIRST)
        presence_nudge(p, d);
    end_operation(p, d);
}

static const char *name_of(const struct presence_device *d) {
    const struct subscription *s = d->first;
    while (s && !s->connection->device_name)
        s = s->next_of_device;
    return s ? s->connection->device_name : "";
}

static const char *platform_of(const struct presence_device *d) {
    const struct subscription *s = d->first;
    while (s && !s->connection->device_platform)
        s = s->next_of_device;
    return s ? s->connection->device_platform : "";
}

/* Also when it is in already and has another name: then nothing else changes. */
static void arrive(struct presence *p, struct presence_device *d) {
    const struct subscription *s = d->waiting ? d->waiting : d->first;
    const struct connection *c = s->connection;
    struct store_arrival a = {.session_id = d->session_id,
                              .user_id = c->principal.user_id,
                              .device_id = d->device_id,
                              .is_admin = is_admin(s),
                              .instance = p->instance,
                              .name = name_of(d),
                              .platform = platform_of(d)};
    memcpy(d->asker, a.user_id, sizeof(d->asker));
    d->asked_as_admin = a.is_admin;
    if (d->noted == PRESENCE_NOTED && d->life == p->life)
        d->noted = PRESENCE_PERHAPS_NOTED; /* a refusal leaves it noted */
    d->life = p->life;
    d->is_renamed = false;
    CRASH_LINK("fanout.arrival.asking", CRASH_REDIS);
    store_arrive(p->store, &a, on_arrived, d);
}

static void on_departed(void *arg, int err) {
    struct presence_device *d = arg;
    struct presence *p = d->owner;
    if (p->is_stopped)
        return;
    if (CRASH_POINT_CUT("fanout.departure.answered", CRASH_REDIS))
        err = -ENOTCONN;
    p->is_doubtful |= err != 0;
    if (err)
        park(p, d);
    else
        d->noted = PRESENCE_NOT_NOTED;
    end_operation(p, d);
}

static void forget(struct presence *p, struct presence_device *d) {
    p->n_departing--;
    presence_table_remove(&p->table, d);
    presence_tell_sizes(p);
}

/* Of a life before the last one nothing has to be taken back: it is reaped. */
static bool is_in_vain(const struct presence *p, const struct presence_device *d) {
    return d->noted == PRESENCE_NOT_NOTED || p->life - d->life > 1;
}

static bool is_known(const struct presence *p, const struct presence_device *d) {
    return d->noted == PRESENCE_NOTED && d->life == p->life && !d->is_renamed;
}

static void depart(struct presence *p, struct presence_device *d) {
    CRASH_LINK("fanout.departure.asking", CRASH_REDIS);
    store_depart(p->store, d->session_id, d->device_id,
                 d->life == p->life ? p->instance : p->last_instance, on_departed, d);
}

/* Does what is missing; may free d. */
void presence_pump(struct presence *p, struct presence_device *d) {
    if (d->is_busy || d->is_queued || p->is_stopped)
        return;
    if (d->n == 0 && is_in_vain(p, d)) {
        forget(p, d);
        return;
    }
    if (d->n > 0 && is_known(p, d)) {
        d->is_busy = true; /* what those who are told do must not free it */
        admit_waiting(p, d);
        d->is_busy = false;
        if (d->n == 0)
            presence_pump(p, d);
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
        depart(p, d);
}

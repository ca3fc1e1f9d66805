/* Which devices are in which sessions by way of this instance; see presence.h. Each device is
 * level-triggered: it has subscriptions or none, Redis knows of it or not (or perhaps), and what is
 * missing between the two is one operation, of which one is under way at a time. So whatever
 * happens meanwhile, departing while arriving, a lost answer, a Redis that was emptied, ends in the
 * same place. */
#include "services/ws_fanout/presence.h"

#include "services/ws_fanout/presence_private.h"

#define PARKED_MS 5000 /* what failed is tried again */

int64_t presence_now(const struct presence *p) {
    return (int64_t)uv_now(p->app->loop);
}

void presence_tell_sizes(const struct presence *p) {
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

void presence_end_waiting(struct presence *p, struct subscription *s) {
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

static void link_first(struct presence_device *d, struct subscription *s) {
    s->next_of_device = d->first;
    s->of_device_link = &d->first;
    if (d->first)
        d->first->of_device_link = &s->next_of_device;
    d->first = s;
}

static void unlink_device(struct subscription *s) {
    *s->of_device_link = s->next_of_device;
    if (s->next_of_device)
        s->next_of_device->of_device_link = s->of_device_link;
}

static void put_first(struct presence_device *d, struct subscription *s) {
    unlink_device(s);
    link_first(d, s);
}

static void join_device(struct presence *p, struct presence_device *d, struct subscription *s) {
    s->presence = d;
    link_first(d, s);
    if (d->n++ == 0)
        p->n_departing--;
}

void presence_part(struct presence *p, struct subscription *s) {
    struct presence_device *d = s->presence;
    s->presence = NULL;
    unlink_device(s);
    if (--d->n == 0)
        p->n_departing++;
    presence_tell_sizes(p);
}

/* ---- admitting without a question ---- */

static void on_soon(uv_timer_t *timer) {
    struct presence *p = timer->data;
    while (p->admitted && !p->is_stopped) {
        struct subscription *s = p->admitted;
        presence_end_waiting(p, s);
        hub_admit(s, PRESENCE_ADMITTED, NULL);
    }
}

static void admit_soon(struct presence *p, struct subscription *s) {
    wait_in(p->admitted_end, s);
    p->admitted_end = &s->next_waiting;
    if (!p->is_stopped)
        uv_timer_start(&p->soon, on_soon, 0, 0);
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
    if (s->is_waiting)
        return;
    if (s->presence || !s->connection->device_id[0]) { /* is in, or is counted nowhere */
        admit_soon(p, s);
        return;
    }
    struct presence_device *d = device_of(p, s);
    join_device(p, d, s);
    presence_tell_sizes(p);
    if (d->noted == PRESENCE_NOTED && d->life == p->life && !d->is_busy) {
        admit_soon(p, s);
        return;
    }
    wait_in(&d->waiting, s);
    d->is_parked = false;
    presence_pump(p, d);
}

void presence_leave(struct presence *p, struct subscription *s) {
    struct presence_device *d = s->presence;
    presence_end_waiting(p, s);
    if (!d)
        return;
    presence_part(p, s);
    if (d->n == 0)
        d->is_parked = false;
    presence_pump(p, d);
}

void presence_describe(struct presence *p, const struct connection *c) {
    for (size_t i = 0; i < c->n_subscriptions; i++) {
        struct presence_device *d = c->subscriptions[i]->presence;
        if (!d)
            continue;
        put_first(d, c->subscriptions[i]);
        d->is_renamed = true;
        presence_pump(p, d);
    }
}

size_t presence_n_departing(const struct presence *p) {
    return store_is_up(p->store) ? p->n_departing : 0;
}

/* ---- time ---- */

static void unpark(struct presence *p, struct presence_device *d) {
    if (!d->is_parked)
        return;
    d->is_parked = false;
    presence_pump(p, d);
}

static void unpark_all(struct presence *p) {
    p->has_parked = false;
    p->unparked_at = presence_now(p);
    presence_table_each(&p->table, unpark, p);
}

void presence_tick(struct presence *p) {
    int64_t now = presence_now(p);
    if (!p->was_renewed || now - p->renewed_at >= PRESENCE_INSTANCE_RENEW_MS)
        presence_renew(p);
    if (p->has_parked && now - p->unparked_at >= PARKED_MS && store_is_up(p->store))
        unpark_all(p);
    presence_go_on(p); /* the store may have gone since something was queued */
}

void presence_store_up(struct presence *p) {
    if (presence_life_is_doubtful(p))
        presence_end_life(p);
    else
        presence_renew(p);
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
    table_init(&p->table);
    make_metrics(p, p->app->metrics);
    uv_timer_init(p->app->loop, &p->nudging);
    uv_timer_init(p->app->loop, &p->soon);
    p->nudging.data = p->soon.data = p;
    p->n_handles = 2;
    presence_begin_life(p);
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

/* The hub's side of the broker: bindings and events. */
#include <string.h>

#include "proto/event.h"
#include "proto/route.h"
#include "services/ws_fanout/hub_private.h"
#include "services/ws_fanout/order.h"

#define TICKET_ALL 1 /* of the binding of everything; other tickets are rooms */

/* ---- bindings ---- */

bool hub_is_joinable(const struct room *room) {
    const struct hub *h = room->hub;
    if (!bus_is_up(h->bus))
        return true;
    return h->binds_sessions ? room->binding == ROOM_BOUND : h->is_bound;
}

void hub_bind(struct room *room) {
    struct hub *h = room->hub;
    char key[ROUTE_KEY_CAP];
    route_session_binding(room->session_id, key);
    if (bus_is_up(h->bus) &&
        bus_bind(h->bus, BUS_BIND, ROUTE_UPDATES_EXCHANGE, key, (uint64_t)(uintptr_t)room) == 0)
        room->binding = ROOM_BINDING;
}

void hub_unbind(struct room *room) {
    struct hub *h = room->hub;
    char key[ROUTE_KEY_CAP];
    route_session_binding(room->session_id, key);
    if (room->binding == ROOM_BOUND &&
        bus_bind(h->bus, BUS_UNBIND, ROUTE_UPDATES_EXCHANGE, key, 0) != 0)
        log_debug(h->app->log, "unbind_failed", "The broker is away; the binding goes with it.");
    room->binding = ROOM_UNBOUND;
}

static void compare(struct hub *h, struct room *room) {
    (void)h;
    room->wants_compare = true;
    hub_pump(room);
}

static void on_bound(void *arg, uint64_t ticket) {
    struct hub *h = arg;
    if (ticket == TICKET_ALL) {
        h->is_bound = true;
        rooms_each(&h->rooms, compare, h);
        return;
    }
    struct room *room = (struct room *)(uintptr_t)ticket;
    room->binding = ROOM_BOUND;
    compare(h, room);
    hub_settle(room);
}

static void bind_again(struct hub *h, struct room *room) {
    (void)h;
    hub_bind(room);
}

static void on_up(void *arg) {
    struct hub *h = arg;
    if (h->binds_sessions)
        rooms_each(&h->rooms, bind_again, h);
    else if (bus_bind(h->bus, BUS_BIND, ROUTE_UPDATES_EXCHANGE, ROUTE_ALL_SESSIONS, TICKET_ALL) !=
             0)
        log_warn(h->app->log, "bind_failed", "The broker went away before the queue was bound.");
}

static void unbound(struct hub *h, struct room *room) {
    (void)h;
    room->binding = ROOM_UNBOUND;
    if (room->n_subscriptions)
        hub_pump(room);
    else
        hub_settle(room);
}

static void on_down(void *arg, const char *why) {
    struct hub *h = arg;
    log_debug(h->app->log, "events_away", "Devices get no events until the broker is back.",
              LOG_TEXT("err", why));
    h->is_bound = false;
    rooms_each(&h->rooms, unbound, h);
}

/* ---- events ---- */

/* One event on its way to the watchers of a room; the frame is made for the first that takes it. */
struct passage {
    const struct bus_message *message;
    struct position position;
    bool deletes;
    bool wants_read; /* somebody misses something */
    struct frame *frame;
};

static void forward(struct passage *p, struct subscription *s) {
    if (!p->frame)
        p->frame = frame_new(p->message->body, p->message->body_len);
    metric_add(s->room->hub->deliveries_metric, 1);
    connection_send(s->connection, p->frame, s);
}

static void lose_deleted(struct subscription *s) {
    struct fault gone = {0};
    fault_set(&gone, FAULT_NOT_FOUND, NULL, "the session was deleted");
    hub_lose(s, &gone);
}

static void pass_versioned(struct passage *p, struct subscription *s) {
    if (s->state != SUBSCRIPTION_LIVE)
        return;
    switch (order_judge(s->at, p->position)) {
    case ORDER_FORWARD:
        s->at = p->position;
        forward(p, s);
        if (p->deletes)
            lose_deleted(s);
        break;
    case ORDER_GAP:
        s->state = SUBSCRIPTION_FILLING;
        p->wants_read = true;
        break;
    case ORDER_EPOCH:
        s->state = SUBSCRIPTION_STALE;
        s->reason = SYNC_EPOCH;
        p->wants_read = true;
        break;
    case ORDER_DROP:
        break;
    }
}

static void pass_unversioned(struct passage *p, struct subscription *s) {
    if (s->state == SUBSCRIPTION_LIVE || s->state == SUBSCRIPTION_FILLING)
        forward(p, s);
}

static void take_event(struct room *room, const struct bus_message *m, enum event_type type) {
    struct passage p = {.message = m,
                        .position = {.version = m->version, .epoch = m->epoch ? m->epoch : 1},
                        .deletes = type == EVENT_SESSION_DELETED};
    bool versioned = event_is_versioned(type);
    if (versioned && order_is_newer(p.position, room->seen))
        room->seen = p.position;
    if (p.deletes)
        room->deleted = p.position;
    for (size_t i = room->n_subscriptions; i-- > 0;) {
        if (versioned)
            pass_versioned(&p, room->subscriptions[i]);
        else
            pass_unversioned(&p, room->subscriptions[i]);
    }
    frame_unref(p.frame);
    if (p.wants_read)
        hub_pump(room);
    hub_settle(room);
}

static void on_message(void *arg, const struct bus_message *m) {
    struct hub *h = arg;
    char session_id[UUID_LEN + 1];
    const char *kind;
    size_t n_kind;
    enum event_type type;
    metric_add(h->events_metric, 1);
    if (!route_parse_key(m->routing_key, m->routing_key_len, session_id, &kind, &n_kind) ||
        !event_type_parse(m->type, strlen(m->type), &type) || !event_goes_to_devices(type) ||
        (event_is_versioned(type) && !m->version))
        return;
    struct room *room = rooms_find(&h->rooms, session_id);
    if (room)
        take_event(room, m, type);
}

int hub_bus_new(struct hub *h) {
    struct bus_options options = {
        .url = h->app->config->amqp_url,
        .connection_name = h->app->config->instance,
        .queue = "",
        .no_ack = true,
        .callbacks = {.up = on_up, .down = on_down, .message = on_message, .bound = on_bound},
        .arg = h,
    };
    return bus_new(&h->bus, h->app->loop, &options);
}

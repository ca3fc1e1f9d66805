/* The hub's side of the broker: the connection and its bindings. */
#include "base/crash_point.h"
#include "proto/route.h"
#include "services/ws_fanout/hub_private.h"

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
    CRASH_LINK("fanout.binding.asked", CRASH_BROKER);
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
    CRASH_LINK("fanout.binding.confirmed", CRASH_BROKER);
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
    hub_end_turn(h);
    log_debug(h->app->log, "events_away", "Devices get no events until the broker is back.",
              LOG_TEXT("err", why));
    h->is_bound = false;
    rooms_each(&h->rooms, unbound, h);
}

static void on_message(void *arg, const struct bus_message *m) {
    CRASH_LINK("fanout.event.received", CRASH_BROKER);
    hub_take_message(arg, m);
}

static void on_turn(void *arg) {
    hub_end_turn(arg);
    CRASH_LINK("fanout.event.forwarded", CRASH_BROKER);
}

int hub_bus_new(struct hub *h) {
    struct bus_options options = {
        .url = h->app->config->amqp_url,
        .quorum_queues = config_wants_quorum(h->app->config),
        .connection_name = h->app->config->instance,
        .queue = "",
        .no_ack = true,
        .callbacks = {.up = on_up,
                      .down = on_down,
                      .message = on_message,
                      .bound = on_bound,
                      .turn = on_turn},
        .arg = h,
    };
    int r = bus_new(&h->bus, h->app->loop, &options);
    if (r == 0)
        bus_follow_url(h->bus, &h->app->config->amqp_url);
    return r;
}

/* Events on their way from the broker to the watchers of a room: forwarded as they came, each to
 * whom it is for. Only the rare ones that change who may watch, or tell of devices, are parsed. */
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "proto/event.h"
#include "proto/route.h"
#include "proto/text.h"
#include "services/ws_fanout/crowd.h"
#include "services/ws_fanout/hub_private.h"
#include "services/ws_fanout/order.h"

#define CROWD_EVERY_MS 1000

/* One event on its way; the frame is made for the first that takes it. */
struct passage {
    const struct bus_message *message;
    enum event_type type;
    struct position position;
    bool wants_read; /* somebody misses something */
    struct frame *frame;
    struct span *span; /* owned or NULL */
    size_t n_forwarded;
    struct event sender; /* of a broadcast, once somebody may be it: user_id */
    bool has_sender;
};

static void forward(struct passage *p, struct subscription *s) {
    if (!p->frame) {
        p->frame = frame_new(p->message->body, p->message->body_len);
        if (event_is_versioned(p->type))
            p->frame->position = p->position;
    }
    p->n_forwarded++;
    metric_add(s->room->hub->deliveries_metric, 1);
    CRASH_LINK("fanout.event.sending", CRASH_BROKER);
    connection_send(s->connection, p->frame, s);
}

static struct span *begin_span(const struct hub *h, const struct bus_message *m,
                               enum event_type type, const char *session_id) {
    struct trace_context trace = m->trace;
    struct span *span =
        span_begin(h->app->tracer, &trace, SPAN_CONSUMER, "process " ROUTE_UPDATES_EXCHANGE, 0);
    span_text(span, SPAN_SYSTEM, "rabbitmq");
    span_text(span, SPAN_DESTINATION, ROUTE_UPDATES_EXCHANGE);
    span_text(span, SPAN_MESSAGE_ID, m->message_id);
    span_text(span, SPAN_COMMAND_ID, m->command_id);
    span_text(span, SPAN_EVENT_TYPE, event_type_name(type));
    span_text(span, SPAN_SESSION_ID, session_id);
    return span;
}

static void end_span(const struct hub *h, struct passage *p) {
    if (!p->span)
        return;
    span_number(p->span, SPAN_RECEIVERS, (int64_t)p->n_forwarded);
    span_end(h->app->tracer, TAKE_PTR(p->span));
}

/* ---- versioned ---- */

static void need_rebuilt(struct passage *p, struct subscription *s) {
    s->state = SUBSCRIPTION_STALE;
    s->reason = SYNC_REBUILT;
    p->wants_read = true;
}

static void pass_versioned(struct passage *p, struct subscription *s) {
    if (s->state != SUBSCRIPTION_LIVE)
        return;
    switch (order_judge(s->at, p->position)) {
    case ORDER_FORWARD:
        s->at = p->position;
        forward(p, s);
        if (p->type == EVENT_SESSION_DELETED)
            hub_lose_deleted(s);
        break;
    case ORDER_GAP:
        s->state = SUBSCRIPTION_FILLING;
        p->wants_read = true;
        break;
    case ORDER_EPOCH:
        need_rebuilt(p, s);
        break;
    case ORDER_DROP:
        break;
    }
}

/* ---- who may watch ---- */

static void change_role(struct subscription *s, enum session_role role) {
    struct fault gone = {0};
    if (role == SESSION_ROLE_NONE && (s->connection->principal.rights & COMMAND_ADMIN))
        role = SESSION_ROLE_VIEWER;
    if (role == SESSION_ROLE_NONE) {
        fault_set(&gone, FAULT_NOT_FOUND, NULL, "there is no such session for this user");
        hub_lose(s, &gone);
    } else if (s->role != SESSION_ROLE_NONE)
        s->role = role;
}

/* False when the body does not say it. */
static bool take_participant(struct room *room, const json_t *body) {
    const char *user_id = json_string_value(json_object_get(body, "participant"));
    const json_t *given = json_object_get(body, "role");
    enum session_role role = SESSION_ROLE_NONE;
    if (!user_id ||
        (!json_is_null(given) &&
         (!json_is_string(given) || !session_role_parse(json_string_value(given), &role))))
        return false;
    for (size_t i = room->n_subscriptions; i-- > 0;)
        if (strcmp(room->subscriptions[i]->connection->principal.user_id, user_id) == 0)
            change_role(room->subscriptions[i], role);
    return true;
}

static bool take_device(struct room *room, const json_t *body) {
    const char *device_id = json_string_value(json_object_get(body, "device"));
    const json_t *removed = json_object_get(body, "removed");
    struct fault f = {0};
    if (!device_id || !json_is_boolean(removed))
        return false;
    if (!json_is_true(removed))
        return true;
    fault_set(&f, FAULT_DEVICE_REMOVED, NULL, "the device is kept out of this session");
    for (size_t i = room->n_subscriptions; i-- > 0;)
        if (strcmp(room->subscriptions[i]->connection->device_id, device_id) == 0)
            hub_lose(room->subscriptions[i], &f);
    return true;
}

/* A newer one is believed; what an older one or an unreadable one changed, Redis knows. */
static void take_rights(struct room *room, struct passage *p, bool is_newer) {
    json_auto_t *body = NULL;
    struct event e;
    bool taken = false;
    if (is_newer && event_parse(p->message->body, p->message->body_len, &e, &body, NULL) == 0)
        taken = p->type == EVENT_PARTICIPANT_CHANGED ? take_participant(room, body)
                                                     : take_device(room, body);
    if (!taken)
        room->wants_compare = p->wants_read = true;
}

static void take_versioned(struct room *room, struct passage *p) {
    bool is_newer = order_is_newer(p->position, room->seen);
    if (is_newer)
        room->seen = p->position;
    if (p->type == EVENT_SESSION_DELETED)
        room->deleted = p->position;
    if (p->type == EVENT_PARTICIPANT_CHANGED || p->type == EVENT_DEVICE_CHANGED)
        take_rights(room, p, is_newer);
    for (size_t i = room->n_subscriptions; i-- > 0;)
        pass_versioned(p, room->subscriptions[i]);
}

/* ---- a rebuild ---- */

/* Nobody is sent it; whoever is in an epoch before it needs the state that it left. It may come
 * after the first events of its epoch, and again. */
static void take_rebuilt(struct room *room, struct passage *p) {
    if (order_is_newer(p->position, room->seen))
        room->seen = p->position;
    for (size_t i = room->n_subscriptions; i-- > 0;) {
        struct subscription *s = room->subscriptions[i];
        bool is_at_a_position = s->state == SUBSCRIPTION_LIVE || s->state == SUBSCRIPTION_FILLING;
        if (is_at_a_position && s->at.epoch < p->position.epoch)
            need_rebuilt(p, s);
    }
}

/* ---- unversioned: to everybody who has the session, in whatever state it is ---- */

static bool takes_unversioned(const struct subscription *s) {
    return s->role != SESSION_ROLE_NONE && s->state != SUBSCRIPTION_SLOW;
}

static void pass_unversioned(struct room *room, struct passage *p) {
    for (size_t i = room->n_subscriptions; i-- > 0;)
        if (takes_unversioned(room->subscriptions[i]))
            forward(p, room->subscriptions[i]);
}

/* A device's id is its own only together with its user. */
static bool is_sender(struct passage *p, const struct connection *c) {
    const struct bus_message *m = p->message;
    if (strcmp(c->device_id, m->device_id) != 0)
        return false;
    if (!p->has_sender && event_parse(m->body, m->body_len, &p->sender, NULL, NULL) != 0)
        return false;
    p->has_sender = true;
    return strcmp(c->principal.user_id, p->sender.user_id) == 0;
}

static void pass_broadcast(struct room *room, struct passage *p) {
    for (size_t i = room->n_subscriptions; i-- > 0;) {
        struct subscription *s = room->subscriptions[i];
        if (takes_unversioned(s) && (p->message->echo || !is_sender(p, s->connection)))
            forward(p, s);
    }
}

static void take_presence(struct room *room, struct passage *p) {
    const struct bus_message *m = p->message;
    json_auto_t *body = NULL;
    struct event e;
    if (!room->crowd)
        room->crowd = crowd_new();
    if (crowd_is_double(room->crowd, m->message_id) ||
        event_parse(m->body, m->body_len, &e, &body, NULL) != 0)
        return;
    const json_t *count = json_object_get(body, "deviceCount");
    double n_devices = json_number_value(count);
    if (json_is_number(count) && n_devices >= 0 && n_devices <= TEXT_INTEGER_MAX)
        crowd_set_n_devices(room->crowd, (uint64_t)n_devices);
    if (!crowd_gathers(room->crowd))
        pass_unversioned(room, p);
    else if (room->n_subscriptions) {
        crowd_add(room->crowd, e.device_id, p->type == EVENT_DEVICE_JOINED);
        hub_note_restless(room);
    }
}

void hub_tell_crowd(struct room *room) {
    struct buf out = BUF_NULL;
    int64_t now = hub_now(room->hub);
    if (!room->n_subscriptions)
        crowd_clear(room->crowd);
    if (now - room->crowd_told_at < CROWD_EVERY_MS ||
        !crowd_print(room->crowd, room->session_id, &out))
        return;
    room->crowd_told_at = now;
    _cleanup_(frame_unrefp) struct frame *f = frame_from_buf(&out);
    for (size_t i = room->n_subscriptions; i-- > 0;) {
        if (!takes_unversioned(room->subscriptions[i]))
            continue;
        metric_add(room->hub->deliveries_metric, 1);
        connection_send(room->subscriptions[i]->connection, f, room->subscriptions[i]);
    }
}

/* ---- deltas that come together ---- */

/* One that waits for the end of the bus's turn: whoever watches the session gets all that the turn
 * brought in one write, which under load is what a delivery costs. */
struct arrival {
    struct arrival *next;
    struct passage passage; /* with its frame */
};

static void collect(struct room *room, const struct passage *p) {
    struct hub *h = room->hub;
    struct arrival *a = must_alloc(sizeof(*a));
    a->passage = (struct passage){.type = p->type, .position = p->position, .span = p->span};
    a->passage.frame = frame_new(p->message->body, p->message->body_len);
    a->passage.frame->position = p->position;
    if (room->last_arrival) {
        room->last_arrival = room->last_arrival->next = a;
        return;
    }
    room->first_arrival = room->last_arrival = a;
    room->next_arrived = NULL;
    if (h->last_arrived)
        h->last_arrived->next_arrived = room;
    else
        h->first_arrived = room;
    h->last_arrived = room;
}

static void pass_arrivals(struct arrival *first, struct subscription *s) {
    connection_cork(s->connection);
    for (struct arrival *a = first; a; a = a->next)
        pass_versioned(&a->passage, s);
    connection_uncork(s->connection);
}

/* Returns whether somebody misses something. */
static bool end_arrivals(struct room *room) {
    bool wants_read = false;
    for (struct arrival *a = room->first_arrival, *next; a; a = next) {
        next = a->next;
        if (order_is_newer(a->passage.position, room->seen))
            room->seen = a->passage.position;
        wants_read = wants_read || a->passage.wants_read;
        frame_unref(a->passage.frame);
        end_span(room->hub, &a->passage);
        free(a);
    }
    room->first_arrival = room->last_arrival = NULL;
    return wants_read;
}

static void take_arrivals(struct room *room) {
    for (size_t i = room->n_subscriptions; i-- > 0;)
        pass_arrivals(room->first_arrival, room->subscriptions[i]);
    if (end_arrivals(room))
        hub_pump(room);
}

void hub_end_turn(struct hub *h) {
    while (h->first_arrived) {
        struct room *room = h->first_arrived;
        h->first_arrived = room->next_arrived;
        if (!h->first_arrived)
            h->last_arrived = NULL;
        take_arrivals(room);
        hub_settle(room);
    }
}

/* ---- from the broker ---- */

static void take_event(struct room *room, struct passage *p) {
    if (event_is_versioned(p->type))
        take_versioned(room, p);
    else if (p->type == EVENT_SESSION_REBUILT)
        take_rebuilt(room, p);
    else if (p->type == EVENT_BROADCAST)
        pass_broadcast(room, p);
    else if (p->type == EVENT_DEVICE_JOINED || p->type == EVENT_DEVICE_LEFT)
        take_presence(room, p);
    else
        pass_unversioned(room, p);
    frame_unref(p->frame);
    end_span(room->hub, p);
    if (p->wants_read)
        hub_pump(room);
    hub_settle(room);
}

/* The moment stands near the head of what engines print. Clocks that are set make no age. */
static void observe_age(const struct hub *h, const struct bus_message *m) {
    static const char name[] = ",\"timestamp\":\"";
    enum { HEAD_MAX = 256 };
    size_t n_head = m->body_len < HEAD_MAX ? m->body_len : HEAD_MAX;
    const char *at = memmem(m->body, n_head, name, sizeof(name) - 1);
    int64_t moment;
    if (!at || !store_has_time(h->store))
        return;
    at += sizeof(name) - 1;
    if (m->body_len - (size_t)(at - m->body) < TIMESTAMP_LEN ||
        !timestamp_parse(at, TIMESTAMP_LEN, &moment))
        return;
    int64_t age_ms = store_now(h->store) - moment;
    metric_observe(h->age_metric, age_ms > 0 ? (double)age_ms / 1e3 : 0);
}

static bool is_of_use(enum event_type type) {
    return event_goes_to_devices(type) || type == EVENT_SESSION_REBUILT;
}

void hub_take_message(struct hub *h, const struct bus_message *m) {
    char session_id[UUID_LEN + 1];
    const char *kind;
    size_t n_kind;
    enum event_type type;
    metric_add(h->events_metric, 1);
    if (m->timestamp_ms > h->newest_event)
        h->newest_event = m->timestamp_ms;
    if (!route_parse_key(m->routing_key, m->routing_key_len, session_id, &kind, &n_kind) ||
        !event_type_parse(m->type, strlen(m->type), &type) || !is_of_use(type) ||
        ((event_is_versioned(type) || type == EVENT_SESSION_REBUILT) && !m->version))
        return;
    struct room *room = rooms_find(&h->rooms, session_id);
    struct passage p = {
        .message = m, .type = type, .position = {m->version, m->epoch ? m->epoch : 1}};
    if (!room)
        return;
    observe_age(h, m);
    if (m->trace.is_sampled)
        p.span = begin_span(h, m, type, session_id);
    if (type == EVENT_STATE_DELTA) {
        collect(room, &p);
        return;
    }
    if (room->first_arrival) /* what came before it goes out before it */
        hub_end_turn(h);
    if ((room = rooms_find(&h->rooms, session_id)))
        take_event(room, &p);
    else
        span_free(p.span);
}

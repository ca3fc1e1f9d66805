/* Subscribing and leaving; what watches a session is kept on both sides, in the room and at the
 * connection. */
#include "services/ws_fanout/hub.h"

#include <string.h>

#include "services/ws_fanout/hub_private.h"
#include "services/ws_fanout/protocol.h"

#define MAX_ENTRIES 5 /* into presence, for a session that is not there, found, not there … */

static void make_metrics(struct hub *h, struct metrics *m) {
    static const char *const reasons[SYNC_N_REASONS] = {
        [SYNC_INITIAL] = "reason=\"initial\"", [SYNC_WINDOW] = "reason=\"window\"",
        [SYNC_EPOCH] = "reason=\"epoch\"",     [SYNC_REBUILT] = "reason=\"rebuilt\"",
        [SYNC_AHEAD] = "reason=\"ahead\"",     [SYNC_SLOW] = "reason=\"slow\"",
    };
    h->subscriptions_metric = metrics_gauge(m, "handoff_ws_subscriptions", NULL,
                                            "Sessions watched, counted once for each connection.");
    h->events_metric =
        metrics_counter(m, "handoff_ws_events_total", NULL, "Events taken from the broker.");
    h->age_metric = metrics_histogram(m, "handoff_ws_event_age_seconds", NULL,
                                      "From an event's moment to its way to its watchers.");
    h->deliveries_metric = metrics_counter(m, "handoff_ws_deliveries_total", NULL,
                                           "Events sent or queued, counted for each watcher.");
    h->windows_metric =
        metrics_counter(m, "handoff_ws_gap_fills_total", NULL,
                        "Reads of the delta window: for gaps, resumes and comparisons.");
    h->resumes_metric = metrics_counter(m, "handoff_ws_resumes_total", NULL,
                                        "Subscriptions that went on from a position.");
    for (size_t i = 0; i < SYNC_N_REASONS; i++)
        h->resyncs_metrics[i] = metrics_counter(m, "handoff_ws_state_syncs_total", reasons[i],
                                                "Whole states sent, by reason.");
}

int hub_new(struct hub **ret, const struct hub_options *options) {
    struct hub *h = must_alloc(sizeof(*h));
    h->app = options->app;
    h->store = options->store;
    h->commander = options->commander;
    h->presence = options->presence;
    h->binds_sessions = strcmp(h->app->config->fanout_binding, "session") == 0;
    table_init(&h->rooms);
    make_metrics(h, h->app->metrics);
    h->last_tick = hub_now(h);
    int r = hub_bus_new(h);
    if (r) {
        hub_free(h);
        return r;
    }
    *ret = h;
    return 0;
}

static void end_linger(struct hub *h, struct room *room) {
    (void)h;
    hub_settle(room);
}

void hub_drain(struct hub *h) {
    h->is_draining = true;
    rooms_each(&h->rooms, end_linger, h);
}

void hub_stop(struct hub *h) {
    hub_end_turn(h);
    h->is_stopped = true;
    h->bus = bus_free(h->bus);
}

struct hub *hub_free(struct hub *h) {
    if (!h)
        return NULL;
    bus_free(h->bus);
    rooms_done(&h->rooms);
    free(h);
    return NULL;
}

int64_t hub_now(const struct hub *h) {
    return (int64_t)uv_now(h->app->loop);
}

bool hub_is_up(const struct hub *h) {
    return bus_is_up(h->bus);
}

/* ---- subscriptions ---- */

static struct subscription *find(const struct connection *c, const struct room *room) {
    for (size_t i = 0; room && i < c->n_subscriptions; i++)
        if (c->subscriptions[i]->room == room)
            return c->subscriptions[i];
    return NULL;
}

static void count(struct hub *h, double n) {
    h->n_subscriptions += n;
    metric_set(h->subscriptions_metric, h->n_subscriptions);
}

static void attach(struct connection *c, struct subscription *s) {
    c->subscriptions =
        must_realloc(c->subscriptions, (c->n_subscriptions + 1) * sizeof(*c->subscriptions));
    c->subscriptions[c->n_subscriptions++] = s;
    count(s->room->hub, 1);
}

/* Takes it from the connection and the room; the room stays. */
static void detach(struct subscription *s) {
    struct connection *c = s->connection;
    size_t i = 0;
    while (c->subscriptions[i] != s)
        i++;
    c->subscriptions[i] = c->subscriptions[--c->n_subscriptions];
    outbox_forget(&c->outbox, s);
    presence_leave(s->room->hub->presence, s);
    count(s->room->hub, -1);
    room_remove(s);
}

static struct room *enter(struct hub *h, const char *session_id) {
    struct room *room = rooms_find(&h->rooms, session_id);
    if (!room)
        room = rooms_add(&h->rooms, h, session_id);
    room->empty_since = 0;
    if (h->binds_sessions && room->binding == ROOM_UNBOUND)
        hub_bind(room);
    return room;
}

static int may_subscribe(const struct hub *h, const struct connection *c, const char *session_id,
                         bool again, struct fault *f) {
    int64_t most = h->app->config->max_subscriptions;
    if (!(c->principal.rights & (COMMAND_READ | COMMAND_ADMIN)))
        return fault_set(f, FAULT_FORBIDDEN, NULL, "the token's scope has no sessions:read");
    if (!auth_covers(&c->principal, session_id))
        return fault_set(f, FAULT_NOT_FOUND, NULL, "there is no such session for this user");
    if (!again && c->n_subscriptions >= (size_t)most)
        return fault_set(f, FAULT_TOO_MANY_SESSIONS, "sessionId",
                         "one connection carries up to %d sessions", (int)most);
    return 0;
}

/* After one that others may wait for has ended, or asks anew. */
static void resume_others(struct hub *h, struct connection *c) {
    if (!connection_is_backed_up(c))
        hub_resume(h, c);
}

/* Asks anew; one that is admitted stays so. */
static void begin_joining(struct subscription *s, const struct position *since, const char *id) {
    s->state = SUBSCRIPTION_JOINING;
    s->reason = SYNC_INITIAL;
    s->resumes = since != NULL;
    s->was_read_for = false;
    if (since)
        s->at = *since;
    free(s->id);
    s->id = *id ? must_strdup(id) : NULL;
}

void hub_subscribe(struct hub *h, struct connection *c, const char *session_id,
                   const struct position *since, const char *id) {
    struct fault f = {0};
    struct subscription *s = find(c, rooms_find(&h->rooms, session_id));
    bool again = s != NULL;
    if (may_subscribe(h, c, session_id, again, &f)) {
        connection_send_fault(c, id, session_id, &f);
        return;
    }
    if (!again) {
        s = room_add(enter(h, session_id), c);
        attach(c, s);
    }
    begin_joining(s, since, id);
    struct room *room = s->room;
    room->retry_at = 0;
    if (!again)
        hub_enter(s);
    hub_pump(room);
    if (again)
        resume_others(h, c);
}

static void tell_unsubscribed(struct connection *c, const char *id, const char *session_id,
                              const char *code) {
    struct buf out = BUF_NULL;
    protocol_print_unsubscribed(id, session_id, code, &out);
    connection_send_buf(c, &out);
}

void hub_unsubscribe(struct hub *h, struct connection *c, const char *session_id, const char *id) {
    struct room *room = rooms_find(&h->rooms, session_id);
    struct subscription *s = find(c, room);
    if (s) {
        detach(s);
        hub_settle(room);
        resume_others(h, c);
    }
    tell_unsubscribed(c, id, session_id, "");
}

void hub_leave(struct hub *h, struct connection *c) {
    (void)h;
    while (c->n_subscriptions) {
        struct room *room = c->subscriptions[0]->room;
        detach(c->subscriptions[0]);
        hub_settle(room);
    }
    free(c->subscriptions);
    c->subscriptions = NULL;
}

void hub_lose(struct subscription *s, const struct fault *why) {
    struct connection *c = s->connection;
    struct room *room = s->room;
    bool is_joining = s->state == SUBSCRIPTION_JOINING, had_it = s->role != SESSION_ROLE_NONE;
    _cleanup_(freep) char *id = TAKE_PTR(s->id);
    detach(s);
    if (is_joining || id)
        connection_send_fault(c, id, room->session_id, why);
    if (had_it) {
        tell_unsubscribed(c, "", room->session_id, fault_wire_code(why->code));
        connection_session_lost(c);
    }
    resume_others(room->hub, c);
}

void hub_lose_deleted(struct subscription *s) {
    struct fault gone = {0};
    fault_set(&gone, FAULT_NOT_FOUND, NULL, "there is no such session for this user");
    hub_lose(s, &gone);
}

/* ---- admission ---- */

void hub_enter(struct subscription *s) {
    struct fault f = {0};
    s->wants_entry = false;
    if (++s->n_entries > MAX_ENTRIES) {
        fault_set(&f, FAULT_UNAVAILABLE, NULL, "the session cannot be loaded now");
        hub_lose(s, &f);
    } else
        presence_enter(s->room->hub->presence, s);
}

void hub_admit(struct subscription *s, enum presence_answer answer, const struct fault *f) {
    struct room *room = s->room;
    switch (answer) {
    case PRESENCE_ADMITTED:
        s->is_admitted = true;
        break;
    case PRESENCE_ABSENT: /* a read finds that too, and has it loaded */
        s->wants_entry = true;
        s->was_read_for = false;
        break;
    case PRESENCE_REFUSED:
        hub_lose(s, f);
        break;
    }
    hub_pump(room);
    hub_settle(room);
}

/* ---- what others ask ---- */

static const struct subscription *find_by_id(const struct connection *c, const char *session_id) {
    for (size_t i = 0; i < c->n_subscriptions; i++)
        if (strcmp(c->subscriptions[i]->room->session_id, session_id) == 0)
            return c->subscriptions[i];
    return NULL;
}

enum session_role hub_role(const struct connection *c, const char *session_id) {
    const struct subscription *s = find_by_id(c, session_id);
    return s ? s->role : SESSION_ROLE_NONE;
}

void hub_settle(struct room *room) {
    struct hub *h = room->hub;
    if (room->n_subscriptions || room->is_busy || room->is_queued || room->first_arrival)
        return;
    if (h->binds_sessions && room->binding != ROOM_UNBOUND && !h->is_stopped) {
        if (!room->empty_since)
            room->empty_since = hub_now(h);
        hub_note_restless(room);
        if (!h->is_draining || room->binding == ROOM_BINDING)
            return;
        hub_unbind(room);
    }
    hub_note_calm(room);
    rooms_remove(&h->rooms, room);
}

/* ---- slow connections ---- */

void hub_dropped(struct subscription *s, struct frame *f) {
    if (!s->id)
        s->id = TAKE_PTR(f->answers);
    if (s->state != SUBSCRIPTION_JOINING)
        s->state = SUBSCRIPTION_SLOW;
}

/* Deltas come as fast as the connection takes them; of whole states one at a time: the next when
 * one was sent, or is not awaited any more. */
void hub_resume(struct hub *h, struct connection *c) {
    struct subscription *slow = NULL;
    bool is_awaited = false;
    (void)h;
    for (size_t i = 0; i < c->n_subscriptions; i++) {
        struct subscription *s = c->subscriptions[i];
        if (s->state == SUBSCRIPTION_FILLING)
            hub_pump(s->room);
        else if (s->state == SUBSCRIPTION_STALE && s->reason == SYNC_SLOW)
            is_awaited = true;
        else if (s->state == SUBSCRIPTION_SLOW && !slow)
            slow = s;
    }
    if (!slow || is_awaited)
        return;
    slow->state = SUBSCRIPTION_STALE;
    slow->reason = SYNC_SLOW;
    hub_pump(slow->room);
}

void hub_recheck(struct hub *h, struct connection *c) {
    (void)h;
    for (size_t i = 0; i < c->n_subscriptions; i++) {
        c->subscriptions[i]->room->wants_compare = true;
        hub_pump(c->subscriptions[i]->room);
    }
}

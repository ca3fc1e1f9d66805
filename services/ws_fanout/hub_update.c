/* What a read of the store brings to the watchers of a room: to each the state, or what it missed,
 * or that the session is not its own any more. What several get alike is printed once. */
#include <string.h>

#include "services/ws_fanout/hub_private.h"
#include "services/ws_fanout/order.h"
#include "services/ws_fanout/protocol.h"

struct update {
    struct room *room;
    const struct session *session;
    bool is_believed;
    /* of a state */
    struct buf text; /* the resource for text_role */
    enum session_role text_role;
    struct frame *frame; /* for text_role and frame_reason, without id; or NULL */
    enum sync_reason frame_reason;
    /* of a window */
    struct order_window window;
    struct frame **frames; /* one a delta, made for the first that takes it */
};

/* ---- who may ---- */

static enum session_role role_of(const struct session *session, const struct connection *c) {
    const struct principal *who = &c->principal;
    if (!(who->rights & (COMMAND_READ | COMMAND_ADMIN)))
        return SESSION_ROLE_NONE;
    return command_role(session, who->user_id, who->rights);
}

/* The watcher's role; none: the session is not its own, *f says why. */
static enum session_role judge(const struct session *session, const struct subscription *s,
                               struct fault *f) {
    enum session_role role = role_of(session, s->connection);
    if (role == SESSION_ROLE_NONE)
        fault_set(f, FAULT_NOT_FOUND, NULL, "there is no such session for this user");
    else if (session->removed_devices &&
             session_device_is_removed(session, s->connection->device_id)) {
        fault_set(f, FAULT_DEVICE_REMOVED, NULL, "the device is kept out of this session");
        role = SESSION_ROLE_NONE;
    }
    return role;
}

/* One that came while the read was under way waits for the next: this one does not even know who
 * may see the session now. */
static bool is_too_early_for(const struct subscription *s) {
    return s->state == SUBSCRIPTION_JOINING && !s->was_read_for;
}

/* One that is not admitted waits for that. */
static bool is_served(const struct subscription *s, bool resumes) {
    return s->is_admitted && s->resumes == resumes;
}

/* The session is in Redis (again): who was told otherwise asks again. */
static void enter_again(struct room *room) {
    for (size_t i = room->n_subscriptions; i-- > 0;)
        if (room->subscriptions[i]->wants_entry)
            hub_enter(room->subscriptions[i]);
}

/* ---- the state ---- */

static const char *reason_name(enum sync_reason reason) {
    static const char *const names[SYNC_N_REASONS] = {
        [SYNC_INITIAL] = "initial", [SYNC_WINDOW] = "window", [SYNC_EPOCH] = "epoch",
        [SYNC_REBUILT] = "rebuilt", [SYNC_AHEAD] = "ahead",   [SYNC_SLOW] = "slow",
    };
    return names[reason];
}

static struct frame *print_frame(const struct update *u, const char *id, enum sync_reason reason) {
    struct buf out = BUF_NULL;
    protocol_print_state_sync(id, u->session, &u->text, reason_name(reason), &out);
    struct frame *f = frame_from_buf(&out);
    f->position = u->session->position;
    f->answers = id ? must_strdup(id) : NULL;
    return f;
}

/* A new reference to the message for this role, reason and id. */
static struct frame *make_frame(struct update *u, enum session_role role, enum sync_reason reason,
                                const char *id) {
    if (!u->text.len || u->text_role != role) {
        buf_clear(&u->text);
        session_print(u->session, role, &u->text);
        u->text_role = role;
        u->frame = frame_unref(u->frame);
    }
    if (id)
        return print_frame(u, id, reason);
    if (!u->frame || u->frame_reason != reason) {
        frame_unref(u->frame);
        u->frame = print_frame(u, NULL, reason);
        u->frame_reason = reason;
    }
    return frame_ref(u->frame);
}

/* At the session's stored position, or behind what was seen since. */
static void settle_at(struct update *u, struct subscription *s) {
    s->state = order_is_newer(u->room->seen, s->at) ? SUBSCRIPTION_FILLING : SUBSCRIPTION_LIVE;
}

static void send_state(struct update *u, struct subscription *s, enum session_role role,
                       enum sync_reason reason) {
    struct connection *c = s->connection;
    _cleanup_(freep) char *id = TAKE_PTR(s->id);
    _cleanup_(frame_unrefp) struct frame *f = make_frame(u, role, reason, id);
    s->role = role;
    s->at = u->session->position;
    settle_at(u, s);
    metric_add(u->room->hub->resyncs_metrics[reason], 1);
    connection_send(c, f, s);
    if (reason == SYNC_SLOW && !connection_is_backed_up(c))
        hub_resume(u->room->hub, c);
}

/* A watcher that is at a position: where is it beside the store? Newer than the store is what came
 * since the read began, unless the store is believed. */
static void compare_position(struct update *u, struct subscription *s, enum session_role role) {
    struct position stored = u->session->position;
    if (order_is_newer(s->at, stored)) {
        if (u->is_believed)
            send_state(u, s, role, SYNC_AHEAD);
    } else if (s->at.epoch != stored.epoch)
        send_state(u, s, role, SYNC_REBUILT);
    else
        settle_at(u, s);
}

/* The role by which the subscription goes on; without one it is lost. */
static enum session_role take_role(struct update *u, struct subscription *s) {
    struct fault f = {0};
    enum session_role role = judge(u->session, s, &f);
    if (role == SESSION_ROLE_NONE)
        hub_lose(s, &f);
    else if (s->role != SESSION_ROLE_NONE)
        s->role = role;
    return role;
}

static void update_by_state(struct update *u, struct subscription *s) {
    if (u->session->deleted) { /* and never comes back */
        hub_lose_deleted(s);
        return;
    }
    if (is_too_early_for(s))
        return;
    enum session_role role = take_role(u, s);
    if (role == SESSION_ROLE_NONE)
        return;
    if (s->state == SUBSCRIPTION_JOINING) {
        if (is_served(s, false))
            send_state(u, s, role, s->reason);
    } else if (s->state == SUBSCRIPTION_STALE)
        send_state(u, s, role, s->reason);
    else if (s->state != SUBSCRIPTION_SLOW)
        compare_position(u, s, role);
}

void hub_take_state(struct room *room, const struct session *session, bool is_believed) {
    struct update u = {.room = room, .session = session, .is_believed = is_believed};
    for (size_t i = room->n_subscriptions; i-- > 0;)
        update_by_state(&u, room->subscriptions[i]);
    frame_unref(u.frame);
    buf_done(&u.text);
    enter_again(room);
}

/* ---- the window ---- */

static void need_state(struct subscription *s, enum sync_reason reason) {
    if (s->state != SUBSCRIPTION_JOINING)
        s->state = SUBSCRIPTION_STALE;
    s->resumes = false;
    s->reason = reason;
}

static void send_deltas(struct update *u, struct subscription *s, size_t from, size_t to) {
    struct connection *c = s->connection;
    for (size_t i = from; i < to && s->state == SUBSCRIPTION_FILLING && !connection_is_backed_up(c);
         i++) {
        const struct store_delta *delta = &u->window.deltas[i];
        s->at.version = delta->version;
        if (!u->frames[i]) {
            u->frames[i] = frame_new(delta->event, delta->event_len);
            u->frames[i]->position = s->at;
        }
        metric_add(u->room->hub->deliveries_metric, 1);
        connection_send(c, u->frames[i], s);
    }
}

/* A watcher that is at a position gets what follows it. */
static void bring(struct update *u, struct subscription *s) {
    struct position stored = u->session->position;
    size_t from, to;
    if (order_is_newer(s->at, stored)) {
        if (u->is_believed)
            need_state(s, SYNC_AHEAD);
        return;
    }
    if (s->at.epoch != stored.epoch) {
        need_state(s, SYNC_REBUILT);
        return;
    }
    if (s->at.version < stored.version) {
        s->state = SUBSCRIPTION_FILLING;
        enum order_reach reach = order_fill(s->at.version, &u->window, &from, &to);
        if (reach == ORDER_TOO_OLD)
            need_state(s, SYNC_WINDOW);
        if (reach == ORDER_REACHED)
            send_deltas(u, s, from, to);
    }
    if (s->state == SUBSCRIPTION_LIVE || s->state == SUBSCRIPTION_FILLING)
        settle_at(u, s);
}

/* One that comes with a position: told that it can go on from there, when it can. */
static void resume(struct update *u, struct subscription *s, enum session_role role) {
    struct position stored = u->session->position;
    size_t from, to;
    if (s->at.epoch != stored.epoch)
        need_state(s, SYNC_EPOCH);
    else if (s->at.version > stored.version)
        need_state(s, SYNC_AHEAD);
    else {
        enum order_reach reach = order_fill(s->at.version, &u->window, &from, &to);
        if (reach == ORDER_TOO_OLD)
            need_state(s, SYNC_WINDOW);
        if (reach != ORDER_REACHED)
            return;
        _cleanup_(freep) char *id = TAKE_PTR(s->id);
        struct buf out = BUF_NULL;
        protocol_print_subscribed(id, u->session->id, stored, stored.version - s->at.version, &out);
        _cleanup_(frame_unrefp) struct frame *f = frame_from_buf(&out);
        f->position = s->at;
        f->answers = TAKE_PTR(id);
        s->role = role;
        s->resumes = false;
        s->state = SUBSCRIPTION_FILLING;
        metric_add(u->room->hub->resumes_metric, 1);
        connection_send(s->connection, f, s);
        if (s->state == SUBSCRIPTION_FILLING)
            bring(u, s);
    }
}

/* Who watched a session to its end gets that end, where it is still there. */
static void end_deleted(struct update *u, struct subscription *s) {
    struct fault f = {0};
    if ((s->state == SUBSCRIPTION_LIVE || s->state == SUBSCRIPTION_FILLING) &&
        judge(u->session, s, &f) != SESSION_ROLE_NONE)
        bring(u, s);
    hub_lose_deleted(s);
}

static void update_by_window(struct update *u, struct subscription *s) {
    if (u->session->deleted) {
        end_deleted(u, s);
        return;
    }
    if (is_too_early_for(s))
        return;
    enum session_role role = take_role(u, s);
    if (role == SESSION_ROLE_NONE)
        return;
    if (s->state == SUBSCRIPTION_JOINING) {
        if (is_served(s, true))
            resume(u, s, role);
    } else if (s->state == SUBSCRIPTION_LIVE || s->state == SUBSCRIPTION_FILLING)
        bring(u, s);
}

void hub_take_window(struct room *room, const struct session *session,
                     const struct store_delta *deltas, size_t n, bool is_believed) {
    struct update u = {
        .room = room,
        .session = session,
        .is_believed = is_believed,
        .window = {room->window_since, session->position.version, deltas, n},
        .frames = must_alloc(n * sizeof(struct frame *)),
    };
    room->window_end = n ? deltas[n - 1].version : session->position.version;
    for (size_t i = room->n_subscriptions; i-- > 0;)
        update_by_window(&u, room->subscriptions[i]);
    for (size_t i = 0; i < n; i++)
        frame_unref(u.frames[i]);
    free(u.frames);
    enter_again(room);
    metric_add(room->hub->windows_metric, 1);
}

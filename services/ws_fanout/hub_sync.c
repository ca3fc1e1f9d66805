/* Brings watchers up to date from the store: the state for those who join or cannot be helped
 * otherwise, the delta window for those who miss some. A room has one read under way at a time and
 * it serves all its watchers, so that a thousand of them cost one read. A read that is older than
 * what was seen on the bus is made again: nothing is lost between. */
#include <errno.h>
#include <string.h>

#include "services/ws_fanout/hub_private.h"
#include "services/ws_fanout/order.h"
#include "services/ws_fanout/protocol.h"

#define MAX_READS 64 /* under way at a time: each may bring a state of 512 KiB */
#define MAX_DELTAS 200
#define MAX_TRIES 5 /* of reads that are older than what was seen, and of loads */
#define RETRY_MS 250

/* ---- beginning reads ---- */

enum need { NEED_NOTHING, NEED_DELTAS, NEED_STATE };

static enum need find_need(const struct room *room) {
    enum need need = room->wants_compare && room->n_subscriptions ? NEED_STATE : NEED_NOTHING;
    for (size_t i = 0; i < room->n_subscriptions && need != NEED_STATE; i++) {
        enum subscription_state state = room->subscriptions[i]->state;
        if (state == SUBSCRIPTION_JOINING || state == SUBSCRIPTION_STALE)
            need = NEED_STATE;
        else if (state == SUBSCRIPTION_FILLING)
            need = NEED_DELTAS;
    }
    return need;
}

static void on_state(void *arg, int err, const struct session *session);
static void on_deltas(void *arg, int err, const struct store_delta *deltas, size_t n);

static uint64_t lowest_filling(const struct room *room) {
    uint64_t lowest = UINT64_MAX;
    for (size_t i = 0; i < room->n_subscriptions; i++) {
        const struct subscription *s = room->subscriptions[i];
        if (s->state == SUBSCRIPTION_FILLING && s->at.version < lowest)
            lowest = s->at.version;
    }
    return lowest;
}

static void begin_read(struct room *room, enum need need) {
    struct hub *h = room->hub;
    room->is_busy = true;
    h->n_reads++;
    if (need == NEED_STATE) {
        room->was_compare = room->wants_compare;
        room->wants_compare = false;
        store_read(h->store, room->session_id, on_state, room);
    } else {
        room->fill_since = lowest_filling(room);
        store_read_deltas(h->store, room->session_id, room->fill_since, MAX_DELTAS, on_deltas,
                          room);
    }
}

static void enqueue(struct room *room) {
    struct hub *h = room->hub;
    room->is_queued = true;
    room->next_queued = NULL;
    if (h->last_queued)
        h->last_queued->next_queued = room;
    else
        h->first_queued = room;
    h->last_queued = room;
}

void hub_pump(struct room *room) {
    struct hub *h = room->hub;
    if (h->is_stopped || room->is_busy || room->is_queued || room->retry_at ||
        !hub_is_joinable(room))
        return;
    enum need need = find_need(room);
    if (need == NEED_NOTHING)
        return;
    if (h->n_reads >= MAX_READS)
        enqueue(room);
    else
        begin_read(room, need);
}

/* One read less: the next room in the queue has its turn. */
static void end_read(struct hub *h) {
    h->n_reads--;
    while (h->first_queued && h->n_reads < MAX_READS && !h->is_stopped) {
        struct room *room = h->first_queued;
        h->first_queued = room->next_queued;
        if (!h->first_queued)
            h->last_queued = NULL;
        room->is_queued = false;
        hub_pump(room);
        hub_settle(room);
    }
}

static void retry_later(struct room *room) {
    room->retry_at = hub_now(room->hub) + RETRY_MS;
}

/* Tells those who wait for their first state; the others keep what they have and are served later.
 */
static void refuse_joining(struct room *room, const struct fault *why) {
    for (size_t i = room->n_subscriptions; i-- > 0;)
        if (room->subscriptions[i]->state == SUBSCRIPTION_JOINING)
            hub_lose(room->subscriptions[i], why);
}

static void give_up_for_now(struct room *room, const char *why) {
    struct fault f = {0};
    fault_set(&f, FAULT_UNAVAILABLE, NULL, "%s", why);
    refuse_joining(room, &f);
    room->wants_compare = room->wants_compare || room->was_compare;
    room->n_tries = 0;
    retry_later(room);
}

/* ---- the state ---- */

/* One state on its way to the watchers of a room; what several get alike is printed once. */
struct sync {
    struct room *room;
    const struct session *session;
    struct buf text; /* the resource for text_role */
    enum session_role text_role;
    struct frame *frame; /* for text_role and frame_reason, without id; or NULL */
    enum sync_reason frame_reason;
};

static const char *reason_name(enum sync_reason reason) {
    static const char *const names[SYNC_N_REASONS] = {
        [SYNC_INITIAL] = "initial", [SYNC_WINDOW] = "window", [SYNC_EPOCH] = "epoch",
        [SYNC_AHEAD] = "ahead",     [SYNC_SLOW] = "slow",
    };
    return names[reason];
}

static enum session_role role_of(const struct session *session, const struct connection *c) {
    const struct principal *who = &c->principal;
    if (!(who->rights & (COMMAND_READ | COMMAND_ADMIN)))
        return SESSION_ROLE_NONE;
    return command_role(session, who->user_id, who->rights);
}

static struct frame *print_frame(const struct sync *sync, const char *id, enum sync_reason reason) {
    struct buf out = BUF_NULL;
    protocol_print_state_sync(id, sync->session, &sync->text, reason_name(reason), &out);
    return frame_from_buf(&out);
}

/* A new reference to the message for this role, reason and id. */
static struct frame *make_frame(struct sync *sync, enum session_role role, enum sync_reason reason,
                                const char *id) {
    if (!sync->text.len || sync->text_role != role) {
        buf_clear(&sync->text);
        session_print(sync->session, role, &sync->text);
        sync->text_role = role;
        sync->frame = frame_unref(sync->frame);
    }
    if (id)
        return print_frame(sync, id, reason);
    if (!sync->frame || sync->frame_reason != reason) {
        frame_unref(sync->frame);
        sync->frame = print_frame(sync, NULL, reason);
        sync->frame_reason = reason;
    }
    return frame_ref(sync->frame);
}

static void send_state(struct sync *sync, struct subscription *s, enum session_role role,
                       enum sync_reason reason) {
    struct connection *c = s->connection;
    _cleanup_(freep) char *id = TAKE_PTR(s->id);
    _cleanup_(frame_unrefp) struct frame *f = make_frame(sync, role, reason, id);
    s->state = SUBSCRIPTION_LIVE;
    s->at = sync->session->position;
    metric_add(sync->room->hub->resyncs_metrics[reason], 1);
    connection_send(c, f, s);
    if (reason == SYNC_SLOW && !connection_is_backed_up(c))
        hub_resume(sync->room->hub, c);
}

/* A watcher that is at a position: where is it beside the store? */
static void compare_position(struct sync *sync, struct subscription *s, enum session_role role) {
    struct position stored = sync->session->position;
    if (position_equal(s->at, stored))
        s->state = SUBSCRIPTION_LIVE;
    else if (order_is_newer(s->at, stored))
        send_state(sync, s, role, SYNC_AHEAD);
    else if (s->at.epoch != stored.epoch)
        send_state(sync, s, role, SYNC_EPOCH);
    else
        s->state = SUBSCRIPTION_FILLING;
}

static void update(struct sync *sync, struct subscription *s) {
    enum session_role role = role_of(sync->session, s->connection);
    if (role == SESSION_ROLE_NONE || sync->session->deleted) {
        struct fault gone = {0};
        fault_set(&gone, FAULT_NOT_FOUND, NULL, "there is no such session for this user");
        hub_lose(s, &gone);
    } else if (s->state == SUBSCRIPTION_JOINING || s->state == SUBSCRIPTION_STALE)
        send_state(sync, s, role, s->reason);
    else if (s->state != SUBSCRIPTION_SLOW)
        compare_position(sync, s, role);
}

/* Whether the state is too old to be used; then it is read again. After some tries the store is
 * believed: it has lost what was seen. */
static bool is_outdated(struct room *room, const struct session *session) {
    if (session->deleted || !order_is_newer(room->seen, session->position))
        return false;
    if (++room->n_tries >= MAX_TRIES)
        return false;
    if (room->n_tries > 1)
        retry_later(room);
    room->wants_compare = room->wants_compare || room->was_compare;
    return true;
}

static void take_state(struct room *room, const struct session *session) {
    if (is_outdated(room, session))
        return;
    struct sync sync = {.room = room, .session = session};
    room->seen = session->position;
    room->n_tries = 0;
    for (size_t i = room->n_subscriptions; i-- > 0;)
        update(&sync, room->subscriptions[i]);
    frame_unref(sync.frame);
    buf_done(&sync.text);
}

/* ---- a session that the store does not have: the engine looks for it ---- */

static void refuse_loader(struct room *room, const struct fault *why) {
    for (size_t i = room->n_subscriptions; i-- > 0;) {
        struct subscription *s = room->subscriptions[i];
        if (strcmp(s->connection->principal.user_id, room->loader) == 0 &&
            (why->code == FAULT_NOT_FOUND || s->state == SUBSCRIPTION_JOINING))
            hub_lose(s, why);
    }
}

static void on_loaded(void *arg, struct reply *reply) {
    struct room *room = arg;
    room->is_busy = false;
    room->wants_compare = room->wants_compare || room->was_compare;
    if (reply->fault.code) {
        refuse_loader(room, &reply->fault);
        if (reply->fault.code == FAULT_NOT_FOUND)
            room->n_tries = 0;
        else
            retry_later(room);
    }
    hub_pump(room);
    hub_settle(room);
}

static void load(struct room *room) {
    const struct connection *c = room->n_subscriptions ? room->subscriptions[0]->connection : NULL;
    if (!c)
        return;
    if (++room->n_tries >= MAX_TRIES) {
        give_up_for_now(room, "the session cannot be loaded now");
        return;
    }
    struct command command = {.kind = COMMAND_LOAD, .rights = c->principal.rights};
    memcpy(command.session_id, room->session_id, sizeof(command.session_id));
    memcpy(command.user_id, c->principal.user_id, sizeof(command.user_id));
    memcpy(room->loader, c->principal.user_id, sizeof(room->loader));
    room->is_busy = true;
    commander_send(room->hub->commander, &command, on_loaded, room);
}

static void on_state(void *arg, int err, const struct session *session) {
    struct room *room = arg;
    struct hub *h = room->hub;
    room->is_busy = false;
    if (h->is_stopped)
        return;
    if (err == -ENOENT)
        load(room);
    else if (err)
        give_up_for_now(room, "the store does not answer");
    else
        take_state(room, session);
    end_read(h);
    hub_pump(room);
    hub_settle(room);
}

/* ---- deltas ---- */

static void become_stale(struct subscription *s, enum sync_reason reason) {
    s->state = SUBSCRIPTION_STALE;
    s->reason = reason;
}

static void send_deltas(struct subscription *s, const struct store_delta *deltas,
                        struct frame **frames, size_t from, size_t to) {
    for (size_t i = from; i < to && s->state == SUBSCRIPTION_FILLING; i++) {
        if (!frames[i])
            frames[i] = frame_new(deltas[i].event, deltas[i].event_len);
        s->at.version = deltas[i].version;
        metric_add(s->room->hub->deliveries_metric, 1);
        connection_send(s->connection, frames[i], s);
    }
}

static void fill(struct room *room, struct subscription *s, const struct store_delta *deltas,
                 struct frame **frames, size_t n) {
    size_t from, to;
    if (s->state != SUBSCRIPTION_FILLING || s->at.version < room->fill_since)
        return; /* the latter came to filling after this read began: the next one is for it */
    if (s->at.epoch != room->seen.epoch)
        become_stale(s, SYNC_EPOCH);
    else if (!order_fill(s->at.version, deltas, n, &from, &to) ||
             (from == to && order_is_newer(room->seen, s->at)))
        become_stale(s, SYNC_WINDOW);
    else {
        send_deltas(s, deltas, frames, from, to);
        if (s->state == SUBSCRIPTION_FILLING && !order_is_newer(room->seen, s->at))
            s->state = SUBSCRIPTION_LIVE;
    }
    if (s->state == SUBSCRIPTION_LIVE && room->deleted.version &&
        position_equal(s->at, room->deleted)) {
        struct fault gone = {0};
        fault_set(&gone, FAULT_NOT_FOUND, NULL, "the session was deleted");
        hub_lose(s, &gone);
    }
}

static void on_deltas(void *arg, int err, const struct store_delta *deltas, size_t n) {
    struct room *room = arg;
    struct hub *h = room->hub;
    room->is_busy = false;
    if (h->is_stopped)
        return;
    if (err)
        retry_later(room);
    else {
        struct frame **frames = must_alloc(n * sizeof(struct frame *));
        metric_add(h->gaps_metric, 1);
        for (size_t i = room->n_subscriptions; i-- > 0;)
            fill(room, room->subscriptions[i], deltas, frames, n);
        for (size_t i = 0; i < n; i++)
            frame_unref(frames[i]);
        free(frames);
    }
    end_read(h);
    hub_pump(room);
    hub_settle(room);
}

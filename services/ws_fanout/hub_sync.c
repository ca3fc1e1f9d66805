/* Reads of the store that bring watchers up to date: the state for those who join or cannot be
 * helped otherwise, meta and the delta window for those who have a position and miss what follows
 * it. A room has one read under way at a time and it serves all its watchers, so that a thousand of
 * them cost one read. What the reads bring to whom is in hub_update.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crash_point.h"
#include "services/ws_fanout/hub_private.h"
#include "services/ws_fanout/order.h"

#define MAX_READS 64 /* under way at a time: each may bring a state of 512 KiB */
#define MAX_DELTAS 200
#define MAX_TRIES 5 /* of reads that are older than what was seen, and of loads */
#define RETRY_MS 250

/* ---- beginning reads ---- */

/* A joining one that presence did not admit yet has one read begun for it, beside the question to
 * presence; if that was too early another follows the admission. */
static enum room_need need_of(const struct subscription *s) {
    switch (s->state) {
    case SUBSCRIPTION_JOINING:
        if (!s->is_admitted && s->was_read_for)
            return ROOM_NEEDS_NOTHING;
        return s->resumes ? ROOM_NEEDS_WINDOW : ROOM_NEEDS_STATE;
    case SUBSCRIPTION_STALE:
        return ROOM_NEEDS_STATE;
    case SUBSCRIPTION_FILLING: /* at its own pace: hub_resume tells when it takes more */
        return connection_is_backed_up(s->connection) ? ROOM_NEEDS_NOTHING : ROOM_NEEDS_WINDOW;
    case SUBSCRIPTION_LIVE:
    case SUBSCRIPTION_SLOW:
        break;
    }
    return ROOM_NEEDS_NOTHING;
}

/* With both needed they take turns. */
static enum room_need find_need(const struct room *room) {
    bool state = false, window = room->wants_compare && room->n_subscriptions;
    for (size_t i = 0; i < room->n_subscriptions && !(state && window); i++) {
        enum room_need need = need_of(room->subscriptions[i]);
        state = state || need == ROOM_NEEDS_STATE;
        window = window || need == ROOM_NEEDS_WINDOW;
    }
    if (state && window)
        return room->need == ROOM_NEEDS_STATE ? ROOM_NEEDS_WINDOW : ROOM_NEEDS_STATE;
    return state ? ROOM_NEEDS_STATE : window ? ROOM_NEEDS_WINDOW : ROOM_NEEDS_NOTHING;
}

/* Where the next read of the window begins. Reads go up, each from where the last one ended or the
 * next position above it, and then begin again with the lowest: so everybody has a turn, however
 * many come in below. */
static uint64_t choose_since(const struct room *room) {
    uint64_t lowest = UINT64_MAX, next = UINT64_MAX;
    for (size_t i = 0; i < room->n_subscriptions; i++) {
        const struct subscription *s = room->subscriptions[i];
        uint64_t version = s->at.version;
        if (need_of(s) != ROOM_NEEDS_WINDOW &&
            !(room->was_compare && s->state == SUBSCRIPTION_LIVE))
            continue;
        if (version < lowest)
            lowest = version;
        if (version >= room->window_end && version < next)
            next = version;
    }
    return next != UINT64_MAX ? next : lowest != UINT64_MAX ? lowest : room->seen.version;
}

static void on_state(void *arg, int err, const struct session *session);
static void on_window(void *arg, int err, const struct session *session,
                      const struct store_delta *deltas, size_t n);

static void begin_read(struct room *room, enum room_need need) {
    struct hub *h = room->hub;
    room->is_busy = true;
    h->n_reads++;
    room->need = need;
    room->seen_then = room->seen;
    snprintf(room->run_id, sizeof(room->run_id), "%s", store_run_id(h->store, room->session_id));
    room->was_compare = room->wants_compare;
    room->wants_compare = false;
    if (need == ROOM_NEEDS_STATE)
        CRASH_LINK("fanout.state.asking", CRASH_REDIS);
    if (need == ROOM_NEEDS_STATE)
        store_read(h->store, room->session_id, on_state, room);
    else {
        CRASH_LINK("fanout.window.asking", CRASH_REDIS);
        room->window_since = choose_since(room);
        store_read_window(h->store, room->session_id, room->window_since, MAX_DELTAS, on_window,
                          room);
    }
    for (size_t i = 0; i < room->n_subscriptions; i++) {
        struct subscription *s = room->subscriptions[i];
        if (s->state == SUBSCRIPTION_JOINING && s->resumes == (need == ROOM_NEEDS_WINDOW))
            s->was_read_for = true;
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
    enum room_need need = find_need(room);
    if (need == ROOM_NEEDS_NOTHING)
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
    hub_note_restless(room);
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

/* ---- a session that the store has not, or not as it should be: the engine sees to it ---- */

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
    CRASH_LINK("fanout.load.answered", CRASH_REDIS);
    room->is_busy = false;
    room->wants_compare = room->wants_compare || room->was_compare;
    if (reply->fault.code) {
        refuse_loader(room, &reply->fault);
        if (reply->fault.code == FAULT_NOT_FOUND)
            room->n_tries = 0;
        else
            retry_later(room);
    }
    for (size_t i = room->n_subscriptions; i-- > 0;)
        if (room->subscriptions[i]->wants_entry && !reply->fault.code)
            hub_enter(room->subscriptions[i]);
    hub_pump(room);
    hub_settle(room);
}

static void load(struct room *room) {
    const struct connection *c = room->n_subscriptions ? room->subscriptions[0]->connection : NULL;
    if (!c)
        return;
    if (!commander_may_load(
            room->hub->commander)) { /* a node that was started again has every room ask */
        room->wants_compare = room->wants_compare || room->was_compare;
        retry_later(room);
        return;
    }
    if (++room->n_tries >= MAX_TRIES) {
        give_up_for_now(room, "the session cannot be loaded now");
        return;
    }
    struct command command = {.kind = COMMAND_LOAD, .rights = c->principal.rights};
    memcpy(command.session_id, room->session_id, sizeof(command.session_id));
    memcpy(command.user_id, c->principal.user_id, sizeof(command.user_id));
    memcpy(room->loader, c->principal.user_id, sizeof(room->loader));
    room->is_busy = true;
    CRASH_LINK("fanout.load.asking", CRASH_BROKER);
    commander_send(room->hub->commander, &command, on_loaded, room);
}

/* ---- answers ---- */

/* Whether Redis had less than was seen before it was asked; then it is read again. After some tries
 * it is believed: it has lost what was seen. What was seen since the question only means that the
 * answer is not the end of it. */
static bool is_outdated(struct room *room, const struct session *session, bool *ret_is_believed) {
    *ret_is_believed = false;
    if (session->deleted || !order_is_newer(room->seen_then, session->position)) {
        room->n_tries = 0;
        return false;
    }
    if (++room->n_tries >= MAX_TRIES) {
        room->n_tries = 0;
        *ret_is_believed = true;
        return false;
    }
    if (room->n_tries > 1)
        retry_later(room);
    room->wants_compare = room->wants_compare || room->was_compare;
    return true;
}

static void take(struct room *room, const struct session *session, const struct store_delta *deltas,
                 size_t n) {
    bool is_believed;
    if (is_outdated(room, session, &is_believed))
        return;
    if (is_believed || order_is_newer(session->position, room->seen))
        room->seen = session->position;
    if (room->need == ROOM_NEEDS_STATE)
        hub_take_state(room, session, is_believed);
    else
        hub_take_window(room, session, deltas, n, is_believed);
}

static void on_window(void *arg, int err, const struct session *session,
                      const struct store_delta *deltas, size_t n) {
    struct room *room = arg;
    struct hub *h = room->hub;
    if (deltas && CRASH_POINT_CUT("fanout.window.answered", CRASH_REDIS))
        err = -ENOTCONN;
    if (!err && !h->is_stopped)
        take(room, session, deltas, n); /* nothing begins meanwhile: the room is busy */
    room->is_busy = false;
    if (h->is_stopped)
        return;
    if (err == -ENOENT || err == -ESTALE || err == -EBADMSG)
        load(room);
    else if (err)
        give_up_for_now(room, "the store does not answer");
    end_read(h);
    hub_pump(room);
    hub_settle(room);
}

static void on_state(void *arg, int err, const struct session *session) {
    if (CRASH_POINT_CUT("fanout.state.answered", CRASH_REDIS))
        err = -ENOTCONN;
    on_window(arg, err, session, NULL, 0);
}

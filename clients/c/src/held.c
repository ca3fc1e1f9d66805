/* A session on this device: what the server told, with this device's own unanswered changes on top.
 * The same rules as clients/js/src/session.ts. */
#include <stdlib.h>
#include <string.h>

#include "clients/c/src/hand.h"
#include "proto/text.h"

/* ---- from its beginning to its end ---- */

struct handoff_session *held_new(struct handoff *h, const char *id,
                                 const struct handoff_events *events, void *user) {
    struct handoff_session *s = must_alloc(sizeof(*s));
    s->hand = h;
    s->user = user;
    memcpy(s->id, id, UUID_LEN + 1);
    if (events) {
        size_t size = events->size < sizeof(s->events) ? events->size : sizeof(s->events);
        memcpy(&s->events, events, size);
    }
    s->replica.max_data_bytes = h->options.max_frame_bytes;
    unsent_init(&s->unsent, &held_calls, s, h->options.max_unsent);
    return s;
}

static void forget_texts(struct handoff_session *s) {
    free(s->data_text);
    free(s->resource_text);
    free(s->confirmed_text);
    s->data_text = s->resource_text = s->confirmed_text = NULL;
}

void held_free(struct handoff_session *s) {
    ask_forget(s->hand, s);
    unsent_done(&s->unsent);
    forget_texts(s);
    json_decref(s->view);
    replica_done(&s->replica);
    free(s);
}

static void restore(void *arg, const char *key, const char *text) {
    struct handoff_session *s = arg;
    struct handoff_error error;
    if (unsent_restore(&s->unsent, key, text))
        return;
    problem_set(&error, "store_failed", "a stored command of session %s cannot be taken", s->id);
    hand_tell_error(s->hand, &error);
}

void held_load(struct handoff_session *s) {
    const struct handoff_store *store = &s->hand->store;
    int r = store->load ? store->load(store->user, s->id, restore, s) : 0;
    struct handoff_error error;
    if (r < 0) {
        problem_set(&error, "store_failed", "session %s: %s", s->id, strerror(-r));
        hand_tell_error(s->hand, &error);
    }
    s->told.unsent = unsent_count(&s->unsent);
}

bool held_is_open(const struct handoff_session *s) {
    return !s->is_closed && !s->is_lost;
}

/* ---- what it tells ---- */

static struct handoff_sync sync_of(const struct handoff_session *s) {
    enum handoff_state link = s->hand->state;
    bool is_away = link == HANDOFF_WAITING || link == HANDOFF_STOPPED;
    enum handoff_sync_state state = !held_is_open(s) ? HANDOFF_CLOSED
                                    : s->is_synced   ? HANDOFF_SYNCED
                                    : is_away        ? HANDOFF_OFFLINE
                                                     : HANDOFF_SYNC_CONNECTING;
    return (struct handoff_sync){state, unsent_count(&s->unsent)};
}

void held_tell_state(struct handoff_session *s) {
    struct handoff_sync now = sync_of(s);
    if (s->is_closed || (now.state == s->told.state && now.unsent == s->told.unsent))
        return;
    s->told = now;
    if (s->events.state)
        s->events.state(s, s->user, &now);
}

/* What does not fit any more is left out: the server will say so. */
static void make_view(struct handoff_session *s) {
    json_t *view = json_incref(s->replica.session);
    size_t data_bytes = s->replica.data_bytes;
    for (struct pending *p = s->unsent.first; p && view; p = p->next) {
        json_t *next = p->is_shown ? NULL : held_with(s, view, &data_bytes, p);
        if (next) {
            json_decref(view);
            view = next;
        }
    }
    json_decref(s->view);
    s->view = view;
    forget_texts(s);
}

void held_render(struct handoff_session *s, enum handoff_source source,
                 const struct handoff_event *event) {
    make_view(s);
    if (s->events.change && held_is_open(s))
        s->events.change(s, s->user, source, event);
}

/* ---- what there is ---- */

const char *handoff_session_data(struct handoff_session *s) {
    if (!s->data_text)
        s->data_text = text_of(json_object_get(s->view, "data"));
    return s->data_text;
}

json_t *handoff_session_data_json(struct handoff_session *s) {
    const char *text = handoff_session_data(s);
    return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

const char *handoff_session_resource(struct handoff_session *s) {
    if (!s->resource_text)
        s->resource_text = text_of(s->view);
    return s->resource_text;
}

const char *handoff_session_confirmed_data(struct handoff_session *s) {
    if (!s->confirmed_text)
        s->confirmed_text = text_of(json_object_get(s->replica.session, "data"));
    return s->confirmed_text;
}

const char *handoff_session_name(const struct handoff_session *s) {
    return frame_string(s->view, "name");
}

const char *handoff_session_status(const struct handoff_session *s) {
    return frame_string(s->view, "status");
}

const char *handoff_session_role(const struct handoff_session *s) {
    return frame_string(s->view, "role");
}

const char *handoff_session_active_device_id(const struct handoff_session *s) {
    return frame_string(s->view, "activeDeviceId");
}

const char *handoff_session_checksum(const struct handoff_session *s) {
    return frame_string(s->replica.session, "checksum");
}

const char *handoff_session_id(const struct handoff_session *s) {
    return s->id;
}

struct handoff_position handoff_session_position(const struct handoff_session *s) {
    return s->replica.position;
}

struct handoff_sync handoff_session_sync(const struct handoff_session *s) {
    return sync_of(s);
}

void *handoff_session_user(const struct handoff_session *s) {
    return s->user;
}

struct handoff *handoff_session_handoff(const struct handoff_session *s) {
    return s->hand;
}

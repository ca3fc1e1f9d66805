/* What the server tells of a session, and asking it to. */
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "clients/c/src/hand.h"
#include "proto/text.h"

#define MAX_TOLD_DEVICES 1000 /* of a `presence`, each way: as many as the server tells */

/* ---- asking ---- */

static bool is_connected(const struct handoff_session *s) {
    return s->hand->state == HANDOFF_OPEN && s->hand->is_linked;
}

void held_subscribe(struct handoff_session *s) {
    struct handoff_position at = s->replica.position;
    s->subscribe_at_ms = 0;
    if (!held_is_open(s) || !is_connected(s))
        return;
    if (ask_waits(s->hand, ASKED_SUBSCRIBE, s)) {
        s->wants_again = true;
        return;
    }
    json_t *message = json_object();
    json_object_set_new(message, "type", json_string("subscribe"));
    json_object_set_new(message, "sessionId", json_string(s->id));
    if (at.epoch && !s->wants_whole) {
        json_object_set_new(message, "since", json_real((double)at.version));
        json_object_set_new(message, "epoch", json_real((double)at.epoch));
    }
    s->wants_again = false;
    ask_send(s->hand, ASKED_SUBSCRIBE, s, message);
}

static void subscribe_later(struct handoff_session *s, int64_t ms) {
    hand_at(s->hand, &s->subscribe_at_ms, ms ? ms : delay_next_ms(&s->resync));
}

void held_subscribe_refused(struct handoff_session *s, const struct handoff_error *error) {
    if (!held_is_open(s) || !s->hand->is_linked)
        return; /* it is asked for with the next connection */
    if (problem_is_temporary(error))
        subscribe_later(s, error->retry_after_ms);
    else
        held_lose(s, error);
}

/* Or from the last event that was taken, for who has no copy. At once, unless it was in vain. */
void held_start_over(struct handoff_session *s) {
    if (!s->replica.follows)
        replica_distrust(&s->replica);
    s->is_synced = false;
    unsent_set_open(&s->unsent, false);
    if (s->n_resyncs++ == 0)
        held_subscribe(s);
    else
        subscribe_later(s, 0);
    held_tell_state(s);
}

void held_link_changed(struct handoff_session *s) {
    if (s->hand->state != HANDOFF_OPEN) {
        s->is_synced = false;
        s->subscribe_at_ms = 0;
        s->wants_again = false;
        unsent_set_open(&s->unsent, false);
    }
    held_tell_state(s);
}

void held_due(struct handoff_session *s, int64_t now_ms) {
    if (s->subscribe_at_ms && s->subscribe_at_ms <= now_ms)
        held_subscribe(s);
    if (s->pump_at_ms && s->pump_at_ms <= now_ms) {
        s->pump_at_ms = 0;
        unsent_wake(&s->unsent);
    }
}

void held_lose(struct handoff_session *s, const struct handoff_error *error) {
    if (!held_is_open(s))
        return;
    s->is_lost = true;
    s->is_synced = false;
    s->subscribe_at_ms = s->pump_at_ms = 0;
    unsent_fail(&s->unsent, error);
    held_tell_state(s);
    if (s->events.lost && !s->is_closed)
        s->events.lost(s, s->user, error);
}

/* ---- a whole session ---- */

void held_replace(struct handoff_session *s, json_t *session) {
    int64_t epoch = frame_position(s->replica.session).epoch;
    if (replica_replace(&s->replica, session)) {
        for (struct pending *p = s->unsent.first; p; p = p->next)
            p->is_shown = false;
        if (epoch && epoch != s->replica.position.epoch)
            unsent_settle(&s->unsent, INT64_MAX); /* done: in it, or lost with the old epoch */
    }
    unsent_settle(&s->unsent, s->replica.position.version);
}

static void in_sync(struct handoff_session *s) {
    s->is_synced = true;
    held_tell_state(s);
    unsent_set_open(&s->unsent, true);
}

static void take_sync(struct handoff_session *s, const json_t *frame) {
    /* It comes in order, so it is what there is; what a conflict told may be ahead of it. */
    if (s->replica.follows || text_is_same(frame_string(frame, "reason"), "ahead"))
        replica_distrust(&s->replica);
    s->wants_whole = false;
    held_replace(s, json_object_get(frame, "session"));
    if (!s->replica.position.epoch) {
        held_start_over(s); /* it was none */
        return;
    }
    if (!s->replica.follows)
        held_render(s, HANDOFF_SYNC, NULL);
    in_sync(s);
}

/* ---- events ---- */

static bool looks_like(const struct handoff_session *s, const struct pending *p,
                       const json_t *event) {
    return p->is_sent && text_is_same(frame_string(p->command, "type"), "patch") &&
           text_is_same(frame_string(event, "type"), "state_delta") &&
           text_is_same(frame_string(event, "deviceId"), s->hand->device_id) &&
           json_object_get(event, "operations") &&
           text_equal(json_object_get(p->command, "operations"),
                      json_object_get(event, "operations"));
}

static struct pending *own_of(const struct handoff_session *s, const json_t *event) {
    int64_t version = frame_position(event).version;
    for (struct pending *p = s->unsent.first; p; p = p->next)
        if (p->done_at && p->done_at == version)
            return p;
    for (struct pending *p = s->unsent.first; p; p = p->next)
        if (looks_like(s, p, event))
            return p;
    return NULL;
}

/* This device's change, told before its answer came, is not to be shown twice; and what this device
 * did on top of it knows of it, so that it is no conflict. */
static void note_own(struct handoff_session *s, const json_t *event) {
    struct pending *own = own_of(s, event);
    struct handoff_position at = frame_position(event);
    if (!own)
        return;
    own->is_shown = true;
    for (struct pending *p = s->unsent.first; p; p = p->next)
        if (!p->is_sent && frame_number(p->command, "epoch") == at.epoch &&
            frame_number(p->command, "baseVersion") == at.version - 1)
            json_object_set_new(p->command, "baseVersion", json_real((double)at.version));
}

/* Nobody but the owner has a role that another can change; which it is now, the session says. */
static void learn_role(struct handoff_session *s, const char *type) {
    if (!text_is_same(type, "participant_changed") ||
        text_is_same(frame_string(s->replica.session, "role"), "owner"))
        return;
    s->wants_whole = true;
    held_subscribe(s);
}

static void take_event(struct handoff_session *s, const json_t *frame,
                       const struct handoff_event *event) {
    enum replica_taken taken = replica_take(&s->replica, frame);
    if (taken == REPLICA_GAP || taken == REPLICA_DRIFT) {
        held_start_over(s);
        return;
    }
    if (taken == REPLICA_OLD)
        return;
    s->n_resyncs = 0;
    delay_reset(&s->resync);
    if (s->events.event && held_is_open(s))
        s->events.event(s, s->user, event);
    if (s->replica.follows)
        return;
    note_own(s, frame);
    unsent_settle(&s->unsent, event->position.version);
    held_render(s, HANDOFF_REMOTE, event);
    learn_role(s, event->type);
}

/* ---- what is no version ---- */

static size_t names_of(const json_t *list, const char **ret) {
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list) && n < MAX_TOLD_DEVICES; i++)
        if (json_is_string(json_array_get(list, i)))
            ret[n++] = json_string_value(json_array_get(list, i));
    return n;
}

static void tell_devices(struct handoff_session *s, const json_t *frame) {
    const char *joined[MAX_TOLD_DEVICES + 1], *left[MAX_TOLD_DEVICES + 1];
    const char *device = frame_string(frame, "deviceId"), *type = frame_string(frame, "type");
    struct handoff_devices devices = {.joined = joined,
                                      .n_joined =
                                          names_of(json_object_get(frame, "joined"), joined),
                                      .left = left,
                                      .n_left = names_of(json_object_get(frame, "left"), left),
                                      .name = frame_string(frame, "name"),
                                      .platform = frame_string(frame, "platform")};
    if (device && text_is_same(type, "device_joined"))
        joined[devices.n_joined++] = device;
    if (device && text_is_same(type, "device_left"))
        left[devices.n_left++] = device;
    if (s->events.devices)
        s->events.devices(s, s->user, &devices);
}

static void tell_broadcast(struct handoff_session *s, const json_t *frame) {
    if (!s->events.broadcast)
        return;
    _cleanup_(freep) char *message = text_of(json_object_get(frame, "message"));
    s->events.broadcast(s, s->user, message ? message : "null", frame_string(frame, "deviceId"));
}

static void tell_warning(struct handoff_session *s, const json_t *frame) {
    const char *participant = frame_string(frame, "participantId");
    int64_t ms = frame_number(frame, "remainingMs");
    if (s->events.warning)
        s->events.warning(s, s->user, participant ? participant : "", ms > 0 ? ms : 0);
}

static void tell_unversioned(struct handoff_session *s, const json_t *frame,
                             const struct handoff_event *event) {
    if (s->events.event)
        s->events.event(s, s->user, event);
    if (s->replica.follows || !held_is_open(s))
        return;
    if (text_is_same(event->type, "device_joined") || text_is_same(event->type, "device_left") ||
        text_is_same(event->type, "presence"))
        tell_devices(s, frame);
    else if (text_is_same(event->type, "broadcast"))
        tell_broadcast(s, frame);
    else if (text_is_same(event->type, "clock_warning"))
        tell_warning(s, frame);
}

/* ---- a frame ---- */

/* Of what did not come because it was asked for: an answer that refuses is told to who asked. */
static void take_end(struct handoff_session *s, const json_t *frame) {
    struct handoff_error error;
    if (!frame_string(frame, "code"))
        return; /* this side asked for it, and then for the session again */
    problem_from_frame(frame, &error);
    if (problem_is_temporary(&error))
        subscribe_later(s, error.retry_after_ms);
    else
        held_lose(s, &error);
}

static bool is_answer(const char *type) {
    return text_is_same(type, "ack") || text_is_same(type, "pong") || text_is_same(type, "hello");
}

static void take(struct handoff_session *s, const json_t *frame,
                 const struct handoff_event *event) {
    if (text_is_same(event->type, "state_sync")) {
        if (s->events.event)
            s->events.event(s, s->user, event);
        take_sync(s, frame);
    } else if (text_is_same(event->type, "subscribed")) {
        if (s->replica.position.epoch)
            in_sync(s);
    } else if (text_is_same(event->type, "unsubscribed") || text_is_same(event->type, "error")) {
        take_end(s, frame);
    } else if (replica_is_versioned(event->type)) {
        if (s->replica.position.epoch) /* else it comes with the whole session */
            take_event(s, frame, event);
    } else if (!is_answer(event->type)) {
        tell_unversioned(s, frame, event);
    }
}

void held_take(struct handoff_session *s, const json_t *frame, const char *text) {
    struct handoff_event event = {.type = frame_string(frame, "type"),
                                  .position = frame_position(frame),
                                  .timestamp = frame_string(frame, "timestamp"),
                                  .user_id = frame_string(frame, "userId"),
                                  .device_id = frame_string(frame, "deviceId"),
                                  .json = text};
    take(s, frame, &event);
    if (s->wants_again && !ask_waits(s->hand, ASKED_SUBSCRIBE, s))
        held_subscribe(s);
}

/* A device's way to Handoff: options, turns of the loop, sessions; see handoff.h. */
#include "clients/c/src/hand.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/claim.h"
#include "proto/session.h"

#define DEFAULT_FRAME_BYTES (1u << 20)
#define DEFAULT_UNSENT 1000
#define DEFAULT_MESSAGE_BYTES 65536 /* until the server says */

/* ---- moments ---- */

void hand_at(struct handoff *h, int64_t *ret_at_ms, int64_t delay_ms) {
    *ret_at_ms = timestamp_monotonic_ms() + delay_ms;
    transport_alarm(h->transport, *ret_at_ms);
}

static void earlier(int64_t *ret_ms, int64_t at_ms) {
    if (at_ms && (!*ret_ms || at_ms < *ret_ms))
        *ret_ms = at_ms;
}

static int64_t next_ms(const struct handoff *h) {
    int64_t next = 0;
    earlier(&next, h->open_at_ms);
    earlier(&next, h->connect_at_ms);
    earlier(&next, h->silent_at_ms);
    earlier(&next, ask_next_ms(h));
    for (const struct handoff_session *s = h->sessions; s; s = s->next) {
        earlier(&next, s->subscribe_at_ms);
        earlier(&next, s->pump_at_ms);
    }
    return next;
}

static void free_closed(struct handoff *h) {
    for (struct handoff_session **at = &h->sessions; *at;) {
        struct handoff_session *s = *at;
        if (s->is_closed) {
            *at = s->next;
            held_free(s);
        } else {
            at = &s->next;
        }
    }
}

void hand_turn_end(struct handoff *h) {
    free_closed(h);
    int64_t next = next_ms(h);
    if (next)
        transport_alarm(h->transport, next);
}

void hand_alarm(struct handoff *h) {
    int64_t now_ms = timestamp_monotonic_ms();
    wire_due(h, now_ms);
    for (struct handoff_session *s = h->sessions; s; s = s->next)
        held_due(s, now_ms);
    hand_turn_end(h);
}

void hand_tell_error(struct handoff *h, const struct handoff_error *error) {
    if (h->options.error)
        h->options.error(h, h->options.user, error);
}

void hand_learn_device(struct handoff *h, const char *token) {
    if (!h->device_id[0])
        claim_device(token, sizeof(h->device_id), h->device_id);
}

/* ---- options ---- */

static char *copy_of(const char *text) {
    return text ? must_strdup(text) : NULL;
}

static int check_options(const struct handoff_options *o, struct handoff_error *error) {
    if (!o || o->size < offsetof(struct handoff_options, state))
        return problem_set(error, "invalid_value", "size is sizeof(struct handoff_options)");
    if (!o->token)
        return problem_set(error, "invalid_value", "token: a callback is needed");
    if (o->device_id && !session_device_is_valid(o->device_id, strlen(o->device_id)))
        return problem_set(error, "invalid_value", "device_id: 1 to 128 of A-Z a-z 0-9 . _ : -");
    return 0;
}

/* Members that the caller's struct has not got are 0. */
static void copy_options(struct handoff *h, const struct handoff_options *o) {
    size_t size = o->size < sizeof(h->options) ? o->size : sizeof(h->options);
    memcpy(&h->options, o, size);
    h->options.max_frame_bytes =
        h->options.max_frame_bytes ? h->options.max_frame_bytes : DEFAULT_FRAME_BYTES;
    h->options.max_unsent = h->options.max_unsent ? h->options.max_unsent : DEFAULT_UNSENT;
    h->device_name = copy_of(h->options.device_name);
    h->device_platform = copy_of(h->options.device_platform);
    h->ca_file = copy_of(h->options.ca_file);
    if (h->options.device_id)
        memcpy(h->device_id, h->options.device_id, strlen(h->options.device_id) + 1);
    if (h->options.store)
        h->store = *h->options.store;
    h->max_message_bytes = DEFAULT_MESSAGE_BYTES;
}

static void free_hand(struct handoff *h) {
    endpoint_done(&h->address);
    if (h->token)
        explicit_bzero(h->token, strlen(h->token));
    free(h->token);
    free(h->device_name);
    free(h->device_platform);
    free(h->ca_file);
    free(h);
}

static int start_transport(struct handoff *h) {
    const struct transport_options options = {.address = h->address,
                                              .ca_file = h->ca_file,
                                              .uv_loop = h->options.uv_loop,
                                              .max_frame_bytes = h->options.max_frame_bytes,
                                              .keep_lws_log = h->options.keep_lws_log,
                                              .events = &wire_events,
                                              .user = h};
    return transport_new(&h->transport, &options);
}

struct handoff *handoff_new(const struct handoff_options *options, struct handoff_error *error) {
    if (check_options(options, error) != 0)
        return NULL;
    struct handoff *h = must_alloc(sizeof(*h));
    copy_options(h, options);
    if (endpoint_parse(h->options.url, &h->address) != 0) {
        problem_set(error, "invalid_value", "url: ws://host:port or wss://host");
        free_hand(h);
        return NULL;
    }
    if (start_transport(h) != 0) {
        problem_set(error, "internal", "libwebsockets gives no context%s",
                    h->ca_file ? "; can ca_file be read?" : "");
        free_hand(h);
        return NULL;
    }
    return h;
}

void handoff_free(struct handoff *h) {
    if (!h)
        return;
    h->state = HANDOFF_STOPPED;
    while (h->sessions) { /* who is told of the end may open others */
        for (struct handoff_session *s = h->sessions; s; s = s->next)
            s->is_closed = true;
        free_closed(h);
    }
    ask_done(h);
    transport_free(h->transport);
    free_hand(h);
}

/* ---- turns, and what there is ---- */

int handoff_run(struct handoff *h, int timeout_ms) {
    return transport_run(h->transport, timeout_ms);
}

void handoff_wake(struct handoff *h) {
    transport_wake(h->transport);
}

enum handoff_state handoff_get_state(const struct handoff *h) {
    return h->state;
}

const char *handoff_device_id(const struct handoff *h) {
    return h->device_id;
}

int64_t handoff_now_ms(const struct handoff *h) {
    return timestamp_wall_ms() + h->offset_ms;
}

size_t handoff_unsent(const struct handoff *h) {
    size_t n = 0;
    for (const struct handoff_session *s = h->sessions; s; s = s->next)
        n += unsent_count(&s->unsent);
    return n;
}

/* ---- sessions ---- */

static struct handoff_session *add(struct handoff *h, const char *id,
                                   const struct handoff_events *events, void *user,
                                   struct handoff_error *error) {
    size_t n = 0;
    if (!id || !uuid_is(id, strlen(id))) {
        problem_set(error, "invalid_value", "session_id: a UUID in lower case");
        return NULL;
    }
    for (const struct handoff_session *s = h->sessions; s; s = s->next) {
        n += !s->is_closed;
        if (!s->is_closed && strcmp(s->id, id) == 0) {
            problem_set(error, "invalid_value", "session_id: it is open already");
            return NULL;
        }
    }
    if (n >= HAND_MAX_SESSIONS) {
        problem_set(error, "too_many_sessions", "%d are open, a connection has no more", (int)n);
        return NULL;
    }
    struct handoff_session *s = held_new(h, id, events, user);
    s->next = h->sessions;
    h->sessions = s;
    return s;
}

static void begin(struct handoff *h, struct handoff_session *s) {
    if (h->state == HANDOFF_OPEN)
        hand_at(h, &s->subscribe_at_ms, 0);
    wire_begin(h);
}

struct handoff_session *handoff_open(struct handoff *h, const char *session_id,
                                     const struct handoff_events *events, void *user,
                                     struct handoff_error *error) {
    struct handoff_session *s = add(h, session_id, events, user, error);
    if (!s)
        return NULL;
    held_load(s);
    begin(h, s);
    return s;
}

struct handoff_session *handoff_follow(struct handoff *h, const char *session_id,
                                       const struct handoff_position *since,
                                       const struct handoff_events *events, void *user,
                                       struct handoff_error *error) {
    struct handoff_session *s = add(h, session_id, events, user, error);
    if (!s)
        return NULL;
    s->replica.follows = true;
    if (since && since->epoch >= 1 && since->version >= 0)
        s->replica.position = *since;
    begin(h, s);
    return s;
}

void handoff_session_close(struct handoff_session *s) {
    if (!s || s->is_closed)
        return;
    struct handoff *h = s->hand;
    int64_t now_ms;
    s->is_closed = true;
    s->unsent.is_open = false;
    if (h->state == HANDOFF_OPEN && h->is_linked && !s->is_lost) {
        json_t *message = json_object();
        json_object_set_new(message, "type", json_string("unsubscribe"));
        json_object_set_new(message, "sessionId", json_string(s->id));
        ask_tell(h, message);
    }
    hand_at(h, &now_ms, 0); /* it goes at that turn's end */
}

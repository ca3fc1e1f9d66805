/* A client whose transport is the test itself: what it sends is kept, what comes is said by the
 * test. transport.o stays in its archive, since all of its names are here. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "clients/c/src/hand.h"
#include "proto/canonical.h"
#include "proto/text.h"

#define SESSION "0197a1b2-0000-7000-8000-000000000001"

static struct wire {
    void *user;
    bool is_connected;
    unsigned n_connects;
    json_t *sent; /* what the client said, since it was looked at last */
} wire;

static struct told {
    struct handoff_sync sync;
    enum handoff_state state;
    struct handoff_error why, lost, answered, conflict;
    unsigned n_tokens, n_changes, n_answers, n_acks, n_conflicts, n_lost, n_events;
    bool gives_token, is_resolved;
    enum handoff_source source;
} told;

/* ---- the transport ---- */

int transport_new(struct transport **ret, const struct transport_options *options) {
    wire = (struct wire){.user = options->user, .sent = json_array()};
    *ret = (struct transport *)&wire;
    return 0;
}

struct transport *transport_free(struct transport *t) {
    (void)t;
    json_decref(wire.sent);
    wire.sent = NULL;
    return NULL;
}

int transport_connect(struct transport *t, const char *device_id) {
    (void)t, (void)device_id;
    wire.is_connected = true;
    wire.n_connects++;
    return 0;
}

void transport_send(struct transport *t, const char *text, size_t len) {
    json_t *message = NULL;
    (void)t;
    assert_int_equal(text_parse(text, len, &message, NULL), 0);
    json_array_append_new(wire.sent, message);
}

void transport_drop(struct transport *t) {
    (void)t;
    wire.is_connected = false;
}

void transport_alarm(struct transport *t, int64_t at_ms) {
    (void)t, (void)at_ms;
}

int transport_run(struct transport *t, int timeout_ms) {
    (void)t, (void)timeout_ms;
    return 0;
}

void transport_wake(struct transport *t) {
    (void)t;
}

/* ---- the app ---- */

static void on_token(struct handoff *h, void *user) {
    (void)user;
    told.n_tokens++;
    if (told.gives_token)
        handoff_set_token(h, "a.token.of-the-test");
}

static void on_state(struct handoff *h, void *user, enum handoff_state state,
                     const struct handoff_error *why) {
    (void)h, (void)user;
    told.state = state;
    if (why)
        told.why = *why;
}

static void on_sync(struct handoff_session *s, void *user, const struct handoff_sync *sync) {
    (void)s, (void)user;
    told.sync = *sync;
}

static void on_change(struct handoff_session *s, void *user, enum handoff_source source,
                      const struct handoff_event *event) {
    (void)s, (void)user, (void)event;
    told.source = source;
    told.n_changes++;
}

static void on_conflict(struct handoff_session *s, void *user, const struct handoff_conflict *c) {
    (void)s, (void)user;
    told.conflict = *c->error;
    told.is_resolved = c->resolved;
    told.n_conflicts++;
}

static void on_lost(struct handoff_session *s, void *user, const struct handoff_error *error) {
    (void)s, (void)user;
    told.lost = *error;
    told.n_lost++;
}

static void on_event(struct handoff_session *s, void *user, const struct handoff_event *event) {
    (void)s, (void)user, (void)event;
    told.n_events++;
}

static inline void on_answer(struct handoff_session *s, void *user,
                             const struct handoff_error *error, const struct handoff_ack *ack) {
    (void)s, (void)user;
    told.n_answers++;
    told.n_acks += ack != NULL;
    if (error)
        told.answered = *error;
}

static inline struct handoff *new_client(const struct handoff_store *store) {
    struct handoff_options options = {.size = sizeof(options),
                                      .url = "ws://127.0.0.1:1",
                                      .device_id = "phone",
                                      .token = on_token,
                                      .state = on_state,
                                      .store = store,
                                      .max_unsent = 5};
    told = (struct told){.gives_token = true};
    struct handoff *h = handoff_new(&options, NULL);
    assert_non_null(h);
    return h;
}

static inline struct handoff_session *open_session(struct handoff *h) {
    static const struct handoff_events events = {.size = sizeof(events),
                                                 .state = on_sync,
                                                 .change = on_change,
                                                 .conflict = on_conflict,
                                                 .lost = on_lost,
                                                 .event = on_event};
    struct handoff_session *s = handoff_open(h, SESSION, &events, NULL, NULL);
    assert_non_null(s);
    return s;
}

/* ---- the server ---- */

static inline void say(const char *text) {
    wire_events.message(wire.user, text, strlen(text));
}

__attribute__((format(printf, 1, 2))) static inline void sayf(const char *format, ...) {
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    say(text);
}

/* What the client said next; a new reference, NULL: nothing. */
static inline json_t *take_sent(void) {
    json_t *message = json_incref(json_array_get(wire.sent, 0));
    if (message)
        json_array_remove(wire.sent, 0);
    return message;
}

static inline json_t *expect_sent(const char *type) {
    json_t *message = take_sent();
    assert_non_null(message);
    assert_string_equal(frame_string(message, "type"), type);
    return message;
}

/* Its id, for an answer; borrowed until the next. */
static inline const char *expect_id(const char *type) {
    static char id[32];
    json_auto_t *message = expect_sent(type);
    snprintf(id, sizeof(id), "%s", frame_string(message, "id"));
    return id;
}

static inline void session_text(int version, const char *data, char *ret, size_t cap) {
    json_t *value = NULL;
    char checksum[HASH_HEX_LEN + 1];
    assert_int_equal(text_parse(data, strlen(data), &value, NULL), 0);
    canonical_checksum(value, checksum);
    json_decref(value);
    snprintf(ret, cap,
             "{\"id\":\"" SESSION "\",\"name\":\"n\",\"status\":\"active\",\"role\":\"owner\","
             "\"epoch\":1,\"version\":%d,\"data\":%s,\"checksum\":\"%s\"}",
             version, data, checksum);
}

static inline void say_sync(const char *id, int version, const char *data) {
    char session[2048];
    session_text(version, data, session, sizeof(session));
    sayf("{\"type\":\"state_sync\",\"id\":\"%s\",\"sessionId\":\"" SESSION "\",\"epoch\":1,"
         "\"version\":%d,\"session\":%s,\"reason\":\"initial\"}",
         id, version, session);
}

/* after: the data that there is then. */
static inline void delta_text(int version, const char *device, const char *operations,
                              const char *after, char *ret, size_t cap) {
    json_t *value = NULL;
    char checksum[HASH_HEX_LEN + 1];
    assert_int_equal(text_parse(after, strlen(after), &value, NULL), 0);
    canonical_checksum(value, checksum);
    json_decref(value);
    snprintf(ret, cap,
             "{\"type\":\"state_delta\",\"sessionId\":\"" SESSION "\",\"epoch\":1,\"version\":%d,"
             "\"timestamp\":\"2026-11-21T03:50:44.639Z\",\"userId\":\"u\",\"deviceId\":\"%s\","
             "\"baseVersion\":%d,\"operations\":%s,\"checksum\":\"%s\"}",
             version, device, version - 1, operations, checksum);
}

static inline void say_delta(int version, const char *device, const char *operations,
                             const char *after) {
    char text[2048];
    delta_text(version, device, operations, after, text, sizeof(text));
    say(text);
}

static inline void say_ack(const char *id, int version) {
    sayf("{\"type\":\"ack\",\"id\":\"%s\",\"sessionId\":\"" SESSION "\",\"epoch\":1,\"version\":%d,"
         "\"checksum\":\"c\",\"rebased\":false}",
         id, version);
}

/* ---- what happens often ---- */

/* What was set for now, or is made due, is done. */
static inline void turn(struct handoff *h) {
    hand_alarm(h);
}

static inline void connect_client(struct handoff *h) {
    turn(h);
    turn(h);
    assert_true(wire.is_connected);
    wire_events.opened(h);
    sayf("{\"type\":\"hello\",\"id\":\"%s\",\"connectionId\":\"c\",\"pingSeconds\":25,"
         "\"maxMessageBytes\":65536,\"serverTime\":\"2026-11-21T03:50:44.639Z\"}",
         expect_id("auth"));
    assert_int_equal(handoff_get_state(h), HANDOFF_OPEN);
}

static inline struct handoff_session *synced(struct handoff *h, int version, const char *data) {
    struct handoff_session *s = open_session(h);
    connect_client(h);
    say_sync(expect_id("subscribe"), version, data);
    assert_int_equal(told.sync.state, HANDOFF_SYNCED);
    return s;
}

static inline void close_wire(int code, const char *reason) {
    wire.is_connected = false;
    wire_events.closed(wire.user, code, reason);
}

static inline int64_t wait_of(const struct handoff *h) {
    return h->open_at_ms ? h->open_at_ms - timestamp_monotonic_ms() : -1;
}

/* The connection comes back; the session is at its position still. */
static inline void come_back(struct handoff *h) {
    assert_int_equal(told.state, HANDOFF_WAITING);
    h->open_at_ms = 1;
    connect_client(h);
}

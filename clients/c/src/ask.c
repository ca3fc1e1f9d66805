/* What was asked over the connection; each answer is known by its id. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timestamp.h"
#include "clients/c/src/hand.h"
#include "proto/text.h"

void ask_tell(struct handoff *h, json_t *message) {
    struct buf text = BUF_NULL;
    text_print(message, &text);
    transport_send(h->transport, text.data, text.len);
    explicit_bzero(text.data, text.len); /* it may have been a token */
    buf_done(&text);
    json_decref(message);
}

struct asked *ask_send(struct handoff *h, enum asked_kind kind, struct handoff_session *s,
                       json_t *message) {
    struct asked *a = must_alloc(sizeof(*a));
    *a = (struct asked){.next = h->asked, .kind = kind, .id = ++h->last_id, .session = s};
    h->asked = a;
    hand_at(h, &a->until_ms, HAND_ANSWER_MS);
    char id[24];
    snprintf(id, sizeof(id), "%" PRIu64, a->id);
    json_object_set_new(message, "id", json_string(id));
    ask_tell(h, message);
    return a;
}

bool ask_waits(const struct handoff *h, enum asked_kind kind, const struct handoff_session *s) {
    for (const struct asked *a = h->asked; a; a = a->next)
        if (a->kind == kind && a->session == s)
            return true;
    return false;
}

size_t ask_count(const struct handoff *h, enum asked_kind kind) {
    size_t n = 0;
    for (const struct asked *a = h->asked; a; a = a->next)
        n += a->kind == kind;
    return n;
}

/* ---- answers ---- */

static void answer_message(const struct asked *a, const json_t *frame,
                           const struct handoff_error *error) {
    if (!a->answer)
        return;
    struct handoff_ack ack = {.position = frame_position(frame)};
    a->answer(a->session, a->user, error, error ? NULL : &ack);
}

static void refuse(struct handoff *h, const struct asked *a, const struct handoff_error *error,
                   const json_t *frame) {
    switch (a->kind) {
    case ASKED_AUTH:
        wire_auth_refused(h, error);
        break;
    case ASKED_SUBSCRIBE:
        if (a->session)
            held_subscribe_refused(a->session, error);
        break;
    case ASKED_COMMAND:
        if (a->session)
            held_refused(a->session, error, frame);
        break;
    case ASKED_MESSAGE:
        if (a->session)
            answer_message(a, frame, error);
        break;
    }
}

static void accept(struct handoff *h, const struct asked *a, const json_t *frame) {
    switch (a->kind) {
    case ASKED_AUTH:
        wire_hello(h, frame);
        break;
    case ASKED_SUBSCRIBE:
        break; /* its session takes the frame itself */
    case ASKED_COMMAND:
        if (a->session)
            held_acked(a->session, frame);
        break;
    case ASKED_MESSAGE:
        if (a->session)
            answer_message(a, frame, NULL);
        break;
    }
}

static struct asked *take_out(struct asked **at) {
    struct asked *a = *at;
    *at = a->next;
    return a;
}

static struct asked *take_id(struct handoff *h, const char *id) {
    char *end = NULL;
    uint64_t n = strtoull(id, &end, 10);
    for (struct asked **at = &h->asked; *at; at = &(*at)->next)
        if ((*at)->id == n && *end == '\0')
            return take_out(at);
    return NULL;
}

static bool fits(const struct asked *a, const char *type) {
    return a->kind == ASKED_AUTH        ? text_is_same(type, "hello")
           : a->kind == ASKED_SUBSCRIBE ? !text_is_same(type, "ack")
                                        : text_is_same(type, "ack");
}

bool ask_answered(struct handoff *h, const json_t *frame) {
    const char *id = frame_string(frame, "id"), *type = frame_string(frame, "type");
    struct asked *a = id ? take_id(h, id) : NULL;
    struct handoff_error error;
    if (!a)
        return false;
    if (text_is_same(type, "error")) {
        problem_from_frame(frame, &error);
        refuse(h, a, &error, frame);
    } else if (fits(a, type)) {
        accept(h, a, frame);
    } else {
        problem_set(&error, "connection_lost", "the answer was none to what was asked");
        refuse(h, a, &error, NULL);
    }
    free(a);
    return true;
}

/* ---- no answer ---- */

static void lose(struct handoff *h, struct asked *a, const char *why) {
    struct handoff_error error;
    problem_set(&error, "connection_lost", "%s", why);
    refuse(h, a, &error, NULL);
    free(a);
}

void ask_lost(struct handoff *h) {
    while (h->asked)
        lose(h, take_out(&h->asked), "the connection was lost");
}

static struct asked *take_due(struct handoff *h, int64_t now_ms) {
    for (struct asked **at = &h->asked; *at; at = &(*at)->next)
        if ((*at)->until_ms <= now_ms)
            return take_out(at);
    return NULL;
}

void ask_due(struct handoff *h, int64_t now_ms) {
    for (struct asked *a; (a = take_due(h, now_ms));)
        lose(h, a, "no answer came in time");
}

int64_t ask_next_ms(const struct handoff *h) {
    int64_t next_ms = 0;
    for (const struct asked *a = h->asked; a; a = a->next)
        if (!next_ms || a->until_ms < next_ms)
            next_ms = a->until_ms;
    return next_ms;
}

/* The session is closed: its commands are the store's, its messages answered. */
void ask_forget(struct handoff *h, const struct handoff_session *s) {
    struct handoff_error error;
    problem_set(&error, "closed", "the session was closed before an answer came");
    for (struct asked *a = h->asked; a; a = a->next)
        if (a->session == s) {
            if (a->kind == ASKED_MESSAGE)
                answer_message(a, NULL, &error);
            a->session = NULL;
        }
}

void ask_done(struct handoff *h) {
    while (h->asked)
        free(take_out(&h->asked));
}

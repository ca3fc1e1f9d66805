/* The connection: authenticated by its first message, kept alive, opened again as the close codes
 * ask (docs/PROTOCOL.md, WebSocket). The same rules as clients/js/src/socket.ts. */
#include <string.h>

#include "base/timestamp.h"
#include "clients/c/src/hand.h"
#include "proto/text.h"

#define SILENT_MS 20000 /* then it is asked for a sign of life */
/* What a server may ask for: not less, lest it makes us turn in circles. */
#define LEAST_WAIT_MS 100
#define MOST_WAIT_MS 3600000

enum close_code {
    CLOSE_UNACCEPTABLE = 1003,
    CLOSE_NO_UTF8 = 1007,
    CLOSE_TOO_LARGE = TRANSPORT_TOO_LARGE,
    CLOSE_UNAUTHENTICATED = 4001,
    CLOSE_TOKEN_EXPIRED = 4002,
};

static void set_state(struct handoff *h, enum handoff_state state,
                      const struct handoff_error *why) {
    h->state = state;
    for (struct handoff_session *s = h->sessions; s; s = s->next)
        held_link_changed(s);
    if (h->options.state)
        h->options.state(h, h->options.user, state, why);
}

static void forget_token(struct handoff *h) {
    if (h->token)
        explicit_bzero(h->token, strlen(h->token));
    free(h->token);
    h->token = NULL;
}

static void stop(struct handoff *h, const struct handoff_error *why) {
    h->open_at_ms = h->connect_at_ms = h->silent_at_ms = 0;
    h->wants_token = false;
    set_state(h, HANDOFF_STOPPED, why);
}

static void open_later(struct handoff *h, int64_t ms, const struct handoff_error *why) {
    hand_at(h, &h->open_at_ms, ms);
    set_state(h, HANDOFF_WAITING, why);
}

/* ---- its end ---- */

static int64_t retry_after(const char *reason) {
    json_auto_t *told = NULL;
    if (text_parse(reason, strlen(reason), &told, NULL) != 0)
        return -1;
    int64_t ms = frame_number(told, "retryAfterMs");
    return ms < 0 ? -1 : ms < LEAST_WAIT_MS ? LEAST_WAIT_MS : ms > MOST_WAIT_MS ? MOST_WAIT_MS : ms;
}

static bool is_for_good(int code) {
    return code == CLOSE_UNACCEPTABLE || code == CLOSE_NO_UTF8 || code == CLOSE_TOO_LARGE ||
           code == CLOSE_UNAUTHENTICATED;
}

static void explain(struct handoff_error *ret, int code, const char *reason) {
    const char *name = code == CLOSE_UNAUTHENTICATED ? "unauthenticated"
                       : code == CLOSE_TOO_LARGE     ? "frame_too_large"
                       : is_for_good(code)           ? "closed"
                                                     : "connection_lost";
    problem_set(ret, name, "the connection closed with %d%s%s", code, *reason ? ": " : "", reason);
}

static void lost(struct handoff *h, int code, const char *reason) {
    struct handoff_error why, refusal = h->refusal;
    bool is_refused = refusal.code[0] != '\0';
    explain(&why, code, reason);
    h->refusal.code[0] = '\0';
    h->is_linked = false;
    h->is_probing = false;
    h->silent_at_ms = 0;
    ask_lost(h);
    if (h->state == HANDOFF_STOPPED)
        return;
    if (is_for_good(code) || (is_refused && h->n_refusals > 1)) {
        stop(h, is_refused ? &refusal : &why);
        return;
    }
    bool is_at_once = code == CLOSE_TOKEN_EXPIRED && h->n_refusals < 2; /* with a fresh token */
    int64_t told_ms = is_at_once ? LEAST_WAIT_MS : retry_after(reason);
    open_later(h, told_ms >= 0 ? told_ms : delay_next_ms(&h->delay), &why);
}

void wire_give_up(struct handoff *h, const char *why) {
    if (!h->is_linked)
        return;
    transport_drop(h->transport);
    lost(h, TRANSPORT_CLOSED_ABNORMALLY, why);
}

/* ---- its beginning ---- */

void wire_open(struct handoff *h) {
    h->open_at_ms = 0;
    h->wants_token = true;
    set_state(h, HANDOFF_CONNECTING, NULL);
    if (h->wants_token)
        h->options.token(h, h->options.user);
}

void wire_begin(struct handoff *h) {
    if (h->has_begun)
        return;
    h->has_begun = true;
    hand_at(h, &h->open_at_ms, 0);
}

static void connect_now(struct handoff *h) {
    h->connect_at_ms = 0;
    if (h->is_linked || h->state != HANDOFF_CONNECTING)
        return;
    h->is_linked = true;
    h->is_probing = true;
    hand_at(h, &h->silent_at_ms, HAND_ANSWER_MS);
    if (transport_connect(h->transport, h->device_id) != 0)
        lost(h, TRANSPORT_CLOSED_ABNORMALLY, "no connection came about");
}

static json_t *device_of(const struct handoff *h) {
    json_t *device = json_object();
    if (h->device_name)
        json_object_set_new(device, "name", json_string(h->device_name));
    if (h->device_platform)
        json_object_set_new(device, "platform", json_string(h->device_platform));
    return device;
}

static void authenticate(struct handoff *h) {
    json_t *message = json_object();
    json_object_set_new(message, "type", json_string("auth"));
    json_object_set_new(message, "token", json_string(h->token ? h->token : ""));
    json_object_set_new(message, "device", device_of(h));
    forget_token(h);
    ask_send(h, ASKED_AUTH, NULL, message);
}

void wire_hello(struct handoff *h, const json_t *hello) {
    int64_t max = frame_number(hello, "maxMessageBytes"), now_ms;
    const char *time = frame_string(hello, "serverTime");
    if (max > 0)
        h->max_message_bytes = (size_t)max;
    if (time && timestamp_parse(time, strlen(time), &now_ms))
        h->offset_ms = now_ms - timestamp_wall_ms();
    if (h->state == HANDOFF_OPEN)
        return; /* it was a fresh token for a connection that goes on */
    delay_reset(&h->delay);
    h->n_refusals = 0;
    set_state(h, HANDOFF_OPEN, NULL);
    for (struct handoff_session *s = h->sessions; s; s = s->next)
        held_subscribe(s);
}

void wire_auth_refused(struct handoff *h, const struct handoff_error *error) {
    if (h->state == HANDOFF_OPEN)
        return; /* the connection closes when its token expires, and opens again with another */
    if (problem_is_temporary(error)) {
        wire_give_up(h, error->reason);
        return;
    }
    h->refusal = *error;
    h->n_refusals++;
}

void wire_refresh(struct handoff *h) {
    if (h->state != HANDOFF_OPEN || h->wants_token || ask_waits(h, ASKED_AUTH, NULL))
        return;
    h->wants_token = true;
    h->options.token(h, h->options.user);
}

void handoff_no_token(struct handoff *h, const char *reason) {
    struct handoff_error why;
    if (!h->wants_token)
        return;
    h->wants_token = false;
    problem_set(&why, "no_token", "%s", reason ? reason : "");
    if (h->state == HANDOFF_CONNECTING)
        stop(h, &why);
}

/* What a token without a device needs, is refused by the server; what no server would read is not
 * sent. */
void handoff_set_token(struct handoff *h, const char *token) {
    if (!token || !*token || !text_is_printable(token, strlen(token))) {
        handoff_no_token(h, "there is none, or it has characters that no token has");
        return;
    }
    if (!h->wants_token && h->state != HANDOFF_OPEN)
        return; /* it is asked for when it is needed */
    h->wants_token = false;
    forget_token(h);
    h->token = must_strdup(token);
    hand_learn_device(h, token);
    if (h->state == HANDOFF_OPEN && !ask_waits(h, ASKED_AUTH, NULL))
        authenticate(h);
    else if (h->state == HANDOFF_CONNECTING && !h->is_linked)
        hand_at(h, &h->connect_at_ms, 0);
}

void handoff_reconnect(struct handoff *h) {
    if (h->state == HANDOFF_OPEN || (h->state == HANDOFF_CONNECTING && h->has_begun))
        return;
    delay_reset(&h->delay);
    h->has_begun = true;
    hand_at(h, &h->open_at_ms, 0);
}

/* ---- what the transport tells ---- */

static void heard(struct handoff *h) {
    h->is_probing = false;
    hand_at(h, &h->silent_at_ms, SILENT_MS);
}

static void on_opened(void *user) {
    struct handoff *h = user;
    h->is_probing = true;
    hand_at(h, &h->silent_at_ms, HAND_ANSWER_MS);
    authenticate(h);
    hand_turn_end(h);
}

static struct handoff_session *find(const struct handoff *h, const char *id) {
    struct handoff_session *s = h->sessions;
    while (s && (!held_is_open(s) || !text_is_same(s->id, id)))
        s = s->next;
    return s;
}

static void take(struct handoff *h, const json_t *frame, const char *text) {
    const char *type = frame_string(frame, "type"), *id = frame_string(frame, "sessionId");
    if (text_is_same(type, "token_expiring"))
        wire_refresh(h);
    bool was_asked = ask_answered(h, frame);
    struct handoff_session *s = id ? find(h, id) : NULL;
    if (s && (!text_is_same(type, "error") || !was_asked))
        held_take(s, frame, text);
}

static void on_message(void *user, const char *text, size_t len) {
    struct handoff *h = user;
    json_auto_t *frame = NULL;
    heard(h);
    if (text_parse(text, len, &frame, NULL) != 0 || !frame_string(frame, "type"))
        wire_give_up(h, "the server sent what is no message");
    else
        take(h, frame, text);
    hand_turn_end(h);
}

static void on_closed(void *user, int code, const char *reason) {
    struct handoff *h = user;
    lost(h, code, reason);
    hand_turn_end(h);
}

static bool is_due(int64_t at_ms, int64_t now_ms) {
    return at_ms && at_ms <= now_ms;
}

static void silent(struct handoff *h) {
    if (h->is_probing || h->state != HANDOFF_OPEN) {
        wire_give_up(h, "the server is silent");
        return;
    }
    json_t *ping = json_object();
    json_object_set_new(ping, "type", json_string("ping"));
    ask_tell(h, ping);
    h->is_probing = true;
    hand_at(h, &h->silent_at_ms, HAND_ANSWER_MS);
}

void wire_due(struct handoff *h, int64_t now_ms) {
    if (is_due(h->open_at_ms, now_ms))
        wire_open(h);
    if (is_due(h->connect_at_ms, now_ms))
        connect_now(h);
    if (is_due(h->silent_at_ms, now_ms))
        silent(h);
    ask_due(h, now_ms);
}

static void on_alarm(void *user) {
    hand_alarm(user);
}

const struct transport_events wire_events = {on_opened, on_message, on_closed, on_alarm};

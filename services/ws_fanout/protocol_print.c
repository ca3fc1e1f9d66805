/* Prints what the server says of itself; each message is one JSON object. */
#include <string.h>

#include "base/timestamp.h"
#include "services/ws_fanout/protocol.h"

static void begin(struct buf *out, const char *type, const char *id) {
    buf_puts(out, "{\"type\":");
    buf_puts_json(out, type);
    if (id && *id) {
        buf_puts(out, ",\"id\":");
        buf_puts_json(out, id);
    }
}

/* name: the member with its comma and colon. */
static void put_text(struct buf *out, const char *name, const char *text) {
    if (!text || !*text)
        return;
    buf_puts(out, name);
    buf_puts_json(out, text);
}

static void put_number(struct buf *out, const char *name, uint64_t number) {
    buf_puts(out, name);
    buf_put_u64(out, number);
}

static void put_time(struct buf *out, const char *name, int64_t unix_ms) {
    char text[TIMESTAMP_LEN + 1];
    timestamp_print(unix_ms, text);
    put_text(out, name, text);
}

static void put_position(struct buf *out, struct position p) {
    put_number(out, ",\"epoch\":", p.epoch);
    put_number(out, ",\"version\":", p.version);
}

void protocol_print_hello(const char *id, const struct protocol_hello *h, struct buf *out) {
    begin(out, "hello", id);
    put_text(out, ",\"connectionId\":", h->connection_id);
    put_time(out, ",\"serverTime\":", h->server_time);
    put_number(out, ",\"pingSeconds\":", (uint64_t)h->ping_seconds);
    put_number(out, ",\"maxMessageBytes\":", (uint64_t)h->max_message_bytes);
    buf_putc(out, '}');
}

void protocol_print_pong(const char *id, int64_t server_time, struct buf *out) {
    begin(out, "pong", id);
    put_time(out, ",\"serverTime\":", server_time);
    buf_putc(out, '}');
}

void protocol_print_token_expiring(int64_t expires_at, struct buf *out) {
    begin(out, "token_expiring", NULL);
    put_time(out, ",\"expiresAt\":", expires_at);
    buf_putc(out, '}');
}

void protocol_print_state_sync(const char *id, const struct session *s,
                               const struct buf *session_text, const char *reason,
                               struct buf *out) {
    buf_reserve(out, session_text->len + 512);
    begin(out, "state_sync", id);
    put_text(out, ",\"sessionId\":", s->id);
    put_position(out, s->position);
    buf_puts(out, ",\"session\":");
    buf_put(out, session_text->data, session_text->len);
    put_text(out, ",\"reason\":", reason);
    buf_putc(out, '}');
}

void protocol_print_subscribed(const char *id, const char *session_id, struct position position,
                               uint64_t n_replayed, struct buf *out) {
    begin(out, "subscribed", id);
    put_text(out, ",\"sessionId\":", session_id);
    put_position(out, position);
    put_number(out, ",\"replayed\":", n_replayed);
    buf_putc(out, '}');
}

static void put_texts(struct buf *out, const char *name, const char *const *texts, size_t n) {
    buf_puts(out, name);
    buf_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(out, ',');
        buf_puts_json(out, texts[i]);
    }
    buf_putc(out, ']');
}

void protocol_print_presence(const char *session_id, const char *const *joined, size_t n_joined,
                             const char *const *left, size_t n_left, struct buf *out) {
    begin(out, "presence", NULL);
    put_text(out, ",\"sessionId\":", session_id);
    put_texts(out, ",\"joined\":", joined, n_joined);
    put_texts(out, ",\"left\":", left, n_left);
    buf_putc(out, '}');
}

void protocol_print_unsubscribed(const char *id, const char *session_id, const char *code,
                                 struct buf *out) {
    begin(out, "unsubscribed", id);
    put_text(out, ",\"sessionId\":", session_id);
    put_text(out, ",\"code\":", code);
    buf_putc(out, '}');
}

void protocol_print_ack(const char *id, const struct reply *r, struct buf *out) {
    begin(out, "ack", id);
    put_text(out, ",\"sessionId\":", r->session_id);
    put_position(out, r->position);
    put_text(out, ",\"checksum\":", r->checksum);
    buf_puts(out, r->rebased ? ",\"rebased\":true" : ",\"rebased\":false");
    if (r->replayed)
        buf_puts(out, ",\"replayed\":true");
    buf_putc(out, '}');
}

void protocol_print_broadcast_ack(const char *id, const char *session_id, struct position at,
                                  struct buf *out) {
    begin(out, "ack", id);
    put_text(out, ",\"sessionId\":", session_id);
    put_position(out, at);
    buf_putc(out, '}');
}

/* The members of a JSON object's text, after what is there already. */
static void put_members(struct buf *out, const char *object) {
    size_t len = object ? strlen(object) : 0;
    if (len <= 2 || object[0] != '{' || object[len - 1] != '}')
        return;
    buf_putc(out, ',');
    buf_put(out, object + 1, len - 2);
}

void protocol_print_error(const char *id, const char *session_id, const struct fault *f,
                          const char *conflict, struct buf *out) {
    begin(out, "error", id);
    put_text(out, ",\"sessionId\":", session_id);
    put_text(out, ",\"code\":", fault_wire_code(f->code));
    put_text(out, ",\"detail\":", f->detail);
    buf_puts(out, fault_is_temporary(f->code) ? ",\"temporary\":true" : ",\"temporary\":false");
    put_text(out, ",\"field\":", f->field);
    put_text(out, ",\"pointer\":", f->pointer);
    if (f->index >= 0)
        put_number(out, ",\"index\":", (uint64_t)f->index);
    if (f->retry_after_ms > 0)
        put_number(out, ",\"retryAfterMs\":", (uint64_t)f->retry_after_ms);
    put_members(out, conflict);
    buf_putc(out, '}');
}

void protocol_print_retry_after(int64_t retry_after_ms, struct buf *out) {
    put_number(out, "{\"retryAfterMs\":", (uint64_t)retry_after_ms);
    buf_putc(out, '}');
}

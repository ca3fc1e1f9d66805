/* What a client's message leads to. */
#include <string.h>

#include "services/ws_fanout/commands.h"
#include "services/ws_fanout/connection.h"
#include "services/ws_fanout/fanout.h"
#include "services/ws_fanout/protocol.h"

#define MAX_BAD_MESSAGES 10

static void answer_ping(struct connection *c, const char *id) {
    struct buf out = BUF_NULL;
    protocol_print_pong(id, store_now(c->fanout->store), &out);
    connection_send_buf(c, &out);
}

/* Malformed messages in a row end the connection; one that is merely refused does not count. */
static void refuse(struct connection *c, const struct protocol_message *m, const struct fault *f) {
    if (c->is_authenticated) /* before, it is nobody's */
        connection_log_refused(c, m, f);
    connection_send_fault(c, m->id, m->session_id, f);
    if (f->code != FAULT_INVALID_JSON && f->code != FAULT_INVALID_REQUEST)
        c->n_bad_messages = 0;
    else if (++c->n_bad_messages >= MAX_BAD_MESSAGES)
        connection_close(c, CLOSE_RATE_LIMITED, "too many bad messages");
}

static void act(struct connection *c, struct protocol_message *m) {
    switch (m->type) {
    case PROTOCOL_AUTH:
        connection_authenticate(c, m);
        break;
    case PROTOCOL_SUBSCRIBE:
        hub_subscribe(c->fanout->hub, c, m->session_id, m->has_since ? &m->since : NULL, m->id);
        break;
    case PROTOCOL_UNSUBSCRIBE:
        hub_unsubscribe(c->fanout->hub, c, m->session_id, m->id);
        break;
    case PROTOCOL_PATCH:
    case PROTOCOL_STATUS:
    case PROTOCOL_SWITCH:
    case PROTOCOL_HEARTBEAT:
        commands_send(c, m);
        break;
    case PROTOCOL_BROADCAST:
        commands_broadcast(c, m);
        break;
    case PROTOCOL_PING:
        answer_ping(c, m->id);
        break;
    case PROTOCOL_N_TYPES:
        break;
    }
}

static void take(struct connection *c, struct protocol_message *m, int r, struct fault *f) {
    if (!c->is_authenticated && (m->type != PROTOCOL_AUTH || !m->token)) {
        if (!r)
            fault_set(f, FAULT_UNAUTHENTICATED, NULL, "the first message is auth");
        refuse(c, m, f);
        return;
    }
    if (r) {
        refuse(c, m, f);
        return;
    }
    c->n_bad_messages = 0;
    act(c, m);
}

static void refuse_excess(struct connection *c, const struct protocol_message *m, int64_t wait_ms,
                          const char *detail) {
    struct fault f = {0};
    metric_add(c->fanout->rate_limited_metric, 1);
    fault_set(&f, FAULT_RATE_LIMITED, NULL, "%s", detail);
    f.retry_after_ms = wait_ms;
    connection_log_refused(c, m, &f);
    connection_send_fault(c, m->id, m->session_id, &f);
    if (limits_refuse(&c->limits, (int64_t)uv_now(c->fanout->app->loop)))
        connection_send_away(c, wait_ms > LIMITS_PAUSE_MS ? wait_ms : LIMITS_PAUSE_MS);
}

/* Bytes are counted first: what is over them is not even parsed, so that its answer has no id. */
void connection_message(void *connection, const char *text, size_t len) {
    struct connection *c = connection;
    struct protocol_message m = {0};
    struct fault f = {.index = -1};
    int64_t now = (int64_t)uv_now(c->fanout->app->loop), wait;
    if (connection_is_closing(c))
        return;
    metric_add(c->fanout->messages_metric, 1);
    if ((wait = bucket_take(&c->limits.bytes, (int64_t)len, now)) > 0) {
        refuse_excess(c, &m, wait, "the connection sends too many bytes a second");
        return;
    }
    int r = protocol_parse(text, len, &m, &f);
    if ((wait = bucket_take(&c->limits.messages, 1, now)) > 0)
        refuse_excess(c, &m, wait, "the connection sends too many messages a second");
    else
        take(c, &m, r, &f);
    protocol_message_done(&m);
}

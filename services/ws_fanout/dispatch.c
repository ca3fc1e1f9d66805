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
    connection_send_fault(c, m->id, m->session_id, f);
    if (f->code != FAULT_INVALID_JSON && f->code != FAULT_INVALID_REQUEST)
        c->n_bad_messages = 0;
    else if (++c->n_bad_messages >= MAX_BAD_MESSAGES)
        connection_close(c, CLOSE_RATE_LIMITED, "too many bad messages");
}

static void act(struct connection *c, struct protocol_message *m) {
    switch (m->type) {
    case PROTOCOL_AUTH:
        connection_authenticate(c, m->id, m->token);
        break;
    case PROTOCOL_SUBSCRIBE:
        hub_subscribe(c->fanout->hub, c, m->session_id, m->id);
        break;
    case PROTOCOL_UNSUBSCRIBE:
        hub_unsubscribe(c->fanout->hub, c, m->session_id, m->id);
        break;
    case PROTOCOL_PATCH:
    case PROTOCOL_STATUS:
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

void connection_message(void *connection, const char *text, size_t len) {
    struct connection *c = connection;
    struct protocol_message m;
    struct fault f = {.index = -1};
    if (connection_is_closing(c))
        return;
    metric_add(c->fanout->messages_metric, 1);
    int r = protocol_parse(text, len, &m, &f);
    take(c, &m, r, &f);
    protocol_message_done(&m);
}

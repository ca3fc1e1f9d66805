/* Who is still there: a list of the longest silent, which are pinged. lws would do it with timers,
 * in a list that each new one walks along, thousands of steps for each message. */
#include "services/ws_fanout/socket_private.h"

static bool is_linked(const struct socket *s) {
    return s->prev || s->next || s->server->sockets == s;
}

void socket_unlink(struct socket *s) {
    struct socket_server *server = s->server;
    *(s->prev ? &s->prev->next : &server->sockets) = s->next;
    *(s->next ? &s->next->prev : &server->last_socket) = s->prev;
    s->prev = s->next = NULL;
}

void socket_heard(struct socket *s) {
    struct socket_server *server = s->server;
    s->heard_at = (int64_t)uv_now(server->loops[0]);
    s->pinged_at = 0;
    if (server->last_socket == s)
        return;
    if (is_linked(s))
        socket_unlink(s);
    s->prev = server->last_socket;
    *(s->prev ? &s->prev->next : &server->sockets) = s;
    server->last_socket = s;
}

/* Not an empty one: of the pong to that lws tells nobody. */
static void ping(struct socket *s, int64_t now) {
    unsigned char payload[LWS_PRE + 1] = {[LWS_PRE] = '?'};
    s->pinged_at = now;
    if (lws_write(s->lws, payload + LWS_PRE, 1, LWS_WRITE_PING) < 0) {
        s->is_lost = true;
        socket_request_writable(s);
    }
}

/* One that does not even take what was sent before is not pinged: that it is stuck is the business
 * of who writes to it. */
static void check_silent(struct socket *s, int64_t now) {
    if (s->stream) /* says nothing, and is found out by what it is sent */
        socket_heard(s);
    else if (s->pinged_at && now - s->pinged_at >= s->server->options.pong_timeout_ms)
        socket_kill(s);
    else if (!s->pinged_at && socket_is_writable(s))
        ping(s, now);
}

void socket_ping_silent(uv_timer_t *pinger) {
    struct socket_server *server = pinger->data;
    int64_t now = (int64_t)uv_now(pinger->loop);
    socket_accept_start(server);
    for (struct socket *s = server->sockets, *next; s; s = next) {
        next = s->next;
        if (now - s->heard_at < server->options.ping_after_ms)
            return;
        check_silent(s, now);
    }
}

/* Closing, outside of every callback of lws: from within WRITEABLE it never gets to send the close
 * frame, and the caller may be in the middle of its connections. Who asked waits in a list. */
#include <string.h>
#include <sys/socket.h>

#include "services/ws_fanout/socket_private.h"

/* Of thousands that are closed at once, so many a millisecond: lws keeps those whose clients have
 * not answered in one sorted list, and goes through all of it for each. */
#define CLOSES_A_TURN 64
#define TURN_MS 1

/* Its bytes go out first: then `writable` asks again. */
static void begin_close(struct socket *s) {
    if (!s->close_code || s->close_begun || !s->is_open || !s->lws)
        return;
    if (lws_partial_buffered(s->lws)) {
        socket_request_writable(s);
        return;
    }
    s->close_begun = true;
    lws_close_reason(s->lws, (enum lws_close_status)s->close_code, (unsigned char *)s->close_reason,
                     strlen(s->close_reason));
    lws_set_timeout(s->lws, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

static void run(uv_timer_t *closer) {
    struct socket_server *server = closer->data;
    struct socket *s;
    stream_move_all(server);
    for (int n = 0; n < CLOSES_A_TURN && (s = server->first_closing); n++) {
        server->first_closing = s->next_closing;
        s->waits_for_close = false;
        begin_close(s);
    }
    if (server->first_closing)
        uv_timer_start(closer, run, TURN_MS, 0);
}

void socket_run_closer(struct socket_server *server) {
    if (!uv_is_active((uv_handle_t *)&server->closer))
        uv_timer_start(&server->closer, run, 0, 0);
}

void socket_close_soon(struct socket *s) {
    if (s->waits_for_close)
        return;
    s->waits_for_close = true;
    s->next_closing = s->server->first_closing;
    s->server->first_closing = s;
    socket_run_closer(s->server);
}

void socket_forget_close(struct socket *s) {
    struct socket **at = &s->server->first_closing;
    if (!s->waits_for_close)
        return;
    while (*at != s)
        at = &(*at)->next_closing;
    *at = s->next_closing;
    s->waits_for_close = false;
}

void socket_close(struct socket *s, int code, const char *reason) {
    if (s->close_code || !s->user)
        return;
    s->close_code = code;
    if (s->stream) {
        stream_finish(s);
        return;
    }
    strncpy(s->close_reason, reason, SOCKET_CLOSE_REASON_MAX);
    if (lws_partial_buffered(s->lws))
        socket_request_writable(s);
    else
        socket_close_soon(s);
}

/* Without the shutdown lws would wait for a client that takes nothing to take the rest. */
void socket_kill(struct socket *s) {
    if (s->stream) {
        stream_end(s);
        return;
    }
    if (!s->lws)
        return;
    s->is_lost = true;
    (void)shutdown(lws_get_socket_fd(s->lws), SHUT_RDWR);
    lws_set_timeout(s->lws, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

/* The server: libwebsockets as a guest of our loop, made and taken apart. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "services/ws_fanout/socket_private.h"

#define WRITE_BYTES                                                                                \
    (1u << 20) /* lws offers the kernel so much at a time; else only as it reads                   \
                */
#define HANDSHAKE_SECONDS 15
#define PINGER_MS 250
#define KEEPALIVE_SECONDS 5
/* The first lws_context_destroy begins to close its connections' handles, whose end begins to close
 * the last ones: two turns of the loop. The second call, which unloads their callbacks, must come
 * after. */
#define N_TURNS_TO_CLOSE 4

/* Signals are the application's; without this lws would end its context on SIGTERM by itself. */
static void ignore_signal(void *handle, int signum) {
    (void)handle, (void)signum;
}

static struct lws_context *create_context(struct socket_server *server) {
    const struct socket_options *o = &server->options;
    server->max_sockets = socket_set_fd_limit(o->max_connections) - SOCKET_N_SPARE_FDS / 2;
    socket_mask_init(server->max_sockets + SOCKET_N_SPARE_FDS / 2);
    server->protocols[0] = (struct lws_protocols){.name = o->subprotocol,
                                                  .callback = socket_on_lws,
                                                  .rx_buffer_size = SOCKET_READ_BUFFER_BYTES,
                                                  .tx_packet_size = WRITE_BYTES};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER, /* socket_accept.c hands it its connections */
        .protocols = server->protocols,
        .gid = -1,
        .uid = -1,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_VALIDATE_UTF8 |
                   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
        .user = server,
        .foreign_loops = server->loops,
        .pcontext = &server->context, /* set to NULL when it has ended */
        .signal_cb = ignore_signal,
        .timeout_secs = HANDSHAKE_SECONDS,
        .keepalive_timeout = KEEPALIVE_SECONDS,
        .max_http_header_data = 16384,
        .retry_and_idle_policy = &server->no_liveness,
        .server_string = "handoff",
    };
    return lws_create_context(&info);
}

static void free_server(uv_handle_t *reaper) {
    struct socket_server *server = reaper->data;
    socket_mask_done();
    free(server);
}

static void acceptor_closed(uv_handle_t *acceptor) {
    struct socket_server *server = acceptor->data;
    uv_close((uv_handle_t *)&server->reaper, free_server);
}

static void pinger_closed(uv_handle_t *pinger) {
    struct socket_server *server = pinger->data;
    uv_close((uv_handle_t *)&server->acceptor, acceptor_closed);
}

static void closer_closed(uv_handle_t *closer) {
    struct socket_server *server = closer->data;
    uv_close((uv_handle_t *)&server->pinger, pinger_closed);
}

static void end_handles(struct socket_server *server) {
    socket_accept_end(server);
    uv_close((uv_handle_t *)&server->closer, closer_closed);
    uv_timer_stop(&server->reaper);
}

static void reap(uv_timer_t *reaper) {
    struct socket_server *server = reaper->data;
    if (!server->sockets && ++server->n_turns > N_TURNS_TO_CLOSE)
        lws_context_destroy(server->context);
    if (!server->context)
        end_handles(server);
}

int socket_server_new(struct socket_server **ret, uv_loop_t *loop,
                      const struct socket_options *options) {
    int fd = socket_listen(options->listen);
    if (fd < 0)
        return fd;
    struct socket_server *server = must_alloc(sizeof(*server));
    *server = (struct socket_server){.options = *options, .listen_fd = fd, .loops = {loop}};
    int r = uv_poll_init(loop, &server->acceptor, fd);
    if (r < 0) {
        close(fd);
        free(server);
        return r;
    }
    uv_timer_init(loop, &server->reaper);
    uv_timer_init(loop, &server->closer);
    uv_timer_init(loop, &server->pinger);
    server->reaper.data = server->closer.data = server->pinger.data = server;
    server->acceptor.data = server;
    lws_set_log_level(0, NULL);
    server->context = create_context(server);
    if (!server->context) {
        end_handles(server);
        return -ENOMEM;
    }
    socket_accept_start(server);
    uv_timer_start(&server->pinger, socket_ping_silent, PINGER_MS, PINGER_MS);
    *ret = server;
    return 0;
}

void socket_server_stop_accepting(struct socket_server *server) {
    server->stopped = true;
}

struct socket_server *socket_server_free(struct socket_server *server) {
    if (!server)
        return NULL;
    server->stopped = true;
    uv_timer_stop(&server->pinger);
    socket_accept_end(server);
    socket_forget_joined(&server->joined);
    buf_done(&server->joined.bytes);
    uv_timer_start(&server->reaper, reap, 1, 1);
    lws_context_destroy(server->context);
    for (struct socket *s = server->sockets; s; s = s->next) {
        if (s->stream)
            stream_end(s);
        else
            socket_ended(s);
    }
    return NULL;
}

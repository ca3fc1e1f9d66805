/* Connections are taken a few at a turn of the loop. libwebsockets, given the listening socket,
 * takes all that wait before it returns: of five thousand that come at once everybody else's
 * frames would wait for the last. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/ws_fanout/socket_private.h"

#define ACCEPTED_A_TURN 8

/* lws bounds its own sockets; without descriptors for the next one it would spin. */
static bool is_full(const struct socket_server *server) {
    return server->n_lws + server->n_streams >= server->max_sockets;
}

static void adopt(struct socket_server *server, int fd) {
    int on = 1;
    if (server->stopped || is_full(server)) {
        close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    socket_mask_accepted(fd);
    (void)lws_adopt_socket_vhost(lws_get_vhost_by_name(server->context, "default"), fd);
}

/* Out of descriptors or memory the socket would stay readable and the loop busy: the pinger listens
 * again. */
static bool accept_next(struct socket_server *server) {
    /* cppcheck-suppress nullPointer ; nobody asks whose address it is: accept(2) */
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        adopt(server, fd);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        uv_poll_stop(&server->acceptor);
    return errno == EINTR || errno == ECONNABORTED;
}

static void on_connections(uv_poll_t *acceptor, int status, int events) {
    struct socket_server *server = acceptor->data;
    (void)status, (void)events;
    for (int i = 0; i < ACCEPTED_A_TURN; i++)
        if (!accept_next(server))
            break;
}

void socket_accept_start(struct socket_server *server) {
    if (server->listen_fd >= 0 && !uv_is_active((uv_handle_t *)&server->acceptor))
        uv_poll_start(&server->acceptor, UV_READABLE, on_connections);
}

void socket_accept_end(struct socket_server *server) {
    if (server->listen_fd < 0)
        return;
    uv_poll_stop(&server->acceptor);
    close(server->listen_fd);
    server->listen_fd = -1;
}

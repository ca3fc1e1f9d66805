/* The point of reference for HTTP: libmicrohttpd in a libuv loop, as session_api has it, and
 * nothing else. Each request, GET or POST, is suspended and is answered by the loop's next turn
 * with 300 bytes. usage: bare_http; prints its port. */
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <uv.h>

#include "tests/bench/sockets.h"

#define BODY_BYTES 300
#define MAX_CONNECTIONS 1024
#define CONNECTION_MEMORY_BYTES (16u << 10)

struct request {
    bool is_complete; /* and was suspended: the next call answers it */
};

static struct {
    struct MHD_Daemon *daemon;
    struct MHD_Response *response;
    uv_poll_t poll;
    uv_idle_t again;
    struct MHD_Connection *suspended[MAX_CONNECTIONS];
    size_t n_suspended;
} server;

static void on_again(uv_idle_t *again);

/* Its sockets are edge-triggered inside: after every run its timeout is obeyed. */
static void run(void) {
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    MHD_run(server.daemon);
    if (server.n_suspended || (MHD_get_timeout(server.daemon, &wait_ms) == MHD_YES && !wait_ms))
        uv_idle_start(&server.again, on_again);
    else
        uv_idle_stop(&server.again);
}

static void on_again(uv_idle_t *again) {
    (void)again;
    for (size_t n = server.n_suspended; n > 0; n--)
        MHD_resume_connection(server.suspended[n - 1]);
    server.n_suspended = 0;
    run();
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **con_cls) {
    (void)cls, (void)url, (void)method, (void)version, (void)upload;
    struct request *r = *con_cls;
    if (!r) {
        *con_cls = must_alloc(sizeof(*r));
        return MHD_YES;
    }
    if (*upload_len) {
        *upload_len = 0;
        return MHD_YES;
    }
    if (r->is_complete)
        return MHD_queue_response(connection, MHD_HTTP_OK, server.response);
    r->is_complete = true;
    server.suspended[server.n_suspended++] = connection;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code) {
    (void)cls, (void)connection, (void)code;
    free(*con_cls);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)poll, (void)status, (void)events;
    run();
}

int main(void) {
    static char body[BODY_BYTES];
    memset(body, 'x', sizeof(body));
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    server.response = MHD_create_response_from_buffer(sizeof(body), body, MHD_RESPMEM_PERSISTENT);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server.daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, NULL,
                         MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    if (!server.response || !server.daemon)
        die("libmicrohttpd does not start");
    printf("%u\n", MHD_get_daemon_info(server.daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    uv_loop_t *loop = uv_default_loop();
    int fd = MHD_get_daemon_info(server.daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    uv_idle_init(loop, &server.again);
    uv_poll_init(loop, &server.poll, fd);
    uv_poll_start(&server.poll, UV_READABLE, on_readable);
    return uv_run(loop, UV_RUN_DEFAULT);
}

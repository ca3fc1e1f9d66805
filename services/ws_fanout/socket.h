/* WebSockets: a server in the loop; libwebsockets' only border. It speaks HTTP up to the upgrade
 * and frames after it, and knows nothing of sessions. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/cleanup.h"
#include "services/ws_fanout/frame.h"

struct socket_server;
struct socket; /* one WebSocket; lives until its `closed` callback has returned */

#define SOCKET_N_QUERY 4
#define SOCKET_QUERY_CAP 256
#define SOCKET_CLOSE_REASON_MAX 123

/* An upgrade request; borrowed during `accept`. */
struct socket_request {
    const char *path;
    const char *origin;        /* NULL without */
    const char *authorization; /* NULL without */
    const char *subprotocols;  /* as offered; NULL without */
    struct {
        char name[32];
        char value[SOCKET_QUERY_CAP];
    } query[SOCKET_N_QUERY];
    size_t n_query;
    bool query_too_long; /* more parameters, or longer ones, than fit */
};

/* The answer to a request that becomes no WebSocket. */
struct socket_refusal {
    int status;
    const char *challenge; /* WWW-Authenticate, or NULL; borrowed until accept's caller is done */
    int64_t retry_after_s; /* Retry-After; 0: none */
    struct buf body;       /* application/problem+json; released by the server */
};

struct socket_callbacks {
    /* A well-formed WebSocket upgrade: *ret_user (not NULL) to take it, else *refusal is filled in.
     * Of a user taken, `closed` tells the end, also when `opened` never came. */
    bool (*accept)(void *arg, const struct socket_request *request, void **ret_user,
                   struct socket_refusal *refusal);
    /* Any other HTTP request: fills in the answer. */
    void (*plain)(void *arg, struct socket_refusal *answer);
    void (*opened)(void *user, struct socket *s);
    /* One whole text message; text is NUL-terminated and borrowed. */
    void (*message)(void *user, const char *text, size_t len);
    /* All that was written is with the kernel: write on. Comes after a socket_write that answered
     * SOCKET_BUSY. */
    void (*writable)(void *user);
    void (*closed)(void *user);
};

struct socket_options {
    const char *listen; /* host:port */
    const char *subprotocol;
    int64_t max_connections;
    int64_t max_message_bytes; /* longer: closed with 1009 */
    int64_t ping_after_ms;     /* rounded up to whole seconds */
    int64_t pong_timeout_ms;
    struct socket_callbacks callbacks;
    void *arg; /* of accept and plain */
};

/* -EADDRINUSE and other negative errno when it cannot listen there, -EINVAL for an address that is
 * none. */
MUSTCHECK int socket_server_new(struct socket_server **ret, uv_loop_t *loop,
                                const struct socket_options *options);
/* Takes no new connections from now on. */
void socket_server_stop_accepting(struct socket_server *server);
/* Ends every connection (each gets its `closed`), closes all handles; the loop has to run
 * afterwards. */
struct socket_server *socket_server_free(struct socket_server *server);
DEFINE_CLEANUP(struct socket_server *, socket_server_free)

enum socket_result {
    SOCKET_WRITTEN, /* write on */
    SOCKET_BUSY,    /* written, or taken over, but now wait for `writable` */
    SOCKET_LOST     /* not written: the connection is going away */
};

/* Whether socket_write may be called. */
bool socket_is_writable(const struct socket *s);
/* `writable` comes when it is. For one that was not writable though no socket_write had answered
 * SOCKET_BUSY: lws was busy with a ping or pong of its own. */
void socket_await_writable(struct socket *s);
/* Sends one text frame at once; only while writable. */
enum socket_result socket_write(struct socket *s, struct frame *f);
/* Closes with that code as soon as the bytes under way are out; reason may be "". Later calls
 * change nothing. `closed` follows, never before this returns. */
void socket_close(struct socket *s, int code, const char *reason);
/* Closes without a word and calls `closed` before it returns; not from a callback of this server.
 */
void socket_kill(struct socket *s);

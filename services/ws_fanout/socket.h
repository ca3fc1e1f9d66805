/* WebSockets and HTTP answers that go on for as long as they may: a server in the loop;
 * libwebsockets' only border. It speaks HTTP up to the upgrade or the answer, and knows nothing of
 * sessions. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/cleanup.h"
#include "services/ws_fanout/frame.h"

struct socket_server;
struct socket; /* one WebSocket or stream; lives until its `closed` callback has returned */

#define SOCKET_N_QUERY 4
#define SOCKET_QUERY_CAP 256
#define SOCKET_CLOSE_REASON_MAX 123
#define SOCKET_MAX_FRAMES 32 /* of one socket_write_many */

/* A request; borrowed during `accept` and `request`. Headers that are not there, or empty: NULL. */
struct socket_request {
    const char *method; /* "GET"; "" for one that is not known */
    const char *path;
    const char *version; /* "HTTP/1.1" */
    const char *host;    /* NULL where there are two, too */
    const char *origin;
    const char *authorization;
    const char *subprotocols; /* as offered */
    const char *request_id;
    const char *device_id;
    const char *last_event_id;
    const char *traceparent;
    const char *asked_method; /* Access-Control-Request-Method */
    bool has_body;            /* or may have: Content-Length or Transfer-Encoding is there */
    bool has_upgrade;
    struct {
        char name[32];
        char value[SOCKET_QUERY_CAP];
    } query[SOCKET_N_QUERY];
    size_t n_query;
    bool query_too_long; /* more parameters, or longer ones, than fit */
};

/* An answer in HTTP; its end is the connection's. Owned. */
struct socket_answer {
    int status;
    struct buf headers; /* whole lines, beside those that every answer has */
    struct buf body;
    bool is_stream; /* the body goes on: its length is not known */
    bool is_head;   /* to a HEAD: the body is left out */
};

struct socket_callbacks {
    /* A well-formed WebSocket upgrade: *ret_user (not NULL) to take it, else *answer is filled in.
     * Of a user taken, `closed` tells the end, also when `opened` never came. */
    bool (*accept)(void *arg, const struct socket_request *request, void **ret_user,
                   struct socket_answer *answer);
    /* Any other HTTP request. Taken (as above), it becomes a stream: what is written there goes out
     * as it is, head and all (socket_print_answer), and what the client sends is ignored. One that
     * has_upgrade must not be taken. */
    bool (*request)(void *arg, const struct socket_request *request, void **ret_user,
                    struct socket_answer *answer);
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
    int64_t ping_after_ms;     /* of silence */
    int64_t pong_timeout_ms;
    struct socket_callbacks callbacks;
    void *arg; /* of accept and request */
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
/* Sends one text frame (to a stream: its bytes) at once; only while writable. */
enum socket_result socket_write(struct socket *s, struct frame *f);
/* The same for several at once, in one write to the kernel; n at most SOCKET_MAX_FRAMES. Not to a
 * stream. */
enum socket_result socket_write_many(struct socket *s, struct frame *const *frames, size_t n);
/* Appends status line, headers and body; *answer is left empty. */
void socket_print_answer(struct socket_answer *answer, struct buf *out);
/* Closes with that code as soon as the bytes under way are out; reason may be "". A stream has
 * neither, it just ends. Later calls change nothing. `closed` follows, never before this returns.
 */
void socket_close(struct socket *s, int code, const char *reason);
/* Closes without a word and calls `closed` before it returns; not from a callback of this server.
 */
void socket_kill(struct socket *s);

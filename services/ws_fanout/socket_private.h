/* What the socket's files share: socket.c (connections, lws's calls), socket_write.c,
 * socket_ping.c, socket_close.c, socket_http.c (requests), socket_stream.c (answers that go on),
 * socket_server.c, socket_listen.c and socket_accept.c. Only they include it; with it libwebsockets
 * stays behind socket.h. */
#pragma once

#include <libwebsockets.h>

#include "services/ws_fanout/socket.h"

#define SOCKET_READ_BUFFER_BYTES                                                                   \
    256 /* lws keeps one a connection; longer messages come in pieces */

/* Frames as they go over the wire one behind the other, kept for the next socket that gets the same
 * ones: mostly all who watch a session do. */
struct socket_joined {
    struct frame *frames[SOCKET_MAX_FRAMES]; /* a reference to each */
    size_t n;
    struct buf bytes; /* LWS_PRE, then headers and texts */
};

struct socket_server {
    struct lws_context *context;
    struct socket_options options;
    struct lws_protocols protocols[2];
    lws_retry_bo_t no_liveness; /* all zero: lws's own pings are off */
    void *loops[1];
    int listen_fd;    /* owned; -1: no more */
    size_t n_lws;     /* sockets of lws: all but the streams that it has let go of */
    size_t n_streams; /* from the accepted request on */
    size_t max_sockets;
    struct socket *first_moving;  /* streams that lws has not yet let go of */
    struct socket *first_closing; /* sockets for the closer */
    bool stopped;
    unsigned n_turns; /* of the loop since the last socket ended; counted by the reaper */
    struct socket *sockets, *last_socket; /* list of all, the longest silent first */
    struct socket_joined joined;
    uv_poll_t acceptor;
    uv_timer_t pinger;
    uv_timer_t closer; /* moves and closes what was asked to be, outside of lws's callbacks */
    uv_timer_t reaper; /* frees the server once lws has ended, which takes some turns of the loop */
};

/* What a socket is beside when it is a stream: a descriptor of its own for the connection. */
struct stream {
    uv_poll_t poll;
    int fd;
    struct socket *next_moving;
    struct frame *pending; /* owned: partly written; NULL */
    size_t n_written;      /* of it */
    size_t n_ignored;      /* bytes of the client's */
};

/* Hangs on its lws as opaque user data from the accepted request until the lws is destroyed, or
 * lets the stream go. */
struct socket {
    struct socket_server *server;
    struct socket *prev, *next;
    struct socket *next_closing;
    bool waits_for_close;  /* in the closer's list */
    int fd;                /* of an open WebSocket, else -1 */
    struct stream *stream; /* owned; NULL: a WebSocket */
    struct lws *lws; /* NULL once closed: it may not be touched any more. Of a stream: once it has
                        moved */
    void *user;      /* NULL once told that it is closed */
    struct buf message;
    size_t n_empty;    /* fragments of it */
    int64_t heard_at;  /* loop time, ms */
    int64_t pinged_at; /* 0: not since it was heard */
    bool is_open;
    bool is_lost;
    bool has_said_close; /* the client */
    int close_code;      /* 0: not closing */
    bool close_begun;    /* lws knows */
    char close_reason[SOCKET_CLOSE_REASON_MAX + 1];
};

/* ---- socket.c ---- */
struct socket *socket_add(struct socket_server *server, struct lws *lws, void *user);
/* Takes it from the lists and frees it. */
void socket_remove(struct socket *s);
/* Calls `closed`, if that was not done; lws keeps the connection for some turns after, from here on
 * it is not touched. */
void socket_ended(struct socket *s);
/* All that lws has to say. */
int socket_on_lws(struct lws *lws, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len);

/* Ends it with that close code; what still comes is not looked at. */
void socket_fail(struct socket *s, int code);

/* ---- socket_mask.c ---- */
/* For that many descriptors, one server a process. */
void socket_mask_init(size_t n_descriptors);
void socket_mask_done(void);
/* A connection was accepted: its bytes begin. */
void socket_mask_accepted(int fd);
/* From here on the socket fails with the first frame that is not masked; false: one came already.
 */
bool socket_mask_opened(struct socket *s, int fd);
void socket_mask_ended(struct socket *s);

/* ---- socket_write.c ---- */
void socket_request_writable(struct socket *s);
void socket_forget_joined(struct socket_joined *j);

/* ---- socket_ping.c ---- */
/* A socket was heard, or is new: its silence begins. */
void socket_heard(struct socket *s);
/* Takes it from the list of all. */
void socket_unlink(struct socket *s);
/* For the pinger. */
void socket_ping_silent(uv_timer_t *pinger);

/* ---- socket_close.c ---- */
/* Leaves it to the closer, after close_code was set. */
void socket_close_soon(struct socket *s);
/* It ends: the closer need not. */
void socket_forget_close(struct socket *s);
/* Runs the closer, which also moves streams, as soon as the loop is out of every callback. */
void socket_run_closer(struct socket_server *server);

/* ---- socket_http.c ---- */
/* For LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: 0 to go on, with a struct socket made; -1 refused. */
int socket_confirm_upgrade(struct socket_server *server, struct lws *lws, const char *protocol);
/* For LWS_CALLBACK_HTTP: 0 when it became a stream, -1 answered. */
int socket_plain_request(struct socket_server *server, struct lws *lws);

/* ---- socket_listen.c ---- */
#define SOCKET_N_SPARE_FDS 128 /* of the process, beside its connections */
/* Listens on host:port or [host]:port: a descriptor, which does not block. Negative errno when it
 * cannot be, -EINVAL for what is none. */
MUSTCHECK int socket_listen(const char *listen);
/* As many descriptors as the connections need, as far as the system lets us, and no more: lws has
 * tables as long as the limit. Given a limit of its own instead it would search them from the start
 * for each event. Returns how many. */
unsigned socket_set_fd_limit(int64_t max_connections);

/* ---- socket_accept.c ---- */
/* Takes connections from the listening socket; again: goes on with it. */
void socket_accept_start(struct socket_server *server);
/* Closes the listening socket. */
void socket_accept_end(struct socket_server *server);

/* ---- socket_stream.c ---- */
/* Within LWS_CALLBACK_HTTP: takes the connection over; `opened` follows. Negative errno: it cannot,
 * and the user is still the caller's. */
MUSTCHECK int stream_begin(struct socket_server *server, struct lws *lws, void *user);
/* Outside of lws's callbacks: moves what has begun. */
void stream_move_all(struct socket_server *server);
/* lws closed it before it was moved. */
void stream_forsaken(struct socket *s);
bool stream_is_writable(const struct socket *s);
void stream_await_writable(struct socket *s);
enum socket_result stream_write(struct socket *s, struct frame *f);
/* After close_code was set. */
void stream_finish(struct socket *s);
/* Ends it at once and calls `closed`, if that was not done. */
void stream_end(struct socket *s);

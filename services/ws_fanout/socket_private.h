/* What the socket's files share: socket.c (frames, the server) and socket_http.c (what comes before
 * the upgrade). Only they include it; with it libwebsockets stays behind socket.h. */
#pragma once

#include <libwebsockets.h>

#include "services/ws_fanout/socket.h"

struct socket_server {
    struct lws_context *context;
    struct socket_options options;
    struct lws_protocols protocols[2];
    lws_retry_bo_t liveness;
    void *loops[1];
    char *host;
    bool stopped;
    unsigned n_turns;       /* of the loop since the last socket ended; counted by the reaper */
    struct socket *sockets; /* list of all */
    uv_timer_t closer;      /* closes what was asked to be, outside of lws's callbacks */
    uv_timer_t reaper; /* frees the server once lws has ended, which takes some turns of the loop */
};

/* Hangs on its lws as opaque user data from the accepted upgrade until the lws is destroyed. */
struct socket {
    struct socket_server *server;
    struct socket *prev, *next;
    struct lws *lws; /* NULL once closed: it may not be touched any more */
    void *user;      /* NULL once told that it is closed */
    struct buf message;
    bool is_open;
    bool is_lost;
    int close_code;   /* 0: not closing */
    bool close_begun; /* lws knows */
    char close_reason[SOCKET_CLOSE_REASON_MAX + 1];
};

/* ---- socket_http.c ---- */
/* For LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: 0 to go on, with a struct socket made; -1 refused. */
int socket_confirm_upgrade(struct socket_server *server, struct lws *lws, const char *protocol);
/* For LWS_CALLBACK_HTTP. */
int socket_plain_request(struct socket_server *server, struct lws *lws);

/* A connection that is a stream of Server-Sent Events (WHATWG HTML): GET /sessions/{id}/events. It
 * watches one session, gets the messages of a WebSocket as events, and says nothing. What refuses
 * it before its first state is an answer in HTTP; so the head of the answer goes out with that
 * state. Contract section 4. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/fault.h"
#include "proto/session.h"
#include "services/ws_fanout/request.h"
#include "services/ws_fanout/socket.h"

struct connection;
struct frame;
struct subscription;

struct events {
    char request_id[PROBLEM_REQUEST_ID_MAX + 1];
    const char *route;
    struct trace_context trace; /* the request's */
    char *origin;               /* owned: the page's that may read; or NULL */
    bool is_head;               /* the request is a HEAD */
    char session_id[UUID_LEN + 1];
    bool has_since;
    struct position since;

    bool is_started; /* head and hello are on their way */
    bool is_ending;  /* once the queue has drained */
    int64_t sent_at; /* loop time, ms */
};

struct events *events_free(struct events *e);

/* ---- events_request.c ---- */
/* Judges every request but a WebSocket's handshake; see socket.h. arg is the fanout. */
bool events_request(void *arg, const struct socket_request *r, void **ret_connection,
                    struct socket_answer *answer);
/* Last-Event-ID as we write it: "<epoch>:<version>". */
MUSTCHECK int events_parse_id(const char *text, struct position *ret, struct fault *f);

/* ---- events.c; all for a connection with events ---- */
/* The socket is there: subscribes. */
void events_open(struct connection *c);
/* As connection_send; the first one is preceded by head and hello. */
void events_send(struct connection *c, struct frame *f, struct subscription *owner);
/* Refused: in HTTP, when nothing was sent yet. */
void events_refuse(struct connection *c, const struct fault *f);
/* Ends when what waits has been sent. */
void events_end(struct connection *c);
/* The queue has drained. */
void events_drained(struct connection *c);
/* Going away: come back after that time. */
void events_send_away(struct connection *c, int64_t retry_after_ms);
/* Looks at what a stream alone has: the time to its first state, comments in silence. now: loop
 * time, ms. */
void events_check(struct connection *c, int64_t now);

/* What requests for a WebSocket and for a stream of events have in common: their refusals, origins,
 * queries and tokens. Contract sections 1 and 3. */
#pragma once

#include <stdbool.h>

#include "common/auth.h"
#include "common/trace.h"
#include "proto/fault.h"
#include "proto/problem.h"
#include "services/ws_fanout/socket.h"

struct fanout;

#define REQUEST_WS_PATH "/ws"

/* Who asked, as far as the answer and the log need it. */
struct request_caller {
    char id[PROBLEM_REQUEST_ID_MAX + 1]; /* the client's X-Request-Id, or one of ours */
    const char *origin;                  /* what Access-Control-Allow-Origin says; NULL: nothing */
    const char *route;                   /* static: the pattern */
    struct trace_context trace;          /* of this request alone: a connection outlives it */
    uint64_t came_ns;                    /* uv_hrtime */
};

/* origin: borrowed from r, or static. route: as above. */
void request_caller_of(const struct fanout *f, const struct socket_request *r, const char *route,
                       struct request_caller *ret);

/* Adds to the headers what every answer of ours has. */
void request_add_headers(const struct request_caller *caller, struct socket_answer *answer);
/* Fills in the refusal, application/problem+json, and tells the log. Always false, for who judges
 * requests. */
bool request_refuse(const struct fanout *fanout, const struct request_caller *caller,
                    const struct fault *f, struct socket_answer *answer);

/* Notes the request, which is answered now, as a step of its trace. connection_id: "" where it led
 * to none. */
void request_trace(const struct fanout *f, const struct socket_request *r,
                   struct request_caller *caller, int status, const char *connection_id);

/* FAULT_FORBIDDEN for a page's origin that is not configured. */
MUSTCHECK int request_check_origin(const struct fanout *f, const struct socket_request *r,
                                   struct fault *fault);
/* FAULT_UNAVAILABLE while draining, or about to, and with as many connections as may be. */
MUSTCHECK int request_check_room(const struct fanout *f, struct fault *fault);
/* A parameter; NULL when it is not there. Twice: sets *fault. */
const char *request_query(const struct socket_request *r, const char *name, struct fault *fault);
/* A parameter's whole number from least on; text NULL: *ret is left alone. FAULT_INVALID_REQUEST:
 * it is none; FAULT_INVALID_VALUE: out of range. */
MUSTCHECK int request_take_number(const char *text, const char *name, uint64_t least, uint64_t *ret,
                                  struct fault *fault);
/* Whether the comma-separated list has item, with white space around it or not. */
bool request_list_has(const char *list, const char *item);
/* As auth_verify, at this moment. */
MUSTCHECK int request_verify(const struct fanout *f, const char *token, size_t len,
                             struct principal *ret, struct fault *fault);

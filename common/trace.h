/* Steps of a request (spans) in W3C traces: begun where a request comes in or a message is taken,
 * ended with a log record and, where HANDOFF_OTLP_URL says, sent to a collector. A step is only
 * made where the trace is sampled; everywhere else it is NULL, which every function here takes, and
 * costs a comparison. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/log.h"
#include "proto/trace_context.h"

struct app;
struct tracer;
struct span;

/* As OTLP numbers them. */
enum span_kind { SPAN_SERVER = 2, SPAN_PRODUCER = 4, SPAN_CONSUMER = 5 };

/* X(enum name, name for OpenTelemetry, name in the log; NULL: not there) */
#define SPAN_KEYS(X)                                                                               \
    X(SPAN_REQUEST_ID, "handoff.request.id", "requestId")                                          \
    X(SPAN_CONNECTION_ID, "handoff.connection.id", "connectionId")                                 \
    X(SPAN_SESSION_ID, "handoff.session.id", "sessionId")                                          \
    X(SPAN_COMMAND_ID, "handoff.command.id", "commandId")                                          \
    X(SPAN_COMMAND_KIND, "handoff.command.kind", "kind")                                           \
    X(SPAN_EVENT_TYPE, "handoff.event.type", "type")                                               \
    X(SPAN_RECEIVERS, "handoff.receivers", "receivers")                                            \
    X(SPAN_METHOD, "http.request.method", NULL)                                                    \
    X(SPAN_ROUTE, "http.route", NULL)                                                              \
    X(SPAN_STATUS, "http.response.status_code", "status")                                          \
    X(SPAN_ERROR, "error.type", "code")                                                            \
    X(SPAN_SYSTEM, "messaging.system", NULL)                                                       \
    X(SPAN_DESTINATION, "messaging.destination.name", NULL)                                        \
    X(SPAN_MESSAGE_ID, "messaging.message.id", "messageId")

#define SPAN_ENUM(name, otlp, log) name,
enum span_key { SPAN_KEYS(SPAN_ENUM) SPAN_N_KEYS };
#undef SPAN_ENUM

#define SPAN_NAME_CAP 96
#define SPAN_MAX_ATTRIBUTES 10
#define SPAN_TEXT_MAX 256 /* bytes of an attribute */

struct span_attribute {
    enum span_key key;
    char *text; /* owned; NULL: number counts */
    int64_t number;
};

struct span {
    struct trace_context context;           /* its own */
    uint8_t parent_id[TRACE_SPAN_ID_BYTES]; /* all 0: the first of its trace */
    enum span_kind kind;
    char name[SPAN_NAME_CAP];
    uint64_t started_ns;                 /* uv_hrtime */
    uint64_t start_unix_ns, duration_ns; /* once it has ended */
    bool has_failed;                     /* by our doing, not by what was asked for */
    struct span_attribute attributes[SPAN_MAX_ATTRIBUTES];
    size_t n_attributes;
};

/* app: borrowed. -EINVAL for a HANDOFF_OTLP_URL that is none, -ENOMEM when libcurl cannot start. */
MUSTCHECK int tracer_new(struct tracer **ret, struct app *app);
/* What waits is sent on the way, for 2 s at most, unless the collector was away: the loop has to
 * run until its handles are closed. NULL is fine. */
struct tracer *tracer_free(struct tracer *t);

/* A request from outside, with its traceparent as it came (NULL: none). *ret: what goes on with it:
 * a trace of the client's, or a new one, or none. Whether it is sampled is decided here, for all
 * that follows: of new ones HANDOFF_TRACE_SAMPLE are, of clients' those that want to be, as far as
 * HANDOFF_TRACE_CALLERS_PER_SECOND goes. t may be NULL, as in tests: nothing is sampled. */
void trace_accept(struct tracer *t, const char *traceparent, struct trace_context *ret);

/* A step of the trace that began at started_ns (uv_hrtime; 0: now); NULL where none is to be
 * recorded. name: copied, cut. *context becomes the step's: what is sent to others from then on is
 * its doing. */
struct span *span_begin(struct tracer *t, struct trace_context *context, enum span_kind kind,
                        const char *name, uint64_t started_ns);
/* text: UTF-8, copied, cut; NULL and "": left out. What there is no room for is left out. */
void span_text(struct span *s, enum span_key key, const char *text);
void span_number(struct span *s, enum span_key key, int64_t number);
/* Ends it, at this moment; frees it. */
void span_end(struct tracer *t, struct span *s);
/* `trace_id` of a log record about something that came in a trace, sampled or not; else left out.
 * The text lives until the end of the block. */
#define LOG_TRACE(context) trace_log((context), (char[TRACE_ID_LEN + 1]){0})
struct log_field trace_log(const struct trace_context *context, char text[static TRACE_ID_LEN + 1]);

/* Forgets one that nothing came of. */
struct span *span_free(struct span *s);
DEFINE_CLEANUP(struct span *, span_free)

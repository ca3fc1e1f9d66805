/* One request on its way: who asks, for what, and the one answer. */
#pragma once

#include "base/buf.h"
#include "common/auth.h"
#include "common/http.h"
#include "common/trace.h"
#include "proto/command.h"
#include "proto/problem.h"
#include "proto/session.h"
#include "services/session_api/devices.h"
#include "services/session_api/headers.h"
#include "services/session_api/path.h"
#include "services/session_api/turns.h"

struct api;
struct call;
struct handoff;
struct metrics;
struct version_job;

/* session: borrowed, readable by the caller (call->role). is_hot: as Redis has it. Else it is cold,
 * and this is its row in PostgreSQL: whole but for the data. */
typedef void access_fn(struct call *call, const struct session *session, bool is_hot);

/* The same with its data, wherever it was. */
typedef void answer_fn(struct call *call, const struct session *session);

typedef void call_fn(struct call *call);

#define CALL_MAX_HEADERS 24

struct call {
    struct api *api;
    struct call *next_spare; /* once it is gone */
    struct http_request *request;
    enum resource resource;
    enum method method;
    uint64_t started_ns;        /* uv_hrtime */
    struct trace_context trace; /* for what is sent on its behalf */
    struct span *span;          /* owned or NULL */
    enum http_problem problem;
    call_fn *next; /* while a limit is asked for */
    char request_id[PROBLEM_REQUEST_ID_MAX + 1];
    bool names_command;                 /* request_id is ours, and a UUID: the command's, too */
    char session_id[UUID_LEN + 1];      /* of the path; "" without one */
    char parameter[PATH_PARAMETER_CAP]; /* of the path: a user, device, version or participant; ""
                                           without one */
    struct principal who;               /* once the token was verified */
    char device_id[SESSION_DEVICE_MAX + 1];

    /* The answer's headers: values are borrowed until the answer is given. */
    const char *headers[2 * CALL_MAX_HEADERS + 1];
    size_t n_headers;
    const char *content_type; /* of a 2xx with a body; NULL: application/json */
    char tag[POSITION_TAG_CAP];
    char location[128];
    char retry_after[24];
    const char *cache_control; /* static; NULL: private, no-cache */
    char limit_policy[128];    /* "" where nothing was counted */
    char limit_state[128];

    struct command command;          /* writes */
    struct position since;           /* deltas: after which position */
    struct position position;        /* deltas: the session's */
    enum session_role role;          /* reads: the caller's */
    size_t limit;                    /* lists */
    struct buf filters;              /* lists: "&name=value…", for the link to the next page */
    json_t *message;                 /* broadcast; owned or NULL */
    bool echo;                       /* broadcast */
    struct turn turn;                /* at Redis, while it waits for it */
    access_fn *go;                   /* once the caller is known to be a reader */
    bool wants_data;                 /* reads: with the session's data */
    answer_fn *answer;               /* reads: with the session, whole */
    unsigned n_loads;                /* how often the engine was asked for the session */
    struct session cold;             /* GET: the row, while its data is put together */
    struct devices devices;          /* of the session */
    struct version_job *version_job; /* while an earlier version is made again; borrowed */
    struct handoff *handoff;         /* handoff codes; owned or NULL */
    int media_type;                  /* of the answer: index in handoff_media_types */
    bool is_guest;                   /* of POST /handoff: without a token */
};

/* ---- call.c ---- */
/* A call for the request, which owns it. */
struct call *call_new(struct api *api, struct http_request *request);
/* Those that are gone, and kept for the next requests. */
void call_free_spares(struct api *api);

void call_add_header(struct call *call, const char *name, const char *value);
/* ETag of the position. */
void call_add_tag(struct call *call, struct position position);
/* Answers with what the buffer holds (taken) as application/json, unless call->content_type says
 * otherwise; NULL: without a body. The call is
 * gone afterwards, as after call_refuse. */
void call_answer(struct call *call, int status, struct buf *body);
/* Answers with what is the same for everybody: text lives as long as the program; NULL: without a
 * body. */
void call_answer_file(struct call *call, int status, const char *type, const char *text,
                      size_t len);
/* The same with a text that was made; taken. */
void call_answer_text(struct call *call, int status, const char *type, struct buf *text);

/* ---- problem.c ---- */
/* Answers with problem+json. conflict: JSON text of an object whose members are added, or NULL. */
void call_refuse(struct call *call, const struct fault *fault, const char *conflict);
/* The same with a formatted detail and without a field. */
void call_refuse_with(struct call *call, enum fault_code code, const char *detail);

/* ---- cors.c ---- */
void cors_add_headers(struct call *call);
/* Answers OPTIONS, preflight or not. */
void cors_answer_options(struct call *call);

/* ---- call_metrics.c ---- */
struct call_metrics *call_metrics_new(struct metrics *m);
struct call_metrics *call_metrics_free(struct call_metrics *m);
void call_metrics_count(struct call_metrics *m, const struct call *call, int status,
                        double seconds);
void call_metrics_set_in_flight(struct call_metrics *m, size_t n);

/* ---- call_trace.c ---- */
/* The request's trace, from its headers or of its own. */
void call_trace_begin(struct call *call);
void call_trace_end(struct call *call, int status);

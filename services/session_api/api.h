/* session_api's parts: what lives as long as the service, and what a request's way through the
 * files of this folder calls for. */
#pragma once

#include "common/app.h"
#include "common/auth.h"
#include "common/commander.h"
#include "common/db.h"
#include "common/http.h"
#include "common/store.h"
#include "services/session_api/call.h"
#include "services/session_api/limits.h"
#include "services/session_api/path.h"
#include "services/session_api/quota.h"

struct api {
    struct app *app;
    struct auth *auth;
    struct store *store;
    struct db *db;
    struct commander *commander;
    struct http *http;
    struct quota *quota;
    struct limits limits;
    struct health_dependency *redis, *postgresql;
    struct call_metrics *metrics;
    char request_prefix[9]; /* random, of this process */
    uint64_t n_requests;
    bool draining;
};

/* ---- api.c: the app_spec's functions ---- */
int api_start(struct app *app, void **ret_self);
void api_drain(void *self);
void api_stop(void *self);
/* A request is gone: the last one ends the drain. */
void api_request_gone(struct api *api);

/* ---- routes.c ---- */
void routes_on_request(void *api, struct http_request *request, enum http_problem problem);

/* ---- sessions.c: what becomes a command. Each leads to one answer of the call, now or later. ----
 */
void sessions_create(struct call *call);
void sessions_patch(struct call *call);
void sessions_change_status(struct call *call);
void sessions_delete(struct call *call);
void sessions_heartbeat(struct call *call);

/* ---- broadcast.c ---- */
void broadcast_send(struct call *call);

/* ---- reads.c, list.c ---- */
/* What a read of the store says of the call: whether it may go on with the session, with its role
 * set; else it is answered, now or later. */
bool reads_may_see(struct call *call, int err, const struct session *session);
void reads_session(struct call *call);
void reads_deltas(struct call *call);
void list_sessions(struct call *call);

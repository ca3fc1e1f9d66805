/* session_api's parts: what lives as long as the service, and what a request's way through the
 * files of this folder calls for. */
#pragma once

#include "common/app.h"
#include "common/auth.h"
#include "common/commander.h"
#include "common/db.h"
#include "common/http.h"
#include "common/identity.h"
#include "common/store.h"
#include "common/users.h"
#include "services/session_api/call.h"
#include "services/session_api/console.h"
#include "services/session_api/docs.h"
#include "services/session_api/files.h"
#include "services/session_api/handoff.h"
#include "services/session_api/limits.h"
#include "services/session_api/path.h"
#include "services/session_api/quota.h"
#include "services/session_api/version_job.h"

struct api {
    struct app *app;
    struct identity *identity;
    struct auth *auth; /* identity's */
    struct store *store;
    struct db *db;
    struct db *past_db; /* for what may read much of one session: nobody else waits behind it */
    struct commander *commander;
    struct http *http;
    uv_timer_t *open_timer; /* NULL once it is open */
    struct quota *quota;
    struct console *console; /* NULL where it is off */
    struct docs *docs;       /* the same */
    struct limits limits;
    struct health_dependency *redis, *postgresql;
    struct call_metrics *metrics;
    struct metric *handoff_codes[HANDOFF_N_OUTCOMES];
    char request_prefix[9]; /* random, of this process */
    uint64_t n_requests;
    struct call *spares; /* owned; call.c */
    size_t n_spares;
    struct table loaders; /* users.h: for whom the engine is asked for sessions */
    struct version_job *version_jobs[VERSION_JOBS_MAX]; /* in hand; NULL: a free place */
    struct version_job *cold_jobs[COLD_JOBS_MAX];       /* the same */
};

/* ---- api.c: the app_spec's functions ---- */
int api_start(struct app *app, void **ret_self);
void api_drain(void *self);
void api_reload(void *self, struct auth *keys);
void api_stop(void *self);
/* Counts anew what is in hand: a request is gone. */
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
void sessions_set_participant(struct call *call);
void sessions_remove_participant(struct call *call);
void sessions_let_device_in(struct call *call);
void sessions_remove_device(struct call *call);
void sessions_make_snapshot(struct call *call);
void sessions_switch(struct call *call);
void sessions_set_clock(struct call *call);
void sessions_adjust_clock(struct call *call);
/* What a restore is asked for, in call->command; then, with data, that command. */
MUSTCHECK int sessions_read_restore(struct call *call, struct fault *f);
void sessions_restore(struct call *call);

/* ---- access.c ---- */
/* Calls go when the caller may read the session of the path; else answers the call. */
void access_read(struct call *call, access_fn *go);
/* The same without data. */
void access_read_meta(struct call *call, access_fn *go);
/* What was read cannot be believed, or is not there: has the engine load or rebuild the session,
 * and reads again. go may be called once more; after some rounds the call is refused. */
void access_load(struct call *call);
/* Refuses for what a query's answer was: err of db_query or of its callback. */
void access_refuse_db(struct call *call, int err, const struct db_result *rows);
/* One statement by itself; refuses the call when PostgreSQL is away. db: one of the api's. */
void access_query(struct call *call, struct db *db, const char *sql, size_t n_params,
                  const char *const *params, db_done_fn *done);

/* ---- page.c: lists ---- */
/* Sets call->limit, and the cursor's text where there is one. FAULT_INVALID_REQUEST,
 * FAULT_INVALID_VALUE. */
MUSTCHECK int page_read(struct call *call, const char **ret_cursor, struct fault *f);
int page_refuse_cursor(struct fault *f);
/* A filter that the link to the next page has to have too; value needs no escape in a query. */
void page_add_filter(struct call *call, const char *name, const char *value);
/* Answers {"items":[…],"nextCursor":…}. items: texts joined by commas; taken. next: NULL at the
 * end.
 */
void page_answer(struct call *call, struct buf *items, const char *next);

/* ---- history.c, snapshots.c, sharing.c, versions.c ---- */
void history_list(struct call *call);
void snapshots_list(struct call *call);
void sharing_participants(struct call *call);
void sharing_devices(struct call *call);
void versions_read(struct call *call);
void versions_restore(struct call *call);

/* ---- tokens.c ---- */
void tokens_answer_keys(struct call *call);
void tokens_renew(struct call *call);

/* ---- broadcast.c ---- */
void broadcast_send(struct call *call);

/* ---- handoff_offer.c, handoff_redeem.c ---- */
void handoff_offer(struct call *call);
void handoff_show(struct call *call);
void handoff_redeem(struct call *call);

/* ---- reads.c, list.c ---- */
void reads_session(struct call *call);
/* Calls answer with the session of the path, whole, when the caller may read it. */
void reads_whole(struct call *call, answer_fn *answer);
void reads_deltas(struct call *call);
void list_sessions(struct call *call);

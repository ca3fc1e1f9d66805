/* See version_job.h. Redis is asked first: PostgreSQL is up to a second behind. What either says is
 * believed when it is whole (rebuild.h); what Redis has not whole is made from PostgreSQL. */
#include "services/session_api/version_job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/rebuild.h"
#include "services/session_api/api.h"

#define MAX_WORK_NS 5000000000ull

struct past_event {
    size_t at, len; /* in texts; len 0: data stayed as it was */
};

struct version_job {
    struct call *call; /* NULL: gone */
    version_done_fn *done;
    struct position wanted;
    uint64_t kept; /* the version kept in Redis that is asked for; 0: none */
    bool from_redis;
    bool is_working; /* the thread: all below is its own until it is done */

    /* What it is made of: a kept state, or none where the first event is the session's creation. */
    bool has_base;
    struct position base;
    struct buf base_data;
    char base_checksum[HASH_HEX_LEN + 1];
    struct buf texts;
    struct past_event events[REBUILD_MAX_EVENTS];
    size_t n_events;
    bool is_told; /* PostgreSQL has heard of the wanted version, or of a later one */

    uv_work_t work;
    int err;
    struct buf data;
    json_t *value;
    char checksum[HASH_HEX_LEN + 1];
};

static void job_free(struct version_job *job) {
    buf_done(&job->base_data);
    buf_done(&job->texts);
    buf_done(&job->data);
    json_decref(job->value);
    free(job);
}

/* Takes a place among those in hand. False: there is none, or the user has its share of them. */
static bool enter(struct version_job *job) {
    struct version_job **jobs = job->call->api->version_jobs, **free_place = NULL;
    unsigned n_of_user = 0;
    for (size_t i = 0; i < VERSION_JOBS_MAX; i++)
        if (!jobs[i])
            free_place = &jobs[i];
        else if (strcmp(jobs[i]->call->who.user_id, job->call->who.user_id) == 0)
            n_of_user++;
    if (!free_place || n_of_user >= VERSION_JOBS_MAX_OF_USER)
        return false;
    *free_place = job;
    job->call->version_job = job;
    return true;
}

static struct call *leave(struct version_job *job) {
    struct call *call = TAKE_PTR(job->call);
    struct version_job **place = call->api->version_jobs;
    while (*place != job)
        place++;
    *place = NULL;
    call->version_job = NULL;
    return call;
}

static void fail(struct version_job *job, enum fault_code code, const char *detail) {
    struct fault fault;
    struct call *call = leave(job);
    fault_set(&fault, code, NULL, "%s", detail);
    job->done(call, &fault, NULL);
    job_free(job);
}

static void fail_gone(struct version_job *job) {
    struct fault fault;
    struct call *call = leave(job);
    fault_set(&fault, FAULT_VERSION_GONE, "version",
              "version %" PRIu64 " of epoch %" PRIu64 " cannot be rebuilt", job->wanted.version,
              job->wanted.epoch);
    job->done(call, &fault, NULL);
    job_free(job);
}

void version_job_forget(struct version_job *job) {
    (void)leave(job);
    if (job->is_working)
        (void)uv_cancel((uv_req_t *)&job->work); /* if it has not begun */
    else
        job_free(job);
}

/* ---- gathering ---- */

static uint64_t last_version(const struct version_job *job) {
    return (job->has_base ? job->base.version : 0) + job->n_events;
}

/* The next version's event. False: it is not the next, or more than may be gathered. */
static bool gather(struct version_job *job, uint64_t version, const char *text, size_t len) {
    if (version != last_version(job) + 1 || job->n_events == REBUILD_MAX_EVENTS ||
        job->texts.len + len > REBUILD_MAX_BYTES)
        return false;
    job->events[job->n_events++] = (struct past_event){job->texts.len, len};
    buf_put(&job->texts, text, len);
    return true;
}

static bool gather_base(struct version_job *job, uint64_t version, const char *data, size_t len,
                        const char *checksum) {
    if (strlen(checksum) != HASH_HEX_LEN)
        return false;
    job->has_base = true;
    job->base = (struct position){version, job->wanted.epoch};
    buf_put(&job->base_data, data, len);
    memcpy(job->base_checksum, checksum, HASH_HEX_LEN + 1);
    return true;
}

static void forget_gathered(struct version_job *job) {
    job->has_base = false;
    job->n_events = 0;
    buf_clear(&job->base_data);
    buf_clear(&job->texts);
}

/* ---- the work ---- */

static int add_events(const struct version_job *job, struct rebuild *r) {
    uint64_t began = uv_hrtime();
    for (size_t i = 0; i < job->n_events; i++) {
        const struct past_event *e = &job->events[i];
        struct position next = {r->position.version + 1, r->position.epoch};
        int err = e->len ? rebuild_add(r, job->texts.data + e->at, e->len) : rebuild_skip(r, next);
        if (err)
            return err;
        if (uv_hrtime() - began > MAX_WORK_NS)
            return -ETIME;
    }
    return position_equal(r->position, job->wanted) ? 0 : -EBADMSG;
}

/* In a thread of libuv's. */
static void work(uv_work_t *w) {
    struct version_job *job = w->data;
    struct rebuild r = REBUILD_NULL;
    job->err = job->has_base ? rebuild_begin(&r, job->base, job->base_data.data, job->base_data.len,
                                             job->base_checksum)
                             : 0;
    if (!job->err)
        job->err = add_events(job, &r);
    if (!job->err)
        job->err = rebuild_end(&r, &job->data);
    if (!job->err) {
        job->value = json_incref(json_object_get(r.document, "data"));
        memcpy(job->checksum, r.checksum, sizeof(job->checksum));
    }
    rebuild_done(&r);
}

static void ask_database(struct version_job *job);

static void finish(struct version_job *job) {
    const struct version_result result = {.data = job->data.data,
                                          .data_len = job->data.len,
                                          .value = job->value,
                                          .checksum = job->checksum};
    job->done(leave(job), NULL, &result);
    job_free(job);
}

static void on_worked(uv_work_t *w, int status) {
    struct version_job *job = w->data;
    job->is_working = false;
    if (!job->call)
        job_free(job);
    else if (status || job->err == -ETIME)
        fail(job, FAULT_UNAVAILABLE, "the version takes too long to rebuild");
    else if (job->err && job->from_redis)
        ask_database(job);
    else if (job->err)
        fail_gone(job);
    else
        finish(job);
}

static void begin_work(struct version_job *job) {
    job->is_working = true;
    job->work.data = job;
    (void)uv_queue_work(job->call->api->app->loop, &job->work, work, on_worked);
}

/* ---- from PostgreSQL ---- */

/* The newest base that is not newer, and whether that version is told of. $4: the creation's
 * message id, when it was in this epoch. */
static const char base_sql[] =
    "SELECT (s.epoch, s.version) >= ($2::integer, $3::integer), b.version, b.data, b.checksum "
    "FROM sessions AS s LEFT JOIN LATERAL ("
    "(SELECT version, data, checksum FROM session_snapshots WHERE session_id = $1::uuid "
    " AND epoch = $2::integer AND version <= $3::integer ORDER BY version DESC LIMIT 1) "
    "UNION ALL "
    "(SELECT version, payload -> 'session' -> 'data', payload -> 'session' ->> 'checksum' "
    " FROM session_events WHERE session_id = $1::uuid AND message_id = $4::text "
    " AND type = 'session_created') "
    "ORDER BY version DESC LIMIT 1) AS b ON true WHERE s.id = $1::uuid";

/* The versions after $3: those that a delta made with it. A page ends before it is too much, by
 * sizes as they are stored: nothing is decompressed to be left out. */
static const char events_sql[] =
    "SELECT version, payload FROM ("
    "SELECT *, row_number() OVER oldest AS n, "
    "sum(pg_column_size(payload)) OVER oldest AS n_bytes FROM ("
    "SELECT version, CASE WHEN type = 'state_delta' THEN payload END AS payload "
    "FROM session_events WHERE session_id = $1::uuid AND epoch = $2::integer "
    "AND version > $3::integer AND version <= $4::integer "
    "AND message_id = ($1::uuid)::text || ':' || epoch || ':' || version "
    "ORDER BY version LIMIT 200) AS found "
    "WINDOW oldest AS (ORDER BY version ROWS UNBOUNDED PRECEDING)) AS page "
    "WHERE n = 1 OR coalesce(n_bytes, 0) <= 131072 ORDER BY n";

static void ask_events(struct version_job *job);

/* What PostgreSQL has not heard of yet it may still hear of. */
static void fail_incomplete(struct version_job *job) {
    if (job->is_told)
        fail_gone(job);
    else
        fail(job, FAULT_UNAVAILABLE, "the audit trail is behind; try again");
}

static bool is_answered(struct version_job *job, int err, const struct db_result *rows) {
    if (err == -EIO && rows && strcmp(db_sqlstate(rows), "57014") != 0)
        fail(job, FAULT_INTERNAL, db_error(rows));
    else if (err < 0)
        fail(job, FAULT_UNAVAILABLE, "PostgreSQL cannot be reached");
    return err == 0;
}

static void query(struct version_job *job, const char *sql, size_t n_params,
                  const char *const *params, db_done_fn *done) {
    struct db *db = job->call->api->past_db;
    if (db_query(db, sql, n_params, params, done, job) < 0)
        fail(job, FAULT_UNAVAILABLE, "PostgreSQL cannot be reached");
    else
        (void)!db_end(db, NULL, NULL);
}

static void go_on(struct version_job *job) {
    if (last_version(job) == job->wanted.version)
        begin_work(job);
    else
        ask_events(job);
}

static void on_events(void *arg, int err, const struct db_result *rows) {
    struct version_job *job = arg;
    if (!is_answered(job, err, rows))
        return;
    for (size_t i = 0; i < db_n_rows(rows); i++) {
        size_t len = 0;
        const char *text = db_value(rows, i, 1, &len);
        if (!gather(job, (uint64_t)db_number(rows, i, 0), text, text ? len : 0)) {
            fail_incomplete(job);
            return;
        }
    }
    if (db_n_rows(rows) == 0)
        fail_incomplete(job);
    else
        go_on(job);
}

static void ask_events(struct version_job *job) {
    char epoch[24], after[24], version[24];
    snprintf(epoch, sizeof(epoch), "%" PRIu64, job->wanted.epoch);
    snprintf(after, sizeof(after), "%" PRIu64, last_version(job));
    snprintf(version, sizeof(version), "%" PRIu64, job->wanted.version);
    const char *const params[] = {job->call->session_id, epoch, after, version};
    query(job, events_sql, N_ELEMENTS(params), params, on_events);
}

static void on_base(void *arg, int err, const struct db_result *rows) {
    struct version_job *job = arg;
    if (!is_answered(job, err, rows))
        return;
    const char *told = db_n_rows(rows) == 1 ? db_value(rows, 0, 0, NULL) : NULL;
    job->is_told = told && *told == 't';
    size_t len = 0;
    const char *data = told ? db_value(rows, 0, 2, &len) : NULL;
    const char *checksum = told ? db_value(rows, 0, 3, NULL) : NULL;
    if (data && checksum && gather_base(job, (uint64_t)db_number(rows, 0, 1), data, len, checksum))
        go_on(job);
    else
        fail_incomplete(job);
}

static void ask_database(struct version_job *job) {
    char epoch[24], version[24], created[UUID_LEN + 32];
    const char *session_id = job->call->session_id;
    job->from_redis = false;
    forget_gathered(job);
    if (job->wanted.version > INT32_MAX || job->wanted.epoch > INT32_MAX) {
        fail_gone(job); /* PostgreSQL's integer holds no such position */
        return;
    }
    snprintf(epoch, sizeof(epoch), "%" PRIu64, job->wanted.epoch);
    snprintf(version, sizeof(version), "%" PRIu64, job->wanted.version);
    snprintf(created, sizeof(created), "%s:%" PRIu64 ":1", session_id, job->wanted.epoch);
    const char *const params[] = {session_id, epoch, version, created};
    query(job, base_sql, N_ELEMENTS(params), params, on_base);
}

/* ---- from Redis ---- */

static bool gather_state(struct version_job *job, const struct store_past *past) {
    struct session kept = {0};
    bool ok = past->state && session_parse_state(&kept, past->state, past->state_len) == 0 &&
              gather_base(job, job->kept, kept.data_text, kept.data_len, kept.checksum);
    session_done(&kept);
    return ok;
}

static bool gather_past(struct version_job *job, const struct store_past *past) {
    if (past->epoch != job->wanted.epoch || (job->kept && !gather_state(job, past)))
        return false;
    for (size_t i = 0; i < past->n_deltas; i++)
        if (!gather(job, past->deltas[i].version, past->deltas[i].event, past->deltas[i].event_len))
            return false;
    return last_version(job) == job->wanted.version;
}

static void on_past(void *arg, int err, const struct store_past *past) {
    struct version_job *job = arg;
    if (err && err != -ENOENT && err != -EBADMSG)
        fail(job, FAULT_UNAVAILABLE, "Redis cannot be reached");
    else if (!err && gather_past(job, past))
        begin_work(job);
    else
        ask_database(job);
}

/* The newest version kept that is not newer; 0 when there is none. */
static uint64_t newest_kept(const char *snapshots, uint64_t version) {
    uint64_t newest = 0;
    for (const char *p = snapshots; *p;) {
        char *end;
        uint64_t kept = strtoull(p, &end, 10);
        if (kept <= version && kept > newest)
            newest = kept;
        p = *end == ',' ? end + 1 : end;
    }
    return newest;
}

void version_job_start(struct call *call, const struct session *session, bool is_hot,
                       struct position wanted, version_done_fn *done) {
    struct version_job *job = must_alloc(sizeof(*job));
    job->call = call;
    job->done = done;
    job->wanted = wanted;
    if (!enter(job)) {
        struct fault fault;
        fault_set(&fault, FAULT_UNAVAILABLE, NULL, "too many versions are being rebuilt");
        job_free(job);
        done(call, &fault, NULL);
        return;
    }
    job->from_redis = is_hot && wanted.epoch == session->position.epoch;
    job->kept = job->from_redis ? newest_kept(session->snapshots, wanted.version) : 0;
    if (is_hot && position_equal(wanted, session->position) &&
        gather_base(job, wanted.version, session->data_text, session->data_len, session->checksum))
        begin_work(job);
    else if (job->from_redis)
        store_read_past(call->api->store, call->session_id, job->kept, wanted.version, on_past,
                        job);
    else
        ask_database(job);
}

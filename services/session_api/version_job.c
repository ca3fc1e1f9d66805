/* See version_job.h. Redis is asked first: PostgreSQL is up to a second behind. What either says is
 * believed when it is whole (rebuild.h); what Redis has not whole is made from PostgreSQL. */
#include "services/session_api/version_job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/db_rebuild.h"
#include "common/replay.h"
#include "services/session_api/api.h"

struct version_job {
    struct call *call; /* NULL: gone, it will be freed when Redis answers */
    version_done_fn *done;
    struct position wanted;
    bool is_cold;              /* a cold session's own data */
    uint64_t kept;             /* the version kept in Redis that is asked for; 0: none */
    bool is_asked;             /* Redis will answer */
    struct replay *replay;     /* of what Redis has */
    struct db_rebuild *lookup; /* what PostgreSQL has; borrowed */
};

static void job_free(struct version_job *job) {
    job->replay = replay_free(job->replay);
    if (!job->is_asked)
        free(job);
}

struct places {
    struct version_job **jobs;
    size_t n;
    unsigned n_of_user;
};

static struct places places_of(struct api *api, const struct version_job *job) {
    if (job->is_cold)
        return (struct places){api->cold_jobs, COLD_JOBS_MAX, COLD_JOBS_MAX_OF_USER};
    return (struct places){api->version_jobs, VERSION_JOBS_MAX, VERSION_JOBS_MAX_OF_USER};
}

/* Takes a place among those in hand. False: there is none, or the user has its share of them. */
static bool enter(struct version_job *job) {
    struct places places = places_of(job->call->api, job);
    struct version_job **free_place = NULL;
    unsigned n_of_user = 0;
    for (size_t i = 0; i < places.n; i++)
        if (!places.jobs[i])
            free_place = &places.jobs[i];
        else if (strcmp(places.jobs[i]->call->who.user_id, job->call->who.user_id) == 0)
            n_of_user++;
    if (!free_place || n_of_user >= places.n_of_user)
        return false;
    *free_place = job;
    job->call->version_job = job;
    return true;
}

static struct call *leave(struct version_job *job) {
    struct call *call = TAKE_PTR(job->call);
    struct version_job **place = places_of(call->api, job).jobs;
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
    if (job->lookup)
        db_rebuild_forget(job->lookup);
    job_free(job);
}

static void finish(struct version_job *job, const struct version_result *result) {
    job->done(leave(job), NULL, result);
    job_free(job);
}

/* ---- from PostgreSQL ---- */

static void fail_lookup(struct version_job *job, int err) {
    if (err == -ENODATA)
        fail_gone(job);
    else if (err == -EIO)
        fail(job, FAULT_INTERNAL, "PostgreSQL refused the question");
    else if (err == -EAGAIN)
        fail(job, FAULT_UNAVAILABLE, "the audit trail is behind; try again");
    else if (err == -ETIMEDOUT)
        fail(job, FAULT_UNAVAILABLE, "the version takes too long to rebuild");
    else
        fail(job, FAULT_UNAVAILABLE, "PostgreSQL cannot be reached");
}

static void on_rebuilt(void *arg, int err, const struct db_rebuilt *rebuilt) {
    struct version_job *job = arg;
    job->lookup = NULL;
    if (err)
        fail_lookup(job, err);
    else
        finish(job, &(struct version_result){rebuilt->data, rebuilt->data_len, rebuilt->value,
                                             rebuilt->checksum});
}

static void ask_database(struct version_job *job) {
    struct api *api = job->call->api;
    job->lookup = db_rebuild_start(api->app->loop, api->past_db, job->call->session_id, job->wanted,
                                   DB_REBUILD_EXACT, on_rebuilt, job);
}

/* ---- from Redis ---- */

static void on_replayed(void *arg, int err, const struct replayed *replayed) {
    struct version_job *job = arg;
    if (err == -ETIME)
        fail(job, FAULT_UNAVAILABLE, "the version takes too long to rebuild");
    else if (err || !position_equal(replayed->position, job->wanted))
        ask_database(job);
    else
        finish(job, &(struct version_result){replayed->data, replayed->data_len, replayed->value,
                                             replayed->checksum});
}

static bool gather_state(struct version_job *job, const struct store_past *past) {
    const struct position position = {job->kept, job->wanted.epoch};
    struct session kept = {0};
    bool ok =
        past->state && session_parse_state(&kept, past->state, past->state_len) == 0 &&
        replay_begin(job->replay, position, kept.data_text, kept.data_len, kept.checksum) == 0;
    session_done(&kept);
    return ok;
}

static bool gather_past(struct version_job *job, const struct store_past *past) {
    if (past->epoch != job->wanted.epoch || (job->kept && !gather_state(job, past)))
        return false;
    for (size_t i = 0; i < past->n_deltas; i++) {
        const struct store_delta *delta = &past->deltas[i];
        if (replay_add(job->replay, delta->version, delta->event, delta->event_len))
            return false;
    }
    return replay_last_version(job->replay) == job->wanted.version;
}

static void on_past(void *arg, int err, const struct store_past *past) {
    struct version_job *job = arg;
    job->is_asked = false;
    if (!job->call)
        job_free(job);
    else if (err && err != -ENOENT && err != -EBADMSG && err != -ESTALE)
        fail(job, FAULT_UNAVAILABLE, "Redis cannot be reached");
    else if (!err && gather_past(job, past))
        replay_run(job->replay, false);
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

/* NULL: there is no place for it, and the call is answered. */
static struct version_job *begin(struct call *call, struct position wanted, bool is_cold,
                                 version_done_fn *done) {
    struct version_job *job = must_alloc(sizeof(*job));
    struct fault fault;
    *job = (struct version_job){.call = call, .done = done, .wanted = wanted, .is_cold = is_cold};
    if (enter(job))
        return job;
    fault_set(&fault, FAULT_UNAVAILABLE, NULL, "too many versions are being rebuilt");
    job_free(job);
    done(call, &fault, NULL);
    return NULL;
}

void version_job_start_cold(struct call *call, const struct session *session,
                            version_done_fn *done) {
    struct version_job *job = begin(call, session->position, true, done);
    if (job)
        ask_database(job);
}

void version_job_start(struct call *call, const struct session *session, bool is_hot,
                       struct position wanted, version_done_fn *done) {
    struct version_job *job = begin(call, wanted, false, done);
    if (!job)
        return;
    bool from_redis = is_hot && wanted.epoch == session->position.epoch;
    job->kept = from_redis ? newest_kept(session->snapshots, wanted.version) : 0;
    job->replay = replay_new(call->api->app->loop, on_replayed, job);
    if (is_hot && position_equal(wanted, session->position) &&
        replay_begin(job->replay, wanted, session->data_text, session->data_len,
                     session->checksum) == 0) {
        replay_run(job->replay, false);
    } else if (from_redis) {
        job->is_asked = true;
        store_read_past(call->api->store, call->session_id, job->kept, wanted.version, on_past,
                        job);
    } else {
        ask_database(job);
    }
}

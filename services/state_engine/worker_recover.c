/* Jobs that wait for a session's recovery, or for what PostgreSQL knows of a create's key; the rest
 * of the queue goes on. They hold their messages, of which the broker gives an engine so many at a
 * time: recover.h answers in time also when PostgreSQL does not. */
#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "common/store_recover.h"
#include "services/state_engine/worker_private.h"

#define MAX_JOBS 256     /* of one session */
#define MAX_RECOVERIES 4 /* on behalf of one job: more would come to nothing, too */
#define MAX_CREATES 1024 /* whose keys are asked for */

/* One session, or one create, that is waited for. */
struct waiting {
    struct waiting *next, **link; /* worker::waiting; link: what points here */
    struct worker *worker;
    char session_id[UUID_LEN + 1]; /* "" of a create */
    struct queue jobs;
};

static struct waiting *find(const struct worker *w, const char *session_id) {
    struct waiting *waiting = w->waiting;
    while (waiting && memcmp(waiting->session_id, session_id, UUID_LEN) != 0)
        waiting = waiting->next;
    return waiting;
}

static struct waiting *waiting_new(struct worker *w, const char *session_id) {
    struct waiting *waiting = must_alloc(sizeof(*waiting));
    waiting->worker = w;
    snprintf(waiting->session_id, sizeof(waiting->session_id), "%s", session_id);
    waiting->next = w->waiting;
    waiting->link = &w->waiting;
    if (waiting->next)
        waiting->next->link = &waiting->next;
    w->waiting = waiting;
    w->n_waiting++;
    return waiting;
}

static void forget(struct waiting *waiting) {
    *waiting->link = waiting->next;
    if (waiting->next)
        waiting->next->link = waiting->link;
    waiting->worker->n_waiting--;
    free(waiting);
}

static void refuse_unknown(struct worker *w, struct job *j, const char *why) {
    worker_refuse_with(w, j, job_may_be_saved(j) ? FAULT_TIMEOUT : FAULT_UNAVAILABLE, why);
}

/* ---- sessions ---- */

/* Where there never was a session a create makes one, for those behind it too. */
static bool may_go_on(struct worker *w, struct job *j, enum recover_answer answer,
                      bool *is_created) {
    if (answer == RECOVER_NEVER && j->command.kind == COMMAND_CREATE)
        *is_created = j->may_create = true;
    if (answer == RECOVER_HOT || *is_created)
        return true;
    if (answer == RECOVER_NEVER || answer == RECOVER_DELETED)
        worker_refuse_with(w, j, FAULT_NOT_FOUND, "there is no such session for this user");
    else if (answer == RECOVER_UNKNOWN)
        refuse_unknown(w, j, "the session is not in the store, and cannot be recovered now");
    else if (answer == RECOVER_BUSY)
        refuse_unknown(w, j, "too many sessions are being recovered");
    return false;
}

static void resume(struct worker *w, struct queue *jobs) {
    if (!jobs->first)
        return;
    queue_push_front(&w->jobs, jobs);
    worker_run_soon(w);
}

static void on_recovered(void *arg, enum recover_answer answer) {
    struct waiting *waiting = arg;
    struct worker *w = waiting->worker;
    struct queue jobs = waiting->jobs, hot = {0};
    bool is_created = false;
    forget(waiting);
    worker_begin(w);
    for (struct job *j; (j = queue_pop(&jobs));)
        if (may_go_on(w, j, answer, &is_created))
            queue_push(&hot, j);
    worker_end(w);
    resume(w, &hot);
    worker_check_drained(w);
}

bool worker_waits_for(const struct worker *w, const struct job *j) {
    return w->n_waiting > 0 && find(w, j->command.session_id);
}

void worker_wait_with(struct worker *w, struct job *j) {
    struct waiting *waiting = find(w, j->command.session_id);
    if (waiting->jobs.n < MAX_JOBS)
        queue_push(&waiting->jobs, j);
    else
        refuse_unknown(w, j, "too many commands wait for the session's recovery");
}

void worker_recover(struct worker *w, struct job *j, enum recover_cause cause) {
    if (worker_waits_for(w, j)) {
        worker_wait_with(w, j);
    } else if (++j->n_recoveries > MAX_RECOVERIES) {
        refuse_unknown(w, j, "the session is lost again and again");
    } else {
        struct waiting *waiting = waiting_new(w, j->command.session_id);
        queue_push(&waiting->jobs, j);
        recover_ask(w->recover, &j->command, cause, on_recovered, waiting);
    }
}

/* ---- creates ---- */

/* Negative: Redis did not take the claim's correction. */
static int take_session(struct worker *w, struct job *j, const char *session_id,
                        const char *fingerprint) {
    if (strlen(session_id) != UUID_LEN)
        return -EBADMSG;
    int r = store_batch_correct_claim(w->store, j->command.user_id, j->key_hash, session_id,
                                      fingerprint);
    if (r != 0)
        return r;
    memcpy(j->command.session_id, session_id, UUID_LEN + 1);
    j->has_old_claim = true;
    return 0;
}

static void on_create_known(void *arg, int err, const char *session_id, const char *fingerprint) {
    struct waiting *waiting = arg;
    struct worker *w = waiting->worker;
    struct queue jobs = waiting->jobs;
    struct job *j = jobs.first;
    forget(waiting);
    worker_begin(w);
    CRASH_LINK("engine.key.answered", CRASH_REDIS);
    if (j && err == 0 && session_id)
        err = take_session(w, j, session_id, fingerprint);
    if (j && err != 0) {
        refuse_unknown(w, queue_pop(&jobs), "it is not known now whether the key was used");
    } else if (j) {
        j->key_is_judged = true;
    }
    worker_end(w);
    resume(w, &jobs);
    worker_check_drained(w);
}

void worker_ask_key(struct worker *w, struct job *j) {
    if (w->n_waiting >= RECOVER_MAX_SESSIONS + MAX_CREATES) {
        refuse_unknown(w, j, "too many creates wait for the database");
        return;
    }
    struct waiting *waiting = waiting_new(w, "");
    queue_push(&waiting->jobs, j);
    CRASH_LINK("engine.key.asking", CRASH_DATABASE);
    recover_ask_create(w->recover, j->command.user_id, j->key_hash, on_create_known, waiting);
}

/* ---- all ---- */

void worker_refuse_late_waiting(struct worker *w, int64_t now) {
    for (struct waiting *waiting = w->waiting; waiting; waiting = waiting->next) {
        struct queue kept = {0};
        for (struct job *j; (j = queue_pop(&waiting->jobs));)
            if (now > j->command.deadline)
                refuse_unknown(w, j, "the session was not recovered before the deadline");
            else
                queue_push(&kept, j);
        waiting->jobs = kept;
    }
}

void worker_drop_waiting(struct worker *w, struct queue *ret_jobs) {
    for (struct waiting *waiting = w->waiting; waiting; waiting = waiting->next)
        for (struct job *j; (j = queue_pop(&waiting->jobs));)
            queue_push(ret_jobs, j);
}

void worker_free_waiting(struct worker *w) {
    for (struct waiting *next, *waiting = w->waiting; waiting; waiting = next) {
        next = waiting->next;
        free(waiting);
    }
    w->waiting = NULL;
    w->n_waiting = 0;
}

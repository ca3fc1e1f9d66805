/* Commands for sessions that Redis has not: not_found when PostgreSQL has no such session either,
 * else unavailable. While they wait they hold their messages, of which the broker gives an engine
 * so many at a time: a PostgreSQL that does not answer must not keep from work those that need
 * none. */
#include "base/timestamp.h"
#include "services/state_engine/worker_private.h"

#define PATIENCE_MS 2000

struct absent {
    struct absent *next;
    struct worker *worker;
    struct job *job; /* NULL: refused already, only the answer is waited for */
    int64_t asked_at;
};

static void refuse(struct worker *w, struct job *j, enum recover_answer answer) {
    enum fault_code unknown = job_may_be_saved(j) ? FAULT_TIMEOUT : FAULT_UNAVAILABLE;
    worker_begin(w);
    if (answer == RECOVER_NEVER)
        worker_refuse_with(w, j, FAULT_NOT_FOUND, "there is no such session for this user");
    else if (answer == RECOVER_MISSING)
        worker_refuse_with(w, j, unknown, "the session is not in the store");
    else
        worker_refuse_with(w, j, unknown, "the database does not answer");
    worker_end(w);
}

static void forget(struct worker *w, const struct absent *absent) {
    struct absent **link = &w->absents;
    while (*link != absent)
        link = &(*link)->next;
    *link = absent->next;
}

static void on_answer(void *arg, enum recover_answer answer) {
    struct absent *absent = arg;
    struct worker *w = absent->worker;
    forget(w, absent);
    if (absent->job)
        refuse(w, absent->job, answer);
    free(absent);
    worker_check_drained(w);
}

/* The first one was refused while its answer is still waited for: the others' will not come sooner.
 */
static bool is_silent(const struct worker *w) {
    return w->absents && !w->absents->job;
}

void worker_ask_about_absent(struct worker *w, struct job *j) {
    if (is_silent(w)) {
        refuse(w, j, RECOVER_UNKNOWN);
        return;
    }
    struct absent *absent = must_alloc(sizeof(*absent));
    *absent = (struct absent){.worker = w, .job = j, .asked_at = timestamp_monotonic_ms()};
    struct absent **end = &w->absents;
    while (*end)
        end = &(*end)->next;
    *end = absent;
    recover_ask(w->recover, j->command.session_id, on_answer, absent);
}

void worker_refuse_waiting_absents(struct worker *w) {
    int64_t oldest = timestamp_monotonic_ms() - PATIENCE_MS;
    for (struct absent *absent = w->absents; absent && absent->asked_at < oldest;
         absent = absent->next)
        if (absent->job)
            refuse(w, TAKE_PTR(absent->job), RECOVER_UNKNOWN);
}

/* Commands for sessions that Redis has not: not_found when PostgreSQL has no such session either,
 * else unavailable. */
#include <string.h>

#include "services/state_engine/worker_private.h"

struct absent {
    struct worker *worker;
    struct job *job;
};

static void on_answer(void *arg, enum recover_answer answer) {
    struct absent *absent = arg;
    struct worker *w = absent->worker;
    struct reply reply = {0};
    memcpy(reply.id, absent->job->command.id, sizeof(reply.id));
    memcpy(reply.session_id, absent->job->command.session_id, sizeof(reply.session_id));
    if (answer == RECOVER_NEVER)
        fault_set(&reply.fault, FAULT_NOT_FOUND, NULL, "there is no such session for this user");
    else
        fault_set(&reply.fault, FAULT_UNAVAILABLE, NULL,
                  answer == RECOVER_MISSING ? "the session is not in the store"
                                            : "the database does not answer");
    publisher_cork(w->publisher);
    worker_refuse(w, absent->job, &reply);
    publisher_uncork(w->publisher);
    worker_check_drained(w);
    free(absent);
}

void worker_ask_about_absent(struct worker *w, struct job *j) {
    struct absent *absent = must_alloc(sizeof(*absent));
    *absent = (struct absent){w, j};
    recover_ask(w->recover, j->command.session_id, on_answer, absent);
}

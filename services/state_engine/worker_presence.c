/* COMMAND_PRESENCE: many sessions at once, beside the batch. It changes no session, so that it
 * needs no compare-and-set, no deadline and no role; only ws_fanout and trusted backends send it.
 */
#include <errno.h>
#include <string.h>

#include "base/timestamp.h"
#include "services/state_engine/presence.h"
#include "services/state_engine/worker_private.h"

/* The sessions of these jobs, each once, with the delivery of the first job that names it. */
static size_t gather(struct job *const *jobs, size_t n, struct store_presence *sessions,
                     struct delivery **deliveries, size_t *ret_session_of) {
    size_t n_sessions = 0;
    for (size_t i = 0; i < n; i++) {
        const char *id = jobs[i]->command.session_id;
        size_t k = 0;
        while (k < n_sessions && memcmp(sessions[k].session_id, id, UUID_LEN) != 0)
            k++;
        ret_session_of[i] = k;
        if (k < n_sessions)
            continue;
        sessions[k] = (struct store_presence){.judges = true};
        memcpy(sessions[k].session_id, id, UUID_LEN + 1);
        deliveries[k] = jobs[i]->delivery;
        n_sessions++;
    }
    return n_sessions;
}

static void accept_one(struct worker *w, struct job *j, const struct store_presence *s) {
    struct delivery *d = j->delivery;
    struct reply reply = {.position = s->position, .base_version = s->position.version};
    memcpy(reply.id, j->command.id, sizeof(reply.id));
    memcpy(reply.session_id, j->command.session_id, sizeof(reply.session_id));
    metric_add(w->n_commands[FAULT_NONE], 1);
    publisher_reply(w->publisher, d, &reply);
    job_free(j);
    worker_close_one(w, d);
}

static void settle_one(struct worker *w, struct job *j, const struct store_presence *s) {
    if (s->err == 0)
        accept_one(w, j, s);
    else if (s->err == -ENOENT || s->err == -ESTALE)
        worker_recover(w, j, s->err == -ENOENT ? RECOVER_ABSENT : RECOVER_STALE);
    else
        worker_refuse_with(w, j, FAULT_UNAVAILABLE, "the session's devices cannot be judged now");
}

int worker_run_presence(struct worker *w, struct job *const *jobs, size_t n) {
    struct store_presence sessions[PRESENCE_MAX_TOGETHER];
    struct delivery *deliveries[PRESENCE_MAX_TOGETHER];
    size_t session_of[PRESENCE_MAX_TOGETHER];
    size_t n_sessions = gather(jobs, n, sessions, deliveries, session_of);
    int64_t now = worker_store_time(w);
    int r = presence_judge(w->presence, sessions, n_sessions, deliveries, now);
    for (size_t i = 0; r == 0 && i < n; i++)
        settle_one(w, jobs[i], &sessions[session_of[i]]);
    for (size_t i = 0; i < n_sessions; i++)
        store_presence_done(&sessions[i]);
    return r;
}

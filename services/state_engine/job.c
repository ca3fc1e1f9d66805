/* Commands as the broker brings them; see job.h. */
#include "services/state_engine/job.h"

#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "proto/reader.h"
#include "proto/route.h"
#include "proto/text.h"

#define FIRST_LOOK 0 /* a redelivered command may be anywhere in the window */

struct job *job_free(struct job *j) {
    if (!j)
        return NULL;
    command_done(&j->command);
    free(j);
    return NULL;
}

bool job_may_be_saved(const struct job *j) {
    return j->is_uncertain || j->delivery->redelivered;
}

const char *job_hash_id(struct job *j) {
    if (!j->id_hash[0])
        command_hash_id(j->command.id, j->id_hash);
    return j->id_hash;
}

void queue_push(struct queue *q, struct job *j) {
    j->next = NULL;
    *(q->end ? q->end : &q->first) = j;
    q->end = &j->next;
    q->n++;
}

void queue_push_front(struct queue *q, struct queue *more) {
    if (!more->first)
        return;
    struct queue joined = *more;
    if (q->first) {
        *joined.end = q->first;
        joined.end = q->end;
        joined.n += q->n;
    }
    *q = joined;
    *more = (struct queue){0};
}

struct job *queue_pop(struct queue *q) {
    struct job *j = q->first;
    if (!j)
        return NULL;
    q->first = j->next;
    if (!q->first)
        q->end = NULL;
    q->n--;
    j->next = NULL;
    return j;
}

struct delivery *delivery_free(struct delivery *d) {
    if (!d)
        return NULL;
    for (size_t i = 0; i < d->n_held; i++)
        reply_done(&d->held[i]);
    free(d->held);
    free(d->body);
    free(d);
    return NULL;
}

static void drop_jobs(struct queue *jobs) {
    for (struct job *j; (j = queue_pop(jobs));)
        job_free(j);
}

static void add_job(struct job *j, struct delivery *d, struct queue *jobs) {
    j->taken_ns = j->command.trace.is_sampled ? uv_hrtime() : 0;
    j->delivery = d;
    j->look_since = d->redelivered ? FIRST_LOOK : JOB_NO_LOOK;
    if (j->command.key[0] || j->command.kind == COMMAND_SNAPSHOT) {
        command_key_hash(&j->command, j->key_hash);
        command_fingerprint(&j->command, j->fingerprint);
    }
    queue_push(jobs, j);
}

static int read_job(const json_t *object, struct delivery *d, struct queue *jobs, struct fault *f) {
    _cleanup_(job_freep) struct job *j = must_alloc(sizeof(*j));
    int r = command_parse(object, &j->command, f);
    if (r == 0)
        add_job(TAKE_PTR(j), d, jobs);
    return r;
}

/* The message of a commander with nothing but patches. False, without jobs: it is another one. */
static bool read_patches(const struct bus_message *m, struct delivery *d, struct queue *jobs) {
    struct reader r = {m->body, m->body_len};
    bool goes_on = reader_skip(&r, "{\"commands\":[");
    while (goes_on && jobs->n < COMMAND_MAX_PER_MESSAGE) {
        _cleanup_(job_freep) struct job *j = must_alloc(sizeof(*j));
        if (!command_read_quickly(&r, &j->command))
            break;
        add_job(TAKE_PTR(j), d, jobs);
        goes_on = reader_skip(&r, ",");
    }
    d->n_open = jobs->n;
    if (!goes_on && jobs->n > 0 && reader_skip(&r, "]}") && r.left == 0)
        return true;
    drop_jobs(jobs);
    return false;
}

static int read_jobs(const struct bus_message *m, struct delivery *d, struct queue *jobs,
                     struct fault *f) {
    json_auto_t *body = NULL;
    json_t *commands = NULL;
    if (read_patches(m, d, jobs))
        return 0;
    int r = text_parse(m->body, m->body_len, &body, f);
    if (r == 0)
        r = text_get_array(body, "commands", TEXT_REQUIRED, &commands, f);
    if (r != 0)
        return r;
    size_t n = json_array_size(commands);
    if (n == 0 || n > COMMAND_MAX_PER_MESSAGE)
        return fault_set(f, FAULT_INVALID_VALUE, "commands", "%zu commands; 1 to %d", n,
                         COMMAND_MAX_PER_MESSAGE);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = read_job(json_array_get(commands, i), d, jobs, f);
    d->n_open = n;
    return r;
}

int delivery_read(const struct bus_message *m, uint64_t generation, struct delivery **ret,
                  struct queue *jobs, struct fault *f) {
    if (m->too_large)
        return fault_set(f, FAULT_BODY_TOO_LARGE, NULL, "the message is too large for commands");
    if (m->reply_to[0] && !route_is_reply_to(m->reply_to, strlen(m->reply_to)))
        return fault_set(f, FAULT_INVALID_VALUE, "reply_to", "only %s.* is answered",
                         ROUTE_REPLY_TO);
    struct delivery *d = must_alloc(sizeof(*d));
    d->generation = generation;
    d->tag = m->tag;
    d->redelivered = m->redelivered;
    if (m->redelivered)
        d->body = must_memdup(m->body, m->body_len);
    d->body_len = m->body_len;
    memcpy(d->reply_to, m->reply_to, sizeof(d->reply_to));
    memcpy(d->correlation_id, m->correlation_id, sizeof(d->correlation_id));
    struct queue read = {0};
    int r = read_jobs(m, d, &read, f);
    if (r != 0) {
        drop_jobs(&read);
        delivery_free(d);
        return r;
    }
    for (struct job *j; (j = queue_pop(&read));)
        queue_push(jobs, j);
    *ret = d;
    return 0;
}

/* Creates by keys that Redis may have forgotten; docs/decisions/0009 (memory). PostgreSQL knows
 * what had been told of when Redis began to remember once a barrier came after that; what was
 * created since has its claim in Redis. */
#include <errno.h>
#include <string.h>

#include "base/timestamp.h"
#include "services/state_engine/recover_private.h"

#define MAX_QUESTIONS 1024

struct recover_question {
    struct recover_question *next, **link; /* recover::questions; link: what points here */
    struct recover *owner;
    int64_t asked_at; /* ms, monotonic; 0: not yet */
    bool is_parked;   /* it could not be put yet: PostgreSQL is away, or has too many */
    struct store_memory memory;
    char user_id[UUID_LEN + 1];
    char key_hash[HASH_HEX_LEN + 1];
    recover_create_fn *done; /* NULL: it was answered, for want of patience */
    void *arg;
};

static void answer(struct recover_question *q, int err, const char *session_id,
                   const char *fingerprint) {
    recover_create_fn *done = TAKE_PTR(q->done);
    if (done && !q->owner->is_closing)
        done(q->arg, err, session_id, fingerprint);
}

static void end(struct recover_question *q, int err, const char *session_id,
                const char *fingerprint) {
    *q->link = q->next;
    if (q->next)
        q->next->link = q->link;
    q->owner->n_questions--;
    answer(q, err, session_id, fingerprint);
    free(q);
}

static void on_answer(void *arg, int err, const struct db_result *rows) {
    struct recover_question *q = arg;
    if (err != 0)
        end(q, -ENOTCONN, NULL, NULL);
    else if (db_n_rows(rows) == 0)
        end(q, 0, NULL, NULL);
    else
        end(q, 0, db_value(rows, 0, 0, NULL), db_value(rows, 0, 1, NULL));
}

static void ask(struct recover_question *q) {
    struct recover *r = q->owner;
    const char *params[] = {q->user_id, q->key_hash};
    int err = db_query(r->db,
                       "SELECT session_id, coalesce(fingerprint, '') FROM session_events "
                       "WHERE user_id = $1::uuid AND key_hash = $2 AND type = 'session_created' "
                       "AND occurred_at > now() - interval '24 hours' "
                       "ORDER BY occurred_at LIMIT 1",
                       N_ELEMENTS(params), params, on_answer, q);
    if (!q->asked_at)
        q->asked_at = timestamp_monotonic_ms();
    q->is_parked = err != 0;
    if (err != 0 && !recover_may_wait(r, err))
        end(q, -ENOTCONN, NULL, NULL);
    else if (err == 0)
        (void)!db_end(r->db, NULL, NULL); /* of its failure the question is told */
}

/* Of the memories whose numbers share a place, one is known: of the others a barrier is asked for.
 */
static bool has_passed(const struct recover_question *q) {
    const struct recover_memory *m = &q->owner->memories[q->memory.number % RECOVER_N_PASSED];
    return m->number == q->memory.number && m->since == q->memory.since;
}

static void note_passed(const struct recover_question *q) {
    q->owner->memories[q->memory.number % RECOVER_N_PASSED] =
        (struct recover_memory){q->memory.number, q->memory.since};
}

static void on_barrier(void *arg, bool passed) {
    struct recover_question *q = arg;
    if (!passed) {
        end(q, -ENOTCONN, NULL, NULL);
        return;
    }
    note_passed(q);
    ask(q);
}

void recover_ask_create(struct recover *r, const char *user_id, const char *key_hash,
                        recover_create_fn *done, void *arg) {
    struct recover_question *q = must_alloc(sizeof(*q));
    *q = (struct recover_question){.owner = r, .done = done, .arg = arg};
    memcpy(q->user_id, user_id, sizeof(q->user_id));
    memcpy(q->key_hash, key_hash, sizeof(q->key_hash));
    q->next = r->questions;
    q->link = &r->questions;
    if (q->next)
        q->next->link = &q->next;
    r->questions = q;
    r->n_questions++;
    q->memory.user_id = q->user_id;
    if (r->is_silent || r->n_questions > MAX_QUESTIONS ||
        store_batch_memories(r->store, &q->memory, 1) != 0 || q->memory.err != 0)
        end(q, -ENOTCONN, NULL, NULL);
    else if (has_passed(q))
        ask(q);
    else
        barrier_ask(r->barrier, recover_settled_at(&q->memory), on_barrier, q);
}

bool recover_tell_questions(struct recover *r) {
    int64_t oldest = timestamp_monotonic_ms() - RECOVER_PATIENCE_MS;
    bool is_silent = false;
    for (struct recover_question *q = r->questions; q; q = q->next) {
        if (!q->asked_at || q->asked_at >= oldest)
            continue;
        is_silent = true;
        answer(q, -ENOTCONN, NULL, NULL);
    }
    return is_silent;
}

void recover_ask_questions(struct recover *r) {
    for (struct recover_question *q = r->questions, *next; q; q = next) {
        next = q->next;
        if (q->is_parked && q->done)
            ask(q);
        else if (q->is_parked)
            end(q, -ENOTCONN, NULL, NULL);
    }
}

void recover_drop_questions(struct recover *r) {
    for (struct recover_question *q = r->questions, *next; q; q = next) {
        next = q->next;
        free(q);
    }
}

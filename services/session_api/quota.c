/* The limit of sessions a user; see quota.h. The counts lie in a table of fixed size; a user that
 * falls on another's place is counted again sooner. */
#include "services/session_api/quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "base/uuid.h"

#define N_PLACES 4096u
#define KEEP_MS 5000

struct place {
    char user_id[UUID_LEN + 1];
    int64_t asked_at; /* monotonic ms */
    bool is_asking;
    int64_t n_counted; /* by the last answer; 0 before the first */
    int64_t n_taken;   /* granted since that count was asked for: it may not know them */
};

struct quota {
    struct db *db;
    int64_t max_sessions;
    struct place places[N_PLACES];
};

struct question {
    struct quota *quota;
    char user_id[UUID_LEN + 1];
    int64_t n_taken_before;
};

struct quota *quota_new(struct db *db, int64_t max_sessions) {
    struct quota *q = must_alloc(sizeof(*q));
    q->db = db;
    q->max_sessions = max_sessions;
    return q;
}

struct quota *quota_free(struct quota *q) {
    free(q);
    return NULL;
}

static struct place *place_of(struct quota *q, const char *user_id) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *p = user_id; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    return &q->places[hash % N_PLACES];
}

static void on_counted(void *arg, int err, const struct db_result *result) {
    struct question *question = arg;
    struct place *place = place_of(question->quota, question->user_id);
    bool is_told = err == 0 && db_n_rows(result) == 1;
    if (strcmp(place->user_id, question->user_id) == 0) {
        place->is_asking = false;
        place->n_counted = is_told ? db_number(result, 0, 0) : 0;
        place->n_taken -= is_told ? question->n_taken_before : place->n_taken;
    }
    free(question);
}

/* Whether the question is on its way. */
static bool ask(struct quota *q, struct place *place) {
    static const char sql[] =
        "SELECT count(*) FROM (SELECT 1 FROM sessions WHERE user_id = $1::uuid "
        "AND deleted_at IS NULL AND status IN ('pending', 'active', 'paused') "
        "LIMIT $2::bigint) AS open";
    char limit[24];
    snprintf(limit, sizeof(limit), "%" PRId64, q->max_sessions);
    const char *const params[] = {place->user_id, limit};
    struct question *question = must_alloc(sizeof(*question));
    *question = (struct question){.quota = q, .n_taken_before = place->n_taken};
    memcpy(question->user_id, place->user_id, sizeof(question->user_id));
    if (db_query(q->db, sql, N_ELEMENTS(params), params, on_counted, question) < 0) {
        free(question);
        return false;
    }
    (void)!db_end(q->db, NULL, NULL);
    place->asked_at = timestamp_monotonic_ms();
    place->is_asking = true;
    return true;
}

bool quota_take(struct quota *q, const char *user_id) {
    struct place *place = place_of(q, user_id);
    bool is_new = strcmp(place->user_id, user_id) != 0;
    if (is_new) {
        *place = (struct place){0};
        memcpy(place->user_id, user_id, sizeof(place->user_id));
    }
    bool is_old = is_new || timestamp_monotonic_ms() - place->asked_at >= KEEP_MS;
    if (is_old && !place->is_asking && !ask(q, place)) {
        *place = (struct place){0};
        return true;
    }
    if (place->n_counted + place->n_taken >= q->max_sessions)
        return false;
    place->n_taken++;
    return true;
}

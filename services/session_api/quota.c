/* The limit of sessions a user; see quota.h. The counts lie in a table of fixed size; a user that
 * falls on another's place is counted again sooner. */
#include "services/session_api/quota.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "base/uuid.h"

#define N_PLACES 4096u
#define KEEP_MS 5000

struct place {
    char user_id[UUID_LEN + 1];
    int64_t counted_at; /* monotonic ms */
    int64_t n_sessions;
};

struct quota {
    struct db *db;
    int64_t max_sessions;
    struct place places[N_PLACES];
};

struct count {
    struct quota *quota;
    char user_id[UUID_LEN + 1];
    quota_done_fn *done;
    void *arg;
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

static bool take_one(struct quota *q, struct place *place) {
    if (place->n_sessions >= q->max_sessions)
        return false;
    place->n_sessions++;
    return true;
}

static void on_counted(void *arg, int err, const struct db_result *result) {
    struct count *count = arg;
    struct quota *q = count->quota;
    bool may_create = true;
    const char *text = err == 0 && db_n_rows(result) == 1 ? db_value(result, 0, 0, NULL) : NULL;
    if (text) {
        struct place *place = place_of(q, count->user_id);
        memcpy(place->user_id, count->user_id, sizeof(place->user_id));
        place->counted_at = timestamp_monotonic_ms();
        place->n_sessions = strtoll(text, NULL, 10);
        may_create = take_one(q, place);
    }
    count->done(count->arg, may_create);
    free(count);
}

/* Whether the count is on its way. */
static bool begin_count(struct quota *q, const char *user_id, quota_done_fn *done, void *arg) {
    static const char sql[] =
        "SELECT count(*) FROM (SELECT 1 FROM sessions WHERE user_id = $1::uuid "
        "AND deleted_at IS NULL AND status IN ('pending', 'active', 'paused') "
        "LIMIT $2::bigint) AS open";
    char limit[24];
    snprintf(limit, sizeof(limit), "%lld", (long long)q->max_sessions);
    const char *const params[] = {user_id, limit};
    struct count *count = must_alloc(sizeof(*count));
    *count = (struct count){.quota = q, .done = done, .arg = arg};
    memcpy(count->user_id, user_id, sizeof(count->user_id));
    if (db_query(q->db, sql, N_ELEMENTS(params), params, on_counted, count) < 0) {
        free(count);
        return false;
    }
    (void)!db_end(q->db, NULL, NULL);
    return true;
}

void quota_take(struct quota *q, const char *user_id, quota_done_fn *done, void *arg) {
    struct place *place = place_of(q, user_id);
    bool is_known = strcmp(place->user_id, user_id) == 0 &&
                    timestamp_monotonic_ms() - place->counted_at < KEEP_MS;
    if (is_known)
        done(arg, take_one(q, place));
    else if (!begin_count(q, user_id, done, arg))
        done(arg, true);
}

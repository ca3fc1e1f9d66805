/* See db_rebuild.h. A base is asked for, then the events behind it, page by page; what is gathered
 * is replayed at once, or, where only the furthest version matters, each time the bound is reached.
 * A base that is damaged is passed over for an older one. */
#include "common/db_rebuild.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/replay.h"

struct db_rebuild {
    struct db *db;
    char session_id[UUID_LEN + 1];
    struct position wanted;
    enum db_rebuild_reach reach;
    db_rebuild_fn *done; /* NULL: nobody waits any more */
    void *arg;

    struct replay *replay;
    struct position newest_base; /* bases are looked for up to here */
    struct position base;        /* the one that is tried */
    bool is_told;                /* PostgreSQL has heard of the wanted version, or of a later one */
    bool is_full;                /* the replay holds as much as it takes; there may be more */
    bool is_asked;               /* PostgreSQL will answer */

    uv_timer_t later; /* ends it in a turn of its own */
    int err;
};

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

static void let_go(struct db_rebuild *r) {
    r->done = NULL;
    r->replay = replay_free(r->replay);
    if (!r->is_asked && !uv_is_closing((uv_handle_t *)&r->later))
        uv_close((uv_handle_t *)&r->later, on_closed);
}

void db_rebuild_forget(struct db_rebuild *r) {
    let_go(r);
}

static void end(struct db_rebuild *r, int err, const struct db_rebuilt *rebuilt) {
    db_rebuild_fn *done = TAKE_PTR(r->done);
    done(r->arg, err, rebuilt);
    let_go(r);
}

static void on_later(uv_timer_t *timer) {
    struct db_rebuild *r = timer->data;
    end(r, r->err, NULL);
}

static void end_later(struct db_rebuild *r, int err) {
    r->err = err;
    uv_timer_start(&r->later, on_later, 0, 0);
}

/* ---- questions ---- */

/* The newest base up to ($2, $3), and whether ($5, $6) is told of. $4: the creation's message id.
 */
static const char base_sql[] =
    "SELECT (s.epoch, s.version) >= ($5::integer, $6::integer), b.epoch, b.version, b.data, "
    "b.checksum FROM sessions AS s LEFT JOIN LATERAL ("
    "(SELECT epoch, version, data, checksum FROM session_snapshots WHERE session_id = $1::uuid "
    " AND (epoch, version) <= ($2::integer, $3::integer) ORDER BY epoch DESC, version DESC LIMIT "
    "1) "
    "UNION ALL "
    "(SELECT epoch, version, payload -> 'session' -> 'data', payload -> 'session' ->> 'checksum' "
    " FROM session_events WHERE session_id = $1::uuid AND message_id = $4::text "
    " AND type = 'session_created' AND (epoch, version) <= ($2::integer, $3::integer)) "
    "ORDER BY epoch DESC, version DESC LIMIT 1) AS b ON true WHERE s.id = $1::uuid";

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

static void query(struct db_rebuild *r, const char *sql, size_t n_params, const char *const *params,
                  db_done_fn *done) {
    if (db_query(r->db, sql, n_params, params, done, r) < 0) {
        end_later(r, -ENOTCONN);
        return;
    }
    r->is_asked = true;
    (void)!db_end(r->db, NULL, NULL);
}

/* False: there is nothing to go on with, and r may be gone. */
static bool is_answered(struct db_rebuild *r, int err, const struct db_result *rows) {
    r->is_asked = false;
    if (!r->done)
        let_go(r);
    else if (err == -EIO && rows && strcmp(db_sqlstate(rows), "57014") == 0)
        end(r, -ETIMEDOUT, NULL);
    else if (err)
        end(r, err, NULL);
    return !err && r->done;
}

/* ---- steps ---- */

static void ask_base(struct db_rebuild *r);
static void ask_events(struct db_rebuild *r);

static uint64_t last_wanted(const struct db_rebuild *r) {
    return r->base.epoch == r->wanted.epoch ? r->wanted.version : INT32_MAX;
}

/* What PostgreSQL has not heard of yet it may still hear of. */
static void end_incomplete(struct db_rebuild *r) {
    end(r, r->is_told || r->reach == DB_REBUILD_FURTHEST ? -ENODATA : -EAGAIN, NULL);
}

static void replay_gathered(struct db_rebuild *r) {
    replay_run(r->replay, r->reach == DB_REBUILD_FURTHEST);
}

/* No more events follow. */
static void take_end(struct db_rebuild *r) {
    if (r->reach == DB_REBUILD_FURTHEST)
        replay_gathered(r);
    else
        end_incomplete(r);
}

static void go_on(struct db_rebuild *r) {
    if (replay_last_version(r->replay) == last_wanted(r))
        replay_gathered(r);
    else
        ask_events(r);
}

static void on_events(void *arg, int err, const struct db_result *rows) {
    struct db_rebuild *r = arg;
    if (!is_answered(r, err, rows))
        return;
    int full = 0;
    for (size_t i = 0; !full && i < db_n_rows(rows); i++) {
        size_t len = 0;
        const char *text = db_value(rows, i, 1, &len);
        full = replay_add(r->replay, (uint64_t)db_number(rows, i, 0), text, text ? len : 0);
    }
    r->is_full = full == -ENOBUFS;
    if (full || !db_n_rows(rows))
        take_end(r);
    else
        go_on(r);
}

static void ask_events(struct db_rebuild *r) {
    char epoch[24], after[24], last[24];
    snprintf(epoch, sizeof(epoch), "%" PRIu64, r->base.epoch);
    snprintf(after, sizeof(after), "%" PRIu64, replay_last_version(r->replay));
    snprintf(last, sizeof(last), "%" PRIu64, last_wanted(r));
    const char *const params[] = {r->session_id, epoch, after, last};
    query(r, events_sql, N_ELEMENTS(params), params, on_events);
}

static void try_older_base(struct db_rebuild *r) {
    r->newest_base = (struct position){r->base.version - 1, r->base.epoch};
    ask_base(r);
}

static void on_replayed(void *arg, int err, const struct replayed *replayed) {
    struct db_rebuild *r = arg;
    if (err == -EBADMSG && r->reach == DB_REBUILD_FURTHEST) {
        try_older_base(r);
    } else if (err) {
        end(r, err == -EBADMSG ? -ENODATA : err == -ETIME ? -ETIMEDOUT : err, NULL);
    } else if (r->is_full && replayed->position.version == replay_last_version(r->replay)) {
        replay_go_on(r->replay);
        ask_events(r);
    } else {
        const struct db_rebuilt rebuilt = {replayed->position, replayed->data, replayed->data_len,
                                           replayed->value, replayed->checksum};
        end(r, 0, &rebuilt);
    }
}

static bool take_base(struct db_rebuild *r, const struct db_result *rows) {
    size_t len = 0;
    const char *data = db_value(rows, 0, 3, &len), *checksum = db_value(rows, 0, 4, NULL);
    if (!data || !checksum)
        return false;
    int64_t version = db_number(rows, 0, 2), epoch = db_number(rows, 0, 1);
    if (version < 1 || epoch < 1)
        return false;
    r->base = (struct position){(uint64_t)version, (uint64_t)epoch};
    if (r->reach == DB_REBUILD_EXACT && r->base.epoch != r->wanted.epoch)
        return false;
    return replay_begin(r->replay, r->base, data, len, checksum) == 0;
}

static void on_base(void *arg, int err, const struct db_result *rows) {
    struct db_rebuild *r = arg;
    if (!is_answered(r, err, rows))
        return;
    const char *told = db_n_rows(rows) == 1 ? db_value(rows, 0, 0, NULL) : NULL;
    r->is_told = told && *told == 't';
    r->is_full = false;
    if (told && take_base(r, rows))
        go_on(r);
    else
        end_incomplete(r);
}

static void ask_base(struct db_rebuild *r) {
    char epoch[24], version[24], created[UUID_LEN + 8], wanted_epoch[24], wanted_version[24];
    snprintf(epoch, sizeof(epoch), "%" PRIu64, r->newest_base.epoch);
    snprintf(version, sizeof(version), "%" PRIu64, r->newest_base.version);
    snprintf(created, sizeof(created), "%s:1:1", r->session_id);
    snprintf(wanted_epoch, sizeof(wanted_epoch), "%" PRIu64, r->wanted.epoch);
    snprintf(wanted_version, sizeof(wanted_version), "%" PRIu64, r->wanted.version);
    const char *const params[] = {r->session_id, epoch,        version,
                                  created,       wanted_epoch, wanted_version};
    query(r, base_sql, N_ELEMENTS(params), params, on_base);
}

struct db_rebuild *db_rebuild_start(uv_loop_t *loop, struct db *db, const char *session_id,
                                    struct position wanted, enum db_rebuild_reach reach,
                                    db_rebuild_fn *done, void *arg) {
    struct db_rebuild *r = must_alloc(sizeof(*r));
    *r = (struct db_rebuild){.db = db,
                             .wanted = wanted,
                             .reach = reach,
                             .done = done,
                             .arg = arg,
                             .newest_base = wanted};
    snprintf(r->session_id, sizeof(r->session_id), "%s", session_id);
    r->replay = replay_new(loop, on_replayed, r);
    (void)uv_timer_init(loop, &r->later);
    r->later.data = r;
    if (wanted.version > INT32_MAX || wanted.epoch > INT32_MAX)
        end_later(r, -ENODATA); /* PostgreSQL's integer holds no such position */
    else
        ask_base(r);
    return r;
}

/* The parts of a session from PostgreSQL: its data, then the keys and commands that it remembers. A
 * few at a time, since each holds many events. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "proto/command.h"
#include "services/state_engine/recover_private.h"

static void start_next(struct recover *r);

/* ---- keys ---- */

enum key_column {
    KEY_HASH,
    KEY_FINGERPRINT,
    KEY_EPOCH,
    KEY_VERSION,
    KEY_CHECKSUM,
    KEY_COMMAND,
    KEY_TIME
};

static void copy_value(const struct db_result *rows, size_t row, enum key_column column, char *ret,
                       size_t cap) {
    size_t len = 0;
    const char *text = db_value(rows, row, column, &len);
    ret[0] = '\0';
    if (text && len < cap)
        memcpy(ret, text, len + 1);
}

static bool is_hash_or_none(const char *text) {
    size_t len = strlen(text);
    return (len == 0 || len == HASH_HEX_LEN) && strspn(text, "0123456789abcdef") == len;
}

/* Under its key, and under its command's id: a command delivered again is known by that. A key
 * comes later, so that of a command whose key is its id the fingerprint stays. */
static void remember(struct recovery *rec, const struct db_result *rows, size_t row) {
    struct store_remembered key = {.time = db_number(rows, row, KEY_TIME)};
    char hash[HASH_HEX_LEN + 1], command_id[UUID_LEN + 1];
    key.position.epoch = (uint64_t)db_number(rows, row, KEY_EPOCH);
    key.position.version = (uint64_t)db_number(rows, row, KEY_VERSION);
    copy_value(rows, row, KEY_CHECKSUM, key.checksum, sizeof(key.checksum));
    if (!is_hash_or_none(key.checksum))
        key.checksum[0] = '\0';
    copy_value(rows, row, KEY_COMMAND, command_id, sizeof(command_id));
    if (command_id[0]) {
        command_hash_id(command_id, key.hash);
        rec->keys[rec->n_keys++] = key;
    }
    copy_value(rows, row, KEY_HASH, hash, sizeof(hash));
    copy_value(rows, row, KEY_FINGERPRINT, key.fingerprint, sizeof(key.fingerprint));
    if (!hash[0] || !is_hash_or_none(hash) || !is_hash_or_none(key.fingerprint))
        return;
    memcpy(key.hash, hash, sizeof(key.hash));
    rec->keys[rec->n_keys++] = key;
}

static void on_keys(void *arg, int err, const struct db_result *rows) {
    struct recovery *rec = arg;
    if (rec->owner->is_closing)
        return;
    rec->asked_at = 0;
    if (err != 0) {
        recovery_end(rec, RECOVER_UNKNOWN);
        return;
    }
    CRASH_LINK("engine.recovery.keys_answered", CRASH_REDIS);
    rec->keys = must_alloc(2 * db_n_rows(rows) * sizeof(*rec->keys));
    for (size_t i = 0; i < db_n_rows(rows); i++)
        remember(rec, rows, i);
    recovery_write(rec);
}

_Static_assert(RECOVER_MAX_KEYS == 1000, "the limit stands in the statement");

static void ask_keys(struct recovery *rec) {
    const char *params[] = {rec->session_id};
    recovery_query(rec,
                   "SELECT key_hash, fingerprint, epoch, version, payload ->> 'checksum', "
                   "command_id, floor(extract(epoch FROM occurred_at) * 1000)::bigint "
                   "FROM session_events WHERE session_id = $1::uuid "
                   "AND occurred_at > now() - interval '24 hours' "
                   "AND (key_hash IS NOT NULL OR command_id IS NOT NULL) "
                   "ORDER BY epoch DESC, version DESC LIMIT 1000",
                   N_ELEMENTS(params), params, on_keys, ask_keys);
}

/* ---- data ---- */

static void take_data(struct recovery *rec, const struct db_rebuilt *rebuilt) {
    struct recover *r = rec->owner;
    struct session *s = &rec->row.session;
    if (!position_equal(rebuilt->position, s->position))
        log_error(r->app->log, "session_gap", "Events of a session are missing from PostgreSQL.",
                  RECOVERY_LOG(rec), LOG_NUMBER("version", (int64_t)s->position.version),
                  LOG_NUMBER("reached", (int64_t)rebuilt->position.version),
                  LOG_TEXT("hint", "its data is that of the version reached"));
    free(s->data_text);
    s->data_text = must_memdup(rebuilt->data, rebuilt->data_len);
    s->data_len = rebuilt->data_len;
    memcpy(s->checksum, rebuilt->checksum, sizeof(s->checksum));
}

static void note_failure(struct recovery *rec) {
    log_error(rec->owner->app->log, "session_lost", "A session's data cannot be put together.",
              RECOVERY_LOG(rec),
              LOG_TEXT("hint", "its snapshots and events are not in PostgreSQL"));
}

/* The connection for rebuilds may come up a little later than the other one. */
static bool may_try_again(const struct recovery *rec) {
    return timestamp_monotonic_ms() - rec->rebuilding_since < RECOVER_PATIENCE_MS;
}

static void on_rebuilt(void *arg, int err, const struct db_rebuilt *rebuilt) {
    struct recovery *rec = arg;
    struct recover *r = rec->owner;
    rec->rebuild = NULL;
    if (r->is_closing)
        return;
    r->n_rebuilds--;
    if (err == -ENOTCONN && may_try_again(rec)) {
        rec->parked = recovery_rebuild;
        start_next(r);
        return;
    }
    rec->rebuilding_since = 0;
    CRASH_LINK("engine.recovery.data_rebuilt", CRASH_DATABASE);
    if (err == 0) {
        take_data(rec, rebuilt);
        ask_keys(rec);
    } else if (rec->is_cold && (err == -ENODATA || err == -EAGAIN)) {
        rec->is_cold = false;
        recovery_pass_barrier(rec);
    } else {
        if (err == -ENODATA)
            note_failure(rec);
        recovery_end(rec, RECOVER_UNKNOWN);
    }
    start_next(r);
}

static void start(struct recovery *rec) {
    struct recover *r = rec->owner;
    r->n_rebuilds++;
    rec->rebuild =
        db_rebuild_start(r->app->loop, r->db_rebuild, rec->session_id, rec->row.session.position,
                         rec->is_cold ? DB_REBUILD_EXACT : DB_REBUILD_FURTHEST, on_rebuilt, rec);
}

static void start_next(struct recover *r) {
    while (r->to_rebuild && r->n_rebuilds < RECOVER_MAX_REBUILDS) {
        struct recovery *rec = r->to_rebuild;
        r->to_rebuild = rec->next_to_rebuild;
        if (!r->to_rebuild)
            r->to_rebuild_end = &r->to_rebuild;
        start(rec);
    }
}

void recovery_rebuild(struct recovery *rec) {
    struct recover *r = rec->owner;
    if (!rec->rebuilding_since)
        rec->rebuilding_since = timestamp_monotonic_ms();
    rec->next_to_rebuild = NULL;
    *r->to_rebuild_end = rec;
    r->to_rebuild_end = &rec->next_to_rebuild;
    start_next(r);
}

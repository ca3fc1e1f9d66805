/* What becomes of a session: judged by what Redis has and what PostgreSQL has. The table is in
 * docs/decisions/0009. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "services/state_engine/recover_private.h"

/* False: the recovery has ended, or nobody wants it any more. *ret_there: there is a row. */
static bool take_row(struct recovery *rec, int err, const struct db_result *result,
                     bool *ret_there) {
    struct recover *r = rec->owner;
    if (r->is_closing)
        return false;
    rec->asked_at = 0;
    db_session_done(&rec->row);
    rec->row = (struct db_session){0};
    if (err == 0)
        err = db_session_read(result, &rec->row);
    if (err == -EBADMSG)
        log_error(r->app->log, "row_damaged", "A session's row in PostgreSQL cannot be.",
                  RECOVERY_LOG(rec));
    if (err != 0 && err != -ENOENT) {
        recovery_end(rec, RECOVER_UNKNOWN);
        return false;
    }
    *ret_there = err == 0;
    return true;
}

/* ---- after a barrier ---- */

static bool is_ahead(struct position a, struct position b) {
    return a.epoch != b.epoch ? a.epoch > b.epoch : a.version > b.version;
}

static bool may_be_believed(const struct recovery *rec) {
    return rec->cause == RECOVER_STALE && rec->found.kind == STORE_FOUND_HASH &&
           rec->found.has_position;
}

static void clear_mark(struct recovery *rec);

/* Redis let go of it, and nothing was told of it since. */
static bool is_cold(const struct recovery *rec) {
    return rec->found.kind == STORE_FOUND_ABSENT && rec->row.is_cold && rec->row.is_whole;
}

static void judge_row(struct recovery *rec) {
    if (rec->row.is_deleted && rec->found.kind == STORE_FOUND_ABSENT)
        recovery_end(rec, RECOVER_DELETED);
    else if (rec->row.is_deleted)
        recovery_bury(rec);
    else if (is_cold(rec))
        clear_mark(rec);
    else if (may_be_believed(rec) && !is_ahead(rec->row.session.position, rec->found.position))
        recovery_adopt(rec);
    else if (rec->row.is_whole)
        recovery_rebuild(rec);
    else
        recovery_end(rec, RECOVER_UNKNOWN); /* its creation was not published yet */
}

/* PostgreSQL has never heard of it. */
static void judge_without_row(struct recovery *rec) {
    struct recover *r = rec->owner;
    if (rec->found.kind == STORE_FOUND_ABSENT) {
        recovery_end(rec, RECOVER_NEVER);
    } else if (may_be_believed(rec)) {
        recovery_adopt(rec);
    } else {
        log_error(r->app->log, "session_lost", "A damaged session cannot be recovered.",
                  RECOVERY_LOG(rec),
                  LOG_TEXT("hint", "PostgreSQL does not know it; its keys in Redis may go"));
        recovery_end(rec, RECOVER_UNKNOWN);
    }
}

/* What was found when it began may have been put right by another engine. */
static bool is_done_already(const struct recovery *rec, const struct store_found *now) {
    if (rec->cause == RECOVER_STALE)
        return now->kind == STORE_FOUND_HASH && strcmp(now->run_id, rec->run_id) == 0;
    return !store_found_equal(&rec->found, now);
}

bool recovery_is_of_run(const struct recovery *rec) {
    return strcmp(store_batch_run_id(rec->owner->store, rec->session_id), rec->run_id) == 0;
}

static void recover_known(struct recovery *rec);

/* Its creation was not committed yet when it was first asked for. */
static bool is_new_to_postgresql(const struct recovery *rec, bool is_there) {
    return rec->cause == RECOVER_ABSENT && is_there && !rec->has_looked;
}

static void on_known_row(void *arg, int err, const struct db_result *result) {
    struct recovery *rec = arg;
    struct recover *r = rec->owner;
    struct store_found now;
    bool is_there;
    if (!take_row(rec, err, result, &is_there))
        return;
    if (is_new_to_postgresql(rec, is_there)) {
        recover_known(rec);
        return;
    }
    CRASH_LINK("engine.recovery.looking", CRASH_REDIS);
    if (store_recover_look(r->store, rec->session_id, &now) != 0) {
        recovery_end(rec, RECOVER_UNKNOWN);
        return;
    }
    bool is_done = is_done_already(rec, &now) || !recovery_is_of_run(rec);
    rec->found = now;
    if (is_done || (rec->cause == RECOVER_STALE && now.kind == STORE_FOUND_ABSENT))
        recovery_end(rec, RECOVER_HOT); /* or lost meanwhile, as who loads it finds */
    else if (is_there)
        judge_row(rec);
    else
        judge_without_row(rec);
}

static void ask_known_row(struct recovery *rec) {
    const char *params[] = {rec->session_id};
    recovery_query(rec, db_session_sql, N_ELEMENTS(params), params, on_known_row, ask_known_row);
}

/* ---- the barrier ---- */

static bool has_passed(const struct recover *r, const char *run_id) {
    for (size_t i = 0; i < r->n_passed && i < RECOVER_N_PASSED; i++)
        if (strcmp(r->passed[i], run_id) == 0)
            return true;
    return false;
}

static void note_passed(struct recover *r, const char *run_id) {
    if (!has_passed(r, run_id))
        memcpy(r->passed[r->n_passed++ % RECOVER_N_PASSED], run_id, sizeof(r->passed[0]));
}

static void on_barrier(void *arg, bool passed) {
    struct recovery *rec = arg;
    if (!passed) {
        recovery_end(rec, RECOVER_UNKNOWN);
        return;
    }
    CRASH_LINK("engine.recovery.barrier_passed", CRASH_DATABASE);
    note_passed(rec->owner, rec->run_id);
    ask_known_row(rec);
}

/* A node that was started again was away for longer than anything is on its way. */
static int64_t settled_at(const struct recovery *rec) {
    struct store_memory memory = {.session_id = rec->session_id};
    if (rec->cause == RECOVER_STALE)
        return 0;
    int err = store_batch_memories(rec->owner->store, &memory, 1);
    if (err != 0)
        memory.err = err;
    return recover_settled_at(&memory);
}

void recovery_pass_barrier(struct recovery *rec) {
    int64_t at = settled_at(rec);
    CRASH_LINK("engine.recovery.barrier_asking", CRASH_BROKER);
    barrier_ask(rec->owner->barrier, at, on_barrier, rec);
}

/* ---- gone cold ---- */

static void on_mark_cleared(void *arg, int err, const struct db_result *result) {
    struct recovery *rec = arg;
    if (rec->owner->is_closing)
        return;
    rec->asked_at = 0;
    CRASH_LINK("engine.recovery.mark_cleared", CRASH_DATABASE);
    if (err != 0)
        recovery_end(rec, RECOVER_UNKNOWN);
    else if (db_n_affected(result) != 1)
        recovery_pass_barrier(rec); /* another engine was faster, or lost what it took */
    else {
        rec->is_cold = true;
        recovery_rebuild(rec);
    }
}

/* Before the keys are written: with a mark left standing, what is written later could be lost
 * without a trace. */
static void clear_mark(struct recovery *rec) {
    char epoch[24], version[24];
    const struct position *p = &rec->row.session.position;
    snprintf(epoch, sizeof(epoch), "%llu", (unsigned long long)p->epoch);
    snprintf(version, sizeof(version), "%llu", (unsigned long long)p->version);
    const char *params[] = {rec->session_id, epoch, version};
    CRASH_LINK("engine.recovery.mark_clearing", CRASH_DATABASE);
    recovery_query(rec,
                   "UPDATE sessions SET cold_epoch = NULL, cold_version = NULL "
                   "WHERE id = $1::uuid AND cold_epoch = $2::integer AND epoch = $2::integer "
                   "AND cold_version = $3::integer AND version = $3::integer",
                   N_ELEMENTS(params), params, on_mark_cleared, clear_mark);
}

/* Before anything is asked that the judgement stands on: which loss it is. */
static void recover_known(struct recovery *rec) {
    rec->has_looked = true;
    if (store_recover_look_at_loss(rec->owner->store, rec->session_id, &rec->found) != 0)
        recovery_end(rec, RECOVER_UNKNOWN);
    else if (rec->found.kind != STORE_FOUND_ABSENT)
        recovery_end(rec, RECOVER_HOT); /* another engine was faster */
    else
        recovery_pass_barrier(rec);
}

/* What the row says without a barrier: that it was deleted, which nothing undoes. A cold mark may
 * stand though the session was used, until PostgreSQL hears of that. */
static void on_first_row(void *arg, int err, const struct db_result *result) {
    struct recovery *rec = arg;
    bool is_there;
    if (!take_row(rec, err, result, &is_there))
        return;
    CRASH_LINK("engine.recovery.row_answered", CRASH_BROKER);
    if (is_there && rec->row.is_deleted)
        recovery_end(rec, RECOVER_DELETED);
    else if (is_there)
        recover_known(rec);
    else
        recovery_pass_barrier(rec);
}

static void ask_first_row(struct recovery *rec) {
    const char *params[] = {rec->session_id};
    CRASH_LINK("engine.recovery.row_asking", CRASH_DATABASE);
    recovery_query(rec, db_session_sql, N_ELEMENTS(params), params, on_first_row, ask_first_row);
}

/* ---- the first step ---- */

static void begin_damaged(struct recovery *rec) {
    struct recover *r = rec->owner;
    metric_add(r->n_damaged, 1);
    log_error(r->app->log, "session_damaged", "Redis holds of a session what cannot be.",
              RECOVERY_LOG(rec),
              LOG_TEXT("hint", "something else than Handoff wrote there; it is rebuilt"));
    if (store_recover_look_at_loss(r->store, rec->session_id, &rec->found) != 0)
        recovery_end(rec, RECOVER_UNKNOWN);
    else
        recovery_pass_barrier(rec);
}

void recovery_begin(struct recovery *rec) {
    if (rec->cause == RECOVER_ABSENT)
        ask_first_row(rec);
    else if (rec->cause == RECOVER_DAMAGED)
        begin_damaged(rec);
    else if (has_passed(rec->owner, rec->run_id))
        ask_known_row(rec);
    else
        recovery_pass_barrier(rec);
}

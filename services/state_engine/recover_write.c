/* What a recovery writes to Redis, and publishes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crash_point.h"
#include "services/state_engine/clock.h"
#include "services/state_engine/recover_private.h"

#define ARM_MS 2500    /* until another engine publishes what this one could not */
#define LEAST_MS 60000 /* until idle or expiry acts: who asks for the session wants to use it */

/* ---- the session as it is to be ---- */

static void postpone_idle(struct session *s, int64_t now) {
    int64_t at = session_expires_at(s);
    if (at != 0 && at < now + LEAST_MS)
        s->touched_at += now + LEAST_MS - at;
}

/* A clock that ran goes on: its turn began when it began, and what should have happened meanwhile
 * happens now. */
static void take_up_clock(struct session *s) {
    _cleanup_(clock_done) struct clock clock = {0};
    if (session_clock_runs(s) && clock_parse(s->clock_text, s->clock_len, &clock) == 0)
        s->clock_at = clock_next_at(&clock, s->clock_told);
}

static uint64_t next_epoch(const struct recovery *rec) {
    uint64_t epoch = rec->row.session.position.epoch;
    if (rec->found.has_position && rec->found.position.epoch > epoch)
        epoch = rec->found.position.epoch;
    return epoch + 1;
}

static void note_node(struct recovery *rec) {
    struct session *s = &rec->row.session;
    snprintf(s->run_id, sizeof(s->run_id), "%s",
             store_batch_run_id(rec->owner->store, rec->session_id));
    s->published = s->position.version;
}

static void complete(struct recovery *rec, int64_t now) {
    struct session *s = &rec->row.session;
    note_node(rec);
    postpone_idle(s, now);
    take_up_clock(s);
    snprintf(s->snapshots, sizeof(s->snapshots), "%" PRIu64, s->position.version);
    if (rec->is_cold)
        return;
    s->position.epoch = next_epoch(rec);
    s->published--;
}

/* What is published of a rebuild: that it was, and the data from which the new epoch goes on. */
static void make_events(const struct recovery *rec, int64_t now, struct event ret[static 2]) {
    const struct session *s = &rec->row.session;
    char name[UUID_LEN + 64], message_id[UUID_LEN + 1];
    event_session_rebuilt(s, now, &ret[0]);
    int len = snprintf(name, sizeof(name), "%s:%" PRIu64 ":%" PRIu64 ":snapshot", s->id,
                       s->position.epoch, s->position.version);
    event_derive_id(name, (size_t)len, message_id);
    struct session then = *s; /* borrows */
    then.updated_at = now;
    event_snapshot(&then, message_id, &ret[1]);
    ret[0].trace = ret[1].trace = rec->trace;
}

/* ---- writing ---- */

static void report_rebuilt(struct recovery *rec, bool is_done) {
    struct recover *r = rec->owner;
    const struct session *s = &rec->row.session;
    if (!is_done)
        return;
    metric_add(rec->is_cold ? r->n_cold : r->n_rebuilt, 1);
    if (!rec->is_cold)
        log_warn(r->app->log, "session_rebuilt", "A session was put together from PostgreSQL.",
                 RECOVERY_LOG(rec), LOG_NUMBER("version", (int64_t)s->position.version),
                 LOG_NUMBER("epoch", (int64_t)s->position.epoch));
}

static int64_t look_at(const struct session *s, int64_t now) {
    bool is_sooner = session_clock_runs(s) && s->clock_at && s->clock_at < now + ARM_MS;
    return is_sooner ? s->clock_at : now + ARM_MS;
}

static int write_session(struct recovery *rec, struct event *events, size_t n_events, int64_t now,
                         bool *ret_done) {
    struct store_recovery write = {
        .session = &rec->row.session,
        .found = &rec->found,
        .keys = rec->keys,
        .n_keys = rec->n_keys,
        .now = now,
        .arm_at = look_at(&rec->row.session, now),
    };
    if (n_events > 0) {
        write.event = events[0].body;
        write.event_len = events[0].body_len;
        write.trace = &rec->trace;
        write.snapshot_id = events[1].message_id;
    }
    return store_recover_write(rec->owner->store, &write, ret_done);
}

/* Another engine's recovery that came first did the same. */
void recovery_write(struct recovery *rec) {
    struct recover *r = rec->owner;
    struct event events[2] = {0};
    size_t n_events = rec->is_cold ? 0 : N_ELEMENTS(events);
    int64_t now;
    bool is_done = false;
    int err = store_batch_load(r->store, NULL, 0, &now);
    if (err == 0 && recovery_is_of_run(rec)) {
        CRASH_LINK("engine.recovery.writing", CRASH_REDIS);
        complete(rec, now);
        if (n_events > 0)
            make_events(rec, now, events);
        err = write_session(rec, events, n_events, now, &is_done);
    }
    if (CRASH_POINT_CUT("engine.recovery.written", CRASH_REDIS))
        err = -EIO;
    if (err == 0)
        report_rebuilt(rec, is_done);
    if (err == 0 && is_done && n_events > 0) {
        publisher_cork(r->publisher);
        publisher_publish(r->publisher, events, n_events, NULL);
        CRASH_LINK("engine.recovery.published", CRASH_BROKER);
        publisher_uncork(r->publisher);
    }
    for (size_t i = 0; i < N_ELEMENTS(events); i++)
        event_done(&events[i]);
    recovery_end(rec, err == 0 ? RECOVER_HOT : RECOVER_UNKNOWN);
}

void recovery_adopt(struct recovery *rec) {
    struct recover *r = rec->owner;
    bool is_done = false;
    CRASH_LINK("engine.recovery.adopting", CRASH_REDIS);
    int err = store_recover_adopt(r->store, rec->session_id, &rec->found, &is_done);
    if (err == 0 && is_done)
        metric_add(r->n_adopted, 1);
    recovery_end(rec, err == 0 ? RECOVER_HOT : RECOVER_UNKNOWN);
}

void recovery_bury(struct recovery *rec) {
    int64_t now;
    bool is_done;
    int err = store_batch_load(rec->owner->store, NULL, 0, &now);
    if (err == 0) {
        note_node(rec);
        err = write_session(rec, NULL, 0, now, &is_done);
    }
    recovery_end(rec, err == 0 ? RECOVER_DELETED : RECOVER_UNKNOWN);
}

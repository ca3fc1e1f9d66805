/* See batch.h. One INSERT over unnest'ed text arrays writes hundreds of rows in one round trip. The
 * arrays are text, so that they pass as ordinary text parameters; every element is quoted. */
#include "services/audit_writer/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/timestamp.h"
#include "services/audit_writer/expected.h"
#include "services/audit_writer/statements.h"

#define NOBODY "00000000-0000-0000-0000-000000000000"

/* ---- Array literals ---- */

void array_put(struct buf *array, const char *text, size_t len) {
    buf_putc(array, array->len ? ',' : '{');
    if (!text) {
        buf_puts(array, "NULL");
        return;
    }
    buf_reserve(array, len + 2);
    buf_putc(array, '"');
    while (len) {
        size_t n_plain = 0;
        while (n_plain < len && text[n_plain] != '"' && text[n_plain] != '\\')
            n_plain++;
        buf_put(array, text, n_plain);
        if (n_plain < len) {
            buf_putc(array, '\\');
            buf_putc(array, text[n_plain++]);
        }
        text += n_plain;
        len -= n_plain;
    }
    buf_putc(array, '"');
}

void array_end(struct buf *array) {
    buf_puts(array, array->len ? "}" : "{}");
}

/* ---- One row: values are put column after column ---- */

struct row {
    struct batch_statement *statement;
    size_t column;
};

static struct row begin_row(struct batch_statement *s) {
    s->n_rows++;
    return (struct row){s, 0};
}

static void put_bytes(struct row *r, const char *text, size_t len) {
    array_put(&r->statement->parameters[r->column++], text, len);
    if (r->statement->n_parameters < r->column)
        r->statement->n_parameters = r->column;
}

static void put(struct row *r, const char *text) {
    put_bytes(r, text, text ? strlen(text) : 0);
}

static void put_or_null(struct row *r, const char *text) {
    put(r, text[0] ? text : NULL);
}

static void put_number(struct row *r, int64_t number) {
    _cleanup_(buf_done) struct buf digits = BUF_NULL;
    buf_put_i64(&digits, number);
    put_bytes(r, digits.data, digits.len);
}

static void put_moment(struct row *r, int64_t unix_ms) {
    char text[TIMESTAMP_LEN + 1];
    timestamp_print(unix_ms, text);
    put(r, text);
}

static void put_moment_or_null(struct row *r, int64_t unix_ms) {
    if (unix_ms)
        put_moment(r, unix_ms);
    else
        put(r, NULL);
}

static void end_statement(struct batch_statement *s) {
    for (size_t i = 0; i < s->n_parameters; i++)
        array_end(&s->parameters[i]);
}

/* ---- session_events ---- */

static void put_payload(struct row *r, const struct entry *e) {
    if (e->payload)
        put(r, e->payload);
    else
        put_bytes(r, e->body, e->body_len);
}

static void put_event(struct batch_statement *s, const struct entry *e) {
    struct row r = begin_row(s);
    put(&r, e->event.session_id);
    put(&r, e->message_id);
    put_number(&r, (int64_t)e->event.position.epoch);
    put_number(&r, (int64_t)e->event.position.version);
    put(&r, event_type_name(e->event.type));
    put(&r, event_kind(e->event.type));
    put_or_null(&r, e->event.device_id);
    put_or_null(&r, e->event.user_id);
    put_payload(&r, e);
    put_moment(&r, e->event.timestamp);
    put_or_null(&r, e->event.command_id);
    put_or_null(&r, e->event.key_hash);
    put_or_null(&r, e->event.fingerprint);
}

static bool is_the_same_whenever_told(enum event_type type) {
    return type != EVENT_DEVICE_JOINED && type != EVENT_DEVICE_LEFT;
}

void batch_build_comparison(struct entry *const *entries, size_t n, struct batch_statement *ret) {
    *ret = (struct batch_statement){.sql = statement_compare_events};
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = entries[i];
        if (!entry_is_row(e) || !is_the_same_whenever_told(e->event.type))
            continue;
        struct row r = begin_row(ret);
        put(&r, e->event.session_id);
        put(&r, e->message_id);
        put_payload(&r, e);
        put_number(&r, (int64_t)i);
    }
    end_statement(ret);
}

/* ---- session_snapshots ---- */

static void put_snapshot(struct batch_statement *s, const struct entry *e) {
    struct row r = begin_row(s);
    put(&r, e->event.session_id);
    put_number(&r, (int64_t)e->event.position.epoch);
    put_number(&r, (int64_t)e->event.position.version);
    put_bytes(&r, e->body, e->body_len);
    put_moment(&r, e->event.timestamp);
    put(&r, e->label);
}

/* ---- session_participants, session_devices: an event each, the statement merges ---- */

static void put_participant(struct batch_statement *s, const struct entry *e) {
    struct row r = begin_row(s);
    put(&r, e->event.session_id);
    put(&r, e->participant.user_id);
    put_or_null(&r, e->participant.role);
    put_number(&r, (int64_t)e->event.position.epoch);
    put_number(&r, (int64_t)e->event.position.version);
    put_moment(&r, e->event.timestamp);
}

static void put_device(struct batch_statement *s, const struct entry *e) {
    const struct device_change *d = &e->device;
    struct row r = begin_row(s);
    put(&r, e->event.session_id);
    put(&r, d->device_id);
    put(&r, d->was_seen ? e->event.user_id : NULL);
    put_moment_or_null(&r, d->was_seen ? e->event.timestamp : 0);
    put(&r, d->name);
    put(&r, d->platform);
    put(&r, !d->tells_removed ? NULL : d->removed ? "t" : "f");
    put_number(&r, d->tells_removed ? entry_position(e->event.position) : 0);
}

/* ---- sessions ---- */

/* In the order of statement_upsert_sessions' columns. */
static void put_session(struct batch_statement *s, const struct session_change *c) {
    struct row r = begin_row(s);
    put(&r, c->id);
    put_number(&r, (int64_t)c->position.epoch);
    put_number(&r, (int64_t)c->position.version);
    put_moment(&r, c->updated_at);
    put_moment(&r, c->created_at);
    put(&r, c->has_created ? c->user_id : NOBODY);
    put_or_null(&r, c->type);
    if (c->has_created)
        put_number(&r, c->ttl_seconds);
    else
        put(&r, NULL);
    put_or_null(&r, c->on_idle);
    put_number(&r, c->name_position);
    put(&r, c->name);
    put_number(&r, c->status_position);
    put_or_null(&r, c->status);
    put_or_null(&r, c->active_device);
    put_moment_or_null(&r, c->completed_at);
    put_number(&r, c->data_position);
    put_moment_or_null(&r, c->last_modified);
    put_or_null(&r, c->modified_by);
    put_or_null(&r, c->checksum);
    put_moment_or_null(&r, c->deleted_at);
    put_number(&r, c->last_active_position);
    put_or_null(&r, c->last_active_device);
    put_number(&r, c->clock_position);
    put(&r, c->clock);
    put(&r, c->clock_runs ? "t" : "f");
    put_moment_or_null(&r, c->clock_at);
}

static int compare_sessions(const void *a, const void *b) {
    const struct entry *const *x = a, *const *y = b;
    return strcmp((*x)->change.id, (*y)->change.id);
}

static struct session_change copy_of(const struct session_change *c) {
    struct session_change copy = *c;
    if (c->name)
        copy.name = must_strdup(c->name);
    if (c->clock)
        copy.clock = must_strdup(c->clock);
    return copy;
}

/* One INSERT … ON CONFLICT cannot touch a row twice, so a session's changes become one. */
static void put_sessions(struct batch_statement *s, struct entry *const *entries, size_t n) {
    _cleanup_(freep) struct entry **sorted = must_alloc(n * sizeof(*sorted));
    size_t n_sorted = 0;
    for (size_t i = 0; i < n; i++)
        if (entry_is_row(entries[i]))
            sorted[n_sorted++] = entries[i];
    qsort(sorted, n_sorted, sizeof(struct entry *), compare_sessions);
    for (size_t i = 0; i < n_sorted;) {
        struct session_change whole = copy_of(&sorted[i]->change);
        for (i++; i < n_sorted && strcmp(sorted[i]->change.id, whole.id) == 0; i++) {
            struct session_change next = copy_of(&sorted[i]->change);
            change_merge(&whole, &next);
            change_done(&next);
        }
        put_session(s, &whole);
        change_done(&whole);
    }
}

/* ---- The whole ---- */

void batch_build(struct entry *const *entries, size_t n, struct batch *ret) {
    *ret = (struct batch){.events.sql = statement_insert_events,
                          .snapshots.sql = statement_insert_snapshots,
                          .sessions.sql = statement_upsert_sessions,
                          .participants.sql = statement_upsert_participants,
                          .devices.sql = statement_upsert_devices};
    for (size_t i = 0; i < n; i++) {
        if (!entry_is_row(entries[i]))
            continue;
        put_event(&ret->events, entries[i]);
        if (entries[i]->event.type == EVENT_SNAPSHOT)
            put_snapshot(&ret->snapshots, entries[i]);
        if (entries[i]->participant.user_id[0])
            put_participant(&ret->participants, entries[i]);
        if (entries[i]->device.device_id[0])
            put_device(&ret->devices, entries[i]);
    }
    put_sessions(&ret->sessions, entries, n);
    end_statement(&ret->events);
    end_statement(&ret->snapshots);
    end_statement(&ret->sessions);
    end_statement(&ret->participants);
    end_statement(&ret->devices);
    expected_build(entries, n, &ret->expected);
}

void batch_statement_done(struct batch_statement *s) {
    for (size_t i = 0; i < s->n_parameters; i++)
        buf_done(&s->parameters[i]);
    s->n_parameters = 0;
}

void batch_done(struct batch *b) {
    batch_statement_done(&b->events);
    batch_statement_done(&b->snapshots);
    batch_statement_done(&b->sessions);
    batch_statement_done(&b->participants);
    batch_statement_done(&b->devices);
    batch_statement_done(&b->expected);
}

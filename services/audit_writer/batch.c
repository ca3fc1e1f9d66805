/* See batch.h. One INSERT over unnest'ed arrays writes hundreds of rows in one round trip. */
#include "services/audit_writer/batch.h"

#include <stdlib.h>
#include <string.h>

#include "services/audit_writer/array.h"
#include "services/audit_writer/expected.h"
#include "services/audit_writer/statements.h"

#define NOBODY "00000000-0000-0000-0000-000000000000"

/* ---- One row: values are put column after column ---- */

struct row {
    struct batch_statement *statement;
    size_t column;
};

static struct row begin_row(struct batch_statement *s) {
    s->n_rows++;
    return (struct row){s, 0};
}

static struct buf *next_column(struct row *r) {
    r->column++;
    if (r->statement->n_parameters < r->column)
        r->statement->n_parameters = r->column;
    return &r->statement->parameters[r->column - 1];
}

/* text NULL: null. */
static void put(struct row *r, const char *text) {
    if (text)
        array_put_text(next_column(r), ARRAY_TEXT, text, strlen(text));
    else
        array_put_null(next_column(r), ARRAY_TEXT);
}

static void put_or_null(struct row *r, const char *text) {
    put(r, text[0] ? text : NULL);
}

static void put_json(struct row *r, const char *text, size_t len) {
    if (text)
        array_put_text(next_column(r), ARRAY_JSON, text, len);
    else
        array_put_null(next_column(r), ARRAY_JSON);
}

static void put_uuid(struct row *r, const char *text) {
    if (text && text[0])
        array_put_uuid(next_column(r), text);
    else
        array_put_null(next_column(r), ARRAY_UUID);
}

static void put_integer(struct row *r, uint64_t number) {
    array_put_integer(next_column(r), (int32_t)number);
}

static void put_bigint(struct row *r, int64_t number) {
    array_put_bigint(next_column(r), number);
}

static void put_boolean(struct row *r, bool value) {
    array_put_boolean(next_column(r), value);
}

static void put_moment(struct row *r, int64_t unix_ms) {
    array_put_moment(next_column(r), unix_ms);
}

static void put_moment_or_null(struct row *r, int64_t unix_ms) {
    if (unix_ms)
        put_moment(r, unix_ms);
    else
        array_put_null(next_column(r), ARRAY_TIMESTAMPTZ);
}

static void put_position(struct row *r, struct position p) {
    put_integer(r, p.epoch);
    put_integer(r, p.version);
}

/* ---- session_events ---- */

static void put_payload(struct row *r, const struct entry *e) {
    if (e->payload)
        put_json(r, e->payload, strlen(e->payload));
    else
        put_json(r, e->body, e->body_len);
}

static void put_event(struct batch_statement *s, const struct entry *e) {
    struct row r = begin_row(s);
    put_uuid(&r, e->event.session_id);
    put(&r, e->message_id);
    put_position(&r, e->event.position);
    put(&r, event_type_name(e->event.type));
    put(&r, event_kind(e->event.type));
    put_or_null(&r, e->event.device_id);
    put_uuid(&r, e->event.user_id);
    put_payload(&r, e);
    put_moment(&r, e->event.timestamp);
    put_uuid(&r, e->event.command_id);
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
        put_uuid(&r, e->event.session_id);
        put(&r, e->message_id);
        put_payload(&r, e);
        put_integer(&r, i);
    }
}

/* ---- session_snapshots ---- */

static void put_snapshot(struct batch_statement *s, const struct entry *e) {
    struct row r = begin_row(s);
    put_uuid(&r, e->event.session_id);
    put_position(&r, e->event.position);
    put_json(&r, e->body, e->body_len);
    put_moment(&r, e->event.timestamp);
    put(&r, e->label);
}

/* ---- session_participants, session_devices: an event each, the statement merges ---- */

static void put_participant(struct batch_statement *s, const struct entry *e) {
    struct row r = begin_row(s);
    put_uuid(&r, e->event.session_id);
    put_uuid(&r, e->participant.user_id);
    put_or_null(&r, e->participant.role);
    put_position(&r, e->event.position);
    put_moment(&r, e->event.timestamp);
}

static void put_device(struct batch_statement *s, const struct entry *e) {
    const struct device_change *d = &e->device;
    struct row r = begin_row(s);
    put_uuid(&r, e->event.session_id);
    put(&r, d->device_id);
    put_uuid(&r, d->was_seen ? e->event.user_id : NULL);
    put_moment_or_null(&r, d->was_seen ? e->event.timestamp : 0);
    put(&r, d->name);
    put(&r, d->platform);
    if (d->tells_removed)
        put_boolean(&r, d->removed);
    else
        array_put_null(next_column(&r), ARRAY_BOOLEAN);
    put_bigint(&r, d->tells_removed ? entry_position(e->event.position) : 0);
}

/* ---- sessions ---- */

/* In the order of statement_upsert_sessions' columns. */
static void put_session(struct batch_statement *s, const struct session_change *c) {
    struct row r = begin_row(s);
    put_uuid(&r, c->id);
    put_position(&r, c->position);
    put_moment(&r, c->updated_at);
    put_moment(&r, c->created_at);
    put_uuid(&r, c->has_created ? c->user_id : NOBODY);
    put_or_null(&r, c->type);
    if (c->has_created)
        put_integer(&r, (uint64_t)c->ttl_seconds);
    else
        array_put_null(next_column(&r), ARRAY_INTEGER);
    put_or_null(&r, c->on_idle);
    put_bigint(&r, c->name_position);
    put(&r, c->name);
    put_bigint(&r, c->status_position);
    put_or_null(&r, c->status);
    put_or_null(&r, c->active_device);
    put_moment_or_null(&r, c->completed_at);
    put_bigint(&r, c->data_position);
    put_moment_or_null(&r, c->last_modified);
    put_or_null(&r, c->modified_by);
    put_or_null(&r, c->checksum);
    put_moment_or_null(&r, c->deleted_at);
    put_bigint(&r, c->last_active_position);
    put_or_null(&r, c->last_active_device);
    put_bigint(&r, c->clock_position);
    put_json(&r, c->clock, c->clock ? strlen(c->clock) : 0);
    put_boolean(&r, c->clock_runs);
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

static void put_merged(struct batch_statement *s, struct entry *const *entries, size_t n) {
    struct session_change whole = copy_of(&entries[0]->change);
    for (size_t i = 1; i < n; i++) {
        struct session_change next = copy_of(&entries[i]->change);
        change_merge(&whole, &next);
        change_done(&next);
    }
    put_session(s, &whole);
    change_done(&whole);
}

/* One INSERT … ON CONFLICT cannot touch a row twice, so a session's changes become one. */
static void put_sessions(struct batch_statement *s, struct entry *const *entries, size_t n) {
    _cleanup_(freep) struct entry **sorted = must_alloc(n * sizeof(*sorted));
    size_t n_sorted = 0;
    for (size_t i = 0; i < n; i++)
        if (entry_is_row(entries[i]))
            sorted[n_sorted++] = entries[i];
    qsort(sorted, n_sorted, sizeof(struct entry *), compare_sessions);
    for (size_t i = 0, end; i < n_sorted; i = end) {
        for (end = i + 1; end < n_sorted && compare_sessions(&sorted[i], &sorted[end]) == 0;)
            end++;
        if (end == i + 1)
            put_session(s, &sorted[i]->change);
        else
            put_merged(s, sorted + i, end - i);
    }
}

/* ---- The whole ---- */

void batch_build(struct entry *const *entries, size_t n, const struct written *known,
                 struct batch *ret) {
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
    expected_build(entries, n, known, &ret->expected);
}

int batch_statement_send(struct db *db, const struct batch_statement *s, db_done_fn *done,
                         void *arg) {
    struct db_parameter parameters[BATCH_MAX_PARAMETERS];
    for (size_t i = 0; i < s->n_parameters; i++)
        parameters[i] = (struct db_parameter){s->parameters[i].data, s->parameters[i].len};
    return s->n_rows ? db_query_binary(db, s->sql, s->n_parameters, parameters, done, arg) : 0;
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

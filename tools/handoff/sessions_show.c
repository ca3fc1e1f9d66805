/* `handoff sessions show`: a session's row, its live state, and who is on it. What Redis knows is
 * read as session_api reads it, so that Redis Cluster and a Redis that was restarted are no
 * exceptions. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/store_presence.h"
#include "tools/handoff/advice.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/sessions.h"
#include "tools/handoff/shown.h"

#define WINDOW_MAX 1000
#define ANSWER_MS 5000

struct show {
    struct db_session row;
    int64_t n_events, n_snapshots;
    /* of Redis */
    int err; /* of the window */
    struct position position;
    uint64_t published;
    bool is_cooling;
    char snapshots[sizeof(((struct session *)0)->snapshots)];
    size_t n_window;
    uint64_t window_first, window_last;
    int devices_err;
    struct buf devices; /* the lines, or the array's elements */
    size_t n_devices, n_connected;
    bool json, has_window, has_devices;
};

/* ---- PostgreSQL ---- */

static const char counts_sql[] =
    "SELECT (SELECT count(*) FROM session_events WHERE session_id = $1::uuid),"
    " (SELECT count(*) FROM session_snapshots WHERE session_id = $1::uuid)";

static void on_counts(void *arg, const struct db_result *rows) {
    struct show *s = arg;
    s->n_events = db_number(rows, 0, 0);
    s->n_snapshots = db_number(rows, 0, 1);
}

/* ---- Redis ---- */

static void on_window(void *arg, int err, const struct session *session,
                      const struct store_delta *deltas, size_t n) {
    struct show *s = arg;
    s->has_window = true;
    s->err = err;
    if (err)
        return;
    s->position = session->position;
    s->published = session->published;
    s->is_cooling = session->cooling[0] != '\0';
    snprintf(s->snapshots, sizeof(s->snapshots), "%s", session->snapshots);
    s->n_window = n;
    s->window_first = n ? deltas[0].version : 0;
    s->window_last = n ? deltas[n - 1].version : 0;
}

#define DEVICE_LINE "  %-32s  %-9s  %-24s  %-24s  %-20s  %s\n"

static void put_device(const struct store_device *d, struct buf *out) {
    _cleanup_(freep) char *id = shown_text(d->device_id);
    _cleanup_(freep) char *name = shown_text(d->name);
    _cleanup_(freep) char *platform = shown_text(d->platform);
    _cleanup_(buf_done) struct buf first = BUF_NULL;
    _cleanup_(buf_done) struct buf last = BUF_NULL;
    shown_moment(&first, d->first_seen);
    shown_moment(&last, d->last_seen);
    buf_printf(out, DEVICE_LINE, id, d->is_connected ? "connected" : "away", first.data, last.data,
               platform, name);
}

static void put_device_json(const struct store_device *d, struct buf *out) {
    buf_puts(out, out->len ? "," : "");
    buf_puts(out, "{\"deviceId\":");
    shown_text_json(out, d->device_id);
    buf_printf(out, ",\"userId\":\"%s\",\"connected\":%s,\"name\":", d->user_id,
               d->is_connected ? "true" : "false");
    shown_text_json(out, d->name);
    buf_puts(out, ",\"platform\":");
    shown_text_json(out, d->platform);
    buf_puts(out, ",\"firstSeen\":");
    shown_moment_json(out, d->first_seen);
    buf_puts(out, ",\"lastSeen\":");
    shown_moment_json(out, d->last_seen);
    buf_putc(out, '}');
}

static void on_devices(void *arg, int err, const struct store_device *devices, size_t n) {
    struct show *s = arg;
    s->has_devices = true;
    s->devices_err = err;
    s->n_devices = err ? 0 : n;
    for (size_t i = 0; !err && i < n; i++) {
        s->n_connected += devices[i].is_connected;
        (s->json ? put_device_json : put_device)(&devices[i], &s->devices);
    }
}

static int ask_store(struct show *s, struct backends *b, const char *id) {
    if (backends_need_store(b))
        return -ENOTCONN;
    store_read_window(b->store, id, 0, WINDOW_MAX, on_window, s);
    store_read_devices(b->store, id, on_devices, s);
    bool has_all =
        backends_wait(b, &s->has_window, ANSWER_MS) && backends_wait(b, &s->has_devices, ANSWER_MS);
    int err = has_all ? s->err : -ETIMEDOUT;
    bool is_answer = !err || err == -ENOENT || err == -ESTALE || err == -EBADMSG;
    if (err == -ENOTCONN && store_is_up(b->store)) { /* an error is no answer for services */
        fprintf(stderr,
                "handoff: Redis refuses to read the session. What its user may not: handoff "
                "doctor --service handoff; operator of compose/redis/users.acl may.\n");
    } else if (!is_answer) {
        const char *why = b->store_why[0] ? b->store_why : strerror(-err);
        advice_redis("Redis", why);
    }
    return is_answer ? 0 : err;
}

/* What an operator wants to know first: where the session lives now. */
static const char *temperature(const struct show *s) {
    if (s->err == -ENOENT)
        return s->row.is_deleted ? "deleted" : s->row.is_cold ? "cold" : "absent";
    return s->err == -ESTALE    ? "stale"
           : s->err == -EBADMSG ? "broken"
           : s->is_cooling      ? "cooling"
                                : "hot";
}

static const char *meaning(const struct show *s) {
    static const char *const meanings[][2] = {
        {"deleted", "deleted for good"},
        {"cold", "not in Redis: PostgreSQL has all of it, the next command loads it"},
        {"absent", "not in Redis, and not put away: the next command rebuilds it"},
        {"stale", "saved under another run of Redis: the next command looks what was lost"},
        {"broken", "what Redis holds cannot be read: the next command rebuilds it"},
        {"cooling", "in Redis, about to leave it"},
        {"hot", "in Redis"}};
    for (size_t i = 0; i < N_ELEMENTS(meanings); i++)
        if (strcmp(meanings[i][0], temperature(s)) == 0)
            return meanings[i][1];
    return "";
}

/* ---- for people ---- */

#define ROW "%-15s "

static void put_text(struct buf *out, const char *label, const char *text) {
    _cleanup_(freep) char *printable = shown_text(text);
    buf_printf(out, ROW "%s\n", label, printable);
}

static void put_moment(struct buf *out, const char *label, int64_t ms) {
    buf_printf(out, ROW, label);
    shown_moment(out, ms);
    buf_putc(out, '\n');
}

static void put_position(struct buf *out, const char *label, struct position p) {
    buf_printf(out, ROW, label);
    shown_position(out, p);
    buf_putc(out, '\n');
}

/* A list as meta has it, without the commas at its ends. */
static void put_list(struct buf *out, const char *label, const char *list) {
    size_t len = list ? strlen(list) : 0;
    if (len < 3)
        return;
    _cleanup_(freep) char *text = must_memdup(list + 1, len - 2);
    put_text(out, label, text);
}

static void put_row(const struct db_session *row, struct buf *out) {
    const struct session *s = &row->session;
    put_text(out, "id", s->id);
    put_text(out, "owner", s->user_id);
    put_text(out, "name", s->name);
    put_text(out, "type", s->type);
    put_text(out, "status", row->is_deleted ? "deleted" : session_status_name(s->status));
    put_moment(out, "created", s->created_at);
    put_moment(out, "updated", s->updated_at);
    put_moment(out, "completed", s->completed_at);
    put_moment(out, "due", row->is_deleted ? 0 : session_expires_at(s));
    put_text(out, "active device", s->active_device);
    put_text(out, "clock", !s->clock_text ? NULL : s->clock_runs ? "runs" : "stands");
    put_list(out, "participants", s->participants);
    put_list(out, "kept out", s->removed_devices);
}

static void put_live(const struct show *s, struct buf *out) {
    buf_printf(out, ROW "%s: %s\n", "live", temperature(s), meaning(s));
    if (s->err)
        return;
    put_position(out, "  position", s->position);
    buf_printf(out, ROW "%" PRIu64 "\n", "  published to", s->published);
    if (s->n_window)
        buf_printf(out, ROW "%" PRIu64 " to %" PRIu64 " (%zu)\n", "  window", s->window_first,
                   s->window_last, s->n_window);
    put_text(out, "  snapshots", s->snapshots);
    buf_printf(out, ROW "%zu known, %zu connected\n", "devices", s->n_devices, s->n_connected);
    if (s->n_devices)
        buf_printf(out, DEVICE_LINE, "DEVICE", "IS", "FIRST SEEN", "LAST SEEN", "PLATFORM", "NAME");
    buf_put(out, s->devices.len ? s->devices.data : "", s->devices.len);
}

static void put_all(const struct show *s, bool has_live, struct buf *out) {
    put_row(&s->row, out);
    put_text(out, "audit trail", s->row.is_whole ? "whole" : "its beginning is not written yet");
    put_position(out, "  position", s->row.session.position);
    buf_printf(out, ROW "%" PRId64 "\n", "  events", s->n_events);
    buf_printf(out, ROW "%" PRId64 "\n", "  snapshots", s->n_snapshots);
    if (has_live)
        put_live(s, out);
}

/* ---- as JSON ---- */

static void put_member(struct buf *out, const char *name, const char *text) {
    buf_printf(out, ",\"%s\":", name);
    shown_text_json(out, text);
}

static void put_moment_member(struct buf *out, const char *name, int64_t ms) {
    buf_printf(out, ",\"%s\":", name);
    shown_moment_json(out, ms);
}

static void put_position_json(struct buf *out, struct position p) {
    buf_printf(out, "\"version\":%" PRIu64 ",\"epoch\":%" PRIu64, p.version, p.epoch);
}

static void each_participant(void *arg, const char *user_id, enum session_role role) {
    struct buf *out = arg;
    buf_printf(out, "%s{\"userId\":\"%s\",\"role\":\"%s\"}",
               out->data[out->len - 1] == '[' ? "" : ",", user_id, session_role_name(role));
}

static void each_removed(void *arg, const char *device_id) {
    struct buf *out = arg;
    buf_puts(out, out->data[out->len - 1] == '[' ? "" : ",");
    buf_puts_json(out, device_id);
}

static void put_row_json(const struct show *show, struct buf *out) {
    const struct session *s = &show->row.session;
    buf_printf(out, "{\"id\":\"%s\",\"userId\":\"%s\"", s->id, s->user_id);
    put_member(out, "name", s->name);
    put_member(out, "type", s->type);
    put_member(out, "status", show->row.is_deleted ? "deleted" : session_status_name(s->status));
    put_moment_member(out, "createdAt", s->created_at);
    put_moment_member(out, "updatedAt", s->updated_at);
    put_moment_member(out, "completedAt", s->completed_at);
    put_moment_member(out, "dueAt", show->row.is_deleted ? 0 : session_expires_at(s));
    put_member(out, "activeDeviceId", s->active_device);
    buf_printf(out, ",\"clock\":%s,\"participants\":[",
               !s->clock_text  ? "null"
               : s->clock_runs ? "\"runs\""
                               : "\"stands\"");
    session_each_participant(s, each_participant, out);
    buf_puts(out, "],\"keptOut\":[");
    session_each_removed_device(s, each_removed, out);
    buf_puts(out, "],\"trail\":{");
    put_position_json(out, s->position);
    buf_printf(out, ",\"events\":%" PRId64 ",\"snapshots\":%" PRId64 ",\"isWhole\":%s}",
               show->n_events, show->n_snapshots, show->row.is_whole ? "true" : "false");
}

static void put_live_json(const struct show *s, struct buf *out) {
    buf_printf(out, ",\"live\":\"%s\"", temperature(s));
    if (s->err)
        return;
    buf_puts(out, ",\"redis\":{");
    put_position_json(out, s->position);
    buf_printf(out,
               ",\"published\":%" PRIu64 ",\"window\":{\"first\":%" PRIu64 ",\"last\":%" PRIu64
               ",\"count\":%zu},\"snapshots\":[%s],\"devices\":[%s]}",
               s->published, s->window_first, s->window_last, s->n_window, s->snapshots,
               s->devices.len ? s->devices.data : "");
}

/* ---- the whole ---- */

static int show(struct show *s, struct backends *b, const char *id) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    const char *params[] = {id};
    int code = sessions_find(b, id, &s->row);
    if (code || backends_query(b, counts_sql, 1, params, on_counts, s))
        return 1;
    bool has_live = ask_store(s, b, id) == 0;
    if (s->json) {
        put_row_json(s, &out);
        if (has_live)
            put_live_json(s, &out);
        buf_puts(&out, "}\n");
    } else {
        put_all(s, has_live, &out);
    }
    return shown_flush(&out) && has_live ? 0 : 1;
}

int sessions_show(int argc, char **argv) {
    struct show s = {0};
    const struct argument options[] = {{"--json", .flag = &s.json}};
    size_t n = 0;
    struct config config = {0};
    struct backends b;
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    const char *mistake = sessions_check_id(argv + 1, n);
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    if (!arguments_load_config(CONFIG_CLI, &config))
        return 2;
    int code = backends_open(&b, &config, true, true) ? 2 : show(&s, &b, argv[1]);
    backends_done(&b); /* first: what was asked and not answered is told to s */
    db_session_done(&s.row);
    buf_done(&s.devices);
    config_done(&config);
    return code;
}

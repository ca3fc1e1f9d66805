/* `handoff sessions list`: rows of PostgreSQL, page after page, so that a long list needs no
 * memory. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "cli/arguments.h"
#include "cli/sessions.h"
#include "cli/shown.h"

#define PAGE 500
#define LIMIT 50
#define LIMIT_MAX 100000

/* Ids are UUIDv7: newest first without a sort. */
static const char sql[] =
    "SELECT " DB_SESSION_COLUMNS " FROM sessions WHERE deleted_at IS NULL AND name IS NOT NULL"
    " AND ($1::uuid IS NULL OR user_id = $1::uuid) AND ($2::text IS NULL OR status = $2)"
    " AND ($3::timestamptz IS NULL OR updated_at >= $3::timestamptz)"
    " AND ($4::uuid IS NULL OR id < $4::uuid) ORDER BY id DESC LIMIT $5::int";

struct list {
    const char *user, *status, *changed_since, *before;
    int64_t limit;
    bool json;
    int64_t n_shown;
    size_t n_page;
    bool has_more, is_broken;
    char last[UUID_LEN + 1];
};

/* ---- one session ---- */

#define HEAD "%-36s  %-9s  %10s  %-24s  %-36s  %-16s  %s\n"

static void put_line(const struct session *s, struct buf *out) {
    _cleanup_(buf_done) struct buf position = BUF_NULL;
    _cleanup_(buf_done) struct buf updated = BUF_NULL;
    _cleanup_(freep) char *name = shown_text(s->name);
    shown_position(&position, s->position);
    shown_moment(&updated, s->updated_at);
    buf_printf(out, HEAD, s->id, session_status_name(s->status), position.data, updated.data,
               s->user_id, s->type, name);
}

static void put_json(const struct session *s, struct buf *out) {
    buf_printf(out, "{\"id\":\"%s\",\"userId\":\"%s\",\"name\":", s->id, s->user_id);
    shown_text_json(out, s->name);
    buf_puts(out, ",\"type\":");
    shown_text_json(out, s->type);
    buf_printf(out, ",\"status\":\"%s\",\"version\":%" PRIu64 ",\"epoch\":%" PRIu64,
               session_status_name(s->status), s->position.version, s->position.epoch);
    buf_puts(out, ",\"createdAt\":");
    shown_moment_json(out, s->created_at);
    buf_puts(out, ",\"updatedAt\":");
    shown_moment_json(out, s->updated_at);
    buf_puts(out, ",\"activeDeviceId\":");
    shown_text_json(out, s->active_device);
    buf_puts(out, "}\n");
}

/* ---- pages ---- */

static void on_rows(void *arg, const struct db_result *rows) {
    struct list *l = arg;
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    l->n_page = db_n_rows(rows);
    for (size_t i = 0; i < l->n_page; i++) {
        struct session s;
        if (l->n_shown == l->limit) {
            l->has_more = true;
            break;
        }
        if (db_session_take_columns(rows, i, &s) == 0) {
            (l->json ? put_json : put_line)(&s, &out);
            memcpy(l->last, s.id, sizeof(s.id));
            l->n_shown++;
        } else {
            fprintf(stderr, "handoff: a row cannot be read: session %s\n",
                    db_value(rows, i, 0, NULL));
            l->is_broken = true;
        }
        session_done(&s);
    }
    l->is_broken |= !shown_flush(&out);
}

static int print_all(struct list *l, struct backends *b) {
    do {
        char limit[24];
        int64_t n = l->limit - l->n_shown + 1;
        snprintf(limit, sizeof(limit), "%" PRId64, n < PAGE ? n : PAGE);
        const char *params[] = {l->user, l->status, l->changed_since,
                                l->last[0] ? l->last : l->before, limit};
        if (backends_query(b, sql, N_ELEMENTS(params), params, on_rows, l))
            return 1;
    } while (l->n_page == PAGE && !l->has_more && !l->is_broken);
    if (l->has_more)
        fprintf(stderr, "handoff: there are more: --before %s\n", l->last);
    return l->is_broken ? 1 : 0;
}

/* ---- the whole ---- */

static const char *check(const struct list *l, size_t n_words) {
    enum session_status status;
    int64_t moment;
    if (n_words)
        return "list takes no id; show does.";
    if (l->user && !uuid_is(l->user, strlen(l->user)))
        return "--user takes the owner's id, a UUID in lower case.";
    if (l->before && !uuid_is(l->before, strlen(l->before)))
        return "--before takes a session's id.";
    if (l->status && !session_status_parse(l->status, &status))
        return "--status takes pending, active, paused, completed, cancelled or expired.";
    if (l->changed_since && !timestamp_parse(l->changed_since, strlen(l->changed_since), &moment))
        return "--changed-since takes a moment as 2026-02-12T12:00:00.000Z.";
    return NULL;
}

int sessions_list(int argc, char **argv) {
    struct list l = {.limit = LIMIT};
    const struct argument options[] = {
        {"--user", .text = &l.user},
        {"--status", .text = &l.status},
        {"--changed-since", .text = &l.changed_since},
        {"--before", .text = &l.before},
        {"--limit", .number = &l.limit, .least = 1, .most = LIMIT_MAX},
        {"--json", .flag = &l.json},
    };
    size_t n = 0;
    struct config config = {0};
    struct backends b;
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    const char *mistake = check(&l, n);
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    if (!arguments_load_config(CONFIG_CLI, &config))
        return 2;
    int code = backends_open(&b, &config, true, false) ? 2 : 0;
    if (!code && !l.json)
        printf(HEAD, "ID", "STATUS", "VERSION", "UPDATED", "OWNER", "TYPE", "NAME");
    if (!code)
        code = print_all(&l, &b);
    backends_done(&b);
    config_done(&config);
    return code;
}

/* `handoff sessions list`: rows of PostgreSQL, page after page, so that a long list needs no
 * memory. An owner's sessions are found by an index. A status and the moment of a change are in
 * none, on purpose: it would cost an entry for each version of each session (migration 0006). So
 * without an owner all sessions are looked through, by their ids, in parts of which none takes
 * PostgreSQL long, and not more of them than was said. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/progress.h"
#include "tools/handoff/sessions.h"
#include "tools/handoff/shown.h"

#define PAGE 500
#define LIMIT 50
#define LIMIT_MAX 100000
#define PART 10000 /* rows that are looked through in one statement */
#define SCAN 1000000
#define SCAN_MAX 1000000000

/* Ids are UUIDv7: newest first without a sort. The bounds are always there, so that a plan that is
 * kept has them as its index's, too. */
#define LIST_SQL(whose)                                                                            \
    "SELECT " DB_SESSION_COLUMNS " FROM sessions WHERE deleted_at IS NULL AND name IS NOT NULL"    \
    " AND id < $1::uuid AND id >= $2::uuid AND " whose " AND ($4::text IS NULL OR status = $4)"    \
    " AND ($5::timestamptz IS NULL OR updated_at >= $5::timestamptz) ORDER BY id DESC LIMIT "      \
    "$6::int"
static const char anybodys_sql[] = LIST_SQL("$3::uuid IS NULL");
static const char owners_sql[] = LIST_SQL("user_id = $3::uuid");
/* The last one of the next part; none: it is what is left. */
static const char part_sql[] =
    "SELECT id FROM sessions WHERE id < $1::uuid ORDER BY id DESC OFFSET $2::int LIMIT 1";

#define OLDEST "00000000-0000-0000-0000-000000000000"
#define NEWEST "ffffffff-ffff-ffff-ffff-ffffffffffff"

struct list {
    const char *user, *status, *changed_since;
    int64_t limit, scan;
    bool json;
    struct progress progress;
    char last[UUID_LEN + 1]; /* what follows it is next */
    char part[UUID_LEN + 1]; /* the last one of it; OLDEST: all that are left */
    int64_t n_shown, n_scanned;
    size_t n_page;
    bool has_head, has_more, is_broken;
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
    if (!l->json && !l->has_head)
        buf_printf(&out, HEAD, "ID", "STATUS", "VERSION", "UPDATED", "OWNER", "TYPE", "NAME");
    l->has_head = true;
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

/* All of a part, or of an owner's; false: it failed. */
static bool print_part(struct list *l, struct backends *b) {
    do {
        char limit[24];
        int64_t n = l->limit - l->n_shown + 1;
        snprintf(limit, sizeof(limit), "%" PRId64, n < PAGE ? n : PAGE);
        const char *params[] = {l->last, l->part, l->user, l->status, l->changed_since, limit};
        progress_clear(&l->progress);
        if (backends_query(b, l->user ? owners_sql : anybodys_sql, N_ELEMENTS(params), params,
                           on_rows, l))
            return false;
    } while (l->n_page == PAGE && !l->has_more && !l->is_broken);
    return !l->is_broken;
}

static bool is_rest(const struct list *l) {
    return strcmp(l->part, OLDEST) == 0;
}

static void on_part(void *arg, const struct db_result *rows) {
    struct list *l = arg;
    const char *id = db_n_rows(rows) ? db_value(rows, 0, 0, NULL) : OLDEST;
    snprintf(l->part, sizeof(l->part), "%s", id);
}

/* Part after part: where one ends, the next one begins. */
static bool scan(struct list *l, struct backends *b) {
    do {
        char offset[24];
        int64_t n = l->scan - l->n_scanned < PART ? l->scan - l->n_scanned : PART;
        snprintf(offset, sizeof(offset), "%" PRId64, n - 1);
        const char *params[] = {l->last, offset};
        if (backends_query(b, part_sql, N_ELEMENTS(params), params, on_part, l) ||
            !print_part(l, b))
            return false;
        if (l->has_more || is_rest(l))
            return true;
        memcpy(l->last, l->part, sizeof(l->last));
        l->n_scanned += n;
        progress_tell(&l->progress, "%" PRId64 " looked through, %" PRId64 " found", l->n_scanned,
                      l->n_shown);
    } while (l->n_scanned < l->scan);
    return true;
}

static int print_all(struct list *l, struct backends *b) {
    bool is_fine = l->user ? print_part(l, b) : scan(l, b);
    progress_clear(&l->progress);
    if (is_fine && l->has_more)
        fprintf(stderr, "handoff: there are more: --before %s\n", l->last);
    else if (is_fine && !l->user && !is_rest(l))
        fprintf(stderr,
                "handoff: %" PRId64 " sessions were looked through (--scan), and there are more: "
                "--before %s\n",
                l->n_scanned, l->last);
    return is_fine ? 0 : 1;
}

/* ---- the whole ---- */

static const char *check(const struct list *l, const char *before, size_t n_words) {
    enum session_status status;
    int64_t moment;
    if (n_words)
        return "list takes no id; show does.";
    if (l->user && !uuid_is(l->user, strlen(l->user)))
        return "--user takes the owner's id, a UUID in lower case.";
    if (before && !uuid_is(before, strlen(before)))
        return "--before takes a session's id.";
    if (l->status && !session_status_parse(l->status, &status))
        return "--status takes pending, active, paused, completed, cancelled or expired.";
    if (l->changed_since && !timestamp_parse(l->changed_since, strlen(l->changed_since), &moment))
        return "--changed-since takes a moment as 2026-02-12T12:00:00.000Z.";
    return NULL;
}

int sessions_list(int argc, char **argv) {
    struct list l = {.limit = LIMIT, .scan = SCAN, .last = NEWEST, .part = OLDEST};
    const char *before = NULL;
    const struct argument options[] = {
        {"--user", .text = &l.user},
        {"--status", .text = &l.status},
        {"--changed-since", .text = &l.changed_since},
        {"--before", .text = &before},
        {"--limit", .number = &l.limit, .least = 1, .most = LIMIT_MAX},
        {"--scan", .number = &l.scan, .least = 1, .most = SCAN_MAX},
        {"--progress", .flag = &l.progress.is_asked},
        {"--json", .flag = &l.json},
    };
    size_t n = 0;
    struct config config = {0};
    struct backends b;
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    const char *mistake = check(&l, before, n);
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    if (before)
        memcpy(l.last, before, sizeof(l.last));
    if (!arguments_load_config(CONFIG_CLI, &config))
        return 2;
    int code = backends_open(&b, &config, true, false) ? 2 : 0;
    if (!code)
        code = print_all(&l, &b);
    backends_done(&b);
    config_done(&config);
    return code;
}

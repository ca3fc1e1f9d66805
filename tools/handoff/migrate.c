/* The schema of PostgreSQL: what there is, and bringing it up to date, with audit_writer's own code
 * (common/db_schema.h) and under its lock. */
#include "tools/handoff/migrate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/db_schema.h"
#include "common/version.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/progress.h"

const char migrate_usage[] =
    "handoff migrate status [--json]\n"
    "handoff migrate up [--dry-run] [--progress] [--json]\n"
    "\n"
    "  status      a line for each migration: its name, applied, missing, newer or\n"
    "              refused, and when it was applied\n"
    "  up          applies those that are missing, in order, each in a transaction\n"
    "              of its own; at most one program does so at a time, and\n"
    "              audit_writer does it, too, when it connects\n"
    "\n"
    "  --dry-run   says which they are, and changes nothing\n"
    "  --progress  on stderr, also where that is no terminal\n"
    "  --json      an object on each line\n"
    "\n"
    "A migration that this release does not know is a newer one's: newer where it\n"
    "says that this release may work with it, else refused, and nothing is done.\n"
    "\n"
    "Ends with 0 when the schema is what this release needs (up: now is), 1 when\n"
    "not, 2 for a mistake in the command or the configuration.\n";

enum migrate_verb { VERB_STATUS, VERB_UP };

struct migrate {
    enum migrate_verb verb;
    bool dry_run, json;
    struct progress progress;
    const struct embedded *known;
    size_t n_known;
};

static const char *const states[] = {[DB_SCHEMA_APPLIED] = "applied",
                                     [DB_SCHEMA_MISSING] = "missing",
                                     [DB_SCHEMA_NEWER] = "newer",
                                     [DB_SCHEMA_REFUSED] = "refused"};

/* ---- what is said ---- */

/* The first line of what libpq says. */
static int fail(const char *why) {
    fprintf(stderr, "handoff: PostgreSQL: %.*s\n", (int)strcspn(why, "\n"), why);
    if (strstr(why, "permission denied") || strstr(why, "must be owner"))
        fputs("handoff: the schema is audit_writer's: give its role in HANDOFF_DATABASE_URL.\n",
              stderr);
    return 1;
}

static void print_step(const struct migrate *m, const struct db_schema_step *s) {
    if (!m->json) {
        printf("%s\t%s\t%s\n", s->name, states[s->state], *s->applied_at ? s->applied_at : "-");
        return;
    }
    _cleanup_(buf_done) struct buf line = BUF_NULL;
    buf_puts(&line, "{\"name\":");
    buf_puts_json(&line, s->name);
    buf_printf(&line, ",\"state\":\"%s\",\"appliedAt\":", states[s->state]);
    if (*s->applied_at)
        buf_puts_json(&line, s->applied_at);
    else
        buf_puts(&line, "null");
    printf("%s}\n", line.data);
}

static const char *first_refused(const struct db_schema_steps *steps) {
    for (size_t i = 0; i < steps->n; i++)
        if (steps->items[i].state == DB_SCHEMA_REFUSED)
            return steps->items[i].name;
    return NULL;
}

/* ---- status, and up --dry-run ---- */

static int tell(const struct migrate *m, const struct db_schema_steps *steps) {
    for (size_t i = 0; i < steps->n; i++)
        if (m->verb == VERB_STATUS || steps->items[i].state == DB_SCHEMA_MISSING)
            print_step(m, &steps->items[i]);
    const char *refused = first_refused(steps);
    if (refused) {
        _cleanup_(freep) char *why = db_schema_refusal(refused);
        return fail(why);
    }
    size_t n = db_schema_count(steps, DB_SCHEMA_MISSING);
    if (n)
        fprintf(stderr, "handoff: %zu to be applied%s.\n", n,
                m->verb == VERB_UP ? "; nothing was changed" : ": handoff migrate up");
    else
        fprintf(stderr, "handoff: the schema is what Handoff %s needs.\n", HANDOFF_VERSION);
    return n && m->verb == VERB_STATUS ? 1 : 0;
}

static int look(const struct migrate *m, const char *url) {
    _cleanup_(freep) char *error = NULL;
    _cleanup_(db_blocking_closep) struct db_blocking *db = NULL;
    _cleanup_(db_schema_steps_done) struct db_schema_steps steps = {0};
    int err = db_blocking_open(&db, url, "handoff migrate", &error);
    if (!err)
        err = db_schema_look(db, m->known, m->n_known, &steps, &error);
    return err ? fail(error) : tell(m, &steps);
}

/* ---- up ---- */

static void on_begins(void *arg, const char *name, size_t number, size_t n) {
    struct migrate *m = arg;
    progress_step(&m->progress, "%zu of %zu: %s …", number, n, name);
}

static void on_done(void *arg, const char *name, int64_t took_ms) {
    struct migrate *m = arg;
    progress_clear(&m->progress);
    if (m->json)
        printf("{\"name\":\"%s\",\"state\":\"applied\",\"tookMs\":%" PRId64 "}\n", name, took_ms);
    else
        printf("%s\tapplied\t%" PRId64 " ms\n", name, took_ms);
    fflush(stdout);
}

static int apply(struct migrate *m, const char *url) {
    static const struct db_migrate_callbacks callbacks = {on_begins, on_done};
    _cleanup_(freep) char *error = NULL;
    int err = db_migrate_told(url, m->known, m->n_known, &callbacks, m, &error);
    progress_clear(&m->progress);
    if (err)
        return fail(error);
    fprintf(stderr, "handoff: the schema is what Handoff %s needs.\n", HANDOFF_VERSION);
    return 0;
}

/* ---- the command ---- */

static int run(struct migrate *m, int argc, char **argv, const struct argument *options,
               size_t n_options) {
    struct config config = {0};
    size_t n = 0;
    if (!arguments_read(argc, argv, options, n_options, &n))
        return 2;
    if (n)
        return arguments_mistake(argv[0], "%s takes no words.", argv[0]);
    if (!arguments_load_config(CONFIG_AUDIT_WRITER, &config))
        return 2;
    m->known = db_schema_known(&m->n_known);
    int code = m->verb == VERB_UP && !m->dry_run ? apply(m, config.database_url)
                                                 : look(m, config.database_url);
    config_done(&config);
    return fflush(stdout) == 0 ? code : 1;
}

static int run_status(int argc, char **argv) {
    struct migrate m = {.verb = VERB_STATUS};
    const struct argument options[] = {{"--json", .flag = &m.json}};
    return run(&m, argc, argv, options, N_ELEMENTS(options));
}

static int run_up(int argc, char **argv) {
    struct migrate m = {.verb = VERB_UP};
    const struct argument options[] = {{"--dry-run", .flag = &m.dry_run},
                                       {"--progress", .flag = &m.progress.is_asked},
                                       {"--json", .flag = &m.json}};
    return run(&m, argc, argv, options, N_ELEMENTS(options));
}

int migrate_run(int argc, char **argv) {
    static const struct verb verbs[] = {{"status", run_status}, {"up", run_up}};
    return arguments_run_verb(argc, argv, verbs, N_ELEMENTS(verbs));
}

/* Which migrations PostgreSQL says that it has: a line "!" and an error's sqlstate, or rows. Each
 * of them is judged, in the order of their names, beside those that are missing; a service goes on
 * only where none is refused. The input is a migration's text, too, of which the first line is
 * read. */
#include <errno.h>

#include "base/embedded.h"
#include "common/db_schema.h"
#include "fuzz_rows.h"

/* Of common/db_link.h, whose results are libpq's. */
int db_ask_first(struct db *d, const char *sql, db_done_fn *done, void *arg);
void db_lost(struct db *d, const char *why);
void db_settled(struct db *d);
void db_check_schema(struct db *d);

static const struct embedded known[] = {{"0001_a.sql", ""}, {"0002_b.sql", ""}, {"0009_c.sql", ""}};

static struct {
    const struct db_result *rows;
    const char *sqlstate; /* NULL: it answers */
    db_done_fn *asked;
    void *arg;
    bool is_lost, is_settled;
} world;

int db_blocking_ask(struct db_blocking *b, const char *sql, size_t n_params,
                    const char *const *params, int64_t timeout_ms, const struct db_result **ret,
                    char **ret_error) {
    (void)b, (void)sql, (void)params;
    must_hold(n_params == 0 && timeout_ms > 0);
    *ret = world.rows;
    if (!world.sqlstate)
        return 0;
    *ret_error = must_strdup("refused");
    return -EIO;
}

const char *db_blocking_sqlstate(const struct db_blocking *b) {
    (void)b;
    return world.sqlstate ? world.sqlstate : "";
}

int db_ask_first(struct db *d, const char *sql, db_done_fn *done, void *arg) {
    (void)d, (void)sql;
    world.asked = done;
    world.arg = arg;
    return 0;
}

void db_lost(struct db *d, const char *why) {
    (void)d;
    must_hold(why[0]);
    world.is_lost = true;
}

void db_settled(struct db *d) {
    (void)d;
    world.is_settled = true;
}

static void check_steps(void) {
    struct db_schema_steps steps = {0};
    char *error = NULL;
    size_t n = 0;
    if (db_schema_look(NULL, known, N_ELEMENTS(known), &steps, &error) != 0) {
        must_hold(error && world.sqlstate && strcmp(world.sqlstate, "42P01") != 0);
        free(error);
        return;
    }
    for (size_t i = 0; i < steps.n; i++) {
        must_hold(i == 0 || strcmp(steps.items[i - 1].name, steps.items[i].name) <= 0);
        must_hold(steps.items[i].state != DB_SCHEMA_MISSING || !steps.items[i].applied_at[0]);
    }
    for (int state = DB_SCHEMA_APPLIED; state <= DB_SCHEMA_REFUSED; state++)
        n += db_schema_count(&steps, (enum db_schema_state)state);
    must_hold(!error && n == steps.n && n >= N_ELEMENTS(known));
    db_schema_steps_done(&steps);
}

static void check_connection(void) {
    db_check_schema(NULL);
    world.asked(world.arg, world.sqlstate ? -EIO : 0, world.sqlstate ? NULL : world.rows);
    must_hold(world.is_lost != world.is_settled);
    db_check_schema(NULL);
    world.asked(world.arg, -ENOTCONN, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *at = text, name[DB_SCHEMA_NAME_CAP];
    struct db_result *rows = must_alloc(sizeof(*rows));
    memset(&world, 0, sizeof(world));
    db_schema_works_from(text, name);
    must_hold(strlen(name) < sizeof(name) && !strpbrk(name, " \r\n"));
    world.sqlstate = *at == '!' ? strsep(&at, "\n") + 1 : NULL;
    fuzz_rows(&at, rows);
    world.rows = rows;
    check_steps();
    check_connection();
    free(rows);
    free(text);
    return 0;
}

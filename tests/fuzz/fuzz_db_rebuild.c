/* A version put together again from PostgreSQL, which may answer anything. Input: the wanted
 * version, "furthest" or "exact", then answers in turn: rows up to an empty line, or a line "!" and
 * an error's sqlstate. What comes of it has its checksum, and is no later version than was wanted.
 */
#include <errno.h>

#include "common/db_rebuild.h"
#include "fuzz_rows.h"
#include "proto/canonical.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define MAX_ANSWERS 40

static struct {
    char *at;          /* of the input: the next answer */
    db_done_fn *asked; /* the question that has none */
    void *arg;
    size_t n_asked;
    bool is_done;
    struct position wanted;
    enum db_rebuild_reach reach;
} world;

int db_query(struct db *d, const char *sql, size_t n_params, const char *const *params,
             db_done_fn *done, void *arg) {
    (void)d;
    must_hold(sql[0] && !world.asked);
    for (size_t i = 0; i < n_params; i++)
        must_hold(params[i][0]);
    if (++world.n_asked > MAX_ANSWERS)
        return -ENOTCONN;
    world.asked = done;
    world.arg = arg;
    return 0;
}

int db_end(struct db *d, db_done_fn *done, void *arg) {
    (void)d, (void)done, (void)arg;
    return 0;
}

static void answer(void) {
    db_done_fn *asked = world.asked;
    struct db_result *rows = must_alloc(sizeof(*rows));
    world.asked = NULL;
    if (world.at && *world.at == '!') {
        char *line = strsep(&world.at, "\n");
        rows->n_rows = 1;
        rows->cells[0][0] = line + 1;
        asked(world.arg, -EIO, rows);
    } else {
        fuzz_rows(&world.at, rows);
        asked(world.arg, 0, rows);
    }
    free(rows);
}

static void on_done(void *arg, int err, const struct db_rebuilt *r) {
    char checksum[HASH_HEX_LEN + 1];
    struct buf again = BUF_NULL;
    (void)arg;
    must_hold(!world.is_done && (err == 0) == (r != NULL));
    world.is_done = true;
    if (err)
        return;
    hash_sha256_hex(r->data, r->data_len, checksum);
    must_hold(strcmp(checksum, r->checksum) == 0);
    canonical_print(r->value, &again);
    must_hold(again.len == r->data_len && memcmp(again.data, r->data, again.len) == 0);
    must_hold(r->position.version >= 1 && r->position.epoch >= 1);
    must_hold(world.reach == DB_REBUILD_FURTHEST || position_equal(r->position, world.wanted));
    buf_done(&again);
}

static void run(void) {
    uv_loop_t loop;
    struct db *db = (struct db *)&world;
    must_hold(uv_loop_init(&loop) == 0);
    db_rebuild_start(&loop, db, ID, world.wanted, world.reach, on_done, NULL);
    for (bool is_alive = true; is_alive || world.asked;) {
        if (world.asked)
            answer();
        is_alive = uv_run(&loop, world.asked ? UV_RUN_NOWAIT : UV_RUN_ONCE) != 0;
    }
    must_hold(world.is_done && uv_loop_close(&loop) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *at = text;
    const char *version = strsep(&at, "\n"), *reach = at ? strsep(&at, "\n") : "";
    memset(&world, 0, sizeof(world));
    world.wanted = (struct position){strtoull(version, NULL, 10), 1};
    world.reach = reach[0] == 'f' ? DB_REBUILD_FURTHEST : DB_REBUILD_EXACT;
    world.at = at;
    run();
    free(text);
    return 0;
}

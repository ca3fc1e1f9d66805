/* What PostgreSQL says of sessions that Redis has lost, and of those that are due: the engine's
 * recoveries, its questions about creates' keys, and its ledger. Input: a byte that chooses the
 * cause and what Redis has, one that chooses what fails, then answers in turn: rows up to an empty
 * line, or a line "!"; a line "-" for a barrier that does not pass. Each recovery ends once, in a
 * way that the answers allow; what is to be written has keys that can be. */
#include <errno.h>

#include "common/db_rebuild.h"
#include "fuzz_app.h"
#include "fuzz_rows.h"
#include "services/state_engine/ledger.h"
#include "services/state_engine/recover_private.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define USER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define RUN_ID "0123456789012345678901234567890123456789"
#define MAX_STEPS 40

enum { LOOK = 1, REBUILD = 2, QUERY = 4, SILENT = 8, IS_AHEAD = 16 };

static struct {
    struct recover recover;
    struct recovery *recovery; /* NULL: it has ended */
    unsigned how, fails, n_steps;
    char *at; /* of the input: the next answer */
    db_done_fn *asked;
    void *asked_arg;
    db_rebuild_fn *rebuilding;
    void *rebuild_arg;
    barrier_fn *waiting;
    void *barrier_arg;
    bool has_row, says_deleted;
    size_t n_answered;
} world;

/* ---- Redis, by the first byte ---- */

static void find(struct store_found *ret) {
    static const enum store_found_kind kinds[] = {STORE_FOUND_ABSENT, STORE_FOUND_HASH,
                                                  STORE_FOUND_HASH, STORE_FOUND_OTHER};
    *ret = (struct store_found){.kind = kinds[world.how & 3],
                                .has_position = (world.how & 3) == 1,
                                .position = {world.fails & IS_AHEAD ? 50 : 3, 1}};
    strcpy(ret->run_id, world.how & 64 ? RUN_ID : "another");
}

int store_recover_look(struct store_batch *b, const char *session_id, struct store_found *ret) {
    (void)b, (void)session_id;
    find(ret);
    return world.fails & LOOK ? -ENOTCONN : 0;
}

int store_recover_look_at_loss(struct store_batch *b, const char *session_id,
                               struct store_found *ret) {
    return store_recover_look(b, session_id, ret);
}

bool store_found_equal(const struct store_found *a, const struct store_found *b) {
    return a->kind == b->kind;
}

const char *store_batch_run_id(const struct store_batch *b, const char *session_id) {
    (void)b, (void)session_id;
    return RUN_ID;
}

int store_batch_memories(struct store_batch *b, struct store_memory *memories, size_t n) {
    (void)b;
    for (size_t i = 0; i < n; i++)
        memories[i].since = 5;
    return world.how & 128 ? -ENOTCONN : 0;
}

/* ---- what a recovery leads to ---- */

void recovery_end(struct recovery *rec, enum recover_answer answer) {
    must_hold(rec == world.recovery && answer <= RECOVER_BUSY);
    must_hold(answer != RECOVER_DELETED || world.says_deleted);
    must_hold(answer != RECOVER_NEVER || !world.has_row);
    world.recovery = NULL;
    db_session_done(&rec->row);
    free(rec->keys);
    free(rec);
}

void recovery_write(struct recovery *rec) {
    must_hold(rec->row.is_whole && rec->row.session.data_text && !rec->row.is_deleted);
    must_hold(rec->n_keys <= 2 * (size_t)RECOVER_MAX_KEYS);
    for (size_t i = 0; i < rec->n_keys; i++) {
        const struct store_remembered *k = &rec->keys[i];
        must_hold(hash_is_hex(k->hash, strlen(k->hash)));
        must_hold(!k->fingerprint[0] || hash_is_hex(k->fingerprint, strlen(k->fingerprint)));
        must_hold(!k->checksum[0] || hash_is_hex(k->checksum, strlen(k->checksum)));
    }
    recovery_end(rec, RECOVER_HOT);
}

void recovery_adopt(struct recovery *rec) {
    must_hold(rec->found.has_position);
    recovery_end(rec, RECOVER_HOT);
}

void recovery_bury(struct recovery *rec) {
    must_hold(rec->row.is_deleted && world.says_deleted);
    recovery_end(rec, RECOVER_DELETED);
}

bool recover_may_wait(const struct recover *r, int err) {
    (void)r;
    return err == -ENOTCONN;
}

int64_t recover_settled_at(const struct store_memory *memory) {
    return memory->since;
}

void barrier_ask(struct barrier *b, int64_t at, barrier_fn *done, void *arg) {
    (void)b;
    must_hold(at >= 0 && !world.waiting);
    world.waiting = done;
    world.barrier_arg = arg;
}

/* ---- PostgreSQL ---- */

int db_query(struct db *d, const char *sql, size_t n_params, const char *const *params,
             db_done_fn *done, void *arg) {
    (void)d;
    must_hold(sql[0] && !world.asked);
    for (size_t i = 0; i < n_params; i++)
        must_hold(params[i]);
    if (world.fails & QUERY) {
        world.fails &= ~(unsigned)QUERY;
        return world.fails & SILENT ? -EAGAIN : -ENOTCONN;
    }
    world.asked = done;
    world.asked_arg = arg;
    return 0;
}

int db_end(struct db *d, db_done_fn *done, void *arg) {
    (void)d, (void)done, (void)arg;
    return 0;
}

bool db_is_up(const struct db *d) {
    (void)d;
    return true;
}

size_t db_n_affected(const struct db_result *r) {
    return r->n_rows;
}

void recovery_query(struct recovery *rec, const char *sql, size_t n, const char *const *params,
                    db_done_fn *done, void (*again)(struct recovery *rec)) {
    must_hold(again && rec == world.recovery);
    if (db_query(NULL, sql, n, params, done, rec) != 0)
        rec->parked = again;
}

struct db_rebuild *db_rebuild_start(uv_loop_t *loop, struct db *db, const char *session_id,
                                    struct position wanted, enum db_rebuild_reach reach,
                                    db_rebuild_fn *done, void *arg) {
    (void)loop, (void)db, (void)reach;
    must_hold(strcmp(session_id, ID) == 0 && wanted.version >= 1 && !world.rebuilding);
    world.rebuilding = done;
    world.rebuild_arg = arg;
    return (struct db_rebuild *)&world;
}

static void note_row(const struct db_result *rows) {
    struct db_session found;
    world.has_row = db_session_read(rows, &found) == 0;
    if (!world.has_row)
        return;
    world.says_deleted |= found.is_deleted;
    db_session_done(&found);
}

static void answer_rows(void) {
    db_done_fn *asked = TAKE_PTR(world.asked);
    if (world.at && *world.at == '!') {
        (void)strsep(&world.at, "\n");
        asked(world.asked_arg, -ENOTCONN, NULL);
        return;
    }
    struct db_result *rows = must_alloc(sizeof(*rows));
    fuzz_rows(&world.at, rows);
    note_row(rows);
    asked(world.asked_arg, 0, rows);
    free(rows);
}

/* A line: "=" and data, or what failed. */
static void answer_rebuild(void) {
    static const int errors[] = {-ENODATA, -EAGAIN, -EIO, -ETIMEDOUT};
    db_rebuild_fn *rebuilding = TAKE_PTR(world.rebuilding);
    const char *line = world.at ? strsep(&world.at, "\n") : "";
    const struct db_rebuilt rebuilt = {
        .position = {3, 1}, .data = line, .data_len = strlen(line), .checksum = HASH};
    int err = line[0] == '=' ? 0 : errors[(unsigned char)line[0] % N_ELEMENTS(errors)];
    if (world.fails & REBUILD) {
        world.fails &= ~(unsigned)REBUILD;
        err = -ENOTCONN;
    }
    rebuilding(world.rebuild_arg, err, err ? NULL : &rebuilt);
}

static void step(void) {
    if (world.asked) {
        answer_rows();
    } else if (world.rebuilding) {
        answer_rebuild();
    } else if (world.waiting) {
        barrier_fn *waiting = TAKE_PTR(world.waiting);
        bool passes = !world.at || *world.at != '-';
        if (!passes)
            (void)strsep(&world.at, "\n");
        waiting(world.barrier_arg, passes);
    }
    must_hold(++world.n_steps < MAX_STEPS);
}

static bool is_under_way(void) {
    return world.asked || world.rebuilding || world.waiting;
}

/* What could not be asked is asked again. */
static void ask_again(void) {
    struct recovery *rec = world.recovery;
    if (!rec || !rec->parked)
        return;
    void (*parked)(struct recovery * again) = rec->parked;
    rec->parked = NULL;
    parked(rec);
}

/* ---- questions ---- */

static void recover_one(void) {
    static const enum recover_cause causes[] = {RECOVER_ABSENT, RECOVER_STALE, RECOVER_DAMAGED};
    struct recovery *rec = must_alloc(sizeof(*rec));
    *rec = (struct recovery){.owner = &world.recover, .cause = causes[(world.how >> 3) % 3]};
    strcpy(rec->session_id, ID);
    strcpy(rec->run_id, RUN_ID);
    find(&rec->found);
    world.recovery = rec;
    recovery_begin(rec);
    for (ask_again(); is_under_way(); ask_again())
        step();
    must_hold(!world.recovery);
}

static void on_create(void *arg, int err, const char *session_id, const char *fingerprint) {
    (void)arg, (void)fingerprint;
    must_hold(err == 0 || (err == -ENOTCONN && !session_id));
    world.n_answered++;
}

static void ask_create(void) {
    world.n_answered = 0;
    world.recover.is_silent = world.fails & SILENT && world.fails & IS_AHEAD;
    recover_ask_create(&world.recover, USER, HASH, on_create, NULL);
    if (world.waiting)
        step();
    (void)recover_tell_questions(&world.recover);
    recover_ask_questions(&world.recover);
    while (is_under_way())
        step();
    must_hold(world.n_answered == 1 && world.recover.n_questions == 0);
    recover_drop_questions(&world.recover);
}

static void on_ledger(void *arg, int err, const struct ledger_row *rows, size_t n) {
    (void)arg;
    must_hold(err == 0 || n == 0);
    for (size_t i = 0; i < n; i++)
        must_hold(strlen(rows[i].session_id) <= UUID_LEN);
}

static void ask_ledger(void) {
    struct ledger *l = ledger_new(NULL);
    const struct ledger_row rows[] = {{ID, {4, 1}, 5}, {USER, {4, 2}, 0}};
    void (*const asks[])(struct ledger * l, const struct ledger_row *rows, size_t n,
                         ledger_fn *done, void *arg) = {ledger_mark_cold, ledger_find_deleted};
    must_hold(ledger_is_up(l));
    for (size_t i = 0; i < N_ELEMENTS(asks); i++) {
        asks[i](l, rows, 2, on_ledger, NULL);
        step();
    }
    ledger_find_due(l, 5, on_ledger, NULL);
    step();
    ledger_unmark_cold(l, rows, 2);
    step();
    ledger_move_due(l, rows, 1);
    step();
    ledger_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uv_loop_t loop;
    struct app app;
    if (size < 2)
        return 0;
    memset(&world, 0, sizeof(world));
    fuzz_app_init(&app, NULL, &loop);
    char *text = fuzz_text(data + 2, size - 2);
    world.how = data[0];
    world.fails = data[1];
    world.at = text;
    world.recover = (struct recover){
        .app = &app,
        .to_rebuild_end = &world.recover.to_rebuild,
        .n_damaged = metrics_counter(app.metrics, "handoff_fuzz_total", NULL, "Anything.")};
    recover_one();
    ask_create();
    ask_ledger();
    fuzz_app_done(&app);
    free(text);
    return 0;
}

/* A session's row in PostgreSQL, columns with tabs between: whatever is taken of it can be printed
 * for a client and stored in Redis, and is read from there as the same. */
#include "common/db_session.h"
#include "fuzz_rows.h"
#include "proto/session.h"

struct copy {
    struct session session;
    bool is_taken;
};

static void take(void *arg, const char *field, const char *value, size_t len) {
    struct copy *copy = arg;
    if (session_take_meta(&copy->session, field, value, len) != 0)
        copy->is_taken = false;
}

static void count(void *arg, const char *field, const char *value, size_t len) {
    (void)field, (void)value, (void)len;
    ++*(size_t *)arg;
}

/* What cannot be is not stored: a name in the row need not be one. */
static void check_stored(const struct session *s) {
    struct copy copy = {.is_taken = true};
    size_t n = 0, n_again = 0;
    session_each_meta(s, NULL, take, &copy);
    if (copy.is_taken) {
        session_each_meta(s, NULL, count, &n);
        session_each_meta(&copy.session, NULL, count, &n_again);
        must_hold(n == n_again && position_equal(copy.session.position, s->position));
        must_hold(copy.session.updated_at == s->updated_at);
    }
    session_done(&copy.session);
}

static void check(const struct db_session *s) {
    must_hold(s->session.position.version >= 1 && s->session.position.epoch >= 1);
    must_hold(!s->is_whole || strlen(s->session.checksum) == HASH_HEX_LEN);
    must_hold(s->session.deleted == s->is_deleted);
    must_hold(!s->session.clock_runs || s->session.clock_text);
    must_hold(strlen(s->session.id) <= UUID_LEN && strlen(s->session.user_id) <= UUID_LEN);
    check_stored(&s->session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct db_result rows;
    struct db_session s;
    char *text = fuzz_text(data, size), *at = text;
    fuzz_rows(&at, &rows);
    if (db_session_read(&rows, &s) == 0) {
        check(&s);
        db_session_done(&s);
    }
    free(text);
    return 0;
}

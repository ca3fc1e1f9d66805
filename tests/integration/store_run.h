/* The asynchronous reader in a loop of its own, and what its callbacks were told. */
#pragma once

#include <errno.h>

#include "tests/integration/store_fixture.h"

#define GUARD_MS 60000 /* no test takes longer, however busy the machine is */

struct run {
    uv_loop_t loop;
    uv_timer_t guard;
    struct store *store;
    int n_up;
    int n_down;
    char why[256];

    int n_answers;
    int n_errors[256]; /* by -err */
    bool is_asking;    /* inside a call of the store: no callback may come */
    bool frees;        /* the next callback frees the store */
    bool asks_on;      /* an answer that fails asks again, once */
    struct session session;
    uint64_t versions[1000];
    size_t n_versions;
    char event[64];
};

static inline void on_up(void *arg) {
    ((struct run *)arg)->n_up++;
}

static inline void on_down(void *arg, const char *why) {
    struct run *run = arg;
    run->n_down++;
    snprintf(run->why, sizeof(run->why), "%s", why);
}

static inline void on_guard(uv_timer_t *timer) {
    (void)timer;
    fprintf(stderr, "not done within %d ms\n", GUARD_MS);
    abort();
}

static inline void start(struct run *run, const char *url) {
    static const struct store_callbacks callbacks = {.up = on_up, .down = on_down};
    memset(run, 0, sizeof(*run));
    uv_loop_init(&run->loop);
    uv_timer_init(&run->loop, &run->guard);
    uv_timer_start(&run->guard, on_guard, GUARD_MS, 0);
    assert_int_equal(store_new(&run->store, &run->loop, url, &callbacks, run), 0);
}

static inline void stop(struct run *run) {
    run->store = store_free(run->store);
    uv_close((uv_handle_t *)&run->guard, NULL);
    uv_run(&run->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&run->loop), 0);
    session_done(&run->session);
}

#define RUN_UNTIL(run, condition)                                                                  \
    while (!(condition))                                                                           \
    uv_run(&(run)->loop, UV_RUN_ONCE)

static inline void start_up(struct run *run) {
    start(run, fixture_url());
    RUN_UNTIL(run, run->n_up);
}

static inline void on_read(void *arg, int err, const struct session *session);

static inline void ask(struct run *run, const char *session_id) {
    run->is_asking = true;
    store_read(run->store, session_id, on_read, run);
    run->is_asking = false;
}

static inline void note(struct run *run, int err) {
    assert_false(run->is_asking);
    assert_in_range(-err, 0, 255);
    run->n_answers++;
    run->n_errors[-err]++;
    if (run->frees) {
        run->frees = false;
        run->store = store_free(run->store);
    }
    if (run->asks_on && err) {
        run->asks_on = false;
        ask(run, FIXTURE_COMMAND);
    }
}

static inline void on_read(void *arg, int err, const struct session *session) {
    struct run *run = arg;
    assert_true((err == 0) == (session != NULL));
    if (session) {
        session_done(&run->session);
        session_copy(session, &run->session);
    }
    note(run, err);
}

static inline void on_deltas(void *arg, int err, const struct store_delta *deltas, size_t n) {
    struct run *run = arg;
    run->n_versions = n;
    for (size_t i = 0; i < n; i++)
        run->versions[i] = deltas[i].version;
    if (n)
        snprintf(run->event, sizeof(run->event), "%.*s", (int)deltas[0].event_len, deltas[0].event);
    note(run, err);
}

/* Reads one session and returns the error. */
static inline int read_one(struct run *run, const char *session_id) {
    int n = run->n_answers;
    memset(run->n_errors, 0, sizeof(run->n_errors));
    ask(run, session_id);
    RUN_UNTIL(run, run->n_answers > n);
    for (int err = 0; err < 256; err++)
        if (run->n_errors[err])
            return -err;
    return 1;
}

static inline void saved_session(struct session *s) {
    struct store_batch *b = fixture_batch();
    fixture_session(s);
    assert_int_equal(fixture_save_one(b, fixture_save(s, 5)), STORE_SAVED);
    store_batch_free(b);
}

/* See replay.h. Nothing that was gathered is believed but by the checksum of the last change of
 * data. While the thread works, all that it reads and writes is its own. */
#include "common/replay.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "proto/rebuild.h"

#define MAX_WORK_NS 5000000000ull

struct gathered {
    size_t at, len; /* in texts; len 0: data stayed as it was */
};

struct replay {
    uv_loop_t *loop;
    replay_fn *done;
    void *arg;
    bool is_working;
    bool is_gone; /* nobody waits; freed when the thread is done */

    struct position base; /* version 0: none */
    struct buf base_data;
    char base_checksum[HASH_HEX_LEN + 1];
    struct buf texts;
    struct gathered events[REBUILD_MAX_EVENTS];
    size_t n_events;

    uv_work_t work;
    bool or_less;
    uint64_t began_ns;
    int err;
    struct position reached;
    struct buf data;
    json_t *value;
    char checksum[HASH_HEX_LEN + 1];
};

struct replay *replay_new(uv_loop_t *loop, replay_fn *done, void *arg) {
    struct replay *r = must_alloc(sizeof(*r));
    r->loop = loop;
    r->done = done;
    r->arg = arg;
    r->work.data = r;
    return r;
}

static void forget_result(struct replay *r) {
    buf_clear(&r->data);
    json_decref(r->value);
    r->value = NULL;
}

struct replay *replay_free(struct replay *r) {
    if (!r)
        return NULL;
    if (r->is_working) {
        r->is_gone = true;
        (void)uv_cancel((uv_req_t *)&r->work); /* if it has not begun */
        return NULL;
    }
    forget_result(r);
    buf_done(&r->base_data);
    buf_done(&r->texts);
    buf_done(&r->data);
    free(r);
    return NULL;
}

/* ---- gathering ---- */

int replay_begin(struct replay *r, struct position position, const char *data, size_t len,
                 const char *checksum) {
    if (strlen(checksum) != HASH_HEX_LEN)
        return -EBADMSG;
    r->base = position;
    buf_clear(&r->base_data);
    buf_put(&r->base_data, data, len);
    memcpy(r->base_checksum, checksum, HASH_HEX_LEN + 1);
    buf_clear(&r->texts);
    r->n_events = 0;
    return 0;
}

uint64_t replay_last_version(const struct replay *r) {
    return r->base.version + r->n_events;
}

int replay_add(struct replay *r, uint64_t version, const char *event, size_t len) {
    if (version != replay_last_version(r) + 1)
        return -EBADMSG;
    if (r->n_events == REBUILD_MAX_EVENTS ||
        (r->n_events && r->texts.len + len > REBUILD_MAX_BYTES))
        return -ENOBUFS;
    r->events[r->n_events++] = (struct gathered){r->texts.len, len};
    buf_put(&r->texts, event, len);
    return 0;
}

void replay_go_on(struct replay *r) {
    struct buf data = r->data;
    r->data = BUF_NULL;
    (void)!replay_begin(r, r->reached, data.data, data.len, r->checksum);
    buf_done(&data);
    forget_result(r);
}

/* ---- in a thread of libuv's ---- */

static int add_events(const struct replay *r, struct rebuild *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct gathered *e = &r->events[i];
        struct position next = {b->position.version + 1, b->position.epoch};
        int err = e->len ? rebuild_add(b, r->texts.data + e->at, e->len) : rebuild_skip(b, next);
        if (err)
            return err;
        if (uv_hrtime() - r->began_ns > MAX_WORK_NS)
            return -ETIME;
    }
    return b->position.version == r->base.version + n ? 0 : -EBADMSG;
}

/* The base and the first n events. */
static int try_events(struct replay *r, size_t n) {
    struct rebuild b = REBUILD_NULL;
    forget_result(r);
    int err = r->base.version ? rebuild_begin(&b, r->base, r->base_data.data, r->base_data.len,
                                              r->base_checksum)
                              : 0;
    if (!err)
        err = add_events(r, &b, n);
    if (!err)
        err = rebuild_end(&b, &r->data);
    if (!err) {
        r->value = json_incref(json_object_get(b.document, "data"));
        r->reached = b.position;
        memcpy(r->checksum, b.checksum, sizeof(r->checksum));
    }
    rebuild_done(&b);
    return err;
}

/* Halves: behind an event that is damaged everything is. */
static int try_less(struct replay *r) {
    size_t good = 0, bad = r->n_events;
    while (bad - good > 1) {
        size_t middle = good + (bad - good) / 2;
        int err = try_events(r, middle);
        if (err == -ETIME)
            return err;
        *(err ? &bad : &good) = middle;
    }
    return try_events(r, good);
}

static void work(uv_work_t *w) {
    struct replay *r = w->data;
    r->began_ns = uv_hrtime();
    r->err = try_events(r, r->n_events);
    if (r->err == -EBADMSG && r->or_less && r->n_events)
        r->err = try_less(r);
}

/* ---- in the loop ---- */

static void on_worked(uv_work_t *w, int status) {
    struct replay *r = w->data;
    r->is_working = false;
    if (r->is_gone) {
        replay_free(r);
        return;
    }
    const struct replayed replayed = {.position = r->reached,
                                      .data = r->data.data,
                                      .data_len = r->data.len,
                                      .value = r->value,
                                      .checksum = r->checksum};
    int err = status ? -ECANCELED : r->err;
    r->done(r->arg, err, err ? NULL : &replayed);
}

void replay_run(struct replay *r, bool or_less) {
    r->is_working = true;
    r->or_less = or_less;
    (void)uv_queue_work(r->loop, &r->work, work, on_worked);
}

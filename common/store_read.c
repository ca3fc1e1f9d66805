/* Reads of one session: meta alone, or with the state or the delta window, each of one moment. What
 * another node saved (or this one before it was started again) is not handed out: it may be old.
 * And the window alone, as an outbox, of which each entry is right by itself. */
#include <errno.h>
#include <string.h>

#include "common/store_link.h"

#define MAX_DELTAS 1000

/* ---- meta, and the state or the window, of one moment ---- */

struct read_ask {
    struct store_ask ask;
    char session_id[UUID_LEN + 1];
    bool by_script; /* MULTI was refused */
    store_read_fn *done;
    store_window_fn *window_done; /* instead of done: the window is read, not the state */
    uint64_t since;
    size_t limit;
    void *arg;
};

static struct read_ask *new_ask(const char *session_id, void *arg) {
    struct read_ask *ask = must_alloc(sizeof(*ask));
    ask->arg = arg;
    store_copy(ask->session_id, sizeof(ask->session_id), session_id, strlen(session_id));
    return ask;
}

static void begin_deltas(struct store_command *c, const char *session_id, uint64_t since,
                         size_t limit) {
    store_command_begin(c, "XRANGE");
    store_put_key(c, STORE_DELTAS, session_id);
    store_put_entry_after(c, since);
    store_puts(c, "+");
    store_puts(c, "COUNT");
    store_put_u64(c, limit);
}

static void begin_with_key(struct store_command *c, const char *name, enum store_key key,
                           const char *session_id) {
    store_command_begin(c, name);
    store_put_key(c, key, session_id);
}

static void queue_multi(struct store *s, struct read_ask *ask) {
    struct store_command *c = &s->command;
    store_command_begin(c, "MULTI");
    store_ask_part(s);
    begin_with_key(c, "HGETALL", STORE_META, ask->session_id);
    store_ask_part(s);
    if (ask->window_done)
        begin_deltas(c, ask->session_id, ask->since, ask->limit);
    else
        begin_with_key(c, "GET", STORE_STATE, ask->session_id);
    store_ask_part(s);
    store_command_begin(c, "EXEC");
    store_ask_send(s, &ask->ask);
}

/* Out of memory, Redis queues no command, not even a read; a script may read on (read.lua). It has
 * no limit, so that a window is cut afterwards. */
static bool read_by_script(struct read_ask *ask, const redisReply *reply) {
    struct store *s = ask->ask.store;
    bool window = ask->window_done != NULL;
    if (reply->type != REDIS_REPLY_ERROR || ask->by_script)
        return false;
    ask->by_script = true;
    store_begin_read(&s->command, ask->session_id, !window, window, ask->since);
    store_ask_send(s, &ask->ask);
    return true;
}

/* The session of meta and (unless NULL) state, when it is as this node took it. Deleted is deleted,
 * whichever node says so. */
static int take_session(const struct read_ask *ask, const redisReply *meta, const redisReply *state,
                        struct session *ret) {
    int err = store_take_session(meta, state, ask->session_id, ret);
    if (err || ret->deleted)
        return err;
    if (!store_is_current(ask->ask.store, ask->session_id, ret->run_id))
        return -ESTALE;
    return state ? session_verify(ret) : 0;
}

static void finish_state(struct read_ask *ask, int err, const redisReply *reply) {
    struct session session = {0};
    if (!err && (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2))
        err = -ENOTCONN; /* loading, access refused: no answer about this session */
    if (!err)            /* meta and state come first either way */
        err = take_session(ask, reply->element[0], reply->element[1], &session);
    ask->done(ask->arg, err, err ? NULL : &session);
    session_done(&session);
}

static void finish_window(struct read_ask *ask, int err, const redisReply *reply) {
    struct session session = {0};
    _cleanup_(store_deltas_done) struct store_deltas deltas = {0};
    size_t at = ask->by_script ? 2 : 1; /* {meta, state, entries} or {meta, entries} */
    if (!err && (reply->type != REDIS_REPLY_ARRAY || reply->elements <= at))
        err = -ENOTCONN;
    if (!err)
        err = take_session(ask, reply->element[0], NULL, &session);
    if (!err)
        err = store_take_deltas(reply->element[at], ask->limit, ask->session_id, &deltas);
    ask->window_done(ask->arg, err, err ? NULL : &session, deltas.items, deltas.n);
    session_done(&session);
}

static void finish_read(struct store_ask *base, int err, const redisReply *reply) {
    struct read_ask *ask = (struct read_ask *)base;
    if (!err && read_by_script(ask, reply))
        return;
    (ask->window_done ? finish_window : finish_state)(ask, err, reply);
    free(ask);
}

void store_read(struct store *s, const char *session_id, store_read_fn *done, void *arg) {
    struct read_ask *ask = new_ask(session_id, arg);
    ask->ask.done = finish_read;
    ask->done = done;
    queue_multi(s, ask);
}

void store_read_window(struct store *s, const char *session_id, uint64_t since, size_t limit,
                       store_window_fn *done, void *arg) {
    struct read_ask *ask = new_ask(session_id, arg);
    ask->ask.done = finish_read;
    ask->window_done = done;
    ask->since = since;
    ask->limit = limit < MAX_DELTAS ? limit : MAX_DELTAS;
    queue_multi(s, ask);
}

/* ---- meta alone ---- */

static void finish_meta(struct store_ask *base, int err, const redisReply *reply) {
    struct read_ask *ask = (struct read_ask *)base;
    struct session session = {0};
    if (!err && reply->type != REDIS_REPLY_ARRAY)
        err = store_is_wrong_type(reply) ? -EBADMSG : -ENOTCONN;
    if (!err)
        err = take_session(ask, reply, NULL, &session);
    ask->done(ask->arg, err, err ? NULL : &session);
    session_done(&session);
    free(ask);
}

void store_read_meta(struct store *s, const char *session_id, store_read_fn *done, void *arg) {
    struct read_ask *ask = new_ask(session_id, arg);
    ask->ask.done = finish_meta;
    ask->done = done;
    begin_with_key(&s->command, "HGETALL", STORE_META, session_id);
    store_ask_send(s, &ask->ask);
}

/* ---- the window alone ---- */

struct outbox_ask {
    struct store_ask ask;
    char session_id[UUID_LEN + 1];
    store_outbox_fn *done;
    void *arg;
};

static void finish_outbox(struct store_ask *base, int err, const redisReply *reply) {
    struct outbox_ask *ask = (struct outbox_ask *)base;
    _cleanup_(store_outbox_done) struct store_outbox outbox = {0};
    if (!err)
        err = store_take_outbox(reply, ask->session_id, &outbox);
    ask->done(ask->arg, err, outbox.items, outbox.n);
    free(ask);
}

void store_read_outbox(struct store *s, const char *session_id, uint64_t since, size_t limit,
                       store_outbox_fn *done, void *arg) {
    struct outbox_ask *ask = must_alloc(sizeof(*ask));
    *ask = (struct outbox_ask){.ask.done = finish_outbox, .done = done, .arg = arg};
    store_copy(ask->session_id, sizeof(ask->session_id), session_id, strlen(session_id));
    begin_deltas(&s->command, session_id, since, limit < MAX_DELTAS ? limit : MAX_DELTAS);
    store_ask_send(s, &ask->ask);
}

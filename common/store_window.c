/* Meta and delta window of one moment: what brings a watcher up to date who has a position, and
 * says whether it still may. The state's text, which may be large, stays where it is. */
#include <errno.h>
#include <string.h>

#include "common/store_link.h"

#define MAX_DELTAS 1000

struct window_ask {
    struct store_ask ask;
    char session_id[UUID_LEN + 1];
    uint64_t since;
    size_t limit;
    bool by_script; /* MULTI was refused */
    store_window_fn *done;
    void *arg;
};

static void queue_multi(struct store *s, struct window_ask *ask) {
    struct store_command *c = &s->command;
    store_command_begin(c, "MULTI");
    store_queue(s->context, c);
    store_command_begin(c, "HGETALL");
    store_put_key(c, STORE_META, ask->session_id);
    store_queue(s->context, c);
    store_command_begin(c, "XRANGE");
    store_put_key(c, STORE_DELTAS, ask->session_id);
    store_put_entry_after(c, ask->since);
    store_puts(c, "+");
    store_puts(c, "COUNT");
    store_put_u64(c, ask->limit);
    store_queue(s->context, c);
    store_command_begin(c, "EXEC");
    store_queue(s->context, c);
    store_link_wait(s, &ask->ask, 4);
}

/* As in store_read: out of memory, only a script may read on. It has no limit, so that its answer
 * is cut afterwards. */
static bool read_by_script(struct window_ask *ask, const redisReply *reply) {
    struct store *s = ask->ask.store;
    if (reply->type != REDIS_REPLY_ERROR || ask->by_script || s->state != STORE_LINK_UP)
        return false;
    ask->by_script = true;
    store_begin_read(&s->command, ask->session_id, false, true, ask->since);
    store_queue(s->context, &s->command);
    store_link_wait(s, &ask->ask, 1);
    uv_idle_start(&s->soon, store_on_soon);
    return true;
}

/* read.lua answers {meta, state, entries}, EXEC {meta, entries}. */
static const redisReply *entries_of(const struct window_ask *ask, const redisReply *reply) {
    size_t at = ask->by_script ? 2 : 1;
    return reply->type == REDIS_REPLY_ARRAY && reply->elements > at ? reply->element[at] : NULL;
}

static void take(struct window_ask *ask, const redisReply *reply, const redisReply *entries) {
    struct session session = {0};
    _cleanup_(freep) struct store_delta *deltas = NULL;
    size_t n = 0;
    int err = store_take_session(reply->element[0], NULL, ask->session_id, &session);
    if (!err)
        err = store_take_deltas(entries, ask->limit, &deltas, &n);
    ask->done(ask->arg, err, err ? NULL : &session, err ? NULL : deltas, err ? 0 : n);
    session_done(&session);
}

static void finish(struct store_ask *base, int err, const redisReply *reply) {
    struct window_ask *ask = (struct window_ask *)base;
    if (!err && read_by_script(ask, reply))
        return;
    const redisReply *entries = err ? NULL : entries_of(ask, reply);
    if (entries)
        take(ask, reply, entries);
    else
        ask->done(ask->arg, err ? err : -ENOTCONN, NULL, NULL, 0);
    free(ask);
}

void store_read_window(struct store *s, const char *session_id, uint64_t since, size_t limit,
                       store_window_fn *done, void *arg) {
    struct window_ask *ask = must_alloc(sizeof(*ask));
    ask->ask.done = finish;
    ask->since = since;
    ask->limit = limit < MAX_DELTAS ? limit : MAX_DELTAS;
    ask->done = done;
    ask->arg = arg;
    store_copy(ask->session_id, sizeof(ask->session_id), session_id, strlen(session_id));
    if (store_may_ask(s, &ask->ask))
        queue_multi(s, ask);
}

/* What session_api and ws_fanout read from Redis, without ever blocking their loop. The connection
 * itself is in store_link.c. A question is queued at once and sent in the loop's next turn,
 * together with all others of this turn. */
#include "common/store.h"

#include <errno.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/store_link.h"

#define MAX_WAITING 10000
#define MAX_DELTAS 1000

struct read_ask {
    struct store_ask ask;
    char session_id[UUID_LEN + 1];
    bool by_script; /* MULTI was refused */
    store_read_fn *done;
    void *arg;
};

struct deltas_ask {
    struct store_ask ask;
    store_deltas_fn *done;
    void *arg;
};

void store_list_add(struct store_ask_list *list, struct store_ask *ask) {
    ask->next = NULL;
    if (!list->first)
        list->end = &list->first;
    *list->end = ask;
    list->end = &ask->next;
}

void store_list_finish(struct store_ask_list *list, int err) {
    struct store_ask *ask = list->first;
    *list = (struct store_ask_list){0};
    while (ask) {
        struct store_ask *next = ask->next;
        ask->done(ask, err ? err : ask->err, NULL);
        ask = next;
    }
}

/* ---- life ---- */

void store_on_soon(uv_idle_t *idle) {
    struct store *s = idle->data;
    uv_idle_stop(idle);
    store_link_flush(s);
    if (!s->closing)
        store_list_finish(&s->later, 0);
}

int store_new(struct store **ret, uv_loop_t *loop, const char *url,
              const struct store_callbacks *callbacks, void *arg) {
    struct store_url parsed;
    int err = store_url_parse(url, &parsed);
    if (err)
        return err;
    struct store *s = must_alloc(sizeof(*s));
    s->loop = loop;
    s->url = parsed;
    s->callbacks = callbacks ? *callbacks : (struct store_callbacks){0};
    s->arg = arg;
    s->n_handles = 3;
    for (int i = 0; i < STORE_N_SCRIPTS; i++)
        store_script_sha((enum store_script)i, s->sha[i]);
    uv_timer_init(loop, &s->tick); /* these three cannot fail */
    uv_timer_init(loop, &s->retry);
    uv_idle_init(loop, &s->soon);
    s->tick.data = s->retry.data = s->soon.data = s;
    store_link_start(s);
    *ret = s;
    return 0;
}

static void on_closed(uv_handle_t *handle) {
    struct store *s = handle->data;
    if (--s->n_handles)
        return;
    store_command_done(&s->command);
    store_url_done(&s->url);
    free(s);
}

struct store *store_free(struct store *s) {
    if (!s || s->closing)
        return NULL;
    s->closing = true;
    store_link_stop(s);
    s->n_waiting = 0;
    while (s->waiting.first || s->later.first) {
        store_list_finish(&s->waiting, -ECANCELED);
        store_list_finish(&s->later, -ECANCELED);
    }
    uv_close((uv_handle_t *)&s->tick, on_closed);
    uv_close((uv_handle_t *)&s->retry, on_closed);
    uv_close((uv_handle_t *)&s->soon, on_closed);
    return NULL;
}

bool store_is_up(const struct store *s) {
    return s->state == STORE_LINK_UP;
}

const char *store_run_id(const struct store *s) {
    return s->run_id;
}

int64_t store_now(const struct store *s) {
    return s->has_time ? timestamp_monotonic_ms() + s->time_offset : timestamp_wall_ms();
}

/* ---- asking ---- */

bool store_may_ask(struct store *s, struct store_ask *ask) {
    ask->store = s;
    ask->err = s->state != STORE_LINK_UP ? -ENOTCONN : s->n_waiting >= MAX_WAITING ? -EAGAIN : 0;
    if (ask->err)
        store_list_add(&s->later, ask);
    if (!s->closing)
        uv_idle_start(&s->soon, store_on_soon);
    return !ask->err;
}

static void queue_multi(struct store *s, struct read_ask *ask) {
    struct store_command *c = &s->command;
    store_command_begin(c, "MULTI");
    store_queue(s->context, c);
    store_command_begin(c, "HGETALL");
    store_put_key(c, STORE_META, ask->session_id);
    store_queue(s->context, c);
    store_command_begin(c, "GET");
    store_put_key(c, STORE_STATE, ask->session_id);
    store_queue(s->context, c);
    store_command_begin(c, "EXEC");
    store_queue(s->context, c);
    store_link_wait(s, &ask->ask, 4);
}

/* Out of memory, Redis queues no command, not even a read; a script may read on (read.lua). */
static bool read_by_script(struct read_ask *ask, const redisReply *reply) {
    struct store *s = ask->ask.store;
    if (reply->type != REDIS_REPLY_ERROR || ask->by_script || s->state != STORE_LINK_UP)
        return false;
    ask->by_script = true;
    store_begin_read(&s->command, ask->session_id, true, false, 0);
    store_queue(s->context, &s->command);
    store_link_wait(s, &ask->ask, 1);
    uv_idle_start(&s->soon, store_on_soon);
    return true;
}

static void finish_read(struct store_ask *base, int err, const redisReply *reply) {
    struct read_ask *ask = (struct read_ask *)base;
    struct session session = {0};
    if (!err && read_by_script(ask, reply))
        return;
    if (!err && (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2))
        err = -ENOTCONN; /* loading, access refused: no answer about this session */
    if (!err)            /* meta and state come first either way */
        err = store_take_session(reply->element[0], reply->element[1], ask->session_id, &session);
    ask->done(ask->arg, err, err ? NULL : &session);
    session_done(&session);
    free(ask);
}

void store_read(struct store *s, const char *session_id, store_read_fn *done, void *arg) {
    struct read_ask *ask = must_alloc(sizeof(*ask));
    ask->ask.done = finish_read;
    ask->done = done;
    ask->arg = arg;
    store_copy(ask->session_id, sizeof(ask->session_id), session_id, strlen(session_id));
    if (store_may_ask(s, &ask->ask))
        queue_multi(s, ask);
}

static void finish_meta(struct store_ask *base, int err, const redisReply *reply) {
    struct read_ask *ask = (struct read_ask *)base;
    struct session session = {0};
    if (!err && reply->type != REDIS_REPLY_ARRAY)
        err = store_is_wrong_type(reply) ? -EBADMSG : -ENOTCONN;
    if (!err)
        err = store_take_session(reply, NULL, ask->session_id, &session);
    ask->done(ask->arg, err, err ? NULL : &session);
    session_done(&session);
    free(ask);
}

void store_read_meta(struct store *s, const char *session_id, store_read_fn *done, void *arg) {
    struct read_ask *ask = must_alloc(sizeof(*ask));
    ask->ask.done = finish_meta;
    ask->done = done;
    ask->arg = arg;
    store_copy(ask->session_id, sizeof(ask->session_id), session_id, strlen(session_id));
    if (!store_may_ask(s, &ask->ask))
        return;
    store_command_begin(&s->command, "HGETALL");
    store_put_key(&s->command, STORE_META, session_id);
    store_queue(s->context, &s->command);
    store_link_wait(s, &ask->ask, 1);
}

static void finish_deltas(struct store_ask *base, int err, const redisReply *reply) {
    struct deltas_ask *ask = (struct deltas_ask *)base;
    _cleanup_(freep) struct store_delta *deltas = NULL;
    size_t n = 0;
    if (!err && reply->type != REDIS_REPLY_NIL) /* nil: the limit was 0 */
        err = store_take_deltas(reply, MAX_DELTAS, &deltas, &n);
    ask->done(ask->arg, err, err ? NULL : deltas, err ? 0 : n);
    free(ask);
}

void store_read_deltas(struct store *s, const char *session_id, uint64_t since, size_t limit,
                       store_deltas_fn *done, void *arg) {
    struct deltas_ask *ask = must_alloc(sizeof(*ask));
    ask->ask.done = finish_deltas;
    ask->done = done;
    ask->arg = arg;
    if (!store_may_ask(s, &ask->ask))
        return;
    store_command_begin(&s->command, "XRANGE");
    store_put_key(&s->command, STORE_DELTAS, session_id);
    store_put_entry_after(&s->command, since);
    store_puts(&s->command, "+");
    store_puts(&s->command, "COUNT");
    store_put_u64(&s->command, limit < MAX_DELTAS ? limit : MAX_DELTAS);
    store_queue(s->context, &s->command);
    store_link_wait(s, &ask->ask, 1);
}

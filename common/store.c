/* What session_api and ws_fanout ask Redis, without ever blocking their loop: life of the store,
 * and questions on their way. The connection itself is in store_link.c, what is asked in
 * store_read.c and others. A question is queued at once and sent in the loop's next turn, together
 * with all others of this turn. */
#include "common/store.h"

#include <errno.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/store_link.h"

#define MAX_WAITING 10000

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

const char *store_run_id(const struct store *s, const char *session_id) {
    (void)session_id;
    return s->run_id;
}

bool store_is_current(const struct store *s, const char *session_id, const char *run_id) {
    return run_id[0] && strcmp(run_id, store_run_id(s, session_id)) == 0;
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

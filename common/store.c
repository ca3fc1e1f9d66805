/* What session_api and ws_fanout ask Redis, without ever blocking their loop: life of the store,
 * and questions on their way. The connections are in store_link.c, what is asked in
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

void store_ask_finish(struct store_ask *ask, int err, const redisReply *reply) {
    free(ask->bytes);
    ask->bytes = NULL;
    ask->is_redirected = false;
    ask->n_redirects = 0;
    ask->done(ask, err, reply);
}

void store_list_finish(struct store_ask_list *list, int err) {
    struct store_ask *ask = list->first;
    *list = (struct store_ask_list){0};
    while (ask) {
        struct store_ask *next = ask->next;
        store_ask_finish(ask, err ? err : ask->err, NULL);
        ask = next;
    }
}

/* ---- life ---- */

static void on_soon(uv_idle_t *idle) {
    struct store *s = idle->data;
    uv_idle_stop(idle);
    for (size_t i = 0; !s->closing && i < s->n_links; i++)
        store_link_flush(s->links[i]);
    if (!s->closing)
        store_list_finish(&s->later, 0);
}

void store_write_soon(struct store *s) {
    if (!s->closing)
        uv_idle_start(&s->soon, on_soon);
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
    s->n_handles = 1;
    s->request_slot = -1;
    for (int i = 0; i < STORE_N_SCRIPTS; i++)
        store_script_sha((enum store_script)i, s->sha[i]);
    uv_idle_init(loop, &s->soon); /* cannot fail */
    s->soon.data = s;
    store_links_start(s);
    *ret = s;
    return 0;
}

void store_handle_closed(struct store *s) {
    if (--s->n_handles)
        return;
    store_command_done(&s->command);
    buf_done(&s->request);
    store_url_done(&s->url);
    free(s->links);
    free(s->map);
    free(s);
}

static void on_closed(uv_handle_t *handle) {
    store_handle_closed(handle->data);
}

struct store *store_free(struct store *s) {
    if (!s || s->closing)
        return NULL;
    s->closing = true;
    for (size_t i = 0; i < s->n_links; i++)
        store_link_close(s->links[i], -ECANCELED);
    while (s->later.first)
        store_list_finish(&s->later, -ECANCELED);
    uv_close((uv_handle_t *)&s->soon, on_closed);
    return NULL;
}

void store_measure(struct store *s, struct metric *answers) {
    s->answers = answers;
}

void store_follow_url(struct store *s, char *const *url) {
    s->url_text = url;
}

/* ---- what is known of it ---- */

bool store_is_up(const struct store *s) {
    for (size_t i = 0; i < s->n_links; i++)
        if (s->links[i]->is_named && s->links[i]->state == STORE_LINK_UP)
            return true;
    return false;
}

const char *store_run_id(const struct store *s, const char *session_id) {
    char key[STORE_KEY_CAP];
    store_key(STORE_META, session_id, key);
    int slot = s->url.is_cluster ? (int)store_slot_of(key, strlen(key)) : -1;
    const struct store_link *l = store_link_of(s, slot);
    return l ? l->run_id : "";
}

uint64_t store_n_renewals(const struct store *s) {
    return s->n_renewals;
}

bool store_is_current(const struct store *s, const char *session_id, const char *run_id) {
    return run_id[0] && strcmp(run_id, store_run_id(s, session_id)) == 0;
}

bool store_has_time(const struct store *s) {
    return s->has_time;
}

int64_t store_now(const struct store *s) {
    return s->has_time ? timestamp_monotonic_ms() + s->time_offset : timestamp_wall_ms();
}

/* ---- asking ---- */

void store_ask_part(struct store *s) {
    store_command_print(&s->command, &s->request);
    s->n_parts++;
    if (s->request_slot < 0 && s->url.is_cluster)
        s->request_slot = store_command_slot(&s->command);
}

void store_ask_refuse(struct store *s, struct store_ask *ask, int err) {
    ask->store = s;
    ask->err = err;
    store_list_add(&s->later, ask);
    store_write_soon(s);
}

/* A copy is kept where a node may send the question to another one. */
static void send_request(struct store_link *l, struct store_ask *ask) {
    struct store *s = l->store;
    if (s->url.is_cluster) {
        ask->bytes = must_memdup(s->request.data, s->request.len);
        ask->n_bytes = s->request.len;
    }
    ask->n_commands = s->n_parts;
    store_link_ask(l, ask, s->request.data, s->request.len, s->n_parts);
    store_write_soon(s);
}

void store_ask_send(struct store *s, struct store_ask *ask) {
    store_ask_part(s);
    struct store_link *l = s->closing ? NULL : store_link_of(s, s->request_slot);
    ask->store = s;
    if (!l || l->state != STORE_LINK_UP)
        store_ask_refuse(s, ask, -ENOTCONN);
    else if (l->n_waiting >= MAX_WAITING)
        store_ask_refuse(s, ask, -EAGAIN);
    else
        send_request(l, ask);
    buf_clear(&s->request);
    s->n_parts = 0;
    s->request_slot = -1;
}

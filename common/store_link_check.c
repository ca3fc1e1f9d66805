/* What a link asks for itself: who the node is, before it counts as up; what time it is there, and
 * who has which slot, now and then. */
#include <errno.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/store_link.h"

struct own_ask {
    struct store_ask ask;
    struct store_link *link;
};

/* What is in s->command. */
static void ask_own(struct store_link *l,
                    void (*done)(struct store_ask *ask, int err, const redisReply *reply)) {
    struct own_ask *own = must_alloc(sizeof(*own));
    own->ask.store = l->store;
    own->ask.done = done;
    own->link = l;
    store_queue(l->context, &l->store->command);
    store_link_wait(l, &own->ask, 1);
}

static struct store_link *take_own(struct store_ask *ask) {
    struct own_ask *own = (struct own_ask *)ask;
    struct store_link *l = own->link;
    free(own);
    return l;
}

static void ask_held(struct store_link *l) {
    struct store_ask *ask = l->held.first;
    l->held = (struct store_ask_list){0};
    while (ask) {
        struct store_ask *next = ask->next;
        store_links_follow(ask);
        ask = next;
    }
}

static void link_up(struct store_link *l) {
    l->state = STORE_LINK_UP;
    l->why[0] = '\0';
    backoff_reset(&l->backoff);
    ask_held(l);
    store_links_judge(l->store);
}

static void on_time(struct store_ask *ask, int err, const redisReply *reply) {
    struct store_link *l = take_own(ask);
    struct store *s = l->store;
    int64_t now;
    if (err)
        return;
    l->asks_time = false;
    l->time_ticks = 0;
    if (!store_take_time(reply, &now)) {
        store_link_fail(l, "TIME was refused", reply->str ? reply->str : "");
        return;
    }
    if (store_link_is_clock(l)) {
        s->time_offset = now - timestamp_monotonic_ms();
        s->has_time = true;
    }
    if (l->state == STORE_LINK_CHECKING)
        link_up(l);
}

static void on_login(struct store_ask *ask, int err, const redisReply *reply) {
    struct store_link *l = take_own(ask);
    if (!err && reply->type == REDIS_REPLY_ERROR)
        store_link_fail(l, "login was refused", reply->str);
}

static void on_info(struct store_ask *ask, int err, const redisReply *reply) {
    struct store_link *l = take_own(ask);
    char why[256], run_id[41];
    if (err)
        return;
    if (!store_node_is_fit(reply, l->store->url.is_cluster, run_id, why)) {
        store_link_down(l, -ENOTCONN, why);
        return;
    }
    l->store->n_renewals += l->run_id[0] && strcmp(l->run_id, run_id) != 0;
    memcpy(l->run_id, run_id, sizeof(l->run_id));
}

/* While it is up, an answer that is none leaves things as they are. */
static void on_slots(struct store_ask *ask, int err, const redisReply *reply) {
    struct store_link *l = take_own(ask);
    if (err || store_links_take_slots(l, reply) || l->state == STORE_LINK_UP)
        return;
    store_link_fail(l, "CLUSTER SLOTS",
                    reply->type == REDIS_REPLY_ERROR ? reply->str : "nobody has any slot");
}

void store_link_ask_slots(struct store_link *l) {
    struct store_command *c = &l->store->command;
    store_command_begin(c, "CLUSTER");
    store_puts(c, "SLOTS");
    ask_own(l, on_slots);
}

void store_link_ask_time(struct store_link *l) {
    store_command_begin(&l->store->command, "TIME");
    ask_own(l, on_time);
    l->asks_time = true;
}

void store_link_introduce(struct store_link *l) {
    struct store *s = l->store;
    l->state = STORE_LINK_CHECKING;
    store_url_follow(&s->url, s->url_text);
    if (*s->url.password) {
        store_begin_auth(&s->command, &s->url);
        ask_own(l, on_login);
    }
    if (s->url.db) {
        store_begin_select(&s->command, &s->url);
        ask_own(l, on_login);
    }
    store_command_begin(&s->command, "INFO");
    ask_own(l, on_info);
    if (s->url.is_cluster)
        store_link_ask_slots(l);
    store_link_ask_time(l);
    store_link_flush(l);
}

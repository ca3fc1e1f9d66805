/* ws_fanout's and session_api's side of presence; see store_presence.h. The attention entry and the
 * instance's list are in other slots than the session, so that they are commands of their own,
 * written before the script that they are for: an instance that dies between is looked after. */
#include "common/store_presence.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/store_device.h"
#include "common/store_link.h"

/* Armed nearer than the lease of a look (10 s), else a look that is under way would take the entry
 * for its own and drop it. */
#define ARM_MS 2500
#define MEMBER_CAP (STORE_INSTANCE_MAX + sizeof(STORE_INSTANCE_PREFIX))

/* The commands beside a question, counted until Redis took them. Each of them has a share: any of
 * them, and the question, may be answered last when the connection takes only some. On a cluster
 * they may be another node's: then the question waits for them. */
struct beside {
    unsigned n_shares;
    unsigned n_taken;
    void (*then)(void *arg); /* asks the question; NULL: it is asked already */
    void *arg;
};

struct plain_ask {
    struct store_ask ask;
    struct beside *beside; /* or NULL */
};

struct arrival_ask {
    struct store *store;
    char session_id[UUID_LEN + 1];
    char instance[STORE_INSTANCE_MAX + 1];
    struct beside *beside;
    struct store_command script; /* owned, until it is asked */
    uint64_t n_forgotten;        /* store::n_forgotten then */
    store_arrive_fn *done;
    void *arg;
};

struct departure_ask {
    struct store *store;
    char session_id[UUID_LEN + 1];
    char instance[STORE_INSTANCE_MAX + 1];
    void (*done)(void *arg, int err);
    void *arg;
};

struct renewal_ask {
    struct store_ask ask;
    struct store *store;
    char instance[STORE_INSTANCE_MAX + 1];
    struct beside *beside;
    bool is_new;
    store_renewed_fn *done;
    void *arg;
};

struct devices_ask {
    struct store_ask ask;
    store_devices_fn *done;
    void *arg;
};

/* ---- plain commands ---- */

static struct beside *beside_new(void) {
    struct beside *b = must_alloc(sizeof(*b));
    b->n_shares = 1;
    return b;
}

/* Returns how many commands were taken. */
static unsigned beside_unref(struct beside *b) {
    unsigned n_taken = b->n_taken;
    if (--b->n_shares == 0)
        free(b);
    return n_taken;
}

static void finish_plain(struct store_ask *base, int err, const redisReply *reply) {
    struct plain_ask *ask = (struct plain_ask *)base;
    struct beside *b = ask->beside;
    free(ask);
    if (!b)
        return;
    bool is_last = b->n_shares == 2; /* but for the question's */
    b->n_taken += !err && reply->type == REDIS_REPLY_INTEGER;
    if (is_last && b->then)
        b->then(b->arg);
    beside_unref(b);
}

/* Asks the question beside which the others are: now, when they go before it on its connection. */
static void ask_beside(struct store *s, struct beside *b, void (*then)(void *arg), void *arg) {
    if (!s->url.is_cluster) {
        then(arg);
        return;
    }
    b->then = then;
    b->arg = arg;
}

/* Sends s->command, when the connection is there. */
static void send_plain(struct store *s, struct beside *beside) {
    struct plain_ask *ask = must_alloc(sizeof(*ask));
    *ask = (struct plain_ask){.ask.done = finish_plain, .beside = beside};
    if (beside)
        beside->n_shares++;
    store_ask_send(s, &ask->ask);
}

static void begin_arm(struct store *s, const char *member, int64_t at) {
    char key[STORE_KEY_CAP];
    store_key_attention_slot(store_map_attention(s->map, member), key);
    store_command_begin(&s->command, "ZADD");
    store_put_name(&s->command, key);
    store_puts(&s->command, "LT");
    store_put_i64(&s->command, at);
    store_puts(&s->command, member);
}

static void begin_list(struct store *s, const char *name, const char *instance,
                       const char *session_id) {
    char key[STORE_KEY_CAP];
    store_key_instance_sessions(instance, key);
    store_command_begin(&s->command, name);
    store_put_name(&s->command, key);
    store_puts(&s->command, session_id);
}

/* What a script answered, as an error. */
static int error_of(int err, const redisReply *reply) {
    if (err)
        return err;
    if (reply->type == REDIS_REPLY_ERROR)
        return store_is_wrong_type(reply) ? -EBADMSG : -ENOTCONN;
    return 0;
}

/* ---- arriving ---- */

/* {word, devices by way of the instance} */
static int take_admission(const redisReply *reply, enum store_admission *ret,
                          bool *ret_has_devices) {
    static const char *const words[] = {
        [STORE_ADMITTED] = "ADMITTED",
        [STORE_ADMITTED_FIRST] = "FIRST",
        [STORE_SESSION_ABSENT] = "ABSENT",
        [STORE_NO_ROLE] = "NO_ROLE",
        [STORE_DEVICE_REMOVED] = "REMOVED",
        [STORE_TOO_MANY_DEVICES] = "TOO_MANY_DEVICES",
        [STORE_TOO_MANY_WATCHERS] = "TOO_MANY_WATCHERS",
    };
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_INTEGER)
        return -EBADMSG;
    for (size_t i = 0; i < N_ELEMENTS(words); i++)
        if (strcmp(reply->element[0]->str, words[i]) == 0) {
            *ret = (enum store_admission)i;
            *ret_has_devices = reply->element[1]->integer > 0;
            return 0;
        }
    return -EBADMSG;
}

/* The instance has no device in the session (any more). */
static void unlist(struct store *s, const char *instance, const char *session_id) {
    if (!store_is_up(s))
        return;
    s->n_forgotten++;
    begin_list(s, "SREM", instance, session_id);
    send_plain(s, NULL);
}

/* A departure or refusal that was answered meanwhile has taken the session from the instance's
 * list, perhaps after this arrival had put it there. */
static void list_again(const struct arrival_ask *ask) {
    struct store *s = ask->store;
    if (s->n_forgotten == ask->n_forgotten || !store_is_up(s))
        return;
    begin_list(s, "SADD", ask->instance, ask->session_id);
    send_plain(s, NULL);
}

static void finish_arrival(void *arg, int err, const redisReply *reply) {
    _cleanup_(freep) struct arrival_ask *ask = arg;
    enum store_admission admission = STORE_ADMITTED;
    unsigned n_taken = beside_unref(ask->beside);
    bool has_devices = true;
    err = error_of(err, reply);
    if (!err)
        err = take_admission(reply, &admission, &has_devices);
    if (!err && n_taken < 2 && admission <= STORE_ADMITTED_FIRST)
        err = -ENOTCONN; /* nobody would look after it: it has to come again */
    if (!has_devices)    /* strangers choose which sessions they ask for */
        unlist(ask->store, ask->instance, ask->session_id);
    else if (!err && admission <= STORE_ADMITTED_FIRST)
        list_again(ask);
    ask->done(ask->arg, err, admission);
}

static void ask_arrival(void *arg) {
    struct arrival_ask *ask = arg;
    store_ask_script(ask->store, STORE_SCRIPT_PRESENCE, &ask->script, finish_arrival, ask);
}

void store_arrive(struct store *s, const struct store_arrival *a, store_arrive_fn *done,
                  void *arg) {
    struct arrival_ask *ask = must_alloc(sizeof(*ask));
    struct store_command *c = &ask->script;
    int64_t now = store_now(s);
    *ask = (struct arrival_ask){.store = s,
                                .beside = beside_new(),
                                .n_forgotten = s->n_forgotten,
                                .done = done,
                                .arg = arg};
    store_copy(ask->session_id, sizeof(ask->session_id), a->session_id, strlen(a->session_id));
    store_copy(ask->instance, sizeof(ask->instance), a->instance, strlen(a->instance));
    begin_list(s, "SADD", a->instance, a->session_id);
    send_plain(s, ask->beside);
    begin_arm(s, a->session_id, now + ARM_MS);
    send_plain(s, ask->beside);
    store_put_presence(c, a->session_id, "arrive", now);
    store_puts(c, a->device_id);
    store_puts(c, a->instance);
    store_puts(c, a->user_id);
    store_puts(c, a->is_admin ? "1" : "0");
    store_puts(c, a->name);
    store_puts(c, a->platform);
    store_puts(c, store_run_id(s, a->session_id));
    ask_beside(s, ask->beside, ask_arrival, ask);
}

/* ---- departing ---- */

static void finish_departure(void *arg, int err, const redisReply *reply) {
    _cleanup_(freep) struct departure_ask *ask = arg;
    struct store *s = ask->store;
    err = error_of(err, reply);
    if (!err && reply->type == REDIS_REPLY_INTEGER && reply->integer <= 0)
        unlist(s, ask->instance, ask->session_id);
    if (ask->done)
        ask->done(ask->arg, err);
}

void store_depart(struct store *s, const char *session_id, const char *device_id,
                  const char *instance, void (*done)(void *arg, int err), void *arg) {
    struct departure_ask *ask = must_alloc(sizeof(*ask));
    struct store_command c = {0};
    int64_t now = store_now(s);
    *ask = (struct departure_ask){.store = s, .done = done, .arg = arg};
    store_copy(ask->session_id, sizeof(ask->session_id), session_id, strlen(session_id));
    store_copy(ask->instance, sizeof(ask->instance), instance, strlen(instance));
    begin_arm(s, session_id, now + ARM_MS);
    send_plain(s, NULL);
    store_put_presence(&c, session_id, "depart", now);
    store_puts(&c, device_id);
    store_puts(&c, instance);
    store_ask_script(s, STORE_SCRIPT_PRESENCE, &c, finish_departure, ask);
}

/* ---- the instance ---- */

static void finish_renewal(struct store_ask *base, int err, const redisReply *reply) {
    _cleanup_(freep) struct renewal_ask *ask = (struct renewal_ask *)base;
    unsigned n_taken = beside_unref(ask->beside);
    err = error_of(err, reply);
    if (!err && ask->is_new && !n_taken)
        err = -ENOTCONN; /* nobody would find it dead */
    ask->done(ask->arg, err, !err && (ask->is_new || reply->integer == 1));
}

/* What had run out is not made again: its devices may be half reaped. */
static void begin_life(struct store_command *c, const char *instance, bool is_new) {
    char key[STORE_KEY_CAP];
    store_key_instance(instance, key);
    store_command_begin(c, is_new ? "SET" : "PEXPIRE");
    store_put_name(c, key);
    if (is_new) {
        store_puts(c, "1");
        store_puts(c, "PX");
    }
    store_put_i64(c, PRESENCE_INSTANCE_TTL_MS);
}

static void ask_renewal(void *arg) {
    struct renewal_ask *ask = arg;
    begin_life(&ask->store->command, ask->instance, ask->is_new);
    store_ask_send(ask->store, &ask->ask);
}

void store_renew_instance(struct store *s, const char *instance, bool is_new,
                          store_renewed_fn *done, void *arg) {
    struct renewal_ask *ask = must_alloc(sizeof(*ask));
    char member[MEMBER_CAP];
    *ask = (struct renewal_ask){.ask.done = finish_renewal,
                                .store = s,
                                .beside = beside_new(),
                                .is_new = is_new,
                                .done = done,
                                .arg = arg};
    store_copy(ask->instance, sizeof(ask->instance), instance, strlen(instance));
    snprintf(member, sizeof(member), STORE_INSTANCE_PREFIX "%s", instance);
    begin_arm(s, member, store_now(s) + PRESENCE_INSTANCE_RENEW_MS);
    send_plain(s, ask->beside);
    ask_beside(s, ask->beside, ask_renewal, ask);
}

/* ---- reading ---- */

struct device_list {
    struct store_device *items;
    struct store_device_record *records; /* their texts */
    size_t n;
};

static int take_device(const redisReply *field, const redisReply *value, struct device_list *list) {
    struct store_device_record *d = &list->records[list->n];
    if (field->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING)
        return -EBADMSG;
    if (!session_device_is_valid(field->str, (size_t)field->len))
        return 0; /* a count, or an instance's */
    int err = store_device_parse(value->str, (size_t)value->len, d);
    if (err || d->state == STORE_DEVICE_LEFT)
        return err;
    list->items[list->n++] = (struct store_device){
        .device_id = field->str,
        .user_id = d->user_id,
        .name = d->name,
        .platform = d->platform,
        .is_connected = d->n_connections > 0,
        .first_seen = (int64_t)d->first_seen,
        .last_seen = (int64_t)d->last_seen,
    };
    return 0;
}

static void finish_devices(struct store_ask *base, int err, const redisReply *reply) {
    _cleanup_(freep) struct devices_ask *ask = (struct devices_ask *)base;
    struct device_list list = {0};
    err = error_of(err, reply);
    if (!err && (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2))
        err = -EBADMSG;
    size_t n = err ? 0 : reply->elements / 2;
    list.items = must_alloc(n * sizeof(*list.items));
    list.records = must_alloc(n * sizeof(*list.records));
    for (size_t i = 0; i < n && !err; i++)
        err = take_device(reply->element[2 * i], reply->element[2 * i + 1], &list);
    ask->done(ask->arg, err, err ? NULL : list.items, err ? 0 : list.n);
    free(list.items);
    free(list.records);
}

void store_read_devices(struct store *s, const char *session_id, store_devices_fn *done,
                        void *arg) {
    struct devices_ask *ask = must_alloc(sizeof(*ask));
    *ask = (struct devices_ask){.ask.done = finish_devices, .done = done, .arg = arg};
    store_command_begin(&s->command, "HGETALL");
    store_put_key(&s->command, STORE_DEVICES, session_id);
    store_ask_send(s, &ask->ask);
}

/* See store_check.h. */
#include "common/store_check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/store_private.h"

#define TIMEOUT_S 2

_Static_assert(STORE_CHECK_MAX_NODES == STORE_MAX_SEEDS, "all that a URL may name");

struct store_check {
    char *text; /* owned: the url */
    struct store_url url;
    struct store_address *masters; /* owned; store_check_slots */
    size_t n_masters;
    redisContext *context;
    struct store_address address;
    char printed[STORE_ADDRESS_CAP];
    redisReply *info; /* owned */
};

DEFINE_CLEANUP(redisReply *, freeReplyObject)

int store_check_url(const char *url, size_t *ret_n, bool *ret_is_cluster) {
    struct store_url parsed;
    int err = store_url_parse(url, &parsed);
    if (err)
        return err;
    *ret_n = parsed.n_seeds;
    *ret_is_cluster = parsed.is_cluster;
    store_url_done(&parsed);
    return 0;
}

struct store_check *store_check_close(struct store_check *c) {
    if (!c)
        return NULL;
    freeReplyObject(c->info);
    if (c->context)
        redisFree(c->context);
    store_url_done(&c->url);
    free(c->masters);
    free(c->text);
    free(c);
    return NULL;
}

const char *store_check_address(const struct store_check *c) {
    return c->printed;
}

/* NULL when the connection is lost; freed by the caller. */
static redisReply *ask(struct store_check *c, const char *const *words, size_t n,
                       char ret_why[static STORE_CHECK_WHY_CAP]) {
    const char *argv[16];
    size_t lengths[16];
    if (n > N_ELEMENTS(argv))
        return NULL;
    for (size_t i = 0; i < n; i++) {
        argv[i] = words[i];
        lengths[i] = strlen(words[i]);
    }
    redisReply *reply = redisCommandArgv(c->context, (int)n, argv, lengths);
    if (!reply)
        snprintf(ret_why, STORE_CHECK_WHY_CAP, "no answer: %.200s", c->context->errstr);
    else if (reply->type == REDIS_REPLY_ERROR)
        snprintf(ret_why, STORE_CHECK_WHY_CAP, "%.240s", reply->str);
    return reply;
}

static bool is_fine(const redisReply *reply) {
    return reply && reply->type != REDIS_REPLY_ERROR;
}

bool store_check_ask(struct store_check *c, const char *const *words, size_t n,
                     char ret_why[static STORE_CHECK_WHY_CAP]) {
    _cleanup_(freeReplyObjectp) redisReply *reply = ask(c, words, n, ret_why);
    return is_fine(reply);
}

static int log_in(struct store_check *c, char ret_why[static STORE_CHECK_WHY_CAP]) {
    char db[16];
    snprintf(db, sizeof(db), "%d", c->url.db);
    const char *const by_password[] = {"AUTH", c->url.password};
    const char *const by_both[] = {"AUTH", c->url.user, c->url.password};
    const char *const select[] = {"SELECT", db};
    bool is_in = !*c->url.password || (*c->url.user ? store_check_ask(c, by_both, 3, ret_why)
                                                    : store_check_ask(c, by_password, 2, ret_why));
    return is_in && (!c->url.db || store_check_ask(c, select, 2, ret_why)) ? 0 : -EACCES;
}

/* address: NULL for the URL's number i. */
static int open_at(struct store_check **ret, const char *url, const struct store_address *address,
                   size_t i, char ret_why[static STORE_CHECK_WHY_CAP]) {
    static const struct timeval patience = {.tv_sec = TIMEOUT_S};
    _cleanup_(store_check_closep) struct store_check *c = must_alloc(sizeof(*c));
    if (store_url_parse(url, &c->url) || (!address && i >= c->url.n_seeds)) {
        snprintf(ret_why, STORE_CHECK_WHY_CAP, "the URL cannot be used");
        return -ENOTCONN;
    }
    c->text = must_strdup(url);
    c->address = address ? *address : c->url.seeds[i];
    store_address_print(&c->address, c->printed);
    c->context = redisConnectWithTimeout(c->address.host, c->address.port, patience);
    if (!c->context || c->context->err || redisSetTimeout(c->context, patience) != REDIS_OK) {
        snprintf(ret_why, STORE_CHECK_WHY_CAP, "%.90s: %.150s", c->printed,
                 c->context ? c->context->errstr : "out of memory");
        return -ENOTCONN;
    }
    int err = log_in(c, ret_why);
    if (err == 0)
        *ret = TAKE_PTR(c);
    return err;
}

int store_check_open(struct store_check **ret, const char *url, size_t i,
                     char ret_why[static STORE_CHECK_WHY_CAP]) {
    return open_at(ret, url, NULL, i, ret_why);
}

int store_check_open_master(struct store_check **ret, const struct store_check *of, size_t i,
                            char ret_why[static STORE_CHECK_WHY_CAP]) {
    return open_at(ret, of->text, &of->masters[i], 0, ret_why);
}

bool store_check_ask_info(struct store_check *c, char ret_why[static STORE_CHECK_WHY_CAP]) {
    static const char *const words[] = {"INFO"};
    freeReplyObject(c->info);
    c->info = ask(c, words, 1, ret_why);
    return is_fine(c->info);
}

void store_check_info(const struct store_check *c, const char *name, char *ret, size_t cap) {
    if (!c->info || !store_info(c->info, name, ret, cap))
        ret[0] = '\0';
}

bool store_check_time(struct store_check *c, int64_t *ret_ms) {
    static const char *const words[] = {"TIME"};
    char why[STORE_CHECK_WHY_CAP];
    _cleanup_(freeReplyObjectp) redisReply *reply = ask(c, words, 1, why);
    return reply && store_take_time(reply, ret_ms);
}

static void note_master(struct store_check *c, const struct store_address *master) {
    for (size_t i = 0; i < c->n_masters; i++)
        if (store_address_is(&c->masters[i], master))
            return;
    c->masters[c->n_masters++] = *master;
}

bool store_check_slots(struct store_check *c, unsigned *ret_n_slots, size_t *ret_n_masters,
                       char ret_why[static STORE_CHECK_WHY_CAP]) {
    static const char *const words[] = {"CLUSTER", "SLOTS"};
    _cleanup_(freep) struct store_range *ranges = NULL;
    _cleanup_(freeReplyObjectp) redisReply *reply = ask(c, words, 2, ret_why);
    size_t n = 0;
    if (!is_fine(reply))
        return false;
    *ret_n_slots = 0;
    *ret_n_masters = 0;
    if (store_take_slots(reply, &c->address, &ranges, &n))
        return true; /* nobody has any */
    free(c->masters);
    c->masters = must_alloc(n * sizeof(*c->masters));
    c->n_masters = 0;
    for (size_t i = 0; i < n; i++) {
        *ret_n_slots += ranges[i].last - ranges[i].first + 1;
        note_master(c, &ranges[i].master);
    }
    *ret_n_masters = c->n_masters;
    return true;
}

/* Token buckets in Redis, one for all instances that ask. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/store_link.h"

struct token_ask {
    store_token_fn *done;
    void *arg;
};

static bool take_answer(const redisReply *reply, struct store_token *ret) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4)
        return false;
    for (size_t i = 0; i < reply->elements; i++)
        if (reply->element[i]->type != REDIS_REPLY_INTEGER)
            return false;
    *ret = (struct store_token){.is_taken = reply->element[0]->integer == 1,
                                .n_left = reply->element[1]->integer,
                                .retry_after_ms = reply->element[2]->integer,
                                .full_after_ms = reply->element[3]->integer};
    return true;
}

static void on_answer(void *arg, int err, const redisReply *reply) {
    struct token_ask *ask = arg;
    struct store_token token = {0};
    if (!err && !take_answer(reply, &token))
        err = -EBADMSG;
    ask->done(ask->arg, err, err ? NULL : &token);
    free(ask);
}

void store_take_token(struct store *s, enum store_bucket bucket, const char *who, int64_t rate,
                      int64_t burst, store_token_fn *done, void *arg) {
    struct store_command args = {0};
    struct token_ask *ask = must_alloc(sizeof(*ask));
    char key[STORE_KEY_CAP], interval[32];
    ask->done = done;
    ask->arg = arg;
    store_key_bucket(bucket, who, key);
    snprintf(interval, sizeof(interval), "%.3f", 1e6 / (double)rate);
    store_puts(&args, "1");
    store_put_name(&args, key);
    store_puts(&args, interval);
    store_put_i64(&args, burst);
    store_ask_script(s, STORE_SCRIPT_TAKE_TOKEN, &args, on_answer, ask);
}

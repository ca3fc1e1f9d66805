/* The body of a message of replies: read mark by mark where that can be, it says what the tree says
 * of each, in the same order. */
#include "common/replies.h"
#include "fuzz_json.h"

#define MAX_REPLIES 64

struct taken {
    struct buf texts[MAX_REPLIES];
    size_t n;
};

static void take(void *arg, struct reply *reply) {
    struct taken *t = arg;
    must_hold(uuid_is(reply->id, strlen(reply->id)));
    must_hold(uuid_is(reply->session_id, strlen(reply->session_id)));
    must_hold(reply->fault.code || (reply->position.version >= 1 && reply->position.epoch >= 1));
    if (t->n < MAX_REPLIES)
        reply_print(reply, &t->texts[t->n]);
    t->n++;
}

/* As the tree has them; false: the body is no JSON. */
static bool take_slowly(const uint8_t *data, size_t size, struct taken *ret) {
    json_t *value = fuzz_value(data, size);
    const json_t *replies = json_object_get(value, "replies");
    for (size_t i = 0; i < json_array_size(replies); i++) {
        struct reply reply = {0};
        if (reply_parse(json_array_get(replies, i), &reply, NULL) == 0) {
            take(ret, &reply);
            reply_done(&reply);
        }
    }
    json_decref(value);
    return value != NULL;
}

static void compare(struct taken *a, struct taken *b) {
    must_hold(a->n == b->n);
    for (size_t i = 0; i < a->n && i < MAX_REPLIES; i++) {
        json_t *x = fuzz_reparsed(&a->texts[i]), *y = fuzz_reparsed(&b->texts[i]);
        must_hold(text_equal(x, y));
        json_decref(x);
        json_decref(y);
    }
}

static void done(struct taken *t) {
    for (size_t i = 0; i < MAX_REPLIES; i++)
        buf_done(&t->texts[i]);
    free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct log *log;
    struct taken *quickly = must_alloc(sizeof(*quickly)), *slowly = must_alloc(sizeof(*slowly));
    if (!log)
        log = log_new("fuzz", "1", LOG_LEVEL_ERROR, "json");
    replies_read((const char *)data, size, log, take, quickly);
    if (take_slowly(data, size, slowly))
        compare(quickly, slowly);
    done(quickly);
    done(slowly);
    return 0;
}

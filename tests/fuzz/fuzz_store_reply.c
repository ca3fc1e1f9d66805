/* A reply of Redis: read into a few blocks, and in pieces, it is what hiredis makes of it; and what
 * is taken of it as a session, a moment, a node or a delta window is such a thing. */
#include <errno.h>

#include "fuzz_redis.h"
#include "proto/event.h"

#define SESSION "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"

static void must_be_equal(const redisReply *a, const redisReply *b) {
    must_hold(a->type == b->type && a->elements == b->elements);
    must_hold(a->type != REDIS_REPLY_INTEGER || a->integer == b->integer);
    must_hold(!a->str == !b->str);
    if (a->str)
        must_hold(a->len == b->len && memcmp(a->str, b->str, (size_t)a->len + 1) == 0);
    for (size_t i = 0; i < a->elements; i++)
        must_be_equal(a->element[i], b->element[i]);
}

/* Half of it first. */
static redisReply *read_in_blocks(const char *data, size_t size, redisReader *reader) {
    void *reply = NULL;
    must_hold(redisReaderFeed(reader, data, size / 2) == REDIS_OK);
    if (redisReaderGetReply(reader, &reply) == REDIS_OK && !reply &&
        redisReaderFeed(reader, data + size / 2, size - size / 2) == REDIS_OK)
        (void)redisReaderGetReply(reader, &reply);
    return reply;
}

static void check_session(const redisReply *reply) {
    struct session s = {0};
    const redisReply *state = reply->elements > 1 ? reply->element[1] : NULL;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1)
        return;
    if (store_take_session(reply->element[0], state, SESSION, &s) == 0) {
        must_hold(s.position.version >= 1 && s.position.epoch >= 1 && s.user_id[0]);
        must_hold(s.deleted || s.name);
        must_hold(s.deleted || !state || s.data_text);
    }
    session_done(&s);
}

static void check_answers(const redisReply *reply) {
    int64_t ms;
    char run_id[41] = "", why[256] = "";
    must_hold(!store_take_time(reply, &ms) || ms >= 0);
    bool is_fit = store_node_is_fit(reply, false, run_id, why);
    must_hold(is_fit == !why[0] && strlen(run_id) <= 40);
    must_hold(!store_node_is_fit(reply, true, run_id, why) || !is_fit);
    must_hold(!store_is_noscript(reply) || !store_is_wrong_type(reply));
}

static void check_deltas(const redisReply *reply, size_t limit) {
    struct store_deltas d = {0};
    int err = store_take_deltas(reply, limit, SESSION, &d);
    must_hold(err == 0 || err == -EBADMSG || err == -ENOTCONN);
    must_hold(err == 0 || (!d.items && !d.n));
    must_hold(d.n <= limit && d.n <= reply->elements);
    for (size_t i = 0; i < d.n; i++) {
        must_hold(d.items[i].event != NULL);
        must_hold(!event_tells_rebuilt(d.items[i].event, d.items[i].event_len));
    }
    store_deltas_done(&d);
}

static void check_outbox(const redisReply *reply) {
    struct store_outbox o = {0};
    int err = store_take_outbox(reply, SESSION, &o);
    must_hold(err == 0 || (!o.items && !o.n));
    must_hold(err != 0 || o.n == reply->elements);
    size_t n_bytes = 0;
    for (size_t i = 0; i < o.n; i++)
        n_bytes += o.items[i].event_len ? (size_t)(o.items[i].event[0] != 0) : 0;
    must_hold(n_bytes <= o.n);
    store_outbox_done(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    void *plainly = NULL;
    if (!fuzz_is_modest(data, size))
        return 0;
    redisReader *reader = redisReaderCreate();
    redisReader *blocks = redisReaderCreateWithFunctions(&store_arena_functions);
    must_hold(redisReaderFeed(reader, (const char *)data, size) == REDIS_OK);
    (void)redisReaderGetReply(reader, &plainly);
    redisReply *reply = read_in_blocks((const char *)data, size, blocks);
    must_hold(!reply == !plainly && reader->err == blocks->err);
    if (reply) {
        must_be_equal(reply, plainly);
        check_answers(reply);
        check_session(reply);
        check_deltas(reply, 1000);
        check_deltas(reply, 1);
        check_outbox(reply);
        freeReplyObject(plainly);
        store_reply_free(reply);
    }
    redisReaderFree(reader);
    redisReaderFree(blocks);
    return 0;
}

/* What a cluster's node says of slots: whatever is taken is within bounds. */
#include <string.h>

#include "common/store_slots.h"
#include "fuzz_json.h"

static void check_address(const struct store_address *a) {
    must_hold(a->port >= 1 && a->port <= 65535);
    must_hold(memchr(a->host, '\0', sizeof(a->host)) != NULL);
}

static void check_slots(const redisReply *reply, const struct store_address *asked) {
    static struct store_map map;
    struct store_range *ranges;
    size_t n;
    if (store_take_slots(reply, asked, &ranges, &n) != 0)
        return;
    must_hold(n > 0);
    store_map_clear(&map);
    for (size_t i = 0; i < n; i++) {
        must_hold(ranges[i].first <= ranges[i].last && ranges[i].last < STORE_N_SLOTS);
        check_address(&ranges[i].master);
        if (i < 4)
            store_map_set(&map, ranges[i].first, ranges[i].last, (uint16_t)i);
    }
    must_hold(store_map_attention(&map, "instance:x") < STORE_N_ATTENTION);
    free(ranges);
}

/* hiredis makes room for as many elements as an array claims to have, before they come. */
static bool is_modest(const uint8_t *data, size_t size) {
    for (size_t i = 0, n_digits = 0; i < size; i++) {
        n_digits = data[i] >= '0' && data[i] <= '9' ? n_digits + 1 : 0;
        if (n_digits > 5)
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct store_address asked = {"10.0.0.1", 7000};
    struct store_redirect redirect;
    void *reply = NULL;
    must_hold(store_slot_of((const char *)data, size) < STORE_N_SLOTS);
    if (!is_modest(data, size))
        return 0;
    redisReader *reader = redisReaderCreate();
    if (redisReaderFeed(reader, (const char *)data, size) == REDIS_OK &&
        redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        check_slots(reply, &asked);
        if (store_take_redirect(reply, &asked, &redirect)) {
            must_hold(redirect.slot < STORE_N_SLOTS);
            check_address(&redirect.to);
        }
        freeReplyObject(reply);
    }
    redisReaderFree(reader);
    return 0;
}

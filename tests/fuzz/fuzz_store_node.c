/* Connecting to Redis, or to a cluster: login, INFO, who has which slot, scripts, and then a
 * session. The first byte chooses; then what each connection says in turn, 0xff between. A node
 * that is up has told who it is, never evicts, and is of the kind that the URL says. */
#include "fuzz_redis.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"

static const uint8_t *at, *end; /* of the input: what the next connection says */

redisContext *redisConnectNonBlock(const char *ip, int port) {
    must_hold(ip[0] && port >= 1 && port <= 65535);
    const uint8_t *stop = at < end ? memchr(at, 0xff, (size_t)(end - at)) : NULL;
    const uint8_t *from = at;
    stop = stop ? stop : end;
    at = stop < end ? stop + 1 : end;
    return fuzz_context((const char *)from, (size_t)(stop - from));
}

/* Every name has an answer at once, and no thread is needed for it. */
int lookup_begin(struct lookup **ret, struct lookups *all, const char *host) {
    must_hold(all && host[0]);
    *ret = (struct lookup *)must_alloc(1);
    return 0;
}

int lookup_take(struct lookup **lookup, struct lookup_answer *ret) {
    *ret = (struct lookup_answer){.addresses = {"192.0.2.1"}, .n = 1};
    free(TAKE_PTR(*lookup));
    return 0;
}

struct lookup *lookup_abandon(struct lookup *lookup) {
    must_hold(!lookup); /* it was taken */
    return NULL;
}

struct lookups *lookups_new(unsigned most) {
    must_hold(most > 0);
    return must_alloc(1);
}

struct lookups *lookups_free(struct lookups *all) {
    free(all);
    return NULL;
}

int lookups_fd(const struct lookups *all) {
    must_hold(all != NULL);
    return -1;
}

void lookups_clear(struct lookups *all) {
    (void)all;
    must_hold(false); /* no descriptor was readable */
}

static void check_nodes(const struct store_batch *b) {
    for (size_t i = 0; i < b->n_nodes; i++) {
        const struct store_node *node = b->nodes[i];
        if (node->state != STORE_NODE_UP)
            continue;
        must_hold(node->context && node->run_id[0] && strlen(node->run_id) <= 40);
    }
}

static void ask(struct store_batch *b) {
    struct store_load load = {.session_id = ID, .wants_state = true, .wants_deltas = true};
    int64_t now = 0;
    fuzz_drain_peers();
    if (store_batch_load(b, &load, 1, &now) == 0)
        must_hold(load.err || load.session.position.version >= 1);
    fuzz_drain_peers();
    (void)!store_batch_ping(b);
    store_load_done(&load);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const urls[] = {"redis://:p@h:1/2", "redis+cluster://u:p@h:1,i:2"};
    struct store_batch *b = NULL;
    char why[256];
    if (size < 1 || size > 60000 || !fuzz_is_modest(data + 1, size - 1))
        return 0;
    at = data + 1;
    end = data + size;
    must_hold(store_batch_new(&b, urls[data[0] % 2]) == 0);
    if (store_batch_connect(b, why) == 0) {
        must_hold(!why[0] && store_batch_is_connected(b));
        check_nodes(b);
        (void)store_batch_is_whole(b, why);
        ask(b);
        check_nodes(b);
    } else {
        must_hold(why[0]);
    }
    store_batch_free(b);
    fuzz_close_peers();
    return 0;
}

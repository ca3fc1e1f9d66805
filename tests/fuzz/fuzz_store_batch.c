/* What the engine is answered by Redis. The first byte chooses the question, the rest is all that
 * Redis says. Whatever it is, what comes of it is a result or an error, within bounds; and after a
 * lost connection nothing is taken for known. */
#include <errno.h>

#include "common/store_cool.h"
#include "common/store_presence.h"
#include "common/store_recover.h"
#include "fuzz_redis.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define OTHER "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0c"
#define USER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* One Redis, connected, that says these bytes. */
static struct store_batch *connected(const uint8_t *data, size_t size) {
    struct store_batch *b = NULL;
    must_hold(store_batch_new(&b, "redis://h:1") == 0);
    struct store_node *node = b->nodes[0];
    node->context = redisConnectFd(open("/dev/null", O_RDWR | O_CLOEXEC));
    must_hold(node->context != NULL);
    node->context->reader->fn = &store_arena_functions;
    must_hold(redisReaderFeed(node->context->reader, (const char *)data, size) == REDIS_OK);
    node->state = STORE_NODE_UP;
    return b;
}

static void check_loaded(const struct store_load *l) {
    must_hold(l->err == 0 || l->err == -ENOENT || l->err == -EBADMSG || l->err == -ENOTCONN);
    if (l->err)
        return;
    must_hold(l->session.position.version >= 1 && strcmp(l->session.id, l->session_id) == 0);
    must_hold(l->session.deleted || !l->wants_state || l->session.data_text);
    must_hold(strlen(l->token) < STORE_TOKEN_CAP);
    for (size_t i = 0; i < l->n_entries; i++)
        must_hold(l->entries[i].event && strlen(l->entries[i].key_hash) <= HASH_HEX_LEN);
    for (size_t i = 0; i < l->n_key_hashes; i++)
        must_hold(strlen(l->idems[i].fingerprint) <= HASH_HEX_LEN);
    for (size_t i = 0; i < l->n_joiners; i++)
        must_hold(l->joiners[i].record && (!l->joiners[i].has_joined || l->joiners[i].is_counted));
}

static void ask_load(struct store_batch *b) {
    static const char *const hashes[] = {HASH};
    struct store_joiner joiner = {.device_id = "phone", .user_id = USER};
    struct store_load loads[] = {{.session_id = ID,
                                  .wants_state = true,
                                  .wants_deltas = true,
                                  .key_hashes = hashes,
                                  .n_key_hashes = 1,
                                  .joiners = &joiner,
                                  .n_joiners = 1},
                                 {.session_id = OTHER}};
    int64_t now = 0;
    if (store_batch_load(b, loads, 2, &now) == 0) {
        must_hold(now > 0);
        check_loaded(&loads[0]);
        check_loaded(&loads[1]);
    }
    store_load_done(&loads[0]);
    store_load_done(&loads[1]);
}

static void check_presence(const struct store_presence *p) {
    must_hold(!p->err || p->err == -ENOENT || p->err == -ESTALE || p->err == -EIO ||
              p->err == -ENOTCONN || p->err == -EBADMSG);
    must_hold(p->next >= 0);
    for (size_t i = 0; !p->err && i < p->n_changes; i++) {
        const struct store_presence_change *c = &p->changes[i];
        must_hold(c->type == EVENT_DEVICE_JOINED || c->type == EVENT_DEVICE_LEFT);
        must_hold(uuid_is(c->user_id, strlen(c->user_id)) && c->moment > 0);
    }
}

static void ask_presence(struct store_batch *b) {
    struct store_presence all[] = {{.session_id = ID, .judges = true}, {.session_id = OTHER}};
    const struct store_presence_told told = {ID, "phone", 5};
    const struct store_presence_touch touch = {ID, "phone"};
    if (store_batch_presence(b, all, 2, 1770897600000, 1770897610000) == 0) {
        check_presence(&all[0]);
        check_presence(&all[1]);
    }
    (void)!store_batch_presence_told(b, &told, 1, 5);
    (void)!store_batch_presence_touch(b, &touch, 1, 5);
    store_presence_done(&all[0]);
    store_presence_done(&all[1]);
}

static void ask_due(struct store_batch *b) {
    struct store_due *due = NULL;
    size_t n = 0;
    if (store_batch_due(b, 1770897600000, 100, &due, &n) != 0)
        return;
    for (size_t i = 0; i < n; i++) {
        must_hold(!due[i].session_id[0] != !due[i].instance[0]);
        must_hold(!due[i].session_id[0] || uuid_is(due[i].session_id, UUID_LEN));
        must_hold(due[i].set >= 1 && due[i].set <= STORE_N_ATTENTION);
    }
    if (n > 0 && store_batch_claim_due(b, due, n, 1770897610000) == 0)
        must_hold(due[0].lease == 1770897610000);
    (void)!store_batch_rearm(b, due, n);
    free(due);
}

static void ask_orphans(struct store_batch *b) {
    struct store_instance instance = {.instance = "i:1"};
    const struct store_arm arm = {ID, 5};
    size_t n = 0;
    if (store_batch_instances(b, &instance, 1) == 0)
        must_hold(instance.left_ms >= 0);
    (void)!store_batch_arm_orphans(b, "i:1", 5, &n);
    (void)!store_batch_arm_missing(b, &arm, 1);
    (void)!store_batch_ping(b);
}

static struct session a_session(void) {
    struct session s = {.position = {3, 1}, .name = must_strdup("n"), .id = ID, .user_id = USER};
    s.data_text = must_strdup("{}");
    s.data_len = 2;
    strcpy(s.snapshots, "1,2");
    return s;
}

static void ask_recover(struct store_batch *b) {
    struct store_found found, again;
    struct session s = a_session();
    const struct store_remembered key = {5, HASH, "", {2, 1}, ""};
    bool done = false;
    struct store_recovery recovery = {.session = &s,
                                      .found = &found,
                                      .event = "{}",
                                      .event_len = 2,
                                      .snapshot_id = ID,
                                      .keys = &key,
                                      .n_keys = 1,
                                      .now = 6,
                                      .arm_at = 7};
    if (store_recover_look(b, ID, &found) == 0) {
        must_hold(found.snapshots[strspn(found.snapshots, "0123456789,")] == '\0');
        must_hold(strlen(found.run_id) <= 40 &&
                  (!found.has_position || found.position.version <= INT64_MAX));
        (void)!store_recover_write(b, &recovery, &done);
        recovery.event = NULL;
        (void)!store_recover_write(b, &recovery, &done);
        (void)!store_recover_adopt(b, ID, &found, &done);
        if (store_recover_look_at_loss(b, ID, &again) == 0)
            must_hold(store_found_equal(&found, &again) == store_found_equal(&again, &found));
    }
    session_done(&s);
}

static void ask_memories(struct store_batch *b) {
    struct store_memory memories[] = {{.session_id = ID}, {.user_id = USER}};
    if (store_batch_memories(b, memories, 2) == 0)
        must_hold(memories[0].err == memories[1].err && memories[0].since == memories[1].since);
    (void)!store_batch_correct_claim(b, USER, HASH, ID, HASH);
}

static void ask_cool(struct store_batch *b) {
    struct session s = a_session();
    struct store_cool cool = {.session = &s, .mark = ID};
    if (store_batch_cool_begin(b, &cool, 1) == 0)
        must_hold(cool.result <= STORE_COOL_CHANGED);
    (void)!store_batch_cool_end(b, &cool, 1);
    (void)!store_batch_bury(b, &cool, 1);
    session_done(&s);
}

static void ask_claims(struct store_batch *b) {
    struct store_claim claims[] = {{USER, HASH, HASH, ID, 0, "", false},
                                   {USER, HASH, "", OTHER, 0, "", false}};
    unsigned n = 0;
    char *text = NULL;
    size_t len = 0;
    if (store_batch_claim_creates(b, claims, 2) == 0)
        for (size_t i = 0; i < 2; i++)
            must_hold(claims[i].err || uuid_is(claims[i].session_id, UUID_LEN));
    if (store_batch_count_try(b, ID, OTHER, &n) == 0)
        must_hold(n >= 1);
    if (store_batch_snapshot(b, ID, 3, &text, &len) == 0)
        must_hold(strlen(text) <= len);
    free(text);
}

static void ask_save(struct store_batch *b) {
    struct session s = a_session(), next = a_session();
    const struct store_joiner joiner = {.device_id = "d", .user_id = USER, .record = (char[]){""}};
    next.position.version = 4;
    struct store_save saves[] = {{.session = &s,
                                  .expected = {2, 1},
                                  .command_id = ID,
                                  .event = "{}",
                                  .event_len = 2,
                                  .writes_state = true,
                                  .joiner = &joiner,
                                  .key_hash = HASH,
                                  .fingerprint = HASH},
                                 {.session = &next, .expected = {3, 1}, .event = "{}"}};
    const struct store_arm arm = {ID, 5};
    struct store_mark mark = {.session_id = ID, .first = 1, .published = {2, 1}};
    saves[1].event_len = 2;
    store_batch_wait_for_replicas(b, 1);
    if (store_batch_save(b, saves, 2, &arm, 1, &mark, 1) == 0)
        for (size_t i = 0; i < 2; i++) {
            must_hold(saves[i].result <= STORE_UNKNOWN);
            must_hold(strlen(saves[i].text) < sizeof(saves[i].text));
        }
    session_done(&s);
    session_done(&next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const questions[])(struct store_batch * b) = {
        ask_load,     ask_presence, ask_due,    ask_orphans, ask_recover,
        ask_memories, ask_cool,     ask_claims, ask_save};
    if (size < 1 || !fuzz_is_modest(data + 1, size - 1))
        return 0;
    struct store_batch *b = connected(data + 1, size - 1);
    questions[data[0] % N_ELEMENTS(questions)](b);
    must_hold(store_batch_is_connected(b) == (b->nodes[0]->context != NULL));
    store_batch_free(b);
    return 0;
}

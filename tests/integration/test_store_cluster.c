/* Both borders on a Redis Cluster of three masters with a replica each
 * (HANDOFF_TEST_REDIS_CLUSTER_URL): sessions of all slots, a slot that moves, and, last, a master
 * that is killed. */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/store_codes.h"
#include "common/store_presence.h"
#include "common/store_private.h"
#include "common/store_recover.h"
#include "common/store_slots.h"
#include "tests/integration/store_batch_fixture.h"
#include "tests/integration/store_run.h"

#define N 200
#define PATIENCE_MS 30000

static struct session sessions[N]; /* version 1 of all, at first */
static struct store_address first_node;

static const char *cluster_url(void) {
    const char *url = getenv("HANDOFF_TEST_REDIS_CLUSTER_URL");
    if (!url ||
        sscanf(url, "redis+cluster://%255[^:]:%d", first_node.host, &first_node.port) != 2) {
        fprintf(stderr, "HANDOFF_TEST_REDIS_CLUSTER_URL is not set: these tests need a cluster of "
                        "their own, such as redis+cluster://127.0.0.1:7001\n");
        exit(1);
    }
    return url;
}

static struct store_batch *connect_batch(void) {
    struct store_batch *b = NULL;
    char why[256];
    assert_int_equal(store_batch_new(&b, cluster_url()), 0);
    if (store_batch_connect(b, why))
        fail_msg("no cluster: %s", why);
    return b;
}

/* ---- behind the store's back ---- */

static redisContext *connect_to(const struct store_address *address) {
    redisContext *c = redisConnect(address->host, address->port);
    assert_non_null(c);
    assert_int_equal(c->err, 0);
    return c;
}

static void ask_owner_at(const struct store_address *asked, unsigned slot,
                         struct store_address *ret) {
    struct store_range *ranges;
    size_t n;
    redisContext *c = connect_to(asked);
    redisReply *reply = redisCommand(c, "CLUSTER SLOTS");
    assert_int_equal(store_take_slots(reply, asked, &ranges, &n), 0);
    ret->port = 0;
    for (size_t i = 0; i < n; i++)
        if (ranges[i].first <= slot && slot <= ranges[i].last)
            *ret = ranges[i].master;
    free(ranges);
    freeReplyObject(reply);
    redisFree(c);
}

static redisContext *owner_of(unsigned slot) {
    struct store_address owner;
    ask_owner_at(&first_node, slot, &owner);
    return connect_to(&owner);
}

static unsigned slot_of(const char *session_id) {
    char key[STORE_KEY_CAP];
    store_key(STORE_META, session_id, key);
    return store_slot_of(key, strlen(key));
}

/* As one that is saved on the node that has it. */
static void belong(const struct store_batch *b, struct session *s) {
    snprintf(s->run_id, sizeof(s->run_id), "%s", store_batch_run_id(b, s->id));
    assert_int_equal(strlen(s->run_id), 40);
}

static void session_in(const struct store_batch *b, unsigned slot, struct session *ret) {
    fixture_session(ret);
    while (slot_of(ret->id) != slot)
        uuid_v4(ret->id);
    belong(b, ret);
}

static bool is_slot_used(unsigned slot) {
    for (size_t i = 0; i < N; i++)
        if (slot_of(sessions[i].id) == slot)
            return true;
    return false;
}

/* A new one that shares its slot with none. */
static void create_alone(struct store_batch *b, struct session *ret) {
    fixture_session(ret);
    while (is_slot_used(slot_of(ret->id)))
        uuid_v4(ret->id);
    belong(b, ret);
    assert_int_equal(fixture_save_one(b, fixture_save(ret, 5)), STORE_SAVED);
}

static void adopt(struct store_batch *b, const char *session_id) {
    struct store_found found;
    bool is_done;
    assert_int_equal(store_recover_look(b, session_id, &found), 0);
    assert_int_equal(found.kind, STORE_FOUND_HASH);
    assert_string_not_equal(found.run_id, store_batch_run_id(b, session_id));
    assert_int_equal(store_recover_adopt(b, session_id, &found, &is_done), 0);
    assert_true(is_done);
}

/* ---- all slots ---- */

static int load_all(struct store_batch *b, struct store_load *loads) {
    int64_t now;
    for (size_t i = 0; i < N; i++) {
        loads[i] = (struct store_load){.wants_state = true};
        fixture_set_id(loads[i].session_id, sessions[i].id);
    }
    return store_batch_load(b, loads, N, &now);
}

static void test_sessions_of_all_nodes_are_saved_and_loaded(void **state) {
    (void)state;
    struct store_batch *b = connect_batch();
    static struct store_save saves[N];
    static struct store_load loads[N];
    static struct store_arm arms[N];
    static struct store_mark marks[N];
    for (size_t i = 0; i < N; i++) {
        fixture_session(&sessions[i]);
        belong(b, &sessions[i]);
        saves[i] = fixture_save(&sessions[i], 5);
        arms[i].at = 1000;
        fixture_set_id(arms[i].session_id, sessions[i].id);
        marks[i] = (struct store_mark){.first = 1, .published = {1, 1}};
        fixture_set_id(marks[i].session_id, sessions[i].id);
    }
    assert_int_equal(store_batch_save(b, saves, N, arms, N, NULL, 0), 0);
    assert_int_equal(store_batch_save(b, NULL, 0, NULL, 0, marks, N), 0);
    assert_int_equal(load_all(b, loads), 0);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(saves[i].result, STORE_SAVED);
        assert_false(saves[i].is_unreplicated);
        assert_true(marks[i].settled);
        assert_int_equal(loads[i].err, 0);
        assert_int_equal(loads[i].session.published, 1);
        assert_string_equal(loads[i].session.checksum, sessions[i].checksum);
        store_load_done(&loads[i]);
    }
    store_batch_free(b);
}

/* What is armed with a save is on the save's node. */
static void test_what_is_armed_is_with_its_session(void **state) {
    (void)state;
    struct store_batch *b = connect_batch();
    struct store_due *due = NULL;
    size_t n = 0;
    assert_int_equal(store_batch_due(b, 1000, 1000, &due, &n), 0);
    assert_int_equal(n, N);
    for (size_t i = 0; i < n; i++) {
        char key[STORE_KEY_CAP];
        struct store_address one, other;
        store_key_attention_slot(due[i].set - 1, key);
        ask_owner_at(&first_node, store_slot_of(key, strlen(key)), &one);
        ask_owner_at(&first_node, slot_of(due[i].session_id), &other);
        assert_true(store_address_is(&one, &other));
    }
    assert_int_equal(store_batch_claim_due(b, due, n, 5000), 0);
    for (size_t i = 0; i < n; i++) {
        assert_true(due[i].is_claimed);
        due[i].next = 0;
    }
    assert_int_equal(store_batch_rearm(b, due, n), 0);
    free(due);
    assert_int_equal(store_batch_due(b, INT64_MAX / 2000, 1000, &due, &n), 0);
    assert_int_equal(n, 0);
    free(due);
    store_batch_free(b);
}

static void test_other_keys_go_to_their_own_nodes(void **state) {
    (void)state;
    struct store_batch *b = connect_batch();
    struct store_claim claims[N];
    static char users[N][UUID_LEN + 1];
    struct store_instance instances[] = {{.instance = "one"}, {.instance = "two"}};
    unsigned n;
    for (size_t i = 0; i < N; i++) {
        uuid_v4(users[i]);
        claims[i] = (struct store_claim){.user_id = users[i],
                                         .key_hash = FIXTURE_HASH,
                                         .fingerprint = FIXTURE_PRINT,
                                         .wanted_id = sessions[i].id};
    }
    assert_int_equal(store_batch_claim_creates(b, claims, N), 0);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(claims[i].err, 0);
        assert_string_equal(claims[i].session_id, sessions[i].id);
        assert_int_equal(store_batch_count_try(b, sessions[i].id, FIXTURE_COMMAND, &n), 0);
        assert_int_equal(n, 1);
    }
    assert_int_equal(store_batch_instances(b, instances, 2), 0);
    assert_int_equal(instances[0].left_ms + instances[1].left_ms, 0);
    store_batch_free(b);
}

static struct store_memory memory_of(struct store_batch *b, const char *user_id) {
    struct store_memory m = {.user_id = user_id};
    assert_int_equal(store_batch_memories(b, &m, 1), 0);
    assert_int_equal(m.err, 0);
    return m;
}

/* Asked for with the claims of its users, and on their node. */
static void test_each_node_has_its_own_memory(void **state) {
    (void)state;
    struct store_batch *b = connect_batch();
    static struct store_memory memories[N];
    unsigned numbers[3] = {0}, n = 0;
    for (size_t i = 0; i < N; i++)
        memories[i].user_id = sessions[i].id;
    assert_int_equal(store_batch_memories(b, memories, N), 0);
    for (size_t i = 0; i < N; i++) {
        struct store_address one, other;
        char claim[STORE_KEY_CAP], key[STORE_KEY_CAP];
        bool is_new = true;
        store_key_create_claim(sessions[i].id, FIXTURE_HASH, claim);
        store_key_memory(memories[i].number, key);
        ask_owner_at(&first_node, store_slot_of(claim, strlen(claim)), &one);
        ask_owner_at(&first_node, store_slot_of(key, strlen(key)), &other);
        assert_true(store_address_is(&one, &other));
        assert_int_equal(memories[i].err, 0);
        assert_true(memories[i].is_young);
        for (unsigned k = 0; k < n; k++)
            is_new &= numbers[k] != memories[i].number;
        assert_true(!is_new || n < 3);
        if (is_new)
            numbers[n++] = memories[i].number;
    }
    assert_int_equal(n, 3);
    assert_int_equal(memory_of(b, sessions[0].id).since, memories[0].since);
    store_batch_free(b);
}

static void test_scripts_lost_by_one_node_are_hidden(void **state) {
    (void)state;
    struct store_batch *b = connect_batch();
    redisContext *c = owner_of(slot_of(sessions[0].id));
    static struct store_save saves[N];
    for (size_t i = 0; i < N; i++) {
        sessions[i].position.version = 2;
        saves[i] = fixture_save(&sessions[i], 5);
    }
    fixture_ask(c, "SCRIPT FLUSH");
    assert_int_equal(store_batch_save(b, saves, N, NULL, 0, NULL, 0), 0);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(saves[i].result, STORE_SAVED);
    redisFree(c);
    store_batch_free(b);
}

static void test_a_save_waits_for_its_replica(void **state) {
    (void)state;
    struct store_batch *b = connect_batch();
    sessions[0].position.version = 3;
    struct store_save save = fixture_save(&sessions[0], 5);
    store_batch_wait_for_replicas(b, 1);
    assert_int_equal(store_batch_save(b, &save, 1, NULL, 0, NULL, 0), 0);
    assert_int_equal(save.result, STORE_SAVED);
    assert_false(save.is_unreplicated);
    store_batch_wait_for_replicas(b, 2); /* it has but one */
    for (uint64_t version = 4; version < 6; version++) {
        sessions[0].position.version = version;
        save = fixture_save(&sessions[0], 5);
        assert_int_equal(store_batch_save(b, &save, 1, NULL, 0, NULL, 0), 0);
        assert_int_equal(save.result, STORE_SAVED);
        assert_true(save.is_unreplicated);
    }
    store_batch_wait_for_replicas(b, 1);
    sessions[0].position.version = 6;
    save = fixture_save(&sessions[0], 5);
    assert_int_equal(store_batch_save(b, &save, 1, NULL, 0, NULL, 0), 0);
    assert_false(save.is_unreplicated);
    store_batch_free(b);
}

static void test_one_redis_is_told_from_a_cluster(void **state) {
    (void)state;
    char url[512], why[256];
    struct store_batch *b = NULL;
    snprintf(url, sizeof(url), "redis://%s:%d", first_node.host, first_node.port);
    assert_int_equal(store_batch_new(&b, url), 0);
    assert_true(store_batch_connect(b, why) < 0);
    assert_non_null(strstr(why, "redis+cluster://"));
    b = store_batch_free(b);
    snprintf(url, sizeof(url), "redis+cluster://127.0.0.1:1,%s:%d", first_node.host,
             first_node.port); /* one seed is enough */
    assert_int_equal(store_batch_new(&b, url), 0);
    assert_int_equal(store_batch_connect(b, why), 0);
    assert_true(store_batch_is_whole(b, why));
    store_batch_free(b);
}

/* ---- a slot that moves ---- */

static void node_id(redisContext *c, char ret[static 64]) {
    snprintf(ret, 64, "%s", fixture_ask(c, "CLUSTER MYID"));
}

struct move {
    unsigned slot;
    redisContext *from, *to;
    struct store_address to_address;
    char from_id[64], to_id[64];
};

static void begin_move(struct move *m, unsigned slot) {
    m->slot = slot;
    m->from = owner_of(slot);
    ask_owner_at(&first_node, (slot + STORE_N_SLOTS / 2) % STORE_N_SLOTS, &m->to_address);
    m->to = connect_to(&m->to_address);
    node_id(m->from, m->from_id);
    node_id(m->to, m->to_id);
    assert_string_equal(fixture_ask(m->to, "CLUSTER SETSLOT %u IMPORTING %s", slot, m->from_id),
                        "OK");
    assert_string_equal(fixture_ask(m->from, "CLUSTER SETSLOT %u MIGRATING %s", slot, m->to_id),
                        "OK");
}

static void move_keys(struct move *m) {
    for (;;) {
        redisReply *keys = redisCommand(m->from, "CLUSTER GETKEYSINSLOT %u 100", m->slot);
        size_t n = keys->elements;
        for (size_t i = 0; i < n; i++)
            assert_string_equal(fixture_ask(m->from, "MIGRATE %s %d %s 0 5000", m->to_address.host,
                                            m->to_address.port, keys->element[i]->str),
                                "OK");
        freeReplyObject(keys);
        if (!n)
            return;
    }
}

static void end_move(struct move *m) {
    assert_string_equal(fixture_ask(m->to, "CLUSTER SETSLOT %u NODE %s", m->slot, m->to_id), "OK");
    assert_string_equal(fixture_ask(m->from, "CLUSTER SETSLOT %u NODE %s", m->slot, m->to_id),
                        "OK");
    redisFree(m->from);
    redisFree(m->to);
}

static void test_a_moving_slot_is_followed(void **state) {
    (void)state;
    struct store_batch *b = connect_batch();
    struct session chain[3], late;
    struct store_save saves[3];
    struct move m;
    struct run run;
    unsigned n = 0;
    create_alone(b, &chain[0]);
    struct store_memory before = memory_of(b, chain[0].id);
    for (int i = 0; i < 3; i++) {
        if (i)
            session_copy(&chain[0], &chain[i]);
        chain[i].position.version = 2 + (uint64_t)i;
        saves[i] = fixture_save(&chain[i], 5);
    }
    start(&run, cluster_url());
    RUN_UNTIL(&run, run.n_up);

    begin_move(&m, slot_of(chain[0].id));
    session_in(b, m.slot, &late);
    /* one key alone, not there: ASK; several, some here and some there: not now */
    assert_int_equal(store_batch_count_try(b, late.id, FIXTURE_COMMAND, &n), 0);
    assert_int_equal(n, 1);
    struct store_save save = fixture_save(&late, 5);
    assert_int_equal(store_batch_save(b, &save, 1, NULL, 0, NULL, 0), 0);
    assert_int_equal(save.result, STORE_AWAY);
    struct store_load l = fixture_load(b, late.id, false, NULL, 0);
    assert_int_equal(l.err, -ENOTCONN);
    store_load_done(&l);
    assert_int_equal(fixture_version(b, sessions[1].id), 2);
    move_keys(&m);
    assert_int_equal(read_one(&run, chain[0].id), 0); /* ASK to the other's keys */
    assert_int_equal(run.session.position.version, 1);
    end_move(&m);

    assert_int_equal(store_batch_save(b, saves, 3, NULL, 0, NULL, 0), 0); /* MOVED, in order */
    for (int i = 0; i < 3; i++)
        assert_int_equal(saves[i].result, STORE_SAVED);
    assert_int_equal(fixture_version(b, chain[0].id), 4);
    assert_int_equal(fixture_save_one(b, fixture_save(&late, 5)), STORE_SAVED);
    assert_int_equal(read_one(&run, chain[0].id), -ESTALE); /* MOVED: it came from another node */
    adopt(b, chain[0].id);
    assert_int_equal(read_one(&run, chain[0].id), 0);
    /* what the other node was given may have been forgotten before */
    assert_true(memory_of(b, chain[0].id).since > before.since);
    assert_int_equal(run.session.position.version, 4);
    stop(&run);
    for (int i = 0; i < 3; i++)
        session_done(&chain[i]);
    session_done(&late);
    store_batch_free(b);
}

/* ---- the asynchronous border ---- */

static void on_arrived(void *arg, int err, enum store_admission admission) {
    struct run *run = arg;
    assert_int_equal(err, 0);
    assert_int_equal(admission, STORE_ADMITTED_FIRST);
    run->n_answers++;
}

static void on_token(void *arg, int err, const struct store_token *token) {
    struct run *run = arg;
    assert_int_equal(err, 0);
    assert_true(token->is_taken);
    run->n_answers++;
}

static void test_reads_and_arrivals_go_to_all_nodes(void **state) {
    (void)state;
    struct run run;
    start(&run, cluster_url());
    RUN_UNTIL(&run, run.n_up);
    assert_true(store_is_up(run.store));
    for (size_t i = 0; i < N; i++) {
        struct store_arrival a = {.session_id = sessions[i].id,
                                  .user_id = sessions[i].user_id,
                                  .device_id = "tv",
                                  .instance = "fanout",
                                  .name = "",
                                  .platform = ""};
        ask(&run, sessions[i].id);
        store_arrive(run.store, &a, on_arrived, &run);
        store_take_token(run.store, STORE_BUCKET_USER, sessions[i].user_id, 10, 10, on_token, &run);
        assert_int_equal(strlen(store_run_id(run.store, sessions[i].id)), 40);
    }
    RUN_UNTIL(&run, run.n_answers == 3 * N);
    assert_int_equal(run.n_errors[0], N);
    stop(&run);
}

/* ---- handoff codes: a code's key is not in its session's slot ---- */

static void on_code_issued(void *arg, int err, int64_t moment) {
    struct run *run = arg;
    assert_int_equal(err, 0);
    assert_true(moment > 0);
    run->n_answers++;
}

static void on_code_claimed(void *arg, int err, const struct store_code *code) {
    struct run *run = arg;
    run->n_answers++;
    run->n_errors[-err]++;
    assert_true(err == -ENOENT || code->role == SESSION_ROLE_VIEWER);
}

static void on_code_tried(void *arg, int err, const struct store_try *try) {
    assert_int_equal(err, 0);
    assert_true(try->moment > 0);
    ((struct run *)arg)->n_answers++;
}

static void test_codes_of_sessions_of_all_nodes(void **state) {
    (void)state;
    struct run run;
    char hash[HASH_HEX_LEN + 1], claimants[2][HASH_HEX_LEN + 1];
    hash_sha256_hex("a", 1, claimants[0]);
    hash_sha256_hex("b", 1, claimants[1]);
    start(&run, cluster_url());
    RUN_UNTIL(&run, run.n_up);
    for (size_t i = 0; i < N; i++) {
        struct store_code code = {.role = SESSION_ROLE_VIEWER, .device_id = "phone"};
        strcpy(code.session_id, sessions[i].id);
        strcpy(code.owner_id, sessions[i].user_id);
        hash_sha256_hex(sessions[i].id, UUID_LEN, hash);
        store_issue_code(run.store, hash, &code, 60000, on_code_issued, &run);
        store_try_code(run.store, sessions[i].id, on_code_tried, &run);
    }
    RUN_UNTIL(&run, run.n_answers == 2 * N);
    for (size_t i = 0; i < 2 * N; i++) {
        const char *user = sessions[i / 2].user_id;
        struct store_code_claim claim = {user, claimants[i % 2], user, "tablet"};
        hash_sha256_hex(sessions[i / 2].id, UUID_LEN, hash);
        store_claim_code(run.store, hash, &claim, on_code_claimed, &run);
        store_release_code(run.store, sessions[i / 2].id, hash);
    }
    RUN_UNTIL(&run, run.n_answers == 4 * N);
    assert_int_equal(run.n_errors[0], N);
    assert_int_equal(run.n_errors[ENOENT], N);
    stop(&run);
}

/* ---- a master that dies ---- */

/* Loads until none of the dead node's sessions is away any more; the others never were. */
static void load_until_whole(struct store_batch *b) {
    static struct store_load loads[N];
    int64_t until = timestamp_monotonic_ms() + PATIENCE_MS;
    bool was_away = false;
    for (size_t n_away = 1; n_away;) {
        n_away = 0;
        assert_true(timestamp_monotonic_ms() < until);
        assert_int_equal(load_all(b, loads), 0);
        for (size_t i = 0; i < N; i++) {
            n_away += loads[i].err == -ENOTCONN;
            if (loads[i].err != -ENOTCONN)
                assert_int_equal(loads[i].err, 0);
            store_load_done(&loads[i]);
        }
        assert_true(n_away < N);
        was_away |= n_away > 0;
    }
    assert_true(was_away);
}

static void test_a_killed_master_gives_way_to_its_replica(void **state) {
    (void)state;
    struct store_batch *b = connect_batch();
    struct store_address owner;
    struct run run;
    char before[41], why[256];
    const char *lost = sessions[0].id;
    start(&run, cluster_url());
    RUN_UNTIL(&run, run.n_up);
    uint64_t n_renewals = store_n_renewals(run.store), n_losses = store_batch_n_losses(b);
    ask_owner_at(&first_node, slot_of(lost), &owner);
    snprintf(before, sizeof(before), "%s", store_batch_run_id(b, lost));
    struct store_memory memory = memory_of(b, lost);
    redisContext *c = connect_to(&owner);
    pid_t pid = fixture_pid(c);
    redisFree(c);

    sessions[0].position.version = 7;
    struct store_save save = fixture_save(&sessions[0], 5);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(store_batch_save(b, &save, 1, NULL, 0, NULL, 0), 0);
    assert_true(save.result == STORE_UNKNOWN || save.result == STORE_AWAY);
    assert_false(store_batch_is_whole(b, why));
    assert_true(store_batch_n_losses(b) > n_losses);
    load_until_whole(b);
    assert_true(store_batch_is_whole(b, why));
    assert_string_not_equal(store_batch_run_id(b, lost), before);
    assert_true(memory_of(b, lost).since > memory.since);
    assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
    assert_int_equal(fixture_version(b, lost), 7);

    RUN_UNTIL(&run, run.n_up == 2);
    assert_true(run.n_down > 0);
    assert_non_null(strstr(run.why, ":"));
    assert_true(store_n_renewals(run.store) > n_renewals);
    assert_int_equal(read_one(&run, lost), -ESTALE); /* its new master may not have all of it */
    adopt(b, lost);
    assert_int_equal(read_one(&run, lost), 0);
    assert_int_equal(run.session.position.version, 7);
    assert_string_equal(store_run_id(run.store, lost), store_batch_run_id(b, lost));
    stop(&run);
    store_batch_free(b);
}

/* ---- a master that stood still ---- */

/* Bytes that have come to the port and were not read. */
static unsigned long n_unread(int port) {
    char line[512];
    unsigned long sum = 0, n;
    unsigned at;
    FILE *table = fopen("/proc/net/tcp", "r");
    assert_non_null(table);
    while (fgets(line, sizeof(line), table))
        if (sscanf(line, " %*u: %*x:%x %*x:%*x %*x %*x:%lx", &at, &n) == 2 && at == (unsigned)port)
            sum += n;
    fclose(table);
    return sum;
}

/* Wakes it when a question lies before it. */
static pid_t wake_when_asked(pid_t frozen, int port) {
    unsigned long before = n_unread(port);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child)
        return child;
    int64_t until = timestamp_monotonic_ms() + PATIENCE_MS;
    while (n_unread(port) <= before && timestamp_monotonic_ms() < until)
        usleep(1000);
    kill(frozen, SIGCONT);
    _exit(0);
}

/* One whose master was not killed. */
static struct session *any_but_beside(struct store_batch *b, const struct session *other) {
    size_t i = 0;
    while (strcmp(store_batch_run_id(b, sessions[i].id), store_batch_run_id(b, other->id)) == 0)
        assert_true(++i < N);
    return &sessions[i];
}

static void wait_for_another_master(struct store_batch *b, const char *session_id) {
    char before[41];
    int64_t until = timestamp_monotonic_ms() + PATIENCE_MS;
    snprintf(before, sizeof(before), "%s", store_batch_run_id(b, session_id));
    for (bool is_there = false; !is_there;) {
        assert_true(timestamp_monotonic_ms() < until);
        struct store_load l = fixture_load(b, session_id, false, NULL, 0);
        is_there = l.err == 0 && strcmp(store_batch_run_id(b, session_id), before) != 0;
        store_load_done(&l);
    }
}

/* It takes the write of an engine that stood still as well, before either has heard that the slot
 * is another's, where that version is another's, too: nobody may be told that it was saved. */
static void test_what_a_frozen_master_takes_is_not_saved(void **state) {
    (void)state;
    struct store_batch *b = connect_batch(), *late = connect_batch();
    struct session *s = any_but_beside(b, &sessions[0]);
    struct store_address owner;
    store_batch_wait_for_replicas(late, 1);
    s->position.version = fixture_version(late, s->id) + 1;
    struct store_save save = fixture_save(s, 5), late_save = fixture_save(s, 6);
    owner = late->nodes[late->map->owners[slot_of(s->id)]]->address;
    redisContext *c = connect_to(&owner);
    pid_t pid = fixture_pid(c);
    redisFree(c);

    assert_int_equal(kill(pid, SIGSTOP), 0);
    wait_for_another_master(b, s->id);
    adopt(b, s->id);
    assert_int_equal(fixture_save_one(b, save), STORE_SAVED);
    pid_t waker = wake_when_asked(pid, owner.port);
    assert_int_equal(store_batch_save(late, &late_save, 1, NULL, 0, NULL, 0), 0);
    assert_int_equal(waitpid(waker, NULL, 0), waker);
    assert_int_not_equal(late_save.result, STORE_SAVED);
    assert_int_equal(fixture_version(b, s->id), s->position.version);
    store_batch_free(late);
    store_batch_free(b);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    cluster_url();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_of_all_nodes_are_saved_and_loaded),
        cmocka_unit_test(test_what_is_armed_is_with_its_session),
        cmocka_unit_test(test_other_keys_go_to_their_own_nodes),
        cmocka_unit_test(test_each_node_has_its_own_memory),
        cmocka_unit_test(test_scripts_lost_by_one_node_are_hidden),
        cmocka_unit_test(test_a_save_waits_for_its_replica),
        cmocka_unit_test(test_one_redis_is_told_from_a_cluster),
        cmocka_unit_test(test_a_moving_slot_is_followed),
        cmocka_unit_test(test_reads_and_arrivals_go_to_all_nodes),
        cmocka_unit_test(test_codes_of_sessions_of_all_nodes),
        cmocka_unit_test(test_a_killed_master_gives_way_to_its_replica),
        cmocka_unit_test(test_what_a_frozen_master_takes_is_not_saved),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < N; i++)
        session_done(&sessions[i]);
    return failed;
}

/* Both borders on a Redis Cluster: sessions of all slots, on their nodes. */
#include "common/store_codes.h"
#include "common/store_presence.h"
#include "tests/integration/store_cluster_fixture.h"

static void test_sessions_of_all_nodes_are_saved_and_loaded(void **state) {
    (void)state;
    struct store_batch *b = connect_batch();
    static struct store_save saves[N];
    static struct store_load loads[N];
    static struct store_arm arms[N];
    static struct store_mark marks[N];
    make_all(b, saves);
    for (size_t i = 0; i < N; i++) {
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_of_all_nodes_are_saved_and_loaded),
        cmocka_unit_test(test_what_is_armed_is_with_its_session),
        cmocka_unit_test(test_other_keys_go_to_their_own_nodes),
        cmocka_unit_test(test_each_node_has_its_own_memory),
        cmocka_unit_test(test_scripts_lost_by_one_node_are_hidden),
        cmocka_unit_test(test_a_save_waits_for_its_replica),
        cmocka_unit_test(test_one_redis_is_told_from_a_cluster),
        cmocka_unit_test(test_reads_and_arrivals_go_to_all_nodes),
        cmocka_unit_test(test_codes_of_sessions_of_all_nodes),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

/* A slot of a Redis Cluster that gets another master: moved, and, last, since its master was
 * killed, or stood still. After test_store_cluster.c, which needs every replica. */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/store_cluster_fixture.h"

static void test_sessions_are_there_first(void **state) {
    (void)state;
    static struct store_save saves[N];
    struct store_batch *b = connect_batch();
    make_all(b, saves);
    assert_int_equal(store_batch_save(b, saves, N, NULL, 0, NULL, 0), 0);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(saves[i].result, STORE_SAVED);
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
    assert_int_equal(fixture_version(b, sessions[1].id), 1);
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

    sessions[0].position.version = 2;
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
    assert_int_equal(fixture_version(b, lost), 2);

    RUN_UNTIL(&run, run.n_up == 2);
    assert_true(run.n_down > 0);
    assert_non_null(strstr(run.why, ":"));
    assert_true(store_n_renewals(run.store) > n_renewals);
    assert_int_equal(read_one(&run, lost), -ESTALE); /* its new master may not have all of it */
    adopt(b, lost);
    assert_int_equal(read_one(&run, lost), 0);
    assert_int_equal(run.session.position.version, 2);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_are_there_first),
        cmocka_unit_test(test_a_moving_slot_is_followed),
        cmocka_unit_test(test_a_killed_master_gives_way_to_its_replica),
        cmocka_unit_test(test_what_a_frozen_master_takes_is_not_saved),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

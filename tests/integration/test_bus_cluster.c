/* common/bus.h with several addresses, and with quorum queues (HANDOFF_TEST_AMQP_URL): relays stand
 * for the nodes of a cluster. */
#include "tests/integration/bus_world.h"
#include "tests/integration/tcp_relay.h"

static const char *const queues[] = {ROUTE_COMMANDS_QUEUE, ROUTE_COMMANDS_DEAD_QUEUE,
                                     ROUTE_AUDIT_QUEUE, ROUTE_AUDIT_DEAD_QUEUE};

/* The broker's URL with these ports of this host. */
static char *url_of(struct world *w, size_t n, const int *ports) {
    struct buf url = BUF_NULL;
    buf_puts(&url, "amqp://");
    put_escaped(&url, w->info.user);
    buf_putc(&url, ':');
    put_escaped(&url, w->info.password);
    for (size_t i = 0; i < n; i++)
        buf_printf(&url, "%c127.0.0.1:%d", i ? ',' : '@', ports[i]);
    buf_putc(&url, '/');
    put_escaped(&url, w->info.vhost[0] ? w->info.vhost : "/");
    return buf_take(&url);
}

static bool is_used(const struct relay *r) {
    for (int i = 0; i < RELAY_PAIRS; i++)
        if (r->pairs[i])
            return true;
    return false;
}

static void test_a_lost_connection_goes_on_with_the_next_address(void **state) {
    struct world *w = *state;
    struct relay relays[2] = {0};
    int ports[2];
    for (int i = 0; i < 2; i++)
        ports[i] = relay_start(&relays[i], &w->loop, w->info.host, w->info.port);
    _cleanup_(freep) char *url = url_of(w, 2, ports);
    struct probe *p = probe_up(w, url, NULL);
    for (int turn = 1; turn <= 3; turn++) {
        int used = is_used(&relays[1]);
        char address[32];
        snprintf(address, sizeof(address), "127.0.0.1:%d: ", ports[used]);
        relays[!used].refuses = false;
        relays[used].refuses = true;
        relay_cut(&relays[used]);
        WAIT_FOR(w, p->n_up == turn + 1);
        assert_int_equal(p->n_down, turn);
        assert_non_null(strstr(p->why, address));
        assert_true(is_used(&relays[!used]));
    }
    assert_int_equal(p->n_failed, 0); /* the other one was tried first, each time */
    probe_stop(p);
    relay_stop(&relays[0]);
    relay_stop(&relays[1]);
    uv_run(&w->loop, UV_RUN_DEFAULT);
}

static void test_dead_addresses_are_passed_over_wherever_they_stand(void **state) {
    struct world *w = *state;
    int n_failed = 0;
    for (int where = 0; where < 3; where++) {
        int ports[3] = {1, 1, 1};
        ports[where] = w->info.port;
        _cleanup_(freep) char *url = url_of(w, 3, ports);
        for (int i = 0; i < 6; i++) {
            struct probe *p = probe_up(w, url, NULL);
            assert_in_range(p->n_failed, 0, 2);
            if (p->n_failed)
                assert_non_null(strstr(p->why, "127.0.0.1:1: connect: "));
            n_failed += p->n_failed;
            probe_stop(p);
        }
    }
    assert_in_range(n_failed, 1, 35); /* they begin at different ones */
}

static void test_without_any_that_answers_there_is_no_spin(void **state) {
    struct world *w = *state;
    static const int ports[] = {1, 2, 3};
    _cleanup_(freep) char *url = url_of(w, N_ELEMENTS(ports), ports);
    struct probe *p = probe_start(w, url, NULL);
    uint64_t from_ms = uv_now(&w->loop);
    WAIT_FOR(w, p->n_failed == 12); /* four rounds: at least 50 + 100 + 200 ms between them */
    assert_true(uv_now(&w->loop) - from_ms >= 350);
    probe_stop(p);
}

static void delete_queues(struct world *w) {
    for (size_t i = 0; i < N_ELEMENTS(queues); i++) {
        amqp_queue_delete(w->side, 1, amqp_cstring_bytes(queues[i]), false, false);
        assert_true(side_ok(w));
    }
}

static bool is_quorum(struct world *w, const char *queue) {
    amqp_table_entry_t entries[2] = {{.key = amqp_cstring_bytes("x-queue-type")},
                                     {.key = amqp_cstring_bytes("x-single-active-consumer")}};
    entries[0].value.kind = AMQP_FIELD_KIND_UTF8;
    entries[0].value.value.bytes = amqp_cstring_bytes("quorum");
    entries[1].value.kind = AMQP_FIELD_KIND_BOOLEAN;
    entries[1].value.value.boolean = true;
    bool single = strcmp(queue, ROUTE_AUDIT_QUEUE) == 0;
    amqp_queue_declare(w->side, 1, amqp_cstring_bytes(queue), false, true, false, false,
                       (amqp_table_t){single ? 2 : 1, entries});
    return side_ok(w);
}

static void publish_command(struct probe *p, const char *text, int64_t expiration_ms) {
    struct bus_publish m = {.exchange = ROUTE_COMMANDS_EXCHANGE,
                            .routing_key = ROUTE_COMMANDS_KEY,
                            .body = text,
                            .body_len = strlen(text),
                            .expiration_ms = expiration_ms};
    assert_int_equal(bus_publish(p->bus, &m, NULL), 0);
}

/* What is transient for a classic queue is as durable as all in a quorum queue, and still expires.
 */
static void test_commands_pass_a_quorum_queue_and_expire_in_it(void **state) {
    struct world *w = *state;
    delete_queues(w);
    struct probe *p = probe_start_typed(w, w->url, NULL, true);
    WAIT_FOR(w, p->n_up == 1);
    for (size_t i = 0; i < N_ELEMENTS(queues); i++)
        assert_true(is_quorum(w, queues[i]));
    publish_command(p, "late", 1);
    publish_command(p, "in time", 60000);
    WAIT_FOR(w, p->n_confirms == 2 && side_count(w, ROUTE_COMMANDS_QUEUE) == 1);
    struct probe *engine = probe_start_typed(w, w->url, ROUTE_COMMANDS_QUEUE, true);
    WAIT_FOR(w, engine->n_messages == 1);
    const struct kept *got = &engine->kept[0];
    assert_int_equal(got->m.body_len, strlen("in time"));
    assert_memory_equal(got->m.body, "in time", got->m.body_len);
    assert_false(got->m.redelivered);
    bus_ack(engine->bus, got->generation, got->m.tag, false);
    probe_stop(engine);
    probe_stop(p);
}

static void test_a_queue_of_another_type_is_told_and_tried_again(void **state) {
    struct world *w = *state;
    struct probe *quorum = probe_start_typed(w, w->url, NULL, true);
    WAIT_FOR(w, quorum->n_up + quorum->n_failed > 0);
    if (quorum->n_failed) { /* alone, this test finds classic queues */
        delete_queues(w);
        WAIT_FOR(w, quorum->n_up == 1);
    }
    probe_stop(quorum);
    struct probe *p = probe_start(w, w->url, NULL);
    WAIT_FOR(w, p->n_failed == 2);
    assert_non_null(strstr(p->why, "state_engine.commands: "));
    assert_non_null(strstr(p->why, "406 PRECONDITION_FAILED"));
    assert_non_null(strstr(p->why, "inequivalent arg 'x-queue-type'")); /* health.c's hint */
    delete_queues(w);
    WAIT_FOR(w, p->n_up == 1);
    probe_stop(p);
}

int main(void) {
#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_a_lost_connection_goes_on_with_the_next_address),
        WORLD_TEST(test_dead_addresses_are_passed_over_wherever_they_stand),
        WORLD_TEST(test_without_any_that_answers_there_is_no_spin),
        WORLD_TEST(test_commands_pass_a_quorum_queue_and_expire_in_it),
        WORLD_TEST(test_a_queue_of_another_type_is_told_and_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

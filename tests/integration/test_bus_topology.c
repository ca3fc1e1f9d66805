/* common/bus.h against a real RabbitMQ (HANDOFF_TEST_AMQP_URL): addresses, and what every publisher
 * declares. */
#include "tests/integration/bus_world.h"

#include "common/bus_connect.h"
#include "proto/event.h"

static amqp_table_t single_active(amqp_table_entry_t *entry) {
    *entry = (amqp_table_entry_t){.key = amqp_cstring_bytes("x-single-active-consumer")};
    entry->value.kind = AMQP_FIELD_KIND_BOOLEAN;
    entry->value.value.boolean = true;
    return (amqp_table_t){1, entry};
}

static bool redeclares(struct world *w, const char *queue, amqp_table_t arguments) {
    amqp_queue_declare(w->side, 1, amqp_cstring_bytes(queue), false, true, false, false, arguments);
    return side_ok(w);
}

static void test_bad_urls_are_refused(void **state) {
    struct world *w = *state;
    static const char *const bad[] = {"", "http://h", "amqps://h", "amqp://h,"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct bus *b = NULL;
        struct bus_options options = {.url = bad[i]};
        assert_int_equal(bus_new(&b, &w->loop, &options), -EINVAL);
        assert_null(b);
    }
}

static void test_topology_is_declared_before_up(void **state) {
    struct world *w = *state;
    struct probe *p = probe_up(w, w->url, NULL);
    amqp_table_entry_t entry;
    amqp_exchange_declare(w->side, 1, amqp_cstring_bytes("session_updates"),
                          amqp_cstring_bytes("topic"), false, true, false, false, amqp_empty_table);
    assert_true(side_ok(w));
    amqp_exchange_declare(w->side, 1, amqp_cstring_bytes("session_commands"),
                          amqp_cstring_bytes("direct"), false, true, false, false,
                          amqp_empty_table);
    assert_true(side_ok(w));
    assert_true(redeclares(w, "state_engine.commands", amqp_empty_table));
    assert_true(redeclares(w, "state_engine.dead", amqp_empty_table));
    assert_true(redeclares(w, "audit_writer.dead", amqp_empty_table));
    assert_true(redeclares(w, "audit_writer.events", single_active(&entry)));
    /* And it is really an argument of that one. */
    assert_false(redeclares(w, "audit_writer.events", amqp_empty_table));
    side_close(w);
    side_open(w);
    probe_stop(p);
}

static void test_each_durable_kind_reaches_the_audit_queue_once(void **state) {
    struct world *w = *state;
    struct probe *p = probe_up(w, w->url, NULL);
    side_purge(w, "audit_writer.events");
    side_purge(w, "state_engine.commands");
    int n_durable = 0;
    for (int type = 0; type < EVENT_N_TYPES; type++) {
        char key[ROUTE_KEY_CAP];
        route_event_key("0197a3b2-0000-7000-8000-000000000001", (enum event_type)type, key);
        n_durable += event_is_durable((enum event_type)type);
        assert_int_equal(publish_text(p, ROUTE_UPDATES_EXCHANGE, key, "{}"), 0);
    }
    assert_int_equal(publish_text(p, ROUTE_UPDATES_EXCHANGE, "session.x.broadcast", "{}"), 0);
    assert_int_equal(publish_text(p, ROUTE_COMMANDS_EXCHANGE, ROUTE_COMMANDS_KEY, "{}"), 0);
    WAIT_FOR(w, p->n_confirms == EVENT_N_TYPES + 2);
    assert_int_equal(side_count(w, "audit_writer.events"), n_durable);
    assert_int_equal(side_count(w, "state_engine.commands"), 1);
    side_purge(w, "audit_writer.events");
    side_purge(w, "state_engine.commands");
    probe_stop(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)
        WORLD_TEST(test_bad_urls_are_refused),
        WORLD_TEST(test_topology_is_declared_before_up),
        WORLD_TEST(test_each_durable_kind_reaches_the_audit_queue_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

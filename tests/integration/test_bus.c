/* common/bus.h against a real RabbitMQ (HANDOFF_TEST_AMQP_URL): messages, confirms, bindings. */
#include "tests/integration/bus_world.h"

#include "common/bus_connect.h"
#include "proto/event.h"

#define KEY "session.0197a3b2-0000-7000-8000-000000000001.update"

static void fill(char *body, size_t len) {
    for (size_t i = 0; i < len; i++)
        body[i] = (char)('a' + i * 7 % 26);
}

static struct probe *watcher_up(struct world *w) {
    struct probe *p = probe_up(w, w->url, "");
    assert_int_equal(bus_bind(p->bus, BUS_BIND, ROUTE_UPDATES_EXCHANGE, ROUTE_ALL_SESSIONS, 77), 0);
    WAIT_FOR(w, p->n_tickets == 1);
    assert_int_equal(p->tickets[0], 77);
    return p;
}

static void test_bodies_and_properties_arrive_as_sent(void **state) {
    struct world *w = *state;
    static const size_t sizes[] = {0, 1, 300, 131064, 131065, 2 * 131064, 300 * 1024};
    struct probe *watcher = watcher_up(w), *p = probe_up(w, w->url, NULL);
    char *body = must_alloc(300 * 1024);
    fill(body, 300 * 1024);
    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        char id[16];
        snprintf(id, sizeof(id), "id-%zu", i);
        struct bus_publish m = {
            .exchange = ROUTE_UPDATES_EXCHANGE,
            .routing_key = KEY,
            .body = body,
            .body_len = sizes[i],
            .persistent = true,
            .expiration_ms = 60000,
            .message_id = id,
            .correlation_id = "c-1",
            .reply_to = "amq.rabbitmq.reply-to.x",
            .type = "state_delta",
            .timestamp_ms = 1770000000123,
            .epoch = 3,
            .version = 4000000000000,
            .device_id = "device-1",
            .reason = "why",
        };
        uint64_t seq = 0;
        assert_int_equal(bus_publish(p->bus, &m, &seq), 0);
        assert_int_equal(seq, i + 1);
    }
    WAIT_FOR(w, watcher->n_messages == N_ELEMENTS(sizes) && p->confirmed_to == N_ELEMENTS(sizes));
    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        const struct bus_message *m = &watcher->kept[i].m;
        assert_int_equal(m->body_len, sizes[i]);
        assert_memory_equal(m->body, body, sizes[i]);
        assert_string_equal(m->routing_key, KEY);
        assert_int_equal(m->routing_key_len, strlen(KEY));
        assert_int_equal(m->message_id[3], '0' + (char)i);
        assert_string_equal(m->correlation_id, "c-1");
        assert_string_equal(m->reply_to, "amq.rabbitmq.reply-to.x");
        assert_string_equal(m->type, "state_delta");
        assert_int_equal(m->epoch, 3);
        assert_int_equal(m->version, 4000000000000);
        assert_string_equal(m->device_id, "device-1");
        assert_false(m->redelivered);
        assert_false(m->too_large);
    }
    free(body);
    side_purge(w, ROUTE_AUDIT_QUEUE);
    probe_stop(p);
    probe_stop(watcher);
}

static void test_absent_properties_are_empty(void **state) {
    struct world *w = *state;
    struct probe *watcher = watcher_up(w), *p = probe_up(w, w->url, NULL);
    struct bus_publish full = {.exchange = ROUTE_UPDATES_EXCHANGE,
                               .routing_key = KEY,
                               .body = "x",
                               .body_len = 1,
                               .message_id = "m",
                               .correlation_id = "c",
                               .type = "t",
                               .epoch = 1,
                               .version = 1,
                               .device_id = "d"};
    assert_int_equal(bus_publish(p->bus, &full, NULL), 0);
    assert_int_equal(publish_text(p, ROUTE_UPDATES_EXCHANGE, KEY, "y"), 0);
    WAIT_FOR(w, watcher->n_messages == 2);
    const struct bus_message *m = &watcher->kept[1].m;
    assert_string_equal(m->message_id, "");
    assert_string_equal(m->correlation_id, "");
    assert_string_equal(m->reply_to, "");
    assert_string_equal(m->type, "");
    assert_string_equal(m->device_id, "");
    assert_int_equal(m->epoch, 0);
    assert_int_equal(m->version, 0);
    side_purge(w, ROUTE_AUDIT_QUEUE);
    probe_stop(p);
    probe_stop(watcher);
}

static amqp_table_entry_t version_entry(uint8_t kind) {
    amqp_table_entry_t e = {.key = amqp_cstring_bytes("version")};
    e.value.kind = kind;
    switch (kind) {
    case AMQP_FIELD_KIND_I8:
    case AMQP_FIELD_KIND_U8:
        e.value.value.u8 = 42;
        break;
    case AMQP_FIELD_KIND_I16:
    case AMQP_FIELD_KIND_U16:
        e.value.value.u16 = 42;
        break;
    case AMQP_FIELD_KIND_I32:
    case AMQP_FIELD_KIND_U32:
        e.value.value.u32 = 42;
        break;
    default:
        e.value.value.u64 = 42;
        break;
    }
    return e;
}

static void side_publish_headers(struct world *w, amqp_table_entry_t *entry, amqp_bytes_t body) {
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_HEADERS_FLAG, .headers = {1, entry}};
    assert_int_equal(amqp_basic_publish(w->side, 1, amqp_cstring_bytes(ROUTE_UPDATES_EXCHANGE),
                                        amqp_cstring_bytes("session.x.other"), false, false,
                                        &properties, body),
                     AMQP_STATUS_OK);
}

static void test_integer_headers_of_any_width_are_read(void **state) {
    struct world *w = *state;
    static const uint8_t kinds[] = {'b', 'B', 's', 'u', 'I', 'i', 'l', 'T'};
    struct probe *watcher = watcher_up(w);
    for (size_t i = 0; i < sizeof(kinds); i++) {
        amqp_table_entry_t e = version_entry(kinds[i]);
        side_publish_headers(w, &e, amqp_cstring_bytes("x"));
    }
    amqp_table_entry_t negative = version_entry('l'), text = version_entry('l');
    negative.value.value.i64 = -1;
    text.value.kind = AMQP_FIELD_KIND_UTF8;
    text.value.value.bytes = amqp_cstring_bytes("42");
    side_publish_headers(w, &negative, amqp_cstring_bytes("x"));
    side_publish_headers(w, &text, amqp_cstring_bytes("x"));
    WAIT_FOR(w, watcher->n_messages == sizeof(kinds) + 2);
    for (size_t i = 0; i < sizeof(kinds); i++)
        assert_int_equal(watcher->kept[i].m.version, 42);
    assert_int_equal(watcher->kept[sizeof(kinds)].m.version, 0);
    assert_int_equal(watcher->kept[sizeof(kinds) + 1].m.version, 0);
    probe_stop(watcher);
}

static void test_bodies_over_the_bound_are_neither_sent_nor_kept(void **state) {
    struct world *w = *state;
    struct probe *watcher = watcher_up(w), *p = probe_up(w, w->url, NULL);
    size_t bound = 16 << 20;
    char *body = must_alloc(bound + 1);
    fill(body, bound + 1);
    struct bus_publish m = {.exchange = ROUTE_UPDATES_EXCHANGE,
                            .routing_key = "session.x.other",
                            .body = body,
                            .body_len = bound + 1};
    assert_int_equal(bus_publish(p->bus, &m, NULL), -EMSGSIZE);
    m.body_len = bound;
    assert_int_equal(bus_publish(p->bus, &m, NULL), 0);
    WAIT_FOR(w, watcher->n_messages == 1);
    assert_int_equal(watcher->kept[0].m.body_len, bound);
    assert_memory_equal(watcher->kept[0].m.body, body, bound);

    amqp_table_entry_t e = version_entry('l');
    side_publish_headers(w, &e, (amqp_bytes_t){bound + 1, body});
    side_publish_headers(w, &e, amqp_cstring_bytes("after"));
    WAIT_FOR(w, watcher->n_messages == 3);
    assert_true(watcher->kept[1].m.too_large);
    assert_int_equal(watcher->kept[1].m.body_len, 0);
    assert_int_equal(watcher->kept[1].m.version, 42);
    assert_false(watcher->kept[2].m.too_large);
    assert_memory_equal(watcher->kept[2].m.body, "after", 5);
    free(body);
    probe_stop(p);
    probe_stop(watcher);
}

static void test_what_amqp_cannot_say_is_refused_and_sends_nothing(void **state) {
    struct world *w = *state;
    struct probe *p = probe_up(w, w->url, NULL);
    char longest[257];
    memset(longest, 'k', 256);
    longest[256] = '\0';
    struct bus_publish m = {.exchange = "", .routing_key = longest, .body = "", .body_len = 0};
    assert_int_equal(bus_publish(p->bus, &m, NULL), -EINVAL);
    m.routing_key = "nowhere";
    m.message_id = longest;
    assert_int_equal(bus_publish(p->bus, &m, NULL), -EINVAL);
    longest[255] = '\0';
    uint64_t seq = 0;
    assert_int_equal(bus_publish(p->bus, &m, &seq), 0);
    assert_int_equal(seq, 1);
    WAIT_FOR(w, p->confirmed_to == 1);
    assert_int_equal(p->n_down, 0);
    probe_stop(p);
}

static void test_thousand_publishes_are_confirmed_each_once(void **state) {
    struct world *w = *state;
    struct probe *p = probe_up(w, w->url, NULL);
    char body[300];
    fill(body, sizeof(body));
    struct bus_publish m = {.exchange = ROUTE_UPDATES_EXCHANGE,
                            .routing_key = KEY,
                            .body = body,
                            .body_len = sizeof(body),
                            .persistent = true};
    bus_cork(p->bus);
    for (uint64_t i = 1; i <= 1000; i++) {
        uint64_t seq = 0;
        assert_int_equal(bus_publish(p->bus, &m, &seq), 0);
        assert_int_equal(seq, i);
    }
    bus_uncork(p->bus);
    WAIT_FOR(w, p->confirmed_to == 1000);
    assert_int_equal(p->n_confirms, 1000);
    assert_int_equal(p->n_nacked, 0);
    assert_true(p->n_turns >= 1);
    assert_int_equal(side_count(w, ROUTE_AUDIT_QUEUE), 1000);
    side_purge(w, ROUTE_AUDIT_QUEUE);
    probe_stop(p);
}

static void answer(struct probe *p, const char *callback) {
    if (strcmp(callback, "message") != 0)
        return;
    const struct kept *k = &p->kept[p->n_messages - 1];
    struct bus_publish reply = {.exchange = "",
                                .routing_key = k->m.reply_to,
                                .body = k->m.body,
                                .body_len = k->m.body_len,
                                .correlation_id = k->m.correlation_id};
    assert_int_equal(bus_publish(p->bus, &reply, NULL), 0);
    bus_ack(p->bus, k->generation, k->m.tag, false);
}

static void test_replies_find_their_asker(void **state) {
    struct world *w = *state;
    side_purge(w, ROUTE_COMMANDS_QUEUE);
    struct probe *engine = probe_up(w, w->url, ROUTE_COMMANDS_QUEUE);
    struct probe *api = probe_up(w, w->url, ROUTE_REPLY_TO);
    engine->hook = answer;
    for (int i = 0; i < 200; i++) {
        char id[16];
        snprintf(id, sizeof(id), "ask-%d", i);
        struct bus_publish m = {.exchange = ROUTE_COMMANDS_EXCHANGE,
                                .routing_key = ROUTE_COMMANDS_KEY,
                                .body = id,
                                .body_len = strlen(id),
                                .expiration_ms = 5000,
                                .correlation_id = id,
                                .reply_to = ROUTE_REPLY_TO};
        assert_int_equal(bus_publish(api->bus, &m, NULL), 0);
    }
    WAIT_FOR(w, api->n_messages == 200);
    for (int i = 0; i < 200; i++) {
        assert_string_equal(api->kept[i].m.correlation_id, engine->kept[i].m.correlation_id);
        assert_string_equal(api->kept[i].m.correlation_id, api->kept[i].m.body);
        assert_true(
            route_is_reply_to(engine->kept[i].m.reply_to, strlen(engine->kept[i].m.reply_to)));
    }
    probe_stop(api);
    probe_stop(engine); /* acks travel before the close */
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(side_count(w, ROUTE_COMMANDS_QUEUE), 0);
}

static void test_bindings_answer_with_their_tickets_in_order(void **state) {
    struct world *w = *state;
    struct probe *watcher = probe_up(w, w->url, ""), *p = probe_up(w, w->url, NULL);
    struct bus *b = watcher->bus;
    assert_int_equal(bus_bind(p->bus, BUS_BIND, ROUTE_UPDATES_EXCHANGE, "x", 1), -EINVAL);
    assert_int_equal(bus_bind(b, BUS_BIND, ROUTE_UPDATES_EXCHANGE, "session.a.*", 11), 0);
    assert_int_equal(bus_bind(b, BUS_BIND, ROUTE_UPDATES_EXCHANGE, "session.b.*", 12), 0);
    assert_int_equal(bus_bind(b, BUS_UNBIND, ROUTE_UPDATES_EXCHANGE, "session.a.*", 13), 0);
    assert_int_equal(bus_bind(b, BUS_BIND, ROUTE_UPDATES_EXCHANGE, "session.c.*", 14), 0);
    WAIT_FOR(w, watcher->n_tickets == 3);
    assert_int_equal(watcher->tickets[0], 11);
    assert_int_equal(watcher->tickets[1], 12);
    assert_int_equal(watcher->tickets[2], 14);
    assert_int_equal(publish_text(p, ROUTE_UPDATES_EXCHANGE, "session.a.x", "a"), 0);
    assert_int_equal(publish_text(p, ROUTE_UPDATES_EXCHANGE, "session.b.x", "b"), 0);
    assert_int_equal(publish_text(p, ROUTE_UPDATES_EXCHANGE, "session.c.x", "c"), 0);
    WAIT_FOR(w, watcher->n_messages == 2 && p->n_confirms == 3);
    assert_string_equal(watcher->kept[0].m.routing_key, "session.b.x");
    assert_string_equal(watcher->kept[1].m.routing_key, "session.c.x");
    for (uint64_t i = 0; i < 2000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "session.%d.*", (int)i);
        assert_int_equal(bus_bind(b, BUS_BIND, ROUTE_UPDATES_EXCHANGE, key, 100 + i), 0);
    }
    WAIT_FOR(w, watcher->n_tickets == 2003);
    probe_stop(p);
    probe_stop(watcher);
}

static void test_cancel_stops_deliveries_but_not_acks(void **state) {
    struct world *w = *state;
    side_purge(w, ROUTE_COMMANDS_QUEUE);
    struct probe *p = probe_up(w, w->url, NULL),
                 *engine = probe_up(w, w->url, ROUTE_COMMANDS_QUEUE);
    assert_int_equal(publish_text(p, "", ROUTE_COMMANDS_QUEUE, "before"), 0);
    WAIT_FOR(w, engine->n_messages == 1);
    bus_cancel(engine->bus);
    bus_cancel(engine->bus);
    WAIT_FOR(w, side_n_consumers(w, ROUTE_COMMANDS_QUEUE) == 0);
    assert_int_equal(publish_text(p, "", ROUTE_COMMANDS_QUEUE, "after"), 0);
    WAIT_FOR(w, p->n_confirms == 2);
    assert_int_equal(side_count(w, ROUTE_COMMANDS_QUEUE), 1);
    bus_ack(engine->bus, engine->kept[0].generation, engine->kept[0].m.tag, false);
    probe_stop(engine);
    probe_stop(p);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(side_count(w, ROUTE_COMMANDS_QUEUE), 1); /* the first did not come back */
    side_purge(w, ROUTE_COMMANDS_QUEUE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)
        WORLD_TEST(test_bodies_and_properties_arrive_as_sent),
        WORLD_TEST(test_absent_properties_are_empty),
        WORLD_TEST(test_integer_headers_of_any_width_are_read),
        WORLD_TEST(test_bodies_over_the_bound_are_neither_sent_nor_kept),
        WORLD_TEST(test_what_amqp_cannot_say_is_refused_and_sends_nothing),
        WORLD_TEST(test_thousand_publishes_are_confirmed_each_once),
        WORLD_TEST(test_replies_find_their_asker),
        WORLD_TEST(test_bindings_answer_with_their_tickets_in_order),
        WORLD_TEST(test_cancel_stops_deliveries_but_not_acks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

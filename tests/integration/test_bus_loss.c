/* common/bus.h when the broker goes away, falls silent or says no (HANDOFF_TEST_AMQP_URL): the bus
 * comes back by itself, never blocks its loop, and can be freed in every state. A TCP relay stands
 * between. */
#include "tests/integration/bus_world.h"
#include "tests/integration/tcp_relay.h"

static struct relay *relay_up(struct world *w) {
    struct relay *r = must_alloc(sizeof(*r));
    int port = relay_start(r, &w->loop, w->info.host, w->info.port);
    struct buf url = BUF_NULL;
    buf_puts(&url, "amqp://");
    put_escaped(&url, w->info.user);
    buf_putc(&url, ':');
    put_escaped(&url, w->info.password);
    buf_printf(&url, "@127.0.0.1:%d/", port);
    put_escaped(&url, w->info.vhost[0] ? w->info.vhost : "/");
    snprintf(r->url, sizeof(r->url), "%s", url.data);
    buf_done(&url);
    return r;
}

static void relay_down(struct world *w, struct relay *r) {
    relay_stop(r);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    free(r);
}

static void test_cut_connection_comes_back(void **state) {
    struct world *w = *state;
    struct relay *r = relay_up(w);
    struct probe *p = probe_up(w, r->url, NULL);
    uint64_t generation = bus_generation(p->bus), seq = 0;
    assert_int_equal(publish_text(p, "", "nowhere", "x"), 0);
    WAIT_FOR(w, p->n_confirms == 1);
    relay_cut(r);
    WAIT_FOR(w, p->n_down == 1);
    assert_false(bus_is_up(p->bus));
    assert_int_equal(publish_text(p, "", "nowhere", "x"), -ENOTCONN);
    WAIT_FOR(w, p->n_up == 2);
    assert_int_not_equal(bus_generation(p->bus), generation);
    struct bus_publish m = {.exchange = "", .routing_key = "nowhere", .body = "", .body_len = 0};
    assert_int_equal(bus_publish(p->bus, &m, &seq), 0);
    assert_int_equal(seq, 1); /* counts anew */
    WAIT_FOR(w, p->confirmed_to == 1);
    probe_stop(p);
    relay_down(w, r);
}

static void test_broker_that_is_away_at_the_start_is_found_later(void **state) {
    struct world *w = *state;
    struct relay *r = relay_up(w);
    r->refuses = true;
    struct probe *p = probe_start(w, r->url, NULL);
    WAIT_FOR(w, p->n_failed == 3);
    assert_int_equal(p->n_up, 0);
    r->refuses = false;
    WAIT_FOR(w, p->n_up == 1);
    assert_int_equal(p->n_down, 0);
    probe_stop(p);
    relay_down(w, r);
}

static void test_old_tags_are_not_acknowledged_on_a_new_connection(void **state) {
    struct world *w = *state;
    struct relay *r = relay_up(w);
    side_purge(w, ROUTE_COMMANDS_QUEUE);
    struct probe *engine = probe_up(w, r->url, ROUTE_COMMANDS_QUEUE);
    struct probe *p = probe_up(w, w->url, NULL);
    assert_int_equal(publish_text(p, "", ROUTE_COMMANDS_QUEUE, "work"), 0);
    WAIT_FOR(w, engine->n_messages == 1);
    assert_false(engine->kept[0].m.redelivered);
    relay_cut(r);
    WAIT_FOR(w, engine->n_up == 2 && engine->n_messages == 2);
    const struct kept *old = &engine->kept[0], *again = &engine->kept[1];
    assert_true(again->m.redelivered);
    assert_string_equal(again->m.body, "work");
    assert_int_equal(old->m.tag, again->m.tag);
    bus_ack(engine->bus, old->generation, old->m.tag, false);
    side_purge(w, ROUTE_AUDIT_QUEUE);
    assert_int_equal(publish_text(engine, "", ROUTE_AUDIT_QUEUE, "behind it"), 0);
    WAIT_FOR(w, side_count(w, ROUTE_AUDIT_QUEUE) == 1); /* what was sent before is there, too */
    side_purge(w, ROUTE_AUDIT_QUEUE);
    relay_cut(r);
    WAIT_FOR(w, engine->n_messages == 3); /* so that was no ack */
    bus_ack(engine->bus, engine->kept[2].generation, engine->kept[2].m.tag, true);
    probe_stop(engine);
    WAIT_FOR(w, side_n_consumers(w, ROUTE_COMMANDS_QUEUE) == 0); /* the broker saw the close */
    probe_stop(p);
    relay_down(w, r);
    assert_int_equal(side_count(w, ROUTE_COMMANDS_QUEUE), 0);
}

static void test_silent_broker_is_lost_and_found(void **state) {
    struct world *w = *state;
    struct relay *r = relay_up(w);
    struct probe *p = probe_up(w, r->url, NULL);
    relay_freeze(r, true);
    WAIT_FOR(w, p->n_down == 1);
    assert_non_null(strstr(p->why, "silent"));
    relay_freeze(r, false);
    WAIT_FOR(w, p->n_up == 2);
    probe_stop(p);
    relay_down(w, r);
}

static void test_idle_connection_stays(void **state) {
    struct world *w = *state;
    struct probe *p = probe_up(w, w->url, NULL);
    /* Longer than the broker waits for a client's heartbeats: twice 5 s. */
    uint64_t until_ms = uv_now(&w->loop) + 16000;
    WAIT_FOR(w, uv_now(&w->loop) >= until_ms);
    assert_int_equal(p->n_down, 0);
    assert_int_equal(publish_text(p, "", "nowhere", "x"), 0);
    WAIT_FOR(w, p->n_confirms == 1);
    probe_stop(p);
}

static void test_publishing_to_a_frozen_broker_is_refused_at_a_bound(void **state) {
    struct world *w = *state;
    struct relay *r = relay_up(w);
    struct probe *p = probe_up(w, r->url, NULL);
    relay_freeze(r, true);
    char *body = must_alloc(65536);
    struct bus_publish m = {
        .exchange = "", .routing_key = "nowhere", .body = body, .body_len = 65536};
    uint64_t n = 0, seq = 0;
    while (n < 4000 && bus_publish(p->bus, &m, &seq) == 0)
        n++;
    assert_in_range(n, 64, 3999); /* 4 MiB here, what the kernel takes, and not for ever */
    assert_int_equal(bus_publish(p->bus, &m, NULL), -EAGAIN);
    relay_freeze(r, false);
    WAIT_FOR(w, p->confirmed_to == n); /* nothing refused was sent, nothing sent was lost */
    assert_int_equal(p->n_down, 0);
    free(body);
    probe_stop(p);
    relay_down(w, r);
}

static void test_unknown_queue_is_tried_again_without_a_spin(void **state) {
    struct world *w = *state;
    struct probe *p = probe_start(w, w->url, "no.such.queue");
    uint64_t from_ms = uv_now(&w->loop);
    WAIT_FOR(w, p->n_failed == 5);
    print_message("             5 tries in %d ms\n", (int)(uv_now(&w->loop) - from_ms));
    assert_non_null(strstr(p->why, "no.such.queue"));
    assert_non_null(strstr(p->why, "404"));
    assert_int_equal(p->n_up, 0);
    probe_stop(p);
}

static void test_wrong_password_is_named(void **state) {
    struct world *w = *state;
    char url[300];
    snprintf(url, sizeof(url), "amqp://nobody:wrong@%s:%d", w->info.host, w->info.port);
    struct probe *p = probe_start(w, url, NULL);
    WAIT_FOR(w, p->n_failed == 1);
    assert_non_null(strstr(p->why, "ACCESS_REFUSED"));
    assert_null(strstr(p->why, "wrong"));
    probe_stop(p);
}

static void test_deleted_queue_is_declared_and_consumed_again(void **state) {
    struct world *w = *state;
    side_purge(w, ROUTE_COMMANDS_QUEUE);
    struct probe *engine = probe_up(w, w->url, ROUTE_COMMANDS_QUEUE);
    struct probe *p = probe_up(w, w->url, NULL);
    amqp_queue_delete(w->side, 1, amqp_cstring_bytes(ROUTE_COMMANDS_QUEUE), false, false);
    assert_true(side_ok(w));
    WAIT_FOR(w, engine->n_down == 1);
    assert_non_null(strstr(engine->why, "cancelled"));
    WAIT_FOR(w, engine->n_up == 2);
    assert_int_equal(publish_text(p, ROUTE_COMMANDS_EXCHANGE, ROUTE_COMMANDS_KEY, "x"), 0);
    WAIT_FOR(w, engine->n_messages == 1);
    bus_ack(engine->bus, engine->kept[0].generation, engine->kept[0].m.tag, false);
    probe_stop(engine);
    probe_stop(p);
}

static void test_channel_error_is_a_loss(void **state) {
    struct world *w = *state;
    struct probe *p = probe_up(w, w->url, NULL);
    assert_int_equal(publish_text(p, "no_such_exchange", "x", "x"), 0);
    WAIT_FOR(w, p->n_down == 1);
    assert_non_null(strstr(p->why, "404"));
    assert_non_null(strstr(p->why, "no_such_exchange"));
    WAIT_FOR(w, p->n_up == 2);
    probe_stop(p);
}

static void test_cancelled_consumer_stays_so_after_a_loss(void **state) {
    struct world *w = *state;
    struct relay *r = relay_up(w);
    side_purge(w, ROUTE_COMMANDS_QUEUE);
    struct probe *engine = probe_up(w, r->url, ROUTE_COMMANDS_QUEUE);
    bus_cancel(engine->bus);
    relay_cut(r);
    WAIT_FOR(w, engine->n_up == 2);
    WAIT_FOR(w, side_n_consumers(w, ROUTE_COMMANDS_QUEUE) == 0);
    probe_stop(engine);
    relay_down(w, r);
}

/* Frees its bus in the callback that p->why names. */
static void free_in_callback(struct probe *p, const char *callback) {
    if (p->bus && strcmp(callback, p->why) == 0)
        p->bus = bus_free(p->bus);
}

static void free_in(struct world *w, const char *callback, const char *queue, bool cut) {
    struct relay *r = relay_up(w);
    struct probe *sender = probe_up(w, w->url, NULL), *p = probe_up(w, r->url, queue);
    p->hook = free_in_callback;
    snprintf(p->why, sizeof(p->why), "%s", callback);
    if (queue) {
        assert_int_equal(bus_bind(p->bus, BUS_BIND, ROUTE_UPDATES_EXCHANGE, "free.#", 1), 0);
        if (strcmp(callback, "bound") != 0)
            WAIT_FOR(w, p->n_tickets == 1);
        for (int i = 0; i < 50; i++)
            assert_int_equal(publish_text(sender, ROUTE_UPDATES_EXCHANGE, "free.x", "x"), 0);
    } else {
        assert_int_equal(publish_text(p, "", "nowhere", "x"), 0);
    }
    if (cut)
        relay_cut(r);
    WAIT_FOR(w, p->bus == NULL);
    probe_stop(sender);
    probe_stop(p);
    relay_down(w, r);
}

static void test_freed_in_callbacks(void **state) {
    struct world *w = *state;
    free_in(w, "message", "", false);
    free_in(w, "turn", "", false);
    free_in(w, "bound", "", false);
    free_in(w, "confirmed", NULL, false);
    free_in(w, "turn", NULL, false);
}

static void free_when_down(struct probe *p, const char *callback) {
    if (p->bus && strcmp(callback, "down") == 0)
        p->bus = bus_free(p->bus);
}

static void free_when_up(struct probe *p, const char *callback) {
    if (p->bus && strcmp(callback, "up") == 0)
        p->bus = bus_free(p->bus);
}

static void free_when_failed(struct probe *p, const char *callback) {
    if (p->bus && strcmp(callback, "connect_failed") == 0)
        p->bus = bus_free(p->bus);
}

static void test_freed_when_the_connection_changes(void **state) {
    struct world *w = *state;
    struct relay *r = relay_up(w);
    struct probe *p = probe_up(w, r->url, "");
    p->hook = free_when_down;
    relay_cut(r);
    WAIT_FOR(w, p->bus == NULL);
    probe_stop(p);

    p = probe_start(w, r->url, ROUTE_AUDIT_QUEUE);
    p->hook = free_when_up;
    WAIT_FOR(w, p->bus == NULL);
    probe_stop(p);

    p = probe_start(w, w->url, "no.such.queue");
    p->hook = free_when_failed;
    WAIT_FOR(w, p->bus == NULL);
    probe_stop(p);
    relay_down(w, r);
}

static void test_freed_before_and_while_connecting(void **state) {
    struct world *w = *state;
    probe_stop(probe_start(w, w->url, NULL));
    for (int n_turns = 1; n_turns < 40; n_turns++) {
        struct probe *p = probe_start(w, w->url, "");
        for (int i = 0; i < n_turns; i++)
            uv_run(&w->loop, UV_RUN_NOWAIT);
        probe_stop(p);
    }
    struct relay *r = relay_up(w);
    relay_freeze(r, true); /* accepts, and says nothing */
    struct probe *p = probe_start(w, r->url, NULL);
    for (int i = 0; i < 20; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    probe_stop(p);
    relay_down(w, r);
}

static void test_freed_between_tries(void **state) {
    struct world *w = *state;
    struct relay *r = relay_up(w);
    r->refuses = true;
    struct probe *p = probe_start(w, r->url, NULL);
    WAIT_FOR(w, p->n_failed == 2);
    probe_stop(p);
    relay_down(w, r);
}

static void test_freed_with_a_frozen_broker_and_a_full_buffer(void **state) {
    struct world *w = *state;
    struct relay *r = relay_up(w);
    struct probe *p = probe_up(w, r->url, NULL);
    relay_freeze(r, true);
    static char body[1 << 20];
    struct bus_publish m = {
        .exchange = "", .routing_key = "nowhere", .body = body, .body_len = sizeof(body)};
    bus_cork(p->bus);
    while (bus_publish(p->bus, &m, NULL) == 0)
        ;
    probe_stop(p);
    relay_down(w, r);
}

static void test_what_was_sent_before_free_arrives(void **state) {
    struct world *w = *state;
    side_purge(w, ROUTE_COMMANDS_QUEUE);
    struct probe *p = probe_up(w, w->url, NULL);
    bus_cork(p->bus);
    for (int i = 0; i < 500; i++)
        assert_int_equal(publish_text(p, "", ROUTE_COMMANDS_QUEUE, "x"), 0);
    probe_stop(p);
    WAIT_FOR(w, side_count(w, ROUTE_COMMANDS_QUEUE) == 500);
    side_purge(w, ROUTE_COMMANDS_QUEUE);
}

int main(void) {
#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_cut_connection_comes_back),
        WORLD_TEST(test_broker_that_is_away_at_the_start_is_found_later),
        WORLD_TEST(test_old_tags_are_not_acknowledged_on_a_new_connection),
        WORLD_TEST(test_silent_broker_is_lost_and_found),
        WORLD_TEST(test_idle_connection_stays),
        WORLD_TEST(test_publishing_to_a_frozen_broker_is_refused_at_a_bound),
        WORLD_TEST(test_unknown_queue_is_tried_again_without_a_spin),
        WORLD_TEST(test_wrong_password_is_named),
        WORLD_TEST(test_deleted_queue_is_declared_and_consumed_again),
        WORLD_TEST(test_channel_error_is_a_loss),
        WORLD_TEST(test_cancelled_consumer_stays_so_after_a_loss),
        WORLD_TEST(test_freed_in_callbacks),
        WORLD_TEST(test_freed_when_the_connection_changes),
        WORLD_TEST(test_freed_before_and_while_connecting),
        WORLD_TEST(test_freed_between_tries),
        WORLD_TEST(test_freed_with_a_frozen_broker_and_a_full_buffer),
        WORLD_TEST(test_what_was_sent_before_free_arrives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Messages as they become deliveries and jobs, and the queue of jobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "services/state_engine/job.h"

#define COMMAND(n, more)                                                                           \
    "{\"id\":\"0197a1b2-0000-7000-8000-00000000000" n "\",\"kind\":\"heartbeat\","                 \
    "\"sessionId\":\"0197a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b\","                                      \
    "\"userId\":\"11111111-1111-4111-8111-111111111111\",\"deviceId\":\"phone\","                  \
    "\"scope\":[\"read\",\"write\"],\"deadline\":1770897600000" more "}"
#define REPLY_TO "amq.rabbitmq.reply-to.g1h2AA5yZXBseQ"

static struct bus_message message(const char *body) {
    struct bus_message m = {.tag = 7, .body = body, .body_len = strlen(body)};
    strcpy(m.reply_to, REPLY_TO);
    strcpy(m.correlation_id, "call-1");
    return m;
}

static int read_message(const struct bus_message *m, struct delivery **ret, struct queue *jobs) {
    struct fault f = {0};
    int r = delivery_read(m, 3, ret, jobs, &f);
    if (r != 0) {
        assert_int_equal(f.code, r);
        assert_true(f.detail[0] != '\0');
    }
    return r;
}

static void drop_jobs(struct queue *q) {
    for (struct job *j; (j = queue_pop(q));)
        job_free(j);
}

/* ---- the queue ---- */

static struct job *job_named(char name) {
    struct job *j = must_alloc(sizeof(*j));
    j->command.id[0] = name;
    return j;
}

static void fill(struct queue *q, const char *names) {
    for (; *names; names++)
        queue_push(q, job_named(*names));
}

static void assert_order(struct queue *q, const char *names) {
    assert_int_equal(q->n, strlen(names));
    for (; *names; names++) {
        _cleanup_(job_freep) struct job *j = queue_pop(q);
        assert_non_null(j);
        assert_int_equal(j->command.id[0], *names);
    }
    assert_int_equal(q->n, 0);
    assert_null(queue_pop(q));
}

static void test_jobs_come_out_as_they_went_in(void **state) {
    (void)state;
    struct queue q = {0};
    fill(&q, "abc");
    assert_order(&q, "abc");
    fill(&q, "d");
    assert_order(&q, "d");
}

static void test_what_goes_to_the_front_keeps_its_order(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"cd", "ab", "abcd"}, {"", "ab", "ab"}, {"cd", "", "cd"}, {"", "", ""}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct queue q = {0}, more = {0};
        fill(&q, cases[i][0]);
        fill(&more, cases[i][1]);
        queue_push_front(&q, &more);
        assert_int_equal(more.n, 0);
        assert_null(more.first);
        fill(&q, "z");
        char expected[8];
        snprintf(expected, sizeof(expected), "%sz", cases[i][2]);
        assert_order(&q, expected);
    }
}

/* ---- messages ---- */

static void test_a_message_becomes_a_delivery_with_its_jobs_in_order(void **state) {
    (void)state;
    struct bus_message m =
        message("{\"commands\":[" COMMAND("1", "") "," COMMAND("2", ",\"key\":\"k\"") "]}");
    struct queue jobs = {0};
    _cleanup_(freep) struct delivery *d = NULL;
    fill(&jobs, "x");
    assert_int_equal(read_message(&m, &d, &jobs), 0);
    assert_int_equal(d->n_open, 2);
    assert_int_equal(d->tag, 7);
    assert_int_equal(d->generation, 3);
    assert_string_equal(d->reply_to, REPLY_TO);
    assert_string_equal(d->correlation_id, "call-1");
    assert_null(d->body);
    assert_int_equal(jobs.n, 3);
    const struct job *first = jobs.first->next, *second = first->next;
    assert_string_equal(first->command.id, "0197a1b2-0000-7000-8000-000000000001");
    assert_ptr_equal(first->delivery, d);
    assert_string_equal(first->key_hash, "");
    assert_true(first->look_since == JOB_NO_LOOK);
    assert_false(job_may_be_saved(first));
    assert_int_equal(strlen(second->key_hash), HASH_HEX_LEN);
    assert_int_equal(strlen(second->fingerprint), HASH_HEX_LEN);
    drop_jobs(&jobs);
}

static void test_what_came_again_is_looked_for_and_kept_for_the_dead_letters(void **state) {
    (void)state;
    struct bus_message m = message("{\"commands\":[" COMMAND("1", "") "]}");
    m.redelivered = true;
    struct queue jobs = {0};
    struct delivery *d = NULL;
    assert_int_equal(read_message(&m, &d, &jobs), 0);
    assert_true(d->redelivered);
    assert_string_equal(d->body, m.body);
    assert_int_equal(d->body_len, m.body_len);
    assert_int_equal(jobs.first->look_since, 0);
    assert_true(job_may_be_saved(jobs.first));
    drop_jobs(&jobs);
    delivery_free(d);
}

static void test_a_save_of_unknown_outcome_may_have_been_made(void **state) {
    (void)state;
    struct delivery d = {0};
    struct job j = {.delivery = &d};
    assert_false(job_may_be_saved(&j));
    j.is_uncertain = true;
    assert_true(job_may_be_saved(&j));
}

static void test_malformed_messages_leave_nothing_behind(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "",
        "{",
        "null",
        "[]",
        "{}",
        "{\"commands\":{}}",
        "{\"commands\":[]}",
        "{\"commands\":[1]}",
        "{\"commands\":[" COMMAND("1", "") ",{}]}",
        "{\"commands\":[" COMMAND("1", ",\"key\":\"\"") "]}",
        "{\"commands\":[" COMMAND("x", "") "]}",
        "{\"commands\":[" COMMAND("1", "") "]} ]",
        "]}", /* the end of one, alone */
    };
    for (size_t i = 0; i < N_ELEMENTS(bodies); i++) {
        struct bus_message m = message(bodies[i]);
        struct queue jobs = {0};
        struct delivery *d = NULL;
        assert_true(read_message(&m, &d, &jobs) > 0);
        assert_null(d);
        assert_int_equal(jobs.n, 0);
    }
}

static int read_n_commands(size_t n) {
    _cleanup_(buf_done) struct buf body = BUF_NULL;
    for (size_t i = 0; i < n; i++) {
        buf_puts(&body, i ? "," : "{\"commands\":[");
        buf_puts(&body, COMMAND("1", ""));
    }
    buf_puts(&body, "]}");
    struct bus_message m = message(body.data);
    struct queue jobs = {0};
    struct delivery *d = NULL;
    int r = read_message(&m, &d, &jobs);
    assert_int_equal(jobs.n, r == 0 ? n : 0);
    drop_jobs(&jobs);
    delivery_free(d);
    return r;
}

static void test_a_message_has_at_most_64_commands(void **state) {
    (void)state;
    assert_int_equal(read_n_commands(COMMAND_MAX_PER_MESSAGE), 0);
    assert_int_equal(read_n_commands(COMMAND_MAX_PER_MESSAGE + 1), FAULT_INVALID_VALUE);
}

static void test_only_direct_reply_to_is_answered(void **state) {
    (void)state;
    static const char *const refused[] = {"audit_writer.events", "amq.rabbitmq.reply-to",
                                          "amq.rabbitmq.reply-to.", ("x" REPLY_TO)};
    struct queue jobs = {0};
    struct delivery *d = NULL;
    for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
        struct bus_message m = message("{\"commands\":[" COMMAND("1", "") "]}");
        strcpy(m.reply_to, refused[i]);
        assert_int_equal(read_message(&m, &d, &jobs), FAULT_INVALID_VALUE);
    }
    struct bus_message m = message("{\"commands\":[" COMMAND("1", "") "]}");
    m.reply_to[0] = '\0';
    assert_int_equal(read_message(&m, &d, &jobs), 0);
    drop_jobs(&jobs);
    delivery_free(d);
}

static void test_a_message_that_was_too_large_to_keep_says_so(void **state) {
    (void)state;
    struct bus_message m = message("");
    m.too_large = true;
    struct queue jobs = {0};
    struct delivery *d = NULL;
    assert_int_equal(read_message(&m, &d, &jobs), FAULT_BODY_TOO_LARGE);
}

#define PATCH(n)                                                                                   \
    "{\"id\":\"0197a1b2-0000-7000-8000-00000000000" n "\",\"kind\":\"patch\","                     \
    "\"sessionId\":\"0197a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b\","                                      \
    "\"userId\":\"11111111-1111-4111-8111-111111111111\",\"deviceId\":\"phone\","                  \
    "\"scope\":[\"write\"],\"deadline\":1770897600000,\"operations\":[]}"

static void test_patches_are_the_same_jobs_alone_and_among_others(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "{\"commands\":[" PATCH("1") "," PATCH("2") "]}",
        "{\"commands\":[" PATCH("1") ", " PATCH("2") "]}",
        "{\"commands\":[" PATCH("1") "," COMMAND("2", "") "]}",
        "{\"commands\":[" PATCH("1") "," PATCH("2") "],\"more\":1}",
    };
    for (size_t i = 0; i < N_ELEMENTS(bodies); i++) {
        struct bus_message m = message(bodies[i]);
        struct queue jobs = {0};
        _cleanup_(freep) struct delivery *d = NULL;
        assert_int_equal(read_message(&m, &d, &jobs), 0);
        assert_int_equal(d->n_open, 2);
        assert_int_equal(jobs.n, 2);
        assert_ptr_equal(jobs.first->delivery, d);
        assert_int_equal(jobs.first->command.kind, COMMAND_PATCH);
        assert_string_equal(jobs.first->command.id, "0197a1b2-0000-7000-8000-000000000001");
        assert_string_equal(jobs.first->next->command.id, "0197a1b2-0000-7000-8000-000000000002");
        drop_jobs(&jobs);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs_come_out_as_they_went_in),
        cmocka_unit_test(test_what_goes_to_the_front_keeps_its_order),
        cmocka_unit_test(test_a_message_becomes_a_delivery_with_its_jobs_in_order),
        cmocka_unit_test(test_what_came_again_is_looked_for_and_kept_for_the_dead_letters),
        cmocka_unit_test(test_a_save_of_unknown_outcome_may_have_been_made),
        cmocka_unit_test(test_malformed_messages_leave_nothing_behind),
        cmocka_unit_test(test_patches_are_the_same_jobs_alone_and_among_others),
        cmocka_unit_test(test_a_message_has_at_most_64_commands),
        cmocka_unit_test(test_only_direct_reply_to_is_answered),
        cmocka_unit_test(test_a_message_that_was_too_large_to_keep_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

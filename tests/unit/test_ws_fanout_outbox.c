/* The bounded queue of a slow connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "services/ws_fanout/outbox.h"

struct drops {
    size_t n;
    size_t n_bytes;
    void *last;
};

static void on_drop(void *arg, void *owner, size_t len) {
    struct drops *d = arg;
    d->n++;
    d->n_bytes += len;
    d->last = owner;
}

/* A frame of len bytes whose first is name; the queue's reference is the only one left. */
static enum outbox_result push(struct outbox *o, char name, size_t len, void *owner,
                               struct drops *d) {
    char text[256] = {name};
    struct frame *f = frame_new(text, len);
    enum outbox_result r = outbox_push(o, f, owner, on_drop, d);
    frame_unref(f);
    return r;
}

static char pop(struct outbox *o) {
    struct frame *f = outbox_pop(o);
    char name = (char)(f ? f->bytes[FRAME_HEADROOM] : '-');
    frame_unref(f);
    return name;
}

static void test_queue_keeps_order_while_it_grows_and_wraps(void **state) {
    struct outbox o;
    struct drops d = {0};
    (void)state;
    outbox_init(&o, 100000);
    for (int round = 0; round < 5; round++) {
        for (int c = 'a'; c <= 'z'; c++)
            assert_int_equal(push(&o, (char)c, 10, NULL, &d), OUTBOX_QUEUED);
        for (int c = 'a'; c <= 'm'; c++)
            assert_int_equal(pop(&o), c);
        for (int c = 'n'; c <= 'z'; c++)
            assert_int_equal(pop(&o), c);
    }
    assert_int_equal(pop(&o), '-');
    assert_int_equal(o.n_bytes, 0);
    assert_int_equal(d.n, 0);
    outbox_done(&o);
}

static void test_full_to_the_byte_is_queued_one_more_drops_all_owned(void **state) {
    struct outbox o;
    struct drops d = {0};
    int first, second;
    (void)state;
    outbox_init(&o, 100);
    assert_int_equal(push(&o, 'a', 40, &first, &d), OUTBOX_QUEUED);
    assert_int_equal(push(&o, 'b', 20, NULL, &d), OUTBOX_QUEUED);
    assert_int_equal(push(&o, 'c', 40, &second, &d), OUTBOX_QUEUED);
    assert_int_equal(d.n, 0);
    assert_int_equal(push(&o, 'd', 1, &first, &d), OUTBOX_DROPPED);
    assert_int_equal(d.n, 3); /* a, c, and d itself */
    assert_int_equal(d.n_bytes, 81);
    assert_ptr_equal(d.last, &first);
    assert_int_equal(o.n_bytes, 20);
    assert_int_equal(pop(&o), 'b');
    assert_int_equal(pop(&o), '-');
    outbox_done(&o);
}

static void test_an_answer_makes_deltas_give_way(void **state) {
    struct outbox o;
    struct drops d = {0};
    int owner;
    (void)state;
    outbox_init(&o, 100);
    assert_int_equal(push(&o, 'a', 90, &owner, &d), OUTBOX_QUEUED);
    assert_int_equal(push(&o, 'b', 50, NULL, &d), OUTBOX_DROPPED);
    assert_int_equal(d.n, 1);
    assert_int_equal(pop(&o), 'b');
    outbox_done(&o);
}

static void test_answers_past_the_bound_are_full(void **state) {
    struct outbox o;
    struct drops d = {0};
    (void)state;
    outbox_init(&o, 100);
    assert_int_equal(push(&o, 'a', 60, NULL, &d), OUTBOX_QUEUED);
    assert_int_equal(push(&o, 'b', 41, NULL, &d), OUTBOX_FULL);
    assert_int_equal(o.n_bytes, 60);
    assert_int_equal(d.n, 0);
    outbox_done(&o);
}

static void test_an_empty_queue_takes_one_message_of_any_size(void **state) {
    struct outbox o;
    struct drops d = {0};
    int owner;
    (void)state;
    outbox_init(&o, 100);
    assert_int_equal(push(&o, 'a', 200, &owner, &d), OUTBOX_QUEUED);
    assert_int_equal(push(&o, 'b', 1, &owner, &d), OUTBOX_DROPPED);
    assert_int_equal(d.n, 2);
    assert_int_equal(pop(&o), '-');
    outbox_done(&o);
}

static void test_forgetting_an_owner_keeps_the_others_in_order(void **state) {
    struct outbox o;
    struct drops d = {0};
    int first, second;
    (void)state;
    outbox_init(&o, 1000);
    for (int i = 0; i < 10; i++)
        push(&o, (char)('a' + i), 10, i % 2 ? &first : &second, &d);
    outbox_forget(&o, &second);
    assert_int_equal(d.n, 0);
    assert_int_equal(o.n_bytes, 50);
    for (int c = 'b'; c <= 'j'; c += 2)
        assert_int_equal(pop(&o), c);
    outbox_done(&o);
}

static void test_frames_are_shared_not_copied(void **state) {
    struct outbox a, b;
    (void)state;
    outbox_init(&a, 100);
    outbox_init(&b, 100);
    struct frame *f = frame_new("x", 1);
    assert_int_equal(outbox_push(&a, f, NULL, NULL, NULL), OUTBOX_QUEUED);
    assert_int_equal(outbox_push(&b, f, NULL, NULL, NULL), OUTBOX_QUEUED);
    assert_int_equal(f->n_refs, 3);
    outbox_done(&a);
    struct frame *same = outbox_pop(&b);
    assert_ptr_equal(same, f);
    frame_unref(same);
    assert_int_equal(f->n_refs, 1);
    frame_unref(f);
    outbox_done(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue_keeps_order_while_it_grows_and_wraps),
        cmocka_unit_test(test_full_to_the_byte_is_queued_one_more_drops_all_owned),
        cmocka_unit_test(test_an_answer_makes_deltas_give_way),
        cmocka_unit_test(test_answers_past_the_bound_are_full),
        cmocka_unit_test(test_an_empty_queue_takes_one_message_of_any_size),
        cmocka_unit_test(test_forgetting_an_owner_keeps_the_others_in_order),
        cmocka_unit_test(test_frames_are_shared_not_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

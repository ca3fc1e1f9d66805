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

static struct outbox_total all; /* of each test */

static void on_drop(void *arg, void *owner, struct frame *f) {
    struct drops *d = arg;
    d->n++;
    d->n_bytes += f->len;
    d->last = owner;
}

/* A frame of len bytes whose first is name; the queue's reference is the only one left. */
static enum outbox_result push(struct outbox *o, char name, size_t len, void *owner,
                               struct drops *d) {
    static char text[256 << 10];
    assert_true(len <= sizeof(text));
    text[0] = name;
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
    outbox_init(&o, 100000, &all);
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
    outbox_init(&o, 100, &all);
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
    outbox_init(&o, 100, &all);
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
    outbox_init(&o, 100, &all);
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
    outbox_init(&o, 100, &all);
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
    outbox_init(&o, 1000, &all);
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
    outbox_init(&a, 100, &all);
    outbox_init(&b, 100, &all);
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

/* ---- all queues together ---- */

#define SHARE OUTBOX_SHARE_BYTES

static void test_past_the_total_each_queue_keeps_its_share(void **state) {
    struct outbox a, b;
    struct drops d = {0};
    int owner;
    (void)state;
    all.max_bytes = 3 * SHARE;
    outbox_init(&a, 100 * SHARE, &all);
    outbox_init(&b, 100 * SHARE, &all);
    assert_int_equal(push(&a, 'a', 2 * SHARE, &owner, &d), OUTBOX_QUEUED);
    assert_int_equal(push(&b, 'b', SHARE, &owner, &d), OUTBOX_QUEUED); /* to the byte */
    assert_int_equal(all.n_bytes, 3 * SHARE);
    assert_int_equal(push(&b, 'c', 1, &owner, &d), OUTBOX_DROPPED);
    assert_int_equal(d.n, 2);
    assert_int_equal(push(&b, 'd', SHARE, &owner, &d), OUTBOX_QUEUED); /* below its share again */
    assert_int_equal(push(&a, 'e', 1, &owner, &d), OUTBOX_DROPPED);
    assert_int_equal(all.n_bytes, SHARE);
    assert_int_equal(push(&a, 'f', 2 * SHARE, &owner, &d), OUTBOX_QUEUED); /* there is room again */
    outbox_done(&a);
    outbox_done(&b);
    assert_int_equal(all.n_bytes, 0);
}

static void test_within_its_share_a_queue_grows_whatever_the_others_hold(void **state) {
    struct outbox full, o;
    struct drops d = {0};
    int owner;
    (void)state;
    all.max_bytes = SHARE;
    outbox_init(&full, 100 * SHARE, &all);
    outbox_init(&o, 100 * SHARE, &all);
    assert_int_equal(push(&full, 'x', 3 * SHARE, NULL, &d), OUTBOX_QUEUED);
    for (int i = 0; i < 64; i++)
        assert_int_equal(push(&o, 'a', SHARE / 64, i % 2 ? &owner : NULL, &d), OUTBOX_QUEUED);
    assert_int_equal(d.n, 0);
    assert_int_equal(o.n_bytes, SHARE);
    outbox_done(&full);
    outbox_done(&o);
}

static void test_past_the_total_answers_stay_up_to_the_share(void **state) {
    struct outbox full, o;
    struct drops d = {0};
    int owner;
    (void)state;
    all.max_bytes = SHARE;
    outbox_init(&full, 100 * SHARE, &all);
    outbox_init(&o, 100 * SHARE, &all);
    assert_int_equal(push(&full, 'x', SHARE, NULL, &d), OUTBOX_QUEUED);
    assert_int_equal(push(&o, 'a', SHARE / 2, &owner, &d), OUTBOX_QUEUED);
    assert_int_equal(push(&o, 'b', SHARE / 2, NULL, &d), OUTBOX_QUEUED);
    assert_int_equal(push(&o, 'c', SHARE / 2, NULL, &d), OUTBOX_DROPPED); /* a gives way */
    assert_int_equal(d.n, 1);
    assert_int_equal(push(&o, 'd', 1, NULL, &d), OUTBOX_FULL);
    assert_int_equal(o.n_bytes, SHARE);
    outbox_done(&full);
    outbox_done(&o);
}

/* A state is larger than the share: it comes again once the queue has drained; an answer does not.
 */
static void test_past_the_total_an_empty_queue_takes_only_an_answer_of_any_size(void **state) {
    struct outbox full, o;
    struct drops d = {0};
    int owner;
    (void)state;
    all.max_bytes = SHARE;
    outbox_init(&full, 100 * SHARE, &all);
    outbox_init(&o, 100 * SHARE, &all);
    assert_int_equal(push(&full, 'x', SHARE, NULL, &d), OUTBOX_QUEUED);
    assert_int_equal(push(&o, 'a', SHARE + 1, &owner, &d), OUTBOX_DROPPED);
    assert_int_equal(d.n, 1);
    assert_int_equal(push(&o, 'b', 2 * SHARE, NULL, &d), OUTBOX_QUEUED);
    outbox_done(&full);
    outbox_done(&o);
    assert_int_equal(all.n_bytes, 0);
}

static void test_a_thousand_queues_hold_the_total_or_a_share_each(void **state) {
    static struct outbox queues[1000];
    struct drops d = {0};
    int owner;
    (void)state;
    all.max_bytes = 16u << 20;
    for (size_t i = 0; i < N_ELEMENTS(queues); i++)
        outbox_init(&queues[i], 1u << 20, &all);
    for (int round = 0; round < 40; round++)
        for (size_t i = 0; i < N_ELEMENTS(queues); i++) {
            (void)!push(&queues[i], 'a', 10000, &owner, &d);
            assert_true(queues[i].n_bytes <= SHARE || all.n_bytes <= all.max_bytes);
            assert_true(all.n_bytes <= N_ELEMENTS(queues) * SHARE);
        }
    assert_true(d.n > 0);
    for (size_t i = 0; i < N_ELEMENTS(queues); i++)
        outbox_done(&queues[i]);
    assert_int_equal(all.n_bytes, 0);
}

static void test_a_frame_in_several_queues_counts_once(void **state) {
    struct outbox a, b;
    struct drops d = {0};
    int owner;
    (void)state;
    outbox_init(&a, 1000, &all);
    outbox_init(&b, 1000, &all);
    struct frame *f = frame_new("0123456789", 10);
    assert_int_equal(outbox_push(&a, f, &owner, on_drop, &d), OUTBOX_QUEUED);
    assert_int_equal(outbox_push(&b, f, &owner, on_drop, &d), OUTBOX_QUEUED);
    assert_int_equal(outbox_push(&b, f, NULL, on_drop, &d), OUTBOX_QUEUED);
    assert_int_equal(all.n_bytes, 10);
    outbox_forget(&a, &owner);
    frame_unref(outbox_pop(&b));
    assert_int_equal(all.n_bytes, 10);
    frame_unref(outbox_pop(&b));
    assert_int_equal(all.n_bytes, 0);
    frame_unref(f);
    outbox_done(&a);
    outbox_done(&b);
}

static int begin(void **state) {
    (void)state;
    all = (struct outbox_total){.max_bytes = SIZE_MAX};
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_queue_keeps_order_while_it_grows_and_wraps, begin),
        cmocka_unit_test_setup(test_full_to_the_byte_is_queued_one_more_drops_all_owned, begin),
        cmocka_unit_test_setup(test_an_answer_makes_deltas_give_way, begin),
        cmocka_unit_test_setup(test_answers_past_the_bound_are_full, begin),
        cmocka_unit_test_setup(test_an_empty_queue_takes_one_message_of_any_size, begin),
        cmocka_unit_test_setup(test_forgetting_an_owner_keeps_the_others_in_order, begin),
        cmocka_unit_test_setup(test_frames_are_shared_not_copied, begin),
        cmocka_unit_test_setup(test_past_the_total_each_queue_keeps_its_share, begin),
        cmocka_unit_test_setup(test_within_its_share_a_queue_grows_whatever_the_others_hold, begin),
        cmocka_unit_test_setup(test_past_the_total_answers_stay_up_to_the_share, begin),
        cmocka_unit_test_setup(test_past_the_total_an_empty_queue_takes_only_an_answer_of_any_size,
                               begin),
        cmocka_unit_test_setup(test_a_thousand_queues_hold_the_total_or_a_share_each, begin),
        cmocka_unit_test_setup(test_a_frame_in_several_queues_counts_once, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

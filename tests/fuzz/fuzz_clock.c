/* Clocks: a request that is taken is stored, read back as the same, and is itself such a request;
 * stored text that is taken prints as the same bytes. Whatever the rules make of either can be
 * stored again. */
#include "fuzz_json.h"
#include "proto/clock.h"
#include "services/state_engine/clock.h"

static void expect_print(const struct clock *c, const char *text, size_t len) {
    struct buf again = BUF_NULL;
    clock_print(c, &again);
    must_hold(again.len == len && memcmp(again.data, text, len) == 0);
    buf_done(&again);
}

static void check_again(const struct clock *c) {
    struct clock again;
    struct buf text = BUF_NULL;
    clock_print(c, &text);
    must_hold(clock_parse(text.data, text.len, &again) == 0);
    expect_print(&again, text.data, text.len);
    clock_done(&again);
    buf_done(&text);
}

/* As far from the numbers' ends as every real clock is. */
static bool is_early(const struct clock *c) {
    const uint64_t far = 1000000000000000;
    bool early = c->started_at < (int64_t)far / 10 && c->n_cycles < far;
    for (size_t i = 0; i < c->n_participants; i++)
        early =
            early && c->participants[i].n_cycles < far && c->participants[i].used_ms < (int64_t)far;
    return early;
}

static void check_rules(const struct clock *c) {
    struct clock played;
    struct clock_switched switched;
    struct clock_expired expired;
    int64_t now = c->started_at + 1000;
    clock_copy(c, &played);
    for (int i = 0; i < 8 && is_early(&played); i++) {
        int64_t at = clock_next_at(&played, now);
        now += at > now && at - now < 5000 ? at - now : 1500;
        if (i % 3 == 0)
            clock_start(&played, now);
        while (i % 4 != 3 && clock_expire(&played, now, &expired))
            check_again(&played);
        if (clock_switch(&played, NULL, NULL, now, &switched, NULL) == 0)
            must_hold(switched.elapsed_ms >= 0 && clock_runs(&played));
        check_again(&played);
        if (clock_adjust(&played, played.participants[0].id, 700 * (i - 4), now, NULL) == 0)
            check_again(&played);
    }
    clock_stop(&played, now);
    check_again(&played);
    clock_done(&played);
}

static void check_stored(const char *text, size_t len) {
    struct clock c;
    if (clock_parse(text, len, &c) != 0)
        return;
    must_hold(c.n_participants >= 1 && c.n_participants <= CLOCK_MAX_PARTICIPANTS);
    must_hold(c.active == CLOCK_NOBODY ? c.started_at == 0 : c.active < c.n_participants);
    expect_print(&c, text, len);
    if (is_early(&c))
        check_rules(&c);
    clock_done(&c);
}

static void check_request(const json_t *value) {
    struct clock c, again;
    struct fault f = {0};
    struct buf text = BUF_NULL;
    if (clock_take(value, &c, &f) != 0) {
        must_hold(strncmp(f.field, "clock", 5) == 0 && f.detail[0]);
        return;
    }
    check_again(&c);
    check_rules(&c);
    clock_print(&c, &text);
    json_t *shown = fuzz_reparsed(&text);
    must_hold(clock_take(shown, &again, NULL) == 0);
    expect_print(&again, text.data, text.len);
    json_decref(shown);
    clock_done(&again);
    clock_done(&c);
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_stored((const char *)data, size);
    json_t *value = fuzz_value(data, size);
    if (value)
        check_request(value);
    json_decref(value);
    return 0;
}

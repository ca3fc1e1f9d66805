/* Clocks: a request that is taken is stored, read back as the same, and is itself such a request;
 * stored text that is taken prints as the same bytes. */
#include "fuzz_json.h"
#include "proto/clock.h"

static void expect_print(const struct clock *c, const char *text, size_t len) {
    struct buf again = BUF_NULL;
    clock_print(c, &again);
    must_hold(again.len == len && memcmp(again.data, text, len) == 0);
    buf_done(&again);
}

static void check_stored(const char *text, size_t len) {
    struct clock c;
    if (clock_parse(text, len, &c) != 0)
        return;
    must_hold(c.n_participants >= 1 && c.n_participants <= CLOCK_MAX_PARTICIPANTS);
    must_hold(c.active == CLOCK_NOBODY ? c.started_at == 0 : c.active < c.n_participants);
    expect_print(&c, text, len);
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
    clock_print(&c, &text);
    must_hold(clock_parse(text.data, text.len, &again) == 0);
    expect_print(&again, text.data, text.len);
    clock_done(&again);
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

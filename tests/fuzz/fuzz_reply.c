/* A reply: whatever is taken prints as one that reads back the same. */
#include "fuzz_json.h"
#include "proto/command.h"

static void check_round_trip(const struct reply *r) {
    struct buf once = BUF_NULL, again = BUF_NULL;
    struct reply read;
    reply_print(r, &once);
    json_t *value = fuzz_reparsed(&once);
    must_hold(reply_parse(value, &read, NULL) == 0);
    reply_print(&read, &again);
    must_equal(&once, &again);
    must_hold(read.fault.code == r->fault.code);
    reply_done(&read);
    json_decref(value);
    buf_done(&once);
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *value = fuzz_value(data, size);
    if (!value)
        return 0;
    struct reply r;
    struct fault f = {0};
    if (reply_parse(value, &r, &f) == 0) {
        must_hold(r.fault.code ? !r.session : r.position.version >= 1 && !r.conflict);
        check_round_trip(&r);
        reply_done(&r);
    } else {
        must_hold(f.code == FAULT_INVALID_REQUEST && f.field[0]);
    }
    json_decref(value);
    return 0;
}

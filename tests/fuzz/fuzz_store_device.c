/* A device's record in Redis: whatever is taken prints as one that reads back the same, also once
 * the device has joined. */
#include "common/store_device.h"
#include "fuzz_json.h"

static void check_round_trip(const struct store_device_record *d) {
    struct store_device_record read;
    struct buf once = BUF_NULL, again = BUF_NULL;
    store_device_print(d, &once);
    must_hold(store_device_parse(once.data, once.len, &read) == 0);
    store_device_print(&read, &again);
    must_equal(&once, &again);
    buf_done(&once);
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char user[] = "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d";
    struct store_device_record d;
    if (store_device_parse((const char *)data, size, &d) != 0)
        return 0;
    must_hold(uuid_is(d.user_id, strlen(d.user_id)) && d.state <= STORE_DEVICE_LEFT);
    check_round_trip(&d);
    uint64_t at = store_device_join(&d, user, 1770897600000);
    must_hold(d.state == STORE_DEVICE_JOINED && d.last_seen == 1770897600000);
    must_hold(at == 0 || at == d.leaves_at || at == d.lease);
    check_round_trip(&d);
    return 0;
}

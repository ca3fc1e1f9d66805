/* A handoff code as Redis has it: whatever is taken has the right parts, and prints as it was. */
#include "common/store_codes.h"
#include "fuzz_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct store_code code;
    struct buf out = BUF_NULL;
    if (store_code_parse((const char *)data, size, &code) != 0)
        return 0;
    must_hold(uuid_is(code.session_id, strlen(code.session_id)) &&
              uuid_is(code.owner_id, strlen(code.owner_id)) && code.role != SESSION_ROLE_NONE &&
              session_device_is_valid(code.device_id, strlen(code.device_id)));
    must_hold(!code.claimant[0] == !code.user_id[0] && !code.user_id[0] == !code.user_device[0]);
    store_code_print(&code, &out);
    must_hold(out.len == size && memcmp(out.data, data, size) == 0);
    buf_done(&out);
    return 0;
}

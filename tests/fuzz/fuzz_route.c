/* Routing keys and reply addresses: a key that is read is the one that its parts build. */
#include "fuzz_json.h"
#include "proto/route.h"

static void check_key(const char *key, size_t len) {
    char id[UUID_LEN + 1], built[ROUTE_KEY_CAP];
    const char *kind;
    size_t kind_len;
    if (!route_parse_key(key, len, id, &kind, &kind_len))
        return;
    must_hold(uuid_is(id, strlen(id)) && kind_len > 0 && kind + kind_len == key + len);
    route_session_binding(id, built);
    must_hold(strlen(built) - 1 + kind_len == len && memcmp(built, key, strlen(built) - 1) == 0);
    for (unsigned type = 0; type < EVENT_N_TYPES; type++) {
        route_event_key(id, type, built);
        bool same_key = strlen(built) == len && memcmp(built, key, len) == 0;
        bool same_kind =
            strlen(event_kind(type)) == kind_len && memcmp(event_kind(type), kind, kind_len) == 0;
        must_hold(same_key == same_kind);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    check_key(text, size);
    if (route_is_reply_to(text, size))
        must_hold(size <= 255 && size > strlen(ROUTE_REPLY_TO) &&
                  memcmp(text, ROUTE_REPLY_TO, strlen(ROUTE_REPLY_TO)) == 0 &&
                  !memchr(text, '\0', size));
    return 0;
}

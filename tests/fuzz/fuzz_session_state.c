/* What is read from Redis: a state string that is taken prints as the same bytes. The bytes also go
 * through session_take_meta as "<field> <value>". */
#include "fuzz_json.h"
#include "proto/session.h"

static void check_state(const char *text, size_t len) {
    struct session s = {0};
    if (session_parse_state(&s, text, len) == 0) {
        struct buf again = BUF_NULL;
        session_print_state(&s, &again);
        must_hold(again.len == len && memcmp(again.data, text, len) == 0);
        (void)!session_verify(&s);
        json_t *json = NULL;
        if (session_to_json(&s, SESSION_ROLE_OWNER, &json) == 0)
            json_decref(json);
        buf_done(&again);
    }
    session_done(&s);
}

struct want {
    const char *field, *value;
    size_t len;
    bool found;
};

static void compare(void *arg, const char *field, const char *value, size_t len) {
    struct want *want = arg;
    if (strcmp(field, want->field) != 0)
        return;
    must_hold(len == want->len && memcmp(value, want->value, len) == 0);
    want->found = true;
}

static void check_meta(const char *text, size_t len) {
    const char *space = memchr(text, ' ', len);
    if (!space)
        return;
    char *field = must_memdup(text, (size_t)(space - text));
    struct want want = {field, space + 1, len - (size_t)(space - text) - 1, false};
    struct session s = {0};
    if (session_take_meta(&s, field, want.value, want.len) == 0)
        session_each_meta(&s, compare, &want); /* known: written as it was read */
    session_done(&s);
    free(field);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_state((const char *)data, size);
    check_meta((const char *)data, size);
    return 0;
}

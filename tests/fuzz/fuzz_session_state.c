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

static void count_participant(void *arg, const char *user_id, enum session_role role) {
    must_hold(uuid_is(user_id, strlen(user_id)) && role != SESSION_ROLE_NONE);
    ++*(size_t *)arg;
}

static void count_device(void *arg, const char *device_id) {
    must_hold(session_device_is_valid(device_id, strlen(device_id)));
    ++*(size_t *)arg;
}

/* Lists that were taken have only what belongs there, and give and take as they should. */
static void check_lists(struct session *s) {
    static const char user[] = "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d";
    size_t n_participants = 0, n_devices = 0;
    session_each_participant(s, count_participant, &n_participants);
    session_each_removed_device(s, count_device, &n_devices);
    must_hold(n_participants <= SESSION_MAX_PARTICIPANTS);
    must_hold(n_devices <= SESSION_MAX_REMOVED_DEVICES);
    if (session_set_participant(s, user, SESSION_ROLE_EDITOR))
        must_hold(session_role_of(s, user) != SESSION_ROLE_NONE);
    if (session_set_device_removed(s, "phone", true)) {
        must_hold(session_device_is_removed(s, "phone"));
        must_hold(session_set_device_removed(s, "phone", false));
        must_hold(!session_device_is_removed(s, "phone"));
    }
    must_hold(session_set_participant(s, user, SESSION_ROLE_NONE));
}

static void count_field(void *arg, const char *field, const char *value, size_t len) {
    (void)field, (void)value, (void)len;
    ++*(size_t *)arg;
}

/* Of a session beside itself nothing differs; beside nothing, no more than there is. */
static void check_differences(const struct session *s) {
    static const struct session nothing;
    size_t n_own = 0, n_new = 0, n_all = 0;
    session_each_meta(s, s, count_field, &n_own);
    session_each_meta(s, &nothing, count_field, &n_new);
    session_each_meta(s, NULL, count_field, &n_all);
    must_hold(n_own == 0 && n_new <= n_all);
}

static void check_meta(const char *text, size_t len) {
    const char *space = memchr(text, ' ', len);
    if (!space)
        return;
    char *field = must_memdup(text, (size_t)(space - text));
    struct want want = {field, space + 1, len - (size_t)(space - text) - 1, false};
    struct session s = {0};
    if (session_take_meta(&s, field, want.value, want.len) == 0)
        session_each_meta(&s, NULL, compare, &want); /* known: written as it was read */
    check_differences(&s);
    check_lists(&s);
    session_done(&s);
    free(field);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_state((const char *)data, size);
    check_meta((const char *)data, size);
    return 0;
}

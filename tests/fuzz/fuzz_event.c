/* An event: the envelope that is read lies within its bounds, and the body printed again has the
 * same. */
#include "fuzz_json.h"
#include "proto/event.h"

static void check_envelope(const struct event *e) {
    must_hold(e->type < EVENT_N_TYPES && !e->body);
    must_hold(uuid_is(e->session_id, strlen(e->session_id)));
    must_hold(uuid_is(e->user_id, strlen(e->user_id)));
    must_hold(e->position.version >= 1 && e->position.epoch >= 1);
    must_hold(!e->device_id[0] || session_device_is_valid(e->device_id, strlen(e->device_id)));
    bool is_named = event_is_versioned(e->type) || e->type == EVENT_SESSION_REBUILT;
    must_hold(is_named == (e->message_id[0] != '\0'));
}

static void check_again(const struct event *e, const json_t *value) {
    struct buf body = BUF_NULL;
    struct event again;
    text_print(value, &body);
    must_hold(event_parse(body.data, body.len, &again, NULL, NULL) == 0);
    must_hold(again.type == e->type && position_equal(again.position, e->position));
    must_hold(again.timestamp == e->timestamp && strcmp(again.message_id, e->message_id) == 0);
    must_hold(strcmp(again.device_id, e->device_id) == 0);
    buf_done(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct event e;
    struct fault f = {0};
    json_t *value = NULL;
    int r = event_parse((const char *)data, size, &e, &value, &f);
    if (r) {
        must_hold(!value && (r == FAULT_INVALID_JSON || r == FAULT_INVALID_REQUEST));
        return 0;
    }
    check_envelope(&e);
    check_again(&e, value);
    json_decref(value);
    event_done(&e);
    return 0;
}

/* Where a client says that it left off: cursors of lists, Last-Event-ID, moments, paths. A cursor
 * that is taken is one that we print. */
#include <inttypes.h>
#include <stdio.h>

#include "fuzz_json.h"
#include "services/session_api/cursor.h"
#include "services/session_api/parameters.h"
#include "services/session_api/path.h"
#include "services/ws_fanout/events.h"

static void check_session_cursor(const char *text) {
    struct cursor c;
    char again[CURSOR_CAP];
    if (!cursor_parse(text, &c))
        return;
    must_hold(uuid_is(c.id, strlen(c.id)));
    cursor_print(&c, again);
    must_hold(strcmp(again, text) == 0);
}

static void check_position_cursor(const char *text) {
    struct position p;
    char again[CURSOR_CAP];
    if (!cursor_parse_position(text, &p))
        return;
    must_hold(p.version >= 1 && p.version <= INT32_MAX && p.epoch >= 1 && p.epoch <= INT32_MAX);
    cursor_print_position(p, again);
    must_hold(strcmp(again, text) == 0);
}

static void check_event_cursor(const char *text) {
    struct event_cursor c;
    char again[CURSOR_CAP];
    if (!cursor_parse_event(text, &c))
        return;
    must_hold(c.position.version <= INT32_MAX && c.position.epoch <= INT32_MAX);
    cursor_print_event(&c, again);
    must_hold(strcmp(again, text) == 0);
}

static void check_event_id(const char *text) {
    struct position p;
    struct fault f = {0};
    char again[64];
    if (events_parse_id(text, &p, &f)) {
        must_hold(f.code == FAULT_INVALID_REQUEST);
        return;
    }
    must_hold(p.epoch >= 1);
    snprintf(again, sizeof(again), "%" PRIu64 ":%" PRIu64, p.epoch, p.version);
    must_hold(strcmp(again, text) == 0);
}

static void check_path(const char *text) {
    char id[UUID_LEN + 1] = "", parameter[PATH_PARAMETER_CAP] = "";
    enum resource resource = path_parse(text, id, parameter);
    must_hold(resource < RESOURCE_N);
    must_hold(resource == RESOURCE_NONE || path_methods(resource) != 0);
    must_hold(!id[0] || uuid_is(id, strlen(id)));
    must_hold(resource != RESOURCE_DEVICE || session_device_is_valid(parameter, strlen(parameter)));
    must_hold(resource != RESOURCE_PARTICIPANT || uuid_is(parameter, strlen(parameter)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int64_t moment;
    char *text = must_alloc(size + 1);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    check_session_cursor(text);
    check_position_cursor(text);
    check_event_cursor(text);
    check_event_id(text);
    check_path(text);
    (void)parameters_parse_moment(text, &moment);
    free(text);
    return 0;
}

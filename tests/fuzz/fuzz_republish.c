/* An entry of the delta window, of which the engine makes the version's events again. Input, lines:
 * the event, what else the entry holds, the snapshot that Redis has. What comes of it are events as
 * they may be published: each names its session, and has its body. */
#include <errno.h>

#include "fuzz_json.h"
#include "services/state_engine/apply_private.h"
#include "services/state_engine/republish.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define USER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define DISJOINT "[{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":1}]"

static const char *kept; /* what Redis has of the snapshot; NULL: nothing */

int store_batch_snapshot(struct store_batch *b, const char *session_id, uint64_t version,
                         char **ret_text, size_t *ret_len) {
    must_hold(!b && strcmp(session_id, ID) == 0 && version == 42);
    if (!kept)
        return -ENOENT;
    *ret_text = must_strdup(kept);
    *ret_len = strlen(kept);
    return 0;
}

static void check_event(const struct event *e) {
    must_hold(e->type < EVENT_N_TYPES && e->body && e->body_len == strlen(e->body));
    must_hold(uuid_is(e->session_id, strlen(e->session_id)) && e->position.version >= 1);
    must_hold(strlen(e->message_id) < sizeof(e->message_id));
}

static void check_entry(const struct session *s, const char *event, const char *extra) {
    struct event events[CHANGE_MAX_EVENTS] = {0};
    struct store_entry entry = {.version = 42, .event_len = strlen(event), .command_id = ID};
    size_t n = 99;
    entry.event = must_strdup(event);
    entry.extra = extra && *extra ? must_strdup(extra) : NULL;
    strcpy(entry.snapshot_id, kept ? USER : "");
    int r = republish_entry(NULL, s, &entry, events, &n);
    must_hold(r == 0 || (r == -EBADMSG && n == 99));
    must_hold(r != 0 || (n >= 1 && n <= CHANGE_MAX_EVENTS));
    for (size_t i = 0; r == 0 && i < n; i++) {
        check_event(&events[i]);
        event_done(&events[i]);
    }
    free(entry.event);
    free(entry.extra);
}

static void check_snapshot(const struct session *s) {
    struct event event = {0};
    struct command c = {.kind = COMMAND_SNAPSHOT, .user_id = USER, .device_id = "phone"};
    struct store_idem idem = {.position = {42, 1}, .fingerprint = HASH, .time = 5};
    strcpy(c.id, ID);
    strcpy(c.session_id, ID);
    int r = republish_snapshot(NULL, s, &c, &idem, &event);
    must_hold(r == 0 || r == -EBADMSG || (r == -ENOENT && !kept));
    if (r == 0)
        check_event(&event);
    event_done(&event);
    idem.position.epoch = 2;
    must_hold(republish_snapshot(NULL, s, &c, &idem, &event) == -ENOENT);
}

/* What the entry wrote is told, or the patch conflicts. */
static void check_disjoint(const struct session *s, const char *event) {
    json_t *operations = fuzz_value((const uint8_t *)DISJOINT, sizeof(DISJOINT) - 1);
    const struct window_entry entries[] = {
        {41, "{}", 2}, {42, event, strlen(event)}, {43, "{}", 2}};
    const struct window window = {entries, N_ELEMENTS(entries)};
    json_t *value = fuzz_value((const uint8_t *)event, strlen(event));
    bool is_disjoint = patch_is_disjoint(s, (struct position){41, 1}, operations, &window);
    must_hold(!is_disjoint || value);
    must_hold(!patch_is_disjoint(s, (struct position){41, 2}, operations, &window));
    must_hold(!patch_is_disjoint(s, (struct position){40, 1}, operations, &(struct window){0}));
    json_decref(value);
    json_decref(operations);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *at = text;
    struct session s = {.position = {43, 1}, .id = ID, .user_id = USER};
    const char *event = strsep(&at, "\n"), *extra = at ? strsep(&at, "\n") : NULL;
    kept = at && *at ? at : NULL;
    s.name = must_strdup("n");
    check_entry(&s, event, extra);
    check_snapshot(&s);
    check_disjoint(&s, event);
    session_done(&s);
    free(text);
    return 0;
}

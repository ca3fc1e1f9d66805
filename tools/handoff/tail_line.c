/* Events as lines; see tail_line.h. */
#include "tools/handoff/tail_line.h"

#include <jansson.h>
#include <string.h>

#include "base/timestamp.h"
#include "proto/text.h"

#define MAX_VALUE_BYTES 60 /* of what was written, in JSON */

static const char *member(const json_t *event, const char *name) {
    return json_string_value(json_object_get(event, name));
}

/* A text that somebody chose, without control characters (C0, DEL and, in UTF-8, C1). */
static void put_text(struct buf *out, const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        bool is_c1 = *c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;
        if (*c < ' ' || *c == 0x7f || is_c1)
            buf_putc(out, '?');
        else
            buf_putc(out, (char)*c);
        c += is_c1;
    }
}

/* A value as JSON, cut where it is long: not within a character. */
static void put_value(struct buf *out, const json_t *value) {
    _cleanup_(buf_done) struct buf text = BUF_NULL;
    text_print(value, &text);
    bool is_long = text.len > MAX_VALUE_BYTES;
    size_t len = is_long ? MAX_VALUE_BYTES : text.len;
    while (is_long && len && ((unsigned char)text.data[len] & 0xc0) == 0x80)
        len--;
    text.data[len] = '\0';
    put_text(out, text.data);
    if (is_long)
        buf_puts(out, "\xe2\x80\xa6");
}

static void put_words(struct buf *out, const json_t *event, const char *const *names) {
    for (size_t n = 0; *names; names++) {
        const char *text = member(event, *names);
        if (!text)
            continue;
        buf_puts(out, n++ ? " " : "");
        put_text(out, text);
    }
}

/* ---- what changed ---- */

static void put_operations(struct buf *out, const json_t *event) {
    const json_t *operations = json_object_get(event, "operations");
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const json_t *o = json_array_get(operations, i);
        static const char *const names[] = {"op", "from", "path", NULL};
        buf_puts(out, i ? "; " : "");
        put_words(out, o, names);
        if (json_object_get(o, "value")) {
            buf_putc(out, ' ');
            put_value(out, json_object_get(o, "value"));
        }
    }
}

static void put_status(struct buf *out, const json_t *event) {
    const char *from = member(event, "from"), *to = member(event, "to");
    const char *reason = member(event, "reason");
    put_text(out, from ? from : "-");
    buf_puts(out, " -> ");
    put_text(out, to ? to : "-");
    if (reason) {
        buf_puts(out, " (");
        put_text(out, reason);
        buf_putc(out, ')');
    }
}

static void put_participant(struct buf *out, const json_t *event) {
    const char *who = member(event, "participant"), *role = member(event, "role");
    put_text(out, who ? who : "-");
    buf_putc(out, ' ');
    put_text(out, role ? role : "none");
}

static void put_device(struct buf *out, const json_t *event) {
    const char *device = member(event, "device");
    put_text(out, device ? device : "-");
    buf_puts(out, json_is_true(json_object_get(event, "removed")) ? " kept out" : " let in");
}

static void put_names(struct buf *out, const json_t *event) {
    static const char *const names[] = {"name", "platform", NULL};
    put_words(out, event, names);
}

static void put_presence(struct buf *out, const json_t *event) {
    buf_printf(out, "%zu joined, %zu left", json_array_size(json_object_get(event, "joined")),
               json_array_size(json_object_get(event, "left")));
}

static void put_message(struct buf *out, const json_t *event) {
    const json_t *message = json_object_get(event, "message");
    if (message)
        put_value(out, message);
}

static void put_session(struct buf *out, const json_t *event) {
    static const char *const names[] = {"name", "type", "status", NULL};
    put_words(out, json_object_get(event, "session"), names);
}

static void put_sync(struct buf *out, const json_t *event) {
    static const char *const names[] = {"reason", NULL};
    put_words(out, event, names);
}

static void put_clock(struct buf *out, const json_t *event) {
    static const char *const names[] = {"participantId", "groupId", "action", "reason", NULL};
    const char *to = member(event, "to");
    const json_t *ms = json_object_get(event, "remainingMs");
    if (to)
        put_status(out, event);
    put_words(out, event, names);
    if (json_object_get(event, "adjustMs"))
        ms = json_object_get(event, "adjustMs");
    if (json_is_number(ms)) {
        buf_putc(out, ' ');
        put_value(out, ms);
        buf_puts(out, " ms");
    }
}

static const struct {
    const char *type;
    void (*put)(struct buf *out, const json_t *event);
} kinds[] = {{"session_created", put_session}, {"state_delta", put_operations},
             {"status_changed", put_status},   {"participant_changed", put_participant},
             {"device_changed", put_device},   {"device_joined", put_names},
             {"device_left", put_names},       {"presence", put_presence},
             {"broadcast", put_message},       {"state_sync", put_sync},
             {"clock_switched", put_clock},    {"clock_adjusted", put_clock},
             {"clock_expired", put_clock},     {"clock_warning", put_clock}};

static void put_change(struct buf *out, const char *type, const json_t *event) {
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++)
        if (strcmp(kinds[i].type, type) == 0)
            kinds[i].put(out, event);
}

/* ---- the line ---- */

/* What came without a time of its own comes now. */
static void put_time(struct buf *out, const char *timestamp) {
    char now[TIMESTAMP_LEN + 1];
    timestamp_print(timestamp_wall_ms(), now);
    put_text(out, timestamp ? timestamp : now);
}

static void put_version(struct buf *out, struct handoff_position at) {
    if (!at.epoch) {
        buf_putc(out, '-');
        return;
    }
    buf_put_i64(out, at.version);
    if (at.epoch > 1)
        buf_printf(out, ".%lld", (long long)at.epoch);
}

void tail_line(const struct handoff_event *event, struct buf *out) {
    json_auto_t *parsed = NULL;
    put_time(out, event->timestamp);
    buf_putc(out, '\t');
    put_text(out, event->type);
    buf_putc(out, '\t');
    put_version(out, event->position);
    buf_putc(out, '\t');
    put_text(out, event->device_id ? event->device_id : "-");
    buf_putc(out, '\t');
    if (text_parse(event->json, strlen(event->json), &parsed, NULL) == 0)
        put_change(out, event->type, parsed);
}

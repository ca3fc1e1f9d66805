/* Entries as they come to audit_writer, and the statements that a batch of them becomes. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/audit_writer/batch.h"
#include "services/audit_writer/writer_private.h"
#include "tests/unit/array_text.h"

#define ID_A "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01" /* made at 2026-02-12T12:00:00.000Z */
#define ID_B "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f02"
#define OWNER "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define OTHER "7f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define MADE_AT 1770897600000

static inline struct entry *read_bytes(const char *body, size_t len, const char *message_id) {
    struct bus_message m = {.tag = 1, .body = body, .body_len = len};
    snprintf(m.message_id, sizeof(m.message_id), "%s", message_id);
    return entry_new(&m, 1, 0);
}

/* An event of ID_A's; second: of the minute 12:00, and the version. */
static inline struct entry *event(const char *id, const char *type, uint64_t version,
                                  const char *more) {
    struct buf body = BUF_NULL;
    buf_printf(&body,
               "{\"type\":\"%s\",\"sessionId\":\"%s\",\"epoch\":1,\"version\":%llu,\"timestamp\":"
               "\"2026-02-12T12:00:%02d.000Z\",\"userId\":\"" OTHER "\",\"deviceId\":\"tab\"%s}",
               type, id, (unsigned long long)version, (int)(version % 60), more);
    struct entry *e = read_bytes(body.data, body.len, "0197aaaa-0000-4000-8000-000000000001");
    buf_done(&body);
    return e;
}

static inline struct entry *created(const char *id) {
    return event(id, "session_created", 1,
                 ",\"session\":{\"userId\":\"" OWNER "\",\"name\":\"A\",\"type\":\"chess\","
                 "\"status\":\"active\",\"createdAt\":\"2026-02-12T12:00:00.000Z\","
                 "\"completedAt\":null,\"ttlSeconds\":60,\"onIdle\":\"pause\",\"activeDeviceId\":"
                 "\"phone\",\"lastModified\":\"2026-02-12T12:00:00.000Z\",\"modifiedBy\":\"phone\","
                 "\"checksum\":\"c1\"}");
}

static inline struct entry *delta(const char *id, uint64_t version, const char *operations) {
    struct buf more = BUF_NULL;
    buf_printf(&more, ",\"operations\":%s,\"checksum\":\"c%llu\"", operations,
               (unsigned long long)version);
    struct entry *e = event(id, "state_delta", version, more.data);
    buf_done(&more);
    return e;
}

static inline struct entry *status(uint64_t version, const char *to, const char *device) {
    char more[256];
    snprintf(more, sizeof(more), ",\"from\":\"active\",\"to\":\"%s\",\"activeDeviceId\":%s", to,
             device);
    return event(ID_A, "status_changed", version, more);
}

#define RENAME(to) "[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"" to "\"}]"
#define WRITE "[{\"op\":\"add\",\"path\":\"/data/x\",\"value\":1}]"

static inline void free_all(struct entry **entries, size_t n) {
    for (size_t i = 0; i < n; i++)
        entry_free(entries[i]);
}

static inline void expect_parameter(const struct batch_statement *s, size_t number,
                                    const char *value) {
    assert_true(number <= s->n_parameters);
    array_text_is(&s->parameters[number - 1], value);
}

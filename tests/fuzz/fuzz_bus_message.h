/* For the fuzz targets of what is read from a message: its properties as lines, an empty line, and
 * the body. A line is a name and a value, a space between. */
#pragma once

#include "common/bus.h"
#include "fuzz_json.h"

struct fuzz_message {
    struct bus_message message;
    char *text; /* owned: body and routing key lie in it */
};

static inline void fuzz_copy(char *ret, size_t cap, const char *text) {
    size_t len = strlen(text);
    if (len < cap)
        memcpy(ret, text, len + 1);
}

static inline void fuzz_take_property(struct bus_message *m, const char *name, char *value) {
    const struct {
        const char *name;
        char *text;
        size_t cap;
    } texts[] = {{"messageId", m->message_id, sizeof(m->message_id)},
                 {"correlationId", m->correlation_id, sizeof(m->correlation_id)},
                 {"replyTo", m->reply_to, sizeof(m->reply_to)},
                 {"type", m->type, sizeof(m->type)},
                 {"deviceId", m->device_id, sizeof(m->device_id)},
                 {"commandId", m->command_id, sizeof(m->command_id)},
                 {"keyHash", m->key_hash, sizeof(m->key_hash)},
                 {"fingerprint", m->fingerprint, sizeof(m->fingerprint)},
                 {"reason", m->reason, sizeof(m->reason)}};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        if (strcmp(name, texts[i].name) == 0)
            fuzz_copy(texts[i].text, texts[i].cap, value);
    if (strcmp(name, "routingKey") == 0) {
        m->routing_key = value;
        m->routing_key_len = strlen(value);
    }
    m->epoch = strcmp(name, "epoch") == 0 ? strtoull(value, NULL, 10) : m->epoch;
    m->version = strcmp(name, "version") == 0 ? strtoull(value, NULL, 10) : m->version;
    if (strcmp(name, "timestamp") == 0)
        m->timestamp_ms = (int64_t)(strtoull(value, NULL, 10) % (INT64_MAX / 1000)) * 1000;
    m->echo = m->echo || strcmp(name, "echo") == 0;
    m->too_large = m->too_large || strcmp(name, "tooLarge") == 0;
}

static inline void fuzz_message(const uint8_t *data, size_t size, struct fuzz_message *ret) {
    *ret = (struct fuzz_message){.text = fuzz_text(data, size)};
    struct bus_message *m = &ret->message;
    char *at = ret->text, *end = ret->text + size;
    m->routing_key = "";
    m->tag = 1;
    for (char *newline; at < end && *at != '\n'; at = newline + 1) {
        newline = memchr(at, '\n', (size_t)(end - at));
        newline = newline ? newline : end;
        *newline = '\0';
        char *space = strchr(at, ' ');
        if (space)
            *space = '\0';
        fuzz_take_property(m, at, space ? space + 1 : newline);
    }
    at += at < end;
    m->body = m->too_large || at >= end ? "" : at;
    m->body_len = m->too_large || at >= end ? 0 : (size_t)(end - at);
}

static inline void fuzz_message_done(struct fuzz_message *m) {
    free(m->text);
}

/* Frames to the broker. librabbitmq's own sending blocks without a timeout when the socket is full,
 * and its basic.publish can hang for ever after a missed heartbeat; so only its encoders are used
 * here, and bus.c writes the bytes when the socket takes them. */
#include "common/bus_frames.h"

#include <amqp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"

#define METHOD_ROOM 2048 /* four short strings and some integers */
#define TEXT_HEADER_MAX 1024

#define FRAME_HEAD 7 /* type, channel, size */
#define FRAME_EXTRA (FRAME_HEAD + 1)
#define CLASS_BASIC 60

static void put_u16(struct buf *out, uint16_t n) {
    buf_put(out, (uint8_t[]){(uint8_t)(n >> 8), (uint8_t)n}, 2);
}

static void put_u32(struct buf *out, uint32_t n) {
    put_u16(out, (uint16_t)(n >> 16));
    put_u16(out, (uint16_t)n);
}

static size_t frame_begin(struct buf *out, uint8_t type, uint16_t channel) {
    size_t start = out->len;
    buf_putc(out, (char)type);
    put_u16(out, channel);
    put_u32(out, 0);
    return start;
}

static void frame_end(struct buf *out, size_t start) {
    uint32_t size = (uint32_t)(out->len - start - FRAME_HEAD);
    uint8_t *at = (uint8_t *)out->data + start + 3;
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(size >> (24 - 8 * i));
    buf_putc(out, (char)AMQP_FRAME_END);
}

static int roll_back(struct buf *out, size_t start) {
    out->len = start;
    return -EINVAL;
}

int bus_put_method(struct buf *out, uint16_t channel, uint32_t id, void *method) {
    size_t start = frame_begin(out, AMQP_FRAME_METHOD, channel);
    put_u32(out, id);
    buf_reserve(out, METHOD_ROOM);
    int len = amqp_encode_method(id, method, (amqp_bytes_t){METHOD_ROOM, out->data + out->len});
    if (len < 0)
        return roll_back(out, start);
    out->len += (size_t)len;
    frame_end(out, start);
    return 0;
}

void bus_put_heartbeat(struct buf *out) {
    frame_end(out, frame_begin(out, AMQP_FRAME_HEARTBEAT, 0));
}

#define N_CLOUD_EVENT_HEADERS 6
#define MAX_HEADERS (10 + N_CLOUD_EVENT_HEADERS)
#define CLOUD_EVENT_ROOM 1024

static amqp_table_entry_t number_entry(const char *name, uint64_t n) {
    amqp_table_entry_t e = {.key = amqp_cstring_bytes(name)};
    e.value.kind = AMQP_FIELD_KIND_I64;
    e.value.value.i64 = (int64_t)n;
    return e;
}

static amqp_table_entry_t flag_entry(const char *name) {
    amqp_table_entry_t e = {.key = amqp_cstring_bytes(name)};
    e.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    e.value.value.boolean = 1;
    return e;
}

static amqp_table_entry_t text_entry(const char *name, const char *text) {
    amqp_table_entry_t e = {.key = amqp_cstring_bytes(name)};
    e.value.kind = AMQP_FIELD_KIND_UTF8;
    e.value.value.bytes = amqp_cstring_bytes(text);
    if (e.value.value.bytes.len > TEXT_HEADER_MAX)
        e.value.value.bytes.len = TEXT_HEADER_MAX;
    return e;
}

/* traceparent: where that header's text stands. */
static int headers_of(const struct bus_publish *m, char traceparent[static TRACE_PARENT_LEN + 1],
                      amqp_table_entry_t ret[static MAX_HEADERS]) {
    int n = 0;
    if (m->epoch)
        ret[n++] = number_entry("epoch", m->epoch);
    if (m->version)
        ret[n++] = number_entry("version", m->version);
    if (m->device_id)
        ret[n++] = text_entry("deviceId", m->device_id);
    if (m->command_id)
        ret[n++] = text_entry("commandId", m->command_id);
    if (m->key_hash)
        ret[n++] = text_entry("keyHash", m->key_hash);
    if (m->fingerprint)
        ret[n++] = text_entry("fingerprint", m->fingerprint);
    if (m->echo)
        ret[n++] = flag_entry("echo");
    if (m->reason)
        ret[n++] = text_entry("reason", m->reason);
    if (m->replay)
        ret[n++] = flag_entry("replay");
    if (m->trace && m->trace->is_set) {
        trace_context_print(m->trace, traceparent);
        ret[n++] = text_entry("traceparent", traceparent);
    }
    return n;
}

/* What the texts of a CloudEvent's attributes are printed into. */
struct cloud_event_texts {
    char type[64 + 8], time[TIMESTAMP_LEN + 1];
};

/* CloudEvents 1.0, AMQP binding 3.1.3, in binary mode (content_type is datacontenttype). The time
 * as text: AMQP's own has whole seconds. */
static int cloud_event_headers_of(const struct bus_publish *m, struct cloud_event_texts *texts,
                                  amqp_table_entry_t ret[static N_CLOUD_EVENT_HEADERS]) {
    if (!m->cloud_event_subject)
        return 0;
    snprintf(texts->type, sizeof(texts->type), "handoff.%s", m->type);
    timestamp_print(m->timestamp_ms, texts->time);
    ret[0] = text_entry("cloudEvents:specversion", "1.0");
    ret[1] = text_entry("cloudEvents:id", m->message_id);
    ret[2] = text_entry("cloudEvents:source", "urn:handoff:sessions");
    ret[3] = text_entry("cloudEvents:type", texts->type);
    ret[4] = text_entry("cloudEvents:subject", m->cloud_event_subject);
    ret[5] = text_entry("cloudEvents:time", texts->time);
    return N_CLOUD_EVENT_HEADERS;
}

static void set_text(amqp_basic_properties_t *p, amqp_bytes_t *field, amqp_flags_t flag,
                     const char *text) {
    if (!text)
        return;
    *field = amqp_cstring_bytes(text);
    p->_flags |= flag;
}

static void properties_of(const struct bus_publish *m, const char *app_id, char *expiration,
                          amqp_basic_properties_t *p) {
    p->_flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
    p->delivery_mode = m->persistent ? AMQP_DELIVERY_PERSISTENT : AMQP_DELIVERY_NONPERSISTENT;
    set_text(p, &p->content_type, AMQP_BASIC_CONTENT_TYPE_FLAG, "application/json");
    set_text(p, &p->app_id, AMQP_BASIC_APP_ID_FLAG, app_id);
    set_text(p, &p->message_id, AMQP_BASIC_MESSAGE_ID_FLAG, m->message_id);
    set_text(p, &p->correlation_id, AMQP_BASIC_CORRELATION_ID_FLAG, m->correlation_id);
    set_text(p, &p->reply_to, AMQP_BASIC_REPLY_TO_FLAG, m->reply_to);
    set_text(p, &p->type, AMQP_BASIC_TYPE_FLAG, m->type);
    if (m->expiration_ms > 0)
        set_text(p, &p->expiration, AMQP_BASIC_EXPIRATION_FLAG, expiration);
    if (m->timestamp_ms > 0) {
        p->timestamp = (uint64_t)m->timestamp_ms / 1000;
        p->_flags |= AMQP_BASIC_TIMESTAMP_FLAG;
    }
    if (p->headers.num_entries)
        p->_flags |= AMQP_BASIC_HEADERS_FLAG;
}

static int put_header(struct buf *out, const struct bus_publish *m, const char *app_id) {
    enum { ROOM = 8 * BUS_SHORT_TEXT_CAP + 2 * TEXT_HEADER_MAX + CLOUD_EVENT_ROOM + 256 };
    char expiration[24];
    struct cloud_event_texts texts;
    snprintf(expiration, sizeof(expiration), "%lld", (long long)m->expiration_ms);
    amqp_table_entry_t entries[MAX_HEADERS];
    char traceparent[TRACE_PARENT_LEN + 1];
    int n = headers_of(m, traceparent, entries);
    n += cloud_event_headers_of(m, &texts, entries + n);
    amqp_basic_properties_t p = {.headers = {n, entries}};
    properties_of(m, app_id, expiration, &p);

    size_t start = frame_begin(out, AMQP_FRAME_HEADER, BUS_CHANNEL);
    put_u16(out, CLASS_BASIC);
    put_u16(out, 0);
    put_u32(out, (uint32_t)((uint64_t)m->body_len >> 32));
    put_u32(out, (uint32_t)m->body_len);
    buf_reserve(out, ROOM);
    int len = amqp_encode_properties(CLASS_BASIC, &p, (amqp_bytes_t){ROOM, out->data + out->len});
    if (len < 0)
        return roll_back(out, start);
    out->len += (size_t)len;
    frame_end(out, start);
    return 0;
}

static void put_body(struct buf *out, const char *body, size_t len, size_t frame_max) {
    size_t most = frame_max - FRAME_EXTRA;
    buf_reserve(out, len + (len / most + 1) * FRAME_EXTRA);
    while (len) {
        size_t part = len < most ? len : most;
        size_t start = frame_begin(out, AMQP_FRAME_BODY, BUS_CHANNEL);
        buf_put(out, body, part);
        frame_end(out, start);
        body += part;
        len -= part;
    }
}

int bus_put_publish(struct buf *out, const struct bus_publish *m, const char *app_id,
                    size_t frame_max) {
    size_t start = out->len;
    amqp_basic_publish_t method = {.exchange = amqp_cstring_bytes(m->exchange),
                                   .routing_key = amqp_cstring_bytes(m->routing_key),
                                   .mandatory = m->mandatory};
    int r = bus_put_method(out, BUS_CHANNEL, AMQP_BASIC_PUBLISH_METHOD, &method);
    if (r == 0)
        r = put_header(out, m, app_id);
    if (r < 0)
        return roll_back(out, start);
    put_body(out, m->body, m->body_len, frame_max);
    return 0;
}

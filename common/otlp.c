/* OTLP in JSON; see otlp.h. */
#include "common/otlp.h"

#include <string.h>

#include "common/version.h"
#include "proto/text.h"

#define STATUS_ERROR 2

static void put_id(struct buf *out, const char *name, const uint8_t *id, size_t n) {
    char hex[TRACE_ID_LEN + 1];
    trace_hex_print(id, n, hex);
    buf_printf(out, "\"%s\":\"%s\",", name, hex);
}

static void put_text(struct buf *out, const char *key, const char *text) {
    buf_printf(out, "{\"key\":\"%s\",\"value\":{\"stringValue\":", key);
    buf_puts_json(out, text);
    buf_puts(out, "}}");
}

static void put_attribute(struct buf *out, const struct span_attribute *a) {
#define SPAN_OTLP(name, otlp, log) [name] = (otlp),
    static const char *const names[] = {SPAN_KEYS(SPAN_OTLP)};
#undef SPAN_OTLP
    if (a->text) {
        put_text(out, names[a->key], a->text);
        return;
    }
    buf_printf(out, "{\"key\":\"%s\",\"value\":{\"intValue\":\"", names[a->key]);
    buf_put_i64(out, a->number);
    buf_puts(out, "\"}}");
}

static bool has_parent(const struct span *s) {
    static const uint8_t none[TRACE_SPAN_ID_BYTES];
    return memcmp(s->parent_id, none, sizeof(none)) != 0;
}

void otlp_print_span(const struct span *s, struct buf *out) {
    buf_putc(out, '{');
    put_id(out, "traceId", s->context.trace_id, TRACE_ID_BYTES);
    put_id(out, "spanId", s->context.span_id, TRACE_SPAN_ID_BYTES);
    if (has_parent(s))
        put_id(out, "parentSpanId", s->parent_id, TRACE_SPAN_ID_BYTES);
    buf_puts(out, "\"name\":");
    buf_puts_json(out, s->name);
    buf_printf(out, ",\"kind\":%d,\"startTimeUnixNano\":\"", s->kind);
    buf_put_u64(out, s->start_unix_ns);
    buf_puts(out, "\",\"endTimeUnixNano\":\"");
    buf_put_u64(out, s->start_unix_ns + s->duration_ns);
    buf_puts(out, "\",\"attributes\":[");
    for (size_t i = 0; i < s->n_attributes; i++) {
        if (i > 0)
            buf_putc(out, ',');
        put_attribute(out, &s->attributes[i]);
    }
    buf_puts(out, "],\"status\":{");
    if (s->has_failed)
        buf_printf(out, "\"code\":%d", STATUS_ERROR);
    buf_puts(out, "}}");
}

void otlp_print_request(const char *service, const char *instance, const struct buf *spans,
                        struct buf *out) {
    buf_reserve(out, spans->len + 512);
    buf_puts(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    put_text(out, "service.namespace", "handoff");
    buf_putc(out, ',');
    put_text(out, "service.name", service);
    buf_putc(out, ',');
    put_text(out, "service.version", HANDOFF_VERSION);
    buf_putc(out, ',');
    put_text(out, "service.instance.id", instance);
    buf_puts(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"handoff\",\"version\":");
    buf_puts_json(out, HANDOFF_VERSION);
    buf_puts(out, "},\"spans\":[");
    buf_put(out, spans->data, spans->len);
    buf_puts(out, "]}]}]}");
}

/* An int64 is a string in this JSON, and some senders write a number all the same. */
static int64_t read_count(const json_t *value) {
    double number = json_number_value(value);
    if (json_is_number(value))
        return number > 0 && number < 1e9 ? (int64_t)number : 0;
    return json_is_string(value) ? strtoll(json_string_value(value), NULL, 10) : 0;
}

int64_t otlp_read_rejected(const char *body, size_t len, char **ret_why) {
    json_auto_t *answer = NULL;
    *ret_why = NULL;
    if (text_parse(body, len, &answer, NULL) != 0)
        return 0;
    const json_t *partial = json_object_get(answer, "partialSuccess");
    int64_t n = read_count(json_object_get(partial, "rejectedSpans"));
    const char *why = json_string_value(json_object_get(partial, "errorMessage"));
    if (n > 0 && why)
        *ret_why = must_strdup(why);
    return n > 0 ? n : 0;
}

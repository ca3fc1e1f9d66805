/* Frames from the broker: a small state machine, since amqp_consume_message blocks between the
 * frames of a message and gives up on any method that is no delivery. */
#include "common/bus_frames.h"

#include <amqp.h>
#include <string.h>

void bus_inbound_done(struct bus_inbound *in) {
    buf_done(&in->joined);
    *in = (struct bus_inbound){0};
}

/* What does not fit whole is as good as absent: half an id would be another id. */
static void copy_text(char *ret, size_t cap, amqp_bytes_t text) {
    size_t len = text.len < cap ? text.len : 0;
    if (len)
        memcpy(ret, text.bytes, len);
    ret[len] = '\0';
}

static uint64_t not_negative(int64_t n) {
    return n > 0 ? (uint64_t)n : 0;
}

/* Each client library picks a width of its own for an integer. */
static uint64_t number_of(const amqp_field_value_t *v) {
    switch (v->kind) {
    case AMQP_FIELD_KIND_I8:
        return not_negative(v->value.i8);
    case AMQP_FIELD_KIND_U8:
        return v->value.u8;
    case AMQP_FIELD_KIND_I16:
        return not_negative(v->value.i16);
    case AMQP_FIELD_KIND_U16:
        return v->value.u16;
    case AMQP_FIELD_KIND_I32:
        return not_negative(v->value.i32);
    case AMQP_FIELD_KIND_U32:
        return v->value.u32;
    case AMQP_FIELD_KIND_I64:
        return not_negative(v->value.i64);
    case AMQP_FIELD_KIND_U64:
    case AMQP_FIELD_KIND_TIMESTAMP:
        return v->value.u64;
    default:
        return 0;
    }
}

static bool is_key(const amqp_table_entry_t *e, const char *name) {
    return e->key.len == strlen(name) && memcmp(e->key.bytes, name, e->key.len) == 0;
}

static void take_headers(struct bus_message *m, const amqp_table_t *headers) {
    for (int i = 0; i < headers->num_entries; i++) {
        const amqp_table_entry_t *e = &headers->entries[i];
        bool is_text =
            e->value.kind == AMQP_FIELD_KIND_UTF8 || e->value.kind == AMQP_FIELD_KIND_BYTES;
        if (is_key(e, "epoch"))
            m->epoch = number_of(&e->value);
        else if (is_key(e, "version"))
            m->version = number_of(&e->value);
        else if (is_key(e, "deviceId") && is_text)
            copy_text(m->device_id, sizeof(m->device_id), e->value.value.bytes);
        else if (is_key(e, "commandId") && is_text)
            copy_text(m->command_id, sizeof(m->command_id), e->value.value.bytes);
        else if (is_key(e, "keyHash") && is_text)
            copy_text(m->key_hash, sizeof(m->key_hash), e->value.value.bytes);
        else if (is_key(e, "fingerprint") && is_text)
            copy_text(m->fingerprint, sizeof(m->fingerprint), e->value.value.bytes);
        else if (is_key(e, "reason") && is_text)
            copy_text(m->reason, sizeof(m->reason), e->value.value.bytes);
        else if (is_key(e, "echo") && e->value.kind == AMQP_FIELD_KIND_BOOLEAN)
            m->echo = e->value.value.boolean;
        else if (is_key(e, "traceparent") && is_text)
            (void)trace_context_parse(e->value.value.bytes.bytes, e->value.value.bytes.len,
                                      &m->trace);
    }
}

static void take_properties(struct bus_message *m, const amqp_basic_properties_t *p) {
    if (p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG)
        copy_text(m->message_id, sizeof(m->message_id), p->message_id);
    if (p->_flags & AMQP_BASIC_CORRELATION_ID_FLAG)
        copy_text(m->correlation_id, sizeof(m->correlation_id), p->correlation_id);
    if (p->_flags & AMQP_BASIC_REPLY_TO_FLAG)
        copy_text(m->reply_to, sizeof(m->reply_to), p->reply_to);
    if (p->_flags & AMQP_BASIC_TYPE_FLAG)
        copy_text(m->type, sizeof(m->type), p->type);
    if (p->_flags & AMQP_BASIC_TIMESTAMP_FLAG && p->timestamp < INT64_MAX / 1000)
        m->timestamp_ms = (int64_t)p->timestamp * 1000;
    if (p->_flags & AMQP_BASIC_HEADERS_FLAG)
        take_headers(m, &p->headers);
}

static void begin_message(struct bus_message *m) {
    m->message_id[0] = m->correlation_id[0] = m->reply_to[0] = '\0';
    m->type[0] = m->device_id[0] = '\0';
    m->command_id[0] = m->key_hash[0] = m->fingerprint[0] = m->reason[0] = '\0';
    m->epoch = m->version = 0;
    m->echo = false;
    m->trace = (struct trace_context){0};
    m->timestamp_ms = 0;
    m->body = "";
    m->body_len = 0;
    m->too_large = false;
}

static enum bus_piece take_method(struct bus_inbound *in, const amqp_method_t *method) {
    in->dropped = method->id == AMQP_BASIC_RETURN_METHOD;
    if (!in->dropped && method->id != AMQP_BASIC_DELIVER_METHOD)
        return BUS_PIECE_METHOD;
    begin_message(&in->message);
    if (!in->dropped) {
        const amqp_basic_deliver_t *d = method->decoded;
        copy_text(in->routing_key, sizeof(in->routing_key), d->routing_key);
        in->message.routing_key = in->routing_key;
        in->message.routing_key_len = strlen(in->routing_key);
        in->message.tag = d->delivery_tag;
        in->message.redelivered = d->redelivered;
        in->message.is_dropped =
            d->consumer_tag.len == strlen(BUS_DROPPED_TAG) &&
            memcmp(d->consumer_tag.bytes, BUS_DROPPED_TAG, d->consumer_tag.len) == 0;
    }
    in->expect = BUS_EXPECT_HEADER;
    return BUS_PIECE_PART;
}

static enum bus_piece end_message(struct bus_inbound *in) {
    in->expect = BUS_EXPECT_METHOD;
    return in->dropped ? BUS_PIECE_RETURN : BUS_PIECE_MESSAGE;
}

static enum bus_piece take_header(struct bus_inbound *in, const amqp_frame_t *frame) {
    if (frame->payload.properties.class_id != AMQP_BASIC_CLASS)
        return BUS_PIECE_WRONG;
    take_properties(&in->message, frame->payload.properties.decoded);
    in->body_left = frame->payload.properties.body_size;
    in->message.too_large = in->body_left > BUS_BODY_MAX;
    buf_clear(&in->joined);
    in->expect = BUS_EXPECT_BODY;
    return in->body_left ? BUS_PIECE_PART : end_message(in);
}

static enum bus_piece take_body(struct bus_inbound *in, amqp_bytes_t part) {
    if (part.len > in->body_left)
        return BUS_PIECE_WRONG;
    bool is_whole = in->joined.len == 0 && part.len == in->body_left;
    in->body_left -= part.len;
    if (!in->dropped && !in->message.too_large && !is_whole)
        buf_put(&in->joined, part.bytes, part.len);
    if (in->body_left)
        return BUS_PIECE_PART;
    if (!in->message.too_large) {
        in->message.body = is_whole ? part.bytes : in->joined.data;
        in->message.body_len = is_whole ? part.len : in->joined.len;
    }
    return end_message(in);
}

enum bus_piece bus_inbound_take(struct bus_inbound *in, const amqp_frame_t *frame) {
    if (frame->channel == 0) /* may come between the frames of a message */
        return frame->frame_type == AMQP_FRAME_METHOD ? BUS_PIECE_METHOD : BUS_PIECE_PART;
    if (in->joined.cap > (1u << 20) && in->expect == BUS_EXPECT_METHOD)
        buf_done(&in->joined); /* one large message does not keep its memory */
    if (in->expect == BUS_EXPECT_METHOD && frame->frame_type == AMQP_FRAME_METHOD)
        return take_method(in, &frame->payload.method);
    if (in->expect == BUS_EXPECT_HEADER && frame->frame_type == AMQP_FRAME_HEADER)
        return take_header(in, frame);
    if (in->expect == BUS_EXPECT_BODY && frame->frame_type == AMQP_FRAME_BODY)
        return take_body(in, frame->payload.body_fragment);
    /* A close may cut a message short. */
    return frame->frame_type == AMQP_FRAME_METHOD ? BUS_PIECE_METHOD : BUS_PIECE_WRONG;
}

/* The delta window's entries, as Redis keeps them and as our values. Their texts are packed
 * (proto/packed.h), but for those of releases before it and for long ones: what was packed is
 * unpacked into memory that its reader owns, the rest stays where the reply has it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/store_private.h"
#include "proto/event.h"
#include "proto/packed.h"

void store_put_packed(struct store_command *c, const char *session_id, const char *text,
                      size_t len) {
    _cleanup_(buf_done) struct buf packed = BUF_NULL;
    if (len <= PACKED_MAX_BYTES)
        packed_print(text, len, session_id, &packed);
    if (packed.len)
        store_put(c, packed.data, packed.len);
    else
        store_put(c, text, len);
}

size_t store_put_trace(struct store_command *c, const struct trace_context *trace) {
    char text[TRACE_PARENT_LEN + 1];
    if (!trace || !trace->is_sampled)
        return 0;
    trace_context_print(trace, text);
    store_puts(c, "p");
    store_puts(c, text);
    return 2;
}

static bool take_field(const redisReply *name, const redisReply *value,
                       struct store_entry_view *ret) {
    if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING || name->len != 1)
        return false;
    struct store_text text = {value->str, (size_t)value->len};
    uint64_t time;
    switch (name->str[0]) {
    case 't':
        if (!store_parse_u64(text.text, text.len, &time) || time > INT64_MAX)
            return false;
        ret->time = (int64_t)time;
        return true;
    case 'c':
        ret->command_id = text;
        return true;
    case 'e':
        ret->event = text;
        return true;
    case 'x':
        ret->extra = text;
        return true;
    case 's':
        ret->snapshot_id = text;
        return true;
    case 'k':
        ret->key_hash = text;
        return true;
    case 'f':
        ret->fingerprint = text;
        return true;
    case 'p': /* one that cannot be is as good as none */
        (void)trace_context_parse(text.text, text.len, &ret->trace);
        return true;
    default:
        return true; /* a later release's field */
    }
}

int store_view_entry(const redisReply *entry, struct store_entry_view *ret) {
    *ret = (struct store_entry_view){0};
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2)
        return -EBADMSG;
    const redisReply *id = entry->element[0], *fields = entry->element[1];
    if (id->type != REDIS_REPLY_STRING || fields->type != REDIS_REPLY_ARRAY || fields->elements % 2)
        return -EBADMSG;
    size_t len = strcspn(id->str, "-");
    if (strcmp(id->str + len, "-0") != 0 || !store_parse_u64(id->str, len, &ret->version))
        return -EBADMSG;
    for (size_t i = 0; i < fields->elements; i += 2)
        if (!take_field(fields->element[i], fields->element[i + 1], ret))
            return -EBADMSG;
    return ret->event.text ? 0 : -EBADMSG;
}

/* ---- what was packed ---- */

/* A text that was packed goes to the end of out, and *text is where it lies there. */
static int unpack(struct store_text *text, const char *session_id, struct buf *out) {
    size_t from = out->len;
    if (!text->text || !packed_is(text->text, text->len))
        return 0;
    int err = packed_read(text->text, text->len, session_id, out);
    *text = (struct store_text){out->data + from, out->len - from};
    return err;
}

int store_copy_unpacked(char *ret, size_t cap, struct store_text text, const char *session_id) {
    _cleanup_(buf_done) struct buf unpacked = BUF_NULL;
    int err = unpack(&text, session_id, &unpacked);
    store_copy(ret, cap, text.text ? text.text : "", err ? 0 : text.len);
    return err;
}

int store_dup_unpacked(struct store_text text, const char *session_id, char **ret,
                       size_t *ret_len) {
    _cleanup_(buf_done) struct buf unpacked = BUF_NULL;
    int err = unpack(&text, session_id, &unpacked);
    if (err)
        return err;
    *ret = unpacked.data ? buf_take(&unpacked) : must_memdup(text.text, text.len);
    *ret_len = text.len;
    return 0;
}

/* ---- lists ---- */

void store_deltas_done(struct store_deltas *d) {
    free(d->items);
    buf_done(&d->texts);
    *d = (struct store_deltas){0};
}

static int take_delta(const redisReply *entry, const char *session_id, struct store_deltas *ret) {
    struct store_entry_view view;
    size_t from = ret->texts.len;
    int err = store_view_entry(entry, &view);
    if (!err)
        err = unpack(&view.event, session_id, &ret->texts);
    if (err)
        return err;
    if (event_tells_rebuilt(view.event.text, view.event.len)) {
        ret->texts.len = from;
        return 0;
    }
    bool was_packed = ret->texts.len > from;
    ret->items[ret->n++] =
        (struct store_delta){view.version, was_packed ? NULL : view.event.text, view.event.len};
    return 0;
}

int store_take_deltas(const redisReply *reply, size_t limit, const char *session_id,
                      struct store_deltas *ret) {
    if (reply->type != REDIS_REPLY_ARRAY)
        return store_is_wrong_type(reply) ? -EBADMSG : -ENOTCONN;
    size_t most = reply->elements < limit ? reply->elements : limit;
    _cleanup_(store_deltas_done) struct store_deltas deltas = {
        .items = must_alloc(most * sizeof(*deltas.items))};
    for (size_t i = 0; i < most; i++) {
        int err = take_delta(reply->element[i], session_id, &deltas);
        if (err)
            return err;
    }
    const char *text = deltas.texts.data; /* which stays where it is from now on */
    for (size_t i = 0; i < deltas.n; i++)
        if (!deltas.items[i].event) {
            deltas.items[i].event = text;
            text += deltas.items[i].event_len;
        }
    *ret = deltas;
    deltas = (struct store_deltas){0};
    return 0;
}

void store_outbox_done(struct store_outbox *o) {
    free(o->items);
    buf_done(&o->texts);
    *o = (struct store_outbox){0};
}

static int take_outboxed(const redisReply *entry, const char *session_id,
                         struct store_outbox *ret) {
    struct store_entry_view view;
    struct store_outboxed *item = &ret->items[ret->n++];
    size_t from = ret->texts.len;
    int err = store_view_entry(entry, &view);
    if (!err)
        err = unpack(&view.event, session_id, &ret->texts);
    if (!err)
        err = store_copy_unpacked(item->command_id, sizeof(item->command_id), view.command_id,
                                  session_id);
    if (!err)
        err =
            store_copy_unpacked(item->key_hash, sizeof(item->key_hash), view.key_hash, session_id);
    if (!err)
        err = store_copy_unpacked(item->fingerprint, sizeof(item->fingerprint), view.fingerprint,
                                  session_id);
    if (err)
        return err;
    item->trace = view.trace;
    item->event = ret->texts.len > from ? NULL : view.event.text;
    item->event_len = view.event.len;
    return 0;
}

int store_take_outbox(const redisReply *reply, const char *session_id, struct store_outbox *ret) {
    if (reply->type != REDIS_REPLY_ARRAY)
        return store_is_wrong_type(reply) ? -EBADMSG : -ENOTCONN;
    _cleanup_(store_outbox_done) struct store_outbox outbox = {
        .items = must_alloc(reply->elements * sizeof(*outbox.items))};
    for (size_t i = 0; i < reply->elements; i++) {
        int err = take_outboxed(reply->element[i], session_id, &outbox);
        if (err)
            return err;
    }
    const char *text = outbox.texts.data;
    for (size_t i = 0; i < outbox.n; i++)
        if (!outbox.items[i].event) {
            outbox.items[i].event = text;
            text += outbox.items[i].event_len;
        }
    *ret = outbox;
    outbox = (struct store_outbox){0};
    return 0;
}

/* Events made again from the delta window; see republish.h. */
#include "services/state_engine/republish.h"

#include <errno.h>
#include <string.h>

#include "proto/text.h"

void republish_print_extra(const struct event *events, size_t n, struct buf *out) {
    for (size_t i = 1; i < n; i++) {
        const struct event *e = &events[i];
        if (e->type == EVENT_SNAPSHOT || event_is_versioned(e->type))
            continue;
        buf_puts(out, out->len ? "," : "[");
        buf_printf(out, "{\"type\":\"%s\",\"messageId\":\"%s\",\"body\":", event_type_name(e->type),
                   e->message_id);
        buf_put(out, e->body, e->body_len);
        buf_putc(out, '}');
    }
    if (out->len)
        buf_putc(out, ']');
}

static int read_event(const char *body, size_t len, struct event *ret) {
    struct fault ignored;
    if (event_parse(body, len, ret, NULL, &ignored) != 0)
        return -EBADMSG;
    ret->body = must_memdup(body, len);
    ret->body_len = len;
    return 0;
}

static int read_extra_one(const json_t *object, struct event *ret) {
    _cleanup_(buf_done) struct buf body = BUF_NULL;
    const char *message_id = json_string_value(json_object_get(object, "messageId"));
    const json_t *content = json_object_get(object, "body");
    if (!message_id || strlen(message_id) >= sizeof(ret->message_id) || !content)
        return -EBADMSG;
    text_print(content, &body);
    int r = read_event(body.data, body.len, ret);
    if (r == 0)
        memcpy(ret->message_id, message_id, strlen(message_id) + 1);
    return r;
}

static int read_extra(const char *text, struct event *ret_events, size_t *ret_n) {
    struct fault ignored;
    json_auto_t *extra = NULL;
    if (text_parse(text, strlen(text), &extra, &ignored) != 0 || !json_is_array(extra))
        return -EBADMSG;
    for (size_t i = 0; i < json_array_size(extra) && *ret_n < CHANGE_MAX_EVENTS; i++) {
        int r = read_extra_one(json_array_get(extra, i), &ret_events[*ret_n]);
        if (r != 0)
            return r;
        ++*ret_n;
    }
    return 0;
}

/* The session with the data that is kept of the version; *ret is the caller's in any case. */
static int read_kept(struct store_batch *store, const struct session *s, uint64_t version,
                     struct session *ret) {
    _cleanup_(freep) char *text = NULL;
    size_t len;
    int r = store_batch_snapshot(store, s->id, version, &text, &len);
    if (r != 0)
        return r;
    session_copy(s, ret);
    r = session_parse_state(ret, text, len);
    ret->position.version = version;
    return r;
}

/* The snapshot event is printed anew from the kept snapshot: the same content under the same id. */
static int read_snapshot(struct store_batch *store, const struct session *s,
                         const struct store_entry *entry, struct event *ret_events, size_t *ret_n) {
    _cleanup_(session_done) struct session then = {0};
    if (*ret_n == CHANGE_MAX_EVENTS)
        return 0;
    int r = read_kept(store, s, entry->version, &then);
    if (r != 0)
        return r == -ENOENT ? 0 : r;
    then.updated_at = ret_events[0].timestamp;
    event_snapshot(&then, entry->snapshot_id, &ret_events[*ret_n]);
    ++*ret_n;
    return 0;
}

int republish_snapshot(struct store_batch *store, const struct session *s, const struct command *c,
                       const struct store_idem *idem, struct event *ret) {
    _cleanup_(session_done) struct session then = {0};
    char message_id[UUID_LEN + 1];
    int r = idem->position.epoch == s->position.epoch
                ? read_kept(store, s, idem->position.version, &then)
                : -ENOENT;
    if (r != 0)
        return r;
    snapshot_message_id(c, message_id);
    event_labelled_snapshot(&then, c->user_id, c->device_id, idem->time, c->label, message_id, ret);
    memcpy(ret->command_id, c->id, sizeof(ret->command_id));
    command_key_hash(c, ret->key_hash);
    memcpy(ret->fingerprint, idem->fingerprint, sizeof(ret->fingerprint));
    return 0;
}

int republish_entry(struct store_batch *store, const struct session *s,
                    const struct store_entry *entry, struct event *ret_events, size_t *ret_n) {
    size_t n = 0;
    int r = read_event(entry->event, entry->event_len, &ret_events[n]);
    if (r == 0) {
        memcpy(ret_events[n].command_id, entry->command_id, sizeof(entry->command_id));
        memcpy(ret_events[n].key_hash, entry->key_hash, sizeof(entry->key_hash));
        memcpy(ret_events[n].fingerprint, entry->fingerprint, sizeof(entry->fingerprint));
        n = 1;
    }
    if (r == 0 && entry->extra)
        r = read_extra(entry->extra, ret_events, &n);
    if (r == 0 && entry->snapshot_id[0])
        r = read_snapshot(store, s, entry, ret_events, &n);
    if (r != 0) {
        for (size_t i = 0; i < n; i++)
            event_done(&ret_events[i]);
        return r;
    }
    for (size_t i = 0; i < n; i++)
        ret_events[i].trace = entry->trace;
    *ret_n = n;
    return 0;
}

/* See rebuild.h. Nothing of it is trusted but the checksum at the end: kept states and events come
 * from stores that may have lost a part. */
#include "proto/rebuild.h"

#include <errno.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/event.h"
#include "proto/patch.h"
#include "proto/text.h"

#define MAX_WAITING 16 /* deltas applied together */

/* What patches of a session need beside data; which name it had then is not known, nor needed. */
static json_t *document_of(json_t *data) {
    return json_pack("{s:s, s:O}", "name", "-", "data", data);
}

static int take_checksum(struct rebuild *r, const char *checksum) {
    if (!checksum || strlen(checksum) != HASH_HEX_LEN)
        return -EBADMSG;
    memcpy(r->checksum, checksum, HASH_HEX_LEN + 1);
    return 0;
}

static int take_base(struct rebuild *r, struct position position, json_t *data,
                     const char *checksum) {
    if (!data || take_checksum(r, checksum))
        return -EBADMSG;
    json_decref(r->document);
    r->document = document_of(data);
    r->data_bytes = canonical_size(data);
    r->position = position;
    return 0;
}

int rebuild_begin(struct rebuild *r, struct position position, const char *data, size_t len,
                  const char *checksum) {
    json_auto_t *value = NULL;
    if (text_parse(data, len, &value, NULL) != 0)
        return -EBADMSG;
    return take_base(r, position, value, checksum);
}

static bool is_next(const struct rebuild *r, struct position p) {
    return r->document && p.epoch == r->position.epoch && p.version == r->position.version + 1;
}

static int apply(struct rebuild *r, const json_t *operations) {
    static const struct patch_limits limits = {SESSION_DATA_MAX_BYTES, SESSION_DATA_MAX_DEPTH};
    _cleanup_(patch_result_done) struct patch_result result = {0};
    if (patch_apply(r->document, r->data_bytes, operations, &limits, &result, NULL) != 0)
        return -EBADMSG;
    json_decref(r->document);
    r->document = TAKE_PTR(result.document);
    r->data_bytes = result.data_bytes;
    return 0;
}

/* Applies n of the deltas that wait, as one patch: it copies a large object once and not n times.
 * What is too much for one patch is applied in halves. */
static int apply_waiting(struct rebuild *r, size_t first, size_t n) {
    json_auto_t *together = json_array();
    if (n == 1)
        return apply(r, json_array_get(r->waiting, first));
    for (size_t i = first; i < first + n; i++)
        json_array_extend(together, json_array_get(r->waiting, i));
    if (apply(r, together) == 0)
        return 0;
    int err = apply_waiting(r, first, n / 2);
    return err ? err : apply_waiting(r, first + n / 2, n - n / 2);
}

static int flush(struct rebuild *r) {
    size_t n = json_array_size(r->waiting);
    int err = n ? apply_waiting(r, 0, n) : 0;
    json_array_clear(r->waiting);
    return err;
}

static int add_delta(struct rebuild *r, const json_t *event) {
    json_t *operations = json_object_get(event, "operations");
    if (!json_is_array(operations) ||
        take_checksum(r, json_string_value(json_object_get(event, "checksum"))))
        return -EBADMSG;
    if (!r->waiting)
        r->waiting = json_array();
    json_array_append(r->waiting, operations);
    return json_array_size(r->waiting) < MAX_WAITING ? 0 : flush(r);
}

static int add_event(struct rebuild *r, const struct event *e, const json_t *event) {
    const json_t *session = json_object_get(event, "session");
    if (e->type == EVENT_SESSION_CREATED && !r->document)
        return take_base(r, e->position, json_object_get(session, "data"),
                         json_string_value(json_object_get(session, "checksum")));
    if (!is_next(r, e->position))
        return -EBADMSG;
    if (e->type == EVENT_STATE_DELTA && add_delta(r, event))
        return -EBADMSG;
    r->position = e->position;
    return 0;
}

int rebuild_add(struct rebuild *r, const char *event, size_t len) {
    _cleanup_(event_done) struct event e = {0};
    json_auto_t *body = NULL;
    if (event_parse(event, len, &e, &body, NULL) != 0)
        return -EBADMSG;
    return add_event(r, &e, body);
}

int rebuild_skip(struct rebuild *r, struct position position) {
    if (!is_next(r, position))
        return -EBADMSG;
    r->position = position;
    return 0;
}

int rebuild_end(struct rebuild *r, struct buf *out) {
    _cleanup_(buf_done) struct buf data = BUF_NULL;
    char checksum[HASH_HEX_LEN + 1];
    if (!r->document || flush(r))
        return -EBADMSG;
    canonical_print(json_object_get(r->document, "data"), &data);
    hash_sha256_hex(data.data, data.len, checksum);
    if (strcmp(checksum, r->checksum) != 0)
        return -EBADMSG;
    buf_put(out, data.data, data.len);
    return 0;
}

void rebuild_done(struct rebuild *r) {
    json_decref(r->document);
    json_decref(r->waiting);
    *r = REBUILD_NULL;
}

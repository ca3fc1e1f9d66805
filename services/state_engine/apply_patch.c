/* A patch on a session: from whatever it came as (operations or a merge patch) to one state_delta.
 */
#include <errno.h>
#include <string.h>

#include "proto/canonical.h"
#include "proto/merge.h"
#include "proto/patch.h"
#include "proto/splice.h"
#include "proto/text.h"
#include "services/state_engine/apply_private.h"

#define MAX_MISSED_BYTES (2u << 20) /* of events, twice what the window usually keeps */

/* Appends what one event wrote; false when it cannot be told. */
static bool add_written(const struct window_entry *entry, json_t *written) {
    struct fault ignored;
    json_auto_t *event = NULL;
    if (text_parse(entry->event, entry->event_len, &event, &ignored) != 0)
        return false;
    json_t *operations = json_object_get(event, "operations");
    return !json_is_array(operations) || json_array_extend(written, operations) == 0;
}

/* To read more than MAX_MISSED_BYTES would take an engine too long: then it is a conflict. */
bool patch_is_disjoint(const struct session *s, struct position base, const json_t *operations,
                       const struct window *window) {
    json_auto_t *written = json_array();
    uint64_t expected = base.version + 1;
    size_t n_bytes = 0;
    if (base.epoch != s->position.epoch || base.version > s->position.version)
        return false;
    for (size_t i = 0; i < window->n_entries; i++) {
        const struct window_entry *entry = &window->entries[i];
        if (entry->version <= base.version)
            continue;
        n_bytes += entry->event_len;
        if (entry->version != expected || n_bytes > MAX_MISSED_BYTES ||
            !add_written(entry, written))
            return false;
        expected++;
    }
    return expected == s->position.version + 1 && !patch_overlaps(operations, written);
}

static int to_operations(const json_t *resource, const struct command *c, json_t **ret,
                         struct fault *f) {
    if (c->format == COMMAND_PATCH_MERGE)
        return merge_to_operations(resource, c->patch, ret, f);
    *ret = json_incref(c->patch);
    return 0;
}

/* Takes name and data out of the patched resource. */
static void take_document(struct session *next, const json_t *document) {
    const char *name = json_string_value(json_object_get(document, "name"));
    free(next->name);
    next->name = must_strdup(name);
    session_set_data(next, json_object_get(document, "data"));
}

/* ret->next has the patch's name and data: the version that it makes. */
static int make_version(const struct command *c, const json_t *operations, int64_t now,
                        uint64_t snapshot_every, struct change *ret, struct fault *f) {
    struct session *next = &ret->next;
    if (c->checksum[0] && strcmp(c->checksum, next->checksum) != 0)
        return fault_set(f, FAULT_CHECKSUM_MISMATCH, "checksum",
                         "the result's checksum would be %s", next->checksum);
    next->last_modified = now;
    memcpy(next->modified_by, c->device_id, sizeof(next->modified_by));
    change_next_version(ret, now);
    event_state_delta(next, c->user_id, c->device_id, ret->base_version, operations, ret->rebased,
                      change_add_event(ret));
    change_add_due_snapshot(ret, snapshot_every);
    return 0;
}

static int leave_unchanged(const struct session *s, const struct command *c, struct session *next,
                           struct fault *f) {
    session_copy_data(s, next);
    if (c->checksum[0] && strcmp(c->checksum, s->checksum) != 0)
        return fault_set(f, FAULT_CHECKSUM_MISMATCH, "checksum",
                         "nothing is changed, and the checksum is %s", s->checksum);
    return 0;
}

static bool has_test(const json_t *operations) {
    size_t i;
    json_t *operation;
    json_array_foreach(operations, i, operation) {
        const char *op = json_string_value(json_object_get(operation, "op"));
        if (op && strcmp(op, "test") == 0)
            return true;
    }
    return false;
}

/* What the patch works on: only a `test` may look at more of the resource than name and data. */
static int to_resource(const struct session *s, const struct command *c, json_t **ret) {
    if (c->format == COMMAND_PATCH_OPERATIONS && has_test(c->patch))
        return session_to_json(s, session_role_of(s, c->user_id), ret);
    return session_writable_to_json(s, ret);
}

static const struct patch_limits limits = {SESSION_DATA_MAX_BYTES, SESSION_DATA_MAX_DEPTH};

static int apply_to_tree(const struct session *s, const struct command *c, int64_t now,
                         uint64_t snapshot_every, struct change *ret, struct fault *f) {
    json_auto_t *resource = NULL, *operations = NULL;
    _cleanup_(patch_result_done) struct patch_result result = {0};
    int r = to_resource(s, c, &resource);
    if (r == 0)
        r = to_operations(resource, c, &operations, f);
    if (r == 0)
        r = patch_apply(resource, s->data_len, operations, &limits, &result, f);
    if (r != 0)
        return r;
    if (!result.writes)
        return leave_unchanged(s, c, &ret->next, f);
    take_document(&ret->next, result.document);
    return make_version(c, result.operations, now, snapshot_every, ret, f);
}

/* Most patches need no tree of the data: a fifth of what a change cost the engine. */
static bool try_text(const struct session *s, const struct command *c, struct splice_result *ret) {
    return c->format == COMMAND_PATCH_OPERATIONS && s->data_text && s->name && s->name[0] &&
           splice_apply(s->data_text, s->data_len, c->patch, &limits, ret);
}

int apply_patch(const struct session *s, const struct command *c, int64_t now,
                uint64_t snapshot_every, struct change *ret, struct fault *f) {
    _cleanup_(splice_result_done) struct splice_result spliced = {0};
    if (!try_text(s, c, &spliced))
        return apply_to_tree(s, c, now, snapshot_every, ret, f);
    if (!spliced.writes)
        return leave_unchanged(s, c, &ret->next, f);
    session_take_data(&ret->next, &spliced.data);
    return make_version(c, spliced.operations, now, snapshot_every, ret, f);
}

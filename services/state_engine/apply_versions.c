/* Earlier versions: a restore, whose sender rebuilt what the version had, and a snapshot that a
 * user asks to be kept. */
#include <stdlib.h>
#include <string.h>

#include "proto/text.h"
#include "services/state_engine/apply_private.h"

/* ---- restore ---- */

int apply_check_data(const json_t *data, size_t canonical_bytes, struct fault *f) {
    if (text_depth(data, SESSION_DATA_MAX_DEPTH) > SESSION_DATA_MAX_DEPTH)
        return fault_set(f, FAULT_STATE_TOO_LARGE, "data", "data has more than %d levels",
                         SESSION_DATA_MAX_DEPTH);
    if (canonical_bytes > SESSION_DATA_MAX_BYTES)
        return fault_set(f, FAULT_STATE_TOO_LARGE, "data", "data has %zu bytes; at most %u",
                         canonical_bytes, SESSION_DATA_MAX_BYTES);
    return 0;
}

static json_t *replace_data(json_t *data) {
    json_t *operation = json_object(), *operations = json_array();
    json_object_set_new(operation, "op", json_string("replace"));
    json_object_set_new(operation, "path", json_string("/data"));
    json_object_set(operation, "value", data);
    json_array_append_new(operations, operation);
    return operations;
}

int apply_restore(const struct command *c, int64_t now, uint64_t snapshot_every, struct change *ret,
                  struct fault *f) {
    struct session *next = &ret->next;
    session_set_data(next, c->data);
    int r = apply_check_data(c->data, next->data_len, f);
    if (r != 0)
        return r;
    if (strcmp(next->checksum, c->checksum) != 0)
        return fault_set(f, FAULT_INVALID_VALUE, "checksum",
                         "data does not have this checksum, but %s", next->checksum);
    json_auto_t *operations = replace_data(c->data);
    next->last_modified = now;
    memcpy(next->modified_by, c->device_id, sizeof(next->modified_by));
    change_next_version(ret, now);
    event_state_delta(next, c->user_id, c->device_id, ret->base_version, operations, false,
                      change_add_event(ret));
    change_add_due_snapshot(ret, snapshot_every);
    return 0;
}

/* ---- snapshot ---- */

/* The key, or the command, names the event: a repeat of either tells of the same snapshot. */
void snapshot_message_id(const struct command *c, char ret[static UUID_LEN + 1]) {
    char name[UUID_LEN + 1 + HASH_HEX_LEN + 1];
    memcpy(name, c->session_id, UUID_LEN);
    name[UUID_LEN] = '\n';
    command_key_hash(c, name + UUID_LEN + 1);
    event_derive_id(name, strlen(name), ret);
}

static bool is_kept(const struct session *s, uint64_t version) {
    for (const char *p = s->snapshots; *p;) {
        char *end;
        if (strtoull(p, &end, 10) == version)
            return true;
        p = *end == ',' ? end + 1 : end;
    }
    return false;
}

void apply_snapshot(const struct command *c, int64_t now, struct change *ret) {
    char message_id[UUID_LEN + 1];
    snapshot_message_id(c, message_id);
    ret->saves = true;
    ret->next.touched_at = now;
    if (!is_kept(&ret->next, ret->next.position.version))
        change_keep_snapshot(ret);
    struct event *event = change_add_event(ret);
    event_labelled_snapshot(&ret->next, c->user_id, c->device_id, now, c->label, message_id, event);
    ret->snapshot_id = event->message_id;
}

/* Changes of one session as one, whatever their order; see entry.h. */
#include <stdlib.h>
#include <string.h>

#include "services/audit_writer/entry.h"

void change_done(struct session_change *c) {
    free(c->name);
    free(c->clock);
    c->name = c->clock = NULL;
}

static void merge_created(struct session_change *to, const struct session_change *from) {
    if (!from->has_created)
        return;
    to->has_created = true;
    to->created_at = from->created_at;
    to->ttl_seconds = from->ttl_seconds;
    memcpy(to->user_id, from->user_id, sizeof(to->user_id));
    memcpy(to->type, from->type, sizeof(to->type));
    memcpy(to->on_idle, from->on_idle, sizeof(to->on_idle));
}

static void merge_status(struct session_change *to, const struct session_change *from) {
    if (from->status_position <= to->status_position)
        return;
    to->status_position = from->status_position;
    to->completed_at = from->completed_at;
    memcpy(to->status, from->status, sizeof(to->status));
    memcpy(to->active_device, from->active_device, sizeof(to->active_device));
}

static void merge_last_active(struct session_change *to, const struct session_change *from) {
    if (from->last_active_position <= to->last_active_position)
        return;
    to->last_active_position = from->last_active_position;
    memcpy(to->last_active_device, from->last_active_device, sizeof(to->last_active_device));
}

static void merge_modified(struct session_change *to, const struct session_change *from) {
    to->last_modified = from->last_modified;
    memcpy(to->modified_by, from->modified_by, sizeof(to->modified_by));
}

/* A rebuild tells the checksum alone. */
static void merge_data(struct session_change *to, const struct session_change *from) {
    bool is_newer = from->data_position > to->data_position;
    if (is_newer ? from->last_modified != 0 : !to->last_modified)
        merge_modified(to, from);
    if (!is_newer)
        return;
    to->data_position = from->data_position;
    memcpy(to->checksum, from->checksum, sizeof(to->checksum));
}

static void merge_clock(struct session_change *to, struct session_change *from) {
    if (from->clock_position <= to->clock_position)
        return;
    to->clock_position = from->clock_position;
    to->clock_runs = from->clock_runs;
    to->clock_at = from->clock_at;
    free(to->clock);
    to->clock = TAKE_PTR(from->clock);
}

void change_merge(struct session_change *to, struct session_change *from) {
    if (entry_position(from->position) > entry_position(to->position))
        to->position = from->position;
    if (from->updated_at > to->updated_at)
        to->updated_at = from->updated_at;
    merge_created(to, from);
    merge_status(to, from);
    merge_last_active(to, from);
    merge_data(to, from);
    merge_clock(to, from);
    if (from->name_position > to->name_position) {
        to->name_position = from->name_position;
        free(to->name);
        to->name = TAKE_PTR(from->name);
    }
    if (!to->deleted_at)
        to->deleted_at = from->deleted_at;
}

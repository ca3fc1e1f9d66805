/* One session within a batch; see slot.h. */
#include "services/state_engine/slot.h"

#include <errno.h>
#include <string.h>

#include "proto/event.h"

#define LOOK_BACK 16 /* versions, at first; nearly always those are enough */
#define KEPT_MAX_OPERATIONS 256
#define KEPT_MAX_DEAR 4 /* that copy or compare: each up to half a megabyte */

static bool activates(const struct command *c) {
    return c->kind == COMMAND_STATUS && c->status == SESSION_ACTIVE && c->device_id[0];
}

struct store_joiner *slot_find_joiner(struct slot *slot, const struct command *c) {
    for (size_t i = 0; activates(c) && i < slot->load.n_joiners; i++)
        if (strcmp(slot->joiners[i].device_id, c->device_id) == 0 &&
            strcmp(slot->joiners[i].user_id, c->user_id) == 0)
            return &slot->joiners[i];
    return NULL;
}

static void add_joiner(struct slot *slot, const struct command *c, size_t n_most) {
    if (!activates(c) || slot_find_joiner(slot, c))
        return;
    if (!slot->joiners)
        slot->joiners = must_alloc(n_most * sizeof(*slot->joiners));
    slot->joiners[slot->load.n_joiners++] =
        (struct store_joiner){.device_id = c->device_id, .user_id = c->user_id};
    slot->load.joiners = slot->joiners;
}

/* The record stays as it was loaded: what the save compares. */
void slot_note_joined(struct slot *slot, struct store_joiner *joiner) {
    for (size_t i = 0; i < slot->load.n_joiners; i++) {
        struct store_joiner *other = &slot->joiners[i];
        other->n_joined++;
        if (!joiner->is_counted && strcmp(other->user_id, joiner->user_id) == 0)
            other->n_of_user++;
        if (strcmp(other->device_id, joiner->device_id) == 0)
            other->has_joined = true;
    }
}

static void add_key_hash(struct slot *slot, const char *key_hash, size_t n_most) {
    struct store_load *load = &slot->load;
    if (!slot->key_hashes)
        slot->key_hashes = must_alloc(2 * n_most * sizeof(char *));
    slot->key_hashes[load->n_key_hashes++] = key_hash;
    load->key_hashes = slot->key_hashes;
}

void slot_add_job(struct slot *slot, struct job *j, size_t n_most) {
    struct store_load *load = &slot->load;
    load->wants_state = true; /* every answer has the checksum at least */
    if (j->look_since != JOB_NO_LOOK) {
        load->wants_deltas = true;
        if (j->look_since < load->deltas_since)
            load->deltas_since = j->look_since;
        add_key_hash(slot, job_hash_id(j), n_most);
    }
    add_joiner(slot, &j->command, n_most);
    if (j->key_hash[0])
        add_key_hash(slot, j->key_hash, n_most);
}

void slot_want_window(struct slot *slot, uint64_t since) {
    struct store_load *load = &slot->load;
    if (load->wants_deltas && load->deltas_since <= since)
        return;
    load->wants_deltas = true;
    load->deltas_since = since;
    slot->is_behind = true;
}

/* Those of which only one save would hold, or no harm comes of two, and a snapshot, which is
 * remembered among the keys. */
static bool is_harmless_twice(const struct job *j) {
    switch (j->command.kind) {
    case COMMAND_HEARTBEAT:
    case COMMAND_LOAD:
    case COMMAND_PRESENCE:
    case COMMAND_SNAPSHOT:
    case COMMAND_DUE:
        return true;
    default:
        return false;
    }
}

/* The broker gives a command to another engine when it thinks that this one is gone, which may not
 * know. The other one's save is younger than the command. */
static bool may_be_anothers(const struct session *s, const struct job *j, const char *saver,
                            int64_t now, int64_t *ret_from) {
    int64_t others_until = strcmp(s->saver, saver) == 0 ? s->saver_since : s->updated_at;
    int64_t from = j->command.sent_at;
    if (from == 0 || from > now)
        from = now - COMMAND_LIFETIME_MS;
    *ret_from = from;
    return !is_harmless_twice(j) && others_until >= from;
}

bool slot_may_hide(struct slot *slot, const struct job *j, const char *saver, int64_t now) {
    const struct session *s = &slot->load.session;
    int64_t from;
    if (!may_be_anothers(s, j, saver, now, &from))
        return false;
    if (slot->look_from == 0 || from < slot->look_from)
        slot->look_from = from;
    slot_want_window(slot, s->position.version > LOOK_BACK ? s->position.version - LOOK_BACK : 0);
    slot->is_behind = true;
    return true;
}

void slot_look_for(struct slot *slot, struct job *j, size_t n_most) {
    if (!is_harmless_twice(j))
        add_key_hash(slot, job_hash_id(j), n_most);
}

bool slot_is_short(const struct slot *slot) {
    const struct store_load *load = &slot->load;
    return slot->look_from != 0 && load->n_entries > 0 && load->deltas_since > 0 &&
           load->entries[0].version == load->deltas_since + 1 &&
           load->entries[0].time >= slot->look_from;
}

static void slot_add_entry(struct slot *slot, struct window_entry entry) {
    if (slot->n_entries == slot->cap_entries) {
        slot->cap_entries = slot->cap_entries ? 2 * slot->cap_entries : 8;
        slot->entries = must_realloc(slot->entries, slot->cap_entries * sizeof(*slot->entries));
    }
    slot->entries[slot->n_entries++] = entry;
}

/* A patch that a copy refuses is tried again on what is loaded: one that costs much is not tried on
 * the copy, so that in all it costs no more. */
static bool is_cheap(const struct command *c) {
    size_t i, n_dear = 0;
    json_t *operation;
    if (c->format == COMMAND_PATCH_MERGE)
        return true;
    json_array_foreach(c->patch, i, operation) {
        const char *op = json_string_value(json_object_get(operation, "op"));
        n_dear += op && (strcmp(op, "copy") == 0 || strcmp(op, "test") == 0);
    }
    return n_dear <= KEPT_MAX_DEAR && i <= KEPT_MAX_OPERATIONS;
}

/* The usual commands, of which one that takes effect makes a version; and not what may have been
 * saved before. */
bool slot_may_use_kept(const struct job *j) {
    const struct command *c = &j->command;
    if (j->needs_load || j->is_uncertain || j->look_since != JOB_NO_LOOK)
        return false;
    return c->kind == COMMAND_SWITCH || (c->kind == COMMAND_PATCH && is_cheap(c));
}

bool slot_is_settled_by(const struct session *kept, const struct job *j, const char *saver,
                        int64_t now) {
    uint64_t since;
    int64_t from;
    return !apply_window_since(kept, &j->command, &since) &&
           !may_be_anothers(kept, j, saver, now, &from);
}

void slot_ready(struct slot *slot, const char *run_id) {
    struct store_load *load = &slot->load;
    if (load->err == 0 && strcmp(load->session.run_id, run_id) != 0) {
        slot->is_stale = true;
        return;
    }
    if (load->err == 0 && !slot->is_kept && load->wants_state && !load->session.deleted)
        load->err = session_verify(&load->session);
    if (load->err != 0)
        return;
    slot->current = &load->session;
    slot->loaded_version = load->session.position.version;
    for (size_t i = 0; i < load->n_entries; i++)
        if (!event_tells_rebuilt(load->entries[i].event, load->entries[i].event_len))
            slot_add_entry(slot,
                           (struct window_entry){load->entries[i].version, load->entries[i].event,
                                                 load->entries[i].event_len});
}

void slot_unload(struct slot *slot) {
    struct store_load wanted = slot->load;
    store_load_done(&slot->load);
    slot->load = (struct store_load){.wants_state = wanted.wants_state,
                                     .wants_deltas = wanted.wants_deltas,
                                     .deltas_since = wanted.deltas_since,
                                     .key_hashes = wanted.key_hashes,
                                     .n_key_hashes = wanted.n_key_hashes,
                                     .joiners = wanted.joiners,
                                     .n_joiners = wanted.n_joiners};
    memcpy(slot->load.session_id, wanted.session_id, sizeof(wanted.session_id));
}

void slot_done(struct slot *slot) {
    store_load_done(&slot->load);
    free(slot->key_hashes);
    free(slot->joiners);
    free(slot->entries);
    free(slot->saved);
}

void slot_apply(struct slot *slot, const struct change *change) {
    slot->current = &change->next;
    size_t n = change_n_versions(change);
    for (size_t i = 0; i < n; i++)
        slot_add_entry(slot,
                       (struct window_entry){change->events[i].position.version,
                                             change->events[i].body, change->events[i].body_len});
}

void slot_arm(struct slot *slot, const struct session *s) {
    slot->arms = true;
    if (s->clock_at && (!slot->clock_at || s->clock_at < slot->clock_at))
        slot->clock_at = s->clock_at;
}

void slot_note_command(struct slot *slot, const char *command_id) {
    slot->saved = must_realloc(slot->saved, (slot->n_saved + 1) * sizeof(*slot->saved));
    slot->saved[slot->n_saved++] = command_id;
}

bool slot_saves_command(const struct slot *slot, const char *command_id) {
    for (size_t i = 0; i < slot->n_saved; i++)
        if (strcmp(slot->saved[i], command_id) == 0)
            return true;
    return false;
}

struct store_idem *slot_find_key(struct slot *slot, const char *key_hash) {
    for (size_t i = 0; i < slot->load.n_key_hashes && slot->load.idems; i++)
        if (strcmp(slot->key_hashes[i], key_hash) == 0)
            return &slot->load.idems[i];
    return NULL;
}

bool slot_window_is_whole(const struct slot *slot, uint64_t since) {
    const struct store_load *load = &slot->load;
    uint64_t first = load->n_entries ? load->entries[0].version : slot->loaded_version + 1;
    return load->wants_deltas && load->deltas_since <= since && first <= since + 1;
}

const struct store_entry *slot_find_command(const struct slot *slot, const char *command_id) {
    for (size_t i = 0; i < slot->load.n_entries; i++)
        if (strcmp(slot->load.entries[i].command_id, command_id) == 0)
            return &slot->load.entries[i];
    return NULL;
}

/* What came again: a command that was saved before, or whose key was used, is answered as the first
 * time; see slot.h. */
#include <string.h>

#include "proto/text.h"
#include "services/state_engine/republish.h"
#include "services/state_engine/task_private.h"

/* The command was saved before: its version's answer. */
void task_settle_found(struct task *task, const struct job *j, const struct store_entry *entry,
                       const struct batch_context *context) {
    struct settled *settled = task->settled;
    struct reply *reply = &settled->reply;
    task_settle_unchanged(task, j);
    reply->position.version = entry->version;
    reply->base_version = entry->version - 1;
    struct fault ignored;
    json_auto_t *event = NULL;
    if (text_parse(entry->event, entry->event_len, &event, &ignored) == 0) {
        const char *checksum = json_string_value(json_object_get(event, "checksum"));
        if (checksum && strlen(checksum) == HASH_HEX_LEN)
            memcpy(reply->checksum, checksum, HASH_HEX_LEN + 1);
        reply->rebased = json_is_true(json_object_get(event, "rebased"));
    }
    if (entry->version <= task->slot->current->published)
        return;
    int r = republish_entry(context->store, task->slot->current, entry, settled->events,
                            &settled->n_events);
    if (r != 0)
        strncpy(settled->damage, "an entry of the delta window", sizeof(settled->damage) - 1);
}

void task_settle_seen(struct task *task, const struct job *j, const struct store_idem *idem) {
    struct reply *reply = &task->settled->reply;
    task_settle_unchanged(task, j);
    if (!idem)
        return;
    reply->position = idem->position;
    reply->base_version = idem->position.version - 1;
    if (idem->checksum[0])
        memcpy(reply->checksum, idem->checksum, sizeof(reply->checksum));
}

static void settle_replayed(struct task *task, const struct job *j, const struct store_idem *idem) {
    task_settle_seen(task, j, idem);
    task->settled->reply.replayed = j->command.key[0];
}

/* Nothing but this command knows that the snapshot's event is still to be published: each repeat
 * publishes it, and who has it drops it by its id. */
void task_settle_snapshot_again(struct task *task, const struct job *j,
                                const struct store_idem *idem,
                                const struct batch_context *context) {
    struct settled *settled = task->settled;
    settle_replayed(task, j, idem);
    settled->reply.base_version = idem->position.version;
    settled->reply.last_modified = idem->time;
    int r = republish_snapshot(context->store, task->slot->current, &j->command, idem,
                               &settled->events[0]);
    if (r == 0)
        settled->n_events = 1;
    else if (r != -ENOENT)
        strncpy(settled->damage, "a kept snapshot", sizeof(settled->damage) - 1);
}

/* A snapshot's command that came again: what the window's entry is for the other kinds. */
const struct store_idem *task_find_taken_snapshot(const struct task *task, const struct job *j) {
    if (j->command.kind != COMMAND_SNAPSHOT || !task->looks || !task->slot->current)
        return NULL;
    const struct store_idem *idem = slot_find_key(task->slot, j->key_hash);
    return idem && idem->found && strcmp(idem->fingerprint, j->fingerprint) == 0 ? idem : NULL;
}

/* A session that was rebuilt has no window from before, but remembers what it saw. */
const struct store_idem *task_find_seen(const struct task *task, struct job *j) {
    if (!task->looks || !task->slot->current)
        return NULL;
    const struct store_idem *idem = slot_find_key(task->slot, job_hash_id(j));
    return idem && idem->found ? idem : NULL;
}

/* Whether the key settles the job: it was used before. What a session remembers of its keys counts;
 * a create's claim says for which request the session was made when that is forgotten, and nothing
 * while there is no session: then the request that made the claim was refused. */
bool task_settle_by_key(struct task *task, const struct job *j,
                        const struct batch_context *context) {
    const struct store_idem *idem = j->key_hash[0] ? slot_find_key(task->slot, j->key_hash) : NULL;
    bool is_used = idem && idem->found;
    bool is_forgotten =
        j->command.kind == COMMAND_CREATE && j->key_hash[0] && !is_used && task->slot->current;
    struct fault f;
    if ((is_forgotten && task->claim_differs) ||
        (is_used && strcmp(idem->fingerprint, j->fingerprint) != 0)) {
        fault_set(&f, FAULT_IDEMPOTENCY_KEY_REUSED, "Idempotency-Key",
                  "the key was used for another request");
        task_settle_refused(task, j, &f);
        return true;
    }
    if (is_used && j->command.kind == COMMAND_SNAPSHOT)
        task_settle_snapshot_again(task, j, idem, context);
    else if (is_used)
        settle_replayed(task, j, idem);
    else if (is_forgotten)
        settle_replayed(task, j, NULL);
    return is_used || is_forgotten;
}

void task_remember_key(struct task *task, const struct job *j, int64_t now) {
    struct store_idem *idem = j->key_hash[0] ? slot_find_key(task->slot, j->key_hash) : NULL;
    if (!idem || task->change.n_events == 0)
        return;
    idem->found = true;
    idem->time = now;
    idem->position = task->change.next.position;
    memcpy(idem->fingerprint, j->fingerprint, sizeof(idem->fingerprint));
    memcpy(idem->checksum, task->change.next.checksum, sizeof(idem->checksum));
}

/* One job's way through a batch; see slot.h. The order of the checks is the contract's: a command
 * that comes again is answered as the first time, then rights, then the idempotency key, then the
 * base. */
#include <errno.h>
#include <string.h>

#include "services/state_engine/republish.h"
#include "services/state_engine/task_private.h"

void settled_done(struct settled *s) {
    reply_done(&s->reply);
    for (size_t i = 0; i < s->n_events; i++)
        event_done(&s->events[i]);
    *s = (struct settled){0};
}

void task_done(struct task *task) {
    buf_done(&task->extra);
}

/* ---- replies ---- */

static void reply_start(const struct job *j, struct reply *ret) {
    *ret = (struct reply){0};
    memcpy(ret->id, j->command.id, sizeof(ret->id));
    memcpy(ret->session_id, j->command.session_id, sizeof(ret->session_id));
}

static bool wants_session(const struct command *c) {
    return c->wants_session || c->kind == COMMAND_CREATE || c->kind == COMMAND_STATUS;
}

static void reply_accept(const struct job *j, const struct session *s, struct reply *ret) {
    reply_start(j, ret);
    ret->position = s->position;
    ret->base_version = s->position.version;
    memcpy(ret->checksum, s->checksum, sizeof(ret->checksum));
    ret->last_modified = s->last_modified;
    ret->expires_at = session_expires_at(s);
    enum session_role role = command_role(s, j->command.user_id, j->command.rights);
    if (!wants_session(&j->command) || s->deleted || role == SESSION_ROLE_NONE)
        return;
    struct buf text = BUF_NULL;
    session_print(s, role, &text);
    ret->session = buf_take(&text);
}

void task_settle_refused(struct task *task, const struct job *j, const struct fault *f) {
    reply_start(j, &task->settled->reply);
    task->settled->outcome = OUTCOME_REFUSED;
    task->settled->reply.fault = *f;
}

static void settle_recover(struct task *task, const struct job *j, enum recover_cause cause) {
    reply_start(j, &task->settled->reply);
    task->settled->outcome = OUTCOME_RECOVER;
    task->settled->cause = cause;
}

static void settle_damaged(struct task *task, const struct job *j, const char *what) {
    settle_recover(task, j, RECOVER_DAMAGED);
    strncpy(task->settled->damage, what, sizeof(task->settled->damage) - 1);
}

static void settle_unclaimed(struct task *task, const struct job *j) {
    struct fault f;
    fault_set(&f, FAULT_UNAVAILABLE, NULL, "the store takes no writes now");
    task_settle_refused(task, j, &f);
    strncpy(task->settled->damage, "a create's key was not taken",
            sizeof(task->settled->damage) - 1);
}

/* The session's node is away, and may be replaced in a moment: what was not begun waits a while,
 * what may have taken effect until its deadline. */
static void settle_away(struct task *task, const struct job *j, int64_t now) {
    struct fault f;
    bool may_be_saved = job_may_be_saved(j);
    if (now <= j->command.deadline && (may_be_saved || !j->was_parked)) {
        task->settled->outcome = OUTCOME_LATER;
        return;
    }
    fault_set(&f, may_be_saved ? FAULT_TIMEOUT : FAULT_UNAVAILABLE, NULL,
              "the session's node of the store is away");
    task_settle_refused(task, j, &f);
}

void task_settle_unchanged(struct task *task, const struct job *j) {
    task->settled->outcome = OUTCOME_ACCEPTED;
    reply_accept(j, task->slot->current, &task->settled->reply);
}

/* ---- the usual way ---- */

/* Which Redis node took the save: a reader that sees another one's does not believe it. */
static void note_node(struct session *s, const char *run_id) {
    strncpy(s->run_id, run_id, sizeof(s->run_id) - 1);
}

/* Who makes the version. Those before it are not younger than it. */
static void note_saver(struct session *s, const char *saver) {
    if (strcmp(s->saver, saver) == 0)
        return;
    memcpy(s->saver, saver, sizeof(s->saver));
    s->saver_since = s->updated_at;
}

static const struct apply_device *describe(const struct store_joiner *joiner,
                                           struct apply_device *ret) {
    *ret = (struct apply_device){.has_joined = joiner->has_joined,
                                 .is_counted = joiner->is_counted,
                                 .n_of_user = joiner->n_of_user,
                                 .n_joined = joiner->n_joined,
                                 .last_moment = joiner->moment,
                                 .name = joiner->name,
                                 .platform = joiner->platform};
    return ret;
}

static void apply(struct task *task, const struct job *j, int64_t now,
                  const struct batch_context *context) {
    struct slot *slot = task->slot;
    struct store_joiner *joiner = slot_find_joiner(slot, &j->command);
    struct apply_device device;
    struct apply_context apply_context = {
        .now = now,
        .snapshot_every = context->snapshot_every,
        .device = joiner ? describe(joiner, &device) : NULL,
        .window = {slot->entries, slot->n_entries},
    };
    struct fault f;
    char *conflict = NULL;
    int r = session_apply(slot->current, &j->command, &apply_context, &task->change, &f, &conflict);
    if (r < 0) {
        settle_damaged(task, j, "data is not JSON");
    } else if (r > 0) {
        task_settle_refused(task, j, &f);
        task->settled->reply.conflict = conflict;
    } else if (!task->change.saves) {
        task_settle_unchanged(task, j);
        if (j->command.kind == COMMAND_DUE && slot->current->clock_at)
            slot_arm(slot, slot->current); /* its entry stands at the lease's end */
    } else {
        task->saves = true;
        if (task->change.n_events > 0)
            slot_arm(slot, &task->change.next);
        note_node(&task->change.next, store_batch_run_id(context->store, task->change.next.id));
        note_saver(&task->change.next, store_batch_saver(context->store));
        task->moves_token = change_n_versions(&task->change) > 0 || task->change.tells_clock;
        task->before = slot->current;
        if (slot->current)
            task->expected = slot->current->position;
        republish_print_extra(task->change.events, task->change.n_events, &task->extra);
        slot_apply(slot, &task->change);
        slot_note_command(slot, j->command.id);
        if (task->change.joins && joiner) {
            task->joiner = joiner;
            slot_note_joined(slot, joiner);
        }
        task_remember_key(task, j, now);
    }
}

static bool is_late(struct task *task, const struct job *j, int64_t now) {
    struct fault f;
    if (now <= j->command.deadline)
        return false;
    if (job_may_be_saved(j) && !slot_window_is_whole(task->slot, j->look_since))
        fault_set(&f, FAULT_TIMEOUT, NULL, "the command came again too late to be found");
    else
        fault_set(&f, FAULT_UNAVAILABLE, NULL, "the command's deadline passed before it was begun");
    task_settle_refused(task, j, &f);
    return true;
}

/* What came again while its first copy is in the same batch is looked for in the next one. */
static bool is_twin(const struct task *task, const struct job *j) {
    return task->looks && slot_saves_command(task->slot, j->command.id);
}

/* Whether there may be a session where Redis has none: a create of which nobody heard before makes
 * one. */
static bool needs_recovery(const struct task *task, const struct job *j) {
    if (task->slot->current)
        return false;
    return j->command.kind != COMMAND_CREATE ||
           (!j->may_create && (j->has_old_claim || job_may_be_saved(j)));
}

static void settle_forgotten(struct task *task, const struct job *j) {
    reply_start(j, &task->settled->reply);
    task->settled->outcome = OUTCOME_ASK_KEY;
}

/* What the clock's moment has changed the command is to find: it comes after that, as if the engine
 * had been in time. */
static bool waits_for_clock(const struct task *task, const struct job *j, int64_t now) {
    const struct session *s = task->slot->current;
    switch (j->command.kind) {
    case COMMAND_CREATE:
    case COMMAND_DELETE:
    case COMMAND_LOAD:
    case COMMAND_DUE:
        return false;
    default:
        return s && s->clock_at && s->clock_at <= now;
    }
}

/* Once for each moment: what could not be saved then cannot be now. */
static void settle_behind_clock(struct task *task, struct job *j) {
    struct fault f;
    if (j->clock_at == task->slot->current->clock_at) {
        fault_set(&f, FAULT_UNAVAILABLE, NULL, "the clock's deadline could not be saved");
        task_settle_refused(task, j, &f);
        return;
    }
    j->clock_at = task->slot->current->clock_at;
    reply_start(j, &task->settled->reply);
    task->settled->outcome = OUTCOME_CLOCK;
    task->settled->is_first = !task->slot->is_late;
    task->slot->is_late = true;
}

static void apply_in_time(struct task *task, struct job *j, int64_t now,
                          const struct batch_context *context) {
    if (waits_for_clock(task, j, now))
        settle_behind_clock(task, j);
    else
        apply(task, j, now, context);
}

/* Everything but a change to save is settled by what Redis has now, and so are those behind it. */
static void settle_by_load(struct task *task, struct job *j) {
    task->slot->is_open = true;
    j->needs_load = true;
    settled_done(task->settled);
    task->settled->outcome = OUTCOME_LOAD;
}

static void run_on_kept(struct task *task, struct job *j, int64_t now,
                        const struct batch_context *context) {
    const struct session *s = task->slot->current;
    struct fault ignored;
    bool is_usual = !task->slot->is_open && now <= j->command.deadline &&
                    apply_check_rights(s, &j->command, &ignored) == 0 &&
                    !waits_for_clock(task, j, now);
    if (is_usual)
        apply(task, j, now, context);
    if (!task->saves)
        settle_by_load(task, j);
}

void task_run(struct task *task, struct job *j, int64_t now, const struct batch_context *context) {
    struct slot *slot = task->slot;
    struct fault f;
    if (slot->is_kept) {
        run_on_kept(task, j, now, context);
        return;
    }
    const struct store_entry *entry =
        task->looks && slot->current ? slot_find_command(slot, j->command.id) : NULL;
    const struct store_idem *taken = task_find_taken_snapshot(task, j);
    const struct store_idem *seen = task_find_seen(task, j);
    if (slot->load.err == -ENOTCONN || task->claim_is_away) {
        settle_away(task, j, now);
    } else if (slot->load.err == -EBADMSG) {
        settle_damaged(task, j, "state or meta");
    } else if (slot->is_stale) {
        settle_recover(task, j, RECOVER_STALE);
    } else if (task->claim_failed) {
        settle_unclaimed(task, j);
    } else if (is_twin(task, j)) {
        task->settled->outcome = OUTCOME_AGAIN;
    } else if (entry) {
        task_settle_found(task, j, entry, context);
    } else if (taken) {
        task_settle_snapshot_again(task, j, taken, context);
    } else if (seen) {
        task_settle_seen(task, j, seen);
    } else if (is_late(task, j, now)) {
        return;
    } else if (task->asks_key && !slot->current) {
        settle_forgotten(task, j);
    } else if (needs_recovery(task, j)) {
        settle_recover(task, j, RECOVER_ABSENT);
    } else if (apply_check_rights(slot->current, &j->command, &f) != 0) {
        task_settle_refused(task, j, &f);
    } else if (!task_settle_by_key(task, j, context)) {
        apply_in_time(task, j, now, context);
    }
}

/* ---- after the save ---- */

/* What the audit trail is to restore of it after a loss. */
static void note_command(struct event *e, const struct job *j) {
    memcpy(e->command_id, j->command.id, sizeof(e->command_id));
    memcpy(e->key_hash, j->key_hash, sizeof(e->key_hash));
    memcpy(e->fingerprint, j->fingerprint, sizeof(e->fingerprint));
}

static void settle_accepted(struct task *task, const struct job *j) {
    struct change *change = &task->change;
    struct settled *ret = task->settled;
    ret->outcome = OUTCOME_ACCEPTED;
    if (task->is_unreplicated) {
        reply_start(j, &ret->reply);
        fault_set(&ret->reply.fault, FAULT_TIMEOUT, NULL,
                  "the change was saved, but too few replicas have it");
    } else {
        reply_accept(j, &change->next, &ret->reply);
    }
    ret->reply.base_version = change->base_version;
    ret->reply.rebased = change->rebased;
    if (j->command.kind == COMMAND_SNAPSHOT)
        ret->reply.last_modified = change->events[0].timestamp;
    ret->deadline = change->deadline;
    ret->n_events = change->n_events;
    for (size_t i = 0; i < change->n_events; i++) {
        ret->events[i] = change->events[i];
        change->events[i] = (struct event){0};
    }
    change->n_events = 0;
    for (size_t i = 0; i < ret->n_events; i++)
        if (i == 0 || event_is_versioned(ret->events[i].type))
            note_command(&ret->events[i], j);
}

static void settle_not_taken(struct task *task, const struct job *j) {
    struct fault f;
    fault_set(&f, FAULT_UNAVAILABLE, NULL, "%s",
              task->result == STORE_FULL ? "too many changes wait to be published"
                                         : "the store takes no writes now");
    task_settle_refused(task, j, &f);
    if (task->result == STORE_REFUSED)
        memcpy(task->settled->damage, task->text, sizeof(task->text));
}

/* A key of another type than ours. */
static bool is_damage(const struct task *task) {
    return task->result == STORE_REFUSED && strstr(task->text, "WRONGTYPE");
}

void task_settle_saved(struct task *task, struct job *j, int64_t now) {
    if (task->result == STORE_SAVED) {
        settle_accepted(task, j);
        return;
    }
    task->slot->is_lost = true;
    j->is_uncertain |= task->result == STORE_UNKNOWN;
    if (task->result == STORE_LOST || task->result == STORE_UNKNOWN) {
        task->settled->outcome = OUTCOME_AGAIN;
    } else if (task->result == STORE_SEEN) {
        j->needs_load = true;
        task->settled->outcome = OUTCOME_LOAD;
    } else if (task->result == STORE_AWAY || is_damage(task)) {
        if (task->result == STORE_AWAY)
            settle_away(task, j, now);
        else
            settle_damaged(task, j, task->text);
    } else {
        settle_not_taken(task, j);
    }
}

/* Load, apply, save; see batch.h. Jobs of one session build on each other in memory, in order; the
 * session's saves go out in one pipeline, each comparing the position that the one before leaves,
 * and its token. */
#include "services/state_engine/batch.h"

#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "common/store_recover.h"
#include "services/state_engine/batch_private.h"

static void batch_done(struct batch *b) {
    for (size_t i = 0; i < b->n_slots; i++)
        slot_done(&b->slots[i]);
    for (size_t i = 0; i < b->n; i++)
        change_done(&b->tasks[i].change);
    free(b->slots);
    free(b->tasks);
}

/* ---- load ---- */

static bool needs_claim(const struct job *j) {
    return j->command.kind == COMMAND_CREATE && j->key_hash[0];
}

static void take_claim(struct task *task, struct job *j, const struct store_claim *claim) {
    task->claim_failed = claim->err != 0;
    task->claim_is_away = claim->err == -ENOTCONN;
    if (claim->err != 0)
        return;
    task->claim_differs = !claim->same_request;
    j->has_old_claim |= strcmp(j->command.session_id, claim->session_id) != 0;
    memcpy(j->command.session_id, claim->session_id, sizeof(claim->session_id));
}

/* A create with a key takes the session id that the key's first use chose. */
static int claim_creates(struct batch *b) {
    _cleanup_(freep) struct store_claim *claims = must_alloc(b->n * sizeof(*claims));
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct job *j = b->jobs[i];
        if (needs_claim(j))
            claims[n++] = (struct store_claim){.user_id = j->command.user_id,
                                               .key_hash = j->key_hash,
                                               .fingerprint = j->fingerprint,
                                               .wanted_id = j->command.session_id};
    }
    if (n > 0)
        CRASH_LINK("engine.claims.asking", CRASH_REDIS);
    int r = n > 0 ? store_batch_claim_creates(b->context->store, claims, n) : 0;
    if (n > 0 && CRASH_POINT_CUT("engine.claims.answered", CRASH_REDIS))
        r = -EIO;
    n = 0;
    for (size_t i = 0; r == 0 && i < b->n; i++)
        if (needs_claim(b->jobs[i]))
            take_claim(&b->tasks[i], b->jobs[i], &claims[n++]);
    return r;
}

static struct slot *slot_for(struct batch *b, const char *session_id) {
    for (size_t i = 0; i < b->n_slots; i++)
        if (memcmp(b->slots[i].load.session_id, session_id, UUID_LEN) == 0)
            return &b->slots[i];
    struct slot *slot = &b->slots[b->n_slots++];
    memcpy(slot->load.session_id, session_id, UUID_LEN + 1);
    slot->load.deltas_since = JOB_NO_LOOK;
    return slot;
}

static void sort_into_slots(struct batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        struct slot *slot = slot_for(b, b->jobs[i]->command.session_id);
        b->tasks[i].slot = slot;
        b->tasks[i].settled = &b->settled[i];
        b->tasks[i].looks = b->jobs[i]->look_since != JOB_NO_LOOK;
        slot_add_job(slot, b->jobs[i], b->n);
    }
}

static int load_slots(struct batch *b, struct slot **slots, size_t n) {
    if (n == 0)
        return 0;
    _cleanup_(freep) struct store_load *loads = must_alloc(n * sizeof(*loads));
    for (size_t i = 0; i < n; i++)
        loads[i] = slots[i]->load;
    CRASH_LINK("engine.load.asking", CRASH_REDIS);
    int r = store_batch_load(b->context->store, loads, n, &b->now);
    for (size_t i = 0; i < n; i++)
        slots[i]->load = loads[i];
    if (CRASH_POINT_CUT("engine.load.answered", CRASH_REDIS))
        r = -EIO;
    return r;
}

/* Those that have to be judged against what was missed, or to be looked for in what another engine
 * did: their sessions are loaded once more, with the window. The usual command needs none, and a
 * conflict can afford a round trip. */
static void find_behind(struct batch *b) {
    const char *saver = store_batch_saver(b->context->store);
    for (size_t i = 0; i < b->n; i++) {
        struct slot *slot = b->tasks[i].slot;
        uint64_t since;
        if (slot->load.err != 0 || slot->is_kept)
            continue;
        if (apply_window_since(&slot->load.session, &b->jobs[i]->command, &since))
            slot_want_window(slot, since);
        if (!b->tasks[i].looks)
            (void)slot_may_hide(slot, b->jobs[i], saver, b->now);
    }
}

/* What comes in between the two loads may be any of its jobs' doing. */
static void look_for_all(struct batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        struct task *task = &b->tasks[i];
        if (!task->slot->is_behind || task->looks)
            continue;
        slot_look_for(task->slot, b->jobs[i], b->n);
        task->looks = true;
    }
}

static int load_again(struct batch *b, bool (*is_wanted)(const struct slot *slot)) {
    _cleanup_(freep) struct slot **wanted = must_alloc(b->n_slots * sizeof(struct slot *));
    size_t n = 0;
    for (size_t i = 0; i < b->n_slots; i++)
        if (is_wanted(&b->slots[i]))
            wanted[n++] = &b->slots[i];
    for (size_t i = 0; i < n; i++) {
        bool is_short = slot_is_short(wanted[i]);
        slot_unload(wanted[i]);
        if (is_short)
            wanted[i]->load.deltas_since = 0;
    }
    if (n > 0)
        CRASH_LINK("engine.window.asking", CRASH_REDIS);
    return load_slots(b, wanted, n);
}

static bool is_behind(const struct slot *slot) {
    return slot->is_behind;
}

static int load_windows(struct batch *b) {
    find_behind(b);
    look_for_all(b);
    int r = load_again(b, is_behind);
    return r == 0 ? load_again(b, slot_is_short) : r;
}

static bool may_be_forgotten(const struct task *task, const struct job *j) {
    return needs_claim(j) && !task->claim_failed && task->slot->load.err == -ENOENT &&
           !j->key_is_judged;
}

/* A key without a claim was never used, or Redis has forgotten it: only an old memory tells which.
 */
static int judge_keys(struct batch *b) {
    _cleanup_(freep) struct store_memory *memories = must_alloc(b->n * sizeof(*memories));
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (may_be_forgotten(&b->tasks[i], b->jobs[i]))
            memories[n++].user_id = b->jobs[i]->command.user_id;
    int r = n > 0 ? store_batch_memories(b->context->store, memories, n) : 0;
    n = 0;
    for (size_t i = 0; r == 0 && i < b->n; i++) {
        if (!may_be_forgotten(&b->tasks[i], b->jobs[i]))
            continue;
        b->tasks[i].asks_key = memories[n].err != 0 || memories[n].is_young;
        n++;
    }
    return r;
}

static int load_all(struct batch *b) {
    int r = claim_creates(b);
    if (r != 0)
        return r;
    sort_into_slots(b);
    batch_take_kept(b);
    _cleanup_(freep) struct slot **others = must_alloc(b->n_slots * sizeof(struct slot *));
    size_t n_others = 0;
    for (size_t i = 0; i < b->n_slots; i++)
        if (!b->slots[i].is_kept)
            others[n_others++] = &b->slots[i];
    r = load_slots(b, others, n_others);
    if (r == 0)
        r = load_windows(b);
    if (r == 0)
        r = judge_keys(b);
    for (size_t i = 0; r == 0 && i < b->n_slots; i++)
        slot_ready(&b->slots[i],
                   store_batch_run_id(b->context->store, b->slots[i].load.session_id));
    return r;
}

/* ---- save ---- */

static void fill_save(const struct batch *b, const struct task *task, struct store_save *save) {
    const struct job *j = b->jobs[task - b->tasks];
    const struct change *change = &task->change;
    bool has_key = j->key_hash[0] && change->n_events > 0;
    size_t n_versions = change_n_versions(change);
    const struct event *first = &change->events[0],
                       *last = n_versions ? &change->events[n_versions - 1] : NULL;
    *save = (struct store_save){
        .session = &change->next,
        .expected = task->expected,
        .before = task->before,
        .token = task->moves_token ? task->slot->load.token : "",
        .writes_state = last && !change->next.deleted,
        .command_id = j->command.id,
        .trace = &j->command.trace,
        .event = last ? last->body : NULL,
        .event_len = last ? last->body_len : 0,
        .first_event = n_versions == 2 ? first->body : NULL,
        .first_event_len = n_versions == 2 ? first->body_len : 0,
        .tells_clock = change->tells_clock,
        .told_before = change->told_before,
        .extra = task->extra.data,
        .snapshot_id = change->snapshot_id,
        .dropped_snapshot = change->dropped_snapshot,
        .kept_before = change->kept_before,
        .key_hash = has_key ? j->key_hash : NULL,
        .fingerprint = has_key ? j->fingerprint : NULL,
        .is_unseen = task->slot->is_kept,
        .joiner = task->joiner,
        .joined_at = change->joined_at,
        .now = b->now,
    };
}

static size_t fill_arms(const struct batch *b, struct store_arm *arms) {
    size_t n = 0;
    for (size_t i = 0; i < b->n_slots; i++) {
        const struct slot *slot = &b->slots[i];
        if (!slot->arms)
            continue;
        int64_t at =
            b->context->arm(b->context->arg, slot->load.session_id, b->now, slot->clock_at);
        if (at == 0)
            continue;
        memcpy(arms[n].session_id, slot->load.session_id, sizeof(arms[n].session_id));
        arms[n++].at = at;
    }
    return n;
}

static void note_uncertain(struct batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        struct job *j = b->jobs[i];
        if (!b->tasks[i].saves)
            continue;
        j->is_uncertain = true;
        if (b->tasks[i].slot->loaded_version < j->look_since)
            j->look_since = b->tasks[i].slot->loaded_version;
    }
}

static int save_all(struct batch *b) {
    _cleanup_(freep) struct store_save *saves = must_alloc(b->n * sizeof(*saves));
    _cleanup_(freep) struct task **tasks = must_alloc(b->n * sizeof(struct task *));
    _cleanup_(freep) struct store_arm *arms = must_alloc(b->n_slots * sizeof(*arms));
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (!b->tasks[i].saves)
            continue;
        tasks[n] = &b->tasks[i];
        fill_save(b, &b->tasks[i], &saves[n++]);
    }
    size_t n_arms = fill_arms(b, arms);
    if (n == 0 && n_arms == 0 && b->context->n_marks == 0)
        return 0;
    if (n_arms > 0)
        CRASH_LINK("engine.attention.arming", CRASH_REDIS);
    if (n > 0)
        CRASH_LINK("engine.save.sending", CRASH_REDIS);
    int r = store_batch_save(b->context->store, saves, n, arms, n_arms, b->context->marks,
                             b->context->n_marks);
    if (n > 0 && CRASH_POINT_CUT("engine.save.answered", CRASH_REDIS))
        r = -EIO;
    for (size_t i = 0; r == 0 && i < n; i++) {
        tasks[i]->result = saves[i].result;
        tasks[i]->is_unreplicated = saves[i].is_unreplicated;
        memcpy(tasks[i]->text, saves[i].text, sizeof(tasks[i]->text));
        memcpy(tasks[i]->token, saves[i].saved_token, sizeof(tasks[i]->token));
    }
    if (r != 0)
        note_uncertain(b);
    return r;
}

/* ---- outcome ---- */

/* A job of a session whose earlier save in this batch did not hold was judged on what never came to
 * be. */
static void settle_all(struct batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        struct task *task = &b->tasks[i];
        struct settled *settled = &b->settled[i];
        if (task->slot->is_lost) {
            settled_done(settled);
            settled->outcome = OUTCOME_AGAIN;
        } else if (task->saves) {
            task_settle_saved(task, b->jobs[i], b->now);
        }
        if (settled->outcome == OUTCOME_AGAIN &&
            task->slot->loaded_version < b->jobs[i]->look_since && task->saves)
            b->jobs[i]->look_since = task->slot->loaded_version;
        settled->job = b->jobs[i];
    }
}

int batch_run(const struct batch_context *context, struct job **jobs, size_t n,
              struct settled *settled) {
    struct batch b = {.context = context, .jobs = jobs, .settled = settled, .n = n};
    b.tasks = must_alloc(n * sizeof(*b.tasks));
    b.slots = must_alloc(n * sizeof(*b.slots));
    batch_set_now(&b);
    int r = load_all(&b);
    for (size_t i = 0; r == 0 && i < n; i++)
        task_run(&b.tasks[i], jobs[i], b.now, context);
    if (r == 0 && !store_batch_is_connected(context->store))
        r = -ENOTCONN; /* lost while an old entry was read */
    if (r == 0)
        r = save_all(&b);
    if (r == 0)
        settle_all(&b);
    if (r == 0)
        batch_keep(&b);
    for (size_t i = 0; i < n; i++) {
        if (r != 0)
            settled_done(&settled[i]);
        task_done(&b.tasks[i]);
    }
    batch_done(&b);
    return r;
}

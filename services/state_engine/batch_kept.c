/* A batch and the sessions that recent.h keeps; see docs/decisions/0014. */
#include "services/state_engine/batch_private.h"

#define MAX_AHEAD_MS 10

/* Who makes a version says that it is not older than the command: slot_may_hide counts on that.
 * Two estimates of Redis' time may differ by a few ms. */
void batch_set_now(struct batch *b) {
    b->now = b->context->now;
    for (size_t i = 0; i < b->n; i++) {
        int64_t sent_at = b->jobs[i]->command.sent_at;
        if (sent_at > b->now && sent_at <= b->context->now + MAX_AHEAD_MS)
            b->now = sent_at;
    }
}

static bool may_all_use_kept(const struct batch *b, const struct slot *slot) {
    for (size_t i = 0; i < b->n; i++)
        if (b->tasks[i].slot == slot && !slot_may_use_kept(b->jobs[i]))
            return false;
    return true;
}

static bool settles_all(const struct batch *b, const struct slot *slot) {
    const char *saver = store_batch_saver(b->context->store);
    for (size_t i = 0; i < b->n; i++)
        if (b->tasks[i].slot == slot &&
            !slot_is_settled_by(&slot->load.session, b->jobs[i], saver, b->now))
            return false;
    return true;
}

void batch_take_kept(struct batch *b) {
    struct store_batch *store = b->context->store;
    struct recent *recent = b->context->recent;
    recent_check(recent, store_batch_n_losses(store));
    for (size_t i = 0; i < b->n_slots; i++) {
        struct slot *slot = &b->slots[i];
        struct store_load *load = &slot->load;
        if (!may_all_use_kept(b, slot))
            continue;
        slot->is_kept =
            recent_take(recent, load->session_id, store_batch_run_id(store, load->session_id),
                        &load->session, load->token) &&
            settles_all(b, slot);
        if (!slot->is_kept)
            session_done(&load->session);
        recent_count(recent, slot->is_kept);
    }
}

/* The session as the last save left it, or as it was loaded. */
static void keep(struct batch *b, struct slot *slot) {
    struct session *last = &slot->load.session;
    const char *token = slot->load.token;
    for (size_t i = 0; i < b->n; i++) {
        struct task *task = &b->tasks[i];
        if (task->slot != slot || !task->saves)
            continue;
        if (task->is_unreplicated)
            return;
        last = &task->change.next;
        if (task->moves_token)
            token = task->token;
    }
    last->cooling[0] = '\0';
    recent_put(b->context->recent, last, token);
}

static void note(struct batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        struct task *task = &b->tasks[i];
        bool is_known = task->result == STORE_SAVED || task->result == STORE_LOST;
        if (task->saves && task->slot->is_kept && is_known)
            recent_note(b->context->recent, task->result == STORE_LOST);
    }
}

void batch_keep(struct batch *b) {
    note(b);
    for (size_t i = 0; i < b->n_slots; i++) {
        struct slot *slot = &b->slots[i];
        if (!slot->is_lost && slot->current)
            keep(b, slot);
    }
}

/* Saving a batch: attention entries, published marks and compare-and-set scripts in one round trip.
 *
 * Several saves of one session in a batch build on each other. A position alone does not say so:
 * when the first loses to another engine's save of the same version, the second would find the
 * version that it expects and write over what it never saw. So each save leaves a token in meta,
 * and one that builds on an earlier save of the batch asks for that one's token. */
#include <errno.h>
#include <string.h>

#include "common/store_private.h"

#define MAX_ROUNDS 3

struct plan {                /* one save's way through the rounds */
    size_t builds_on;        /* 1 + index of that session's earlier save in this batch; 0: none */
    bool is_due;             /* to be sent, or sent again */
    struct store_node *node; /* that answered */
};

struct batch {
    struct store_batch *b;
    struct store_save *saves;
    size_t n_saves;
    const struct store_arm *arms;
    size_t n_arms;
    struct store_mark *marks;
    size_t n_marks;
    struct plan *plans;
    bool *mark_is_due;
    bool *arm_is_due;
    struct store_command command; /* scratch */
};

/* ---- plan ---- */

static size_t place_of(const struct store_save *saves, const size_t *slots, size_t n_slots,
                       const char *session_id) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *p = session_id; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    size_t slot = hash % n_slots;
    while (slots[slot] && strcmp(saves[slots[slot] - 1].session->id, session_id) != 0)
        slot = (slot + 1) % n_slots;
    return slot;
}

/* A heartbeat leaves the token as it is: nothing builds on it. */
static void make_plans(struct batch *t) {
    size_t n_slots = 2 * t->n_saves + 1;
    size_t *slots = must_alloc(n_slots * sizeof(*slots)); /* 1 + index of the session's last save */
    for (size_t i = 0; i < t->n_saves; i++) {
        size_t slot = place_of(t->saves, slots, n_slots, t->saves[i].session->id);
        store_print_token(t->b, t->saves[i].saved_token);
        t->plans[i].is_due = true;
        t->plans[i].builds_on = slots[slot];
        if (t->saves[i].event || t->saves[i].tells_clock)
            slots[slot] = i + 1;
    }
    free(slots);
}

/* ---- send ---- */

static void queue_save(struct batch *t, size_t i) {
    const struct plan *plan = &t->plans[i];
    const struct store_save *save = &t->saves[i];
    const char *builds_on = save->token ? save->token : "";
    if (plan->builds_on)
        builds_on = t->saves[plan->builds_on - 1].saved_token;
    store_begin_save(t->b, &t->command, save, builds_on);
    store_send(t->b, &t->command);
}

static void queue_arm(struct batch *t, const struct store_arm *arm) {
    store_command_begin(&t->command, "ZADD");
    store_put_attention(t->b, &t->command, arm->session_id);
    store_puts(&t->command, "LT");
    store_put_i64(&t->command, arm->at);
    store_puts(&t->command, arm->session_id);
    store_send(t->b, &t->command);
}

static void queue_mark(struct batch *t, const struct store_mark *mark) {
    store_begin_script(t->b, &t->command, STORE_SCRIPT_MARK, 2);
    store_put_key(&t->command, STORE_META, mark->session_id);
    store_put_key(&t->command, STORE_CONFIRMED, mark->session_id);
    store_put_u64(&t->command, mark->published.version);
    store_put_u64(&t->command, mark->published.epoch);
    store_put_u64(&t->command, mark->first);
    store_send(t->b, &t->command);
}

static void queue_arms(struct batch *t) {
    for (size_t i = 0; i < t->n_arms; i++)
        if (t->arm_is_due[i])
            queue_arm(t, &t->arms[i]);
}

/* Marks go first: what they free may be what keeps a window from being full. */
static void queue_saves(struct batch *t) {
    for (size_t i = 0; i < t->n_marks; i++)
        if (t->mark_is_due[i])
            queue_mark(t, &t->marks[i]);
    for (size_t i = 0; i < t->n_saves; i++)
        if (t->plans[i].is_due)
            queue_save(t, i);
}

/* ---- answers ---- */

/* Every error is one from before the script's first write (save.lua sees to it), but that of a node
 * that was lost. */
static void take_save(const struct store_batch *b, const redisReply *reply, struct store_save *save,
                      struct plan *plan) {
    plan->is_due = store_is_noscript(reply);
    plan->node = b->pipe.answered;
    save->is_unreplicated = false;
    save->text[0] = '\0';
    save->result = STORE_REFUSED;
    if (store_is_away(b, reply))
        save->result = store_is_gone(reply) ? STORE_UNKNOWN : STORE_AWAY;
    else if (reply->type == REDIS_REPLY_STRING && strcmp(reply->str, "SAVED") == 0)
        save->result = STORE_SAVED;
    else if (reply->type == REDIS_REPLY_STRING && strcmp(reply->str, "LOST") == 0)
        save->result = STORE_LOST;
    else if (reply->type == REDIS_REPLY_STRING && strcmp(reply->str, "SEEN") == 0)
        save->result = STORE_SEEN;
    else if (reply->type == REDIS_REPLY_STRING && strcmp(reply->str, "FULL") == 0)
        save->result = STORE_FULL;
    else
        store_copy(save->text, sizeof(save->text), reply->str ? reply->str : "no answer",
                   reply->str ? (size_t)reply->len : strlen("no answer"));
}

static int take_arms(struct batch *t) {
    for (size_t i = 0; i < t->n_arms; i++) {
        if (!t->arm_is_due[i])
            continue;
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        int err = store_next(t->b, &reply);
        if (err)
            return err;
        t->arm_is_due[i] = reply->type == REDIS_REPLY_ERROR;
    }
    return 0;
}

/* A mark that Redis refused (out of memory) is not settled: the caller asks again. */
static int take_marks(struct batch *t) {
    for (size_t i = 0; i < t->n_marks; i++) {
        if (!t->mark_is_due[i])
            continue;
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        int err = store_next(t->b, &reply);
        if (err)
            return err;
        t->mark_is_due[i] = store_is_noscript(reply);
        t->marks[i].settled = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
    }
    return 0;
}

static int take_saves(struct batch *t) {
    int err = take_marks(t);
    for (size_t i = 0; i < t->n_saves && !err; i++) {
        if (!t->plans[i].is_due)
            continue;
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        err = store_next(t->b, &reply);
        if (!err)
            take_save(t->b, reply, &t->saves[i], &t->plans[i]);
    }
    return err;
}

/* A save that lost because the one it builds on found no script goes again behind it. Saves that
 * build on each other are in order, so one pass carries it along a chain. */
static void revive_followers(struct batch *t) {
    for (size_t i = 0; i < t->n_saves; i++) {
        const struct plan *plan = &t->plans[i];
        if (plan->builds_on && t->saves[i].result == STORE_LOST &&
            t->plans[plan->builds_on - 1].is_due)
            t->plans[i].is_due = true;
    }
}

static bool saved_unarmed(const struct batch *t) {
    for (size_t a = 0; a < t->n_arms; a++)
        for (size_t i = 0; t->arm_is_due[a] && i < t->n_saves; i++)
            if (t->saves[i].result == STORE_SAVED &&
                strcmp(t->saves[i].session->id, t->arms[a].session_id) == 0)
                return true;
    return false;
}

static bool lacks_scripts(const struct batch *t) {
    bool lacks = false;
    for (size_t i = 0; i < t->n_saves; i++)
        lacks |= t->plans[i].is_due;
    for (size_t i = 0; i < t->n_marks; i++)
        lacks |= t->mark_is_due[i];
    return lacks;
}

static int slot_of_session(const char *session_id) {
    char key[STORE_KEY_CAP];
    store_key(STORE_META, session_id, key);
    return (int)store_slot_of(key, strlen(key));
}

/* A session's attention entry is to be there before what is saved: on the same node it goes before
 * it in the pipeline. */
static bool arms_are_apart(const struct batch *t) {
    const struct store_map *map = t->b->map;
    for (size_t i = 0; map && i < t->n_arms; i++) {
        const struct store_node *node = store_node_of(t->b, slot_of_session(t->arms[i].session_id));
        uint16_t owner = map->attention[store_map_attention(map, t->arms[i].session_id)];
        if (owner == STORE_NOBODY || t->b->nodes[owner] != node)
            return true;
    }
    return false;
}

/* What could not be armed is not saved. */
static void hold_back_unarmed(struct batch *t) {
    for (size_t a = 0; a < t->n_arms; a++)
        for (size_t i = 0; t->arm_is_due[a] && i < t->n_saves; i++)
            if (strcmp(t->saves[i].session->id, t->arms[a].session_id) == 0) {
                t->plans[i].is_due = false;
                t->saves[i].result = STORE_AWAY;
            }
}

static int ask_all(struct batch *t) {
    bool are_apart = arms_are_apart(t);
    queue_arms(t);
    int err = are_apart ? take_arms(t) : 0;
    if (are_apart && !err)
        hold_back_unarmed(t);
    if (err)
        return err;
    queue_saves(t);
    if (!are_apart)
        err = take_arms(t);
    return err ? err : take_saves(t);
}

/* An attention entry that Redis refused (out of memory) does not matter when the save was refused
 * as well; beside a save that went through it has to come, or nobody would look after that save's
 * event. */
static int run_rounds(struct batch *t) {
    for (int round = 0; round < MAX_ROUNDS; round++) {
        int err = round ? store_load_scripts(t->b) : 0;
        if (!err)
            err = ask_all(t);
        if (err)
            return err;
        revive_followers(t);
        if (!lacks_scripts(t) && !saved_unarmed(t))
            return 0;
    }
    return store_drop(t->b, -EIO);
}

/* ---- replicas ---- */

static int wait_for_replicas(struct batch *t) {
    _cleanup_(freep) struct store_node **nodes =
        must_alloc(t->n_saves * sizeof(struct store_node *));
    for (size_t i = 0; i < t->n_saves; i++)
        nodes[i] = t->saves[i].result == STORE_SAVED ? t->plans[i].node : NULL;
    return t->b->n_wait_replicas ? store_wait_for_replicas(t->b, t->saves, nodes, t->n_saves) : 0;
}

static bool *all_true(size_t n) {
    bool *list = must_alloc(n * sizeof(*list));
    for (size_t i = 0; i < n; i++)
        list[i] = true;
    return list;
}

int store_batch_save(struct store_batch *b, struct store_save *saves, size_t n_saves,
                     const struct store_arm *arms, size_t n_arms, struct store_mark *marks,
                     size_t n_marks) {
    if (!store_batch_is_connected(b))
        return -ENOTCONN;
    struct batch t = {
        .b = b,
        .saves = saves,
        .n_saves = n_saves,
        .arms = arms,
        .n_arms = n_arms,
        .marks = marks,
        .n_marks = n_marks,
        .plans = must_alloc(n_saves * sizeof(*t.plans)),
        .mark_is_due = all_true(n_marks),
        .arm_is_due = all_true(n_arms),
    };
    make_plans(&t);
    int err = run_rounds(&t);
    if (!err)
        err = wait_for_replicas(&t);
    free(t.plans);
    free(t.mark_is_due);
    free(t.arm_is_due);
    store_command_done(&t.command);
    return err;
}

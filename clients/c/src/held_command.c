/* A session's commands: made, shown at once, sent, made anew or taken back. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "clients/c/src/diff.h"
#include "clients/c/src/hand.h"
#include "proto/text.h"

#define MAX_REBASES 100 /* in a row, each of which another's change was quicker than */
#define ID_ROOM 64      /* of a frame, for what is added to a command when it is sent */

/* ---- a patch ---- */

json_t *held_patch_command(const struct handoff_session *s, const char *key, json_t *operations) {
    struct handoff_position at = s->replica.position;
    json_t *command = json_object();
    json_object_set_new(command, "type", json_string("patch"));
    json_object_set_new(command, "sessionId", json_string(s->id));
    json_object_set_new(command, "key", json_string(key));
    json_object_set_new(command, "operations", operations);
    if (at.epoch) {
        json_object_set_new(command, "baseVersion", json_real((double)at.version));
        json_object_set_new(command, "epoch", json_real((double)at.epoch));
    } else {
        json_object_set(command, "baseVersion", json_object_get(s->replica.session, "version"));
        json_object_set(command, "epoch", json_object_get(s->replica.session, "epoch"));
    }
    json_object_set_new(command, "merge", json_string("disjoint"));
    return command;
}

/* The function gets values as jansson's users know them, and numbers come back as ours: by way of
 * their text. */
static json_t *operations_of(handoff_change *change, void *user, const json_t *before) {
    _cleanup_(freep) char *text = text_of(before);
    json_t *draft = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    json_auto_t *changed = draft ? change(user, draft) : NULL;
    _cleanup_(freep) char *printed =
        changed ? json_dumps(changed, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    json_auto_t *after = NULL;
    if (!printed || text_parse(printed, strlen(printed), &after, NULL) != 0)
        return NULL;
    return diff_values(before, after, "/data");
}

json_t *held_redo(const struct pending *p, const json_t *data) {
    return operations_of(p->change, p->user, data);
}

static bool is_patch(const struct pending *p) {
    return text_is_same(frame_string(p->command, "type"), "patch");
}

json_t *held_with(const struct handoff_session *s, json_t *session, size_t *data_bytes,
                  struct pending *p) {
    if (!is_patch(p))
        return json_incref(session);
    if (p->change && !p->is_sent) {
        json_t *operations = held_redo(p, json_object_get(session, "data"));
        if (!operations)
            return NULL;
        json_object_set_new(p->command, "operations", operations);
    }
    return replica_apply(session, data_bytes, json_object_get(p->command, "operations"),
                         s->replica.max_data_bytes, NULL);
}

/* ---- what becomes of them ---- */

static int send(void *user, struct pending *p, struct handoff_error *error) {
    struct handoff_session *s = user;
    struct handoff *h = s->hand;
    if (h->state != HANDOFF_OPEN || !h->is_linked)
        return problem_set(error, "connection_lost", "there is no connection");
    if (p->n_bytes + ID_ROOM > h->max_message_bytes)
        return problem_set(error, "body_too_large", "the server takes %zu bytes in a message",
                           h->max_message_bytes);
    ask_send(h, ASKED_COMMAND, s, json_copy(p->command));
    return 0;
}

static bool prepare(void *user, struct pending *p, struct handoff_position *ret) {
    struct handoff_session *s = user;
    json_t *before = s->replica.session;
    if (!is_patch(p) || !p->change || !before)
        return false;
    json_t *operations = held_redo(p, json_object_get(before, "data"));
    if (!operations)
        return false; /* the server is asked with what it was last */
    bool is_nothing = json_array_size(operations) == 0;
    unsent_set_command(&s->unsent, p, held_patch_command(s, p->key, operations));
    *ret = frame_position(before);
    return is_nothing;
}

static bool done(void *user, struct pending *p, struct handoff_position at) {
    struct handoff_session *s = user;
    bool is_told = s->replica.position.epoch && !position_is_before(s->replica.position, at);
    if (!is_told)
        p->is_shown = false; /* it was another's that looked the same */
    return is_told;
}

/* What was missed comes with the conflict. The connection brings it as well: the copy takes it
 * once.
 */
static void learn(struct handoff_session *s, const json_t *problem) {
    const json_t *deltas = json_object_get(problem, "deltas");
    enum replica_taken worst = REPLICA_APPLIED;
    if (json_object_get(problem, "session"))
        held_replace(s, json_object_get(problem, "session"));
    for (size_t i = 0; i < json_array_size(deltas) && s->replica.position.epoch; i++) {
        enum replica_taken taken = replica_take(&s->replica, json_array_get(deltas, i));
        worst = taken == REPLICA_GAP || taken == REPLICA_DRIFT ? taken : worst;
    }
    if (worst != REPLICA_APPLIED)
        held_start_over(s);
    unsent_settle(&s->unsent, s->replica.position.version);
}

/* Whether the change can be made on what there is now. */
static bool still_fits(struct handoff_session *s, struct pending *p) {
    bool was_sent = p->is_sent;
    size_t data_bytes = s->replica.data_bytes;
    p->is_sent = false; /* a function may make it otherwise */
    json_auto_t *with =
        s->replica.session ? held_with(s, s->replica.session, &data_bytes, p) : NULL;
    p->is_sent = was_sent;
    return with != NULL;
}

static void tell_conflict(struct handoff_session *s, const char *operations,
                          const struct handoff_error *error, bool resolved) {
    struct handoff_conflict conflict = {error, operations, resolved};
    if (s->events.conflict && held_is_open(s))
        s->events.conflict(s, s->user, &conflict);
}

static bool refused(void *user, struct pending *p, const struct handoff_error *error,
                    const json_t *problem) {
    struct handoff_session *s = user;
    if (!is_patch(p)) {
        unsent_take_out(&s->unsent, p);
        return false;
    }
    bool is_conflict = text_is_same(error->code, "version_conflict") && !p->rejects;
    _cleanup_(freep) char *operations = text_of(json_object_get(p->command, "operations"));
    learn(s, problem);
    bool resolved = is_conflict && p->n_rebases < MAX_REBASES && still_fits(s, p);
    if (resolved) {
        json_t *again = json_incref(json_object_get(p->command, "operations"));
        p->n_rebases++;
        p->is_sent = false;
        unsent_set_command(&s->unsent, p, held_patch_command(s, p->key, again));
    } else {
        unsent_take_out(&s->unsent, p);
    }
    held_render(s, HANDOFF_ROLLBACK, NULL);
    tell_conflict(s, operations, error, resolved);
    return resolved;
}

static void answer(void *user, struct pending *p, const struct handoff_error *error,
                   const struct handoff_ack *ack) {
    if (p->answer)
        p->answer(user, p->user, error, ack);
}

static void note_stored(struct handoff_session *s, int r) {
    struct handoff_error error;
    if (r >= 0)
        return;
    problem_set(&error, "store_failed", "session %s: %s", s->id, strerror(-r));
    hand_tell_error(s->hand, &error);
}

static void keep(void *user, const struct pending *p) {
    struct handoff_session *s = user;
    const struct handoff_store *store = &s->hand->store;
    if (!store->put)
        return;
    _cleanup_(freep) char *text = unsent_pending_text(p);
    note_stored(s, store->put(store->user, s->id, p->key, text));
}

static void forget(void *user, const struct pending *p) {
    struct handoff_session *s = user;
    const struct handoff_store *store = &s->hand->store;
    if (store->remove)
        note_stored(s, store->remove(store->user, s->id, p->key));
}

static void changed(void *user) {
    held_tell_state(user);
}

static void later(void *user, int64_t delay_ms) {
    struct handoff_session *s = user;
    hand_at(s->hand, &s->pump_at_ms, delay_ms);
}

const struct unsent_calls held_calls = {send, prepare, done,    refused, answer,
                                        keep, forget,  changed, later};

static struct handoff_position ack_position(const json_t *ack, bool *ret_is_sound) {
    struct handoff_position at = frame_position(ack);
    *ret_is_sound = at.epoch && at.version;
    return at;
}

void held_acked(struct handoff_session *s, const json_t *frame) {
    bool is_sound;
    struct handoff_ack ack = {.position = ack_position(frame, &is_sound),
                              .checksum = frame_string(frame, "checksum"),
                              .rebased = json_is_true(json_object_get(frame, "rebased")),
                              .replayed = json_is_true(json_object_get(frame, "replayed"))};
    struct handoff_error error;
    if (is_sound) {
        unsent_acked(&s->unsent, &ack);
        return;
    }
    problem_set(&error, "connection_lost", "the answer names no position");
    unsent_refused(&s->unsent, &error, NULL);
}

void held_refused(struct handoff_session *s, const struct handoff_error *error,
                  const json_t *problem) {
    unsent_refused(&s->unsent, error, problem);
}

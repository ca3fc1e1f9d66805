/* What a session is asked to do; see handoff.h. */
#include <string.h>

#include "base/buf.h"
#include "clients/c/src/diff.h"
#include "clients/c/src/hand.h"
#include "proto/canonical.h"
#include "proto/text.h"

#define ID_ROOM 64 /* of a frame, for what is added to a command when it is sent */

static int check_open(const struct handoff_session *s, struct handoff_error *error) {
    if (!held_is_open(s))
        return problem_set(error, "closed", "the session is not there any more");
    if (s->replica.follows)
        return problem_set(error, "not_ready", "the session is only followed");
    return 0;
}

static int check_ready(const struct handoff_session *s, struct handoff_error *error) {
    if (check_open(s, error) != 0)
        return -1;
    return s->view ? 0 : problem_set(error, "not_ready", "the session was not told yet");
}

static json_t *new_command(const struct handoff_session *s, const char *type) {
    char key[UUID_LEN + 1];
    uuid_v4(key);
    json_t *command = json_object();
    json_object_set_new(command, "type", json_string(type));
    json_object_set_new(command, "sessionId", json_string(s->id));
    json_object_set_new(command, "key", json_string(key));
    return command;
}

static int add(struct handoff_session *s, json_t *command, handoff_answer *answer, void *user,
               struct pending **ret, struct handoff_error *error) {
    if (unsent_add(&s->unsent, command, ret, error) != 0)
        return -1;
    (*ret)->answer = answer;
    (*ret)->user = user;
    return 0;
}

static void begin(struct handoff_session *s) {
    held_tell_state(s);
    unsent_pump(&s->unsent);
}

/* ---- changes ---- */

/* Whether it can be made on what is shown, and sent. */
static int check_change(const struct handoff_session *s, const json_t *operations,
                        struct handoff_error *error) {
    struct fault f = {0};
    size_t data_bytes = canonical_size(json_object_get(s->view, "data"));
    json_auto_t *with =
        replica_apply(s->view, &data_bytes, operations, s->replica.max_data_bytes, &f);
    if (!with)
        return problem_from_fault(error, &f);
    struct buf text = BUF_NULL;
    json_auto_t *command =
        held_patch_command(s, s->id, json_incref((json_t *)(uintptr_t)operations));
    text_print(command, &text);
    size_t len = text.len;
    buf_done(&text);
    if (len + ID_ROOM > s->hand->max_message_bytes)
        return problem_set(error, "body_too_large", "the server takes %zu bytes in a message",
                           s->hand->max_message_bytes);
    return 0;
}

static int add_change(struct handoff_session *s, json_t *operations, struct pending *settings,
                      struct handoff_error *error) {
    struct pending *p;
    if (check_change(s, operations, error) != 0)
        return -1;
    if (json_array_size(operations) == 0) {
        struct handoff_ack ack = {.position = s->replica.position};
        if (settings->answer)
            settings->answer(s, settings->user, NULL, &ack);
        return 0;
    }
    char key[UUID_LEN + 1];
    uuid_v4(key);
    json_t *command = held_patch_command(s, key, json_incref(operations));
    if (add(s, command, settings->answer, settings->user, &p, error) != 0)
        return -1;
    p->change = settings->change;
    p->rejects = settings->rejects;
    held_render(s, HANDOFF_LOCAL, NULL);
    begin(s);
    return 0;
}

int handoff_session_patch(struct handoff_session *s, const char *operations,
                          enum handoff_on_conflict on_conflict, handoff_answer *answer, void *user,
                          struct handoff_error *error) {
    struct fault f = {0};
    json_auto_t *parsed = NULL;
    struct pending settings = {
        .answer = answer, .user = user, .rejects = on_conflict == HANDOFF_REJECT};
    if (check_ready(s, error) != 0)
        return -1;
    if (!operations)
        return problem_set(error, "invalid_json", "operations: there are none");
    if (text_parse(operations, strlen(operations), &parsed, &f) != 0)
        return problem_from_fault(error, &f);
    return add_change(s, parsed, &settings, error);
}

int handoff_session_change(struct handoff_session *s, handoff_change *change,
                           handoff_answer *answer, void *user, struct handoff_error *error) {
    struct pending settings = {.answer = answer, .user = user, .change = change};
    if (check_ready(s, error) != 0)
        return -1;
    json_auto_t *operations = held_redo(&settings, json_object_get(s->view, "data"));
    if (!operations)
        return problem_set(error, "patch_failed", "the function made no data, or no JSON");
    return add_change(s, operations, &settings, error);
}

int handoff_session_set_status(struct handoff_session *s, const char *status,
                               handoff_answer *answer, void *user, struct handoff_error *error) {
    struct pending *p;
    if (check_open(s, error) != 0)
        return -1;
    json_t *command = new_command(s, "status");
    if (json_object_set_new(command, "status", json_string(status)) != 0) {
        json_decref(command);
        return problem_set(error, "invalid_value", "status: there is none, or it is no UTF-8");
    }
    if (add(s, command, answer, user, &p, error) != 0)
        return -1;
    begin(s);
    return 0;
}

int handoff_session_switch(struct handoff_session *s, const char *current_participant,
                           const char *next_participant, handoff_answer *answer, void *user,
                           struct handoff_error *error) {
    struct pending *p;
    if (check_open(s, error) != 0)
        return -1;
    const char *current = current_participant ? current_participant
                                              : frame_string(json_object_get(s->view, "clock"),
                                                             "activeParticipantId");
    json_t *command = new_command(s, "switch");
    if (current)
        json_object_set_new(command, "currentParticipantId", json_string(current));
    if (next_participant)
        json_object_set_new(command, "nextParticipantId", json_string(next_participant));
    if (add(s, command, answer, user, &p, error) != 0)
        return -1;
    begin(s);
    return 0;
}

/* ---- what is not kept ---- */

static int send_message(struct handoff_session *s, json_t *message, handoff_answer *answer,
                        void *user, struct handoff_error *error) {
    struct handoff *h = s->hand;
    json_auto_t *mine = message;
    if (check_open(s, error) != 0)
        return -1;
    if (h->state != HANDOFF_OPEN || !h->is_linked)
        return problem_set(error, "connection_lost", "there is no connection");
    if (ask_count(h, ASKED_MESSAGE) >= HAND_MAX_MESSAGES)
        return problem_set(error, "rate_limited", "%d messages wait for an answer",
                           HAND_MAX_MESSAGES);
    struct buf text = BUF_NULL;
    text_print(message, &text);
    size_t len = text.len;
    buf_done(&text);
    if (len + ID_ROOM > h->max_message_bytes)
        return problem_set(error, "body_too_large", "the server takes %zu bytes in a message",
                           h->max_message_bytes);
    struct asked *a = ask_send(h, ASKED_MESSAGE, s, TAKE_PTR(mine));
    a->answer = answer;
    a->user = user;
    return 0;
}

static json_t *new_message(const struct handoff_session *s, const char *type) {
    json_t *message = json_object();
    json_object_set_new(message, "type", json_string(type));
    json_object_set_new(message, "sessionId", json_string(s->id));
    return message;
}

int handoff_session_broadcast(struct handoff_session *s, const char *message, bool echo,
                              handoff_answer *answer, void *user, struct handoff_error *error) {
    struct fault f = {0};
    json_t *parsed = NULL;
    if (!message)
        return problem_set(error, "invalid_json", "message: there is none");
    if (text_parse(message, strlen(message), &parsed, &f) != 0)
        return problem_from_fault(error, &f);
    json_t *broadcast = new_message(s, "broadcast");
    json_object_set_new(broadcast, "message", parsed);
    if (echo)
        json_object_set_new(broadcast, "echo", json_true());
    return send_message(s, broadcast, answer, user, error);
}

int handoff_session_heartbeat(struct handoff_session *s, handoff_answer *answer, void *user,
                              struct handoff_error *error) {
    return send_message(s, new_message(s, "heartbeat"), answer, user, error);
}

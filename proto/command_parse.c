/* Commands: reading what session_api, ws_fanout and other backends send; see command.h. A command
 * of the wrong shape is FAULT_INVALID_REQUEST, one whose values are out of range
 * FAULT_INVALID_VALUE, and the member is named either way. */
#include <stdio.h>
#include <string.h>

#include "proto/command.h"
#include "proto/command_names.h"
#include "proto/text.h"

bool command_key_is_valid(const char *key, size_t len) {
    return len >= 1 && len <= COMMAND_KEY_MAX && text_is_printable(key, len);
}

static int bad_value(struct fault *f, const char *name, const char *what) {
    return (int)fault_set(f, FAULT_INVALID_VALUE, name, "%s must be %s", name, what);
}

/* One text member of bounded size with a rule of its own. */
struct text_rule {
    const char *name;
    bool (*is_valid)(const char *text, size_t len); /* also bounds len below cap */
    const char *what;                               /* is allowed */
};

static const struct text_rule id_rule = {"id", uuid_is, "a UUID in lower case"};
static const struct text_rule session_rule = {"sessionId", uuid_is, "a UUID in lower case"};
static const struct text_rule user_rule = {"userId", uuid_is, "a UUID in lower case"};
static const struct text_rule device_rule = {
    "deviceId", session_device_is_valid,
    "1 to 128 of A-Z a-z 0-9 . _ : - and neither \".\" nor \"..\""};
static const struct text_rule participant_rule = {"participant", uuid_is, "a UUID in lower case"};
static const struct text_rule target_rule = {
    "device", session_device_is_valid,
    "1 to 128 of A-Z a-z 0-9 . _ : - and neither \".\" nor \"..\""};
static const struct text_rule key_rule = {"key", command_key_is_valid,
                                          "1 to 128 printable ASCII characters"};
static const struct text_rule type_rule = {"type", session_type_is_valid, "1 to 50 of a-z 0-9 _ -"};
static const struct text_rule checksum_rule = {"checksum", hash_is_hex,
                                               "64 lower-case hexadecimal digits"};

static int take_text(const json_t *object, const struct text_rule *rule, enum text_need need,
                     char *ret, struct fault *f) {
    const char *text = NULL;
    int r = text_get_string(object, rule->name, need, &text, f);
    if (r || !text)
        return r;
    size_t len = strlen(text);
    if (!rule->is_valid(text, len))
        return bad_value(f, rule->name, rule->what);
    memcpy(ret, text, len + 1);
    return 0;
}

static int take_kind(const json_t *object, enum command_kind *ret, struct fault *f) {
    const char *text = NULL;
    int r = text_get_string(object, "kind", TEXT_REQUIRED, &text, f);
    if (r)
        return r;
    for (unsigned i = 0; i < COMMAND_N_KINDS; i++)
        if (strcmp(command_kind_names[i], text) == 0) {
            *ret = (enum command_kind)i;
            return 0;
        }
    return bad_value(f, "kind",
                     "create, patch, status, delete, heartbeat, load, restore, snapshot, "
                     "participant, device, presence, switch, clock_set or clock_adjust");
}

static unsigned right_of(const char *name) {
    for (unsigned i = 0; name && i < COMMAND_N_RIGHTS; i++)
        if (strcmp(command_right_names[i], name) == 0)
            return 1u << i;
    return 0;
}

static int take_scope(const json_t *object, unsigned *ret, struct fault *f) {
    json_t *scope = NULL;
    int r = text_get_array(object, "scope", TEXT_REQUIRED, &scope, f);
    if (r)
        return r;
    if (json_array_size(scope) > COMMAND_N_RIGHTS)
        return bad_value(f, "scope", "at most 3 of read, write, admin");
    for (size_t i = 0; i < json_array_size(scope); i++) {
        unsigned right = right_of(json_string_value(json_array_get(scope, i)));
        if (!right)
            return bad_value(f, "scope", "a list of read, write, admin");
        *ret |= right;
    }
    return 0;
}

/* ---- The base ---- */

static int take_count(const json_t *object, const char *name, enum text_need need, uint64_t *ret,
                      struct fault *f) {
    int64_t number = (int64_t)*ret;
    int r = text_get_integer(object, name, need, 1, TEXT_INTEGER_MAX, &number, f);
    if (!r)
        *ret = (uint64_t)number;
    return r;
}

static int take_tag(const json_t *tag, struct position *ret, struct fault *f) {
    if (!json_is_object(tag))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "ifMatch",
                              "ifMatch must be \"*\" or a list of {version, epoch}");
    int r = take_count(tag, "version", TEXT_REQUIRED, &ret->version, f);
    return r ? r : take_count(tag, "epoch", TEXT_REQUIRED, &ret->epoch, f);
}

static int take_if_match(const json_t *object, struct command *c, struct fault *f) {
    const json_t *member = json_object_get(object, "ifMatch");
    if (!member)
        return 0;
    if (json_is_string(member) && strcmp(json_string_value(member), "*") == 0) {
        c->if_match_any = true;
        return 0;
    }
    size_t n = json_array_size(member); /* 0 for what is no array */
    if (n == 0)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "ifMatch",
                              "ifMatch must be \"*\" or a list of {version, epoch}");
    if (n > COMMAND_MAX_IF_MATCH)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "ifMatch", "ifMatch has %zu tags; at most %d",
                              n, COMMAND_MAX_IF_MATCH);
    for (size_t i = 0; i < n; i++) {
        int r = take_tag(json_array_get(member, i), &c->if_match[i], f);
        if (r)
            return r;
    }
    c->n_if_match = n;
    return 0;
}

int command_take_base(const json_t *object, struct command *c, struct fault *f) {
    struct position base = {.version = 0, .epoch = 1};
    int r = take_count(object, "baseVersion", TEXT_OPTIONAL, &base.version, f);
    if (!r)
        r = take_count(object, "epoch", TEXT_OPTIONAL, &base.epoch, f);
    if (r)
        return r;
    c->has_base = base.version != 0;
    c->base = c->has_base ? base : (struct position){0};
    /* Dropping it in silence would turn a guarded write into an unguarded one. */
    if (!c->has_base && json_object_get(object, "epoch"))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "epoch",
                              "epoch says nothing without baseVersion beside it");
    return 0;
}

/* ---- What one kind has ---- */

static int take_name(const json_t *object, struct command *c, struct fault *f) {
    const char *name = NULL;
    int r = text_get_string(object, "name", TEXT_REQUIRED, &name, f);
    if (r)
        return r;
    if (!session_name_is_valid(name, strlen(name)))
        return (int)fault_set(f, FAULT_INVALID_VALUE, "name", "name has %zu characters; 1 to %d",
                              text_n_characters(name, strlen(name)), SESSION_NAME_MAX_CHARACTERS);
    free(c->name);
    c->name = must_strdup(name);
    return 0;
}

static int take_first_status(const json_t *object, struct command *c, struct fault *f) {
    const char *text = "active";
    int r = text_get_string(object, "status", TEXT_OPTIONAL, &text, f);
    if (r)
        return r;
    if (!session_status_parse(text, &c->status) || c->status > SESSION_ACTIVE)
        return bad_value(f, "status", "active or pending");
    return 0;
}

static int take_on_idle(const json_t *object, struct command *c, struct fault *f) {
    const char *text = "pause";
    int r = text_get_string(object, "onIdle", TEXT_OPTIONAL, &text, f);
    if (r)
        return r;
    return session_on_idle_parse(text, &c->on_idle) ? 0 : bad_value(f, "onIdle", "pause or expire");
}

int command_take_create(const json_t *object, struct command *ret, struct fault *f) {
    int64_t ttl = 0;
    int r;
    if ((r = take_name(object, ret, f)) ||
        (r = take_text(object, &type_rule, TEXT_REQUIRED, ret->type, f)) ||
        (r = take_first_status(object, ret, f)) ||
        (r = text_get_integer(object, "ttlSeconds", TEXT_OPTIONAL, SESSION_TTL_MIN_S,
                              SESSION_TTL_MAX_S, &ttl, f)) ||
        (r = take_on_idle(object, ret, f)))
        return r;
    ret->ttl_seconds = (uint32_t)ttl;
    json_decref(ret->data);
    ret->data = json_incref(json_object_get(object, "data"));
    json_t *clock = json_object_get(object, "clock");
    return clock ? command_take_clock(clock, ret, f) : 0;
}

static void set_patch(struct command *c, enum command_patch_format format, json_t *patch) {
    json_decref(c->patch);
    c->patch = json_incref(patch);
    c->format = format;
}

static int take_merge(const json_t *object, struct command *c, struct fault *f) {
    const char *merge = "reject";
    int r = text_get_string(object, "merge", TEXT_OPTIONAL, &merge, f);
    if (r)
        return r;
    c->disjoint = strcmp(merge, "disjoint") == 0;
    if (!c->disjoint && strcmp(merge, "reject") != 0)
        return bad_value(f, "merge", "reject or disjoint");
    if (c->disjoint && c->checksum[0])
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "checksum",
                              "checksum and merge: \"disjoint\" exclude each other");
    return 0;
}

static int take_conditions(const json_t *object, struct command *c, struct fault *f) {
    int r = command_take_base(object, c, f);
    if (!r)
        r = take_text(object, &checksum_rule, TEXT_OPTIONAL, c->checksum, f);
    return r ? r : take_merge(object, c, f);
}

int command_take_patch(const json_t *object, struct command *ret, struct fault *f) {
    json_t *operations = NULL;
    int r = text_get_array(object, "operations", TEXT_REQUIRED, &operations, f);
    if (!r)
        r = take_conditions(object, ret, f);
    if (!r)
        set_patch(ret, COMMAND_PATCH_OPERATIONS, operations);
    return r;
}

static int take_merge_patch(const json_t *object, struct command *c, struct fault *f) {
    json_t *merge_patch = NULL;
    if (json_object_get(object, "operations"))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "operations",
                              "operations and mergePatch exclude each other");
    int r = text_get_object(object, "mergePatch", TEXT_REQUIRED, &merge_patch, f);
    if (!r)
        r = take_conditions(object, c, f);
    if (!r)
        set_patch(c, COMMAND_PATCH_MERGE, merge_patch);
    return r;
}

int command_take_status(const char *status, struct command *ret, struct fault *f) {
    enum session_status found;
    if (!session_status_parse(status, &found) || found == SESSION_PENDING ||
        found == SESSION_EXPIRED)
        return bad_value(f, "status", "active, paused, completed or cancelled");
    ret->status = found;
    return 0;
}

static int take_target(const json_t *object, struct command *c, struct fault *f) {
    const char *status = NULL;
    int r = text_get_string(object, "status", TEXT_REQUIRED, &status, f);
    return r ? r : command_take_status(status, c, f);
}

static int take_restore(const json_t *object, struct command *c, struct fault *f) {
    json_t *restored = NULL;
    int r = text_get_object(object, "restored", TEXT_REQUIRED, &restored, f);
    if (!r)
        r = take_count(restored, "version", TEXT_REQUIRED, &c->restored.version, f);
    if (!r)
        r = take_count(restored, "epoch", TEXT_REQUIRED, &c->restored.epoch, f);
    if (!r)
        r = take_text(object, &checksum_rule, TEXT_REQUIRED, c->checksum, f);
    if (!r && !json_object_get(object, "data"))
        r = (int)fault_set(f, FAULT_INVALID_REQUEST, "data", "data is missing");
    if (!r)
        c->data = json_incref(json_object_get(object, "data"));
    return r;
}

int command_take_label(const json_t *object, struct command *ret, struct fault *f) {
    const char *label = NULL;
    int r = text_get_string(object, "label", TEXT_OPTIONAL, &label, f);
    if (r || !label)
        return r;
    size_t n = text_n_characters(label, strlen(label));
    if (n < 1 || n > SESSION_LABEL_MAX_CHARACTERS)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "label", "label has %zu characters; 1 to %d",
                              n, SESSION_LABEL_MAX_CHARACTERS);
    free(ret->label);
    ret->label = must_strdup(label);
    return 0;
}

int command_take_role(const json_t *object, struct command *ret, struct fault *f) {
    const char *role = NULL;
    int r = text_get_string(object, "role", TEXT_REQUIRED, &role, f);
    if (r)
        return r;
    return session_role_parse(role, &ret->participant_role)
               ? 0
               : bad_value(f, "role", "editor or viewer");
}

static int take_participant(const json_t *object, struct command *c, struct fault *f) {
    int r = take_text(object, &participant_rule, TEXT_REQUIRED, c->participant_id, f);
    if (r || json_is_null(json_object_get(object, "role")))
        return r;
    return command_take_role(object, c, f);
}

static int take_device(const json_t *object, struct command *c, struct fault *f) {
    int r = take_text(object, &target_rule, TEXT_REQUIRED, c->target_device, f);
    return r ? r : text_get_bool(object, "removed", TEXT_REQUIRED, &c->device_removed, f);
}

/* ---- The whole ---- */

/* The month in a new session's id is where its history is kept: version 7, nothing else. */
static int check_new_id(const struct command *c, struct fault *f) {
    return c->session_id[14] == '7' ? 0 : bad_value(f, "sessionId", "a UUID of version 7");
}

/* One that is none is as good as absent: no command fails for it. */
static void take_trace(const json_t *object, struct command *c) {
    const json_t *text = json_object_get(object, "traceparent");
    if (json_is_string(text))
        (void)trace_context_parse(json_string_value(text), json_string_length(text), &c->trace);
}

static int take_common(const json_t *object, struct command *c, struct fault *f) {
    int r;
    if ((r = take_text(object, &id_rule, TEXT_REQUIRED, c->id, f)) ||
        (r = take_kind(object, &c->kind, f)) ||
        (r = take_text(object, &session_rule, TEXT_REQUIRED, c->session_id, f)) ||
        (r = take_text(object, &user_rule, TEXT_REQUIRED, c->user_id, f)) ||
        (r = take_text(object, &device_rule,
                       c->kind == COMMAND_LOAD || c->kind == COMMAND_PRESENCE ? TEXT_OPTIONAL
                                                                              : TEXT_REQUIRED,
                       c->device_id, f)) ||
        (r = take_scope(object, &c->rights, f)) ||
        (r = take_text(object, &key_rule, TEXT_OPTIONAL, c->key, f)) ||
        (r = text_get_integer(object, "deadline", TEXT_REQUIRED, 0, TEXT_INTEGER_MAX, &c->deadline,
                              f)) ||
        (r = text_get_integer(object, "sentAt", TEXT_OPTIONAL, 0, TEXT_INTEGER_MAX, &c->sent_at,
                              f)) ||
        (r = take_if_match(object, c, f)) || (r = command_take_base(object, c, f)))
        return r;
    take_trace(object, c);
    return text_get_bool(object, "wantsSession", TEXT_OPTIONAL, &c->wants_session, f);
}

static int take_own(const json_t *object, struct command *c, struct fault *f) {
    int r = 0;
    switch (c->kind) {
    case COMMAND_CREATE:
        r = check_new_id(c, f);
        return r ? r : command_take_create(object, c, f);
    case COMMAND_PATCH:
        return json_object_get(object, "mergePatch") ? take_merge_patch(object, c, f)
                                                     : command_take_patch(object, c, f);
    case COMMAND_STATUS:
        return take_target(object, c, f);
    case COMMAND_RESTORE:
        return take_restore(object, c, f);
    case COMMAND_SNAPSHOT:
        return command_take_label(object, c, f);
    case COMMAND_PARTICIPANT:
        return take_participant(object, c, f);
    case COMMAND_DEVICE:
        return take_device(object, c, f);
    case COMMAND_SWITCH:
        return command_take_switch(object, c, f);
    case COMMAND_CLOCK_SET:
        return command_take_clock(json_object_get(object, "clock"), c, f);
    case COMMAND_CLOCK_ADJUST:
        r = command_take_clock_participant(object, c, f);
        return r ? r : command_take_adjust(object, c, f);
    default:
        return 0;
    }
}

int command_parse(const json_t *object, struct command *ret, struct fault *f) {
    struct command c = {0};
    if (!json_is_object(object))
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "commands", "a command is a JSON object");
    int r = take_common(object, &c, f);
    if (!r)
        r = take_own(object, &c, f);
    if (r) {
        command_done(&c);
        return r;
    }
    *ret = c;
    return 0;
}

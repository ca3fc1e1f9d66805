/* What each kind of command does to a session; see apply.h. Changes of status are in
 * apply_status.c, patches in apply_patch.c, sharing in apply_sharing.c, restores and snapshots in
 * apply_versions.c, clocks in apply_clock.c, what happens by itself in apply_due.c, what a conflict
 * tells the caller in conflict.c. */
#include "services/state_engine/apply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/state_engine/apply_private.h"

void change_done(struct change *c) {
    session_done(&c->next);
    for (size_t i = 0; i < c->n_events; i++)
        event_done(&c->events[i]);
    *c = (struct change){0};
}

struct event *change_add_event(struct change *c) {
    return &c->events[c->n_events++];
}

size_t change_n_versions(const struct change *c) {
    size_t n = 0;
    while (n < c->n_events && event_is_versioned(c->events[n].type))
        n++;
    return n;
}

/* ---- rights ---- */

static bool admin_may(enum command_kind kind, enum session_status target) {
    return kind == COMMAND_DELETE || kind == COMMAND_LOAD ||
           (kind == COMMAND_STATUS && target == SESSION_CANCELLED);
}

static bool leaves(const struct command *c) {
    return c->participant_role == SESSION_ROLE_NONE && strcmp(c->participant_id, c->user_id) == 0;
}

static enum session_role least_role(const struct command *c) {
    switch (c->kind) {
    case COMMAND_DELETE:
    case COMMAND_DEVICE:
    case COMMAND_CLOCK_SET:
    case COMMAND_CLOCK_ADJUST:
        return SESSION_ROLE_OWNER;
    case COMMAND_PARTICIPANT:
        return leaves(c) ? SESSION_ROLE_VIEWER : SESSION_ROLE_OWNER;
    case COMMAND_HEARTBEAT:
    case COMMAND_LOAD:
        return SESSION_ROLE_VIEWER;
    default:
        return SESSION_ROLE_EDITOR;
    }
}

/* Who may not read is told the same as when there is nothing. */
static int check_role(const struct session *s, const struct command *c, struct fault *f) {
    bool is_admin = c->rights & COMMAND_ADMIN;
    bool is_there = s && !s->deleted;
    enum session_role role = is_there ? session_role_of(s, c->user_id) : SESSION_ROLE_NONE;
    if (!is_there || (role == SESSION_ROLE_NONE && !is_admin))
        return fault_set(f, FAULT_NOT_FOUND, NULL, "there is no such session for this user");
    if (is_admin && admin_may(c->kind, c->status))
        return 0;
    if (c->kind != COMMAND_LOAD && session_device_is_removed(s, c->device_id))
        return fault_set(f, FAULT_DEVICE_REMOVED, NULL,
                         "the owner keeps this device out of the session");
    if (role < least_role(c))
        return fault_set(f, FAULT_FORBIDDEN, NULL, "the role %s may not do this",
                         session_role_name(role));
    return 0;
}

int apply_check_rights(const struct session *s, const struct command *c, struct fault *f) {
    bool needs_write = c->kind != COMMAND_LOAD;
    if (c->kind == COMMAND_DUE && s && !s->deleted)
        return 0; /* the engine asks itself */
    if (c->kind != COMMAND_CREATE) {
        int r = check_role(s, c, f);
        if (r != 0 || ((c->rights & COMMAND_ADMIN) && admin_may(c->kind, c->status)))
            return r;
    }
    if (needs_write && !(c->rights & COMMAND_WRITE))
        return fault_set(f, FAULT_FORBIDDEN, NULL, "the token's scope has no sessions:write");
    if (needs_write && !c->device_id[0])
        return fault_set(f, FAULT_INVALID_REQUEST, "deviceId", "a write needs a device");
    return 0;
}

/* ---- base ---- */

static bool matches_any(const struct session *s, const struct command *c) {
    if (c->if_match_any)
        return true;
    for (size_t i = 0; i < c->n_if_match; i++)
        if (position_equal(c->if_match[i], s->position))
            return true;
    return false;
}

static bool has_if_match(const struct command *c) {
    return c->if_match_any || c->n_if_match > 0;
}

/* The newest position that the caller says it knows, of the session's own epoch and not ahead of
 * it. */
static bool known_version(const struct session *s, const struct command *c, uint64_t *ret) {
    bool is_known = false;
    for (size_t i = 0; i <= c->n_if_match; i++) {
        bool is_base = i == c->n_if_match;
        struct position p = is_base ? c->base : c->if_match[i];
        if ((is_base && !c->has_base) || p.epoch != s->position.epoch ||
            p.version > s->position.version)
            continue;
        if (!is_known || p.version > *ret)
            *ret = p.version;
        is_known = true;
    }
    return is_known;
}

/* A merge patch says what to leave, not what it writes: it is not told from others' changes. */
static bool merges(const struct command *c) {
    return c->kind == COMMAND_PATCH && c->disjoint && c->format == COMMAND_PATCH_OPERATIONS;
}

bool apply_window_since(const struct session *s, const struct command *c, uint64_t *ret) {
    uint64_t since = 0;
    if (c->kind == COMMAND_CREATE || !known_version(s, c, &since) || since == s->position.version)
        return false;
    if (!merges(c) && s->position.version - since > CONFLICT_MAX_DELTAS)
        return false; /* it would be read in vain: a conflict shows the session then */
    *ret = since;
    return true;
}

static int refuse_conflict(const struct session *s, const struct command *c,
                           const struct window *window, enum fault_code code, struct fault *f,
                           char **ret_conflict) {
    uint64_t since = 0;
    bool is_known = known_version(s, c, &since);
    *ret_conflict =
        conflict_print(s, command_role(s, c->user_id, c->rights), is_known, since, window);
    return fault_set(f, code, NULL, "the session is at version %llu of epoch %llu",
                     (unsigned long long)s->position.version,
                     (unsigned long long)s->position.epoch);
}

/* Which turn a switch means has to be said, so that of two of the same turn one takes effect; or
 * that it means any (If-Match: *). */
static int check_precondition(const struct command *c, struct fault *f) {
    bool says_which = c->current_participant[0] || has_if_match(c) || c->has_base;
    if (c->kind != COMMAND_SWITCH || says_which)
        return 0;
    return fault_set(f, FAULT_PRECONDITION_REQUIRED, "currentParticipantId",
                     "a switch needs currentParticipantId, or a version as its base");
}

/* Judges If-Match, then baseVersion. *ret_rebases: a disjoint merge onto a version that has moved
 * on. */
static int check_base(const struct session *s, const struct command *c,
                      const struct apply_context *context, bool *ret_rebases, struct fault *f,
                      char **ret_conflict) {
    const struct window *window = &context->window;
    *ret_rebases = false;
    if (has_if_match(c) && !matches_any(s, c))
        return refuse_conflict(s, c, window, FAULT_PRECONDITION_FAILED, f, ret_conflict);
    if (!c->has_base || position_equal(c->base, s->position))
        return 0;
    if (merges(c) && patch_is_disjoint(s, c->base, c->patch, window)) {
        *ret_rebases = true;
        return 0;
    }
    return refuse_conflict(s, c, window, FAULT_VERSION_CONFLICT, f, ret_conflict);
}

/* ---- a version more ---- */

void change_next_version(struct change *ret, int64_t now) {
    ret->saves = true;
    ret->next.position.version++;
    ret->next.updated_at = now;
    ret->next.touched_at = now;
}

void change_keep_snapshot(struct change *ret) {
    char kept[sizeof(ret->next.snapshots)];
    memcpy(kept, ret->next.snapshots, sizeof(kept));
    const char *rest = kept;
    size_t n = kept[0] != '\0';
    for (const char *p = kept; *p; p++)
        n += *p == ',';
    if (n >= SESSION_N_SNAPSHOTS) {
        char *end;
        ret->dropped_snapshot = strtoull(kept, &end, 10);
        rest = *end == ',' ? end + 1 : end;
    }
    snprintf(ret->next.snapshots, sizeof(ret->next.snapshots), "%.*s%s%llu",
             (int)(sizeof(kept) - 22), rest, *rest ? "," : "",
             (unsigned long long)ret->next.position.version);
}

void change_add_snapshot(struct change *ret) {
    change_keep_snapshot(ret);
    char message_id[UUID_LEN + 1];
    uuid_v4(message_id);
    struct event *event = change_add_event(ret);
    event_snapshot(&ret->next, message_id, event);
    ret->snapshot_id = event->message_id;
}

void change_add_due_snapshot(struct change *ret, uint64_t snapshot_every) {
    if (ret->next.position.version % snapshot_every == 0)
        change_add_snapshot(ret);
}

/* ---- the kinds ---- */

static int apply_create(const struct session *s, const struct command *c, int64_t now,
                        struct change *ret, struct fault *f) {
    if (s)
        return fault_set(f, FAULT_INVALID_VALUE, "sessionId", "a session with this id was there");
    struct session *next = &ret->next;
    memcpy(next->id, c->session_id, sizeof(next->id));
    memcpy(next->user_id, c->user_id, sizeof(next->user_id));
    memcpy(next->type, c->type, sizeof(next->type));
    memcpy(next->modified_by, c->device_id, sizeof(next->modified_by));
    memcpy(next->last_active_device, c->device_id, sizeof(next->last_active_device));
    next->name = must_strdup(c->name);
    next->status = c->status;
    if (c->status == SESSION_ACTIVE)
        memcpy(next->active_device, c->device_id, sizeof(next->active_device));
    next->ttl_seconds = c->ttl_seconds ? c->ttl_seconds : SESSION_TTL_DEFAULT_S;
    next->on_idle = c->on_idle;
    next->position.epoch = 1;
    next->created_at = next->last_modified = now;
    json_auto_t *empty = json_object();
    session_set_data(next, c->data ? c->data : empty);
    int r = apply_check_data(c->data ? c->data : empty, next->data_len, f);
    if (r != 0)
        return r;
    apply_clock_create(c, now, next);
    change_next_version(ret, now);
    event_session_created(next, c->device_id, change_add_event(ret));
    return 0;
}

static int apply_delete(const struct command *c, int64_t now, struct change *ret) {
    ret->next.deleted = true;
    ret->next.clock_runs = false;
    ret->next.clock_at = 0;
    change_next_version(ret, now);
    event_session_deleted(&ret->next, c->user_id, c->device_id, change_add_event(ret));
    return 0;
}

/* A viewer's heartbeat does not extend the session (contract, section 2). */
static int apply_heartbeat(const struct session *s, const struct command *c, int64_t now,
                           struct change *ret) {
    if (session_role_of(s, c->user_id) < SESSION_ROLE_EDITOR)
        return 0;
    ret->next.touched_at = now;
    ret->saves = true;
    return 0;
}

static int apply_kind(const struct session *s, const struct command *c,
                      const struct apply_context *context, int64_t now, struct change *ret,
                      struct fault *f) {
    switch (c->kind) {
    case COMMAND_CREATE:
        return apply_create(s, c, now, ret, f);
    case COMMAND_PATCH:
        return apply_patch(s, c, now, context->snapshot_every, ret, f);
    case COMMAND_STATUS:
        return apply_status(s, c, context, now, ret, f);
    case COMMAND_DELETE:
        return apply_delete(c, now, ret);
    case COMMAND_HEARTBEAT:
        return apply_heartbeat(s, c, now, ret);
    case COMMAND_RESTORE:
        return apply_restore(c, now, context->snapshot_every, ret, f);
    case COMMAND_SNAPSHOT:
        apply_snapshot(c, now, ret);
        return 0;
    case COMMAND_PARTICIPANT:
        return apply_participant(s, c, now, context->snapshot_every, ret, f);
    case COMMAND_DEVICE:
        return apply_device(s, c, now, context->snapshot_every, ret, f);
    case COMMAND_SWITCH:
        return apply_switch(c, now, context->snapshot_every, ret, f);
    case COMMAND_CLOCK_SET:
        return apply_clock_set(c, now, context->snapshot_every, ret, f);
    case COMMAND_CLOCK_ADJUST:
        return apply_clock_adjust(c, now, context->snapshot_every, ret, f);
    case COMMAND_DUE:
        return apply_due(s, now, context->snapshot_every, ret);
    default:
        return 0;
    }
}

static bool is_write(enum command_kind kind) {
    return kind != COMMAND_CREATE && kind != COMMAND_DELETE && kind != COMMAND_LOAD &&
           kind != COMMAND_DUE;
}

static int check_writable(const struct session *s, const struct command *c, struct fault *f) {
    if (s && is_write(c->kind) && session_is_final(s->status))
        return fault_set(f, FAULT_SESSION_ENDED, NULL, "the session is %s",
                         session_status_name(s->status));
    return 0;
}

int session_apply(const struct session *s, const struct command *c,
                  const struct apply_context *context, struct change *ret, struct fault *f,
                  char **ret_conflict) {
    bool rebases = false;
    int64_t now = s && s->updated_at > context->now ? s->updated_at : context->now;
    int r = check_writable(s, c, f);
    if (r == 0)
        r = check_precondition(c, f);
    if (r == 0 && s && c->kind != COMMAND_CREATE)
        r = check_base(s, c, context, &rebases, f, ret_conflict);
    if (r != 0)
        return r;
    *ret = (struct change){.rebased = rebases};
    if (s && c->kind != COMMAND_CREATE) {
        if (c->kind == COMMAND_PATCH) /* which brings its own data */
            session_copy_but_data(s, &ret->next);
        else
            session_copy(s, &ret->next);
        ret->base_version = s->position.version;
        memcpy(ret->kept_before, s->snapshots, sizeof(ret->kept_before));
    }
    r = apply_kind(s, c, context, now, ret, f);
    if (r != 0)
        change_done(ret);
    return r;
}

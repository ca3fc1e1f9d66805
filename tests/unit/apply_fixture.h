/* A session, a command, and what the engine's pure heart made of the two. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/text.h"
#include "services/state_engine/apply.h"

#define OWNER "11111111-1111-4111-8111-111111111111"
#define STRANGER "22222222-2222-4222-8222-222222222222"
#define SESSION_ID "0197a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"
#define COMMAND_ID "0197a1b2-0000-7000-8000-000000000001"
#define NOW 1770897600000LL

/* What one test works with. */
struct world {
    struct session session;
    struct command command;
    struct apply_context context;
    struct change change;
    struct fault fault;
    char *conflict;
};

static inline json_t *json_of(const char *text) {
    json_t *value = NULL;
    struct fault f;
    assert_int_equal(text_parse(text, strlen(text), &value, &f), 0);
    return value;
}

static inline struct command command_of(enum command_kind kind, const char *device) {
    struct command c = {
        .kind = kind, .rights = COMMAND_READ | COMMAND_WRITE, .deadline = NOW + 5000};
    strcpy(c.id, COMMAND_ID);
    strcpy(c.session_id, SESSION_ID);
    strcpy(c.user_id, OWNER);
    strcpy(c.device_id, device);
    return c;
}

static inline int apply(struct world *w, const struct session *s) {
    w->context.now = w->context.now ? w->context.now : NOW;
    w->context.snapshot_every = w->context.snapshot_every ? w->context.snapshot_every : 50;
    return session_apply(s, &w->command, &w->context, &w->change, &w->fault, &w->conflict);
}

static inline void world_clear(struct world *w) {
    command_done(&w->command);
    change_done(&w->change);
    free(w->conflict);
    w->conflict = NULL;
}

static inline void world_done(struct world *w) {
    world_clear(w);
    session_done(&w->session);
}

/* A session in the given status, made by a create on "phone" and the transitions there. */
static inline void create(struct world *w, enum session_status status, const char *data) {
    w->command = command_of(COMMAND_CREATE, "phone");
    w->command.name = must_strdup("Evening meditation");
    strcpy(w->command.type, "meditation");
    w->command.status = status == SESSION_PENDING ? SESSION_PENDING : SESSION_ACTIVE;
    w->command.data = json_of(data);
    assert_int_equal(apply(w, NULL), 0);
    session_copy(&w->change.next, &w->session);
    w->session.status = status;
    if (status == SESSION_PAUSED)
        w->session.active_device[0] = '\0';
    world_clear(w);
}

static inline int patch(struct world *w, const char *operations) {
    w->command = command_of(COMMAND_PATCH, "phone");
    w->command.patch = json_of(operations);
    return apply(w, &w->session);
}

static inline int transition(struct world *w, const char *device, enum session_status to) {
    w->command = command_of(COMMAND_STATUS, device);
    w->command.status = to;
    return apply(w, &w->session);
}

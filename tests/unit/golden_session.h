/* The session of the golden examples. */
#pragma once

#include "golden.h"
#include "proto/session.h"

#define GOLDEN_CREATED_MS 1770897600000LL /* 2026-02-12T12:00:00.000Z */
#define GOLDEN_UPDATED_MS (GOLDEN_CREATED_MS + 300000)
#define GOLDEN_USER "6f1c2d3e-4b5a-4978-8695-a4b3c2d1e0f9"
#define GOLDEN_SESSION "019c51b8-ee00-7a3b-8f21-5b6c7d8e9f01"

/* As in session.json; the caller ends it with session_done. */
static inline struct session golden_session(void) {
    struct session s = {
        .id = GOLDEN_SESSION,
        .user_id = GOLDEN_USER,
        .name = must_strdup("Evening meditation"),
        .type = "meditation",
        .status = SESSION_ACTIVE,
        .position = {.version = 42, .epoch = 1},
        .created_at = GOLDEN_CREATED_MS,
        .updated_at = GOLDEN_UPDATED_MS,
        .touched_at = GOLDEN_UPDATED_MS,
        .ttl_seconds = 3600,
        .active_device = "phone-1",
        .last_active_device = "phone-1",
        .last_modified = GOLDEN_UPDATED_MS,
        .modified_by = "phone-1",
    };
    json_t *example = golden_load("session");
    session_set_data(&s, json_object_get(example, "data"));
    json_decref(example);
    return s;
}

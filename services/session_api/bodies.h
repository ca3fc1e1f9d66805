/* Request bodies into commands. Pure. */
#pragma once

#include "proto/command.h"
#include "services/session_api/headers.h"

/* {name, type, data?, status?, ttlSeconds?, onIdle?, clock?}. FAULT_UNSUPPORTED_MEDIA_TYPE,
 * FAULT_INVALID_JSON, FAULT_INVALID_REQUEST (shape, unknown members), FAULT_INVALID_VALUE,
 * FAULT_STATE_TOO_LARGE. What was filled in on failure is the command's to free. */
MUSTCHECK int bodies_read_create(enum media_type type, const char *body, size_t len,
                                 struct command *c, struct fault *f);

/* {message, echo?}: *ret_message is a new reference. Also the faults of event_broadcast_check. */
MUSTCHECK int bodies_read_broadcast(enum media_type type, const char *body, size_t len,
                                    json_t **ret_message, bool *ret_echo, struct fault *f);

/* A patch in one of its three media types; the same faults and those of patch_check and
 * merge_check. */
MUSTCHECK int bodies_read_patch(enum media_type type, const char *body, size_t len,
                                struct command *c, struct fault *f);

/* {label?}; an empty body is {}. The faults of command_take_label and of a create's shape. */
MUSTCHECK int bodies_read_snapshot(enum media_type type, const char *body, size_t len,
                                   struct command *c, struct fault *f);
/* {version, epoch?} into c->restored; epoch is 0 when it was not said. */
MUSTCHECK int bodies_read_restore(enum media_type type, const char *body, size_t len,
                                  struct command *c, struct fault *f);
/* {role}. */
MUSTCHECK int bodies_read_participant(enum media_type type, const char *body, size_t len,
                                      struct command *c, struct fault *f);

/* What a handoff code offers, {role?, ttlSeconds?}; an empty body is {}. SESSION_ROLE_OWNER: to the
 * caller's own account. */
MUSTCHECK int bodies_read_offer(enum media_type type, const char *body, size_t len,
                                enum session_role *ret_role, int64_t *ret_ttl_s, struct fault *f);
/* {code, device?: {id?, name?, platform?}}: of the code its hash, whatever text it is; of the
 * device its id, "" without one. Name and platform are checked, and say nothing here: a device
 * tells them when it connects. */
MUSTCHECK int bodies_read_redeem(enum media_type type, const char *body, size_t len,
                                 char ret_hash[static HASH_HEX_LEN + 1],
                                 char ret_device[static SESSION_DEVICE_MAX + 1], struct fault *f);

/* A clock; what the server computes of one may stand in it, and says nothing. */
MUSTCHECK int bodies_read_clock(enum media_type type, const char *body, size_t len,
                                struct command *c, struct fault *f);
/* {nextParticipantId?, currentParticipantId?}; an empty body is {}. */
MUSTCHECK int bodies_read_switch(enum media_type type, const char *body, size_t len,
                                 struct command *c, struct fault *f);
/* {adjustMs, reason}. */
MUSTCHECK int bodies_read_adjust(enum media_type type, const char *body, size_t len,
                                 struct command *c, struct fault *f);

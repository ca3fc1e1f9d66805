/* The names on the broker: exchanges, queues, routing keys. Built and parsed here only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/uuid.h"
#include "proto/event.h"

#define ROUTE_UPDATES_EXCHANGE "session_updates"   /* topic, durable */
#define ROUTE_COMMANDS_EXCHANGE "session_commands" /* direct, durable */
#define ROUTE_COMMANDS_QUEUE "state_engine.commands"
#define ROUTE_COMMANDS_KEY "state_engine.commands"
#define ROUTE_COMMANDS_DEAD_QUEUE "state_engine.dead"
#define ROUTE_AUDIT_QUEUE "audit_writer.events"
#define ROUTE_AUDIT_DEAD_QUEUE "audit_writer.dead"
#define ROUTE_REPLY_TO "amq.rabbitmq.reply-to"
#define ROUTE_ALL_SESSIONS "session.#"
/* The type of a message to the audit queue that is no event: it is answered (to its reply_to, with
 * its correlation_id) once all that was in the queue before it is committed. */
#define ROUTE_BARRIER_TYPE "barrier"

#define ROUTE_KEY_CAP 80

/* session.<id>.<kind> */
void route_event_key(const char *session_id, enum event_type type, char ret[static ROUTE_KEY_CAP]);
/* session.<id>.* : what ws_fanout binds for one session */
void route_session_binding(const char *session_id, char ret[static ROUTE_KEY_CAP]);
/* session.*.<kind> : what the audit queue is bound to, once for each durable kind */
void route_kind_binding(enum event_type type, char ret[static ROUTE_KEY_CAP]);
/* Reads session.<id>.<kind>; false for anything else. *ret_kind is borrowed from key. */
bool route_parse_key(const char *key, size_t len, char ret_session_id[static UUID_LEN + 1],
                     const char **ret_kind, size_t *ret_kind_len);
/* Whether an answer may go there: amq.rabbitmq.reply-to.<something>, <= 255 bytes. */
bool route_is_reply_to(const char *name, size_t len);

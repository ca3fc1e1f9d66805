/* Commands to the engine and their replies, for services that talk to clients: one bus connection
 * with direct reply-to. Commands sent in one turn of the loop travel in one message; a reply is
 * matched by its command's id; a late one is dropped. Contract sections 3 (Outcomes) and 5. Loop
 * thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/cleanup.h"
#include "common/config.h"
#include "common/health.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/store.h"
#include "proto/command.h"

struct bus_publish;
struct commander;

struct commander_options {
    uv_loop_t *loop;
    const struct config
        *config;               /* amqp_url, command_deadline_ms, max_commands_in_flight; borrowed */
    const struct store *store; /* for store_now: the deadlines' clock; borrowed */
    struct log *log;           /* borrowed */
    struct metrics *metrics;   /* handoff_commands_…; borrowed */
    struct health_dependency *health; /* reported as the broker comes and goes; may be NULL */
};

/* Connects by itself until commander_free. -EINVAL for a url that is none. */
MUSTCHECK int commander_new(struct commander **ret, const struct commander_options *options);
/* Every command in flight gets FAULT_TIMEOUT, every one not yet sent FAULT_UNAVAILABLE, before this
 * returns. */
struct commander *commander_free(struct commander *c);
DEFINE_CLEANUP(struct commander *, commander_free)

/* The reply is borrowed until the callback returns; its session and conflict may be taken (set the
 * member to NULL). reply->fault.code is FAULT_NONE when the command took effect; FAULT_UNAVAILABLE:
 * certainly not applied; FAULT_TIMEOUT: unknown; any other: refused by the engine. */
typedef void commander_done_fn(void *arg, struct reply *reply);

/* Sends *command (its deadline, and its id where that is "", are chosen here and written into it;
 * nothing of it is kept). An id of the caller's is a UUID that no other command has.
 * done is called exactly once, always later, never before this returns: with the engine's reply,
 * with FAULT_TIMEOUT after the deadline, or with FAULT_UNAVAILABLE when the broker is away or
 * blocked or too many commands are in flight. arg must live until then; there is no way to call it
 * off. */
void commander_send(struct commander *c, struct command *command, commander_done_fn *done,
                    void *arg);

/* Publishes a message on the connection that commands go by: -ENOTCONN while the broker is away,
 * -EAGAIN while it is blocked or slow, else as bus_publish; nothing was sent then. Not confirmed.
 */
MUSTCHECK int commander_publish(struct commander *c, const struct bus_publish *m);

/* Commands whose callback has not been called yet. */
/* Whether sessions may be loaded on behalf of readers: half of what may be in flight is the
 * clients' own, however many of them ask for sessions that are lost, or never were. */
bool commander_may_load(const struct commander *c);
size_t commander_n_in_flight(const struct commander *c);
/* Calls drained(arg) once, when none is in flight (later, never before this returns). What is sent
 * after it counts too. */
void commander_drain(struct commander *c, void (*drained)(void *arg), void *arg);
bool commander_is_up(const struct commander *c);

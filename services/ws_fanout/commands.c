/* A command outlives its connection: each is a small record that knows its connection as long as
 * there is one. */
#include "services/ws_fanout/commands.h"

#include <string.h>

#include "services/ws_fanout/fanout.h"

#define MAX_IN_FLIGHT 64 /* of a connection */

struct pending_command {
    struct connection *connection; /* NULL once it is gone */
    struct pending_command *prev, *next;
    char id[PROTOCOL_ID_CAP]; /* the client's */
    char session_id[UUID_LEN + 1];
};

static void link_pending(struct connection *c, struct pending_command *p) {
    p->connection = c;
    p->next = c->commands;
    if (p->next)
        p->next->prev = p;
    c->commands = p;
    c->n_commands++;
}

static void unlink_pending(struct pending_command *p) {
    struct connection *c = p->connection;
    if (p->prev)
        p->prev->next = p->next;
    else
        c->commands = p->next;
    if (p->next)
        p->next->prev = p->prev;
    c->n_commands--;
}

static void answered(void *arg, struct reply *reply) {
    struct pending_command *p = arg;
    struct connection *c = p->connection;
    if (c) {
        struct buf out = BUF_NULL;
        unlink_pending(p);
        memcpy(reply->session_id, p->session_id, sizeof(reply->session_id));
        if (reply->fault.code)
            protocol_print_error(p->id, p->session_id, &reply->fault, reply->conflict, &out);
        else
            protocol_print_ack(p->id, reply, &out);
        connection_send_buf(c, &out);
    }
    free(p);
}

static void refuse(struct connection *c, const struct protocol_message *m, enum fault_code code,
                   const char *detail) {
    struct fault f = {0};
    fault_set(&f, code, NULL, "%s", detail);
    connection_send_fault(c, m->id, m->session_id, &f);
}

void commands_send(struct connection *c, struct protocol_message *m) {
    struct fanout *f = c->fanout;
    if (f->is_draining) {
        refuse(c, m, FAULT_UNAVAILABLE, "this instance is going away; nothing was applied");
        return;
    }
    if (c->n_commands >= MAX_IN_FLIGHT) {
        refuse(c, m, FAULT_RATE_LIMITED, "a connection has at most 64 commands in flight");
        return;
    }
    struct pending_command *p = must_alloc(sizeof(*p));
    memcpy(p->id, m->id, sizeof(p->id));
    memcpy(p->session_id, m->session_id, sizeof(p->session_id));
    link_pending(c, p);
    struct command *command = &m->command;
    memcpy(command->user_id, c->principal.user_id, sizeof(command->user_id));
    memcpy(command->device_id, c->device_id, sizeof(command->device_id));
    command->rights = c->principal.rights;
    commander_send(f->commander, command, answered, p);
}

void commands_forget(struct connection *c) {
    for (struct pending_command *p = c->commands; p;) {
        struct pending_command *next = p->next;
        p->connection = NULL;
        p->prev = p->next = NULL;
        p = next;
    }
    c->commands = NULL;
    c->n_commands = 0;
}

/* A command outlives its connection: each is a small record that knows its connection as long as
 * there is one. A broadcast is judged by the session as the store has it, not by what the hub knew
 * of it last. */
#include "services/ws_fanout/commands.h"

#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "common/broadcast.h"
#include "common/refusal.h"
#include "services/ws_fanout/fanout.h"

#define MAX_IN_FLIGHT 64       /* of a connection */
#define MAX_LOADS 2            /* for a broadcast: of a session that is cold, lost or stale */
#define RETRY_IN_FLIGHT_MS 100 /* about what commands take while an engine is busy */

struct pending_command {
    struct connection *connection; /* NULL once it is gone */
    struct pending_command *prev, *next;
    char id[PROTOCOL_ID_CAP]; /* the client's */
    char session_id[UUID_LEN + 1];
    struct app *app;
    struct trace_context trace; /* for what is sent on its behalf */
    struct span *span;          /* owned or NULL */
};

struct pending_broadcast {
    struct pending_command pending; /* first: freed as one */
    struct fanout *fanout;
    struct principal principal;
    char device_id[SESSION_DEVICE_MAX + 1];
    json_t *message;
    bool echo;
    unsigned n_loads; /* how often the engine was asked for the session */
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

static void end_span(struct pending_command *p, enum fault_code code) {
    if (!p->span)
        return;
    span_text(p->span, SPAN_SESSION_ID, p->session_id);
    if (code != FAULT_NONE)
        span_text(p->span, SPAN_ERROR, fault_wire_code(code));
    p->span->has_failed = code != FAULT_NONE && fault_http_status(code) >= 500;
    span_end(p->app->tracer, TAKE_PTR(p->span));
}

/* Of a command that was refused, or that nobody knows the outcome of. */
static void log_refusal(const struct pending_command *p, const char *command_id,
                        const struct fault *f) {
    REFUSAL_LOG(p->app->log, f->code, LOG_TEXT("frameId", p->id),
                LOG_KNOWN("connectionId", p->connection ? p->connection->id : ""),
                LOG_TEXT("sessionId", p->session_id), LOG_KNOWN("commandId", command_id),
                LOG_TEXT("code", fault_wire_code(f->code)), LOG_TEXT("detail", f->detail),
                LOG_TRACE(&p->trace));
}

static void answered(void *arg, struct reply *reply) {
    struct pending_command *p = arg;
    struct connection *c = p->connection;
    span_text(p->span, SPAN_COMMAND_ID, reply->id);
    end_span(p, reply->fault.code);
    if (reply->fault.code)
        log_refusal(p, reply->id, &reply->fault);
    CRASH_LINK("fanout.reply.received", CRASH_BROKER);
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
    CRASH_LINK("fanout.reply.forwarded", CRASH_BROKER);
    free(p);
}

static void refuse(struct connection *c, const struct protocol_message *m, enum fault_code code,
                   int64_t retry_after_ms, const char *detail) {
    struct fault f = {0};
    fault_set(&f, code, NULL, "%s", detail);
    f.retry_after_ms = retry_after_ms;
    connection_log_refused(c, m, &f);
    connection_send_fault(c, m->id, m->session_id, &f);
}

/* Whether one more may begin; else it is refused. */
static bool may_begin(struct connection *c, const struct protocol_message *m) {
    if (c->fanout->is_draining)
        refuse(c, m, FAULT_UNAVAILABLE, 0, "this instance is going away; nothing was applied");
    else if (!auth_covers(&c->principal, m->session_id))
        refuse(c, m, FAULT_NOT_FOUND, 0, "there is no such session for this user");
    else if (c->n_commands >= MAX_IN_FLIGHT)
        refuse(c, m, FAULT_RATE_LIMITED, RETRY_IN_FLIGHT_MS,
               "a connection has at most 64 commands in flight");
    else
        return true;
    return false;
}

static void begin_span(const struct connection *c, struct pending_command *p,
                       const struct protocol_message *m) {
    char name[SPAN_NAME_CAP];
    p->app = c->fanout->app;
    trace_accept(p->app->tracer, m->traceparent, &p->trace);
    if (!p->trace.is_sampled)
        return;
    snprintf(name, sizeof(name), "WS %s", protocol_type_name(m->type));
    p->span = span_begin(p->app->tracer, &p->trace, SPAN_SERVER, name, 0);
    span_text(p->span, SPAN_CONNECTION_ID, c->id);
}

static void begin(struct connection *c, struct pending_command *p,
                  const struct protocol_message *m) {
    memcpy(p->id, m->id, sizeof(p->id));
    memcpy(p->session_id, m->session_id, sizeof(p->session_id));
    begin_span(c, p, m);
    link_pending(c, p);
}

void commands_send(struct connection *c, struct protocol_message *m) {
    if (!may_begin(c, m))
        return;
    struct pending_command *p = must_alloc(sizeof(*p));
    begin(c, p, m);
    struct command *command = &m->command;
    memcpy(command->user_id, c->principal.user_id, sizeof(command->user_id));
    memcpy(command->device_id, c->device_id, sizeof(command->device_id));
    command->rights = c->principal.rights;
    command->trace = p->trace;
    CRASH_LINK("fanout.command.taken", CRASH_BROKER);
    commander_send(c->fanout->commander, command, answered, p);
}

/* ---- broadcasts ---- */

static void on_session(void *arg, int err, const struct session *session);

/* Answers with what f says, or that it was sent at the position. */
static void end_broadcast(struct pending_broadcast *p, const struct fault *f,
                          struct position position) {
    struct pending_command *pending = &p->pending;
    struct connection *c = pending->connection;
    struct buf out = BUF_NULL;
    end_span(pending, f ? f->code : FAULT_NONE);
    if (f)
        log_refusal(pending, "", f);
    if (c) {
        unlink_pending(pending);
        if (f)
            protocol_print_error(pending->id, pending->session_id, f, NULL, &out);
        else
            protocol_print_broadcast_ack(pending->id, pending->session_id, position, &out);
        connection_send_buf(c, &out);
    }
    json_decref(p->message);
    free(p);
}

static void refuse_broadcast(struct pending_broadcast *p, const char *why) {
    struct fault f = {0};
    fault_set(&f, FAULT_UNAVAILABLE, NULL, "%s; nothing was sent", why);
    end_broadcast(p, &f, (struct position){0});
}

static void publish(struct pending_broadcast *p, const struct session *session) {
    struct fanout *fanout = p->fanout;
    struct broadcast broadcast = {.user_id = p->principal.user_id,
                                  .device_id = p->device_id,
                                  .rights = p->principal.rights,
                                  .message = p->message,
                                  .echo = p->echo,
                                  .cloud_event = fanout->app->config->cloudevents,
                                  .trace = &p->pending.trace};
    struct fault f = {0};
    int r = broadcast_publish(fanout->commander, session, store_now(fanout->store), &broadcast, &f);
    CRASH_LINK("fanout.broadcast.published", CRASH_BROKER);
    end_broadcast(p, r ? &f : NULL, session->position);
}

static void on_loaded(void *arg, struct reply *reply) {
    struct pending_broadcast *p = arg;
    if (!reply->fault.code)
        store_read_meta(p->fanout->store, p->pending.session_id, on_session, p);
    else if (reply->fault.code == FAULT_TIMEOUT)
        refuse_broadcast(p, "the session could not be loaded in time");
    else
        end_broadcast(p, &reply->fault, (struct position){0});
}

static void load(struct pending_broadcast *p) {
    struct command command = {
        .kind = COMMAND_LOAD, .rights = p->principal.rights, .trace = p->pending.trace};
    if (++p->n_loads > MAX_LOADS) {
        refuse_broadcast(p, "the session cannot be loaded now");
        return;
    }
    memcpy(command.session_id, p->pending.session_id, sizeof(command.session_id));
    memcpy(command.user_id, p->principal.user_id, sizeof(command.user_id));
    commander_send(p->fanout->commander, &command, on_loaded, p);
}

static void on_session(void *arg, int err, const struct session *session) {
    struct pending_broadcast *p = arg;
    CRASH_LINK("fanout.broadcast.read", CRASH_BROKER);
    if (!err)
        publish(p, session);
    else if (err == -ENOENT || err == -ESTALE || err == -EBADMSG)
        load(p);
    else
        refuse_broadcast(p, "Redis cannot be reached");
}

void commands_broadcast(struct connection *c, const struct protocol_message *m) {
    int64_t now = (int64_t)uv_now(c->fanout->app->loop), wait;
    if (!may_begin(c, m))
        return;
    if ((wait = bucket_take(&c->limits.broadcasts, 1, now)) > 0) {
        refuse(c, m, FAULT_RATE_LIMITED, wait, "a connection may broadcast 50 times a second");
        return;
    }
    if (hub_role(c, m->session_id) == SESSION_ROLE_NONE) {
        refuse(c, m, FAULT_INVALID_REQUEST, 0, "subscribe to the session first");
        return;
    }
    struct pending_broadcast *p = must_alloc(sizeof(*p));
    begin(c, &p->pending, m);
    p->fanout = c->fanout;
    p->principal = c->principal;
    memcpy(p->device_id, c->device_id, sizeof(p->device_id));
    p->message = json_incref(m->message);
    p->echo = m->echo;
    store_read_meta(c->fanout->store, m->session_id, on_session, p);
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

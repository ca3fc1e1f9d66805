/* The life of a connection: its list, sending and queueing, deadlines, closing. */
#include "services/ws_fanout/connection.h"

#include <string.h>

#include "base/timestamp.h"
#include "common/refusal.h"
#include "services/ws_fanout/commands.h"
#include "services/ws_fanout/events.h"
#include "services/ws_fanout/fanout.h"
#include "services/ws_fanout/protocol.h"

#define CLOSE_TIMEOUT_MS 5000
#define TOKEN_EXPIRING_MS 60000
#define STREAM_END 1000         /* for the log only */
#define BURST_BYTES (64u << 10) /* collected for one write, and what lws may have to keep */

static int64_t loop_now(const struct connection *c) {
    return (int64_t)uv_now(c->fanout->app->loop);
}

struct connection *connection_new(struct fanout *f, struct events *events) {
    struct connection *c = must_alloc(sizeof(*c));
    c->fanout = f;
    c->events = events;
    c->serial = ++f->n_accepted;
    c->opened_at = loop_now(c);
    uuid_v7(timestamp_wall_ms(), c->id);
    limits_init(&c->limits, f->app->config->ws_messages_per_second,
                f->app->config->ws_bytes_per_second, c->opened_at);
    outbox_init(&c->outbox, (size_t)f->app->config->max_outbox_bytes, &f->waiting);
    c->next = f->connections;
    if (c->next)
        c->next->prev = c;
    f->connections = c;
    deadlines_add(&f->deadlines, c);
    fanout_entered(f, events != NULL);
    return c;
}

void connection_opened(void *connection, struct socket *s) {
    struct connection *c = connection;
    c->socket = s;
    deadlines_look_at(&c->fanout->deadlines, c);
    if (c->fanout->is_closing)
        fanout_send_away(c);
    else if (c->events)
        events_open(c);
    else if (c->is_authenticated)
        connection_welcome(c, "");
}

/* The last write's bytes are with the kernel, or lost. */
static void forget_unsent(struct connection *c) {
    c->fanout->waiting.n_bytes -= c->n_unsent;
    c->n_unsent = 0;
}

void connection_closed(void *connection) {
    struct connection *c = connection;
    struct fanout *f = c->fanout;
    c->socket = NULL;
    hub_leave(f->hub, c);
    commands_forget(c);
    if (c->is_authenticated)
        users_leave(&f->users, c->principal.user_id);
    outbox_done(&c->outbox);
    forget_unsent(c);
    deadlines_remove(&f->deadlines, c);
    if (c->prev)
        c->prev->next = c->next;
    else
        f->connections = c->next;
    if (c->next)
        c->next->prev = c->prev;
    bool is_stream = c->events != NULL;
    events_free(c->events);
    free(c->query_session);
    free(c->device_name);
    free(c->device_platform);
    free(c);
    fanout_left(f, is_stream);
}

/* ---- sending ---- */

static void dropped(void *arg, void *owner, struct frame *f) {
    struct connection *c = arg;
    metric_add(c->fanout->dropped_metric, 1);
    hub_dropped(owner, f);
}

static void set_busy(struct connection *c) {
    c->busy_since = loop_now(c);
    deadlines_look_at(&c->fanout->deadlines, c);
}

/* What a write of that many bytes led to. */
static void written(struct connection *c, enum socket_result result, size_t n_bytes) {
    forget_unsent(c);
    if (result == SOCKET_WRITTEN)
        return;
    set_busy(c);
    c->n_unsent = result == SOCKET_BUSY ? n_bytes : 0;
    c->fanout->waiting.n_bytes += c->n_unsent;
}

static void queue(struct connection *c, struct frame *f, struct subscription *owner) {
    if (!c->busy_since) {
        set_busy(c);
        socket_await_writable(c->socket);
    }
    if (outbox_push(&c->outbox, f, owner, dropped, c) == OUTBOX_FULL)
        connection_close(c, CLOSE_TOO_SLOW, "more answers wait than may");
}

static void write_burst(struct connection_burst *burst) {
    struct connection *c = burst->connection;
    if (burst->n)
        written(c, socket_write_many(c->socket, burst->frames, burst->n), burst->n_bytes);
    burst->n = burst->n_bytes = 0;
}

/* What is too much for one write leaves at once, and may leave the connection busy. */
static void collect(struct connection_burst *burst, struct frame *f) {
    burst->frames[burst->n++] = f;
    burst->n_bytes += f->len;
    if (burst->n == N_ELEMENTS(burst->frames) || burst->n_bytes >= BURST_BYTES)
        write_burst(burst);
}

void connection_put(struct connection *c, struct frame *f, struct subscription *owner) {
    if (!c->socket || c->closing_since)
        return;
    if (c->events)
        c->events->sent_at = loop_now(c);
    if (c->outbox.n || !socket_is_writable(c->socket)) {
        queue(c, f, owner);
        return;
    }
    struct connection_burst *burst = &c->fanout->burst;
    if (burst->connection == c)
        collect(burst, f);
    else
        written(c, socket_write(c->socket, f), f->len);
}

void connection_send(struct connection *c, struct frame *f, struct subscription *owner) {
    if (c->events)
        events_send(c, f, owner);
    else
        connection_put(c, f, owner);
}

void connection_cork(struct connection *c) {
    if (!c->events) /* a stream's bytes are its own */
        c->fanout->burst.connection = c;
}

void connection_uncork(struct connection *c) {
    if (c->fanout->burst.connection == c)
        write_burst(&c->fanout->burst);
    c->fanout->burst.connection = NULL;
}

void connection_send_buf(struct connection *c, struct buf *b) {
    _cleanup_(frame_unrefp) struct frame *f = frame_from_buf(b);
    connection_send(c, f, NULL);
}

static void log_refusal(const struct connection *c, const char *id, const char *session_id,
                        const struct trace_context *trace, const struct fault *f) {
    REFUSAL_LOG(c->fanout->app->log, f->code, LOG_TEXT("connectionId", c->id),
                LOG_KNOWN("frameId", id), LOG_KNOWN("sessionId", session_id),
                LOG_TEXT("code", fault_wire_code(f->code)), LOG_TEXT("detail", f->detail),
                LOG_TRACE(trace));
}

void connection_log_refusal(const struct connection *c, const char *id, const struct fault *f) {
    log_refusal(c, id, "", &(struct trace_context){0}, f);
}

void connection_log_refused(const struct connection *c, const struct protocol_message *m,
                            const struct fault *f) {
    struct trace_context trace;
    trace_context_take(m->traceparent, &trace);
    log_refusal(c, m->id, m->session_id, &trace, f);
}

void connection_send_fault(struct connection *c, const char *id, const char *session_id,
                           const struct fault *f) {
    struct buf out = BUF_NULL;
    if (c->events) {
        events_refuse(c, f);
        return;
    }
    protocol_print_error(id, session_id, f, NULL, &out);
    connection_send_buf(c, &out);
}

void connection_session_lost(struct connection *c) {
    if (c->events)
        events_end(c);
}

bool connection_is_backed_up(const struct connection *c) {
    return c->busy_since != 0;
}

void connection_writable(void *connection) {
    struct connection *c = connection;
    c->busy_since = 0;
    forget_unsent(c);
    while (c->outbox.n && !c->busy_since) {
        _cleanup_(frame_unrefp) struct frame *f = outbox_pop(&c->outbox);
        written(c, socket_write(c->socket, f), f->len);
    }
    if (c->busy_since)
        return;
    if (c->events)
        events_drained(c);
    hub_resume(c->fanout->hub, c);
}

/* ---- closing and deadlines ---- */

static void close_with(struct connection *c, int code, const char *reason) {
    if (c->closing_since || !c->socket)
        return;
    c->closing_since = loop_now(c);
    deadlines_look_at(&c->fanout->deadlines, c);
    log_debug(c->fanout->app->log, "connection_closing", "A connection is closed.",
              LOG_TEXT("connectionId", c->id), LOG_NUMBER("code", code),
              LOG_TEXT("reason", reason));
    socket_close(c->socket, code, reason);
}

void connection_close(struct connection *c, enum connection_close code, const char *reason) {
    close_with(c, (int)code, reason);
}

void connection_end_stream(struct connection *c, const char *reason) {
    close_with(c, STREAM_END, reason);
}

void connection_send_away(struct connection *c, int64_t retry_after_ms) {
    _cleanup_(buf_done) struct buf reason = BUF_NULL;
    protocol_print_retry_after(retry_after_ms, &reason);
    connection_close(c, CLOSE_RATE_LIMITED, reason.data);
}

bool connection_is_closing(const struct connection *c) {
    return c->closing_since != 0;
}

static void tell_token_expiring(struct connection *c) {
    struct buf out = BUF_NULL;
    if (c->events && !c->events->is_started)
        return;
    c->token_expiring_told = true;
    protocol_print_token_expiring(c->principal.expires_at * 1000, &out);
    connection_send_buf(c, &out);
}

static void expire(struct connection *c) {
    struct fault f = {0};
    fault_set(&f, FAULT_TOKEN_EXPIRED, NULL, "the token has expired");
    if (c->events && !c->events->is_started)
        events_refuse(c, &f);
    else
        connection_close(c, CLOSE_TOKEN_EXPIRED, "token expired");
}

void connection_disown(struct connection *c) {
    struct fault f = {0};
    fault_set(&f, FAULT_UNAUTHENTICATED, NULL, "the token was refused");
    if (c->events && !c->events->is_started)
        events_refuse(c, &f);
    else
        connection_close(c, CLOSE_UNAUTHENTICATED, fault_wire_code(f.code));
}

void connection_check(struct connection *c, int64_t now, int64_t wall) {
    const struct config *config = c->fanout->app->config;
    int64_t expires = c->principal.expires_at * 1000;
    if (!c->socket)
        return;
    if (c->closing_since) {
        if (now - c->closing_since >= CLOSE_TIMEOUT_MS)
            socket_kill(c->socket);
    } else if (c->busy_since && now - c->busy_since >= config->stuck_timeout_ms)
        connection_close(c, CLOSE_TOO_SLOW, "too slow");
    else if (!c->is_authenticated) {
        if (now - c->opened_at >= config->auth_timeout_ms)
            connection_close(c, CLOSE_UNAUTHENTICATED, "no token in time");
    } else if (wall >= expires)
        expire(c);
    else {
        if (wall >= expires - TOKEN_EXPIRING_MS && !c->token_expiring_told)
            tell_token_expiring(c);
        if (c->events)
            events_check(c, now);
    }
}

int64_t connection_deadline(const struct connection *c, int64_t now, int64_t wall) {
    const struct config *config = c->fanout->app->config;
    int64_t token = c->principal.expires_at * 1000, stuck = INT64_MAX, other = INT64_MAX;
    if (!c->socket)
        return INT64_MAX;
    if (c->closing_since)
        return c->closing_since + CLOSE_TIMEOUT_MS;
    if (c->busy_since)
        stuck = c->busy_since + config->stuck_timeout_ms;
    if (c->events)
        other = now; /* told often that it lives */
    else if (!c->is_authenticated)
        other = c->opened_at + config->auth_timeout_ms;
    else
        other = now + ((c->token_expiring_told ? token : token - TOKEN_EXPIRING_MS) - wall);
    return stuck < other ? stuck : other;
}

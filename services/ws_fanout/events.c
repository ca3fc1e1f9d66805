/* The connection's side of a stream; see events.h. */
#include "services/ws_fanout/events.h"

#include <inttypes.h>
#include <string.h>

#include "services/ws_fanout/fanout.h"
#include "services/ws_fanout/protocol.h"

#define START_TIMEOUT_MS 10000 /* to the first state */
#define COMMENT_AFTER_MS 15000

struct events *events_free(struct events *e) {
    if (e)
        free(e->origin);
    free(e);
    return NULL;
}

void events_open(struct connection *c) {
    struct events *e = c->events;
    hub_subscribe(c->fanout->hub, c, e->session_id, e->has_since ? &e->since : NULL, "");
}

/* ---- the answer ---- */

static struct request_caller caller_of(const struct events *e) {
    struct request_caller caller = {.origin = e->origin, .route = e->route, .trace = e->trace};
    memcpy(caller.id, e->request_id, sizeof(caller.id));
    return caller;
}

static void put_answer(struct connection *c, struct socket_answer *answer) {
    struct buf out = BUF_NULL;
    answer->is_head = c->events->is_head;
    c->events->is_started = true;
    socket_print_answer(answer, &out);
    _cleanup_(frame_unrefp) struct frame *f = frame_from_buf(&out);
    connection_put(c, f, NULL);
}

static void start(struct connection *c) {
    struct request_caller caller = caller_of(c->events);
    struct socket_answer answer = {.status = 200, .is_stream = true};
    struct buf hello = BUF_NULL;
    request_add_headers(&caller, &answer);
    buf_puts(&answer.headers,
             "Content-Type: text/event-stream; charset=utf-8\r\nX-Accel-Buffering: no\r\n");
    connection_print_hello(c, "", &hello);
    _cleanup_(frame_unrefp) struct frame *f = frame_from_buf(&hello);
    const struct frame *event = frame_as_event(f);
    buf_put(&answer.body, event->bytes + FRAME_HEADROOM, event->len);
    put_answer(c, &answer);
}

void events_send(struct connection *c, struct frame *f, struct subscription *owner) {
    struct events *e = c->events;
    if (!e->is_started) {
        start(c);
        if (e->is_head)
            connection_end_stream(c, "");
    }
    if (!connection_is_closing(c) && !e->is_ending)
        connection_put(c, frame_as_event(f), owner);
}

/* ---- the end ---- */

void events_refuse(struct connection *c, const struct fault *f) {
    struct request_caller caller = caller_of(c->events);
    struct socket_answer answer = {0};
    if (!c->events->is_started) {
        metric_add(c->fanout->refused_metric, 1);
        (void)request_refuse(c->fanout, &caller, f, &answer);
        put_answer(c, &answer);
    }
    connection_end_stream(c, fault_wire_code(f->code));
}

void events_end(struct connection *c) {
    if (connection_is_backed_up(c))
        c->events->is_ending = true;
    else
        connection_end_stream(c, "");
}

void events_drained(struct connection *c) {
    if (c->events->is_ending)
        connection_end_stream(c, "");
}

/* The standard's word for when to come back. */
static void put_retry(struct connection *c, int64_t retry_after_ms) {
    struct buf out = BUF_NULL;
    buf_printf(&out, "retry: %" PRId64 "\n\n", retry_after_ms);
    _cleanup_(frame_unrefp) struct frame *f = frame_from_buf(&out);
    connection_put(c, f, NULL);
}

void events_send_away(struct connection *c, int64_t retry_after_ms) {
    struct fault f = {0};
    if (!c->events->is_started) {
        fault_set(&f, FAULT_UNAVAILABLE, NULL, "this instance is going away");
        f.retry_after_ms = retry_after_ms;
        events_refuse(c, &f);
        return;
    }
    put_retry(c, retry_after_ms);
    connection_close(c, CLOSE_GOING_AWAY, "");
}

/* ---- time ---- */

static void put_comment(struct connection *c) {
    static const char comment[] = ":\n\n";
    _cleanup_(frame_unrefp) struct frame *f = frame_new(comment, sizeof(comment) - 1);
    connection_put(c, f, NULL);
}

void events_check(struct connection *c, int64_t now) {
    const struct events *e = c->events;
    struct fault f = {0};
    if (!e->is_started) {
        if (now - c->opened_at < START_TIMEOUT_MS)
            return;
        fault_set(&f, FAULT_UNAVAILABLE, NULL, "the session's state cannot be had now");
        events_refuse(c, &f);
    } else if (!connection_is_backed_up(c) && now - e->sent_at >= COMMENT_AFTER_MS)
        put_comment(c);
}

/* Dead letters: what can never be written goes to ROUTE_AUDIT_DEAD_QUEUE with the reason, and only
 * when the broker confirmed that is it acknowledged. */
#include <errno.h>

#include "base/crash_point.h"
#include "base/timestamp.h"
#include "proto/route.h"
#include "services/audit_writer/writer_private.h"

static bool is_to_bury(const struct entry *e) {
    return e->reason[0] && !e->buried;
}

static const char *none_if_empty(const char *text) {
    return text[0] ? text : NULL;
}

/* With what it came with, so that it can be put back; the timestamp says when it was put away. */
static int publish(struct writer *w, struct entry *e) {
    const struct bus_publish m = {
        .exchange = "",
        .routing_key = ROUTE_AUDIT_DEAD_QUEUE,
        .body = e->body,
        .body_len = e->body_len,
        .persistent = true,
        .message_id = none_if_empty(e->message_id),
        .type = none_if_empty(e->type),
        .timestamp_ms = timestamp_wall_ms(),
        .epoch = e->event.position.epoch,
        .version = e->event.position.version,
        .device_id = none_if_empty(e->event.device_id),
        .command_id = none_if_empty(e->event.command_id),
        .key_hash = none_if_empty(e->event.key_hash),
        .fingerprint = none_if_empty(e->event.fingerprint),
        .reason = e->reason,
        .trace = &e->event.trace,
    };
    CRASH_LINK("audit.dead_letter.publishing", CRASH_BROKER);
    return bus_publish(w->publisher, &m, &e->dead_seq);
}

static bool all_are_buried(const struct writer *w) {
    for (size_t i = 0; i < w->n_batch; i++)
        if (is_to_bury(w->batch[i]))
            return false;
    return true;
}

void writer_bury(struct writer *w) {
    if (all_are_buried(w)) {
        writer_finish(w);
        return;
    }
    w->state = WRITER_BURYING;
    for (size_t i = 0; i < w->n_batch; i++) {
        struct entry *e = w->batch[i];
        if (is_to_bury(e) && !e->dead_seq && publish(w, e)) {
            writer_rest(w, "a dead letter cannot be published");
            return;
        }
    }
}

static void buried(struct writer *w, struct entry *e) {
    e->buried = true;
    metric_add(w->dead, 1);
    log_error(w->app->log, "audit_dead_letter", "A message that can never be written was put away.",
              LOG_TEXT("reason", e->reason), LOG_TEXT("messageId", e->message_id),
              LOG_TEXT("type", e->type), LOG_KNOWN("sessionId", e->event.session_id),
              LOG_KNOWN("commandId", e->event.command_id), LOG_TRACE(&e->event.trace),
              LOG_TEXT("hint", "Look at it in the queue " ROUTE_AUDIT_DEAD_QUEUE "."));
}

void writer_on_confirmed(void *arg, uint64_t seq, bool multiple, bool ok) {
    struct writer *w = arg;
    for (size_t i = 0; i < w->n_batch; i++) {
        struct entry *e = w->batch[i];
        if (!is_to_bury(e) || !e->dead_seq || (multiple ? e->dead_seq > seq : e->dead_seq != seq))
            continue;
        if (CRASH_POINT_CUT("audit.dead_letter.confirmed", CRASH_BROKER))
            return;
        e->dead_seq = 0;
        if (ok)
            buried(w, e);
    }
    if (w->state == WRITER_BURYING && !ok)
        writer_rest(w, "the broker refused a dead letter");
    else if (w->state == WRITER_BURYING && all_are_buried(w))
        writer_finish(w);
}

void writer_on_publisher_lost(struct writer *w) {
    for (size_t i = 0; i < w->n_batch; i++)
        w->batch[i]->dead_seq = 0;
    if (w->state == WRITER_BURYING)
        writer_rest(w, "the broker was lost");
}

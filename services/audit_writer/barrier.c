/* Barriers: whoever asks learns that all that was in the queue before is committed. Batches are
 * written one after another and in the queue's order, so the answer follows its batch. One that the
 * broker does not take now is dropped: it must not hold up the trail, and whoever asked gives up
 * and asks again. */
#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "proto/route.h"
#include "services/audit_writer/writer_private.h"

static int answer(struct writer *w, const struct entry_barrier *b) {
    const struct bus_publish m = {
        .exchange = "",
        .routing_key = b->reply_to,
        .body = "{}",
        .body_len = 2,
        .correlation_id = b->correlation_id[0] ? b->correlation_id : NULL,
    };
    if (!route_is_reply_to(b->reply_to, strlen(b->reply_to)))
        return -EINVAL;
    CRASH_LINK("audit.barrier.answering", CRASH_BROKER);
    return bus_publish(w->publisher, &m, NULL);
}

static void dropped(struct writer *w, const struct entry_barrier *b, int err) {
    if (err == -EINVAL)
        log_warn(w->app->log, "barrier_refused", "A barrier asks for its answer where none may go.",
                 LOG_TEXT("replyTo", b->reply_to),
                 LOG_TEXT("hint", "Ask with reply_to " ROUTE_REPLY_TO "."));
    else
        log_warn(w->app->log, "barrier_unanswered", "The broker does not take a barrier's answer.",
                 LOG_TEXT("err", strerror(-err)));
}

void writer_answer_barriers(struct writer *w) {
    bus_cork(w->publisher);
    for (size_t i = 0; i < w->n_batch; i++) {
        const struct entry_barrier *b = w->batch[i]->barrier;
        int err = b ? answer(w, b) : 0;
        if (err)
            dropped(w, b, err);
        else if (b)
            metric_add(w->barriers, 1);
        if (b)
            CRASH_LINK("audit.barrier.answered", CRASH_BROKER);
    }
    bus_uncork(w->publisher);
}

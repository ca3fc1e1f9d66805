/* An event that is there already is as a rule the same one, delivered or published again. Where it
 * is another one under the same message id, two engines believe to have made the same version: the
 * first that was written stays, the other becomes a dead letter, and somebody has to look. */
#include <stdio.h>

#include "base/crash_point.h"
#include "services/audit_writer/writer_private.h"

static void found(struct writer *w, struct entry *e) {
    snprintf(e->reason, sizeof(e->reason),
             "another content was written before under the same message id");
    metric_add(w->two_contents, 1);
    log_error(w->app->log, "audit_two_contents",
              "Two events with one message id and different contents: the first one stays.",
              LOG_TEXT("sessionId", e->event.session_id), LOG_TEXT("messageId", e->message_id),
              LOG_NUMBER("epoch", (int64_t)e->event.position.epoch),
              LOG_NUMBER("version", (int64_t)e->event.position.version),
              LOG_KNOWN("commandId", e->event.command_id), LOG_TRACE(&e->event.trace),
              LOG_TEXT("hint", "Compare the dead letter with the row of session_events."));
}

static void on_others(void *arg, int err, const struct db_result *r) {
    struct writer *w = arg;
    for (size_t i = 0; !err && !w->closed && i < db_n_rows(r); i++) {
        size_t place = (size_t)db_number(r, i, 0);
        if (place < w->to - w->from)
            found(w, w->batch[w->from + place]);
    }
}

static void on_end(void *arg, int err, const struct db_result *r) {
    struct writer *w = arg;
    (void)r;
    if (w->closed)
        return;
    if (err)
        writer_rest(w, "what is there already cannot be compared"); /* the range is written again */
    else
        writer_range_done(w);
}

void writer_compare(struct writer *w) {
    struct batch_statement s;
    batch_build_comparison(w->batch + w->from, w->to - w->from, &s);
    int err = writer_send(w, &s, on_others);
    if (!err)
        err = db_end(w->db, on_end, w);
    CRASH_LINK("audit.comparison.sent", CRASH_DATABASE);
    batch_statement_done(&s);
    if (err)
        writer_rest(w, "the connection was lost");
}

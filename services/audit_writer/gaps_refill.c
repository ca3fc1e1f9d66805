/* What Redis still has of the missing versions. One window is read at a time, and a part of it, so
 * that a trail with many gaps stays small in memory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crash_point.h"
#include "proto/event.h"
#include "services/audit_writer/gaps_private.h"

#define READ_MAX 100 /* entries */

/* Gives one entry to the writer, as the broker would have brought it. */
static bool refill(struct gaps *g, const struct gap *gap, const struct store_outboxed *entry) {
    _cleanup_(event_done) struct event e = {0};
    struct fault f = {0};
    if (event_parse(entry->event, entry->event_len, &e, NULL, &f) ||
        e.position.version > gap->position.version || e.position.epoch != gap->position.epoch ||
        strcmp(e.session_id, gap->session_id) != 0)
        return false;
    struct bus_message m = {
        .body = entry->event, .body_len = entry->event_len, .trace = entry->trace};
    memcpy(m.message_id, e.message_id, sizeof(e.message_id));
    snprintf(m.type, sizeof(m.type), "%s", event_type_name(e.type));
    memcpy(m.command_id, entry->command_id, sizeof(entry->command_id));
    memcpy(m.key_hash, entry->key_hash, sizeof(entry->key_hash));
    memcpy(m.fingerprint, entry->fingerprint, sizeof(entry->fingerprint));
    g->callbacks.refill(g->arg, &m);
    return true;
}

static void take(struct gaps *g, struct gap *gap, const struct store_outboxed *entries, size_t n) {
    size_t n_refilled = 0;
    for (size_t i = 0; i < n; i++)
        n_refilled += refill(g, gap, &entries[i]);
    CRASH_LINK("audit.gap.refilled", CRASH_DATABASE);
    metric_add(g->refilled, (double)n_refilled);
    gap->n_refills++;
    if (n_refilled)
        gaps_wait(g, gap);
    else
        gaps_lose(g, gap);
}

static void on_outbox(void *arg, int err, const struct store_outboxed *entries, size_t n) {
    struct gaps *g = arg;
    struct gap *gap = TAKE_PTR(g->reading);
    if (g->closed)
        return;
    if (CRASH_POINT_CUT("audit.gap.read", CRASH_REDIS))
        err = -ENOTCONN;
    if (!err)
        take(g, gap, entries, n);
    else if (err == -EBADMSG)
        gaps_lose(g, gap);
    else
        gap_list_add(&g->missing, gap); /* until Redis answers */
    if (!err || err == -EBADMSG)
        gaps_read_next(g);
}

void gaps_read_next(struct gaps *g) {
    if (g->reading || !g->missing.first || !store_is_up(g->store) || !g->callbacks.has_room(g->arg))
        return;
    g->reading = gap_list_take(&g->missing);
    CRASH_LINK("audit.gap.reading", CRASH_REDIS);
    store_read_outbox(g->store, g->reading->session_id, g->reading->low, READ_MAX, on_outbox, g);
}

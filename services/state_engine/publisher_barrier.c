/* Barriers on the connection that publishes; see publisher.h and barrier.h. A barrier is no event:
 * nobody waits for its confirm, and one that was not sent on this connection is not sent on the
 * next, since who asked has been told. */
#include "base/buf.h"
#include "proto/route.h"
#include "services/state_engine/publisher_private.h"

#include <string.h>

#define LIFETIME_MS 5000 /* in the queue: nobody waits for its answer as long as that */

void publisher_watch_barriers(struct publisher *p,
                              const struct publisher_barrier_callbacks *callbacks, void *arg) {
    p->barriers = *callbacks;
    p->barriers_arg = arg;
}

void publisher_barrier(struct publisher *p, const char *correlation_id) {
    struct outgoing *o = must_alloc(sizeof(*o));
    memcpy(o->barrier, correlation_id, UUID_LEN + 1);
    publisher_wait_for_sending(p, o);
    publisher_send_waiting(p);
}

int publisher_send_barrier(struct publisher *p, const char *correlation_id, uint64_t *ret_seq) {
    struct bus_publish m = {
        .exchange = "",
        .routing_key = ROUTE_AUDIT_QUEUE,
        .body = "",
        .expiration_ms = LIFETIME_MS,
        .type = ROUTE_BARRIER_TYPE,
        .reply_to = ROUTE_REPLY_TO,
        .correlation_id = correlation_id,
    };
    return bus_publish(p->bus, &m, ret_seq);
}

void publisher_on_message(void *arg, const struct bus_message *m) {
    struct publisher *p = arg;
    if (p->barriers.answered)
        p->barriers.answered(p->barriers_arg, m->correlation_id);
}

void publisher_lose_barriers(struct publisher *p) {
    struct outgoing **link = &p->waiting;
    while (*link) {
        struct outgoing *o = *link;
        if (o->barrier[0]) {
            *link = o->next;
            free(o);
        } else {
            link = &o->next;
        }
    }
    p->waiting_end = link;
    if (p->barriers.lost)
        p->barriers.lost(p->barriers_arg);
}

/* Publishes what was saved, and keeps it until the broker confirmed it: after a reconnect
 * everything unconfirmed goes out again. Replies go over another connection, unconfirmed. Tells its
 * owner when a version's events are all confirmed, and moves the published marks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/app.h"
#include "common/bus.h"
#include "common/store_batch.h"
#include "proto/command.h"
#include "proto/event.h"
#include "services/state_engine/job.h"

struct publisher;

struct publisher_callbacks {
    void (*up)(void *arg); /* may publish (again): up and not blocked */
    /* The events that were published for this delivery's job are confirmed; delivery may be NULL (a
     * publication of the attention look). */
    void (*confirmed)(void *arg, struct delivery *delivery);
    void (*turn)(void *arg); /* after the confirms that one wake brought */
    /* What publisher_publish_presence took is confirmed. */
    void (*told)(void *arg, const char *session_id, const char *device_id, int64_t lease_until);
};

MUSTCHECK int publisher_new(struct publisher **ret, struct app *app,
                            const struct publisher_callbacks *callbacks, void *arg);
struct publisher *publisher_free(struct publisher *p);

/* Whether more may be saved now: the broker is there, not blocked, and not too much is unconfirmed.
 */
bool publisher_is_ready(const struct publisher *p);
/* The same while publications wait for publisher_uncork. */
bool publisher_has_room(const struct publisher *p);

/* What is given between the two goes out together at publisher_uncork: replies first (somebody
 * waits for them), then events. Always publish, reply and dead-letter between them. */
void publisher_cork(struct publisher *p);
void publisher_uncork(struct publisher *p);

/* Takes the events of one saved version (moved out: the array's structs are emptied): they are
 * published at publisher_uncork or when the broker is back. */
void publisher_publish(struct publisher *p, struct event *events, size_t n_events,
                       struct delivery *delivery);
/* The same with what became of one device, told with callbacks.told. */
void publisher_publish_presence(struct publisher *p, struct event *events, size_t n_events,
                                struct delivery *delivery, int64_t lease_until);
/* Replies to one delivery's commands are gathered, and sent at publisher_uncork or when the broker
 * takes them. Takes *reply. When too many wait it is dropped: its asker's deadline tells it. */
void publisher_reply(struct publisher *p, const struct delivery *d, struct reply *reply);
/* Whether replies wait for a broker that is there. */
bool publisher_has_answers(const struct publisher *p);
/* Once a second: what the broker refused goes out again. */
void publisher_retry(struct publisher *p);
/* To a dead-letter queue, confirmed through `delivery`. */
void publisher_dead(struct publisher *p, const char *queue, const void *body, size_t body_len,
                    const char *reason, struct delivery *delivery);

/* A barrier goes to the audit queue behind everything that waits here; answered comes with its
 * correlation id, lost when the connection over which it may have gone is no more. */
struct publisher_barrier_callbacks {
    void (*answered)(void *arg, const char *correlation_id);
    void (*lost)(void *arg);
};
void publisher_watch_barriers(struct publisher *p,
                              const struct publisher_barrier_callbacks *callbacks, void *arg);
void publisher_barrier(struct publisher *p, const char *correlation_id);

/* Whether the marks should move with the next batch; else once a second is enough, which costs a
 * busy session one script a second instead of one a version. */
bool publisher_has_urgent_marks(const struct publisher *p);
/* The marks to move in the next save; settled ones are forgotten by publisher_marks_done. */
struct store_mark *publisher_marks(struct publisher *p, size_t *ret_n);
void publisher_marks_done(struct publisher *p);

/* What a user may do on the broker, and what is there, asked so that nothing comes of it: no
 * message is published, none taken from a queue, nothing declared that is not there yet. Blocks, at
 * most 10 s a question; any one thread. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "common/bus_url.h"

#define BUS_CHECK_WHY_CAP 320

enum bus_verdict {
    BUS_CHECK_OK,
    BUS_CHECK_REFUSED, /* the user has no right to it */
    BUS_CHECK_MISSING, /* it is not there */
    BUS_CHECK_FAILED,  /* anything else: why says what */
};

struct bus_check {
    struct amqp_connection_state_t_ *conn; /* owned */
    unsigned channel;                      /* one for each question: a refusal closes it */
    char version[32], product[64];         /* as the broker says them; "" where it does not */
    char why[BUS_CHECK_WHY_CAP];           /* of the last question; "" when it is fine */
};

/* -EINVAL for a url that is none, -ECONNREFUSED: not reached, or not let in; ret->why says why.
 * bus_check_close in any case. */
MUSTCHECK int bus_check_open(struct bus_check *ret, const char *url,
                             const struct bus_address *address);
void bus_check_close(struct bus_check *c);

enum bus_verdict bus_check_exchange(struct bus_check *c, const char *name);
enum bus_verdict bus_check_queue(struct bus_check *c, const char *name);
/* Where all of it is there: whether it is as proto/route.h has it, and this user may declare and
 * bind it, as every service does on each connect. */
enum bus_verdict bus_check_topology(struct bus_check *c, bool quorum);
/* Whether the user may publish there: with a property that the broker refuses right after it looked
 * at the rights. */
enum bus_verdict bus_check_publish(struct bus_check *c, const char *exchange,
                                   const char *routing_key);
/* Whether the user may consume it: with an argument that is refused right after. */
enum bus_verdict bus_check_consume(struct bus_check *c, const char *queue);
/* Whether the user may have a queue of its own, bind it to the exchange and consume it: makes one,
 * which is gone with the connection. Its name begins with prefix, or is the broker's (NULL). */
enum bus_verdict bus_check_own_queue(struct bus_check *c, const char *exchange, char *prefix);

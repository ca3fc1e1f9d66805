/* Where the broker is: amqp://user:password@host1:port,host2:port/vhost, up to 16 nodes of one
 * cluster. Pure. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"

#define BUS_ADDRESSES_MAX 16
#define BUS_ADDRESS_CAP 280 /* of host:port, for a person */

struct bus_address {
    char *text; /* owned; what host lies in */
    const char *host;
    int port; /* 5672 when not given */
};

struct bus_url {
    struct bus_address addresses[BUS_ADDRESSES_MAX];
    size_t n_addresses; /* at least 1 */
    /* in the first address' text */
    const char *user, *password, *vhost;
};

/* -EINVAL for a url that is none, amqps (no TLS), an empty host, a bad port, over 16 addresses. */
MUSTCHECK int bus_url_parse(struct bus_url *ret, const char *url);
void bus_url_done(struct bus_url *u);
/* "host:port", "[v6]:port" */
void bus_address_print(const struct bus_address *a, char ret[static BUS_ADDRESS_CAP]);

/* Whose request it is that came by proxies. Pure. */
#pragma once

#include "base/network.h"

struct proxies { /* those that are believed about X-Forwarded-For */
    struct network *networks;
    size_t n;
};

/* list: comma-separated addresses and networks, as the configuration has checked; may be "". */
void proxies_init(struct proxies *p, const char *list);
void proxies_done(struct proxies *p);

/* The block (address_print_block) of the client: of the peer; or, while that one is a trusted
 * proxy, of the address that it says it was asked from, the last one in forwarded (X-Forwarded-For,
 * may be NULL), and so on. What a proxy says that is no address counts as the proxy's own request.
 * "unknown" for a peer that is none. */
void client_address(const struct proxies *p, const char *peer, const char *forwarded,
                    char ret[static ADDRESS_CAP]);

/* Where the server is: ws, wss, http and https URLs. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

struct address {
    char *host; /* owned; IPv6 without its brackets */
    int port;
    char *path; /* owned; before /ws, without a slash at its end: "" mostly */
    bool is_secure;
};

/* -EINVAL: none of these, or with a user, a query or a fragment. */
MUSTCHECK int address_parse(const char *url, struct address *ret);
void address_done(struct address *a);
bool address_is_loopback(const struct address *a);
